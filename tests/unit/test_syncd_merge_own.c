/*
 * test_syncd_merge_own - how long this node's listings are held
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "syncd/merge_own.h"

static const struct mailfs_id dir = {{1}};
static unsigned freed;

static void count(struct replica_payload *p) {
    freed++;
}

/* A listing that nobody else holds. */
static void keep(struct own **all, uint32_t round, bool locked) {
    struct replica_payload *p = replica_payload_new(NULL, 1, count);
    own_keep(all, &dir, round, p, locked);
    replica_payload_unref(p);
}

static int start(void **state) {
    freed = 0;
    return 0;
}

static void test_one_of_a_round_at_a_time(void **state) {
    struct own *all = NULL;
    keep(&all, 7, false);
    keep(&all, 7, false);
    assert_int_equal(freed, 1);
    own_free(&all);
    assert_int_equal(freed, 2);
}

/* What a step has used is gone when the step is over, not when the round is. */
static void test_taken_by_its_step(void **state) {
    struct own *all = NULL;
    keep(&all, 7, true);
    struct replica_payload *mine = own_take(all, &dir);
    assert_non_null(mine);
    assert_int_equal(freed, 0);
    replica_payload_unref(mine);
    assert_int_equal(freed, 1);
    assert_null(own_take(all, &dir));
    assert_true(own_is_of(all, &dir, 7)); /* the rest of it stays */
    keep(&all, 7, true);
    mine = own_take(all, &dir);
    assert_true(own_forget(&all, &dir));
    assert_null(all);
    assert_int_equal(freed, 1);
    replica_payload_unref(mine);
    assert_int_equal(freed, 2);
}

static void test_of_none(void **state) {
    struct own *all = NULL;
    assert_null(own_take(all, &dir));
    assert_false(own_forget(&all, &dir));
}

#define T(f) cmocka_unit_test_setup(f, start)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_one_of_a_round_at_a_time),
        T(test_taken_by_its_step),
        T(test_of_none),
    };
    return cmocka_run_group_tests_name("syncd_merge_own", tests, NULL, NULL);
}
