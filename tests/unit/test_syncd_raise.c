/*
 * test_syncd_raise - from RACT_RAISE to replica_raised(); the list is stubbed
 *
 * The machine grants L when it hears that the next UID is raised, so it must not hear that of one
 * that could not be.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/alias.h"
#include "syncd/driver.h"
#include "syncd/driver_raise.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/owed.h"
#include "syncd/promote.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/clock.h"
#include "util/workq.h"

static struct engine engine;
static struct volume volume;
static const struct mailfs_id id = {{1}};
static int failing; /* the first one's */
static _Atomic unsigned tries;
static unsigned raised;
static bool former; /* id is */
static _Atomic unsigned asked;
static unsigned renumbered_at; /* not before it was asked so often */
static const struct mailfs_id other = {{2}};
static struct mailfs_id record; /* is by this id */
static struct mailfs_id due_by, granted;
static struct mailfs_id in;
static _Atomic bool noted, marked; /* to be raised, raised */
static unsigned lefts;
static bool due;

/* ---- stubs ------------------------------------------------------------------------- */

int promote_raise_lost(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                       uint32_t *tried, struct invals *inval) {
    assert_int_equal((*tried)++, tries); /* it is the first one's still */
    memset(inval, 0, sizeof(*inval));
    assert_true(noted);
    in = *dir;
    return tries++ == 0 ? failing : 0;
}

int owed_note(struct state *st, const struct mailfs_id *dir) {
    noted = true;
    record = *dir;
    return 0;
}

int owed_raised(struct state *st, const struct mailfs_id *dir) {
    assert_true(noted && mailfs_id_equal(dir, &record));
    marked = true;
    return 0;
}

int owed_paid(struct state *st, const struct mailfs_id *dir) {
    assert_true(mailfs_id_equal(dir, &record));
    noted = false;
    return 0;
}

/* One that was raised, one that was not. */
int owed_list(struct state *st, struct owed_dir **dirs, size_t *n) {
    struct owed_dir *both = calloc(2, sizeof *both);
    assert_non_null(both);
    both[1] = (struct owed_dir){.dir = id, .raised = true};
    *dirs = both;
    *n = 2;
    return 0;
}

void replica_raise_left(struct replica *r, uint64_t now, struct mailfs_id dir, bool done) {
    assert_int_equal(done, mailfs_id_equal(&dir, &id));
    lefts++;
}

bool replica_is_raise_due(const struct replica *r, struct mailfs_id dir) {
    return due && mailfs_id_equal(&dir, &due_by);
}

struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *dir) {
    return mailfs_id_equal(dir, &other) ? granted : *dir;
}

void replica_raised(struct replica *r, uint64_t now, struct mailfs_id dir) {
    assert_true(mailfs_id_equal(&dir, &id));
    raised++;
}

bool alias_now(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    *now = other;
    return former && asked++ >= renumbered_at && mailfs_id_equal(old, &id);
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

void driver_pump(struct volume *v) {
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a volume ---------------------------------------------------------------------- */

static int setup(void **state) {
    tries = 0;
    raised = 0;
    former = due = false;
    asked = 0;
    renumbered_at = 0;
    due_by = id;
    granted = other;
    noted = marked = false;
    lefts = 0;
    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.io) != 0)
        return -1;
    volume = (struct volume){.engine = &engine, .jobs = jobs_new(engine.io, 0)};
    return 0;
}

static int teardown(void **state) {
    jobs_free(volume.jobs);
    workq_free(engine.io);
    event_base_free(engine.evb);
    return 0;
}

/* Until it has been tried. */
static void raise_it(int err) {
    struct replica_action a = {.kind = RACT_RAISE, .dir = id, .raise = REPLICA_RAISE_ODD};

    failing = err;
    driver_raise(&volume, &a);
    workq_drain(engine.io);
    assert_int_equal(tries, 1);
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_at_once(void **state) {
    raise_it(0);
    assert_int_equal(raised, 1);
    assert_true(mailfs_id_equal(&in, &id));
    workq_drain(engine.io);
    assert_false(noted);
}

/* Whoever has L may write the list as he knew it: that it is to be raised stays noted. */
static void test_once_more(void **state) {
    due = true;
    raise_it(0);
    workq_drain(engine.io);
    assert_int_equal(raised, 1);
    assert_true(noted && marked);
}

static void test_left(void **state) {
    assert_int_equal(driver_raise_left(&volume), 0);
    assert_int_equal(lefts, 2);
}

/* L was granted under an id that its container has lost since. */
static void test_former(void **state) {
    former = true;
    raise_it(0);
    assert_int_equal(raised, 1);
    assert_int_equal(in.b[0], 2);
}

/* The record is by the id that the container has, which the next life finds it by; it goes when no
 * id that it had is due. */
static void test_former_record(void **state) {
    former = true;
    raise_it(0);
    workq_drain(engine.io);
    assert_true(mailfs_id_equal(&record, &other));
    assert_false(noted);
}

static void test_former_due(void **state) {
    const struct mailfs_id ids[] = {id, other, {{3}}};
    granted = ids[2];
    for (unsigned i = 0; i < 3; i++) {
        tries = 0;
        former = due = true;
        due_by = ids[i];
        raise_it(0);
        workq_drain(engine.io);
        assert_true(noted);
    }
}

/* It got the other one while the raising waited for its turn. */
static void test_renumbered(void **state) {
    struct replica_action a = {.kind = RACT_RAISE, .dir = id, .raise = REPLICA_RAISE_ODD};
    former = true;
    renumbered_at = 1;
    driver_raise(&volume, &a);
    workq_drain(engine.io);
    assert_int_equal(tries + raised, 0);
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
    assert_int_equal(raised, 1);
    assert_true(mailfs_id_equal(&in, &other));
}

/* mailfs had given syncd up: nothing is wrong with the list, and nobody gets L until it is raised.
 */
static void test_given_up(void **state) {
    uint64_t began = clock_ms();

    raise_it(-EOWNERDEAD);
    assert_int_equal(raised, 0);
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
    assert_int_equal(tries, 2);
    assert_int_equal(raised, 1);
    assert_true(clock_ms() - began < 2500);
}

/* A syncd that ends still grants L until it has. */
static void test_stopping(void **state) {
    volume.stopping = true;
    raise_it(-EIO);
    assert_int_equal(raised, 0);
    assert_true(noted && !marked);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_at_once),    T(test_former),        T(test_once_more),
        T(test_left),       T(test_former_record), T(test_former_due),
        T(test_renumbered), T(test_given_up),      T(test_stopping)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
