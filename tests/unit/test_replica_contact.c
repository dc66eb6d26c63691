/*
 * test_replica_contact - from contact to in-sync: tree, lists of marks, merges, silence
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica_pair.h"

#include <string.h>

static void assert_in_sync(void) {
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(replica_state(pair.side[i].r), REPLICA_IN_SYNC);
        assert_true(pair_count(i, RACT_CAUGHT_UP, 0) > 0);
    }
}

static void test_nothing_to_do(void **state) {
    (void)state;
    pair_connect();
    assert_in_sync();
    assert_int_equal(pair_count(0, RACT_TREE_SCAN, 0), 1);
    assert_int_equal(pair_count(0, RACT_TREE_RESCAN, 0), 0);
    assert_int_equal(pair_count(0, RACT_SCAN, 0), 0);
    assert_true(replica_is_settled(pair.side[0].r, pair_dir(1)));
}

static void test_tree_bases_differ(void **state) {
    (void)state;
    pair.side[1].tree_base = 2;
    pair_connect();
    assert_in_sync();
    assert_int_equal(pair_count(0, RACT_TREE_RESCAN, 0), 1);
    assert_int_equal(pair_count(1, RACT_TREE_RESCAN, 0), 1);
}

static void test_tree_results_differ(void **state) {
    (void)state;
    pair.side[1].merged = 2;
    pair_connect();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_CATCHING_UP);
    unsigned before = pair_count(0, RACT_TREE_MERGE, 0);
    pair_wait(10000);
    unsigned tries = pair_count(0, RACT_TREE_MERGE, 0) - before;
    assert_in_range(tries, 2, 5); /* with back-off */
    pair.side[1].merged = 1;
    pair_wait(20000);
    assert_in_sync();
}

/* A link without transactions: what changes is merged by what differs; in full where no base is. */
static void test_changed(void **state) {
    static const uint8_t known[REPLICA_DIGEST] = {1}, unknown[REPLICA_DIGEST] = {0};
    (void)state;
    pair_connect();
    replica_changed(pair.side[1].r, pair.now, pair_dir(5), known);
    pair_run();
    assert_in_sync();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pair_count(i, RACT_MERGE_DONE, 5), 1);
        assert_false(pair_last(i, RACT_SCAN)->full);
    }
    replica_changed(pair.side[0].r, pair.now, pair_dir(6), unknown);
    pair_run();
    assert_int_equal(pair_count(1, RACT_MERGE_DONE, 6), 1);
    assert_true(pair_last(1, RACT_SCAN)->full);
}

/* Changed once more while it is merged: merged once more, and not in full for that. */
static void test_changed_again(void **state) {
    static const uint8_t known[REPLICA_DIGEST] = {1};
    (void)state;
    pair_connect();
    pair.side[0].hold[RACT_MERGE] = true;
    replica_changed(pair.side[0].r, pair.now, pair_dir(5), known);
    pair_run();
    replica_changed(pair.side[0].r, pair.now, pair_dir(5), known);
    pair_run();
    pair.side[0].hold[RACT_MERGE] = false;
    const struct noted *held = pair_last(0, RACT_MERGE);
    static const uint8_t digest[REPLICA_DIGEST] = {1};
    replica_merged(pair.side[0].r, pair.now, pair_dir(5), held->round, digest, 0);
    pair_run();
    assert_in_sync();
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 5), 2);
    assert_false(pair_last(0, RACT_SCAN)->full);
}

/* What is found different later on is no news of the contact's. */
static void test_caught_up_again(void **state) {
    (void)state;
    pair_connect();
    assert_true(pair_last(0, RACT_CAUGHT_UP)->first);
    replica_suspect(pair.side[0].r, pair.now, pair_dir(5));
    pair_run();
    assert_in_sync();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pair_count(i, RACT_CAUGHT_UP, 0), 2);
        assert_false(pair_last(i, RACT_CAUGHT_UP)->first);
    }
    pair_disconnect();
    pair_connect();
    assert_true(pair_last(0, RACT_CAUGHT_UP)->first);
}

/* One side has a mailbox marked: list, stage, freeze, list, merge, on both. */
static void test_merge(void **state) {
    (void)state;
    pair.side[1].marks[0] = 5;
    pair_connect();
    assert_in_sync();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pair_count(i, RACT_SCAN, 5), 2);
        assert_int_equal(pair_count(i, RACT_STAGE, 5), 1);
        assert_int_equal(pair_count(i, RACT_MERGE, 5), 1);
        assert_int_equal(pair_count(i, RACT_MERGE_DONE, 5), 1);
        assert_true(pair_last(i, RACT_SCAN)->frozen);
        assert_false(pair_last(i, RACT_SCAN)->full);
    }
    assert_int_equal(pair_sent(0, RMSG_FREEZE), 1);
}

static void test_bases_differ(void **state) {
    (void)state;
    pair.side[0].marks[0] = 5;
    pair.side[1].stage_err = -ESTALE;
    pair.side[1].hold[RACT_STAGE] = true;
    pair_connect();
    pair.side[1].stage_err = 0;
    pair.side[1].hold[RACT_STAGE] = false;
    const struct noted *a = pair_last(1, RACT_STAGE);
    replica_staged(pair.side[1].r, pair.now, pair_dir(5), a->round, -ESTALE);
    pair_run();
    assert_in_sync(); /* at once, in full */
    assert_true(pair_last(0, RACT_SCAN)->full && pair_last(1, RACT_SCAN)->full);
    assert_int_equal(pair_count(0, RACT_MERGE_PUT_OFF, 5), 1);
}

/* Nothing becomes the base while only one side has merged. */
static void test_one_side_merges(void **state) {
    (void)state;
    pair.side[0].marks[0] = 5;
    pair.side[1].merge_err = -EIO;
    pair_connect();
    assert_true(pair_count(0, RACT_MERGE, 5) >= 1);
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 5), 0);
    assert_int_equal(pair_count(1, RACT_MERGE_DONE, 5), 0);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_CATCHING_UP);
    pair.side[1].merge_err = 0;
    pair_wait(5000);
    assert_in_sync();
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 5), 1);
}

/* Who holds L keeps the merge waiting, for a while; both serve on then. */
static void test_freeze_put_off(void **state) {
    (void)state;
    pair_wait(3100); /* after a start */
    pair_open(1, 1, 5);
    assert_true(pair_granted(1, 1));
    pair.side[1].marks[0] = 5;
    pair_connect();
    assert_int_equal(pair_count(1, RACT_MERGE, 5), 0);
    pair_open(0, 2, 5);
    pair_wait(300);
    assert_int_equal(pair_count(0, RACT_BUSY, 5), 1); /* frozen, so that the merge has a chance */
    pair_wait(5000);
    assert_true(pair_count(0, RACT_MERGE_PUT_OFF, 5) >= 1);
    assert_true(pair_count(0, RACT_TOKEN_HERE, 5) >= 1);
    pair_unlock(1, 3, 5);
    pair_wait(10000);
    assert_in_sync();
}

/* L of a mailbox that cannot be merged is granted after a second, with a gap. */
static void test_lock_meanwhile(void **state) {
    (void)state;
    pair.side[0].marks[0] = 5;
    pair.side[0].hold[RACT_STAGE] = true;
    pair_connect();
    pair_open(1, 1, 5);
    pair_wait(900);
    assert_false(pair_granted(1, 1));
    pair_wait(200);
    assert_true(pair_granted(1, 1));
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_EVEN);
    pair_unlock(1, 2, 5);
    assert_true(pair_released(1, 2)); /* the merge will find it; nothing to wait for */
    assert_int_equal(pair_sent(1, RMSG_TXN), 0);
}

/* Acts of a frozen mailbox: those the listing has are not sent, later ones are, before MERGED. */
static void test_acts_of_frozen(void **state) {
    (void)state;
    pair.side[0].marks[0] = 5;
    pair.side[1].hold[RACT_MERGE] = true;
    pair_connect();
    assert_int_equal(pair_count(1, RACT_MERGE, 5), 1);
    pair_act(1, 5);
    assert_int_equal(pair_sent(1, RMSG_TXN), 0);
    const struct noted *a = pair_last(1, RACT_MERGE);
    uint8_t digest[REPLICA_DIGEST] = {1};
    replica_merged(pair.side[1].r, pair.now, pair_dir(5), a->round, digest, 0);
    pair_run();
    assert_int_equal(pair_sent(1, RMSG_TXN), 1);
    assert_int_equal(pair_count(0, RACT_APPLY, 5), 1);
    assert_in_sync();
}

static void test_suspect(void **state) {
    (void)state;
    pair_connect();
    replica_suspect(pair.side[1].r, pair.now, pair_dir(5));
    pair_run();
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 5), 1);
    assert_true(pair_last(0, RACT_SCAN)->full);
    assert_in_sync();
}

/* Locked while the lists are exchanged: it is in no list, and yet merged. */
static void test_locked_during_exchange(void **state) {
    (void)state;
    pair_wait(3100);
    pair_open(1, 1, 5);
    pair_connect();
    pair_unlock(1, 2, 5);
    pair_wait(100);
    assert_int_equal(pair_count(0, RACT_MERGE_DONE, 5), 1);
    assert_in_sync();
}

static void test_silence(void **state) {
    (void)state;
    pair_connect();
    pair_wait(10000);
    assert_in_sync(); /* by pings */
    assert_true(pair_sent(0, RMSG_PING) > 0);
    pair.link_held = true;
    pair_wait(2500);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_IN_SYNC);
    pair_wait(1600);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_ALONE);
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
}

/* What is nonsense ends the connection, and nothing else. */
static void test_nonsense(void **state) {
    (void)state;
    struct replica *r = pair.side[0].r;
    struct replica_msg m = {.kind = RMSG_TXN, .seq = 1, .dir = pair_dir(1)};
    assert_int_equal(replica_receive(r, pair.now, &m), -ENOTCONN);
    pair_connect();
    assert_int_equal(replica_receive(r, pair.now, &m), -EPROTO); /* no payload */
    m.kind = RMSG_TXN_ACK;
    m.seq = 99;
    assert_int_equal(replica_receive(r, pair.now, &m), -EPROTO);
    m.kind = RMSG_MERGE_START; /* the other one coordinates */
    assert_int_equal(replica_receive(r, pair.now, &m), -EPROTO);
    m.kind = RMSG_TOKEN_GIVE; /* it is here */
    assert_int_equal(replica_receive(r, pair.now, &m), -EPROTO);
    m.kind = RMSG_KINDS;
    assert_int_equal(replica_receive(r, pair.now, &m), -EPROTO);
    pair_run();
    assert_int_equal(replica_state(r), REPLICA_IN_SYNC);
}

/* ---- directories that change later, on a link without transactions ------------------- */

static int start_oneway(void **state) {
    (void)state;
    pair_start_oneway();
    pair_connect();
    return 0;
}

static void compared(unsigned side, unsigned times) {
    assert_int_equal(pair_count(side, RACT_TREE_SCAN, 0), 1 + times);
    assert_int_equal(pair_count(side, RACT_TREE_MERGE, 0), 1 + times);
    assert_int_equal(pair_count(side, RACT_TREE_DONE, 0), times);
    assert_int_equal(pair_count(side, RACT_LIST_MARKS, 0), 1);
    assert_int_equal(pair_count(side, RACT_DISCONNECT, 0), 0);
}

static void test_tree_changed(void **state) {
    (void)state;
    assert_in_sync();
    for (unsigned i = 0; i < 2; i++) { /* either side may begin */
        replica_tree_changed(pair.side[i].r, pair.now);
        pair_run();
        assert_in_sync();
        compared(0, i + 1);
        compared(1, i + 1);
    }
}

static void test_tree_changed_on_both(void **state) {
    (void)state;
    pair.link_held = true;
    replica_tree_changed(pair.side[0].r, pair.now);
    replica_tree_changed(pair.side[1].r, pair.now);
    pair_run();
    pair_deliver();
    assert_in_sync();
    assert_true(pair_count(0, RACT_TREE_DONE, 0) >= 1);
    assert_int_equal(pair_count(0, RACT_TREE_DONE, 0), pair_count(1, RACT_TREE_DONE, 0));
}

/* What has changed after it was looked at is looked at again; mailboxes are merged meanwhile. */
static void test_tree_changed_meanwhile(void **state) {
    static const uint8_t known[REPLICA_DIGEST] = {1};
    (void)state;
    pair.side[1].hold[RACT_TREE_MERGE] = true;
    replica_tree_changed(pair.side[0].r, pair.now);
    pair_run();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_CATCHING_UP);
    replica_tree_changed(pair.side[0].r, pair.now);
    replica_changed(pair.side[0].r, pair.now, pair_dir(5), known);
    pair_run();
    assert_int_equal(pair_count(1, RACT_MERGE_DONE, 5), 1);
    pair.side[1].hold[RACT_TREE_MERGE] = false;
    pair.side[0].hold[RACT_TREE_SCAN] = true; /* the second one */
    static const uint8_t digest[REPLICA_DIGEST] = {1};
    replica_tree_merged(pair.side[1].r, pair.now, digest, 0);
    pair_run();
    assert_int_equal(pair_count(0, RACT_TREE_DONE, 0), 1);
    assert_false(replica_trees_compared(pair.side[0].r)); /* but not what has changed since */
    pair.side[0].hold[RACT_TREE_SCAN] = false;
    replica_tree_scanned(pair.side[0].r, pair.now, pair_payload(), digest);
    pair_run();
    assert_in_sync();
    assert_true(replica_trees_compared(pair.side[0].r));
    compared(0, 2);
    compared(1, 2);
}

/* The results differ: once more, in full, like at a contact. */
static void test_tree_changed_fails(void **state) {
    (void)state;
    pair.side[1].merged = 2;
    replica_tree_changed(pair.side[0].r, pair.now);
    pair_run();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_CATCHING_UP);
    pair.side[1].merged = 1;
    pair_wait(2000);
    assert_in_sync();
    assert_true(pair_count(0, RACT_TREE_RESCAN, 0) >= 1);
    assert_int_equal(pair_count(0, RACT_TREE_DONE, 0), 1);
}

/* What is done to a folder while the trees are compared is acknowledged at once, and is in neither
 * base before both have the result: it would have moved here, and not there. What is done inside of
 * one is no part of that. */
static void test_folder_meanwhile(void **state) {
    static const uint8_t digest[REPLICA_DIGEST] = {1};
    (void)state;
    pair.side[1].hold[RACT_TREE_MERGE] = true;
    pair_connect();
    pair_act_on_folder(1, 5);
    pair_act(1, 6);
    pair_run();
    assert_int_equal(pair_sent(0, RMSG_TXN_ACK), 2);
    assert_int_equal(pair_count(1, RACT_ACKED, 5), 0);
    assert_int_equal(pair_count(1, RACT_ACKED, 6), 1);
    assert_int_equal(pair_count(0, RACT_APPLY, 5), 0);
    replica_tree_merged(pair.side[1].r, pair.now, digest, 0);
    pair_run();
    assert_in_sync();
    assert_int_equal(pair_count(1, RACT_ACKED, 5), 1);
    assert_int_equal(pair_count(0, RACT_APPLY, 5), 1);
}

/* Not where transactions travel: there the directories go with these. */
static void test_tree_refused(void **state) {
    (void)state;
    pair_connect();
    struct replica_msg m = {.kind = RMSG_TREE, .payload = pair_payload()};
    assert_int_equal(replica_receive(pair.side[0].r, pair.now, &m), -EPROTO);
}

#define T(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_nothing_to_do),
        T(test_tree_bases_differ),
        T(test_tree_results_differ),
        T(test_changed),
        T(test_changed_again),
        T(test_caught_up_again),
        T(test_merge),
        T(test_bases_differ),
        T(test_one_side_merges),
        T(test_freeze_put_off),
        T(test_lock_meanwhile),
        T(test_acts_of_frozen),
        T(test_suspect),
        T(test_locked_during_exchange),
        T(test_silence),
        T(test_nonsense),
        T(test_folder_meanwhile),
        T(test_tree_refused),
        cmocka_unit_test_setup_teardown(test_tree_changed, start_oneway, pair_teardown),
        cmocka_unit_test_setup_teardown(test_tree_changed_on_both, start_oneway, pair_teardown),
        cmocka_unit_test_setup_teardown(test_tree_changed_meanwhile, start_oneway, pair_teardown),
        cmocka_unit_test_setup_teardown(test_tree_changed_fails, start_oneway, pair_teardown),
    };
    return cmocka_run_group_tests_name("replica_contact", tests, NULL, NULL);
}
