/*
 * replica_contact - from contact to in-sync: the directory tree, the lists of marks, the end
 *
 * Both sides do the same, in step: scan the tree and send it; the same once more in full when the
 * bases differ; merge; compare the results. Then both send what they have marked. A mailbox that
 * nobody lists is the same on both, and the token of every such is at the lower-named node: the
 * other has given up its own before it sent its list.
 *
 * Diagnostics: reasons for RACT_DISCONNECT.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_zero(const uint8_t digest[REPLICA_DIGEST]) {
    static const uint8_t zero[REPLICA_DIGEST];
    return memcmp(digest, zero, sizeof zero) == 0;
}

/* ---- the tree ---- */

static void tree_scan(struct replica *r) {
    r->tree.stage = TREE_SCAN;
    if (r->tree_job)
        return; /* one of an earlier epoch is under way; its end comes back here */
    r->tree_job = true;
    r->tree_job_epoch = r->epoch;
    replica_emit(r, r->tree.full ? RACT_TREE_RESCAN : RACT_TREE_SCAN);
}

static void tree_forget_peer(struct replica *r) {
    replica_payload_unref(r->tree.peer);
    r->tree.peer = NULL;
    r->tree.peer_have = false;
}

/* Own tree sent and the peer's here: merge, or both once more in full. */
static void tree_compare(struct replica *r) {
    struct tree *t = &r->tree;
    if (t->stage != TREE_WAIT || !t->peer_have)
        return;
    bool equal = !is_zero(t->base) && memcmp(t->base, t->peer_base, sizeof t->base) == 0;
    if (!t->full && !equal) {
        tree_forget_peer(r);
        t->full = true;
        tree_scan(r);
        return;
    }
    t->stage = TREE_MERGING;
    r->tree_job = true;
    r->tree_job_epoch = r->epoch;
    replica_emit(r, RACT_TREE_MERGE)->payload = t->peer;
    t->peer = NULL;
    t->peer_have = false;
}

/* True: what was answered is of this epoch and wanted. */
static bool tree_answered(struct replica *r, enum tree_stage stage) {
    if (!r->tree_job)
        return false;
    r->tree_job = false;
    if (r->connected && r->tree_job_epoch == r->epoch && r->tree.stage == stage)
        return true;
    if (r->connected && r->tree.stage == TREE_SCAN)
        tree_scan(r);
    return false;
}

static void tree_send(struct replica *r, struct replica_payload *tree,
                      const uint8_t base_digest[REPLICA_DIGEST]) {
    r->tree.stage = TREE_WAIT;
    memcpy(r->tree.base, base_digest, REPLICA_DIGEST);
    struct replica_msg *m = replica_send(r, RMSG_TREE);
    m->payload = replica_payload_ref(tree);
    m->full = r->tree.full;
    m->round = r->tree.round;
    memcpy(m->digest, base_digest, REPLICA_DIGEST);
    tree_compare(r);
}

void replica_tree_scanned(struct replica *r, uint64_t now, struct replica_payload *tree,
                          const uint8_t base_digest[REPLICA_DIGEST]) {
    r->now = now;
    if (tree_answered(r, TREE_SCAN)) {
        if (tree == NULL)
            replica_lose(r, "the directory tree cannot be read here");
        else
            tree_send(r, tree, base_digest);
    }
    replica_pump(r);
}

/* Once more, without a new contact: marks and mailboxes are not touched by it. */
static void tree_anew(struct replica *r) {
    struct tree *t = &r->tree;
    t->round++;
    t->failures = 0;
    t->full = t->again = t->merged = t->peer_merged = false;
    tree_scan(r);
}

void replica_tree_changed(struct replica *r, uint64_t now) {
    r->now = now;
    if (r->connected) {
        r->tree.again = true;
        if (r->exchanged && r->tree.stage == TREE_DONE)
            tree_anew(r);
    }
    replica_pump(r);
}

bool replica_trees_compared(const struct replica *r) {
    return r->tree.stage == TREE_DONE && !r->tree.again;
}

int replica_contact_tree(struct replica *r, const struct replica_msg *m) {
    struct tree *t = &r->tree;
    if (t->stage == TREE_DONE && r->config.oneway && r->exchanged)
        tree_anew(r);
    bool expected = t->stage == TREE_SCAN || t->stage == TREE_WAIT || t->stage == TREE_BACKOFF;
    /* It sends a full one only when it has compared mine, and so have I, then. */
    if (!expected || t->peer_have || m->payload == NULL || t->full != m->full)
        return -EPROTO;
    t->peer = replica_payload_ref(m->payload);
    t->peer_have = true;
    memcpy(t->peer_base, m->digest, REPLICA_DIGEST);
    tree_compare(r);
    return 0;
}

static void marks_list(struct replica *r) {
    if (r->marks_job)
        return;
    r->marks_job = true;
    r->marks_job_epoch = r->epoch;
    replica_emit(r, RACT_LIST_MARKS);
}

/* The two results differ, or one could not be applied: once more, in full. */
static void tree_again(struct replica *r) {
    struct tree *t = &r->tree;
    uint64_t wait = t->failures > 0 ? REPLICA_BACKOFF_FIRST : 0;
    for (unsigned i = 1; i < t->failures && wait < REPLICA_BACKOFF_MOST; i++)
        wait *= 2;
    t->failures++;
    t->round++;
    t->full = true;
    t->merged = t->peer_merged = false;
    t->stage = TREE_BACKOFF;
    t->retry_at = r->now + (wait < REPLICA_BACKOFF_MOST ? wait : REPLICA_BACKOFF_MOST);
    if (wait == 0)
        tree_scan(r);
}

static void tree_finish(struct replica *r) {
    struct tree *t = &r->tree;
    if (!t->merged || !t->peer_merged)
        return;
    if (t->err != 0 || t->peer_err != 0 ||
        memcmp(t->digest, t->peer_digest, sizeof t->digest) != 0) {
        tree_again(r);
        return;
    }
    t->stage = TREE_DONE;
    if (r->exchanged)
        replica_emit(r, RACT_TREE_DONE);
    else
        marks_list(r);
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) { /* what was received waits for the tree, and what was sent */
        replica_txn_acknowledged(r, d);
        replica_settle(r, d);
    }
    if (r->exchanged && t->again)
        tree_anew(r);
}

void replica_tree_merged(struct replica *r, uint64_t now, const uint8_t digest[REPLICA_DIGEST],
                         int err) {
    r->now = now;
    if (tree_answered(r, TREE_MERGING)) {
        struct tree *t = &r->tree;
        t->stage = TREE_WAIT_MERGED;
        t->merged = true;
        t->err = err;
        struct replica_msg *m = replica_send(r, RMSG_TREE_MERGED);
        if (err == 0) {
            memcpy(t->digest, digest, REPLICA_DIGEST);
            memcpy(m->digest, digest, REPLICA_DIGEST);
        }
        m->round = t->round;
        m->err = err;
        tree_finish(r);
    }
    replica_pump(r);
}

int replica_contact_tree_merged(struct replica *r, const struct replica_msg *m) {
    struct tree *t = &r->tree;
    if ((t->stage != TREE_MERGING && t->stage != TREE_WAIT_MERGED) || t->peer_merged)
        return -EPROTO;
    t->peer_merged = true;
    t->peer_err = m->err;
    memcpy(t->peer_digest, m->digest, REPLICA_DIGEST);
    tree_finish(r);
    return 0;
}

/* ---- marks ---- */

/* One mailbox, after the list: changed since (base NULL: or found different), or somebody waits for
 * its L. */
static void announce(struct replica *r, const struct dir *d, bool urgent, const uint8_t *base) {
    struct replica_mark *mark = replica_alloc(sizeof *mark);
    mark->dir = d->id;
    mark->urgent = urgent;
    if (base != NULL)
        memcpy(mark->base_digest, base, sizeof mark->base_digest);
    struct replica_msg *m = replica_send(r, RMSG_MARKS);
    m->more = true;
    m->marks = mark;
    m->nmarks = 1;
}

void replica_announce(struct replica *r, const struct dir *d, bool urgent) {
    announce(r, d, urgent, NULL);
}

void replica_become_changed(struct replica *r, struct dir *d, bool full) {
    bool more = full && !d->need_full, listed = d->stage == STAGE_CHANGED && !d->backing_off;
    if (more && listed)
        replica_round_unlist(r, d);
    d->need_full = d->need_full || full;
    if (more && listed)
        replica_round_enlist(r, d);
    if (d->stage != STAGE_SAME)
        return;
    d->stage = STAGE_CHANGED;
    d->peer_wants = d->req_sent = d->fresh = false;
    d->again = d->again_full = d->urgent = d->urgent_told = d->waited = false;
    d->failures = 0;
    d->retry_at = 0;
    d->phase_at = r->now;
    r->to_merge++;
    r->in_sync_sent = r->peer_in_sync = false;
    replica_round_enlist(r, d);
    if (d->waiters != NULL)
        replica_round_hurry(r, d);
}

/* Found different. Alone: its mark on disk says so. */
void replica_suspect_dir(struct replica *r, struct dir *d) {
    if (!r->connected || MUTANT(MUTANT_NO_SUSPECT))
        return;
    if (!r->exchanged) {
        d->dirty = true;
        if (r->marks_sent)
            replica_announce(r, d, false);
        return;
    }
    if (replica_round_open(d))
        d->again = d->again_full = true;
    replica_become_changed(r, d, true);
    replica_announce(r, d, false);
}

void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir) {
    r->now = now;
    struct dir *d = replica_dir_get(r, &dir);
    replica_suspect_dir(r, d);
    replica_settle(r, d);
    replica_pump(r);
}

void replica_changed(struct replica *r, uint64_t now, struct mailfs_id dir,
                     const uint8_t base_digest[REPLICA_DIGEST]) {
    r->now = now;
    struct dir *d = replica_dir_get(r, &dir);
    if (!r->connected || !r->exchanged) {
        replica_suspect_dir(r, d);
    } else {
        if (replica_round_open(d))
            d->again = true;
        replica_become_changed(r, d, is_zero(base_digest));
        announce(r, d, false, base_digest);
    }
    replica_settle(r, d);
    replica_pump(r);
}

static bool bases_differ(const struct dir *d) {
    if (d->dirty || (d->own_listed && is_zero(d->own_base)) ||
        (d->peer_listed && is_zero(d->peer_base)))
        return true;
    return d->own_listed && d->peer_listed &&
           memcmp(d->own_base, d->peer_base, sizeof d->own_base) != 0;
}

static void exchange_one(struct replica *r, struct dir *d) {
    bool differs = d->dirty || d->own_listed || d->peer_listed, full = bases_differ(d);
    d->listed = d->dirty = d->own_listed = d->peer_listed = false;
    d->need_full = false;
    d->phase_at = r->now;
    if (differs) {
        replica_become_changed(r, d, full);
        return;
    }
    d->raised = false;
    if (r->lower)
        replica_token_set(r, d, true);
}

/* What somebody waits for, then what was used last: most likely it is what is asked for next. */
static int by_use(const struct dir *a, const struct dir *b) {
    if (a->urgent != b->urgent)
        return a->urgent ? -1 : 1;
    return (a->used < b->used) - (a->used > b->used);
}

/* Both lists are known here. */
static void exchange(struct replica *r) {
    if (!r->marks_sent || !r->marks_here || r->exchanged)
        return;
    r->exchanged = true;
    r->had_contact = true;
    r->default_mine = r->lower;
    if (MUTANT(MUTANT_CAUGHT_UP_EARLY))
        replica_emit(r, RACT_CAUGHT_UP);
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        exchange_one(r, d);
    }
    for (unsigned full = 0; full < 2; full++)
        DL_SORT2(r->changed[full], by_use, merge_prev, merge_next);
    replica_settle_all(r);
    if (r->tree.again)
        tree_anew(r);
}

static void send_marks(struct replica *r) {
    size_t n = 0, i = 0;
    struct dir *d, *tmp;
    HASH_ITER(hh, r->dirs, d, tmp) {
        if (d->lock != LOCK_FREE && !MUTANT(MUTANT_FORGET_DIRTY))
            d->dirty = true;
        if (!r->lower)
            replica_token_set(r, d, false);
        n += d->own_listed || d->dirty;
    }
    struct replica_mark *marks = replica_alloc((n + 1) * sizeof *marks);
    HASH_ITER(hh, r->dirs, d, tmp) {
        if (!d->own_listed && !d->dirty)
            continue;
        marks[i].dir = d->id;
        marks[i].urgent = d->waiters != NULL;
        marks[i].used = d->used;
        if (!d->dirty)
            memcpy(marks[i].base_digest, d->own_base, REPLICA_DIGEST);
        i++;
    }
    struct replica_msg *m = replica_send(r, RMSG_MARKS);
    m->marks = marks;
    m->nmarks = n;
    r->marks_sent = true;
}

void replica_marks(struct replica *r, uint64_t now, const struct replica_mark *marks, size_t n) {
    r->now = now;
    if (!r->marks_job)
        return;
    r->marks_job = false;
    bool current = r->marks_job_epoch == r->epoch;
    if (r->connected && r->tree.stage == TREE_DONE && !current) {
        marks_list(r);
    } else if (r->connected && current) {
        for (size_t i = 0; i < n; i++) {
            struct dir *d = replica_dir_get(r, &marks[i].dir);
            d->listed = d->own_listed = true;
            d->used = marks[i].used;
            d->unborn = d->used == 0 && is_zero(marks[i].base_digest);
            memcpy(d->own_base, marks[i].base_digest, REPLICA_DIGEST);
        }
        send_marks(r);
        exchange(r);
    }
    replica_pump(r);
}

static void more_marks(struct replica *r, struct dir *d, bool urgent, bool base_known) {
    if (replica_round_open(d)) {
        d->again = d->again || !urgent;
        d->again_full = d->again_full || (!urgent && !base_known);
    } else {
        /* An urgent one may cross with the end of a merge; then it is merged for nothing. */
        replica_become_changed(r, d, !base_known && (!urgent || d->stage == STAGE_SAME));
    }
    if (urgent)
        replica_round_hurry(r, d);
    replica_settle(r, d);
}

int replica_contact_marks(struct replica *r, const struct replica_msg *m) {
    /* It lists after both have merged, and its TREE_MERGED came before this. */
    if ((r->tree.stage != TREE_DONE && !r->exchanged) || m->more != r->marks_here)
        return -EPROTO;
    for (size_t i = 0; i < m->nmarks; i++) {
        if (!replica_dir_room(r, &m->marks[i].dir))
            return -EPROTO;
        struct dir *d = replica_dir_get(r, &m->marks[i].dir);
        if (r->exchanged) {
            more_marks(r, d, m->marks[i].urgent, !is_zero(m->marks[i].base_digest));
            continue;
        }
        d->listed = d->peer_listed = true;
        if (d->used < m->marks[i].used)
            d->used = m->marks[i].used;
        memcpy(d->peer_base, m->marks[i].base_digest, REPLICA_DIGEST);
    }
    r->marks_here = true;
    exchange(r);
    return 0;
}

/* ---- the end ---- */

int replica_contact_in_sync(struct replica *r, const struct replica_msg *m) {
    (void)m;
    if (!r->exchanged)
        return -EPROTO;
    /* With something to merge here the peer did not know of it yet, and will say it again. */
    if (r->to_merge == 0)
        r->peer_in_sync = true;
    return 0;
}

void replica_contact_check(struct replica *r) {
    if (!r->connected || !r->exchanged || r->to_merge > 0)
        return;
    replica_prep_merged(r);
    if (r->in_sync_sent)
        return;
    r->in_sync_sent = true;
    replica_send(r, RMSG_IN_SYNC);
}

void replica_contact_begin(struct replica *r) {
    memset(&r->tree, 0, sizeof r->tree);
    r->marks_sent = r->marks_here = r->exchanged = false;
    r->in_sync_sent = r->peer_in_sync = false;
    replica_room_contact(r);
    tree_scan(r);
}

void replica_contact_end(struct replica *r) {
    tree_forget_peer(r);
    r->tree.stage = TREE_NONE;
    r->exchanged = false;
    r->marks_sent = r->marks_here = false;
    r->in_sync_sent = r->peer_in_sync = false;
}

void replica_contact_tick(struct replica *r) {
    if (r->tree.stage == TREE_BACKOFF && r->now >= r->tree.retry_at)
        tree_scan(r);
}
