/*
 * driver_apply - transactions of the peer's to the store, each in its turn
 *
 * Diagnostics: one that cannot be applied yet.
 */
#include "driver_apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "alias.h"
#include "apply.h"
#include "asks.h"
#include "brake.h"
#include "contact.h"
#include "driver.h"
#include "driver_merge.h"
#include "front.h"
#include "load.h"
#include "mem.h"
#include "oneway.h"
#include "owed.h"
#include "touched.h"
#include "txn.h"
#include "util/log.h"
#include "volume.h"
#include "wire/check.h"

#define APPLY_AGAIN_MS 1000
#define APPLY_TRIES    60
#define SEEK_MS        20
#define SOUGHT_MAX     25
#define SOUGHT_MERGING 150
#define LOCKED_MS      20
#define LOCKED_MAX     100

/* ---- apply ------------------------------------------------------------------------- */

struct apply {
    struct apply *next, *prev; /* v->removals, v->replays */
    struct volume *v;
    struct mailfs_id dir;
    uint64_t seq, journal_id;
    bool replay, early;
    bool apart;               /* mailfs, from us, when it was begun */
    bool late;                /* the trees may have been listed without it */
    unsigned meeting;         /* v->meetings when it came */
    bool beside;              /* other jobs of the volume may be at work meanwhile */
    enum replica_raise raise; /* there may be an L that is not waited for any more */
    struct replica_payload *payload;
    struct apply_result result;
    int err;
    bool unbegun;                   /* err: what is to be noted before it could not be */
    unsigned tries, sought, locked; /* how often it was put off */
};

static void replay_again(struct apply *a);
static void apply_unlocked(evutil_socket_t fd, short what, void *arg);
static void apply_done(void *arg);
static void apply_submit(struct volume *v, struct apply init);

/* The containers that it changes, for the one-way links; of one that has given up that id it is the
 * one with the id that stays (alias.h). */
static int mark_for_links(struct volume *v, const Mfp__Txn *txn, const struct mailfs_id *dir) {
    struct mailfs_id now;
    int r = v->n_links > 0 ? oneway_mark(v, dir) : 0;
    if (r == 0 && v->n_links > 0 && alias_now(v->state, dir, &now))
        r = oneway_mark(v, &now);
    for (size_t i = 0; r == 0 && v->n_links > 0 && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        const ProtobufCBinaryData *bytes = NULL;
        struct mailfs_id id;
        if (op->op_case == MFP__OP__OP_DIR_MAKE)
            bytes = &op->dir_make->id;
        else if (op->op_case == MFP__OP__OP_DIR_MOVE)
            bytes = &op->dir_move->new_parent;
        if (bytes != NULL && wire_id(bytes, &id) == 0)
            r = oneway_mark(v, &id);
    }
    return r;
}

/* The next life knows of no other id. */
static struct mailfs_id id_now(const struct apply *a) {
    struct mailfs_id now;
    return alias_now(a->v->state, &a->dir, &now) ? now : a->dir;
}

static void apply_run(void *arg) {
    struct apply *a = arg;
    const Mfp__Txn *txn = load_of(a->payload)->txn;
    const struct apply_how how = {.replay = a->replay, .beside = a->beside, .raise = a->raise};
    struct mailfs_id now = id_now(a);
    asks_saw(a->apart);
    a->err = mark_for_links(a->v, txn, &a->dir);
    if (a->err == 0 && a->raise != REPLICA_RAISE_NONE)
        a->err = owed_note(a->v->state, &now);
    a->unbegun = a->err != 0;
    if (a->unbegun)
        return;
    a->err = apply_txn(a->v->state, txn, a->journal_id, &how, &a->result);
    if (a->result.raised)
        (void)owed_raised(a->v->state, &now); /* the next start raises it once more */
}

static void tell_links(const struct apply *a) {
    oneway_changed(a->v, &a->dir, touched_tree(load_of(a->payload)->txn));
    for (size_t i = 0; i < a->result.n_also; i++)
        oneway_changed(a->v, &a->result.also[i], false);
}

static void apply_suspects(const struct apply *a) {
    struct volume *v = a->v;
    bool lacks = a->result.tree || (a->err != 0 && touched_tree(load_of(a->payload)->txn));
    if (lacks)
        merges_await_trees(v->merges, &a->dir, a->err);
    if (a->err != 0 || a->result.suspect || lacks) {
        replica_suspect(v->machine, volume_now(), a->dir);
        driver_pump(v);
    }
    for (size_t i = 0; i < a->result.n_also; i++) {
        replica_suspect(v->machine, volume_now(), a->result.also[i]);
        driver_pump(v);
    }
}

static void apply_free(struct apply *a) {
    apply_result_free(&a->result);
    replica_payload_unref(a->payload);
    free(a);
}

/* syncd ends, and it is in the journal. */
static void apply_leave(struct apply *a) {
    if (!a->replay)
        replica_left(a->v->machine, a->seq);
    apply_free(a);
}

static void apply_uncount(struct apply *a) {
    struct load *l = load_of(a->payload);
    if (l->counted)
        a->v->trees_unapplied--;
    l->counted = false;
}

/* What the trees' comparison has not seen. */
static void compare_trees_after(const struct apply *a) {
    if (a->late && touched_tree(load_of(a->payload)->txn))
        driver_compare_trees(a->v,
                             "directories were changed as the peer had told before it was met");
}

/* Before its turn: with a fault, it is applied once more in its turn, and says so then. */
static void apply_early_done(struct apply *a) {
    struct volume *v = a->v;
    struct load *l = load_of(a->payload);
    l->early_done = true;
    l->early_ok = a->err == 0 && !a->result.suspect && !a->result.tree && a->result.n_also == 0;
    if (l->early_ok) /* it may have been put off */
        compare_trees_after(a);
    if (l->applying && l->early_ok) {
        replica_applied(v->machine, volume_now(), l->applied_seq);
    } else if (l->applying) {
        apply_submit(v, (struct apply){.dir = a->dir,
                                       .seq = l->applied_seq,
                                       .late = l->late,
                                       .meeting = a->meeting,
                                       .journal_id = a->journal_id,
                                       .payload = replica_payload_ref(a->payload)});
    }
    apply_free(a);
    driver_pump(v);
}

/* No room, or the like: what was acknowledged stays ahead of the next L until it is applied. */
static bool may_pass(int err) {
    return err == -ENOSPC || err == -EDQUOT || err == -EIO || err == -ENOMEM || err == -EMFILE ||
           err == -ENFILE || err == -ENOTCONN; /* of a store on FUSE: that has ended */
}

static void apply_again(evutil_socket_t fd, short what, void *arg) {
    struct apply *a = arg;
    apply_result_free(&a->result);
    if (a->replay)
        replay_again(a);
    else
        apply_unlocked(fd, what, a);
}

static void put_off(struct apply *a, unsigned ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    if (event_base_once(a->v->engine->evb, -1, EV_TIMEOUT, apply_again, a, &tv) != 0)
        mem_out("an event");
}

/* Another mailfs has come, or none asks any more: who has L is to be known (asks.h). It is as if it
 * had not been begun, for a syncd that ends, too. */
static bool apply_when_known(struct apply *a) {
    if (a->err != -EOWNERDEAD)
        return false;
    a->locked = 0; /* those that it gives now are others */
    if (a->v->stopping)
        apply_leave(a);
    else
        put_off(a, LOCKED_MS);
    return true;
}

/* Nor again and again where what was before it has been given up: L waits for all of these. */
static bool tried_enough(struct apply *a) {
    return a->tries++ >= APPLY_TRIES || merges_awaits_trees(a->v->merges, &a->dir);
}

/* However often, where nothing is noted of what it lacks: counted as applied, that would be what
 * this node has removed. */
static bool apply_later(struct apply *a) {
    char path[1024];
    bool unknown = a->unbegun || a->result.unnoted;
    if (!unknown && (!may_pass(a->err) || (tried_enough(a) && !a->v->stopping)))
        return false;
    if (a->v->stopping) { /* the next start does it, before it grants L there */
        apply_leave(a);
        return true;
    }
    volume_error(a->v, "%.300s: a transaction of the peer's cannot be applied yet: %s",
                 state_path(a->v->state, &a->dir, path, sizeof path), log_strerror(a->err));
    put_off(a, APPLY_AGAIN_MS);
    return true;
}

/*
 * What makes its container is in a transaction of another one, and held back at the peer while that
 * is merged; or it waits for its turn here.
 */
static bool apply_when_here(struct apply *a) {
    struct timeval tv = {.tv_usec = SEEK_MS * 1000};
    struct replica_counts n;
    replica_count(a->v->machine, &n);
    if (a->err != -ENOENT || !a->beside || a->replay || !contact_is_up(a->v) || a->v->stopping ||
        merges_awaits_trees(a->v->merges, &a->dir) ||
        a->sought++ >= (n.to_merge > 0 ? SOUGHT_MERGING : SOUGHT_MAX))
        return false;
    return event_base_once(a->v->engine->evb, -1, EV_TIMEOUT, apply_again, a, &tv) == 0;
}

/* It was put off, and the peer was met meanwhile. */
static void note_met(struct apply *a) {
    a->late = a->late || a->meeting != a->v->meetings;
}

/* With nothing else at work. The list may be somebody's by now: it is begun as any other. */
static bool apply_alone(struct apply *a) {
    if ((a->err != -EBUSY && a->err != -ENOENT) || !a->beside)
        return false;
    a->beside = false;
    apply_again(-1, EV_TIMEOUT, a);
    return true;
}

/* The machine knows L by the id that it was granted under. */
static void list_replaced(struct apply *a, bool raised) {
    struct volume *v = a->v;
    struct mailfs_id granted = txns_lock_id(v->txns, &a->dir);
    replica_list_replaced(v->machine, volume_now(), a->dir, raised);
    if (!mailfs_id_equal(&granted, &a->dir))
        replica_list_replaced(v->machine, volume_now(), granted, raised);
}

static void apply_done(void *arg) {
    struct apply *a = arg;
    struct volume *v = a->v;
    v->changes++;
    brake_noticed(v->brake);
    front_invalidate(v->front, &a->result.inval);
    if (a->result.unsure) {
        list_replaced(a, false);
        driver_pump(v);
    }
    if (apply_when_known(a) || apply_when_here(a) || apply_alone(a))
        return;
    tell_links(a);
    if (a->early) {
        apply_early_done(a);
        return;
    }
    if (apply_later(a))
        return;
    apply_uncount(a);
    apply_suspects(a); /* first: L is not granted before the merge then */
    if (a->replay)
        replica_replayed(v->machine, volume_now(), a->dir);
    else
        replica_applied(v->machine, volume_now(), a->seq);
    driver_pump(v);
    compare_trees_after(a);
    apply_free(a);
    driver_pump(v);
}

/* At the end of that L the list is raised, whatever becomes of this. */
static void apply_start(struct apply *a, bool locked) {
    struct touched t;
    touched_by_txn(load_of(a->payload)->txn, &t);
    note_met(a);
    a->raise = locked ? replica_raise_rule(a->v->machine) : REPLICA_RAISE_NONE;
    if (locked)
        list_replaced(a, true);
    if (a->beside)
        touched_run(&t, a->v->jobs, apply_run, apply_done, a);
    else
        jobs_barrier(a->v->jobs, apply_run, apply_done, a);
}

/* Or by another id that its container had, or has: the machine knows of no L there (alias.h). */
static bool is_locked(const struct apply *a) {
    struct mailfs_id id = txns_lock_id(a->v->txns, &a->dir);
    return txns_locked(a->v->txns, &id);
}

/* What is applied under an L of somebody's replaces the list that he writes to. Which L there are
 * where mailfs has not come nobody knows. */
static bool may_be_locked(struct apply *a) {
    a->apart = front_is_apart(a->v->front);
    return a->apart || is_locked(a);
}

/* By another one, for that L, which has not ended since. */
static bool was_waited_for(const struct apply *a) {
    const struct volume *v = a->v;
    return replica_is_raise_due(v->machine, a->dir) ||
           replica_is_raise_due(v->machine, txns_lock_id(v->txns, &a->dir));
}

/*
 * The machine knows of no L. But a mailfs that serves without us gives L by itself, and names those
 * when it comes. They are waited for, once for a mailbox; who hangs under L is not, as at a start
 * (driver_start.c).
 */
static void apply_unlocked(evutil_socket_t fd, short what, void *arg) {
    struct apply *a = arg;
    struct volume *v = a->v;
    struct timeval tv = {.tv_usec = LOCKED_MS * 1000};
    bool locked = may_be_locked(a) && !a->early && !a->replay;
    if (locked && !v->stopping && !was_waited_for(a) && a->locked++ < LOCKED_MAX &&
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, apply_unlocked, a, &tv) == 0)
        return;
    if (locked && v->stopping) { /* who raises the list, again at the end of L, ends now */
        apply_leave(a);
        return;
    }
    apply_start(a, locked);
    if (what != 0)
        driver_pump(v); /* the raising, behind that */
}

/* ---- removals ---------------------------------------------------------------------- */

/* The last messages of a directory are removed in transactions of its own, its end comes in one of
 * its parent. Carried out before them it would find messages that it does not know. */
static bool removal_is_too_early(const struct apply *a) {
    const Mfp__Txn *txn = load_of(a->payload)->txn;
    struct mailfs_id id;
    for (size_t i = 0; i < txn->n_ops; i++) {
        if (txn->ops[i]->op_case == MFP__OP__OP_DIR_REMOVE &&
            wire_id(&txn->ops[i]->dir_remove->id, &id) == 0 && !mailfs_id_equal(&id, &a->dir) &&
            replica_has_received(a->v->machine, id))
            return true;
    }
    return false;
}

/* In their order: a parent's removal comes behind its children's. */
void driver_apply_go_on(struct volume *v) {
    struct apply *a, *tmp;
    DL_FOREACH_SAFE(v->removals, a, tmp) {
        if (removal_is_too_early(a))
            continue;
        DL_DELETE(v->removals, a);
        apply_unlocked(-1, 0, a);
    }
}

static void free_all(struct apply **list) {
    struct apply *a, *tmp;
    DL_FOREACH_SAFE(*list, a, tmp) {
        DL_DELETE(*list, a);
        apply_free(a);
    }
}

void driver_apply_close(struct volume *v) {
    free_all(&v->removals);
    free_all(&v->replays);
}

static void apply_submit(struct volume *v, struct apply init) {
    struct apply *a = mem_copy(&init, sizeof init);
    a->v = v;
    a->beside = true;
    if (removal_is_too_early(a))
        DL_APPEND(v->removals, a);
    else
        apply_unlocked(-1, 0, a);
}

void driver_apply(struct volume *v, const struct replica_action *a) {
    struct load *l = load_of(a->payload);
    l->applying = true;
    l->applied_seq = a->seq;
    l->late = a->late;
    if (l->early && !l->early_done)
        return; /* apply_early_done() goes on */
    if (l->early_ok) {
        replica_applied(v->machine, volume_now(), a->seq);
        return;
    }
    apply_submit(v, (struct apply){.dir = a->dir,
                                   .seq = a->seq,
                                   .late = a->late,
                                   .meeting = v->meetings,
                                   .journal_id = l->journal_id,
                                   .payload = replica_payload_ref(a->payload)});
}

void driver_apply_replayed(struct volume *v, const struct mailfs_id *dir, uint64_t journal_id,
                           struct replica_payload *payload) {
    struct apply *a = mem_new(sizeof *a);
    *a = (struct apply){.v = v,
                        .dir = *dir,
                        .replay = true,
                        .beside = true,
                        .journal_id = journal_id,
                        .payload = payload};
    replica_replaying(v->machine, *dir); /* L is not granted there from now on */
    DL_APPEND(v->replays, a);
}

bool driver_replay_is_locked(const struct volume *v) {
    const struct apply *a;
    DL_FOREACH(v->replays, a) {
        if (is_locked(a))
            break;
    }
    return a != NULL;
}

void driver_replay_go_on(struct volume *v) {
    struct apply *a, *tmp;
    DL_FOREACH_SAFE(v->replays, a, tmp) {
        DL_DELETE(v->replays, a);
        apply_start(a, may_be_locked(a));
    }
    driver_pump(v); /* the raising, behind all of these */
}

static void replays_again(evutil_socket_t fd, short what, void *arg) {
    struct volume *v = arg;
    struct timeval tv = {.tv_usec = LOCKED_MS * 1000};
    if (v->stopping) /* they are in the journal */
        return;
    if ((front_is_apart(v->front) || driver_replay_is_locked(v)) &&
        v->replays_waited++ < LOCKED_MAX &&
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, replays_again, v, &tv) == 0)
        return;
    driver_replay_go_on(v);
}

/* In their order, and as at the start: L's that mailfs has given are waited for, for so long. */
static void replay_again(struct apply *a) {
    struct volume *v = a->v;
    bool due = v->replays != NULL;
    DL_APPEND(v->replays, a);
    v->replays_waited = 0;
    if (!due)
        replays_again(-1, EV_TIMEOUT, v);
}

static bool may_be_early(const Mfp__Txn *txn) {
    for (size_t i = 0; i < txn->n_ops; i++) {
        Mfp__Op__OpCase what = txn->ops[i]->op_case;
        if (what != MFP__OP__OP_DIR_MAKE && what != MFP__OP__OP_DIR_MOVE &&
            what != MFP__OP__OP_SUBDIR)
            return false;
    }
    return txn->n_ops > 0;
}

static void begin_early(struct volume *v, const struct mailfs_id *dir,
                        struct replica_payload *payload) {
    struct load *l = load_of(payload);
    l->early = true;
    apply_submit(v, (struct apply){.dir = *dir,
                                   .early = true,
                                   .meeting = v->meetings,
                                   .journal_id = l->journal_id,
                                   .payload = replica_payload_ref(payload)});
}

/* Not while trees are being compared, nor past another change of the tree that has to wait. */
void driver_apply_early(struct volume *v, const struct mailfs_id *dir,
                        struct replica_payload *payload) {
    struct load *l = load_of(payload);
    if (l->applying || !touched_tree(l->txn))
        return;
    if (replica_state(v->machine) != REPLICA_IN_SYNC || v->trees_unapplied > 0 ||
        !may_be_early(l->txn)) {
        l->counted = true;
        v->trees_unapplied++;
        return;
    }
    begin_early(v, dir, payload);
}

struct before_trees {
    struct volume *v;
    bool end;
};

static void before_trees(void *arg, const struct mailfs_id *dir, struct replica_payload *payload) {
    struct before_trees *b = arg;
    struct load *l = load_of(payload);
    if (b->end || l->early || !touched_tree(l->txn))
        return;
    b->end = !may_be_early(l->txn);
    if (b->end)
        return;
    if (l->counted)
        b->v->trees_unapplied--;
    l->counted = false;
    begin_early(b->v, dir, payload);
}

void driver_apply_before_trees(struct volume *v) {
    struct before_trees b = {v, v->removals != NULL};
    v->meetings++;
    replica_each_unapplied(v->machine, before_trees, &b);
}
