/* txn: what mailfs tells is gathered per container, and handed on in order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/alias.h"
#include "syncd/await.h"
#include "syncd/brake.h"
#include "syncd/checkpoint.h"
#include "syncd/collect.h"
#include "syncd/copied.h"
#include "syncd/driver.h"
#include "syncd/front.h"
#include "syncd/oneway.h"
#include "syncd/oneway_lock.h"
#include "syncd/reread.h"
#include "syncd/role.h"
#include "syncd/txn.h"
#include "syncd/volume.h"

/* ---- in place of the disk side and of the pump ------------------------------------- */

static char collected[4096];

static int note(const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n) {
    char *end = collected + strlen(collected);
    end += sprintf(end, "%u:", dir->b[0]);
    for (size_t i = 0; i < n; i++)
        end += sprintf(end, "%s%s", i > 0 ? "," : "", acts[i]->remove->name);
    sprintf(end, ";");
    return 0;
}

void copied_open(struct copied *c, struct state *st, const struct mailfs_id *dir,
                 const Mfp__Txn *txn) {
}

void copied_prepare(struct copied *c, struct replica *machine, uint64_t now, uint64_t req) {
}

void copied_free(struct copied *c) {
    free(c);
}

int collect_alone(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n) {
    return note(dir, acts, n);
}

int collect_txn(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                bool locked, Mfp__Txn **txn, struct stage_prep **preps, size_t *n_preps,
                struct invals *inval) {
    return note(dir, acts, n);
}

/* One that has given up its id. */
static struct mailfs_id gave_up, got;

bool alias_next(struct state *st, const struct mailfs_id *old, struct mailfs_id *next) {
    if (mailfs_id_is_root(&gave_up) || !mailfs_id_equal(old, &gave_up))
        return false;
    *next = got;
    return true;
}

bool alias_now(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    return alias_next(st, old, now);
}

int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    return alias_now(st, old, now);
}

void driver_pump(struct volume *v) {
}

void driver_compare_trees(struct volume *v, const char *why) {
    strcat(collected, "trees;");
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

void invals_free(struct invals *iv) {
}

void brake_noticed(struct brake *b) {
}

void reread_noticed(struct reread *r) {
}

uint64_t volume_now(void) {
    return 1000;
}

void checkpoint_soon(struct checkpoint *c) {
}

static unsigned links_told;

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
    links_told++;
}

static bool standby;

struct conf_role role_of(const struct volume *v) {
    return (struct conf_role){.standby = standby};
}

static bool mailfs_is_gone;

bool front_grant(struct front *f, uint64_t req, int err, uint32_t raise) {
    return !mailfs_is_gone;
}

static struct mailfs_id void_dir;

void oneway_grants_void(struct volume *v, const struct mailfs_id *dirs, size_t n) {
    if (n > 0)
        void_dir = dirs[0];
}

size_t oneway_locks_held(const struct volume *v, struct mailfs_id *dirs, size_t max) {
    return 0;
}

void await_unlock(struct volume *v, uint64_t req, const struct mailfs_id *dir) {
}

/* ---- a volume without peer, one worker so that order shows ------------------------- */

static char volume_name[] = "mail";
static const struct conf_volume no_peer = {.name = volume_name};

struct fixture {
    struct volume v;
    struct workq *wq;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct replica_config rc = {.node = "mx-a", .timeout_ms = 3000, .max_unacked = 100};
    if (workq_new(1, 10000, &f->wq) != 0)
        return -1;
    f->v.cv = &no_peer;
    f->v.machine = replica_new(&rc, 0);
    f->v.jobs = jobs_new(f->wq, 1);
    f->v.txns = txns_new(&f->v);
    collected[0] = '\0';
    gave_up = got = mailfs_id_root;
    *state = f;
    return 0;
}

static void settle(struct fixture *f) {
    struct replica_action a;
    while (jobs_pending(f->v.jobs) > 0)
        workq_drain(f->wq);
    while (replica_next(f->v.machine, &a))
        replica_action_done(&a);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    settle(f);
    txns_free(f->v.txns);
    jobs_free(f->v.jobs);
    replica_free(f->v.machine);
    workq_free(f->wq);
    free(f);
    return 0;
}

static struct mailfs_id id_of(unsigned n) {
    struct mailfs_id id = {{0}};
    id.b[0] = (uint8_t)n;
    return id;
}

/* A Remove of `name`, as it comes out of a packet. */
static int act(struct fixture *f, unsigned dir, bool in_txn, const char *name, size_t idlen) {
    struct mailfs_id id = id_of(dir);
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    Mfl__Act a = MFL__ACT__INIT;
    Mfl__Remove r = MFL__REMOVE__INIT;
    uint8_t packet[1024];
    r.name = (char *)(uintptr_t)name;
    a.dir = (ProtobufCBinaryData){idlen, id.b};
    a.in_txn = in_txn;
    a.what_case = MFL__ACT__WHAT_REMOVE;
    a.remove = &r;
    m.m_case = MFL__TO_SYNCD__M_ACT;
    m.act = &a;
    Mfl__ToSyncd *copy = mfl__to_syncd__unpack(NULL, mfl__to_syncd__pack(&m, packet), packet);
    int e = txns_act(f->v.txns, &copy);
    if (copy != NULL)
        mfl__to_syncd__free_unpacked(copy, NULL);
    return e;
}

/* ---- tests ------------------------------------------------------------------------- */

static void kept_until_u(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1), two = id_of(2);
    act(f, 1, true, "a", 16);
    act(f, 2, true, "x", 16);
    act(f, 1, true, "b", 16);
    settle(f);
    assert_string_equal(collected, "");
    assert_int_equal(txns_open_acts(f->v.txns, &one), 2);
    txns_unlock(f->v.txns, 0, &one);
    settle(f);
    assert_string_equal(collected, "1:a,b;");
    assert_int_equal(txns_open_acts(f->v.txns, &one), 0);
    assert_int_equal(txns_open_acts(f->v.txns, &two), 1);
}

static void others_go_at_once_and_in_order(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1);
    act(f, 1, true, "in", 16);
    act(f, 1, false, "out1", 16);
    act(f, 1, false, "out2", 16);
    txns_unlock(f->v.txns, 0, &one);
    act(f, 1, false, "out3", 16);
    settle(f);
    assert_string_equal(collected, "1:out1;1:out2;1:in;1:out3;");
}

static void an_empty_transaction_is_looked_at(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1);
    txns_unlock(f->v.txns, 0, &one);
    settle(f);
    assert_string_equal(collected, "1:;");
}

static void mailfs_gone(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1);
    act(f, 1, true, "a", 16);
    txns_abandon(f->v.txns);
    assert_int_equal(txns_open_acts(f->v.txns, &one), 0);
    settle(f);
    assert_string_equal(collected, "");
}

/* What a link holds and mailfs names is not the link's. */
static void mailfs_names_l(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1);
    void_dir = id_of(0);
    txns_locks_are(f->v.txns, &one, 1, false);
    assert_true(mailfs_id_equal(&void_dir, &one));
    assert_true(txns_locked(f->v.txns, &one));
}

/* On a standby it is of when it was active: the links are to look once more when there is none. */
static void the_last_l_of_a_standby(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1), two = id_of(2);
    f->v.n_links = 1;
    standby = true;
    txns_lock_granted(f->v.txns, &one);
    txns_lock_granted(f->v.txns, &two);
    assert_true(txns_locked_any(f->v.txns));
    links_told = 0;
    txns_unlock(f->v.txns, 0, &one);
    unsigned told = links_told;
    txns_unlock(f->v.txns, 0, &two);
    assert_int_equal(links_told, 2 * told + 1);
    assert_false(txns_locked_any(f->v.txns));
    standby = false;
    settle(f);
    f->v.n_links = 0;
}

static void nonsense_is_refused(void **state) {
    struct fixture *f = *state;
    assert_int_equal(act(f, 1, false, "a", 15), -EPROTO);
    assert_int_equal(act(f, 1, true, "a", 0), -EPROTO);
    settle(f);
    assert_string_equal(collected, "");
}

/* mailfs hears of the new id in the middle of the transaction. */
static void its_id_changes_under_l(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1), three = id_of(3), id;
    txns_lock_granted(f->v.txns, &one);
    act(f, 1, true, "a", 16);
    gave_up = one;
    got = three;
    act(f, 3, true, "b", 16);
    assert_int_equal(txns_open_acts(f->v.txns, &one), 2);
    assert_true(txns_former_locked(f->v.txns, &three));
    id = txns_lock_id(f->v.txns, &three);
    assert_true(mailfs_id_equal(&id, &one));
    txns_unlock(f->v.txns, 0, &one);
    settle(f);
    assert_string_equal(collected, "1:a,b;");
    assert_false(txns_former_locked(f->v.txns, &three));
}

static void its_id_changes_before_l(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1), three = id_of(3), id;
    struct replica_action a;
    bool granted = false;
    replica_lock_open(f->v.machine, 1000, 7, one);
    gave_up = one;
    got = three;
    while (replica_next(f->v.machine, &a)) {
        if (a.kind == RACT_GRANT && !txns_granted_formerly(f->v.txns, a.req, &a.dir)) {
            granted = true;
            assert_true(mailfs_id_equal(&a.dir, &three));
            assert_int_equal(a.req, 7);
            txns_lock_granted(f->v.txns, &a.dir);
        }
        replica_action_done(&a);
    }
    assert_true(granted);
    id = txns_lock_id(f->v.txns, &one); /* as mailfs calls it still */
    assert_true(mailfs_id_equal(&id, &three));
    act(f, 1, true, "a", 16);
    act(f, 1, false, "out", 16);
    assert_int_equal(txns_open_acts(f->v.txns, &three), 1);
    settle(f);
    assert_string_equal(collected, "3:out;");
}

static unsigned grants(struct fixture *f) {
    struct replica_action a;
    unsigned n = 0;
    while (replica_next(f->v.machine, &a)) {
        if (a.kind == RACT_GRANT) {
            txns_granted(f->v.txns, a.req, &a.dir, 0);
            n++;
        }
        replica_action_done(&a);
    }
    return n;
}

/* It asked, and was killed while the question waited behind what was being collected. */
static void granted_to_one_that_is_gone(void **state) {
    struct fixture *f = *state;
    struct mailfs_id one = id_of(1);
    mailfs_is_gone = true;
    replica_lock_open(f->v.machine, 1000, 7, one);
    assert_int_equal(grants(f), 1);
    mailfs_is_gone = false;
    assert_false(txns_locked(f->v.txns, &one));
    replica_lock_open(f->v.machine, 1000, 8, one);
    assert_int_equal(grants(f), 1);
    assert_true(txns_locked(f->v.txns, &one));
    txns_lock_opened(f->v.txns, &one, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_until_u, setup, teardown),
        cmocka_unit_test_setup_teardown(granted_to_one_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(others_go_at_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_transaction_is_looked_at, setup, teardown),
        cmocka_unit_test_setup_teardown(mailfs_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(mailfs_names_l, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_l_of_a_standby, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(its_id_changes_under_l, setup, teardown),
        cmocka_unit_test_setup_teardown(its_id_changes_before_l, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
