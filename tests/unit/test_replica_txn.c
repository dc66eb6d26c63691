/* Transactions: who waits for what, and for how long. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica_pair.h"

static void restart(enum replica_commit commit) {
    pair_stop();
    pair_start(commit, true);
    pair_connect();
}

static void journal_done(unsigned side, int err) {
    replica_journaled(pair.side[side].r, pair.now, pair_last(side, RACT_JOURNAL)->seq, err);
    pair_run();
}

/* U returns when the peer has made it durable, not before and not only when it is applied. */
static void test_unlock_waits(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = pair.side[1].hold[RACT_APPLY] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    assert_false(pair_released(0, 2));
    journal_done(1, 0);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(0, RACT_ACKED, 1), 1);
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 1);
}

static void test_unlock_without_change(void **state) {
    (void)state;
    pair_open(0, 1, 1);
    replica_unlock(pair.side[0].r, pair.now, 2, pair_dir(1), NULL, NULL, 0);
    pair_run();
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_sent(0, RMSG_TXN), 0);
}

/* Acknowledgements may come in any order; what is released and what becomes the base does not. */
static void test_order(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_act(0, 1);
    uint64_t first = pair_last(1, RACT_JOURNAL)->seq;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    journal_done(1, 0);
    assert_false(pair_released(0, 2));
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 0);
    replica_journaled(pair.side[1].r, pair.now, first, 0);
    pair_run();
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 2);
    assert_int_equal(pair_last(0, RACT_ACKED)->seq, 2);
}

static void test_end_releases(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    pair_disconnect();
    assert_true(pair_released(0, 2));
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_ALONE);
    assert_int_equal(pair_count(0, RACT_ACKED, 1), 0);
    /* What was received goes on, and is not acknowledged to anybody. */
    unsigned acks = pair_sent(1, RMSG_TXN_ACK);
    journal_done(1, 0);
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 1);
    assert_int_equal(pair_sent(1, RMSG_TXN_ACK), acks);
}

/* The peer is there and says it is, but its disk hangs. */
static void test_overdue(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    pair_wait(2900);
    assert_false(pair_released(0, 2));
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 0);
    pair_wait(200);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_ALONE);
}

/* A large one takes longer than the timeout: the peer says when it has come further, and one in
 * the same mailbox that waits behind it has time as long. */
static void test_works_on_it(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    uint64_t first = pair_last(1, RACT_JOURNAL)->seq;
    pair_open(0, 3, 1);
    pair_unlock(0, 4, 1);
    for (int i = 0; i < 5; i++) {
        pair_wait(2000);
        replica_working(pair.side[1].r, pair.now, first);
        pair_run();
    }
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 0);
    assert_false(pair_released(0, 2));
    pair_wait(2900);
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 0);
    pair_wait(200); /* it has come no further: as if it had hung from the beginning */
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
    assert_true(pair_released(0, 2));
    assert_true(pair_released(0, 4));
}

/* It says nothing about what it has made durable already, nor about another mailbox's. */
static void test_works_on_another(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    uint64_t first = pair_last(1, RACT_JOURNAL)->seq;
    pair_open(0, 3, 2);
    pair_unlock(0, 4, 2);
    pair_wait(2000);
    replica_working(pair.side[1].r, pair.now, first);
    pair_run();
    pair_wait(1100);
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
    replica_journaled(pair.side[1].r, pair.now, first, 0);
    pair_run();
    unsigned acks = pair_sent(1, RMSG_TXN_ACK);
    replica_working(pair.side[1].r, pair.now, first);
    pair_run();
    assert_int_equal(pair_sent(1, RMSG_TXN_ACK), acks);
}

/* What the peer does not acknowledge is bounded in bytes as well as in number. */
static void test_unacknowledged_bytes(void **state) {
    (void)state;
    pair.side[1].hold[RACT_JOURNAL] = true;
    for (int i = 0; i < 3; i++) {
        struct replica_payload *p = replica_payload_new(NULL, 100u << 20, NULL);
        assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 0);
        pair.link_held = true; /* the peer's own bound does not come into play */
        replica_act(pair.side[0].r, pair.now, pair_dir(1), p, NULL, 0, false);
        replica_payload_unref(p);
        pair_wait(10);
    }
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_ALONE);
    pair_drop();
}

/* A full peer stops nothing here, and neither side believes that the other has it. */
static void test_refused(void **state) {
    (void)state;
    pair.side[1].journal_err = -ENOSPC;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_last(0, RACT_RELEASE)->err, 0);
    assert_int_equal(pair_count(0, RACT_ACKED, 0), 0);
    assert_int_equal(pair_count(1, RACT_APPLY, 0), 0);
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_ALONE);
    assert_int_equal(replica_state(pair.side[1].r), REPLICA_ALONE);
}

static void test_async(void **state) {
    (void)state;
    restart(REPLICA_COMMIT_ASYNC);
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(0, RACT_ACKED, 0), 0);
    journal_done(1, 0);
    assert_int_equal(pair_count(0, RACT_ACKED, 0), 1);
}

/* In memory: released when received; in the base when durable. */
static void test_memory(void **state) {
    (void)state;
    restart(REPLICA_COMMIT_MEMORY);
    pair.side[1].hold[RACT_JOURNAL] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(0, RACT_ACKED, 0), 0);
    assert_false(replica_is_settled(pair.side[0].r, pair_dir(1)));
    journal_done(1, 0);
    assert_int_equal(pair_count(0, RACT_ACKED, 0), 1);
    assert_true(replica_is_settled(pair.side[0].r, pair_dir(1)));
}

static void test_not_under_lock(void **state) {
    (void)state;
    pair_open(0, 1, 1);
    pair_act(1, 1);
    assert_int_equal(pair_count(0, RACT_JOURNAL, 1), 1);
    assert_int_equal(pair_count(0, RACT_APPLY, 1), 0);
    pair_unlock(0, 2, 1);
    assert_int_equal(pair_count(0, RACT_APPLY, 1), 1);
}

static void test_replay(void **state) {
    (void)state;
    pair_stop();
    pair_start(REPLICA_COMMIT_DISK, false);
    replica_replaying(pair.side[0].r, pair_dir(1));
    pair_open(0, 1, 1);
    assert_false(pair_granted(0, 1));
    replica_replayed(pair.side[0].r, pair.now, pair_dir(1));
    pair_run();
    assert_true(pair_granted(0, 1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, pair_setup_connected, pair_teardown)

static void note_dir(void *arg, const struct mailfs_id *dir, struct replica_payload *p) {
    uint8_t *seen = arg;
    seen[++seen[0]] = dir->b[0];
    assert_non_null(p);
}

/* What waits for L when the link ends is known, in its order; and of what is applied in the next
 * connection it is said that it is not of that. */
static void test_late(void **state) {
    (void)state;
    uint8_t seen[8] = {0};
    pair_open(1, 1, 1);
    pair_open(1, 2, 2);
    assert_true(pair_granted(1, 1) && pair_granted(1, 2));
    pair_act(0, 2);
    pair_act(0, 1);
    pair_disconnect();
    replica_each_unapplied(pair.side[1].r, note_dir, seen);
    assert_int_equal(seen[0], 2);
    assert_true(seen[1] == 2 && seen[2] == 1);
    pair_unlock(1, 3, 2);
    assert_false(pair_last(1, RACT_APPLY)->late);
    pair_connect();
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 0);
    pair_unlock(1, 4, 1);
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 1);
    assert_true(pair_last(1, RACT_APPLY)->late);
    pair_wait(5000);
    assert_int_equal(replica_state(pair.side[1].r), REPLICA_IN_SYNC);
    pair_act(0, 1);
    assert_int_equal(pair_count(1, RACT_APPLY, 1), 2);
    assert_false(pair_last(1, RACT_APPLY)->late);
}

/* A node that ends does not wait for what it leaves to the next start, nor for what follows that in
 * its mailbox; for all else it does. */
static void test_left(void **state) {
    (void)state;
    struct replica_counts n;
    pair.side[1].hold[RACT_APPLY] = true;
    pair_act(0, 1);
    uint64_t first = pair_last(1, RACT_APPLY)->seq;
    pair_act(0, 1);
    pair_act(0, 2);
    replica_left(pair.side[1].r, pair_last(1, RACT_APPLY)->seq); /* of 2 */
    replica_count(pair.side[1].r, &n);
    assert_int_equal(n.unapplied, 2);
    replica_left(pair.side[1].r, first);
    replica_count(pair.side[1].r, &n);
    assert_int_equal(n.unapplied, 0);
    pair_act(0, 2);
    assert_int_equal(pair_count(1, RACT_APPLY, 2), 1);
    replica_count(pair.side[1].r, &n);
    assert_int_equal(n.unapplied, 0);
    pair_open(1, 1, 1);
    pair_wait(1500);
    assert_false(pair_granted(1, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_unlock_waits),
        T(test_unlock_without_change),
        T(test_order),
        T(test_end_releases),
        T(test_overdue),
        T(test_works_on_it),
        T(test_works_on_another),
        T(test_unacknowledged_bytes),
        T(test_refused),
        T(test_async),
        T(test_memory),
        T(test_not_under_lock),
        T(test_late),
        T(test_replay),
        T(test_left),
    };
    return cmocka_run_group_tests_name("replica_txn", tests, NULL, NULL);
}
