/* unmerged: of which mailboxes it is said that they cannot be merged, and when. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/unmerged.h"
#include "util/log.h"

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

/* Every error at every step: a sentence of its own, or at least what was being done. */
static void each_has_words(void **state) {
    for (int err = 1; err < 134; err++) {
        for (int at = UNMERGED_LIST; at <= UNMERGED_MERGE; at++) {
            char why[UNMERGED_WHY];
            unmerged_words((enum unmerged_at)at, -err, why);
            assert_in_range(strlen(why), 20, UNMERGED_WHY - 2); /* none is cut short */
            assert_string_not_equal(why, log_strerror(-err));
        }
    }
}

/* What strerror(3) says of these is about something else. */
static void says_what_it_is_about(void **state) {
    static const struct {
        int err;
        enum unmerged_at at;
        const char *about;
    } want[] = {
        {ENODATA, UNMERGED_MERGE, "did not come"},
        {ENODATA, UNMERGED_FETCH, "did not come"},
        {ENOENT, UNMERGED_FETCH, "the other node has listed"},
        {ENOENT, UNMERGED_MERGE, "its directory"},
        {EEXIST, UNMERGED_MERGE, "dovecot-uidlist here"},
        {EBADMSG, UNMERGED_MERGE, "keywords"},
        {EUCLEAN, UNMERGED_FETCH, "mailfsctl verify --content --repair"},
        {EUCLEAN, UNMERGED_LIST, "STATE/base"},
        {EIO, UNMERGED_FETCH, "both logs"},
        {ENOSPC, UNMERGED_MERGE, "no space"},
        {EROFS, UNMERGED_MERGE, "watch"},
        {ENOTDIR, UNMERGED_LIST, "new, cur, tmp"},
        {EMFILE, UNMERGED_LIST, "cannot be listed here: "},
    };
    char why[UNMERGED_WHY];
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        unmerged_words(want[i].at, -want[i].err, why);
        if (strstr(why, want[i].about) == NULL)
            fail_msg("%s: %s", log_strerror(want[i].err), why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said_once),
        cmocka_unit_test(said_again_for_another_reason),
        cmocka_unit_test(each_has_words),
        cmocka_unit_test(says_what_it_is_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
