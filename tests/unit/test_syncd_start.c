/*
 * test_syncd_start - when the journal of an earlier life is applied; by whom is stubbed
 *
 * A mailfs that runs has given L by itself while no syncd was there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/driver_apply.h"
#include "syncd/driver_raise.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/journal.h"
#include "syncd/load.h"
#include "syncd/merge_run.h"
#include "syncd/pending.h"
#include "syncd/role.h"
#include "syncd/stage.h"
#include "syncd/state.h"
#include "syncd/volume.h"
#include "util/workq.h"

static struct engine engine;
static struct volume v;
static struct conf_peer peer;
static const struct conf_volume cv = {.name = (char[]){"mail"}, .peer = &peer};
static uint64_t now;
static bool apart, locked;
static int raise_err;
static unsigned raises;
static unsigned kept, begun, contacts, counted;

/* ---- stubs ------------------------------------------------------------------------- */

int driver_raise_left(struct volume *volume) {
    raises++;
    return raise_err;
}

int journal_replay(struct state *st, journal_fn *fn, void *arg) {
    Mfp__Txn *txn;

    if (v.start.journal == 0)
        return 0;
    txn = malloc(sizeof *txn);
    assert_non_null(txn);
    mfp__txn__init(txn);
    txn->dir.data = calloc(1, MAILFS_ID_BYTES);
    txn->dir.len = MAILFS_ID_BYTES;
    return fn(arg, 1, txn);
}

void driver_apply_replayed(struct volume *volume, const struct mailfs_id *dir, uint64_t journal_id,
                           struct replica_payload *payload) {
    replica_payload_unref(payload);
    v.replays = (struct apply *)&v; /* there is one */
    kept++;
}

bool driver_replay_is_locked(const struct volume *volume) {
    return locked;
}

void driver_replay_go_on(struct volume *volume) {
    v.replays = NULL;
    begun += kept;
    kept = 0;
}

bool front_is_apart(const struct front *f) {
    return apart;
}

bool front_is_connected(const struct front *f) {
    return !apart;
}

bool volume_is_watched(const struct volume *volume) {
    return false;
}

uint64_t volume_now(void) {
    return now;
}

struct conf_role role_of(const struct volume *volume) {
    return (struct conf_role){0};
}

int stage_leftovers(struct state *st, struct stage_prep **preps, size_t *n) {
    *preps = NULL;
    *n = 0;
    return 0;
}

int state_start_over(struct state *st) {
    return 0;
}

int state_marks(struct state *st, uint64_t gen, struct state_mark **marks, size_t *n) {
    *marks = calloc(1, sizeof **marks);
    *n = 1;
    return *marks != NULL ? 0 : -ENOMEM;
}

/* What is still to be put into the store would be taken for what the peer lacks. */
int pending_rescan(struct state *st, const struct mailfs_id *dir) {
    assert_int_equal(kept, 0);
    counted++;
    return 0;
}

void merge_keep_back(struct state *st) {
}

void driver_publish_prep(struct volume *volume, struct replica_prep prep) {
}

void driver_pump(struct volume *volume) {
}

void contact_start(struct volume *volume) {
    contacts++;
}

/* ---- a start ----------------------------------------------------------------------- */

static int setup(void **state) {
    kept = begun = contacts = counted = 0;
    apart = locked = false;
    now = 1000;
    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.io) != 0)
        return -1;
    v = (struct volume){.engine = &engine,
                        .cv = &cv,
                        .jobs = jobs_new(engine.io, 0),
                        .start.journal = 1,
                        .had_contact = true};
    return 0;
}

static int teardown(void **state) {
    jobs_free(v.jobs);
    workq_free(engine.io);
    event_base_free(engine.evb);
    return 0;
}

static void look(void) {
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_no_mailfs(void **state) {
    assert_int_equal(driver_replay(&v), 0);
    assert_int_equal(begun, 1);
    workq_drain(engine.io);
    assert_int_equal(contacts, 1);
}

static void test_not_under_l(void **state) {
    apart = true;
    assert_int_equal(driver_replay(&v), 0);
    look();
    assert_int_equal(begun, 0);
    apart = false;
    locked = true;
    look();
    assert_int_equal(begun, 0);
    assert_int_equal(counted, 0);
    locked = false;
    look();
    assert_int_equal(begun, 1);
    assert_int_equal(counted, 1);
    assert_int_equal(contacts, 1);
}

/* It hangs, or who has L does. */
static void test_not_for_ever(void **state) {
    locked = true;
    assert_int_equal(driver_replay(&v), 0);
    look();
    assert_int_equal(begun, 0);
    now += 2000;
    look();
    assert_int_equal(begun, 1);
    assert_int_equal(contacts, 1);
}

/* Other volumes are opened for longer than that: it could not be heard. */
static void test_not_before_it_is_heard(void **state) {
    apart = true;
    assert_int_equal(driver_replay(&v), 0);
    now += 60000;
    look();
    assert_int_equal(begun, 0);
    apart = false;
    look();
    assert_int_equal(begun, 1);
    assert_int_equal(contacts, 1);
}

static void test_nothing_to_apply(void **state) {
    v.start.journal = 0;
    locked = true;
    assert_int_equal(driver_replay(&v), 0);
    workq_drain(engine.io);
    assert_int_equal(contacts, 1);
}

/* Where that cannot be read nobody may get L. */
static void test_raises(void **state) {
    raises = 0;
    raise_err = -EIO;
    assert_int_equal(driver_replay(&v), -EIO);
    assert_int_equal(raises, 1);
    raise_err = 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_no_mailfs),        T(test_not_under_l),
                                       T(test_not_for_ever),     T(test_not_before_it_is_heard),
                                       T(test_nothing_to_apply), T(test_raises)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
