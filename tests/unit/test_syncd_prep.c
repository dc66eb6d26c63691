/*
 * test_syncd_prep - which prepared contents are tried again; who publishes them, and the timer, are
 * stubbed
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "replica/replica_int.h"
#include "syncd/driver.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/oneway.h"
#include "syncd/stage.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"
#include "util/workq.h"

static struct engine engine;
static struct volume v;
static int err; /* of publishing */
static unsigned attempts;
static struct replica machine;
static event_callback_fn again;
static void *again_arg;

/* ---- stubs ------------------------------------------------------------------------- */

int stage_publish(struct state *st, const struct stage_prep *prep, uint64_t gen,
                  struct invals *iv) {
    attempts++;
    return err;
}

int stage_drop(struct state *st, const struct stage_prep *prep) {
    return 0;
}

void stage_drop_idle(struct state *st) {
}

uint64_t xfer_prep_lane(const struct replica_prep *prep) {
    return 0;
}

uint64_t front_gen(const struct front *f) {
    return 1;
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

void oneway_changed(struct volume *volume, const struct mailfs_id *dir, bool tree) {
}

uint64_t volume_now(void) {
    return 1000;
}

int event_base_once(struct event_base *base, evutil_socket_t fd, short what, event_callback_fn fn,
                    void *arg, const struct timeval *tv) {
    assert_true(tv->tv_sec > 0);
    again = fn;
    again_arg = arg;
    return 0;
}

/* ---- a volume ---------------------------------------------------------------------- */

static int setup(void **state) {
    attempts = 0;
    machine = (struct replica){.connected = false};
    again = NULL;
    if (workq_new(1, 100, &engine.io) != 0)
        return -1;
    v = (struct volume){.engine = &engine, .machine = &machine, .jobs = jobs_new(engine.io, 0)};
    return 0;
}

static int teardown(void **state) {
    jobs_free(v.jobs);
    workq_free(engine.io);
    return 0;
}

/* The timer is over, and this comes of it. */
static void next_attempt(int result) {
    event_callback_fn fn = again;

    assert_non_null(fn);
    again = NULL;
    err = result;
    fn(-1, EV_TIMEOUT, again_arg);
    workq_drain(engine.io);
}

/* ---- tests ------------------------------------------------------------------------- */

/* No room; then the journal refers to it, by a transaction that may be refused; then it has its
 * name. */
static void test_until_published(void **state) {
    err = -ENOSPC;
    driver_publish_prep(&v, (struct replica_prep){77, 9});
    workq_drain(engine.io);
    next_attempt(-EBUSY);
    next_attempt(0);
    assert_null(again);
    assert_int_equal(attempts, 3);
}

/* The nodes meet: whoever prepared it may say what becomes of it. */
static void test_while_they_meet(void **state) {
    err = -ENOSPC;
    driver_publish_prep(&v, (struct replica_prep){77, 9});
    workq_drain(engine.io);
    machine.connected = true;
    machine.state = REPLICA_CATCHING_UP;
    next_attempt(0);
    assert_int_equal(attempts, 1);
    machine.state = REPLICA_IN_SYNC;
    next_attempt(0);
    assert_null(again);
    assert_int_equal(attempts, 2);
}

/* And syncd is to end before they have: the next one tries. */
static void test_stopped_while_they_meet(void **state) {
    err = -ENOSPC;
    driver_publish_prep(&v, (struct replica_prep){77, 9});
    workq_drain(engine.io);
    machine.connected = true;
    machine.state = REPLICA_CATCHING_UP;
    v.stopping = true;
    next_attempt(0);
    assert_null(again);
    assert_int_equal(attempts, 1);
}

/* The transaction is applied. */
static void test_until_used_up(void **state) {
    err = -EBUSY;
    driver_publish_prep(&v, (struct replica_prep){77, 9});
    workq_drain(engine.io);
    next_attempt(1);
    assert_null(again);
}

/* A merge of the trees brings its mailbox. */
static void test_homeless(void **state) {
    err = -ENOENT;
    driver_publish_prep(&v, (struct replica_prep){77, 9});
    workq_drain(engine.io);
    assert_null(again);
    assert_int_equal(attempts, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_until_published), T(test_while_they_meet),
                                       T(test_stopped_while_they_meet), T(test_until_used_up),
                                       T(test_homeless)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
