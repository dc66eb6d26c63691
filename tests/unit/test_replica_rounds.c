/*
 * test_replica_rounds - how many mailboxes are merged at once
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica/replica_int.h"
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

static void changed(uint8_t dir, bool full) {
    const uint8_t base[REPLICA_DIGEST] = {full ? 0 : 1};
    replica_changed(pair.side[0].r, pair.now, pair_dir(dir), base);
}

static void start(size_t own, size_t theirs, enum replica_action_kind held) {
    pair_start_wide(8, 100);
    pair_connect();
    pair.side[0].listing_bytes = own;
    pair.side[1].listing_bytes = theirs;
    pair.side[0].hold[held] = true;
}

/* As many rounds as there can be with all but their last steps carried out. */
static unsigned rounds_held(size_t own, size_t theirs) {
    start(own, theirs, RACT_MERGE);
    for (uint8_t i = 1; i <= 8; i++)
        changed(i, true);
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
    assert_int_equal(rounds_held(1000, 1000), 1);
}

/* What is not listed yet is taken for half of what there may be. */
static void test_listed_at_once(void **state) {
    (void)state;
    start(1000, 1000, RACT_SCAN);
    for (uint8_t i = 1; i <= 8; i++)
        changed(i, true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_SCAN, 0), 2);
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
    assert_int_equal(rounds_held(1000, 1000), 1);
    for (uint8_t i = 1; i <= 3; i++) {
        assert_int_equal(pair_count(0, RACT_MERGE, 0), i);
        if (i == 3) /* the fourth is listed when this is over */
            pair.side[0].listing_bytes = pair.side[1].listing_bytes = 10;
        merge_held(i);
    }
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 3 + 4);
    for (uint8_t i = 4; i <= 8; i++)
        merge_held(i);
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 0), 8);
    assert_in_sync();
}

/* Who waits for one does not wait for large ones. */
static void test_urgent_beside_large_ones(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 1);
    pair_open(0, 1, 8);
    pair_open(1, 1, 7);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 8), 1);
    assert_int_equal(pair_count(0, RACT_MERGE, 7), 1);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 3);
    merge_held(7);
    merge_held(8);
    assert_true(pair_granted(0, 1) && pair_granted(1, 1));
}

/* Nor for as many small ones as there may be, of either kind. */
static void test_urgent_beside_many(void **state) {
    (void)state;
    for (unsigned full = 0; full < 2; full++) {
        start(1, 1, RACT_SCAN);
        for (uint8_t i = 1; i <= 8; i++)
            changed(i, false);
        pair_run();
        assert_int_equal(pair_count(0, RACT_SCAN, 0), 8);
        changed(9, full);
        pair_run();
        assert_int_equal(pair_count(0, RACT_SCAN, 9), 0);
        pair_open(0, 1, 9);
        assert_int_equal(pair_count(0, RACT_SCAN, 9), 1);
        pair_stop();
    }
    pair_start_wide(8, 100);
}

/* It is the next one also where it turns out that all of it has to be compared, and where it was
 * put off. */
static void test_urgent_again(void **state) {
    static const int errs[] = {-ESTALE, -EIO};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        start(1, 1, RACT_SCAN);
        for (uint8_t d = 1; d <= 20; d++)
            changed(d, true);
        pair_run();
        changed(30, false);
        pair.side[0].hold[RACT_SCAN] = false;
        pair.side[0].hold[RACT_STAGE] = true;
        pair_open(0, 1, 30);
        pair.side[0].hold[RACT_SCAN] = true;
        const struct noted *n = pair_last(0, RACT_STAGE);
        assert_int_equal(n->dir, 30);
        replica_staged(pair.side[0].r, pair.now, pair_dir(30), n->round, errs[i]);
        pair_run();
        pair_wait(1100); /* what was put off */
        assert_int_equal(pair_count(0, RACT_SCAN, 30), 2);
        assert_true(pair_last(0, RACT_SCAN)->full);
        pair_stop();
    }
    pair_start_wide(8, 100);
}

/* Of a large one contents are fetched, here or there: nobody waits for that. */
static void test_while_contents_come(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        start(1000, 1000, RACT_MERGE);
        pair.side[i].hold[RACT_STAGE] = true;
        changed(1, true);
        pair_run();
        const struct noted *n = pair_last(i, RACT_STAGE);
        pair.side[i].hold[RACT_STAGE] = false;
        pair.side[0].listing_bytes = pair.side[1].listing_bytes = 1;
        if (i == 0) {
            changed(2, true);
            pair_run();
            assert_int_equal(pair_count(0, RACT_SCAN, 2), 0); /* they are looked at */
            replica_fetching(pair.side[0].r, pair.now, pair_dir(1), n->round);
        } else {
            changed(2, true);
        }
        pair_run();
        assert_int_equal(pair_count(0, RACT_MERGE, 2), 1);
        pair_stop();
    }
    pair_start_wide(8, 100);
}

/* When they are here, large ones are frozen one after the other. */
static void test_frozen_by_turns(void **state) {
    (void)state;
    start(1000, 1000, RACT_MERGE);
    pair.side[1].hold[RACT_STAGE] = true;
    for (uint8_t i = 1; i <= 3; i++)
        changed(i, true);
    pair_run();
    assert_int_equal(pair_count(1, RACT_STAGE, 0), 3);
    for (uint8_t i = 1; i <= 3; i++)
        replica_staged(pair.side[1].r, pair.now, pair_dir(i), i, 0);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 1);
    pair_wait(100);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 1);
    merge_held(1);
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 2);
    pair_open(0, 1, 3); /* somebody waits for the last */
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 3);
    merge_held(3);
    assert_true(pair_granted(0, 1));
    merge_held(2);
    assert_in_sync();
}

/* Frozen, with the other's listing to come before its own; then something is done there, and to a
 * folder in it. */
static void act_before_listing(void) {
    start(1, 1, RACT_MERGE);
    pair.side[1].hold[RACT_STAGE] = true;
    changed(1, true);
    pair_run();
    pair.side[1].hold[RACT_SCAN] = true;
    replica_staged(pair.side[1].r, pair.now, pair_dir(1), 1, 0);
    pair_run();
    assert_true(pair_act(0, 1));
    pair_act_on_folder(0, 1);
    assert_int_equal(pair_sent(0, RMSG_TXN), 0);
}

static const struct noted *first_sent(enum replica_msg_kind kind) {
    const struct noted *n = &pair.side[0].noted[0];
    while (n->kind != RACT_SEND || n->msg != kind)
        n++;
    return n;
}

/* A listing has the effect of what was done before it, but to folders: that is told, before it is
 * said that the merge is made. */
static void test_folders_of_frozen(void **state) {
    (void)state;
    act_before_listing();
    replica_scanned(pair.side[1].r, pair.now, pair_dir(1), 1, pair_payload());
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 1), 1);
    assert_int_equal(pair_sent(0, RMSG_TXN), 0);
    merge_held(1);
    assert_int_equal(pair_sent(0, RMSG_TXN), 1);
    assert_true(first_sent(RMSG_TXN) < first_sent(RMSG_MERGED));
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 1);
    assert_int_equal(pair_count(0, RACT_ACKED, 1), 1);
    assert_false(pair_act(0, 1));
    assert_in_sync();
}

/* Without that listing all of it is; without the link nothing, as the trees are compared then. */
static void test_folders_of_unlisted(void **state) {
    (void)state;
    act_before_listing();
    pair_wait(5000);
    assert_int_equal(pair_sent(0, RMSG_CANCEL), 1);
    assert_int_equal(pair_sent(0, RMSG_TXN), 2);
    pair_stop();
    act_before_listing();
    pair_disconnect();
    pair.side[1].hold[RACT_SCAN] = pair.side[1].hold[RACT_STAGE] = false;
    replica_scanned(pair.side[1].r, pair.now, pair_dir(1), 1, pair_payload());
    pair_connect();
    assert_int_equal(pair_sent(0, RMSG_TXN), 0);
    assert_in_sync();
}

/* What is said of another round, or of one that is over, says nothing of this one. */
static void test_fetched_by_another(void **state) {
    (void)state;
    start(1000, 1000, RACT_STAGE);
    changed(1, true);
    pair_run();
    uint32_t round = pair_last(0, RACT_STAGE)->round;
    changed(2, true);
    replica_fetching(pair.side[0].r, pair.now, pair_dir(1), round + 1);
    replica_fetching(pair.side[0].r, pair.now, pair_dir(7), round);
    pair_run();
    assert_int_equal(pair_count(0, RACT_SCAN, 2), 0);
    pair_disconnect();
    replica_fetching(pair.side[0].r, pair.now, pair_dir(1), round);
    assert_null(replica_check(pair.side[0].r)); /* what is held (I7) */
}

/* What has changed does not wait for what is large and has to be listed whole. */
static void test_differences_beside_large_ones(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 1);
    for (uint8_t i = 2; i <= 8; i++)
        merge_held(i - 1);
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 1;
    changed(20, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 20), 1);
}

/* Nor when others of these are before it. */
static void test_differences_before_large_ones(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 1);
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 1;
    changed(20, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 20), 1);
}

/* One that waits for room to be frozen does not wait for as long as others come. */
static void test_frozen_before_others_begin(void **state) {
    (void)state;
    start(40, 40, RACT_MERGE);
    pair.side[1].hold[RACT_STAGE] = true;
    changed(1, true);
    pair_run();
    uint32_t round = pair_last(1, RACT_STAGE)->round;
    pair.side[1].hold[RACT_STAGE] = false;
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 15;
    for (uint8_t i = 2; i <= 3; i++)
        changed(i, true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE, 0), 2);
    replica_staged(pair.side[1].r, pair.now, pair_dir(1), round, 0);
    pair_run();
    changed(4, true);
    changed(5, true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_SCAN, 4), 0);
    pair_open(0, 1, 5); /* somebody waits for it */
    assert_int_equal(pair_count(0, RACT_MERGE, 5), 1);
    merge_held(5);
    merge_held(2);
    assert_int_equal(pair_count(0, RACT_MERGE, 1), 0);
    merge_held(3);
    assert_int_equal(pair_count(0, RACT_MERGE, 1), 1);
    assert_int_equal(pair_count(0, RACT_SCAN, 4), 0);
    merge_held(1);
    merge_held(4);
    assert_in_sync();
}

/* Where it is taken up again nothing is left of what the large ones were. */
static void test_after_a_cut(void **state) {
    (void)state;
    assert_int_equal(rounds_held(1000, 1000), 1);
    pair_disconnect();
    pair.side[0].listing_bytes = pair.side[1].listing_bytes = 1;
    for (uint8_t i = 0; i < 8; i++)
        pair.side[0].marks[i] = (uint8_t)(i + 1);
    pair.side[0].hold[RACT_MERGE] = false;
    pair_connect();
    merge_held(1); /* of the round that is over */
    assert_in_sync();
}

#define T(f) cmocka_unit_test_teardown(f, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_at_once),
        T(test_by_cost),
        T(test_listed_at_once),
        T(test_after_a_large_one),
        T(test_urgent_beside_large_ones),
        T(test_urgent_beside_many),
        T(test_urgent_again),
        T(test_while_contents_come),
        T(test_frozen_by_turns),
        T(test_folders_of_frozen),
        T(test_folders_of_unlisted),
        T(test_fetched_by_another),
        T(test_differences_beside_large_ones),
        T(test_differences_before_large_ones),
        T(test_frozen_before_others_begin),
        T(test_after_a_cut),
    };
    return cmocka_run_group_tests_name("replica_rounds", tests, NULL, NULL);
}
