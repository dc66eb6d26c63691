/*
 * linger: what it makes of /proc/loadavg, by which it is left out on a busy machine. That it looks
 * there, waits, and gives up in vain is not tested here: on a machine shared with other tests it
 * would be chance.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mailfs/linger.h"

static void test_nobody_else(void **state) {
    assert_true(linger_is_quiet("0.20 0.18 0.12 1/80 11206\n", 2));
    assert_true(linger_is_quiet("0.20 0.18 0.12 4/80 11206\n", 4));
    assert_true(linger_is_quiet("9.00 9.00 9.00 2/80 11206\n", 2)); /* what was does not matter */
}

static void test_others(void **state) {
    assert_false(linger_is_quiet("0.20 0.18 0.12 3/80 11206\n", 2)); /* we, the caller, and one */
    assert_false(linger_is_quiet("0.20 0.18 0.12 5/80 11206\n", 4));
    assert_false(linger_is_quiet("14.26 15.11 13.98 117/402 11206\n", 64));
}

/* The caller could not ask before we are off it. */
static void test_one_cpu(void **state) {
    assert_false(linger_is_quiet("0.00 0.00 0.00 1/80 11206\n", 1));
}

/* Bound to one (taskset, CPUAffinity=, a cpuset), that is all there are. */
static void test_bound_to_one(void **state) {
    cpu_set_t before, one;
    int first = 0;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(linger_cpus(), CPU_COUNT(&before));
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(linger_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void test_unknown(void **state) {
    assert_false(linger_is_quiet("", 2));
    assert_false(linger_is_quiet("0.20 0.18", 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_else), cmocka_unit_test(test_others),
        cmocka_unit_test(test_one_cpu),     cmocka_unit_test(test_bound_to_one),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
