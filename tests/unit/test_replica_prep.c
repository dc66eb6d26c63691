/* Prepared contents: who waits for them, and what becomes of them when the link ends, or their
 * author. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica_pair.h"

static const struct replica_prep prep = {7, 1};

static void prepare(void) {
    replica_prepare(pair.side[0].r, pair.now, 1, prep, pair_payload());
    pair_run();
}

/* And b has it. */
static void prepared(void) {
    prepare();
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
}

static void test_prepare(void **state) {
    (void)state;
    prepare();
    assert_false(pair_released(0, 1));
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    assert_true(pair_released(0, 1));
    replica_act(pair.side[0].r, pair.now, pair_dir(1), pair_payload(), &prep, 1, false);
    pair_run();
    pair_disconnect();
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

static void test_prepare_alone(void **state) {
    (void)state;
    pair_disconnect();
    prepare();
    assert_true(pair_released(0, 1));
}

/* The origin dies: what it may have promised is published, the rest dropped. */
static void test_published(void **state) {
    (void)state;
    const struct replica_prep half = {7, 2};
    replica_prepare(pair.side[0].r, pair.now, 1, prep, pair_payload());
    replica_prepare(pair.side[0].r, pair.now, 2, half, pair_payload());
    pair_run();
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    pair_disconnect();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    assert_true(pair_released(0, 2));
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

/* The link comes back at once: the author, who is alive, names it, or it is aborted. */
static void test_not_published(void **state) {
    (void)state;
    const struct replica_prep dropped = {7, 2};
    replica_prepare(pair.side[0].r, pair.now, 1, prep, pair_payload());
    replica_prepare(pair.side[0].r, pair.now, 2, dropped, pair_payload());
    pair_run();
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    replica_content_durable(pair.side[1].r, pair.now, dropped, 0);
    pair_run();
    pair_disconnect();
    pair_connect();
    replica_act(pair.side[0].r, pair.now, pair_dir(1), pair_payload(), &prep, 1, false);
    replica_abort(pair.side[0].r, pair.now, dropped);
    pair_run();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    pair_wait(4000);
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* The link ends with the abort, or with its confirmation: it is said again, until that has come. */
static void abort_lost(bool confirmed) {
    const struct replica_prep next = {7, 2};
    prepared();
    pair.link_held = true;
    replica_abort(pair.side[0].r, pair.now, prep);
    if (confirmed)
        replica_receive(pair.side[1].r, pair.now,
                        &(struct replica_msg){.kind = RMSG_ABORT, .prep = prep});
    pair_run();
    pair_drop();
    pair.link_held = false;
    pair_disconnect();
    pair_connect();
    /* said twice, it is dropped twice: what is left of it is not known here any more */
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), confirmed ? 2 : 1);
    pair_wait(4000);
    pair_disconnect();
    pair_wait(4000);
    pair_connect();
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
    assert_int_equal(pair_sent(0, RMSG_ABORT), 2);
    replica_prepare(pair.side[0].r, pair.now, 2, next, pair_payload());
    pair_run();
    assert_false(pair_released(0, 2));
}

static void test_abort_lost(void **state) {
    (void)state;
    abort_lost(false);
}

static void test_confirmation_lost(void **state) {
    (void)state;
    abort_lost(true);
}

/* The link comes back, but nobody there knows of it any more. */
static void test_published_in_sync(void **state) {
    (void)state;
    prepared();
    pair_disconnect();
    pair_connect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

/* It was to be published, which may be tried still, when its origin is there again and says that it
 * was aborted; nor is it tried before that can be said. */
static void test_aborted_when_published(void **state) {
    (void)state;
    prepared();
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
    assert_true(replica_may_publish(pair.side[1].r, pair.now));
    replica_abort(pair.side[0].r, pair.now, prep);
    pair_connect();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    assert_int_equal(pair_sent(1, RMSG_ABORTED), 1);
    assert_false(replica_may_publish(pair.side[1].r, pair.now));
    pair_wait(4000);
    assert_true(replica_may_publish(pair.side[1].r, pair.now));
}

/* Who waited for L while all was merged names it when that is over. */
static void test_named_after_merge(void **state) {
    (void)state;
    prepared();
    pair_disconnect();
    pair.side[0].marks[0] = 5;
    pair.side[0].hold[RACT_STAGE] = true;
    pair_connect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
    replica_staged(pair.side[0].r, pair.now, pair_dir(5), pair_last(0, RACT_STAGE)->round, 0);
    pair_run();
    pair_wait(1000);
    assert_int_equal(replica_state(pair.side[1].r), REPLICA_IN_SYNC);
    replica_act(pair.side[0].r, pair.now, pair_dir(2), pair_payload(), &prep, 1, false);
    pair_run();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* Its body is moving, also for whoever asks again. */
static void test_progress(void **state) {
    (void)state;
    replica_prepare(pair.side[0].r, pair.now, 1, prep, pair_payload());
    for (uint64_t req = 1; req <= 2; req++) {
        for (int i = 0; i < 3; i++) {
            pair_wait(2000);
            replica_progress(pair.side[0].r, pair.now, prep);
        }
        assert_false(pair_released(0, req));
        if (req == 2)
            break;
        replica_mailfs_away(pair.side[0].r, pair.now);
        replica_prepare_again(pair.side[0].r, pair.now, 2, prep, pair_payload());
    }
    pair_wait(3100);
    assert_true(pair_released(0, 2));
}

/* The worker of mailfs died: what the peer has of it, or is being sent, is what the next one asks
 * for, and it is named by that number. */
static void test_prepare_again(void **state) {
    (void)state;
    prepare();
    replica_mailfs_away(pair.side[0].r, pair.now);
    replica_prepare_again(pair.side[0].r, pair.now, 2, prep, pair_payload());
    pair_run();
    assert_false(pair_released(0, 2));
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    assert_true(pair_released(0, 2));
    replica_mailfs_away(pair.side[0].r, pair.now);
    replica_prepare_again(pair.side[0].r, pair.now, 3, prep, pair_payload());
    pair_run();
    assert_true(pair_released(0, 3));
    pair_disconnect();
    replica_prepare_again(pair.side[0].r, pair.now, 4, prep, pair_payload());
    pair_run();
    assert_true(pair_released(0, 4));
    pair_connect();
    replica_act(pair.side[0].r, pair.now, pair_dir(1), pair_payload(), &prep, 1, false);
    pair_run();
    assert_int_equal(pair_sent(0, RMSG_PREPARE), 1);
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* What the peer may publish: what it had when the link ended, or before this machine lived. */
static void test_prepared_past(void **state) {
    (void)state;
    const struct replica_prep before = {7, 3}, first = {7, 4}, alone = {7, 5}, remount = {8, 1};
    struct replica *r = pair.side[0].r;
    assert_true(replica_prep_is_past(r, before));
    replica_prepare(r, pair.now, 1, first, pair_payload());
    pair_run();
    assert_false(replica_prep_is_past(r, first));
    assert_true(replica_prep_is_past(r, before));
    pair_disconnect();
    assert_true(replica_prep_is_past(r, first));
    replica_prepare(r, pair.now, 2, alone, pair_payload());
    assert_false(replica_prep_is_past(r, alone));
    replica_prepare_again(r, pair.now, 3, before, pair_payload());
    assert_true(replica_prep_is_past(r, before));
    replica_prepare(r, pair.now, 4, remount, pair_payload());
    assert_false(replica_prep_is_past(r, remount));
}

/* The peer may have it from an earlier life of this machine, or never have heard of it. */
static void test_prepare_again_unknown(void **state) {
    (void)state;
    replica_prepare_again(pair.side[0].r, pair.now, 1, prep, pair_payload());
    pair_run();
    assert_int_equal(pair_sent(0, RMSG_ABORT), 1);
    assert_int_equal(pair_sent(0, RMSG_PREPARE), 1);
    assert_false(pair_released(0, 1));
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    assert_true(pair_released(0, 1));
}

static void prepare_two(const struct replica_prep *one, const struct replica_prep *two) {
    replica_prepare(pair.side[0].r, pair.now, 1, *one, pair_payload());
    replica_prepare(pair.side[0].r, pair.now, 2, *two, pair_payload());
    pair_run();
    replica_content_durable(pair.side[1].r, pair.now, *one, 0);
    replica_content_durable(pair.side[1].r, pair.now, *two, 0);
    pair_run();
}

/* Their mailfs has died, and perhaps not told all: aborted when all is merged, and not before. The
 * next one's goes on. */
static void test_died_untold(void **state) {
    (void)state;
    const struct replica_prep next = {8, 1};
    prepare_two(&prep, &next);
    pair_disconnect();
    replica_abort_others(pair.side[0].r, pair.now, next.incarnation, true);
    pair_connect();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

/* The name of one of them was told, and is held back, since its mailbox is frozen: the driver ends
 * the contact then, and the number goes with the merge that has carried the name over. */
static void test_died_held(void **state) {
    (void)state;
    const uint8_t digest[REPLICA_DIGEST] = {pair.side[0].merged};
    pair.side[0].marks[0] = 3;
    pair_disconnect();
    pair.side[0].hold[RACT_MERGE] = true;
    pair_connect();
    prepared();
    assert_true(
        replica_act(pair.side[0].r, pair.now, pair_dir(3), pair_payload(), &prep, 1, false));
    pair_disconnect();
    const struct noted *m = pair_last(0, RACT_MERGE);
    replica_merged(pair.side[0].r, pair.now, pair_dir(m->dir), m->round, digest, 0);
    replica_abort_others(pair.side[0].r, pair.now, 8, true);
    pair_connect();
    pair_wait(4000);
    assert_int_equal(pair_sent(0, RMSG_ABORT), 0);
    m = pair_last(0, RACT_MERGE);
    replica_merged(pair.side[0].r, pair.now, pair_dir(m->dir), m->round, digest, 0);
    pair_run();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_IN_SYNC);
    assert_int_equal(pair_sent(0, RMSG_ABORT), 1);
    pair_wait(8000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* It died over a link that stays, after an epoch that had ended. */
static void test_died_later(void **state) {
    (void)state;
    const struct replica_prep dropped = {7, 2};
    prepare_two(&prep, &dropped);
    pair_disconnect();
    replica_abort(pair.side[0].r, pair.now, dropped); /* cannot be told now */
    pair_connect();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    replica_abort_others(pair.side[0].r, pair.now, 8, false);
    pair_run();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 2);
    pair_wait(4000);
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* Named by a transaction that is not durable yet when the link ends: only one of the two. */
static void test_claimed(void **state) {
    (void)state;
    prepare();
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair.side[1].hold[RACT_JOURNAL] = true;
    replica_act(pair.side[0].r, pair.now, pair_dir(1), pair_payload(), &prep, 1, false);
    pair_run();
    pair_disconnect();
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
    replica_journaled(pair.side[1].r, pair.now, pair_last(1, RACT_JOURNAL)->seq, -EIO);
    pair_run();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

/* Named by the transaction of a copy in another mailbox, which does not use it up, while its own
 * mailbox's is not told. */
static void test_copied(void **state) {
    (void)state;
    prepared();
    replica_act(pair.side[0].r, pair.now, pair_dir(2), pair_payload(), NULL, 0, false);
    pair_run();
    assert_int_equal(pair_count(1, RACT_JOURNAL, 0), 1);
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

static void test_aborted(void **state) {
    (void)state;
    prepare();
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    replica_abort(pair.side[0].r, pair.now, prep);
    pair_run();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    pair_disconnect();
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* Asked for by the machine before this one, which was killed: said as soon as there is a link. */
static void test_aborted_since_the_start(void **state) {
    (void)state;
    replica_receive(
        pair.side[1].r, pair.now,
        &(struct replica_msg){.kind = RMSG_PREPARE, .prep = prep, .payload = pair_payload()});
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    pair_disconnect();
    replica_abort(pair.side[0].r, pair.now, prep);
    pair_connect();
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    pair_wait(4000);
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* What nobody was ever given is not kept to be aborted: in a long outage it would push out what the
 * peer has. */
static void test_aborted_never_sent(void **state) {
    (void)state;
    const struct replica_prep next = {7, 2};
    pair_disconnect();
    prepare();
    replica_abort(pair.side[0].r, pair.now, prep);
    replica_prepare(pair.side[0].r, pair.now, 2, next, pair_payload());
    replica_abort(pair.side[0].r, pair.now, next);
    pair_connect();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_IN_SYNC);
    assert_int_equal(pair_sent(0, RMSG_ABORT), 0);
}

static void test_peer_full(void **state) {
    (void)state;
    prepare();
    replica_content_durable(pair.side[1].r, pair.now, prep, -ENOSPC);
    pair_run();
    assert_true(pair_released(0, 1));
    assert_int_equal(pair_last(0, RACT_RELEASE)->err, 0);
    assert_int_equal(pair_count(0, RACT_DISCONNECT, 0), 1);
}

static void ask_copies(const struct replica_prep *preps, size_t n) {
    struct replica_copy v[2];
    for (size_t i = 0; i < n; i++)
        v[i] = (struct replica_copy){preps[i], pair_payload()};
    replica_prepare_copies(pair.side[0].r, pair.now, 5, v, n);
}

/* Mailbox 3 is still to be merged. */
static void hold_merge(void) {
    pair.side[0].marks[0] = 3;
    pair_disconnect();
    pair.side[1].hold[RACT_MERGE] = true;
    pair_connect();
}

/* A copy of a delivery in it: U waits for it. */
static void prepare_copy(void) {
    hold_merge();
    ask_copies(&prep, 1);
    pair_run();
    assert_false(pair_released(0, 5));
    replica_content_durable(pair.side[1].r, pair.now, prep, 0);
    pair_run();
    assert_true(pair_released(0, 5));
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 0);
}

/* The merge has carried it over: nobody names it, so it goes. */
static void test_copy_and_merged(void **state) {
    (void)state;
    prepare_copy();
    const struct noted *m = pair_last(1, RACT_MERGE);
    const uint8_t digest[REPLICA_DIGEST] = {pair.side[1].merged};
    replica_merged(pair.side[1].r, pair.now, pair_dir(m->dir), m->round, digest, 0);
    pair_run();
    assert_int_equal(replica_state(pair.side[0].r), REPLICA_IN_SYNC);
    assert_int_equal(pair_count(1, RACT_UNPREPARE, 0), 1);
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 0);
}

/* Or the origin dies before. */
static void test_copy_and_lost(void **state) {
    (void)state;
    prepare_copy();
    pair_disconnect();
    pair_wait(4000);
    assert_int_equal(pair_count(1, RACT_PUBLISH, 0), 1);
}

/* Two under one L, and the second is durable first. */
static void test_copies(void **state) {
    (void)state;
    const struct replica_prep two[] = {{7, 1}, {7, 2}};
    hold_merge();
    ask_copies(two, 2);
    pair_run();
    replica_content_durable(pair.side[1].r, pair.now, two[1], 0);
    pair_run();
    assert_false(pair_released(0, 5));
    pair_wait(2000);
    replica_progress(pair.side[0].r, pair.now, two[0]);
    pair_wait(2000);
    assert_false(pair_released(0, 5));
    replica_content_durable(pair.side[1].r, pair.now, two[0], 0);
    pair_run();
    assert_true(pair_released(0, 5));
}

/* One of them is asked for already, under that number. */
static void test_copies_and_asked(void **state) {
    (void)state;
    const struct replica_prep two[] = {{7, 1}, {7, 2}};
    hold_merge();
    prepare();
    ask_copies(two, 2);
    pair_run();
    assert_false(pair_released(0, 5));
    replica_content_durable(pair.side[1].r, pair.now, two[1], 0);
    pair_run();
    assert_true(pair_released(0, 5));
}

static void test_copy_alone(void **state) {
    (void)state;
    pair_disconnect();
    ask_copies(&prep, 1);
    pair_run();
    assert_true(pair_released(0, 5));
}

#define T(f) cmocka_unit_test_setup_teardown(f, pair_setup_connected, pair_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_prepare),
        T(test_prepare_alone),
        T(test_published),
        T(test_not_published),
        T(test_abort_lost),
        T(test_confirmation_lost),
        T(test_published_in_sync),
        T(test_named_after_merge),
        T(test_progress),
        T(test_prepare_again),
        T(test_prepared_past),
        T(test_prepare_again_unknown),
        T(test_died_untold),
        T(test_died_held),
        T(test_died_later),
        T(test_claimed),
        T(test_copied),
        T(test_copy_and_merged),
        T(test_copy_and_lost),
        T(test_copy_alone),
        T(test_copies),
        T(test_copies_and_asked),
        T(test_aborted_since_the_start),
        T(test_aborted_never_sent),
        T(test_aborted),
        T(test_peer_full),
        T(test_aborted_when_published),
    };
    return cmocka_run_group_tests_name("replica_prep", tests, NULL, NULL);
}
