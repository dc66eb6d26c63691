/*
 * replica_txn - transactions and acts, sent and received
 *
 * Sent: in the order made; what the peer has acknowledged becomes the common base (RACT_ACKED)
 * in that order for each mailbox, and U returns when its transaction and all before it are there.
 * Received: made durable at once and acknowledged, applied one after the other when nobody here
 * holds L. What is received is applied whatever becomes of the link.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>

/* ---- who waits for the peer ---- */

void replica_request_add(struct replica *r, uint64_t req, size_t owed, bool body) {
    replica_request_end(r, req, true); /* a number used twice: mailfs came back */
    struct request *q = replica_alloc(sizeof *q);
    q->req = req;
    q->at = q->told = r->now;
    q->owed = owed;
    q->body = body;
    HASH_ADD(hh, r->requests, req, sizeof q->req, q);
    DL_APPEND(r->waiting, q);
}

static struct request *request_find(const struct replica *r, uint64_t req) {
    struct request *q;
    HASH_FIND(hh, r->requests, &req, sizeof req, q);
    return q;
}

void replica_request_end(struct replica *r, uint64_t req, bool alone) {
    struct request *q = request_find(r, req);
    if (q == NULL)
        return;
    HASH_DEL(r->requests, q);
    DL_DELETE(r->waiting, q);
    replica_release(r, q->req, alone);
    free(q);
}

void replica_request_part(struct replica *r, uint64_t req, bool alone) {
    struct request *q = request_find(r, req);
    if (q != NULL && --q->owed == 0)
        replica_request_end(r, req, alone);
}

void replica_requests_end(struct replica *r) {
    while (r->waiting != NULL)
        replica_request_end(r, r->waiting->req, true);
}

void replica_request_progress(struct replica *r, uint64_t req) {
    struct request *q = request_find(r, req);
    if (q == NULL)
        return;
    q->at = r->now;
    DL_DELETE(r->waiting, q);
    DL_APPEND(r->waiting, q);
    if (r->now - q->told < r->config.timeout_ms)
        return;
    q->told = r->now;
    replica_emit(r, RACT_WORKING)->req = req;
}

/* ---- sending ---- */

/* Off the table of what is on its way. */
static void tx_take(struct replica *r, struct tx *t) {
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
    HASH_DEL(r->tx, t);
    r->tx_bytes -= t->payload->size;
}

static void tx_free(struct tx *t) {
    replica_payload_unref(t->payload);
    free(t->preps);
    free(t);
}

static struct tx *tx_new(struct dir *d, struct replica_payload *payload,
                         const struct replica_prep *preps, size_t n) {
    struct tx *t = replica_alloc(sizeof *t);
    t->dir = d;
    t->payload = replica_payload_ref(payload);
    t->preps = replica_preps_copy(preps, n);
    t->npreps = n;
    return t;
}

static void tx_send(struct replica *r, struct tx *t, bool locked) {
    t->seq = ++r->tx_seq;
    t->at = r->now;
    HASH_ADD(hh, r->tx, seq, sizeof t->seq, t);
    r->tx_bytes += t->payload->size;
    DL_APPEND(t->dir->tx, t);
    replica_prep_sent(r, t->preps, t->npreps);
    struct replica_msg *m = replica_send_dir(r, RMSG_TXN, t->dir);
    m->seq = t->seq;
    m->locked = locked;
    m->payload = replica_payload_ref(t->payload);
    m->preps = replica_preps_copy(t->preps, t->npreps);
    m->npreps = t->npreps;
    if (MUTANT(MUTANT_BASE_ON_SEND))
        replica_emit_dir(r, RACT_ACKED, t->dir)->payload = replica_payload_ref(t->payload);
    if (HASH_COUNT(r->tx) > r->config.max_unacked || r->tx_bytes > REPLICA_MAX_BYTES)
        replica_lose(r, "the peer is too far behind in acknowledging transactions");
}

void replica_txn_flush_held(struct replica *r, struct dir *d) {
    struct tx *t, *tmp;
    DL_FOREACH_SAFE(d->held, t, tmp) {
        DL_DELETE(d->held, t);
        if (MUTANT(MUTANT_DROP_HELD))
            tx_free(t);
        else
            tx_send(r, t, false);
    }
}

/* A listing begins that has the effect of all acts made so far, and of what was changed by others
 * after them. To send them after the merge would undo that. Of the directories it says nothing:
 * what changes these is sent all the same. */
void replica_txn_listed(struct replica *r, struct dir *d) {
    struct tx *t, *tmp;
    DL_FOREACH_SAFE(d->held, t, tmp) {
        if (t->tree && !MUTANT(MUTANT_LIST_FOLDERS))
            continue;
        DL_DELETE(d->held, t);
        replica_prep_unsent(r, d, t->preps, t->npreps);
        tx_free(t);
    }
}

/* U of somebody whose changes the peer is told now. */
static void unlock_shared(struct replica *r, uint64_t req, struct dir *d,
                          struct replica_payload *payload, const struct replica_prep *preps,
                          size_t n) {
    struct tx *t = tx_new(d, payload, preps, n);
    if (req != 0 && r->config.commit != REPLICA_COMMIT_ASYNC && !MUTANT(MUTANT_NO_ACK_WAIT)) {
        t->req = req;
        replica_request_add(r, req, 1, false);
    } else if (req != 0) {
        replica_release(r, req, true);
    }
    tx_send(r, t, true);
}

/* The mark on disk covers it, and the merge will find it. */
static void unlock_unsent(struct replica *r, uint64_t req, struct dir *d,
                          const struct replica_prep *preps, size_t n) {
    if (req != 0)
        replica_release(r, req, true);
    if (d->lock == LOCK_FREE)
        replica_suspect_dir(r, d);
    else if (!d->lock_shared && r->connected && !r->exchanged && !MUTANT(MUTANT_FORGET_DIRTY))
        d->dirty = true;
    replica_prep_unsent(r, d, preps, n);
}

void replica_unlock(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir,
                    struct replica_payload *payload, const struct replica_prep *preps, size_t n) {
    r->now = now;
    struct dir *d = replica_dir_get(r, &dir);
    bool shared = d->lock != LOCK_FREE && d->lock_shared && d->stage == STAGE_SAME;
    if (shared && payload != NULL)
        unlock_shared(r, req, d, payload, preps, n);
    else
        unlock_unsent(r, req, d, preps, n);
    d->lock = LOCK_FREE;
    d->lock_shared = d->raise_pending = d->fresh = false;
    replica_token_unlocked(r, d);
    replica_settle(r, d);
    replica_pump(r);
}

void replica_unlock_again(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    struct tx *last = d != NULL && d->tx != NULL ? d->tx->prev : NULL;
    if (last == NULL || last->acked || last->received || r->config.commit == REPLICA_COMMIT_ASYNC) {
        replica_release(r, req, last == NULL || !(last->acked || last->received));
    } else {
        last->req = req; /* the request it had before ended with the mailfs before */
        replica_request_add(r, req, 1, false);
    }
    replica_pump(r);
}

bool replica_act(struct replica *r, uint64_t now, struct mailfs_id dir,
                 struct replica_payload *payload, const struct replica_prep *preps, size_t n,
                 bool tree) {
    r->now = now;
    if (!r->connected)
        replica_prep_sent(r, preps, n); /* they have their names */
    if (!r->connected || payload == NULL)
        return false;
    struct dir *d = replica_dir_get(r, &dir);
    struct tx *t = tx_new(d, payload, preps, n);
    t->tree = tree;
    bool held = replica_round_frozen(d) && !d->round.merged;
    if (held)
        DL_APPEND(d->held, t);
    else
        tx_send(r, t, false);
    replica_settle(r, d);
    replica_pump(r);
    return held;
}

/* Whoever waits is released when the peer has this transaction and all before it, as safely as its
 * configuration says. */
static void release_received(struct replica *r, struct dir *d) {
    for (struct tx *t = d->tx; t != NULL && (t->acked || t->received); t = t->next) {
        if (t->req != 0)
            replica_request_end(r, t->req, false);
        t->req = 0;
    }
}

/* The peer carries out nothing of the trees while they are compared, and they may be listed once
 * more: where the base had moved by then, the directory would be where the base has it here, and
 * there, and the place that is the former one could win. */
static bool base_stays(const struct replica *r, const struct tx *t) {
    return t->tree && r->connected && r->tree.stage != TREE_DONE;
}

/* What is durable there becomes the base, in order. While it is not known what becomes of a merge,
 * the base stays. */
void replica_txn_acknowledged(struct replica *r, struct dir *d) {
    release_received(r, d);
    while (d->stage != STAGE_MERGING && d->tx != NULL && d->tx->acked && !base_stays(r, d->tx)) {
        struct tx *t = d->tx;
        struct replica_action *a = replica_emit_dir(r, RACT_ACKED, d);
        a->seq = t->seq;
        a->payload = replica_payload_ref(t->payload);
        DL_DELETE(d->tx, t);
        tx_take(r, t);
        tx_free(t);
    }
}

/* The deadline is one of progress, not of completion: it begins anew for this transaction, and for
 * those of its mailbox that cannot be acknowledged before it. */
static void peer_is_working(struct replica *r, const struct tx *on) {
    for (const struct tx *t = on; t != NULL; t = t->next)
        if (t->req != 0)
            replica_request_progress(r, t->req);
}

int replica_txn_ack(struct replica *r, const struct replica_msg *m) {
    struct tx *t;
    HASH_FIND(hh, r->tx, &m->seq, sizeof m->seq, t);
    bool only_received = m->err == REPLICA_RECEIVED;
    if (t != NULL && !t->acked && m->err == REPLICA_WORKING) {
        peer_is_working(r, t);
        return 0;
    }
    if (MUTANT(MUTANT_BASE_ON_RECEIVED) && (t == NULL || t->acked))
        return 0;
    if (t == NULL || t->acked || (only_received && t->received))
        return -EPROTO;
    if (m->err != 0 && !only_received) {
        replica_lose(r, "the peer cannot store a transaction");
        return 0;
    }
    t->received = true;
    t->acked = !only_received || MUTANT(MUTANT_BASE_ON_RECEIVED);
    struct dir *d = t->dir;
    replica_txn_acknowledged(r, d);
    replica_settle(r, d);
    return 0;
}

void replica_txn_alone(struct replica *r, struct dir *d) {
    struct tx *t, *tmp;
    DL_FOREACH_SAFE(d->tx, t, tmp) {
        DL_DELETE(d->tx, t);
        tx_take(r, t);
        tx_free(t);
    }
    DL_FOREACH_SAFE(d->held, t, tmp) {
        DL_DELETE(d->held, t);
        tx_free(t);
    }
}

/* ---- receiving ---- */

static void rx_free(struct replica *r, struct rx *x) {
    DL_DELETE(x->dir->rx, x);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
    HASH_DEL(r->rx, x);
    r->rx_bytes -= x->payload->size;
    replica_payload_unref(x->payload);
    free(x->preps);
    free(x);
}

void replica_txn_free_all(struct replica *r, struct dir *d) {
    replica_txn_alone(r, d);
    struct rx *x, *tmp;
    DL_FOREACH_SAFE(d->rx, x, tmp) {
        rx_free(r, x);
    }
}

static void rx_ack(struct replica *r, struct rx *x, int err) {
    if (!r->connected || (x->epoch != r->epoch && !MUTANT(MUTANT_LATE_ACK)))
        return;
    struct replica_msg *m = replica_send(r, RMSG_TXN_ACK);
    m->seq = x->seq;
    m->err = err;
}

int replica_txn_receive(struct replica *r, const struct replica_msg *m) {
    if (m->payload == NULL || m->npreps > REPLICA_MAX_PREPS || !replica_dir_room(r, &m->dir) ||
        HASH_COUNT(r->rx) >= 2 * r->config.max_unacked ||
        r->rx_bytes + m->payload->size > REPLICA_MAX_BYTES)
        return -EPROTO;
    struct dir *d = replica_dir_get(r, &m->dir);
    if (d->rx != NULL && d->rx->prev->epoch == r->epoch && d->rx->prev->seq >= m->seq)
        return -EPROTO;
    struct rx *x = replica_alloc(sizeof *x);
    x->id = ++r->rx_id;
    x->seq = m->seq;
    x->epoch = r->epoch;
    x->dir = d;
    x->locked = m->locked;
    x->payload = replica_payload_ref(m->payload);
    x->preps = replica_preps_copy(m->preps, m->npreps);
    x->npreps = m->npreps;
    r->rx_bytes += x->payload->size;
    HASH_ADD(hh, r->rx, id, sizeof x->id, x);
    DL_APPEND(d->rx, x);
    replica_prep_claim(r, x);
    if (r->config.commit == REPLICA_COMMIT_MEMORY || MUTANT(MUTANT_ACK_EARLY))
        rx_ack(r, x, REPLICA_RECEIVED);
    struct replica_action *a = replica_emit_dir(r, RACT_JOURNAL, d);
    a->seq = x->id;
    a->payload = replica_payload_ref(x->payload);
    return 0;
}

static struct rx *rx_find(const struct replica *r, uint64_t id) {
    struct rx *x;
    HASH_FIND(hh, r->rx, &id, sizeof id, x);
    return x;
}

/*
 * No room for it: the origin will go alone and keep it; here the mailbox lacks something, which
 * L must not be granted on top of as if the token had come with it. The token may be on its way
 * behind it; so nothing more is taken of this connection.
 */
static void rx_refused(struct replica *r, struct rx *x, int err) {
    struct dir *d = x->dir;
    rx_ack(r, x, err);
    if (x->epoch == r->epoch)
        replica_lose(r, "a transaction of the peer's cannot be stored here");
    replica_prep_unclaim(r, x);
    if (x->locked && d->lock == LOCK_FREE)
        replica_token_set(r, d, false);
    rx_free(r, x);
    replica_suspect_dir(r, d);
}

void replica_working(struct replica *r, uint64_t now, uint64_t seq) {
    r->now = now;
    struct rx *x = rx_find(r, seq);
    if (x != NULL && !x->journaled)
        rx_ack(r, x, REPLICA_WORKING);
}

void replica_journaled(struct replica *r, uint64_t now, uint64_t seq, int err) {
    r->now = now;
    struct rx *x = rx_find(r, seq);
    if (x == NULL || x->journaled)
        return;
    struct dir *d = x->dir;
    if (err != 0) {
        rx_refused(r, x, err);
    } else {
        x->journaled = true;
        replica_prep_consume(r, x);
        rx_ack(r, x, 0);
    }
    replica_settle(r, d);
    replica_pump(r);
}

/* The tree of this epoch may have to be merged before there is a directory to apply to. */
static bool before_tree(const struct replica *r, const struct rx *x) {
    return r->connected && x->epoch == r->epoch && r->tree.stage != TREE_DONE;
}

bool replica_txn_blocks(const struct replica *r, const struct dir *d) {
    if (d->replaying > 0)
        return true;
    return d->rx != NULL && (d->rx->applying || !before_tree(r, d->rx));
}

bool replica_txn_step(struct replica *r, struct dir *d) {
    struct rx *x = d->rx;
    if (x == NULL || !x->journaled || x->applying || d->replaying > 0)
        return false;
    if (d->lock != LOCK_FREE && !MUTANT(MUTANT_APPLY_UNDER_LOCK))
        return false;
    if (before_tree(r, x) || d->job == JOB_SCAN_FROZEN || d->job == JOB_MERGE)
        return false;
    if (replica_round_frozen(d) && d->round.frozen_listed)
        return false;
    x->applying = true;
    struct replica_action *a = replica_emit_dir(r, RACT_APPLY, d);
    a->seq = x->id;
    a->late = r->connected && x->epoch != r->epoch;
    a->payload = replica_payload_ref(x->payload);
    return true;
}

void replica_applied(struct replica *r, uint64_t now, uint64_t seq) {
    r->now = now;
    struct rx *x = rx_find(r, seq);
    if (x == NULL || !x->applying)
        return;
    struct dir *d = x->dir;
    rx_free(r, x);
    replica_settle(r, d);
    replica_pump(r);
}

void replica_left(struct replica *r, uint64_t seq) {
    struct rx *x = rx_find(r, seq);
    if (x != NULL && x->applying)
        x->left = true;
}

void replica_replaying(struct replica *r, struct mailfs_id dir) {
    replica_dir_get(r, &dir)->replaying++;
}

void replica_replayed(struct replica *r, uint64_t now, struct mailfs_id dir) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    if (d == NULL || d->replaying == 0)
        return;
    d->replaying--;
    replica_settle(r, d);
    replica_pump(r);
}
