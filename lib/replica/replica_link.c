/*
 * replica_link - the epoch: contact, its end, silence, and the dispatch of messages
 *
 * The end of a connection, for whatever reason, is replica_go_alone(): in one call everything
 * that waited for the peer is released. A reason found here (silence, an overdue or refused
 * acknowledgement) does that first and tells the driver with RACT_DISCONNECT.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>

void replica_lose(struct replica *r, const char *why) {
    if (r->connected && r->lost == NULL)
        r->lost = why;
}

void replica_update_state(struct replica *r) {
    enum replica_state s = REPLICA_CATCHING_UP;
    if (r->config.peer == NULL)
        s = REPLICA_NO_PEER;
    else if (!r->connected)
        s = REPLICA_ALONE;
    else if (r->exchanged && r->tree.stage == TREE_DONE && r->to_merge == 0 && r->in_sync_sent &&
             r->peer_in_sync)
        s = REPLICA_IN_SYNC;
    if (s == r->state)
        return;
    r->state = s;
    if (s == REPLICA_IN_SYNC) {
        bool first = r->in_sync_epoch != r->epoch;
        if (first)
            r->in_sync_at = r->now;
        r->in_sync_epoch = r->epoch;
        r->caught_up = true;
        replica_emit(r, RACT_CAUGHT_UP)->first = first;
    }
    replica_emit(r, RACT_STATE)->state = s;
}

void replica_connected(struct replica *r, uint64_t now) {
    r->now = now;
    if (r->config.peer == NULL)
        return;
    if (r->connected)
        replica_go_alone(r);
    r->connected = true;
    r->epoch++;
    r->connected_at = r->heard_at = r->sent_at = now;
    r->contact_waited = true;
    r->tx_seq = 0;
    replica_contact_begin(r);
    replica_prep_connected(r);
    replica_settle_all(r);
    replica_pump(r);
}

/* What was received stays and is applied; all else of the epoch ends. */
void replica_go_alone(struct replica *r) {
    if (r->lost != NULL)
        replica_emit(r, RACT_DISCONNECT)->reason = r->lost;
    r->lost = NULL;
    r->connected = false;
    replica_contact_end(r);
    if (!MUTANT(MUTANT_LOST_WAITER))
        replica_requests_end(r);
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        replica_round_alone(r, d);
        replica_txn_alone(r, d);
        replica_token_alone(r, d);
        replica_prep_drop_unsent(r, d, false);
    }
    replica_prep_alone(r);
    replica_update_state(r);
    replica_settle_all(r);
}

void replica_disconnected(struct replica *r, uint64_t now) {
    r->now = now;
    if (!r->connected)
        return;
    replica_go_alone(r);
    replica_pump(r);
}

void replica_heard(struct replica *r, uint64_t now) {
    r->now = now;
    r->heard_at = now;
}

static int ping(struct replica *r, const struct replica_msg *m) {
    replica_send(r, RMSG_PONG)->seq = m->seq;
    return 0;
}

static int pong(struct replica *r, const struct replica_msg *m) {
    (void)r;
    (void)m;
    return 0;
}

typedef int handler(struct replica *r, const struct replica_msg *m);
static handler *const handlers[RMSG_KINDS] = {
    [RMSG_PING] = ping,
    [RMSG_PONG] = pong,
    [RMSG_PREPARE] = replica_prep_receive,
    [RMSG_PREPARED_OK] = replica_prep_ok,
    [RMSG_ABORT] = replica_prep_abort,
    [RMSG_ABORTED] = replica_prep_aborted,
    [RMSG_TXN] = replica_txn_receive,
    [RMSG_TXN_ACK] = replica_txn_ack,
    [RMSG_TOKEN_REQ] = replica_token_req,
    [RMSG_TOKEN_GIVE] = replica_token_give,
    [RMSG_TREE] = replica_contact_tree,
    [RMSG_TREE_MERGED] = replica_contact_tree_merged,
    [RMSG_MARKS] = replica_contact_marks,
    [RMSG_MERGE_START] = replica_round_receive,
    [RMSG_LISTING] = replica_round_receive,
    [RMSG_STAGED] = replica_round_receive,
    [RMSG_FREEZE] = replica_round_receive,
    [RMSG_MERGED] = replica_round_receive,
    [RMSG_CANCEL] = replica_round_receive,
    [RMSG_IN_SYNC] = replica_contact_in_sync,
};

int replica_receive(struct replica *r, uint64_t now, const struct replica_msg *m) {
    r->now = now;
    if (!r->connected)
        return -ENOTCONN;
    if ((unsigned)m->kind >= RMSG_KINDS || m->err > 0)
        return -EPROTO;
    r->heard_at = now;
    int err = handlers[m->kind](r, m);
    replica_pump(r);
    return err;
}

static void tick_link(struct replica *r) {
    uint64_t limit = r->config.timeout_ms;
    if (!MUTANT(MUTANT_NO_SILENCE) && r->now >= r->heard_at + limit)
        replica_lose(r, "the peer is silent");
    else if (!MUTANT(MUTANT_NO_DEADLINE) && r->waiting != NULL && r->now >= r->waiting->at + limit)
        replica_lose(r, r->waiting->body ? "the peer has not made a message durable in time"
                                         : "the peer has not acknowledged a transaction in time");
    else if (r->now >= r->sent_at + limit / 3)
        replica_send(r, RMSG_PING);
}

void replica_tick(struct replica *r, uint64_t now) {
    r->now = r->ticked_at = now;
    if (r->connected)
        tick_link(r);
    if (r->lost != NULL)
        replica_go_alone(r);
    if (!r->contact_waited && now >= r->contact_until)
        r->contact_waited = true;
    if (r->connected)
        replica_contact_tick(r);
    struct dir *d, *tmp;
    DL_FOREACH_SAFE(r->watch, d, tmp) {
        replica_settle(r, d);
    }
    replica_round_tick(r);
    replica_prep_tick(r);
    replica_pump(r);
}

static void sooner(uint64_t *t, uint64_t other) {
    if (other < *t)
        *t = other;
}

uint64_t replica_deadline(const struct replica *r) {
    uint64_t t = UINT64_MAX, limit = r->config.timeout_ms;
    if (r->connected) {
        if (!MUTANT(MUTANT_NO_SILENCE))
            sooner(&t, r->heard_at + limit);
        sooner(&t, r->sent_at + limit / 3);
        if (r->waiting != NULL && !MUTANT(MUTANT_NO_DEADLINE))
            sooner(&t, r->waiting->at + limit);
        if (r->tree.stage == TREE_BACKOFF)
            sooner(&t, r->tree.retry_at);
        if (r->lower && r->backing_off != NULL)
            sooner(&t, r->next_retry);
    }
    if (!r->contact_waited)
        sooner(&t, r->contact_until);
    sooner(&t, replica_prep_deadline(r));
    const struct dir *d;
    DL_FOREACH(r->watch, d) {
        sooner(&t, replica_token_deadline(r, d));
        if (replica_round_frozen(d) && d->job != JOB_MERGE)
            sooner(&t, d->round.frozen_at + r->config.freeze_ms);
    }
    return t;
}
