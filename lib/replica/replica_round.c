/*
 * replica_round - the merge of one mailbox
 *
 * The lower-named node coordinates. A round:
 *   START ->; both list (SCAN) and send it; both fetch what they lack (STAGE), still serving;
 *   <- STAGED; FREEZE ->, from which on the coordinator grants no L and holds its acts back;
 *   the other likewise; when L is free, all received is applied and all sent acknowledged, it
 *   lists again and sends that: after it nothing more of this mailbox comes from there. Then the
 *   coordinator does so too, with all applied that came. Both MERGE, and compare the digests.
 * So at their frozen listings both have seen everything of each other's, and bases that were
 * equal still are.
 *
 * Whoever cannot go on sends CANCEL; both serve again, and the coordinator tries later, in full.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool replica_round_open(const struct dir *d) {
    return d->stage >= STAGE_STAGING;
}

bool replica_round_frozen(const struct dir *d) {
    return d->stage >= STAGE_FROZEN;
}

void replica_round_free(struct dir *d) {
    replica_payload_unref(d->round.listing);
    replica_payload_unref(d->round.frozen);
    d->round.listing = d->round.frozen = NULL;
}

static void unlist(struct replica *r, struct dir *d) {
    if (d->backing_off)
        DL_DELETE2(r->backing_off, d, merge_prev, merge_next);
    else
        DL_DELETE2(r->changed[d->need_full], d, merge_prev, merge_next);
    d->backing_off = false;
}

void replica_round_enlist(struct replica *r, struct dir *d) {
    struct dir **list = &r->changed[d->need_full];
    d->backing_off = false;
    if (d->urgent)
        DL_PREPEND2(*list, d, merge_prev, merge_next);
    else
        DL_APPEND2(*list, d, merge_prev, merge_next);
}

void replica_round_unlist(struct replica *r, struct dir *d) {
    if (d->stage == STAGE_CHANGED)
        unlist(r, d);
}

/* Somebody waits for L of a mailbox that is to be merged: it comes next. */
void replica_round_hurry(struct replica *r, struct dir *d) {
    d->urgent = true;
    if (!r->lower && !d->urgent_told && d->waiters != NULL) {
        d->urgent_told = true;
        replica_announce(r, d, true);
    }
    if (d->stage == STAGE_CHANGED && !d->backing_off) {
        unlist(r, d);
        replica_round_enlist(r, d);
    }
}

static void begin(struct replica *r, struct dir *d, uint32_t no, bool full) {
    unlist(r, d);
    replica_round_free(d);
    memset(&d->round, 0, sizeof d->round);
    d->round.no = no;
    d->round.full = full;
    d->stage = STAGE_STAGING;
    d->again = d->again_full = false;
    DL_APPEND2(r->open, d, merge_prev, merge_next);
    replica_room_begin(r, d);
}

/* What is ready goes first: what comes after it is not frozen before it. */
static void freeze_more(struct replica *r) {
    struct dir *d, *tmp;
    DL_FOREACH_SAFE2(r->open, d, tmp, merge_next) {
        if (d->stage == STAGE_STAGING && d->round.staged && d->round.peer_staged)
            replica_settle(r, d);
    }
}

/* Of two the one that has to be listed whole: these never have all rounds. */
static struct dir *next_to_begin(const struct replica *r) {
    for (unsigned full = 2; full-- > 0;) {
        if (r->changed[full] != NULL && replica_room_begins(r, r->changed[full]))
            return r->changed[full];
    }
    return NULL;
}

void replica_round_start_more(struct replica *r) {
    struct dir *d;
    if (!r->connected || !r->exchanged || !r->lower)
        return;
    freeze_more(r);
    while ((d = next_to_begin(r)) != NULL) {
        bool full = d->need_full;
        begin(r, d, ++r->round_no, full);
        struct replica_msg *m = replica_send_dir(r, RMSG_MERGE_START, d);
        m->round = d->round.no;
        m->full = full;
        replica_settle(r, d);
    }
}

static uint64_t backoff(struct dir *d, bool at_once) {
    uint64_t wait = REPLICA_BACKOFF_FIRST;
    if (at_once)
        return 0;
    for (unsigned i = 0; i < d->failures && wait < REPLICA_BACKOFF_MOST; i++)
        wait *= 2;
    d->failures++;
    return wait < REPLICA_BACKOFF_MOST ? wait : REPLICA_BACKOFF_MOST;
}

static void close_round(struct replica *r, struct dir *d) {
    replica_round_free(d);
    replica_room_end(r, d);
    DL_DELETE2(r->open, d, merge_prev, merge_next);
}

/* Ends the round, with the mailbox still to be merged. */
static void end_unmerged(struct replica *r, struct dir *d, bool at_once) {
    replica_emit_dir(r, RACT_MERGE_PUT_OFF, d)->round = d->round.no;
    close_round(r, d);
    d->stage = STAGE_CHANGED;
    d->job_dead = true;
    d->need_full = true;
    d->urgent_told = false;
    d->phase_at = r->now;
    uint64_t wait = backoff(d, at_once);
    d->retry_at = r->now + wait;
    d->backing_off = wait > 0;
    if (d->backing_off) {
        if (r->backing_off == NULL || d->retry_at < r->next_retry)
            r->next_retry = d->retry_at;
        DL_APPEND2(r->backing_off, d, merge_prev, merge_next);
    } else {
        replica_round_enlist(r, d);
    }
    replica_txn_acknowledged(r, d);
    replica_txn_flush_held(r, d);
}

static void cancel(struct replica *r, struct dir *d, bool at_once) {
    replica_send_dir(r, RMSG_CANCEL, d)->round = d->round.no;
    end_unmerged(r, d, at_once);
}

/* Both have merged. */
static void finish(struct replica *r, struct dir *d) {
    struct round *n = &d->round;
    if (n->err != 0 || n->peer_err != 0 ||
        memcmp(n->digest, n->peer_digest, sizeof n->digest) != 0) {
        end_unmerged(r, d, !n->full);
        return;
    }
    bool again = d->again, again_full = d->again_full;
    replica_emit_dir(r, RACT_MERGE_DONE, d)->round = n->no;
    close_round(r, d);
    r->to_merge--;
    d->stage = STAGE_SAME;
    d->need_full = d->again = d->again_full = d->urgent = d->unborn = false;
    d->phase_at = r->now;
    d->raised = false;
    replica_token_set(r, d, r->lower);
    replica_txn_acknowledged(r, d);
    if (again)
        replica_become_changed(r, d, again_full);
}

/* ---- steps ---- */

static void job(struct replica *r, struct dir *d, enum job what, enum replica_action_kind kind,
                struct replica_payload *payload) {
    d->job = what;
    d->job_round = d->round.no;
    d->job_dead = false;
    struct replica_action *a = replica_emit_dir(r, kind, d);
    a->round = d->round.no;
    a->full = d->round.full;
    a->frozen = what == JOB_SCAN_FROZEN;
    a->payload = payload;
}

/* Who raises the list writes it, as L's owner does. */
static bool drained(const struct dir *d) {
    if ((d->lock != LOCK_FREE || d->raising) && !MUTANT(MUTANT_NO_FREEZE))
        return false;
    return d->rx == NULL && d->tx == NULL && d->replaying == 0;
}

static void freeze(struct replica *r, struct dir *d) {
    d->stage = STAGE_FROZEN;
    d->round.frozen_at = r->now;
    d->phase_at = r->now;
    replica_room_hold(r, d, true);
}

static bool step_staging(struct replica *r, struct dir *d) {
    struct round *n = &d->round;
    if (!n->listed) {
        job(r, d, JOB_SCAN, RACT_SCAN, NULL);
    } else if (!n->staged && n->listing != NULL) {
        job(r, d, JOB_STAGE, RACT_STAGE, n->listing);
        n->listing = NULL;
    } else if (n->staged && n->peer_staged && r->lower && replica_room_freezes(r, d)) {
        replica_send_dir(r, RMSG_FREEZE, d)->round = n->no;
        freeze(r, d);
    } else {
        return false;
    }
    return true;
}

static bool step_frozen(struct replica *r, struct dir *d) {
    struct round *n = &d->round;
    if (!n->frozen_listed) {
        if (!drained(d) || (r->lower && n->frozen == NULL))
            return false;
        replica_txn_listed(r, d);
        job(r, d, JOB_SCAN_FROZEN, RACT_SCAN, NULL);
        return true;
    }
    if (n->frozen == NULL)
        return false;
    d->stage = STAGE_MERGING;
    job(r, d, JOB_MERGE, RACT_MERGE, n->frozen);
    n->frozen = NULL;
    return true;
}

static bool overdue(const struct replica *r, const struct dir *d) {
    return replica_round_frozen(d) && d->job != JOB_MERGE &&
           r->now >= d->round.frozen_at + r->config.freeze_ms;
}

bool replica_round_step(struct replica *r, struct dir *d) {
    if (!replica_round_open(d))
        return false;
    if (overdue(r, d)) {
        cancel(r, d, false);
        return true;
    }
    if (d->job != JOB_NONE)
        return false;
    if (d->stage == STAGE_STAGING)
        return step_staging(r, d);
    if (d->stage == STAGE_FROZEN)
        return step_frozen(r, d);
    if (!d->round.merged || !d->round.peer_merged)
        return false;
    finish(r, d);
    return true;
}

/* ---- completions ---- */

/* True: the answer is wanted. *out is the mailbox whose job has ended, wanted or not. */
static bool answered(struct replica *r, const struct mailfs_id *id, uint32_t round, enum job a,
                     enum job b, struct dir **out) {
    struct dir *d = replica_dir_find(r, id);
    *out = NULL;
    if (d == NULL || (d->job != a && d->job != b) || d->job_round != round)
        return false;
    *out = d;
    d->job = JOB_NONE;
    return !d->job_dead;
}

static void answered_end(struct replica *r, struct dir *d) {
    if (d != NULL)
        replica_settle(r, d);
    replica_pump(r);
}

/* From here on the other may have merged, and numbered above what was the next UID here; whatever
 * this side knew of the token and of gaps is about the state before. */
static void forget_token(struct replica *r, struct dir *d) {
    if (MUTANT(MUTANT_TOKEN_OVER_MERGE))
        return;
    replica_token_set(r, d, false);
    d->raised = false;
}

bool replica_scanned(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                     struct replica_payload *listing) {
    r->now = now;
    struct dir *d;
    bool wanted = answered(r, &dir, round, JOB_SCAN, JOB_SCAN_FROZEN, &d);
    if (wanted && listing == NULL) {
        cancel(r, d, false);
    } else if (wanted) {
        bool frozen = d->stage == STAGE_FROZEN;
        struct replica_msg *m = replica_send_dir(r, RMSG_LISTING, d);
        m->round = round;
        m->frozen = frozen;
        m->full = d->round.full;
        m->payload = replica_payload_ref(listing);
        *(frozen ? &d->round.frozen_listed : &d->round.listed) = true;
        if (frozen) {
            forget_token(r, d);
        } else {
            d->round.own_bytes = listing->size;
            replica_room_listed(r, d);
        }
    }
    answered_end(r, d);
    return wanted;
}

void replica_fetching(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round) {
    r->now = now;
    struct dir *d = replica_dir_find(r, &dir);
    if (d != NULL && d->job == JOB_STAGE && d->job_round == round && !d->job_dead)
        replica_room_hold(r, d, false);
    replica_pump(r);
}

void replica_staged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                    int err) {
    r->now = now;
    struct dir *d;
    bool wanted = answered(r, &dir, round, JOB_STAGE, JOB_STAGE, &d);
    if (wanted && err != 0) {
        cancel(r, d, err == -ESTALE && !d->round.full);
    } else if (wanted) {
        d->round.staged = true;
        replica_room_hold(r, d, false);
        if (!r->lower)
            replica_send_dir(r, RMSG_STAGED, d)->round = round;
    }
    answered_end(r, d);
}

void replica_merged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                    const uint8_t digest[REPLICA_DIGEST], int err) {
    r->now = now;
    struct dir *d;
    if (answered(r, &dir, round, JOB_MERGE, JOB_MERGE, &d)) {
        /* What was made while the listing was read may be in it. So it has to be there before
         * the other grants L again, and changes what was listed. */
        replica_txn_flush_held(r, d);
        struct replica_msg *m = replica_send_dir(r, RMSG_MERGED, d);
        m->round = round;
        m->err = d->round.err = err;
        if (err == 0) {
            memcpy(d->round.digest, digest, REPLICA_DIGEST);
            memcpy(m->digest, digest, REPLICA_DIGEST);
        }
        d->round.merged = true;
    }
    answered_end(r, d);
}

/* ---- the peer ---- */

static int start(struct replica *r, struct dir *d, const struct replica_msg *m) {
    if (r->lower || replica_round_open(d))
        return -EPROTO;
    replica_become_changed(r, d, false);
    begin(r, d, m->round, m->full);
    return 0;
}

static int listing(struct replica *r, struct dir *d, const struct replica_msg *m) {
    struct replica_payload **slot = m->frozen ? &d->round.frozen : &d->round.listing;
    bool expected = m->frozen ? d->stage == STAGE_FROZEN : d->stage == STAGE_STAGING;
    if (!expected || *slot != NULL || m->payload == NULL || (!m->frozen && d->round.staged))
        return -EPROTO;
    *slot = replica_payload_ref(m->payload);
    if (!m->frozen) {
        d->round.peer_bytes = m->payload->size;
        replica_room_listed(r, d);
    }
    return 0;
}

static int peer_merged(struct dir *d, const struct replica_msg *m) {
    if (d->stage != STAGE_MERGING || d->round.peer_merged)
        return -EPROTO;
    d->round.peer_merged = true;
    d->round.peer_err = m->err;
    memcpy(d->round.peer_digest, m->digest, REPLICA_DIGEST);
    return 0;
}

static int of_round(struct replica *r, struct dir *d, const struct replica_msg *m) {
    switch (m->kind) {
    case RMSG_LISTING:
        return listing(r, d, m);
    case RMSG_STAGED:
        d->round.peer_staged = true;
        return r->lower && d->stage == STAGE_STAGING ? 0 : -EPROTO;
    case RMSG_FREEZE:
        if (r->lower || d->stage != STAGE_STAGING || !d->round.staged)
            return -EPROTO;
        freeze(r, d);
        return 0;
    case RMSG_MERGED:
        return peer_merged(d, m);
    default: /* CANCEL */
        end_unmerged(r, d, !d->round.full);
        return 0;
    }
}

/* What belongs to a round that has ended here meanwhile is late, and dropped. */
int replica_round_receive(struct replica *r, const struct replica_msg *m) {
    if (!r->exchanged || !replica_dir_room(r, &m->dir))
        return -EPROTO;
    struct dir *d = replica_dir_get(r, &m->dir);
    int err = 0;
    if (m->kind == RMSG_MERGE_START)
        err = start(r, d, m);
    else if (replica_round_open(d) && d->round.no == m->round)
        err = of_round(r, d, m);
    else if (m->kind == RMSG_CANCEL && !replica_round_open(d))
        replica_become_changed(r, d, true); /* it gave up where this side had just finished */
    replica_settle(r, d);
    return err;
}

/* ---- time, and the end of the epoch ---- */

void replica_round_tick(struct replica *r) {
    if (!r->lower || r->backing_off == NULL || r->now < r->next_retry)
        return;
    r->next_retry = UINT64_MAX;
    struct dir *d, *tmp;
    DL_FOREACH_SAFE2(r->backing_off, d, tmp, merge_next) {
        if (d->retry_at <= r->now) {
            unlist(r, d);
            replica_round_enlist(r, d);
        } else if (d->retry_at < r->next_retry) {
            r->next_retry = d->retry_at;
        }
    }
}

void replica_round_alone(struct replica *r, struct dir *d) {
    if (replica_round_open(d)) {
        replica_emit_dir(r, RACT_MERGE_PUT_OFF, d)->round = d->round.no;
        close_round(r, d);
        d->job_dead = true;
    } else if (d->stage == STAGE_CHANGED) {
        unlist(r, d);
    }
    if (d->stage != STAGE_SAME)
        r->to_merge--;
    replica_round_free(d);
    d->stage = STAGE_SAME;
    d->listed = d->dirty = d->own_listed = d->peer_listed = false;
    d->need_full = d->again = d->again_full = false;
    d->urgent = d->urgent_told = d->waited = false;
}
