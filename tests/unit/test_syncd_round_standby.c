/* test_syncd_round_standby - a round at a standby */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_round.h"

/* What a standby has carried out by then is half of a merge, and an active end's is not taken for
 * what both have. */
static void test_half(void **state) {
    for (int i = 0; i < 2; i++) {
        standby = i > 0;
        did[0] = '\0';
        until_frozen(false, 1);
        act(RACT_MERGE, false, false, 1);
        lock_answers(0);
        act(RACT_MERGE_PUT_OFF, false, false, 0);
        assert_string_equal(did, standby ? "scan listed lock merge unlock merged half "
                                         : "scan listed lock merge unlock merged ");
    }
}

/* Whose standby has nothing of its own has lost what is not there. */
static void test_follows(void **state) {
    follows = true;
    act(RACT_SCAN, false, false, 0);
    assert_string_equal(did, "follow scan listed ");
}

/* It is one when it has caught up as a standby. */
static void test_followed(void **state) {
    act(RACT_CAUGHT_UP, false, false, 0);
    assert_string_equal(did, "");
    standby = true;
    act(RACT_CAUGHT_UP, false, false, 0);
    assert_string_equal(did, "followed ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, round_setup, round_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_half),
        T(test_follows),
        T(test_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
