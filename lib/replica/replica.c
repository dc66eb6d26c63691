/*
 * replica - the machine of one link: life, looking in, and the check of its invariants
 *
 * See replica.h for what it is, replica_int.h for how it is divided and what always holds.
 */
#include "replica/replica_int.h"

#include <stdlib.h>
#include <string.h>

#ifdef REPLICA_MUTANTS
enum replica_mutant replica_mutant;
#endif

struct replica *replica_new(const struct replica_config *config, uint64_t now) {
    struct replica *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->config = *config;
    r->config.node = strdup(config->node);
    r->config.peer = config->peer != NULL ? strdup(config->peer) : NULL;
    if (r->config.node == NULL || (config->peer != NULL && r->config.peer == NULL)) {
        replica_free(r);
        return NULL;
    }
    if (r->config.merge_parallel == 0)
        r->config.merge_parallel = 1;
    r->now = now;
    r->lower = config->peer != NULL && strcmp(config->node, config->peer) < 0;
    r->had_contact = config->had_contact;
    r->caught_up = config->caught_up;
    r->contact_waited = config->peer == NULL || !config->had_contact;
    r->contact_until = now + config->timeout_ms;
    r->orphans_at = UINT64_MAX;
    r->state = config->peer == NULL ? REPLICA_NO_PEER : REPLICA_ALONE;
    return r;
}

static void free_tables(struct replica *r) {
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        replica_dir_free(r, d);
    }
    struct request *q, *qtmp;
    HASH_ITER(hh, r->requests, q, qtmp) {
        HASH_DEL(r->requests, q);
        free(q);
    }
    struct prep_in *in, *itmp;
    HASH_ITER(hh, r->preps_in, in, itmp) {
        HASH_DEL(r->preps_in, in);
        free(in);
    }
    struct prep_out *out, *otmp;
    HASH_ITER(hh, r->preps_out, out, otmp) {
        HASH_DEL(r->preps_out, out);
        free(out);
    }
}

void replica_free(struct replica *r) {
    if (r == NULL)
        return;
    replica_queue_clear(r);
    free_tables(r);
    replica_payload_unref(r->tree.peer);
    free((void *)(uintptr_t)r->config.node);
    free((void *)(uintptr_t)r->config.peer);
    free(r);
}

enum replica_state replica_state(const struct replica *r) {
    return r->state;
}

void replica_count(const struct replica *r, struct replica_counts *out) {
    memset(out, 0, sizeof *out);
    out->unacked = HASH_COUNT(r->tx);
    const struct rx *x, *xtmp;
    HASH_ITER(hh, r->rx, x, xtmp) {
        out->unapplied += !x->dir->rx->left || !x->journaled;
    }
    out->waiting = HASH_COUNT(r->requests) + r->waiters;
    out->to_merge = r->to_merge;
    const struct prep_out *p, *ptmp;
    HASH_ITER(hh, r->preps_out, p, ptmp) {
        out->prepared_there += !p->past && !p->told;
    }
    const struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        if (d->mine)
            out->tokens_here++;
        else
            out->tokens_there++;
    }
    const struct tx *t, *ttmp;
    HASH_ITER(hh, r->tx, t, ttmp) {
        if (!t->acked) { /* the hash keeps the order of sending */
            out->oldest_unacked_at = t->at;
            break;
        }
    }
}

bool replica_has_received(const struct replica *r, struct mailfs_id dir) {
    const struct dir *d = replica_dir_find(r, &dir);
    return d != NULL && (d->rx != NULL || d->replaying > 0);
}

void replica_each_unapplied(const struct replica *r, replica_unapplied_fn *fn, void *arg) {
    const struct rx *x, *tmp;
    HASH_ITER(hh, r->rx, x, tmp) { /* it keeps the order */
        if (x->journaled && !x->applying)
            fn(arg, &x->dir->id, x->payload);
    }
}

bool replica_is_merged(const struct replica *r, struct mailfs_id dir) {
    const struct dir *d = replica_dir_find(r, &dir);
    return r->connected && r->exchanged && (d == NULL || d->stage == STAGE_SAME);
}

bool replica_is_settled(const struct replica *r, struct mailfs_id dir) {
    if (!r->connected || !r->exchanged)
        return false;
    const struct dir *d = replica_dir_find(r, &dir);
    if (d == NULL)
        return true;
    return d->stage == STAGE_SAME && d->lock == LOCK_FREE && d->tx == NULL && d->held == NULL &&
           d->rx == NULL && d->replaying == 0 && d->unsent == NULL && d->job == JOB_NONE;
}

/* ---- the check ---- */

#define HOLDS(condition, text)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return text;                                                                           \
    } while (0)

static const char *check_order(const struct dir *d) {
    const struct tx *t;
    DL_FOREACH(d->tx, t) {
        HOLDS(t->next == NULL || t->seq < t->next->seq, "I6: sent, ascending");
    }
    const struct rx *x;
    DL_FOREACH(d->rx, x) {
        HOLDS(x->next == NULL || x->id < x->next->id, "I6: received, in order");
        HOLDS(!x->applying || (x == d->rx && x->journaled), "I10: one application, of the oldest");
    }
    return NULL;
}

/* Has come since the last tick: the next one sees to what it makes possible. */
static bool just_come(const struct replica *r, uint64_t at) {
    return r->now >= at && r->ticked_at < at;
}

static bool could_lock(const struct replica *r, const struct dir *d, const struct waiter *w) {
    uint64_t wait = replica_token_merge_wait(r, d);
    return replica_token_grantable(r, d, w) && !just_come(r, w->since + wait) &&
           !just_come(r, r->connected_at + wait);
}

static const char *check_lock(const struct replica *r, const struct dir *d) {
    bool common = r->connected && r->exchanged && d->stage == STAGE_SAME;
    HOLDS(d->lock == LOCK_FREE || !d->lock_shared || !common || d->mine, "I1: L needs the token");
    HOLDS(d->lock == LOCK_FREE || d->lock_shared || !common, "I13: L as if alone, and no merge");
    HOLDS(!d->mine || !d->req_sent, "I2: here and asked for");
    bool granted = d->lock != LOCK_FREE && !d->lock_found;
    HOLDS(!granted || d->rx == NULL || !d->rx->applying, "I3: applied under L");
    HOLDS(!granted || d->job == JOB_NONE || d->job == JOB_SCAN || d->job == JOB_STAGE ||
              (d->job == JOB_SCAN_FROZEN && d->job_dead),
          "I4: merged under L");
    const struct waiter *w;
    DL_FOREACH(d->waiters, w) {
        HOLDS(!could_lock(r, d, w), "I8: waits for an L that is free");
    }
    return NULL;
}

static const char *check_alone(const struct replica *r) {
    if (r->connected)
        return NULL;
    HOLDS(r->waiting == NULL && HASH_COUNT(r->requests) == 0, "I5: alone, and somebody waits");
    HOLDS(HASH_COUNT(r->tx) == 0 && r->to_merge == 0 && r->open == NULL,
          "I5: alone, and in flight");
    const struct prep_in *p, *tmp;
    HASH_ITER(hh, r->preps_in, p, tmp) {
        HOLDS(p->claim != NULL || (p->orphan && r->orphans_at <= p->publish_at),
              "I11: alone, and a content of the peer's waits for nothing");
    }
    return NULL;
}

static const char *check_rooms(const struct replica *r) {
    struct room found[2] = {{0}};
    const struct dir *d;
    DL_FOREACH2(r->open, d, merge_next) {
        struct room *m = &found[d->round.full];
        m->rounds++;
        m->holding += d->round.holds;
        m->bytes += d->round.holds ? d->round.bytes : 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct room *is = &r->room[i], *m = &found[i];
        HOLDS(m->rounds == is->rounds && m->holding == is->holding && m->bytes == is->bytes,
              "I7: what is held");
    }
    HOLDS(!r->lower || found[0].rounds + found[1].rounds <= 2 * r->config.merge_parallel,
          "I7: too many rounds");
    return NULL;
}

static const char *check_dirs(const struct replica *r) {
    size_t to_merge = 0, rounds = 0;
    const struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        const char *wrong = check_order(d);
        if (wrong == NULL)
            wrong = check_lock(r, d);
        if (wrong != NULL)
            return wrong;
        to_merge += d->stage != STAGE_SAME;
        rounds += replica_round_open(d);
    }
    HOLDS(to_merge == r->to_merge && rounds == r->room[0].rounds + r->room[1].rounds, "I7: counts");
    return check_rooms(r);
}

const char *replica_check(const struct replica *r) {
    const char *wrong = check_dirs(r);
    if (wrong != NULL)
        return wrong;
    HOLDS(r->state != REPLICA_IN_SYNC || (r->connected && r->exchanged && r->to_merge == 0 &&
                                          r->tree.stage == TREE_DONE && r->peer_in_sync),
          "I9: in-sync");
    const struct request *q;
    DL_FOREACH(r->waiting, q) {
        HOLDS(q->next == NULL || q->at <= q->next->at, "I12: order of waiting");
    }
    const struct prep_in *p, *tmp;
    HASH_ITER(hh, r->preps_in, p, tmp) {
        HOLDS(p->claim == NULL || !p->claim->journaled, "I11: claimed by what is durable");
    }
    return check_alone(r);
}
