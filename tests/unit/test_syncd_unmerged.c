/* unmerged: of which mailboxes it is said that they cannot be merged, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/unmerged.h"

static const struct mailfs_id one = {{1}}, other = {{2}};

static bool fails(struct unmerged **all, const struct mailfs_id *dir, const char *why) {
    char told[UNMERGED_WHY];
    if (why != NULL)
        unmerged_failed(all, dir, why);
    bool tell = unmerged_put_off(all, dir, told);
    if (tell && why != NULL)
        assert_string_equal(told, why);
    assert_true(*told != '\0');
    return tell;
}

static void said_once(void **state) {
    struct unmerged *all = NULL;
    assert_false(fails(&all, &one, "full"));
    assert_false(fails(&all, &one, "full"));
    assert_false(fails(&all, &other, "full"));
    assert_true(fails(&all, &one, "full"));
    assert_false(fails(&all, &one, "full"));
    assert_false(unmerged_over(&all, &other));
    assert_true(unmerged_over(&all, &one));
    assert_false(unmerged_over(&all, &one));
    assert_false(fails(&all, &one, "full")); /* in a row, that is */
    unmerged_free(&all);
    assert_null(all);
}

static void said_again_for_another_reason(void **state) {
    struct unmerged *all = NULL;
    assert_false(fails(&all, &one, "locked"));
    assert_false(fails(&all, &one, "locked"));
    assert_true(fails(&all, &one, "full"));
    assert_true(fails(&all, &one, NULL)); /* nothing failed here */
    assert_false(fails(&all, &one, NULL));
    assert_true(fails(&all, &one, "full"));
    unmerged_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said_once),
        cmocka_unit_test(said_again_for_another_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
