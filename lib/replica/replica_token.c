/*
 * replica_token - who may take L, and where the token is
 *
 * `mine` is what was last known for certain: it is set when a token arrives, and at the
 * lower-named node when the two sides are known to be the same and the other has said so; it is
 * cleared before anything is sent that lets the other take it. So at no time do both have it,
 * within an epoch or across its end; at some times neither has. Who takes L without it leaves a
 * gap (enum replica_raise), once until the mailbox is the same on both again.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

uint32_t replica_raised_uid(uint32_t next, enum replica_raise raise) {
    if (raise == REPLICA_RAISE_NONE)
        return next;
    uint64_t block = ((uint64_t)next + 2 * (uint64_t)REPLICA_RAISE_BLOCK - 1) / REPLICA_RAISE_BLOCK;
    while ((block & 3) != (raise == REPLICA_RAISE_ODD ? 1 : 2))
        block++;
    uint64_t uid = block * REPLICA_RAISE_BLOCK;
    return uid < UINT32_MAX ? (uint32_t)uid : next; /* used up: nothing better can be done */
}

uint32_t replica_raised_over(uint32_t next, enum replica_raise raise) {
    return replica_raised_uid(replica_raised_uid(next, raise), raise);
}

uint32_t replica_unraised_uid(uint32_t from, uint32_t next) {
    uint32_t block = next / REPLICA_RAISE_BLOCK;
    bool raised_to = (block & 3) == 1 || (block & 3) == 2;
    return block == from / REPLICA_RAISE_BLOCK || !raised_to ? next
                                                             : (block | 3) * REPLICA_RAISE_BLOCK;
}

void replica_token_set(struct replica *r, struct dir *d, bool mine) {
    if (d->mine == mine)
        return;
    d->mine = mine;
    d->fresh = d->hinted = false;
    if (mine)
        d->raised = false;
    else
        replica_emit_dir(r, RACT_TOKEN_HINT, d)->held = false;
}

/* The two are the same and nobody disputes the token. */
static bool in_common(const struct replica *r, const struct dir *d) {
    return r->connected && r->exchanged && d->stage == STAGE_SAME;
}

bool replica_token_can_lock(const struct replica *r, const struct dir *d) {
    if (d->lock != LOCK_FREE || d->raising)
        return false;
    if (!MUTANT(MUTANT_GRANT_UNAPPLIED) && replica_txn_blocks(r, d))
        return false;
    if (MUTANT(MUTANT_NO_FREEZE))
        return true;
    return !replica_round_frozen(d) && d->job != JOB_MERGE;
}

uint64_t replica_token_merge_wait(const struct replica *r, const struct dir *d) {
    bool unborn = r->exchanged ? d->unborn : !r->caught_up;
    return unborn ? r->config.first_wait_ms : r->config.merge_wait_ms;
}

/* w NULL: somebody who was answered BUSY. */
bool replica_token_grantable(const struct replica *r, const struct dir *d, const struct waiter *w) {
    if (!replica_token_can_lock(r, d))
        return false;
    if (in_common(r, d))
        return d->mine;
    if (!r->connected)
        return r->config.peer == NULL || r->contact_waited || !r->had_contact;
    uint64_t wait = replica_token_merge_wait(r, d);
    if (w == NULL || d->waited || r->now >= w->since + wait)
        return true;
    if (!r->exchanged)
        return r->now >= r->connected_at + wait;
    return r->now < d->retry_at;
}

/* Until when a waiter is kept waiting for what cannot be forced; then BUSY. */
static uint64_t busy_at(const struct replica *r, const struct dir *d, const struct waiter *w) {
    uint64_t wait = r->config.lock_wait_ms, since = later(w->since, d->phase_at);
    if (!r->connected) {
        if (!r->contact_waited && r->had_contact)
            since = later(since, r->contact_until);
        return since + wait;
    }
    uint64_t at = since + wait;
    if (!in_common(r, d) && !replica_round_frozen(d))
        at = later(at, w->since + replica_token_merge_wait(r, d) + wait);
    uint64_t most = later(w->since, r->connected_at) + r->config.timeout_ms;
    return at < most ? at : most;
}

uint64_t replica_token_deadline(const struct replica *r, const struct dir *d) {
    uint64_t t = UINT64_MAX, wait = replica_token_merge_wait(r, d);
    const struct waiter *w;
    DL_FOREACH(d->waiters, w) {
        uint64_t at = busy_at(r, d, w), merged = w->since + wait;
        if (r->connected && merged > r->now && merged < at)
            at = merged;
        merged = r->connected_at + wait;
        if (r->connected && !r->exchanged && merged > r->now && merged < at)
            at = merged;
        if (at < t)
            t = at;
    }
    if (d->peer_wants && d->mine && d->fresh && d->lock == LOCK_FREE && d->keep_until < t)
        t = d->keep_until;
    return t;
}

/* Somebody here locks without having asked the peer. */
static enum replica_raise grant_alone(struct replica *r, struct dir *d) {
    if (r->connected && r->exchanged) {
        d->waited = true;
    } else if (r->connected && !MUTANT(MUTANT_FORGET_DIRTY)) {
        d->dirty = true;
        if (r->marks_sent)
            replica_announce(r, d, false);
    }
    if (r->config.peer == NULL || !r->had_contact || d->mine || d->raised ||
        MUTANT(MUTANT_NO_RAISE))
        return REPLICA_RAISE_NONE;
    d->raise_pending = true;
    return r->lower || MUTANT(MUTANT_EQUAL_RAISE) ? REPLICA_RAISE_ODD : REPLICA_RAISE_EVEN;
}

static void grant(struct replica *r, struct dir *d, struct waiter *w) {
    enum replica_raise raise = REPLICA_RAISE_NONE;
    d->lock_shared = in_common(r, d);
    if (!d->lock_shared)
        raise = grant_alone(r, d);
    d->lock = LOCK_GRANTED;
    d->lock_found = false;
    if (d->lock_shared && !d->hinted) {
        /* Not before: what came with the token must be in the store when mailfs relies on this. */
        d->hinted = true;
        replica_emit_dir(r, RACT_TOKEN_HINT, d)->held = true;
    }
    struct replica_action *a = replica_emit_dir(r, RACT_GRANT, d);
    a->req = w->req;
    a->raise = raise;
    DL_DELETE(d->waiters, w);
    r->waiters--;
    free(w);
}

static void token_here(struct replica *r, struct dir *d) {
    d->busy = false;
    d->keep_until = r->now + 2 * r->config.lock_wait_ms;
    replica_emit_dir(r, RACT_TOKEN_HERE, d);
}

static void answer_busy(struct replica *r, struct dir *d) {
    struct waiter *w, *tmp;
    DL_FOREACH_SAFE(d->waiters, w, tmp) {
        if (r->now < busy_at(r, d, w))
            continue;
        replica_emit_dir(r, RACT_BUSY, d)->req = w->req;
        DL_DELETE(d->waiters, w);
        r->waiters--;
        free(w);
        d->busy = true;
    }
}

/* The one who has just got the token serves one L first, or waits a moment for the poller. */
static bool may_give(const struct replica *r, const struct dir *d) {
    return in_common(r, d) && d->mine && d->peer_wants && d->lock == LOCK_FREE && !d->raising &&
           (!d->fresh || r->now >= d->keep_until);
}

static void give(struct replica *r, struct dir *d) {
    d->peer_wants = false;
    if (!MUTANT(MUTANT_KEEP_TOKEN))
        replica_token_set(r, d, false);
    replica_send_dir(r, RMSG_TOKEN_GIVE, d);
}

static void ask(struct replica *r, struct dir *d) {
    if (!in_common(r, d) || d->mine || d->req_sent)
        return;
    if (MUTANT(MUTANT_NO_REQUEST) && d->waiters == NULL)
        return;
    d->req_sent = true;
    replica_send_dir(r, RMSG_TOKEN_REQ, d);
}

void replica_token_step(struct replica *r, struct dir *d) {
    if (may_give(r, d))
        give(r, d);
    if (d->busy && replica_token_grantable(r, d, NULL))
        token_here(r, d);
    struct waiter *w, *tmp;
    DL_FOREACH_SAFE(d->waiters, w, tmp) {
        if (replica_token_grantable(r, d, w)) {
            grant(r, d, w);
            break;
        }
    }
    answer_busy(r, d);
    if (d->waiters != NULL || d->busy)
        ask(r, d);
}

/* The end of the epoch. What L is held for now is no transaction of the next one either. */
void replica_token_alone(struct replica *r, struct dir *d) {
    d->req_sent = d->peer_wants = d->fresh = d->lock_shared = false;
    d->keep_until = 0;
    d->phase_at = r->now;
}

/* ---- local events ---- */

void replica_lock_open(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir) {
    r->now = now;
    struct dir *d = replica_dir_get(r, &dir);
    struct waiter *w = replica_alloc(sizeof *w);
    w->req = req;
    w->since = now;
    DL_APPEND(d->waiters, w);
    r->waiters++;
    if (r->connected && r->exchanged && d->stage != STAGE_SAME)
        replica_round_hurry(r, d);
    replica_settle(r, d);
    replica_pump(r);
}

void replica_lock_opened(struct replica *r, uint64_t now, struct mailfs_id dir, bool ok) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    if (d == NULL || d->lock != LOCK_GRANTED)
        return;
    d->lock = ok ? LOCK_HELD : LOCK_FREE;
    if (!ok)
        replica_token_unlocked(r, d);
    if (ok && d->raise_pending && !d->mine)
        d->raised = true;
    d->raise_pending = false;
    replica_settle(r, d);
    replica_pump(r);
}

/* Who waited in a mailfs that is gone: it asks anew, or nobody does. */
static void drop_waiters(struct replica *r, struct dir *d) {
    struct waiter *w, *tmp;
    DL_FOREACH_SAFE(d->waiters, w, tmp) {
        DL_DELETE(d->waiters, w);
        free(w);
        r->waiters--;
    }
    d->busy = false;
}

/* Of an L that is granted only the next mailfs knows whether it was opened: it is kept as one that
 * was. */
void replica_mailfs_away(struct replica *r, uint64_t now) {
    r->now = now;
    replica_requests_end(r);
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        drop_waiters(r, d);
        d->hinted = false; /* the next mailfs has not heard it */
        d->raise_pending = false;
        replica_settle(r, d);
    }
    replica_pump(r);
}

static void lock_found(struct replica *r, struct dir *d) {
    if (d->lock == LOCK_HELD)
        return; /* it goes on */
    d->lock = LOCK_HELD;
    d->lock_found = true;
    d->lock_shared = false;
    replica_suspect_dir(r, d);
    replica_settle(r, d);
}

enum replica_raise replica_raise_rule(const struct replica *r) {
    return r->lower ? REPLICA_RAISE_ODD : REPLICA_RAISE_EVEN;
}

/* A UID may have been shown that the list does not say: neither L nor the token is given before
 * the next one is above it. */
static void raise_above_lost(struct replica *r, struct dir *d) {
    if (d->raise_due) /* it is behind this, too */
        return;
    struct replica_action *a = replica_emit_dir(r, RACT_RAISE, d);
    a->raise = replica_raise_rule(r);
    d->raising++;
    d->raise_due = true;
}

void replica_token_raise_begins(struct replica *r, const struct mailfs_id *dir) {
    struct dir *d = replica_dir_find(r, dir);
    if (d != NULL)
        d->raise_due = false;
}

void replica_token_unlocked(struct replica *r, struct dir *d) {
    if (d->list_lost)
        raise_above_lost(r, d);
    d->list_lost = false;
}

/*
 * Of a transaction that nobody ends any more not all may be known. lost: whoever was in it saw its
 * file system go away, and may have numbered a message in its own index and not in the list.
 */
static void lock_gone(struct replica *r, struct dir *d, bool lost) {
    d->list_lost = d->list_lost || lost;
    replica_token_unlocked(r, d);
    replica_suspect_dir(r, d);
    d->lock = LOCK_FREE;
    d->lock_shared = d->raise_pending = false;
    replica_settle(r, d);
}

void replica_list_replaced(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    if (d == NULL)
        return;
    if (!raised)
        raise_above_lost(r, d); /* also where it was: who has L by now may be another one */
    d->list_lost = true;
    replica_pump(r);
}

void replica_raise_left(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised) {
    r->now = now;
    struct dir *d = replica_dir_get(r, &dir);
    if (!raised)
        raise_above_lost(r, d);
    d->list_lost = true;
    replica_pump(r);
}

bool replica_is_raise_due(const struct replica *r, struct mailfs_id dir) {
    const struct dir *d = replica_dir_find(r, &dir);
    return d != NULL && (d->raising > 0 || d->list_lost);
}

void replica_raised(struct replica *r, uint64_t now, struct mailfs_id dir) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    if (d == NULL || d->raising == 0)
        return;
    d->raising--;
    replica_settle(r, d);
    replica_pump(r);
}

static bool listed(const struct dir *d, const struct mailfs_id *dirs, size_t n) {
    bool found = false;
    for (size_t i = 0; i < n && !found; i++)
        found = mailfs_id_equal(&d->id, &dirs[i]);
    return found;
}

void replica_locks_are(struct replica *r, uint64_t now, const struct mailfs_id *dirs, size_t n,
                       bool lost) {
    struct dir *d, *tmp;
    r->now = now;
    for (size_t i = 0; i < n; i++)
        lock_found(r, replica_dir_get(r, &dirs[i]));
    HASH_ITER(hh, r->dirs, d, tmp) {
        if (d->lock == LOCK_FREE && d->list_lost) { /* if there was one it has ended */
            replica_token_unlocked(r, d);
            replica_settle(r, d);
        } else if (d->lock != LOCK_FREE && !listed(d, dirs, n)) {
            lock_gone(r, d, lost);
        }
    }
    replica_pump(r);
}

/* ---- the peer ---- */

int replica_token_req(struct replica *r, const struct replica_msg *m) {
    if (!r->exchanged || !replica_dir_room(r, &m->dir))
        return -EPROTO;
    struct dir *d = replica_dir_get(r, &m->dir);
    /* Not the same: it was asked before the peer heard so, and will be asked anew. */
    if (d->stage == STAGE_SAME && d->mine)
        d->peer_wants = true;
    replica_settle(r, d);
    return 0;
}

int replica_token_give(struct replica *r, const struct replica_msg *m) {
    struct dir *d = replica_dir_find(r, &m->dir);
    if (!r->exchanged || d == NULL || d->mine || d->stage == STAGE_MERGING)
        return -EPROTO;
    replica_token_set(r, d, true);
    if (d->stage == STAGE_SAME) {
        d->fresh = true;
        d->keep_until = r->now + 2 * r->config.lock_wait_ms;
    }
    d->req_sent = false;
    replica_settle(r, d);
    return 0;
}
