/*
 * test_syncd_checkpoint_when - when a checkpoint begins; what it writes is stubbed
 *
 * The volume is one without peer and marks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "replica/replica.h"
#include "syncd/base.h"
#include "syncd/checkpoint.h"
#include "syncd/contact.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/oneway.h"
#include "syncd/scan.h"
#include "syncd/state.h"
#include "syncd/unread.h"
#include "syncd/volume.h"
#include "util/clock.h"
#include "util/workq.h"

/* ---- stubs ------------------------------------------------------------------------- */

static _Atomic unsigned written;
static bool stopped;

int state_checkpoint(struct state *st, uint64_t gen, const struct mailfs_id *settled, size_t n) {
    written++;
    return 0;
}

size_t state_dirty_bytes(struct state *st) {
    return 0;
}

static unsigned lost_before; /* that checkpoint, nothing can be noted */

bool state_recent_lost(const struct state *st) {
    return written < lost_before;
}

int state_mark_gen(struct state *st, uint64_t *gen) {
    return -1;
}

int state_mark_gen_raise(struct state *st, uint64_t gen) {
    return 0;
}

int state_marks(struct state *st, uint64_t gen, struct state_mark **marks, size_t *n) {
    return 0;
}

int base_dir_get(struct state *st, const struct mailfs_id *id, struct base_dir *out) {
    return -1;
}

bool scan_is_left(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                  size_t n) {
    return false;
}

int oneway_keep_marks(struct volume *v, struct mailfs_id *dirs, size_t n) {
    return 0;
}

bool oneway_keeps_mark(const struct volume *v, const struct mailfs_id *dir) {
    return false;
}

bool unread_in(struct state *st, const struct mailfs_id *dir) {
    return false;
}

void oneway_left_by_none(struct volume *link, const struct mailfs_id *dir) {
}

void oneway_left(struct volume *link, const struct mailfs_id *dir, bool left) {
}

size_t oneway_lenders(const struct volume *link, struct state **out) {
    return 0;
}

bool contact_is_up(const struct volume *v) {
    return false;
}

uint64_t front_gen(const struct front *f) {
    return 0;
}

static bool looking;
static unsigned asked; /* for a generation, so that marks can go */

bool front_is_looking(const struct front *f) {
    return looking;
}

bool front_new_gen(struct front *f, uint64_t gen, void (*reached)(struct volume *v, uint64_t gen)) {
    asked++;
    return false;
}

void volume_error(struct volume *v, const char *fmt, ...) {
}

bool volume_is_watched(const struct volume *v) {
    return false;
}

void volume_stopped(struct volume *v) {
    stopped = true;
}

/* ---- a volume ---------------------------------------------------------------------- */

static struct engine engine;
static struct volume volume;
static struct event *finished;

static void poll_work(evutil_socket_t fd, short what, void *arg) {
    workq_poll(engine.disk);
}

static int setup(void **state) {
    static char name[] = "mail";
    static const struct conf_volume cv = {.name = name};
    struct replica_config rc = {.node = "mx-a", .timeout_ms = 3000, .max_unacked = 100};

    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.disk) != 0)
        return -1;
    finished = event_new(engine.evb, workq_fd(engine.disk), EV_READ | EV_PERSIST, poll_work, NULL);
    event_add(finished, NULL);
    volume = (struct volume){.engine = &engine, .cv = &cv};
    volume.machine = replica_new(&rc, 0);
    volume.jobs = jobs_new(engine.disk, 1);
    volume.checkpoint = checkpoint_new(&volume);
    written = lost_before = 0;
    stopped = false;
    return 0;
}

static int teardown(void **state) {
    checkpoint_stop(volume.checkpoint);
    while (!stopped)
        event_base_loop(engine.evb, EVLOOP_ONCE);
    checkpoint_free(volume.checkpoint);
    jobs_free(volume.jobs);
    replica_free(volume.machine);
    event_free(finished);
    workq_free(engine.disk);
    event_base_free(engine.evb);
    return 0;
}

/* How long it takes until there have been n. */
static uint64_t until(unsigned n) {
    uint64_t began = clock_ms();

    while (written < n)
        event_base_loop(engine.evb, EVLOOP_ONCE);
    return clock_ms() - began;
}

static void merged(void) {
    volume.changes++;
    checkpoint_merged(volume.checkpoint);
}

static void soon(void) {
    volume.changes++;
    checkpoint_soon(volume.checkpoint);
}

/* ---- tests ------------------------------------------------------------------------- */

/* A link that comes and goes: the store is synced at once, and then now and then. */
static void merged_again_and_again(void **state) {
    merged();
    assert_true(until(1) < CHECKPOINT_PAUSE_MS);
    merged();
    assert_true(until(2) > CHECKPOINT_PAUSE_MS * 3 / 4);
    merged(); /* while the second one is under way, perhaps, */
    merged(); /* and once more: they are one */
    assert_true(until(3) > CHECKPOINT_PAUSE_MS * 3 / 4);
}

/* What must not go with the power does not wait for that, and is not held up by it. */
static void soon_is_soon(void **state) {
    merged();
    until(1);
    soon();
    assert_true(until(2) < CHECKPOINT_PAUSE_MS * 3 / 4);
    merged();
    soon();
    assert_true(until(3) < CHECKPOINT_PAUSE_MS * 3 / 4);
    soon();
    merged();
    assert_true(until(4) < CHECKPOINT_PAUSE_MS * 3 / 4);
}

/* What a kill would cost is noted by the next one that finds room: tried soon, but not each time
 * that anybody asks, nor at once where the one before has just ended. Nothing has to have changed.
 */
static void lost_is_tried_again(void **state) {
    lost_before = 3;
    checkpoint_if_lost(volume.checkpoint);
    assert_true(until(1) < CHECKPOINT_RETRY_MS);
    uint64_t began = clock_ms();
    while (written == 1) {
        event_base_loop(engine.evb, EVLOOP_ONCE);
        checkpoint_if_lost(volume.checkpoint);
    }
    assert_true(clock_ms() - began > CHECKPOINT_RETRY_MS * 3 / 4);
    assert_true(until(3) < CHECKPOINT_MS / 2);
    while (workq_pending(engine.disk) > 0) /* its end */
        event_base_loop(engine.evb, EVLOOP_ONCE);
    lost_before = 4;
    checkpoint_if_lost(volume.checkpoint);
    uint64_t again = until(4);
    assert_true(again > CHECKPOINT_PAUSE_MS * 3 / 4 && again < CHECKPOINT_MS / 2);
    while (workq_pending(engine.disk) > 0)
        event_base_loop(engine.evb, EVLOOP_ONCE);
    lost_before = 5;
    checkpoint_soon(volume.checkpoint);
    checkpoint_if_lost(volume.checkpoint); /* does not hold that up */
    assert_true(until(5) < CHECKPOINT_PAUSE_MS * 3 / 4);
}

/* Only the marks say what mailfs has changed and not told: none goes while that is looked for. */
static void marks_are_looked_at(void **state) {
    volume.n_links = 1;
    looking = true;
    asked = 0;
    soon();
    until(1);
    assert_int_equal(asked, 0);
    looking = false;
    soon();
    until(2);
    assert_int_equal(asked, 1);
    volume.n_links = 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(merged_again_and_again),
        T(soon_is_soon),
        T(lost_is_tried_again),
        T(marks_are_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
