/*
 * test_replica_rounds - how many mailboxes are merged at once
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica_pair.h"

static void assert_in_sync(void) {
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(replica_state(pair.side[i].r), REPLICA_IN_SYNC);
}

/* merge_parallel is 2: of full lists one is held at a time. */
static void test_at_once(void **state) {
    static const uint8_t unknown[REPLICA_DIGEST] = {0};
    (void)state;
    pair_start(REPLICA_COMMIT_DISK, true);
    for (uint8_t i = 0; i < 8; i++)
        pair.side[0].marks[i] = (uint8_t)(i + 1);
    pair.side[0].hold[RACT_SCAN] = true;
    pair_connect();
    assert_int_equal(pair_count(0, RACT_SCAN, 0), 2);
    pair_stop();
    pair_start(REPLICA_COMMIT_DISK, true);
    pair_connect();
    pair.side[0].hold[RACT_SCAN] = true;
    for (uint8_t i = 1; i <= 8; i++)
        replica_changed(pair.side[0].r, pair.now, pair_dir(i), unknown);
    pair_run();
    assert_int_equal(pair_count(0, RACT_SCAN, 0), 1);
    pair_open(0, 1, 8); /* somebody waits for one */
    pair_run();
    assert_int_equal(pair_count(0, RACT_SCAN, 0), 2);
    assert_int_equal(pair_count(0, RACT_SCAN, 8), 1);
}

/* As many rounds as there can be with all but their last steps carried out. */
static unsigned rounds_held(size_t own, size_t theirs) {
    static const uint8_t unknown[REPLICA_DIGEST] = {0};
    pair_start_wide(8, 100);
    pair_connect();
    pair.side[0].listing_bytes = own;
    pair.side[1].listing_bytes = theirs;
    pair.side[0].hold[RACT_MERGE] = true;
    for (uint8_t i = 1; i <= 8; i++)
        replica_changed(pair.side[0].r, pair.now, pair_dir(i), unknown);
    pair_run();
    return pair_count(0, RACT_MERGE, 0);
}

/* Of small ones as many as there may be, of large ones as many as there is room for, and one. */
static void test_by_cost(void **state) {
    static const struct {
        size_t own, theirs;
        unsigned rounds;
    } rows[] = {{1, 1, 4}, {12, 13, 4}, {20, 13, 3}, {1, 32, 3}, {32, 1, 3}, {30, 20, 2}};
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(rounds_held(rows[i].own, rows[i].theirs), rows[i].rounds);
        pair_stop();
    }
    /* What is not listed yet is taken for half of what there may be: so these are two. */
    assert_int_equal(rounds_held(1000, 1000), 2);
}

static void merge_held(uint8_t dir) {
    static const uint8_t digest[REPLICA_DIGEST] = {1};
    const struct noted *n = &pair.side[0].noted[0];
    while (n->kind != RACT_MERGE || n->dir != dir)
        n++;
    replica_merged(pair.side[0].r, pair.now, pair_dir(dir), n->round, digest, 0);
    pair_run();
}

/* All of them are merged in the end, however large; the next are begun by what the last was like.
 */
static void test_after_a_large_one(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 2);
    merge_held(1);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 2);
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 10;
    merge_held(2);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 2 + 4);
    pair.side[0].hold[RACT_MERGE] = false;
    for (uint8_t i = 3; i <= 6; i++)
        merge_held(i);
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 0), 8);
    assert_in_sync();
}

/* Who waits for one does not wait for large ones. */
static void test_urgent_beside_large_ones(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 2);
    pair_open(0, 1, 8);
    pair_open(1, 1, 7);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 8), 1);
    assert_int_equal(pair_count(0, RACT_MERGE, 7), 1);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 4);
    merge_held(7);
    merge_held(8);
    assert_true(pair_granted(0, 1) && pair_granted(1, 1));
}

/* Where it is taken up again nothing is left of what the large ones were. */
static void test_after_a_cut(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 2);
    pair_disconnect();
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 1;
    for (uint8_t i = 0; i < 8; i++)
        pair.side[0].marks[i] = (uint8_t)(i + 1);
    pair.side[0].hold[RACT_MERGE] = false;
    pair_connect();
    merge_held(1); /* of the rounds that are over */
    merge_held(2);
    assert_in_sync();
}

#define T(f) cmocka_unit_test_teardown(f, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_at_once),           T(test_by_cost),
        T(test_after_a_large_one), T(test_urgent_beside_large_ones),
        T(test_after_a_cut),
    };
    return cmocka_run_group_tests_name("replica_rounds", tests, NULL, NULL);
}
