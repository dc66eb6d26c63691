/*
 * replica_dir - the record of one mailbox, and what goes on there next
 *
 * A record exists only while it says something that is not the default; settle() drops it
 * otherwise. settle() is the one place that looks at everything a mailbox waits for, so that no
 * event has to know which others it makes possible.
 */
#include "replica/replica_int.h"

#include <stdlib.h>

struct dir *replica_dir_find(const struct replica *r, const struct mailfs_id *id) {
    struct dir *d;
    HASH_FIND(hh, r->dirs, id, sizeof *id, d);
    return d;
}

struct dir *replica_dir_get(struct replica *r, const struct mailfs_id *id) {
    struct dir *d = replica_dir_find(r, id);
    if (d != NULL)
        return d;
    d = replica_alloc(sizeof *d);
    d->id = *id;
    d->mine = r->default_mine;
    HASH_ADD(hh, r->dirs, id, sizeof d->id, d);
    return d;
}

bool replica_dir_room(const struct replica *r, const struct mailfs_id *id) {
    return HASH_COUNT(r->dirs) < REPLICA_MAX_DIRS || replica_dir_find(r, id) != NULL;
}

void replica_dir_free(struct replica *r, struct dir *d) {
    struct waiter *w, *tmp;
    DL_FOREACH_SAFE(d->waiters, w, tmp) {
        free(w);
        r->waiters--;
    }
    replica_prep_drop_unsent(r, d, false);
    replica_txn_free_all(r, d);
    replica_round_unlist(r, d);
    replica_round_free(d);
    if (d->watched)
        DL_DELETE(r->watch, d);
    HASH_DEL(r->dirs, d);
    free(d);
}

/* True when forgetting the record changes nothing. */
static bool is_default(const struct replica *r, const struct dir *d) {
    if (d->lock != LOCK_FREE || d->waiters != NULL || d->busy || d->job != JOB_NONE)
        return false;
    if (d->raising > 0 || d->list_lost)
        return false;
    if (d->mine != r->default_mine || d->raised || d->req_sent || d->peer_wants)
        return false;
    if (d->tx != NULL || d->held != NULL || d->rx != NULL || d->replaying > 0 || d->unsent != NULL)
        return false;
    return d->stage == STAGE_SAME && !d->listed && !d->dirty;
}

static void watch(struct replica *r, struct dir *d) {
    bool timer = d->waiters != NULL || replica_round_frozen(d) || (d->peer_wants && d->mine);
    if (timer && !d->watched)
        DL_APPEND(r->watch, d);
    else if (!timer && d->watched)
        DL_DELETE(r->watch, d);
    d->watched = timer;
}

void replica_settle(struct replica *r, struct dir *d) {
    while (replica_txn_step(r, d) || replica_round_step(r, d))
        continue;
    replica_token_step(r, d);
    watch(r, d);
    if (is_default(r, d))
        replica_dir_free(r, d);
}

void replica_settle_all(struct replica *r) {
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        replica_settle(r, d);
    }
}

/* The end of every public function. */
void replica_pump(struct replica *r) {
    if (r->lost != NULL)
        replica_go_alone(r);
    replica_round_start_more(r);
    replica_contact_check(r);
    replica_update_state(r);
}
