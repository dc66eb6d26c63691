/*
 * txn - acts gathered into transactions, and collected in workers
 *
 * Diagnostics: a collection that fails is logged by the disk side; the mailbox is merged then.
 */
#include "txn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "alias.h"
#include "await.h"
#include "brake.h"
#include "checkpoint.h"
#include "collect.h"
#include "copied.h"
#include "driver.h"
#include "front.h"
#include "load.h"
#include "mem.h"
#include "oneway.h"
#include "oneway_lock.h"
#include "reread.h"
#include "role.h"
#include "touched.h"
#include "util/array.h"
#include "util/clock.h"
#include "volume.h"
#include "wire/check.h"

/* Acts in order. The packets they came in are kept, as they own the memory. */
struct acts {
    Mfl__ToSyncd **packets;
    Mfl__Act **acts;
    size_t n;
};

/* The owner of L of this container has done something. */
struct open_txn {
    struct mailfs_id dir;
    struct acts acts;
    bool overflow;
    UT_hash_handle hh;
};

/* A container whose L exists, or is about to. */
struct held_lock {
    struct mailfs_id dir;
    UT_hash_handle hh;
};

struct txns {
    struct volume *v;
    struct open_txn *open;
    struct held_lock *held;
    uint64_t copies; /* numbers given */
};

struct collect {
    struct volume *v;
    struct mailfs_id asked, dir;
    struct acts acts;
    struct touched touched;
    bool unlock, alone, suspect;
    bool trees;    /* left to the comparison of the trees, and not told */
    bool unlocked; /* the machine has been told already, */
    bool told;     /* and the one-way links */
    uint64_t req;
    /* results */
    int err;
    Mfp__Txn *txn;
    struct stage_prep *preps;
    size_t n_preps;
    struct copied *copied; /* of what may be left to a merge; or NULL */
    struct invals inval;
    bool renamed; /* the container has another id now */
    struct mailfs_id now;
};

static void acts_add(struct acts *a, Mfl__ToSyncd *m) {
    a->packets = array_room(a->packets, a->n, sizeof *a->packets);
    a->acts = array_room(a->acts, a->n, sizeof *a->acts);
    if (a->packets == NULL || a->acts == NULL)
        mem_out("acts");
    a->packets[a->n] = m;
    a->acts[a->n++] = m->act;
}

static void acts_free(struct acts *a) {
    for (size_t i = 0; i < a->n; i++)
        mfl__to_syncd__free_unpacked(a->packets[i], NULL);
    free(a->packets);
    free(a->acts);
    *a = (struct acts){0};
}

/* Is it done to a directory in that container? */
static bool is_of_tree(const Mfl__Act *a) {
    return a->what_case == MFL__ACT__WHAT_DIR_MAKE || a->what_case == MFL__ACT__WHAT_DIR_MOVE ||
           a->what_case == MFL__ACT__WHAT_DIR_REMOVE;
}

static bool nobody_to_tell(const struct volume *v) {
    enum replica_state s = replica_state(v->machine);
    return s == REPLICA_NO_PEER || s == REPLICA_ALONE;
}

/* ---- collecting -------------------------------------------------------------------- */

static void collect_run(void *arg) {
    struct collect *c = arg;
    Mfl__Act *const *acts = c->acts.acts;
    if (c->alone || c->trees)
        c->err = collect_alone(c->v->state, &c->dir, acts, c->acts.n);
    else
        c->err = collect_txn(c->v->state, &c->dir, acts, c->acts.n, c->unlock, &c->txn, &c->preps,
                             &c->n_preps, &c->inval);
    if (c->copied != NULL && c->txn != NULL)
        copied_open(c->copied, c->v->state, &c->dir, c->txn);
    /* Told under an id that the container has lost: it is compared under the one it has. */
    int r = c->err == 0 ? alias_mark(c->v->state, &c->asked, &c->now) : 0;
    c->renamed = r > 0;
    if (r < 0)
        c->err = r;
}

/* True: it is left to a merge, or may be. */
static bool collect_give(struct collect *c) {
    struct replica *machine = c->v->machine;
    struct replica_payload *p = c->txn != NULL ? load_txn(c->txn) : NULL;
    struct replica_prep *preps = mem_new((c->n_preps + 1) * sizeof *preps);
    for (size_t i = 0; i < c->n_preps; i++)
        preps[i] = (struct replica_prep){c->preps[i].incarnation, c->preps[i].seq};
    bool left = c->unlock && !c->alone && !replica_is_merged(machine, c->dir);
    bool copied = left && c->copied != NULL && c->copied->n > 0;
    if (c->unlock && !c->unlocked)
        replica_unlock(machine, volume_now(), copied ? 0 : c->req, c->dir, p, preps, c->n_preps);
    else if (!c->unlock && p != NULL)
        left =
            replica_act(machine, volume_now(), c->dir, p, preps, c->n_preps, touched_tree(c->txn));
    if (copied)
        copied_prepare(c->copied, machine, volume_now(), c->req);
    free(preps);
    replica_payload_unref(p);
    return left;
}

/* What was changed is in the store; and before the machine answers the unlock. */
static void tell_links(struct collect *c) {
    if (c->told || (c->acts.n == 0 && !c->suspect))
        return;
    c->told = true;
    oneway_changed(c->v, &c->dir, c->touched.tree);
    if (c->unlock)
        await_unlock(c->v, c->req, &c->dir);
}

/* Has one of them named what the peer may publish, now, or if this node loses its power? Only the
 * base says then that it is one message. */
static bool names_what_is_there(const struct collect *c, bool left) {
    for (size_t i = 0; (c->alone || left) && i < c->acts.n; i++) {
        const Mfl__Act *a = c->acts.acts[i];
        const Mfl__Source *s = a->what_case == MFL__ACT__WHAT_ADD ? a->add->source : NULL;
        if (s != NULL && s->prepared != NULL &&
            (left ||
             replica_prep_is_past(
                 c->v->machine, (struct replica_prep){s->prepared->incarnation, s->prepared->seq})))
            return true;
    }
    return false;
}

static void collect_done(void *arg) {
    struct collect *c = arg;
    struct volume *v = c->v;
    v->changes++;
    if (c->alone && v->untold_since_wall_ns == 0 && v->cv->peer != NULL && c->acts.n > 0)
        v->untold_since_wall_ns = clock_wall_ns();
    tell_links(c);
    front_invalidate(v->front, &c->inval);
    invals_free(&c->inval);
    if (c->err != 0) /* first: L, and its token, are not given away before the merge */
        replica_suspect(v->machine, volume_now(), c->dir);
    bool left = collect_give(c);
    if (names_what_is_there(c, left))
        checkpoint_soon(v->checkpoint);
    brake_noticed(v->brake);
    reread_noticed(v->reread);
    driver_pump(v);
    if (c->suspect)
        replica_suspect(v->machine, volume_now(), c->dir);
    if (c->renamed)
        replica_suspect(v->machine, volume_now(), c->now);
    if (c->trees)
        driver_compare_trees(v, "a mailbox was removed before it was merged");
    else if (c->err != 0 && c->touched.tree)
        driver_compare_trees(v, "what was done to a directory cannot be told");
    acts_free(&c->acts);
    free(c->preps);
    copied_free(c->copied);
    free(c);
    driver_pump(v);
}

/*
 * In a mailbox that is not merged yet UIDs may have been shown here of which the other node has not
 * heard. If its removal was told it would be agreed on, and where the mailbox lives on, since
 * something has been put into it there, nobody would know of them. What the trees' merge finds
 * removed gets another UIDVALIDITY then.
 */
static bool removes_unmerged(const struct volume *v, const struct acts *a) {
    struct mailfs_id id;
    for (size_t i = 0; i < a->n; i++) {
        if (a->acts[i]->what_case == MFL__ACT__WHAT_DIR_REMOVE &&
            wire_id(&a->acts[i]->dir_remove->id, &id) == 0 && !replica_is_merged(v->machine, id))
            return true;
    }
    return false;
}

static void copied_expect(struct collect *c) {
    struct txns *t = c->v->txns;
    c->copied = mem_new(sizeof *c->copied);
    c->copied->first = (struct replica_prep){c->v->incarnation, COPIED_FIRST + t->copies};
    t->copies += COPIED_MAX;
}

/* What is told under an id that the container has lost is of the one that it has. */
static void collect_submit(struct collect *c) {
    if (!c->unlock && !alias_now(c->v->state, &c->asked, &c->dir))
        c->dir = c->asked;
    if (!c->alone && removes_unmerged(c->v, &c->acts))
        c->trees = true;
    if (c->unlock && !c->alone && !replica_is_merged(c->v->machine, c->dir))
        copied_expect(c);
    touched_by_acts(&c->dir, c->acts.acts, c->acts.n, &c->touched);
    touched_run(&c->touched, c->v->jobs, collect_run, collect_done, c);
}

static struct collect *collect_new(struct txns *t, const struct mailfs_id *dir) {
    struct collect *c = mem_new(sizeof *c);
    c->v = t->v;
    c->asked = c->dir = *dir;
    c->alone = nobody_to_tell(t->v);
    return c;
}

/* ---- from mailfs ------------------------------------------------------------------- */

static struct open_txn *open_find(const struct txns *t, const struct mailfs_id *dir) {
    struct open_txn *o;
    HASH_FIND(hh, t->open, dir, sizeof *dir, o);
    return o;
}

static void open_free(struct txns *t, struct open_txn *o) {
    HASH_DEL(t->open, o);
    acts_free(&o->acts);
    free(o);
}

static void open_add(struct txns *t, const struct mailfs_id *dir, Mfl__ToSyncd *m) {
    struct open_txn *o = open_find(t, dir);
    if (o == NULL) {
        o = mem_new(sizeof *o);
        o->dir = *dir;
        HASH_ADD(hh, t->open, dir, sizeof o->dir, o);
    }
    if (o->acts.n >= TXN_ACTS_MAX) {
        o->overflow = true;
        mfl__to_syncd__free_unpacked(m, NULL);
        return;
    }
    acts_add(&o->acts, m);
}

static int act_check(const Mfl__Act *a, struct mailfs_id *dir) {
    struct mailfs_id id;
    int r = wire_id(&a->dir, dir);
    if (r != 0)
        return r;
    switch (a->what_case) {
    case MFL__ACT__WHAT__NOT_SET:
        return -EPROTO;
    case MFL__ACT__WHAT_DIR_MAKE:
        return wire_id(&a->dir_make->id, &id);
    case MFL__ACT__WHAT_DIR_REMOVE:
        return wire_id(&a->dir_remove->id, &id);
    case MFL__ACT__WHAT_DIR_MOVE:
        r = wire_id(&a->dir_move->id, &id);
        return r != 0 ? r : wire_id(&a->dir_move->new_parent, &id);
    default:
        return 0;
    }
}

static struct held_lock *held_find(const struct txns *t, const struct mailfs_id *dir) {
    struct held_lock *h;
    HASH_FIND(hh, t->held, dir, sizeof *dir, h);
    return h;
}

static const struct held_lock *former_find(const struct txns *t, const struct mailfs_id *dir) {
    struct mailfs_id now;
    for (const struct held_lock *h = t->held; h != NULL; h = h->hh.next)
        if (alias_now(t->v->state, &h->dir, &now) && mailfs_id_equal(&now, dir))
            return h;
    return NULL;
}

/* By way of the ids that it has had since, or had before. */
struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *dir) {
    struct mailfs_id id = *dir, next;
    for (int i = 0;
         i < ALIAS_CHAIN_MAX && held_find(t, &id) == NULL && alias_next(t->v->state, &id, &next);
         i++)
        id = next;
    const struct held_lock *former = held_find(t, &id) == NULL ? former_find(t, &id) : NULL;
    return former != NULL ? former->dir : id;
}

bool txns_former_locked(const struct txns *t, const struct mailfs_id *dir) {
    return former_find(t, dir) != NULL;
}

bool txns_granted_formerly(struct txns *t, uint64_t req, const struct mailfs_id *dir) {
    struct mailfs_id now;
    if (!alias_now(t->v->state, dir, &now))
        return false;
    replica_lock_opened(t->v->machine, volume_now(), *dir, false);
    replica_lock_open(t->v->machine, volume_now(), req, now);
    return true;
}

int txns_act(struct txns *t, Mfl__ToSyncd **m) {
    struct mailfs_id dir;
    if (act_check((*m)->act, &dir) != 0)
        return -EPROTO;
    /* What a mailbox's merge knows nothing of is not kept with what may be left to one. */
    if ((*m)->act->in_txn && !is_of_tree((*m)->act)) {
        dir = txns_lock_id(t, &dir);
        open_add(t, &dir, *m);
    } else {
        struct collect *c = collect_new(t, &dir);
        acts_add(&c->acts, *m);
        collect_submit(c);
    }
    *m = NULL;
    return 0;
}

static void held_forget(struct txns *t, const struct mailfs_id *dir) {
    struct held_lock *h = held_find(t, dir);
    if (h == NULL)
        return;
    HASH_DEL(t->held, h);
    free(h);
}

void txns_lock_forget(struct txns *t, const struct mailfs_id *dir) {
    held_forget(t, dir);
}

bool txns_locked(const struct txns *t, const struct mailfs_id *dir) {
    return held_find(t, dir) != NULL;
}

bool txns_locked_any(const struct txns *t) {
    return t->held != NULL;
}

void txns_lock_granted(struct txns *t, const struct mailfs_id *dir) {
    if (held_find(t, dir) != NULL)
        return;
    struct held_lock *h = mem_new(sizeof *h);
    h->dir = *dir;
    HASH_ADD(hh, t->held, dir, sizeof h->dir, h);
}

void txns_lock_opened(struct txns *t, const struct mailfs_id *dir, bool ok) {
    if (ok)
        txns_lock_granted(t, dir);
    else
        held_forget(t, dir);
    replica_lock_opened(t->v->machine, volume_now(), *dir, ok);
}

/* Who asked may have been kept waiting in the mailbox's lane (txns_lock_open()) beyond the end of
 * his mailfs. Nobody would ever say that L is open, and nothing be applied or merged there. */
void txns_granted(struct txns *t, uint64_t req, const struct mailfs_id *dir, uint32_t raise) {
    txns_lock_granted(t, dir);
    if (!front_grant(t->v->front, req, 0, raise))
        txns_lock_opened(t, dir, false);
}

/* On a standby the last one is of when it was active, and mailfs let everybody write till then:
 * from the next time that all is merged on it only follows (on_caught_up()). */
static void last_unlocked(struct txns *t, const struct mailfs_id *dir) {
    if (t->held == NULL && t->v->n_links > 0 && role_of(t->v).standby)
        oneway_changed(t->v, dir, false);
}

void txns_unlock(struct txns *t, uint64_t req, const struct mailfs_id *dir) {
    struct collect *c = collect_new(t, dir);
    struct open_txn *o = open_find(t, dir);
    held_forget(t, dir);
    last_unlocked(t, dir);
    c->unlock = true;
    c->req = req;
    if (o != NULL) {
        c->acts = o->acts;
        c->suspect = o->overflow;
        o->acts = (struct acts){0};
        open_free(t, o);
    }
    if (c->alone) { /* nobody waits for the disk then */
        c->unlocked = true;
        touched_by_acts(&c->dir, c->acts.acts, c->acts.n, &c->touched);
        tell_links(c);
        replica_unlock(t->v->machine, volume_now(), req, *dir, NULL, NULL, 0);
    }
    collect_submit(c);
}

struct unlock_again {
    struct volume *v;
    struct mailfs_id dir;
    uint64_t req;
};

static void unlock_again_done(void *arg) {
    struct unlock_again *u = arg;
    struct volume *v = u->v;
    oneway_changed(v, &u->dir, false); /* it may have been, and await_unlock() relies on it */
    await_unlock(v, u->req, &u->dir);
    replica_unlock_again(v->machine, volume_now(), u->req, u->dir);
    free(u);
    driver_pump(v);
}

/* Behind the collecting of what was told. */
void txns_unlock_again(struct txns *t, uint64_t req, const struct mailfs_id *dir) {
    struct unlock_again *u = mem_new(sizeof *u);
    *u = (struct unlock_again){.v = t->v, .dir = *dir, .req = req};
    jobs_run(t->v->jobs, dir, NULL, unlock_again_done, u);
}

struct lock_open {
    struct volume *v;
    struct mailfs_id dir;
    uint64_t req;
};

static void lock_open_done(void *arg) {
    struct lock_open *l = arg;
    struct volume *v = l->v;
    replica_lock_open(v->machine, volume_now(), l->req, l->dir);
    free(l);
    driver_pump(v);
}

/* Behind what is still being collected of the container: the U before it, for one. */
void txns_lock_open(struct txns *t, uint64_t req, const struct mailfs_id *asked) {
    struct volume *v = t->v;
    struct mailfs_id dir;
    if (!alias_now(v->state, asked, &dir))
        dir = *asked;
    if (nobody_to_tell(v) || jobs_of(v->jobs, &dir) == 0) {
        replica_lock_open(v->machine, volume_now(), req, dir);
        return;
    }
    struct lock_open *l = mem_new(sizeof *l);
    *l = (struct lock_open){.v = v, .dir = dir, .req = req};
    jobs_run(v->jobs, &dir, NULL, lock_open_done, l);
}

static void held_forget_all(struct txns *t) {
    struct held_lock *h, *tmp;
    HASH_ITER(hh, t->held, h, tmp) {
        HASH_DEL(t->held, h);
        free(h);
    }
}

void txns_abandon(struct txns *t) {
    struct open_txn *o, *tmp;
    HASH_ITER(hh, t->open, o, tmp) {
        replica_suspect(t->v->machine, volume_now(), o->dir);
        driver_pump(t->v);
        oneway_changed(t->v, &o->dir, true);
        open_free(t, o);
    }
}

void txns_locks_are(struct txns *t, const struct mailfs_id *dirs, size_t n, bool lost) {
    oneway_grants_void(t->v, dirs, n);
    size_t links = oneway_locks_held(t->v, NULL, 0); /* of which mailfs knows nothing */
    struct mailfs_id *all = mem_new((n + links + 1) * sizeof *all);
    held_forget_all(t);
    for (size_t i = 0; i < n; i++) {
        txns_lock_granted(t, &dirs[i]);
        all[i] = dirs[i];
    }
    oneway_locks_held(t->v, all + n, links);
    replica_locks_are(t->v->machine, volume_now(), all, n + links, lost);
    free(all);
}

size_t txns_open_acts(const struct txns *t, const struct mailfs_id *dir) {
    const struct open_txn *o = open_find(t, dir);
    return o == NULL ? 0 : o->acts.n;
}

struct txns *txns_new(struct volume *v) {
    struct txns *t = mem_new(sizeof *t);
    t->v = v;
    return t;
}

void txns_free(struct txns *t) {
    if (t == NULL)
        return;
    struct open_txn *o, *tmp;
    HASH_ITER(hh, t->open, o, tmp)
        open_free(t, o);
    held_forget_all(t);
    free(t);
}
