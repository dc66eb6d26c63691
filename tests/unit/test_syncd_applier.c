/*
 * test_syncd_applier - from RACT_APPLY to replica_applied(); the disk is stubbed
 *
 * The machine grants L when it hears that all is applied, so it must not hear that of what only
 * could not be done at that moment.
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
#include "syncd/apply.h"
#include "syncd/asks.h"
#include "syncd/brake.h"
#include "syncd/build.h"
#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/driver_apply.h"
#include "syncd/driver_merge.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/load.h"
#include "syncd/oneway.h"
#include "syncd/owed.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/workq.h"

static struct engine engine;
static struct volume volume;
static int failing; /* the first ones' */
static unsigned fails, left;
static _Atomic unsigned noted; /* that it is to be raised */
static _Atomic unsigned noted_raised;
static int note_err;
static bool unnoted;                         /* what the first ones lack */
static struct mailfs_id recorded;            /* by this id */
static bool former;                          /* id is, of 3 */
static unsigned applied, suspected, in_time; /* suspected before it was applied */
static unsigned replaying, compared, awaited;
static int awaited_err;
static unsigned replaced, to_raise; /* the list, or may be; and is not raised */
static struct apply_result result;  /* its list */
static enum replica_state at;
static struct replica_payload *received[3]; /* and not applied */
static bool locked, apart;
static bool down; /* the contact */
static struct mailfs_id id = {{1}};
static struct mailfs_id held = {{1}}; /* the id that L was granted under */
static _Atomic unsigned tries, alone; /* alone: with nothing else at work */
static _Atomic unsigned raises;       /* where it replaces the list */

static bool mailfs_runs(const void *arg) {
    return true;
}

/* ---- stubs ------------------------------------------------------------------------- */

int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id,
              const struct apply_how *how, struct apply_result *out) {
    *out = result;
    alone += !how->beside;
    raises += how->raise == REPLICA_RAISE_ODD;
    out->unnoted = unnoted && tries < fails;
    return tries++ < fails ? failing : asks_still();
}

void apply_result_free(struct apply_result *r) {
}

void replica_applied(struct replica *r, uint64_t now, uint64_t seq) {
    applied++;
    in_time = suspected;
}

void replica_left(struct replica *r, uint64_t seq) {
    left++;
}

int owed_note(struct state *st, const struct mailfs_id *dir) {
    noted++;
    recorded = *dir;
    return note_err;
}

int owed_raised(struct state *st, const struct mailfs_id *dir) {
    assert_true(mailfs_id_equal(dir, &recorded));
    noted_raised++;
    return 0;
}

void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir) {
    suspected++;
}

/* Before it is suspected, or its merge would come to its end. */
void merges_await_trees(struct merges *m, const struct mailfs_id *dir, int err) {
    assert_int_equal(suspected, awaited);
    awaited_err = err;
    awaited++;
}

static bool awaits; /* id: trees */

bool merges_awaits_trees(const struct merges *m, const struct mailfs_id *dir) {
    return awaits;
}

void replica_replaying(struct replica *r, struct mailfs_id dir) {
    replaying++;
}

void replica_list_replaced(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised) {
    assert_true(mailfs_id_equal(&dir, &id) || mailfs_id_equal(&dir, &held));
    replaced += raised;
    to_raise += !raised;
}

bool replica_is_raise_due(const struct replica *r, struct mailfs_id dir) {
    return replaced > 0 && mailfs_id_equal(&dir, &held);
}

enum replica_raise replica_raise_rule(const struct replica *r) {
    return REPLICA_RAISE_ODD;
}

void replica_replayed(struct replica *r, uint64_t now, struct mailfs_id dir) {
    applied++;
}

bool txns_locked(const struct txns *t, const struct mailfs_id *dir) {
    return locked && mailfs_id_equal(dir, &held);
}

struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *dir) {
    return locked ? held : *dir;
}

void replica_count(const struct replica *r, struct replica_counts *out) {
    memset(out, 0, sizeof(*out));
}

void replica_each_unapplied(const struct replica *r, replica_unapplied_fn *fn, void *arg) {
    for (size_t i = 0; i < sizeof(received) / sizeof(*received); i++)
        if (received[i] != NULL)
            fn(arg, &id, received[i]);
}

bool replica_has_received(const struct replica *r, struct mailfs_id dir) {
    return false;
}

enum replica_state replica_state(const struct replica *r) {
    return at;
}

void driver_pump(struct volume *v) {
}

void driver_compare_trees(struct volume *v, const char *why) {
    compared++;
}

bool contact_is_up(const struct volume *v) {
    return !down;
}

bool alias_now(struct state *st, const struct mailfs_id *asked, struct mailfs_id *now) {
    *now = (struct mailfs_id){{3}};
    return former;
}

void brake_noticed(struct brake *b) {
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

bool front_is_apart(const struct front *f) {
    return apart;
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

int oneway_mark(struct volume *v, const struct mailfs_id *dir) {
    return 0;
}

void volume_error(struct volume *v, const char *fmt, ...) {
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a volume ---------------------------------------------------------------------- */

static int setup(void **state) {
    applied = suspected = replaying = replaced = to_raise = compared = left = awaited = 0;
    awaits = false;
    result = (struct apply_result){0};
    noted = noted_raised = raises = 0;
    note_err = 0;
    unnoted = false;
    at = REPLICA_IN_SYNC;
    locked = apart = down = former = false;
    held = id;
    tries = alone = 0;
    fails = 1;
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

static struct replica_payload *payload(void) {
    Mfp__Txn txn = MFP__TXN__INIT;
    uint8_t packed[64];

    txn.dir = (ProtobufCBinaryData){sizeof(id.b), id.b};
    txn.locked = true;
    return load_txn(mfp__txn__unpack(NULL, mfp__txn__pack(&txn, packed), packed));
}

static void begin(int err) {
    struct replica_action a = {.seq = 1, .dir = id, .payload = payload()};

    failing = err;
    driver_apply(&volume, &a);
    replica_payload_unref(a.payload);
}

/* Until it has been tried. */
static void apply(int err) {
    begin(err);
    workq_drain(engine.io);
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_at_once(void **state) {
    apply(0);
    assert_int_equal(applied, 1);
    assert_int_equal(noted, 0);
    assert_int_equal(suspected, 0);
}

static void test_passes(void **state) {
    static const int errors[] = {-ENOSPC, -EDQUOT, -EIO, -ENOMEM, -EMFILE, -ENFILE, -ENOTCONN};
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        applied = suspected = 0;
        tries = 0;
        apply(errors[i]);
        assert_int_equal(applied, 0);
        assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
        workq_drain(engine.io);
        assert_int_equal(applied, 1);
        assert_int_equal(suspected, 0);
        assert_int_equal(tries, 2);
    }
}

static struct replica_payload *of_folder(Mfp__Op__OpCase what) {
    Mfp__Txn *txn = build_txn(&id, false);

    assert_non_null(build_op(txn, what));
    return load_txn(txn);
}

/* It came before the present connection, and is done after the trees have been listed: they are
 * compared once more. Not for what is done in a mailbox. */
static void test_late(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_MSG, MFP__OP__OP_DIR_REMOVE};

    failing = 0;
    for (unsigned late = 0; late < 2; late++) {
        for (unsigned i = 0; i < 2; i++) {
            struct replica_action a = {.seq = 1, .dir = id, .late = late};

            a.payload = of_folder(what[i]);
            driver_apply(&volume, &a);
            replica_payload_unref(a.payload);
            workq_drain(engine.io);
            assert_int_equal(compared, late && i);
        }
    }
    assert_int_equal(applied, 4);
}

/* What waits for L when the peer is met, and only makes directories, or moves them, is done before
 * these are listed; not past a removal, which has to wait. */
static void test_before_trees(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_DIR_MAKE, MFP__OP__OP_DIR_REMOVE,
                                           MFP__OP__OP_DIR_MOVE};

    failing = 0;
    at = REPLICA_ALONE;
    for (unsigned i = 0; i < 3; i++) {
        received[i] = of_folder(what[i]);
        driver_apply_early(&volume, &id, received[i]);
    }
    workq_drain(engine.io);
    assert_int_equal(tries, 0);
    assert_int_equal(volume.trees_unapplied, 3);
    driver_apply_before_trees(&volume);
    workq_drain(engine.io);
    assert_int_equal(tries, 1);
    assert_int_equal(volume.trees_unapplied, 2);
    for (unsigned i = 0; i < 3; i++) {
        struct replica_action a = {.seq = 1, .dir = id, .late = true, .payload = received[i]};

        driver_apply(&volume, &a);
        workq_drain(engine.io);
        replica_payload_unref(received[i]);
        received[i] = NULL;
    }
    assert_int_equal(tries, 3);
    assert_int_equal(applied, 3);
    assert_int_equal(volume.trees_unapplied, 0);
    assert_int_equal(compared, 2);
}

/* What no trying mends is merged, before L is granted. */
static void test_lasts(void **state) {
    apply(-EPROTO);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 1);
    assert_int_equal(in_time, 1);
    assert_int_equal(tries, 1);
}

/* No merge of mailboxes tells of a directory that could not be made, moved or removed. */
static void test_lasts_of_the_tree(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_DIR_MAKE, MFP__OP__OP_DIR_MOVE,
                                           MFP__OP__OP_DIR_REMOVE, MFP__OP__OP_MSG};

    for (unsigned i = 0; i < 4; i++) {
        struct replica_action a = {.seq = 1, .dir = id, .payload = of_folder(what[i])};

        tries = 0;
        failing = -EROFS;
        driver_apply(&volume, &a);
        replica_payload_unref(a.payload);
        workq_drain(engine.io);
        assert_int_equal(suspected, i + 1);
        assert_int_equal(awaited, i < 3 ? i + 1 : 3);
        assert_int_equal(awaited_err, -EROFS);
    }
    assert_int_equal(applied, 4);
}

/* Directories that are not where the peer has them: it may be a full disk that kept them out. While
 * it is full, a comparison would stop all that is applied. */
static void test_trees_differ(void **state) {
    static const int errors[] = {0, -ENOENT};

    fails = 2;   /* with nothing else at work, too */
    down = true; /* it is not sought */
    result.tree = true;
    for (unsigned i = 0; i < 2; i++) {
        tries = 0;
        apply(errors[i]);
        assert_int_equal(applied, i + 1);
        assert_int_equal(awaited, i + 1);
        assert_int_equal(suspected, i + 1);
        assert_int_equal(awaited_err, errors[i] == 0 ? 0 : -ENOENT);
        assert_int_equal(compared, 0);
    }
}

/* What is not here, and is known to be lacking, is not on its way: L waits for what is put off. */
static void test_not_sought(void **state) {
    awaits = true;
    fails = 100;
    apply(-ENOENT);
    assert_int_equal(tries, 2); /* and with nothing else at work */
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
}

/* Nothing is tried for long in a container of which the tree lacks something: it is to be merged.
 */
static void test_awaits_trees(void **state) {
    awaits = true;
    fails = 2;
    apply(-ENOSPC);
    assert_int_equal(tries, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 1);
}

static void look(void) {
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
}

/* Nor does that count as applied of which nothing is noted, however it failed. */
static void test_unnoted(void **state) {
    unnoted = true;
    apply(-EPROTO);
    assert_int_equal(applied + suspected, 0);
    look();
    assert_int_equal(tries, 2);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 0);
}

/* mailfs serves by itself, and gives L; when it has come it says which there are. */
static void test_apart(void **state) {
    apart = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    apart = false;
    locked = true;
    look();
    assert_int_equal(tries, 0);
    locked = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 0);
}

static void apply_apart(int err) {
    apart = true;
    apply(err);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
}

/* It does not come, or he hangs under that L: the UIDs that he has given are not given again. Noted
 * is which of both is known. */
static void test_apart_for_long(void **state) {
    for (unsigned raised = 0; raised < 2; raised++) {
        applied = replaced = noted = raises = tries = 0;
        result.raised = raised;
        fails = 0;
        apply_apart(0);
        assert_int_equal(applied, 1);
        assert_int_equal(raises, 1);
        assert_int_equal(replaced, 1);
        assert_int_equal(noted, 1);
        assert_int_equal(noted_raised, raised);
    }
    assert_int_equal(to_raise, 0);
}

/* On a full disk it is tried again and again: no list is replaced, and none raised. */
static void test_apart_full(void **state) {
    fails = 2;
    apply_apart(-ENOSPC);
    for (unsigned i = 0; i < 2; i++)
        look();
    assert_int_equal(tries, 3);
    assert_int_equal(applied, 1);
    assert_int_equal(to_raise, 0);
}

/* One that may have got its name is raised at once, and before L is granted there. */
static void test_apart_unsure(void **state) {
    result.unsure = true;
    apply_apart(-EIO);
    assert_int_equal(applied, 0);
    assert_int_equal(to_raise, 1);
    result.unsure = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(to_raise, 1);
}

/* What comes behind it in that mailbox does not wait once more, until that L has ended. */
static void test_apart_many(void **state) {
    fails = 0;
    apply_apart(0);
    for (unsigned i = 2; i <= 5; i++) {
        apply(0);
        assert_int_equal(applied, i);
    }
    replaced = 0;
    apply(0);
    assert_int_equal(applied, 5);
    apart = false;
    look();
    assert_int_equal(applied, 6);
}

/* It is started between the look for one and the beginning of the job: as if it had been there. Who
 * begins it beside one all the same knows that. */
static void test_started(void **state) {
    struct asks *asks = asks_new(mailfs_runs, NULL);

    jobs_ask(volume.jobs, asks);
    fails = 0;
    apply(0);
    assert_int_equal(tries, 1);
    assert_int_equal(applied, 0);
    apart = true;
    for (unsigned i = 0; i < 1000 && tries == 1; i++)
        look();
    assert_int_equal(tries, 2);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    asks_free(asks);
}

/* It waits, then is done with nothing else at work, noted before and raised behind. */
static void done_alone(void) {
    look();
    assert_int_equal(tries, 1);
    for (unsigned n = 0; n < 1000 && tries == 1; n++)
        look();
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    assert_int_equal(noted, 1);
}

/* What has to be done with nothing else at work is looked at as before it was tried beside others:
 * mailfs has given syncd up meanwhile. */
static void test_alone_apart(void **state) {
    static const int errors[] = {-EBUSY, -ENOENT};

    down = true;
    for (unsigned i = 0; i < 2; i++) {
        tries = alone = applied = replaced = noted = 0;
        apart = false;
        begin(errors[i]);
        apart = true;
        workq_drain(engine.io);
        done_alone();
    }
}

/* It has been waited for; the list is raised behind what is done alone, too. */
static void test_alone_apart_for_long(void **state) {
    apart = true;
    begin(-EBUSY);
    for (unsigned i = 0; i < 1000 && tries < 2; i++)
        look();
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
    assert_int_equal(noted, 2);
}

/* That it is to be raised cannot be noted. What has not been begun never counts as applied. While
 * syncd ends it stays for the next one. */
static void test_not_noted(void **state) {
    static const int errors[] = {-ENOSPC, -EUCLEAN};
    for (unsigned e = 0; e < 2; e++) {
        apart = true;
        noted = replaced = 0;
        apply(note_err = errors[e]);
        for (unsigned i = 0; i < 1000 && noted < 2; i++)
            look();
        assert_int_equal(noted, 2);
        assert_int_equal(tries + applied + suspected, 0);
        assert_int_equal(replaced, 2);
        assert_int_equal(to_raise, 0);
        volume.stopping = true;
        look();
        assert_int_equal(tries + applied + suspected, 0);
        assert_int_equal(left, e + 1);
        volume.stopping = false;
    }
}

static void test_noted_late(void **state) {
    apart = true;
    fails = 0;
    apply(note_err = -ENOSPC);
    for (unsigned i = 0; i < 1000 && noted == 0; i++)
        look();
    note_err = 0;
    look();
    for (unsigned i = 0; i < 1000 && applied == 0; i++)
        look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
}

/* What passes, while syncd ends: L is not granted without it. The next start does it. */
static void test_passes_stopping(void **state) {
    volume.stopping = true;
    apply(-ENOSPC);
    volume.stopping = false;
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    assert_int_equal(left, 1);
}

/* mailfs has given syncd up while it was applied: as if it had not been begun. */
static void test_given_up(void **state) {
    apply(-EOWNERDEAD);
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    apart = true;
    look();
    look();
    assert_int_equal(tries, 1);
    apart = false;
    failing = 0;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(suspected + replaced, 0);
}

/* While syncd ends: as if it had not been begun, too. The journal has it. */
static void test_given_up_stopping(void **state) {
    volume.stopping = true;
    apply(-EOWNERDEAD);
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected + compared, 0);
    assert_int_equal(left, 1); /* nor waited for */
}

/* The machine knows L by an id that the container has lost since, so says that it may be applied.
 * At the end of that L the list is raised as well. */
static void test_former_lock(void **state) {
    held = (struct mailfs_id){{2}};
    locked = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
}

/* By the id that the container has: the next life knows of no other. */
static void test_former_record(void **state) {
    locked = former = true;
    apply(0);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
    assert_int_equal(noted, 1);
    assert_int_equal(recorded.b[0], 3);
}

static void test_replay_former_lock(void **state) {
    held = (struct mailfs_id){{2}};
    locked = true;
    driver_apply_replayed(&volume, &id, 1, payload());
    assert_true(driver_replay_is_locked(&volume));
    driver_apply_close(&volume);
}

/* Of an earlier life: nobody gets L from when it is known on, and who has it is waited for. */
static void test_replay(void **state) {
    failing = 0;
    assert_false(driver_replay_is_locked(&volume));
    driver_apply_replayed(&volume, &id, 1, payload());
    assert_int_equal(replaying, 1);
    assert_false(driver_replay_is_locked(&volume));
    locked = true;
    assert_true(driver_replay_is_locked(&volume));
    workq_drain(engine.io);
    assert_int_equal(tries, 0);
    locked = false;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 0);
    assert_false(driver_replay_is_locked(&volume));
}

/* Who hangs under L is not waited for: what he writes is lost. */
static void test_replay_under_l(void **state) {
    failing = 0;
    driver_apply_replayed(&volume, &id, 1, payload());
    locked = true;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    assert_int_equal(noted, 1);
}

/* mailfs has given syncd up while two were applied: who has L is waited for once more. */
static void test_replay_given_up(void **state) {
    failing = -EOWNERDEAD;
    for (unsigned i = 0; i < 2; i++)
        driver_apply_replayed(&volume, &id, i + 1, payload());
    apart = true;
    fails = 2;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(tries, 2);
    look();
    look();
    assert_int_equal(tries, 2);
    apart = false;
    locked = true;
    look();
    assert_int_equal(tries, 2);
    locked = false;
    replaced = 0;
    look();
    assert_int_equal(tries, 4);
    assert_int_equal(applied, 2);
    assert_int_equal(suspected + replaced, 0);
}

/* Or while one was that has to be done with nothing else at work. */
static void test_replay_alone_apart(void **state) {
    failing = -ENOENT;
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_replay_go_on(&volume);
    apart = true;
    workq_drain(engine.io);
    done_alone();
}

static void test_replay_given_up_stopping(void **state) {
    failing = -EOWNERDEAD;
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    apart = true;
    look();
    volume.stopping = true;
    look();
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    driver_apply_close(&volume);
}

/* Nobody has said which L there are. */
static void test_replay_apart(void **state) {
    failing = 0;
    driver_apply_replayed(&volume, &id, 1, payload());
    apart = true;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
}

/* Not begun when syncd is stopped. */
static void test_replay_stopped(void **state) {
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_apply_close(&volume);
    assert_false(driver_replay_is_locked(&volume));
    assert_int_equal(tries, 0);
}

/* Put off for an L, it was not in the trees that were compared as the nodes met. */
static void test_met_meanwhile(void **state) {
    struct replica_action a = {.seq = 1, .dir = id, .late = false};

    failing = 0;
    apart = true;
    a.payload = of_folder(MFP__OP__OP_DIR_REMOVE);
    driver_apply(&volume, &a);
    replica_payload_unref(a.payload);
    look();
    assert_int_equal(tries, 0);
    apart = false;
    locked = true;
    driver_apply_before_trees(&volume); /* met; trees listed without it */
    look();
    assert_int_equal(tries, 0);
    locked = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(compared, 1);
}

/* Nobody would be there to raise the list at the end of that L: the next start applies it. */
static void test_stop_apart(void **state) {
    apart = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    volume.stopping = true;
    look();
    volume.stopping = false;
    assert_int_equal(applied, 0);
    assert_int_equal(left, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_at_once),
                                       T(test_passes),
                                       T(test_late),
                                       T(test_before_trees),
                                       T(test_lasts),
                                       T(test_lasts_of_the_tree),
                                       T(test_trees_differ),
                                       T(test_not_sought),
                                       T(test_awaits_trees),
                                       T(test_unnoted),
                                       T(test_replay),
                                       T(test_replay_under_l),
                                       T(test_replay_apart),
                                       T(test_replay_stopped),
                                       T(test_apart),
                                       T(test_apart_for_long),
                                       T(test_apart_full),
                                       T(test_apart_unsure),
                                       T(test_apart_many),
                                       T(test_started),
                                       T(test_alone_apart),
                                       T(test_alone_apart_for_long),
                                       T(test_not_noted),
                                       T(test_noted_late),
                                       T(test_passes_stopping),
                                       T(test_given_up),
                                       T(test_given_up_stopping),
                                       T(test_former_lock),
                                       T(test_former_record),
                                       T(test_replay_former_lock),
                                       T(test_replay_given_up),
                                       T(test_replay_alone_apart),
                                       T(test_replay_given_up_stopping),
                                       T(test_met_meanwhile),
                                       T(test_stop_apart)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
