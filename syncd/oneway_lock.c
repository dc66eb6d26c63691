/*
 * oneway_lock - L for the merges of a volume's one-way links
 *
 * One that the machine has granted with a gap stays GRANTED until the gap is made, so nobody else
 * is granted it, and the gap counts as made only then.
 *
 * Diagnostics: what cannot be raised is logged by promote.c, with the mailbox.
 */
#include "oneway_lock.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "asks.h"
#include "driver.h"
#include "front.h"
#include "jobs.h"
#include "mem.h"
#include "oneway.h"
#include "promote.h"
#include "volume.h"

/* No connection of mailfs has this number, see front_req(). */
#define REQ_OURS (UINT64_C(0xffff) << 48)

enum at { WAITS, RAISES, ANSWERED, HELD };

struct link_lock {
    enum at at;
    uint64_t req;
    struct mailfs_id dir;
    struct volume *root, *link;
    oneway_lock_fn *fn;
    void *arg;
    int err;
    bool void_grant; /* the machine has taken it back while the gap was made, or a process has L */
    enum replica_raise how;
    struct invals inval;
    struct link_lock *prev, *next;
};

static void lock_free(struct link_lock *l) {
    DL_DELETE(l->root->link_locks, l);
    free(l);
}

static void lock_answer(void *arg) {
    struct link_lock *l = arg;
    oneway_lock_fn *fn = l->fn;
    void *fn_arg = l->arg;
    int err = l->void_grant ? -EAGAIN : l->err;
    if (err == 0)
        l->at = HELD;
    else
        lock_free(l);
    fn(fn_arg, err);
}

/* Behind what is done in the mailbox already. */
static void answer(struct link_lock *l, int err) {
    l->at = ANSWERED;
    l->err = err;
    jobs_run(l->root->jobs, &l->dir, NULL, lock_answer, l);
}

static void raise_run(void *arg) {
    struct link_lock *l = arg;
    asks_saw(false); /* oneway_lock() has looked */
    l->err = promote_raise_one(l->root->state, &l->dir, l->how, &l->inval);
}

static void raise_done(void *arg) {
    struct link_lock *l = arg;
    struct volume *root = l->root;
    front_invalidate(root->front, &l->inval);
    invals_free(&l->inval);
    if (l->void_grant || l->err != 0)
        l->err = -EAGAIN;
    if (!l->void_grant)
        replica_lock_opened(root->machine, volume_now(), l->dir, l->err == 0);
    oneway_changed(root, &l->dir, false); /* standbys are above it, too */
    driver_pump(root);
    lock_answer(l);
}

static struct link_lock *lock_find(struct volume *v, uint64_t req) {
    struct link_lock *l;
    DL_SEARCH_SCALAR(v->link_locks, l, req, req);
    return l != NULL && l->at == WAITS ? l : NULL;
}

/* Which L there are: a mailfs that has served without syncd, or that was killed between the opening
 * of L and the word of it, and comes again. */
static bool mailfs_has_not_said(const struct volume *v) {
    return front_is_apart(v->front);
}

void oneway_lock(struct volume *link, const struct mailfs_id *dir, oneway_lock_fn *fn, void *arg) {
    struct volume *root = link->main;
    struct link_lock *l = mem_new(sizeof *l);
    *l = (struct link_lock){.root = root, .link = link, .dir = *dir, .fn = fn, .arg = arg};
    l->req = REQ_OURS | (root->link_locks_asked++ & ~REQ_OURS);
    DL_APPEND(root->link_locks, l);
    if (mailfs_has_not_said(root)) {
        answer(l, -EAGAIN);
        return;
    }
    replica_lock_open(root->machine, volume_now(), l->req, *dir);
    driver_pump(root);
}

bool oneway_granted(struct volume *v, uint64_t req, enum replica_raise raise) {
    struct link_lock *l;
    if ((req & REQ_OURS) != REQ_OURS)
        return false;
    l = lock_find(v, req);
    if (l == NULL)
        return true;
    if (raise == REPLICA_RAISE_NONE) {
        replica_lock_opened(v->machine, volume_now(), l->dir, true);
        answer(l, 0);
    } else {
        l->at = RAISES;
        l->how = raise;
        jobs_run(v->jobs, &l->dir, raise_run, raise_done, l);
    }
    return true;
}

bool oneway_busy(struct volume *v, uint64_t req) {
    struct link_lock *l;
    if ((req & REQ_OURS) != REQ_OURS)
        return false;
    l = lock_find(v, req);
    if (l != NULL)
        answer(l, -EAGAIN);
    return true;
}

static struct link_lock *held_find(struct volume *link, const struct mailfs_id *dir) {
    struct link_lock *l;
    DL_FOREACH(link->main->link_locks, l) {
        if (l->at == HELD && l->link == link && mailfs_id_equal(&l->dir, dir))
            break;
    }
    return l;
}

bool oneway_holds(struct volume *link, const struct mailfs_id *dir) {
    const struct link_lock *l = held_find(link, dir);
    return l != NULL && !l->void_grant && !mailfs_has_not_said(link->main);
}

void oneway_unlock(struct volume *link, const struct mailfs_id *dir, bool changed) {
    struct volume *root = link->main;
    struct link_lock *l = held_find(link, dir);
    bool was_ours = l != NULL && !l->void_grant;
    if (l != NULL)
        lock_free(l);
    /* First: from here on L is granted as for any mailbox that is to be merged. */
    if (changed)
        replica_suspect(root->machine, volume_now(), *dir);
    driver_pump(root);
    if (!was_ours)
        return;
    replica_unlock(root->machine, volume_now(), 0, *dir, NULL, NULL, 0);
    driver_pump(root);
}

/* One that is granted and not answered yet is held by now. */
static bool is_held(const struct link_lock *l) {
    return !l->void_grant && (l->at == HELD || (l->at == ANSWERED && l->err == 0));
}

static bool is_among(const struct mailfs_id *dir, const struct mailfs_id *dirs, size_t n) {
    size_t i = 0;
    while (i < n && !mailfs_id_equal(dir, &dirs[i]))
        i++;
    return i < n;
}

void oneway_grants_void(struct volume *v, const struct mailfs_id *dirs, size_t n) {
    struct link_lock *l;
    DL_FOREACH(v->link_locks, l) {
        if (l->at == RAISES || (is_held(l) && is_among(&l->dir, dirs, n)))
            l->void_grant = true;
    }
}

void oneway_mailfs_away(struct volume *v) {
    struct link_lock *l, *tmp;
    oneway_grants_void(v, NULL, 0);
    DL_FOREACH_SAFE(v->link_locks, l, tmp) {
        if (l->at == WAITS)
            answer(l, -EAGAIN);
    }
}

size_t oneway_locks_held(const struct volume *v, struct mailfs_id *dirs, size_t max) {
    const struct link_lock *l;
    size_t n = 0;
    DL_FOREACH(v->link_locks, l) {
        if (!is_held(l))
            continue;
        if (n < max)
            dirs[n] = l->dir;
        n++;
    }
    return n;
}

void oneway_locks_free(struct volume *v) {
    struct link_lock *l, *tmp;
    DL_FOREACH_SAFE(v->link_locks, l, tmp) {
        lock_free(l);
    }
}
