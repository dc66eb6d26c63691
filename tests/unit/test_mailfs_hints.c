/*
 * lock_tell: what is known of tokens and gaps for the time without syncd.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailfs/lock_int.h"
#include "mailfs/vol.h"

static const struct mailfs_id box = {{1}}, other = {{2}};

static int setup(void **state) {
    vol.has_peer = true;
    lock_forget_hints();
    return 0;
}

static void test_where_the_token_is(void **state) {
    assert_true(lock_raise_is_due(&box));
    lock_token_hint(&box, true);
    assert_false(lock_raise_is_due(&box));
    assert_true(lock_raise_is_due(&other));
    lock_token_hint(&box, false);
    assert_true(lock_raise_is_due(&box));
}

static void test_one_gap(void **state) {
    lock_raise_was_done(&box, lock_hints_time());
    assert_false(lock_raise_is_due(&box));
    assert_true(lock_raise_is_due(&other));
    lock_forget_hints();
    assert_true(lock_raise_is_due(&box));
}

/* L was answered without syncd, and the gap made when there was another one. That one may give the
 * token away, and die: the next L that nobody grants needs a gap of its own. */
static void test_gap_made_late(void **state) {
    uint64_t answered = lock_hints_time();
    lock_forget_hints();
    lock_raise_was_done(&box, answered);
    assert_true(lock_raise_is_due(&box));
    lock_token_hint(&box, true);
    lock_raise_was_done(&box, answered);
    lock_token_hint(&box, false);
    assert_true(lock_raise_is_due(&box));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_where_the_token_is, setup),
        cmocka_unit_test_setup(test_one_gap, setup),
        cmocka_unit_test_setup(test_gap_made_late, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
