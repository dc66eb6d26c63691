/*
 * replica_prep - contents made durable on the other side before they have a name
 *
 * Ours there: until a transaction refers to them, they are aborted, or the epoch ends. The peer's
 * here: until a transaction that refers to them is durable, or they are aborted. Those that are
 * durable when the epoch ends are orphans: their origin may be dead, and have promised them, so
 * they are published when it has not been heard of for another timeout. Not at once: an origin that
 * is alive is about to give them their names, and where the link comes back as fast as it went, the
 * message would be there twice.
 *
 * Those of ours that nobody is going to name, since their mailfs has died, are aborted at once if
 * it has left nothing untold, and otherwise when all is merged: what it had named has come over by
 * then. That holds as long as this machine lives: it knows of no power cut, after which a name that
 * somebody was told of may be missing here, so that nobody but the peer has the message.
 *
 * A copy that has its name in a mailbox which is left to a merge is one of those, too: the peer has
 * it till all is merged.
 *
 * That it is aborted is said until the peer has confirmed it, at each contact anew: a delivery that
 * was told to have failed, and is tried again, would be there twice if it were published. The
 * driver is told of it whether this machine still knows it or not: what could not be published yet
 * (the disk is full, its mailbox has not come) is the driver's to try again.
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdlib.h>

/* ---- the peer's, here ---- */

static struct prep_in *in_find(const struct replica *r, const struct replica_prep *prep) {
    struct prep_in *p;
    HASH_FIND(hh, r->preps_in, prep, sizeof *prep, p);
    return p;
}

static void in_free(struct replica *r, struct prep_in *p) {
    HASH_DEL(r->preps_in, p);
    free(p);
}

int replica_prep_receive(struct replica *r, const struct replica_msg *m) {
    if (in_find(r, &m->prep) != NULL || HASH_COUNT(r->preps_in) >= REPLICA_MAX_PREPS)
        return -EPROTO;
    struct prep_in *p = replica_alloc(sizeof *p);
    p->prep = m->prep;
    HASH_ADD(hh, r->preps_in, prep, sizeof p->prep, p);
    return 0;
}

void replica_content_durable(struct replica *r, uint64_t now, struct replica_prep prep, int err) {
    r->now = now;
    struct prep_in *p = in_find(r, &prep);
    if (p == NULL || p->durable)
        return;
    if (r->connected) {
        struct replica_msg *m = replica_send(r, RMSG_PREPARED_OK);
        m->prep = prep;
        m->err = err;
    }
    p->durable = err == 0;
    if (err != 0 && p->claim == NULL)
        in_free(r, p);
    replica_pump(r);
}

int replica_prep_abort(struct replica *r, const struct replica_msg *m) {
    struct prep_in *p = in_find(r, &m->prep);
    replica_send(r, RMSG_ABORTED)->prep = m->prep;
    if (p != NULL && p->claim != NULL)
        return 0; /* used by a transaction: it has its name */
    if (p == NULL && MUTANT(MUTANT_ABORT_KNOWN))
        return 0;
    replica_emit(r, RACT_UNPREPARE)->prep = m->prep;
    if (p != NULL)
        in_free(r, p);
    return 0;
}

/* What is left of it goes: of one that was removed at its origin it would be published at the next
 * start. */
void replica_prep_used(struct replica *r, struct replica_prep prep) {
    struct prep_in *p = in_find(r, &prep);
    if (p == NULL || p->claim != NULL)
        return;
    replica_emit(r, RACT_UNPREPARE)->prep = p->prep;
    in_free(r, p);
}

void replica_prep_claim(struct replica *r, struct rx *x) {
    for (size_t i = 0; i < x->npreps; i++) {
        struct prep_in *p = in_find(r, &x->preps[i]);
        if (p != NULL && p->claim == NULL)
            p->claim = x;
    }
}

void replica_prep_consume(struct replica *r, struct rx *x) {
    for (size_t i = 0; i < x->npreps; i++) {
        struct prep_in *p = in_find(r, &x->preps[i]);
        if (p != NULL && p->claim == x)
            in_free(r, p);
    }
}

/* Its origin is gone: what is not whole is nothing anybody promised. */
static void orphan(struct replica *r, struct prep_in *p) {
    if (!p->durable) {
        replica_emit(r, RACT_UNPREPARE)->prep = p->prep;
        in_free(r, p);
        return;
    }
    if (!p->orphan)
        p->publish_at = r->now + r->config.timeout_ms;
    p->orphan = true;
    if (p->publish_at < r->orphans_at)
        r->orphans_at = p->publish_at;
}

/*
 * While mailboxes are merged their listings may still name it. And whoever waited for L meanwhile
 * gets it when that is done, and only then gives the message its name: he has a timeout, too.
 */
static uint64_t may_publish_at(const struct replica *r) {
    if (!r->connected)
        return 0;
    return r->state == REPLICA_IN_SYNC ? r->in_sync_at + r->config.timeout_ms : UINT64_MAX;
}

bool replica_may_publish(const struct replica *r, uint64_t now) {
    return now >= may_publish_at(r);
}

uint64_t replica_prep_deadline(const struct replica *r) {
    uint64_t from = may_publish_at(r);
    return from > r->orphans_at ? from : r->orphans_at;
}

void replica_prep_tick(struct replica *r) {
    struct prep_in *p, *tmp;
    if (r->now < replica_prep_deadline(r))
        return;
    r->orphans_at = UINT64_MAX;
    HASH_ITER(hh, r->preps_in, p, tmp) {
        if (!p->orphan || p->claim != NULL)
            continue;
        if (r->now >= p->publish_at) {
            if (!MUTANT(MUTANT_NO_PUBLISH))
                replica_emit(r, RACT_PUBLISH)->prep = p->prep;
            in_free(r, p);
        } else if (p->publish_at < r->orphans_at) {
            r->orphans_at = p->publish_at;
        }
    }
}

void replica_prep_unclaim(struct replica *r, struct rx *x) {
    for (size_t i = 0; i < x->npreps; i++) {
        struct prep_in *p = in_find(r, &x->preps[i]);
        if (p == NULL || p->claim != x)
            continue;
        p->claim = NULL;
        if (!r->connected || x->epoch != r->epoch)
            orphan(r, p);
    }
}

/* ---- ours, there ---- */

static struct prep_out *out_find(const struct replica *r, const struct replica_prep *prep) {
    struct prep_out *p;
    HASH_FIND(hh, r->preps_out, prep, sizeof *prep, p);
    return p;
}

static void out_free(struct replica *r, struct prep_out *p) {
    r->dead -= p->dead;
    HASH_DEL(r->preps_out, p);
    free(p);
}

static void out_is_dead(struct replica *r, struct prep_out *p) {
    if (p->told)
        return;
    r->dead += !p->dead;
    p->dead = true;
}

static bool out_drop(struct replica *r, const struct replica_prep *prep) {
    struct prep_out *p = out_find(r, prep);
    if (p == NULL)
        return false;
    out_free(r, p);
    return true;
}

/* There are too many: those of earlier epochs are the peer's business, and so is what it does not
 * confirm. */
static void forget_past(struct replica *r) {
    struct prep_out *p, *tmp;
    HASH_ITER(hh, r->preps_out, p, tmp) {
        if (p->past || p->told)
            out_free(r, p);
    }
}

static struct prep_out *out_new(struct replica *r, struct replica_prep prep) {
    struct prep_out *p = replica_alloc(sizeof *p);
    p->prep = prep;
    HASH_ADD(hh, r->preps_out, prep, sizeof p->prep, p);
    return p;
}

/* NULL: the peer cannot be asked for it, or has been. */
static struct prep_out *out_ask(struct replica *r, struct replica_prep prep,
                                struct replica_payload *payload) {
    if (HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        forget_past(r);
    if (!r->connected || out_find(r, &prep) != NULL ||
        HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        return NULL;
    struct replica_msg *m = replica_send(r, RMSG_PREPARE);
    m->prep = prep;
    m->payload = replica_payload_ref(payload);
    return out_new(r, prep);
}

static void prep_ask(struct replica *r, uint64_t now, uint64_t req, struct replica_prep prep,
                     struct replica_payload *payload) {
    r->now = now;
    struct prep_out *p = out_ask(r, prep, payload);
    if (p == NULL || r->config.commit == REPLICA_COMMIT_ASYNC) {
        replica_release(r, req, true);
    } else if (req != 0) {
        p->req = req;
        replica_request_add(r, req, 1, true);
    }
    replica_pump(r);
}

void replica_prepare(struct replica *r, uint64_t now, uint64_t req, struct replica_prep prep,
                     struct replica_payload *payload) {
    if (prep.incarnation != r->prep_first.incarnation || prep.seq < r->prep_first.seq)
        r->prep_first = prep; /* numbers rise; two threads may change places */
    prep_ask(r, now, req, prep, payload);
}

static bool is_of_earlier_life(const struct replica *r, struct replica_prep prep) {
    return r->config.peer != NULL &&
           (prep.incarnation != r->prep_first.incarnation || prep.seq < r->prep_first.seq);
}

bool replica_prep_is_past(const struct replica *r, struct replica_prep prep) {
    const struct prep_out *p = out_find(r, &prep);
    return p != NULL ? p->past : is_of_earlier_life(r, prep);
}

static void wait_again(struct replica *r, uint64_t req, struct prep_out *p) {
    if (p->past || p->dead || p->told || r->config.commit == REPLICA_COMMIT_ASYNC) {
        replica_release(r, req, true);
    } else if (p->req == 0) {
        replica_release(r, req, false); /* the peer has said that it has it */
    } else {
        replica_request_end(r, p->req, true); /* of the mailfs before, if it has not ended */
        p->req = req;
        replica_request_add(r, req, 1, true);
    }
}

/* The number stays the one it had: under another one, what the peer has of it, and publishes when
 * the link ends, would be another message than the one that gets its name here. */
void replica_prepare_again(struct replica *r, uint64_t now, uint64_t req, struct replica_prep prep,
                           struct replica_payload *payload) {
    struct prep_out *p = out_find(r, &prep);
    if (p == NULL) { /* never asked for; or before this machine lived: the peer has it, perhaps */
        r->now = now;
        if (r->connected)
            replica_send(r, RMSG_ABORT)->prep = prep;
        prep_ask(r, now, req, prep, payload);
        return;
    }
    r->now = now;
    wait_again(r, req, p);
    replica_pump(r);
}

/* Nobody is going to name them: the merge carries the names over. */
void replica_prepare_copies(struct replica *r, uint64_t now, uint64_t req,
                            const struct replica_copy *v, size_t n) {
    size_t owed = 0;
    r->now = now;
    for (size_t i = 0; i < n; i++) {
        struct prep_out *p = out_ask(r, v[i].prep, v[i].payload);
        if (p == NULL)
            continue;
        out_is_dead(r, p);
        p->req = r->config.commit == REPLICA_COMMIT_ASYNC ? 0 : req;
        owed += p->req != 0;
    }
    if (owed > 0)
        replica_request_add(r, req, owed, true);
    else if (req != 0)
        replica_release(r, req, true);
    replica_pump(r);
}

void replica_progress(struct replica *r, uint64_t now, struct replica_prep prep) {
    r->now = now;
    const struct prep_out *p = out_find(r, &prep);
    if (p != NULL && p->req != 0)
        replica_request_progress(r, p->req);
}

int replica_prep_ok(struct replica *r, const struct replica_msg *m) {
    if (m->err != 0) {
        replica_lose(r, "the peer cannot store a message");
        return 0;
    }
    struct prep_out *p = out_find(r, &m->prep);
    if (p == NULL || p->req == 0)
        return 0; /* aborted meanwhile */
    replica_request_part(r, p->req, false);
    p->req = 0;
    return 0;
}

static void abort_out(struct replica *r, struct prep_out *p) {
    if (p->told)
        return;
    if (p->req != 0)
        replica_request_part(r, p->req, true);
    p->req = 0;
    r->dead -= p->dead;
    p->dead = false;
    p->told = true;
    replica_send(r, RMSG_ABORT)->prep = p->prep;
    if (MUTANT(MUTANT_ABORT_ONCE))
        out_free(r, p);
}

/* One that is not known here any more, or was not: the peer may have it from an earlier epoch. */
static void abort_prep(struct replica *r, struct replica_prep prep) {
    struct prep_out *p = out_find(r, &prep);
    if (p == NULL && HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        forget_past(r);
    if (p == NULL && HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        replica_send(r, RMSG_ABORT)->prep = prep;
    else
        abort_out(r, p != NULL ? p : out_new(r, prep));
}

int replica_prep_aborted(struct replica *r, const struct replica_msg *m) {
    struct prep_out *p = out_find(r, &m->prep);
    if (p != NULL && p->told)
        out_free(r, p);
    return 0;
}

void replica_prep_connected(struct replica *r) {
    struct prep_out *p, *tmp;
    HASH_ITER(hh, r->preps_out, p, tmp) {
        if (p->told)
            replica_send(r, RMSG_ABORT)->prep = p->prep;
    }
}

/* Nobody can be told now. What was asked for in this life and is not known was never sent. */
static void abort_unknown(struct replica *r, struct replica_prep prep) {
    if (!is_of_earlier_life(r, prep))
        return;
    if (HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        forget_past(r);
    if (HASH_COUNT(r->preps_out) >= REPLICA_MAX_PREPS)
        return;
    struct prep_out *p = out_new(r, prep);
    p->past = true;
    out_is_dead(r, p);
}

void replica_abort(struct replica *r, uint64_t now, struct replica_prep prep) {
    r->now = now;
    struct prep_out *p = out_find(r, &prep);
    if (r->connected)
        abort_prep(r, prep);
    else if (p != NULL)
        out_is_dead(r, p);
    else
        abort_unknown(r, prep);
    replica_pump(r);
}

void replica_abort_others(struct replica *r, uint64_t now, uint64_t incarnation, bool untold) {
    r->now = now;
    struct prep_out *p, *tmp;
    HASH_ITER(hh, r->preps_out, p, tmp) {
        if (p->prep.incarnation == incarnation)
            continue;
        if (r->connected && !p->past && !untold)
            abort_out(r, p);
        else
            out_is_dead(r, p);
    }
    replica_pump(r);
}

void replica_prep_sent(struct replica *r, const struct replica_prep *preps, size_t n) {
    for (size_t i = 0; i < n; i++)
        out_drop(r, &preps[i]);
}

/* Named here in a transaction that is not sent: the peer keeps them until all merges have carried
 * the names over, in case this node dies first. All: the message may have been moved since. */
void replica_prep_unsent(struct replica *r, struct dir *d, const struct replica_prep *preps,
                         size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!out_drop(r, &preps[i]))
            continue;
        struct unsent *u = replica_alloc(sizeof *u);
        u->prep = preps[i];
        LL_PREPEND(d->unsent, u);
        r->unsent++;
    }
}

void replica_prep_drop_unsent(struct replica *r, struct dir *d, bool tell) {
    while (d->unsent != NULL) {
        struct unsent *u = d->unsent;
        LL_DELETE(d->unsent, u);
        r->unsent--;
        if (tell)
            abort_prep(r, u->prep);
        free(u);
    }
}

static void abort_dead(struct replica *r) {
    struct prep_out *p, *tmp;
    if (r->dead == 0)
        return;
    HASH_ITER(hh, r->preps_out, p, tmp) {
        if (p->dead)
            abort_out(r, p);
    }
}

void replica_prep_merged(struct replica *r) {
    struct dir *d, *tmp;
    abort_dead(r);
    if (r->unsent == 0)
        return;
    HASH_ITER(hh, r->dirs, d, tmp) {
        if (d->unsent == NULL)
            continue;
        replica_prep_drop_unsent(r, d, true);
        replica_settle(r, d);
    }
}

void replica_prep_alone(struct replica *r) {
    struct prep_out *o, *otmp;
    HASH_ITER(hh, r->preps_out, o, otmp) {
        o->past = true;
        o->req = 0; /* released */
    }
    struct prep_in *p, *tmp;
    HASH_ITER(hh, r->preps_in, p, tmp) {
        if (p->claim == NULL)
            orphan(r, p);
    }
}
