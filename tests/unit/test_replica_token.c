/*
 * test_replica_token - L and the token: who is granted what, when, and with what gap
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replica_pair.h"

static void test_raised_uid(void **state) {
    (void)state;
    static const struct {
        uint32_t next;
        enum replica_raise raise;
        uint32_t to;
    } cases[] = {
        {1, REPLICA_RAISE_NONE, 1},
        {1, REPLICA_RAISE_ODD, 5 * 65536},
        {1, REPLICA_RAISE_EVEN, 2 * 65536},
        {65536, REPLICA_RAISE_EVEN, 2 * 65536},
        {65537, REPLICA_RAISE_EVEN, 6 * 65536},
        {65536, REPLICA_RAISE_ODD, 5 * 65536},
        {4 * 65536, REPLICA_RAISE_ODD, 5 * 65536},
        {3 * 65536 + 7, REPLICA_RAISE_ODD, 5 * 65536},
        {UINT32_MAX - 5, REPLICA_RAISE_ODD, UINT32_MAX - 5}, /* used up */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(replica_raised_uid(cases[i].next, cases[i].raise), cases[i].to);
}

/* After a start, contact is waited for, once; then each side leaves its own kind of gap, once. */
static void test_alone_after_start(void **state) {
    (void)state;
    pair_open(0, 1, 1);
    pair_wait(2900);
    assert_false(pair_granted(0, 1));
    pair_wait(200);
    assert_true(pair_granted(0, 1));
    assert_int_equal(pair_last(0, RACT_GRANT)->raise, REPLICA_RAISE_ODD);
    pair_unlock(0, 2, 1);
    assert_true(pair_released(0, 2));
    pair_open(0, 3, 1);
    assert_true(pair_granted(0, 3));
    assert_int_equal(pair_last(0, RACT_GRANT)->raise, REPLICA_RAISE_NONE);
    pair_open(1, 4, 1);
    assert_true(pair_granted(1, 4));
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_EVEN);
}

static void test_never_met(void **state) {
    (void)state;
    pair_stop();
    pair_start(REPLICA_COMMIT_DISK, false);
    pair_open(1, 1, 1);
    assert_true(pair_granted(1, 1));
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_NONE);
}

/* A mailbox of which there is nothing yet is waited for longer than others: it would be shown
 * empty.
 */
static void test_waits_for_the_first(void **state) {
    (void)state;
    pair.side[1].marks[0] = pair.side[1].unborn = 1;
    pair.side[1].marks[1] = 2;
    pair.side[1].hold[RACT_STAGE] = true;
    pair_connect();
    pair_open(1, 1, 1);
    pair_open(1, 2, 2);
    pair_wait(990);
    assert_false(pair_granted(1, 2));
    pair_wait(20);
    assert_true(pair_granted(1, 2));
    pair_wait(1220);
    assert_false(pair_granted(1, 1));
    pair_wait(20);
    assert_true(pair_granted(1, 1));
}

/* When it has been merged it is as any other. */
static void test_first_is_over(void **state) {
    (void)state;
    pair.side[1].marks[0] = pair.side[1].unborn = 1;
    pair.side[1].hold[RACT_STAGE] = true;
    pair_connect();
    pair_open(1, 1, 1); /* so the machine still knows of it when it is merged */
    replica_staged(pair.side[1].r, pair.now, pair_dir(1), pair_last(1, RACT_STAGE)->round, 0);
    pair_run();
    assert_int_equal(replica_state(pair.side[1].r), REPLICA_IN_SYNC);
    assert_true(pair_granted(1, 1));
    replica_suspect(pair.side[1].r, pair.now, pair_dir(1));
    pair_unlock(1, 2, 1);
    pair_open(1, 3, 1);
    pair_wait(990);
    assert_false(pair_granted(1, 3));
    pair_wait(20);
    assert_true(pair_granted(1, 3));
}

static void opened_before_the_lists(uint64_t req, unsigned ms) {
    pair.side[1].hold[RACT_TREE_SCAN] = true;
    pair_connect();
    pair_open(1, req, 1);
    pair_wait(ms - 10);
    assert_false(pair_granted(1, req));
    pair_wait(20);
    assert_true(pair_granted(1, req));
    pair.side[1].hold[RACT_TREE_SCAN] = false;
    pair_disconnect();
    pair_unlock(1, req + 1, 1);
}

/* Before it is known which these are, it may be any, until all has been merged once: without a
 * start in between. */
static void test_any_may_be_the_first(void **state) {
    uint8_t tree[REPLICA_DIGEST] = {1};
    (void)state;
    pair_stop();
    pair_start(REPLICA_COMMIT_DISK, false);
    opened_before_the_lists(1, 2250);
    replica_tree_scanned(pair.side[1].r, pair.now, pair_payload(), tree); /* it was held */
    pair_connect();
    pair_wait(1000);
    assert_int_equal(replica_state(pair.side[1].r), REPLICA_IN_SYNC);
    pair_disconnect();
    opened_before_the_lists(3, 1000);
}

/* In-sync the tokens are at the lower-named node; the other asks, and gets it when L is free. */
static void test_token_moves(void **state) {
    (void)state;
    pair_connect();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_IN_SYNC);
    pair_open(0, 1, 1);
    assert_true(pair_granted(0, 1));
    assert_int_equal(pair_sent(0, RMSG_TOKEN_REQ), 0);
    pair_open(1, 2, 1);
    assert_false(pair_granted(1, 2));
    assert_int_equal(pair_sent(1, RMSG_TOKEN_REQ), 1);
    pair_unlock(0, 3, 1);
    assert_true(pair_granted(1, 2));
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_NONE);
    assert_true(pair_released(0, 3));
}

/* Who waits too long is shown a lock; it goes when the token is there. */
static void test_busy(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair_open(1, 2, 1);
    pair_wait(150);
    assert_int_equal(pair_count(1, RACT_BUSY, 1), 0);
    pair_wait(100);
    assert_int_equal(pair_count(1, RACT_BUSY, 1), 1);
    pair_wait(1000);
    assert_int_equal(pair_count(1, RACT_TOKEN_HERE, 1), 0);
    pair_unlock(0, 3, 1);
    assert_int_equal(pair_count(1, RACT_TOKEN_HERE, 1), 1);
    /* It is kept for the one who polls, and not asked back meanwhile without being used. */
    pair_open(0, 4, 1);
    assert_false(pair_granted(0, 4));
    pair_open(1, 5, 1);
    assert_true(pair_granted(1, 5));
    pair_unlock(1, 6, 1);
    assert_true(pair_granted(0, 4));
}

static void test_nobody_polls(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair_open(1, 2, 1);
    pair_wait(300);
    pair_unlock(0, 3, 1);
    pair_open(0, 4, 1);
    pair_wait(150);
    assert_false(pair_granted(0, 4));
    pair_wait(500);
    assert_true(pair_granted(0, 4) || pair_count(0, RACT_TOKEN_HERE, 1) > 0);
}

/* L waits until what was received is applied. */
static void test_applied_first(void **state) {
    (void)state;
    pair_connect();
    pair.side[1].hold[RACT_APPLY] = true;
    pair_open(0, 1, 1);
    pair_unlock(0, 2, 1);
    assert_true(pair_released(0, 2));
    pair_open(1, 3, 1);
    assert_false(pair_granted(1, 3));
    replica_applied(pair.side[1].r, pair.now, pair_last(1, RACT_APPLY)->seq);
    pair_run();
    assert_true(pair_granted(1, 3));
}

/* A token lost on the way is nobody's: both leave a gap, each its own. */
static void test_token_lost(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair_open(1, 2, 1); /* asks for it */
    pair.link_held = true;
    pair_unlock(0, 3, 1); /* gives it, and it never arrives */
    assert_int_equal(pair_sent(0, RMSG_TOKEN_GIVE), 1);
    pair_disconnect();
    assert_true(pair_released(0, 3));
    assert_true(pair_granted(1, 2));
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_EVEN);
    pair_open(0, 4, 1);
    assert_true(pair_granted(0, 4));
    assert_int_equal(pair_last(0, RACT_GRANT)->raise, REPLICA_RAISE_ODD);
}

/* Who has it when the link ends goes on without a gap. */
static void test_token_kept(void **state) {
    (void)state;
    pair_connect();
    pair_open(1, 1, 1);
    pair_unlock(1, 2, 1);
    pair_disconnect();
    pair_open(1, 3, 1);
    assert_int_equal(pair_last(1, RACT_GRANT)->raise, REPLICA_RAISE_NONE);
    pair_open(0, 4, 1);
    assert_int_equal(pair_last(0, RACT_GRANT)->raise, REPLICA_RAISE_ODD);
    pair_open(0, 5, 2); /* another mailbox: by default it is here */
    assert_int_equal(pair_last(0, RACT_GRANT)->raise, REPLICA_RAISE_NONE);
}

static void test_mailfs_gone(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    pair_wait(100);
    /* What was done under that L is not known: merged, and open again. */
    assert_true(pair_count(0, RACT_MERGE, 1) == 1 && pair_count(1, RACT_MERGE, 1) == 1);
    pair_open(1, 2, 1);
    assert_true(pair_granted(1, 2));
}

/* The list is raised below whoever has L: so nobody has it meanwhile, alone or not. */
static void test_raise_before_lock(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair.side[0].hold[RACT_RAISE] = true;
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, true);
    pair_run();
    pair_disconnect();
    pair_open(0, 2, 1);
    pair_open(0, 3, 2);
    assert_true(!pair_granted(0, 2) && pair_granted(0, 3));
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    pair_run();
    assert_true(pair_granted(0, 2));
}

/* Nor does the other node: the token stays until the list is raised. */
static void test_raise_before_token(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair.side[0].hold[RACT_RAISE] = true;
    pair_open(1, 2, 1);
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, true);
    pair_run();
    pair_wait(100);
    assert_false(pair_granted(1, 2));
    assert_int_equal(pair_sent(0, RMSG_TOKEN_GIVE) + pair_count(0, RACT_MERGE, 1), 0);
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    pair_run();
    pair_wait(100);
    pair_open(1, 3, 1);
    assert_true(pair_granted(1, 2) || pair_granted(1, 3));
}

/* Its mount is kept: the token stays with L, and the transaction goes on. */
static void test_mailfs_replaced(void **state) {
    struct mailfs_id box = pair_dir(1);
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    replica_mailfs_away(pair.side[0].r, pair.now);
    pair_open(1, 2, 1);
    pair_wait(100);
    assert_false(pair_granted(1, 2));
    replica_locks_are(pair.side[0].r, pair.now, &box, 1, false);
    pair_run();
    pair_unlock(0, 3, 1);
    pair_wait(100);
    assert_true(pair_granted(1, 2));
    assert_int_equal(pair_count(0, RACT_MERGE, 1) + pair_count(0, RACT_RAISE, 1), 0);
}

/* It died between the grant and the word that L is open. Whether it is only the next one knows: the
 * token stays until then, and while it is. */
static void test_replaced_in_a_grant(void **state) {
    struct mailfs_id box = pair_dir(1);
    (void)state;
    for (uint64_t open = 0; open <= 1; open++) {
        uint64_t req = 10 * open;
        pair_connect();
        pair.side[0].hold[RACT_GRANT] = true;
        pair_open(0, req + 1, 1);
        pair_open(1, req + 2, 1);
        assert_true(pair_granted(0, req + 1));
        replica_mailfs_away(pair.side[0].r, pair.now);
        pair_run();
        pair_wait(100);
        assert_false(pair_granted(1, req + 2));
        replica_locks_are(pair.side[0].r, pair.now, &box, open, false);
        pair_run();
        pair_wait(100);
        assert_int_equal(pair_granted(1, req + 2), !open);
        if (open)
            pair_unlock(0, req + 3, 1);
        pair_wait(1500);
        assert_true(pair_granted(1, req + 2));
        pair_unlock(1, req + 5, 1);
        pair_disconnect();
    }
}

/* While somebody has L the list is replaced: neither he who comes after him nor the other node
 * begins where that one ends. */
static void test_list_replaced(void **state) {
    (void)state;
    pair_connect();
    pair.side[0].hold[RACT_RAISE] = true;
    pair_open(0, 1, 1);
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), false);
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(2), false); /* nobody has that */
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    assert_int_equal(pair_count(0, RACT_RAISE, 2), 0);
    pair_open(1, 2, 1);
    pair_unlock(0, 3, 1); /* he may have written the list anew */
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 2);
    pair_open(0, 4, 1);
    for (unsigned i = 0; i < 2; i++) {
        pair_wait(50);
        assert_false(pair_granted(0, 4) || pair_granted(1, 2));
        replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    }
    pair_run();
    pair_wait(1500);
    assert_true(pair_granted(0, 4) || pair_granted(1, 2));
}

/* Nobody has said yet whether somebody has. */
static void test_list_replaced_unseen(void **state) {
    (void)state;
    pair.side[0].hold[RACT_RAISE] = true;
    replica_replaying(pair.side[0].r, pair_dir(1));
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    replica_replayed(pair.side[0].r, pair.now, pair_dir(1));
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0,
                      false); /* it has ended, if there was one */
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 2);
    pair_connect();
    pair_open(0, 1, 1);
    pair_wait(100);
    assert_false(pair_granted(0, 1));
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 2);
    pair_wait(1500);
    assert_true(pair_granted(0, 1));
}

/* Again, while nobody has said whether the one before has ended: a mailfs that serves by itself may
 * have given L to another one meanwhile, who began above the first raise. */
static void test_list_replaced_again(void **state) {
    (void)state;
    pair.side[0].hold[RACT_RAISE] = true;
    replica_replaying(pair.side[0].r, pair_dir(1));
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), false);
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), false); /* one is behind both */
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 2);
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    replica_replayed(pair.side[0].r, pair.now, pair_dir(1));
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 3);
}

/* What was put in its place is raised: it is once more when L has ended, since its owner may have
 * written all of it anew. */
static void test_list_replaced_raised(void **state) {
    (void)state;
    pair_connect();
    pair.side[0].hold[RACT_RAISE] = true;
    pair_open(0, 1, 1);
    for (unsigned i = 0; i < 2; i++)
        replica_list_replaced(pair.side[0].r, pair.now, pair_dir(1), true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 0);
    assert_true(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
    pair_unlock(0, 2, 1);
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    pair_open(0, 3, 1);
    pair_wait(50);
    assert_false(pair_granted(0, 3));
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    pair_run();
    pair_wait(1500);
    assert_true(pair_granted(0, 3));
}

/* By an earlier life, while somebody may have L still. */
static void test_raise_left(void **state) {
    (void)state;
    pair.side[0].hold[RACT_RAISE] = true;
    assert_false(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
    replica_raise_left(pair.side[0].r, pair.now, pair_dir(1), false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    assert_true(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 2);
    assert_true(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    assert_false(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
}

/* It was raised in that life: not before those who may have had L then are gone, and once. */
static void test_raise_left_raised(void **state) {
    (void)state;
    pair.side[0].hold[RACT_RAISE] = true;
    replica_raise_left(pair.side[0].r, pair.now, pair_dir(1), true);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 0);
    assert_true(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
    replica_raised(pair.side[0].r, pair.now, pair_dir(1));
    assert_false(replica_is_raise_due(pair.side[0].r, pair_dir(1)));
}

/* Its owner has it still. */
static void test_raise_left_held(void **state) {
    struct mailfs_id box = pair_dir(1);
    (void)state;
    replica_raise_left(pair.side[0].r, pair.now, box, true);
    replica_locks_are(pair.side[0].r, pair.now, &box, 1, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 0);
    replica_locks_are(pair.side[0].r, pair.now, NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(0, RACT_RAISE, 1), 1);
}

/* U is asked about again: answered when the peer has what was sent, not before. */
static void test_unlock_again(void **state) {
    (void)state;
    pair_connect();
    pair_open(0, 1, 1);
    pair.link_held = true;
    pair_unlock(0, 2, 1);
    replica_mailfs_away(pair.side[0].r, pair.now);
    replica_unlock_again(pair.side[0].r, pair.now, 3, pair_dir(1));
    pair_run();
    assert_false(pair_released(0, 3));
    pair_deliver();
    assert_true(pair_released(0, 3));
}

#define T(f) cmocka_unit_test_setup_teardown(f, pair_setup, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raised_uid),
        T(test_alone_after_start),
        T(test_never_met),
        T(test_waits_for_the_first),
        T(test_first_is_over),
        T(test_any_may_be_the_first),
        T(test_token_moves),
        T(test_busy),
        T(test_nobody_polls),
        T(test_applied_first),
        T(test_token_lost),
        T(test_token_kept),
        T(test_raise_before_lock),
        T(test_raise_before_token),
        T(test_mailfs_gone),
        T(test_mailfs_replaced),
        T(test_replaced_in_a_grant),
        T(test_list_replaced),
        T(test_list_replaced_unseen),
        T(test_list_replaced_again),
        T(test_list_replaced_raised),
        T(test_raise_left),
        T(test_raise_left_raised),
        T(test_raise_left_held),
        T(test_unlock_again),
    };
    return cmocka_run_group_tests_name("replica_token", tests, NULL, NULL);
}
