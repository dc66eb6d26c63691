/*
 * test_syncd_txns - from mailfs' U to replica_unlock(); what collects is stubbed
 *
 * At replica_unlock() L, and its token, may be given away: of what the peer could not be told the
 * machine must have heard by then.
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

#include "syncd/alias.h"
#include "syncd/await.h"
#include "syncd/brake.h"
#include "syncd/build.h"
#include "syncd/checkpoint.h"
#include "syncd/collect.h"
#include "syncd/copied.h"
#include "syncd/driver.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/load.h"
#include "syncd/oneway.h"
#include "syncd/oneway_lock.h"
#include "syncd/reread.h"
#include "syncd/role.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/workq.h"
#include "wire/check.h"

static struct engine engine;
static struct volume volume;
static int failing;
static bool merged, frozen; /* what is removed; what something is done in */
static unsigned acted, of_tree, compared, written;
static unsigned unlocked, sent, suspected, in_time; /* suspected before it was unlocked */
static size_t copies;                               /* in what is collected */
static uint64_t unlock_req, copy_req;               /* who answers U */
static struct replica_prep copy_first;

/* ---- stubs ------------------------------------------------------------------------- */

int collect_txn(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                bool locked, Mfp__Txn **txn, struct stage_prep **preps, size_t *n_preps,
                struct invals *inval) {
    *txn = NULL;
    *preps = NULL;
    *n_preps = 0;
    if (failing == 0) {
        *txn = build_txn(dir, locked);
        assert_non_null(*txn);
        if (n > 0)
            assert_non_null(build_op(*txn, MFP__OP__OP_DIR_REMOVE));
    }
    return failing;
}

int collect_alone(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n) {
    return failing;
}

void replica_unlock(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir,
                    struct replica_payload *payload, const struct replica_prep *preps, size_t n) {
    unlocked++;
    unlock_req = req;
    sent += payload != NULL;
    in_time = suspected;
}

void copied_open(struct copied *c, struct state *st, const struct mailfs_id *dir,
                 const Mfp__Txn *txn) {
    c->n = copies;
}

void copied_prepare(struct copied *c, struct replica *machine, uint64_t now, uint64_t req) {
    assert_int_equal(unlocked, 1);
    assert_int_equal(c->n, copies);
    copy_req = req;
    copy_first = c->first;
}

void copied_free(struct copied *c) {
    free(c);
}

void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir) {
    suspected++;
}

bool replica_act(struct replica *r, uint64_t now, struct mailfs_id dir,
                 struct replica_payload *payload, const struct replica_prep *preps, size_t n,
                 bool tree) {
    acted++;
    of_tree += tree;
    return frozen;
}

void replica_unlock_again(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir) {
}

void replica_lock_open(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir) {
}

void replica_lock_opened(struct replica *r, uint64_t now, struct mailfs_id dir, bool ok) {
}

void replica_locks_are(struct replica *r, uint64_t now, const struct mailfs_id *dirs, size_t n,
                       bool lost) {
}

bool replica_is_merged(const struct replica *r, struct mailfs_id dir) {
    return merged;
}

bool replica_prep_is_past(const struct replica *r, struct replica_prep prep) {
    return false;
}

enum replica_state replica_state(const struct replica *r) {
    return REPLICA_IN_SYNC;
}

int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    return 0;
}

bool alias_now(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    return false;
}

bool alias_next(struct state *st, const struct mailfs_id *old, struct mailfs_id *next) {
    return false;
}

void await_unlock(struct volume *v, uint64_t req, const struct mailfs_id *dir) {
}

void brake_noticed(struct brake *b) {
}

void reread_noticed(struct reread *r) {
}

void checkpoint_soon(struct checkpoint *c) {
    written++;
}

void driver_pump(struct volume *v) {
}

void driver_compare_trees(struct volume *v, const char *why) {
    compared++;
}

bool front_grant(struct front *f, uint64_t req, int err, uint32_t raise) {
    return true;
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

struct conf_role role_of(const struct volume *v) {
    return (struct conf_role){.standby = false};
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

void oneway_grants_void(struct volume *v, const struct mailfs_id *dirs, size_t n) {
}

size_t oneway_locks_held(const struct volume *v, struct mailfs_id *dirs, size_t max) {
    return 0;
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a volume ---------------------------------------------------------------------- */

static int setup(void **state) {
    acted = of_tree = compared = written = unlocked = sent = suspected = in_time = 0;
    merged = true;
    frozen = false;
    copies = 0;
    unlock_req = copy_req = 0;
    failing = 0;
    if (workq_new(1, 100, &engine.io) != 0)
        return -1;
    volume = (struct volume){.engine = &engine, .jobs = jobs_new(engine.io, 0)};
    volume.txns = txns_new(&volume);
    return 0;
}

static int teardown(void **state) {
    txns_free(volume.txns);
    jobs_free(volume.jobs);
    workq_free(engine.io);
    return 0;
}

static const struct mailfs_id dir = {{1}};

static void tell(Mfl__Act *act) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT, *got;
    uint8_t packed[128];

    m.m_case = MFL__TO_SYNCD__M_ACT;
    m.act = act;
    got = mfl__to_syncd__unpack(NULL, mfl__to_syncd__pack(&m, packed), packed);
    assert_non_null(got);
    assert_int_equal(txns_act(volume.txns, &got), 0);
}

static void remove_folder(bool by_owner_of_l) {
    const struct mailfs_id id = {{2}};
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__DirRemove gone = MFL__DIR_REMOVE__INIT;

    gone.id = wire_bytes_of(&id);
    act.dir = wire_bytes_of(&dir);
    act.in_txn = by_owner_of_l;
    act.what_case = MFL__ACT__WHAT_DIR_REMOVE;
    act.dir_remove = &gone;
    tell(&act);
}

/* A message gets its name, without L. */
static void deliver(void) {
    Mfl__Act act = MFL__ACT__INIT;
    Mfl__Add add = MFL__ADD__INIT;
    Mfl__Source source = MFL__SOURCE__INIT;
    Mfl__Prepared prepared = MFL__PREPARED__INIT;
    char name[] = "1.M1.a";

    source.prepared = &prepared;
    add.sub = MFL__SUB__NEW;
    add.name = name;
    add.source = &source;
    act.dir = wire_bytes_of(&dir);
    act.what_case = MFL__ACT__WHAT_ADD;
    act.add = &add;
    tell(&act);
    workq_drain(engine.io);
}

static void unlock(int err) {
    failing = err;
    txns_lock_granted(volume.txns, &dir);
    txns_unlock(volume.txns, 7, &dir);
    workq_drain(engine.io);
    assert_int_equal(unlocked, 1);
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_told(void **state) {
    unlock(0);
    assert_int_equal(sent, 1);
    assert_int_equal(suspected, 0);
}

static void test_not_told(void **state) {
    unlock(-EMFILE);
    assert_int_equal(sent, 0);
    assert_int_equal(suspected, 1);
    assert_int_equal(in_time, 1);
}

/* What is removed with a folder that is not merged is left to the merge of the trees. */
static void test_left_to_the_trees(void **state) {
    merged = false;
    remove_folder(false);
    workq_drain(engine.io);
    assert_int_equal(acted, 0);
    assert_int_equal(compared, 1);
}

/* So is what cannot be told: the merge of a mailbox, which may be under way, knows no folders. */
static void test_folder_not_told(void **state) {
    failing = -EMFILE;
    remove_folder(false);
    workq_drain(engine.io);
    assert_int_equal(acted, 0);
    assert_int_equal(compared, 1);
}

/* Nor is it in what such a merge is left with at U. */
static void test_folder_under_l(void **state) {
    remove_folder(true);
    workq_drain(engine.io);
    assert_int_equal(acted, 1);
    assert_int_equal(of_tree, 1);
    assert_int_equal(compared, 0);
    unlock(0);
    assert_int_equal(sent, 1);
    assert_int_equal(of_tree, 1);
}

/* The peer may publish it under another name: which one it has here must not go with the power. */
static void test_named_while_frozen(void **state) {
    deliver();
    assert_int_equal(acted, 1);
    assert_int_equal(written, 0);
    frozen = true;
    deliver();
    assert_int_equal(acted, 2);
    assert_int_equal(written, 1);
}

/* U waits for the copy of a delivery where only a merge will bring it. */
static void test_copy_left_to_merge(void **state) {
    copies = 1;
    merged = false;
    unlock(0);
    assert_int_equal(unlock_req, 0);
    assert_int_equal(copy_req, 7);
}

/* Its body, which comes under that alone, is not appended to one that mailfs has numbered. */
static void test_number_of_copy(void **state) {
    const uint64_t last_of_mailfs = (UINT64_C(1) << 39) - 1;

    test_copy_left_to_merge(state);
    assert_true(copy_first.seq > last_of_mailfs);
    assert_true(copy_first.seq <= UINT64_MAX - COPIED_MAX);
}

static void test_copy_told(void **state) {
    copies = 1;
    unlock(0);
    assert_int_equal(unlock_req, 7);
    assert_int_equal(copy_req, 0);
}

static void test_left_to_merge(void **state) {
    merged = false;
    unlock(0);
    assert_int_equal(unlock_req, 7);
    assert_int_equal(copy_req, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_told),
                                       T(test_not_told),
                                       T(test_left_to_the_trees),
                                       T(test_folder_not_told),
                                       T(test_folder_under_l),
                                       T(test_named_while_frozen),
                                       T(test_copy_left_to_merge),
                                       T(test_number_of_copy),
                                       T(test_copy_told),
                                       T(test_left_to_merge)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
