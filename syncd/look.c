/*
 * look: containers of this store are looked at: all scanned; what differed scanned again; contents
 * read; what can be repaired is.
 *
 * Contents are read by a thread of its own, behind everybody else's disk work.
 *
 * Diagnostics: none here.
 */
#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "driver.h"
#include "front.h"
#include "mem.h"
#include "mend.h"
#include "oneway.h"
#include "restore.h"
#include "timer.h"
#include "util/log.h"
#include "verify_int.h"
#include "volume.h"

#define LATER_MS   500 /* than the timeout */
#define SYNC_MS    1000
#define SYNC_TRIES 120 /* a second apart, for other mailboxes' merges to be over */

struct look {
    struct volume *v;
    struct mailfs_id *dirs;
    size_t n, at;
    struct look_order order;
    look_fn *fn;
    void *arg;
    _Atomic bool stop;
    struct event *timer;
    struct check_problems first, now; /* what differed then, and differs still */
    struct check_digest *digests;
    struct look_result res;
    int scan_err;
    unsigned tries;
    bool merging; /* all that can be fetched has been */
    struct invals inval;
    struct state *lenders[CONF_LINKS_MAX];
    size_t n_lenders;
};

static bool in_sync(const struct look *l) {
    return replica_state(l->v->machine) == REPLICA_IN_SYNC;
}

void look_free(struct look *l) {
    check_problems_free(&l->first);
    check_problems_free(&l->now);
    check_problems_free(&l->res.problems);
    event_free(l->timer);
    free(l->digests);
    free(l->dirs);
    free(l);
}

static void look_end(struct look *l) {
    l->res.digests = l->digests;
    l->res.n = l->n;
    l->fn(l->arg, &l->res);
    look_free(l);
}

static bool is_over(struct look *l) {
    if (l->res.err == 0 && (atomic_load(&l->stop) || l->v->stopping))
        l->res.err = -ECANCELED;
    return l->res.err != 0;
}

static void wait_ms(struct look *l, uint64_t ms) {
    const struct timeval tv = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000};

    evtimer_add(l->timer, &tv);
}

/* ---- repairing ---------------------------------------------------------------------
 *
 * What can be fetched. The merges come later, when both nodes have fetched: one would take what was
 * changed or lost here behind everybody's back for this node's own doing, and do it to the peer.
 */

static void mend_next(struct look *l);

static void mended(void *arg, int err) {
    struct look *l = arg;

    l->res.problems.v[l->at++].fate = err == 0 ? CHECK_MENDED : CHECK_NOT;
    mend_next(l);
}

static void keep_control_run(void *arg) {
    struct look *l = arg;

    (void)mend_keep_control(l->v->state, &l->res.problems.v[l->at].dir);
}

/* All of one container at once. */
static void settle(struct look *l, bool (*fits)(const struct check_problem *p), unsigned fate) {
    const struct mailfs_id dir = l->res.problems.v[l->at].dir;

    for (size_t i = l->at; i < l->res.problems.n; i++) {
        struct check_problem *p = &l->res.problems.v[i];
        if (mailfs_id_equal(&p->dir, &dir) && fits(p))
            p->fate = fate;
    }
    l->at++;
    mend_next(l);
}

static bool is_merged(const struct check_problem *p) {
    return p->fate == CHECK_FOUND &&
           (p->kind == CHECK_EXTRA || p->kind == CHECK_STATE || p->kind == CHECK_CONTROL);
}

static void keep_control_done(void *arg) {
    struct look *l = arg;

    if (is_over(l))
        look_end(l);
    else
        settle(l, is_merged, CHECK_MERGED);
}

/* ---- repairing, on a standby ------------------------------------------------------- */

/* A message that only this node has is named, and stays: it may be the last copy. */
static bool is_restored(const struct check_problem *p) {
    return is_merged(p) && p->kind != CHECK_EXTRA;
}

static bool differs_still_there(struct look *l, const struct mailfs_id *dir) {
    struct check_problems left = {0};
    bool some = check_scan(l->v->state, dir, l->lenders, l->n_lenders, &left) != 0;

    for (size_t i = 0; i < left.n; i++)
        some = some || is_restored(&left.v[i]);
    check_problems_free(&left);
    return some;
}

static void restore_run(void *arg) {
    struct look *l = arg;
    const struct mailfs_id *dir = &l->res.problems.v[l->at].dir;
    struct state *st = l->v->state;

    l->scan_err = restore_mailbox(st, dir, l->lenders, l->n_lenders, &l->inval);
    if (l->scan_err == 0 && differs_still_there(l, dir))
        l->scan_err = -EAGAIN;
}

static const char *why_not(int err) {
    switch (err) {
    case -EAGAIN:
        return "it still differs, or has changed meanwhile: run verify --repair again";
    case -ENOENT:
        return "its directory is not in this store, and verify does not make one";
    default:
        return log_strerror(err);
    }
}

static void restore_done(void *arg) {
    struct look *l = arg;
    struct volume *v = l->v;
    const struct mailfs_id dir = l->res.problems.v[l->at].dir;
    char path[256];

    state_path(v->state, &dir, path, sizeof path);
    if (l->scan_err == 0)
        log_warn("volume %s: %s: as was agreed on with %s again", v->cv->name, path,
                 v->cv->peer->name);
    else
        log_warn("volume %s: %s: not repaired: %s", v->cv->name, path, why_not(l->scan_err));
    front_invalidate(v->front, &l->inval);
    if (l->inval.n > 0)
        oneway_changed(v, &dir, false);
    invals_free(&l->inval);
    settle(l, is_restored, l->scan_err == 0 ? CHECK_MENDED : CHECK_NOT);
    driver_pump(v);
}

/* One that has been begun knows of the damage, and has taken it for this node's doing. */
static bool some_merge(const struct look *l) {
    const struct volume *root = l->v->main;

    for (size_t i = 0; i < root->n_links; i++)
        if (replica_state(root->links[i]->machine) == REPLICA_CATCHING_UP)
            return true;
    return !in_sync(l);
}

/* Nor are the others waited for as long, until one can be restored. */
static void restore_not(struct look *l) {
    struct volume *v = l->v;
    bool alone = replica_state(v->machine) == REPLICA_ALONE;
    char path[256];

    log_warn("volume %s: %s: not repaired since %s: run verify --repair again", v->cv->name,
             state_path(v->state, &l->res.problems.v[l->at].dir, path, sizeof path),
             alone ? "the other node is not connected" : "mailboxes are being merged");
    settle(l, is_restored, CHECK_NOT);
}

static void restore_begin(struct look *l) {
    if (!some_merge(l)) {
        l->tries = 0; /* each mailbox may be waited for */
        l->n_lenders = oneway_lenders(l->v, l->lenders);
        jobs_run(l->v->jobs, &l->res.problems.v[l->at].dir, restore_run, restore_done, l);
    } else if (++l->tries < SYNC_TRIES) {
        wait_ms(l, SYNC_MS);
    } else {
        restore_not(l);
    }
}

static void mend_next(struct look *l) {
    if (is_over(l)) {
        look_end(l);
        return;
    }
    for (; l->order.repair && l->at < l->res.problems.n; l->at++) {
        const struct check_problem *p = &l->res.problems.v[l->at];
        if (!l->merging && mend_can(p) && verify_may_fetch(l->v, p->kind)) {
            mend(l->v, &p->dir, p->kind, p->name, mended, l);
            return;
        }
        if (l->merging && is_merged(p) && l->v->main == NULL) {
            jobs_run(l->v->jobs, &p->dir, keep_control_run, keep_control_done, l);
            return;
        }
        if (l->merging && is_restored(p) && verify_may_restore(l->v)) {
            restore_begin(l);
            return;
        }
    }
    if (l->merging) {
        look_end(l);
    } else {
        l->merging = true;
        l->at = 0;
        l->tries = 0;
        mend_next(l);
    }
}

/* ---- contents ---------------------------------------------------------------------- */

static void contents_run(void *arg) {
    struct look *l = arg;
    const struct check_how how = {l->order.content, l->order.accept, l->order.gentle, &l->stop};

    for (size_t i = 0; i < l->n && l->res.err == 0; i++) {
        l->res.err =
            check_contents(l->v->state, &l->dirs[i], &how, &l->res.problems, &l->res.counts);
        if (l->res.err == 0)
            l->res.err = check_digest_of(l->v->state, &l->dirs[i], how.content, &l->digests[i]);
    }
}

static void contents_done(void *arg) {
    struct look *l = arg;

    struct volume *v = l->v;

    l->at = 0;
    mend_next(l);
    driver_pump(v);
}

static void contents_begin(struct look *l) {
    if (is_over(l)) {
        look_end(l);
        return;
    }
    if (workq_submit(l->v->engine->slow, WORKQ_NO_LANE, contents_run, contents_done, l) != 0)
        mem_out("the work queue");
}

/* ---- what differs from the base ---------------------------------------------------- */

static void scan_next(struct look *l, bool again);

static void scan_run(void *arg) {
    struct look *l = arg;

    l->scan_err = check_scan(l->v->state, &l->dirs[l->at], l->lenders, l->n_lenders, &l->now);
}

static bool found_before(const struct look *l, const struct check_problem *p) {
    for (size_t i = 0; i < l->first.n; i++)
        if (mailfs_id_equal(&l->first.v[i].dir, &p->dir) &&
            memcmp(l->first.v[i].print, p->print, sizeof p->print) == 0)
            return true;
    return false;
}

static void differs_still(struct look *l) {
    for (size_t i = 0; i < l->now.n; i++) {
        const struct check_problem *p = &l->now.v[i];
        if (found_before(l, p))
            check_problem_add(&l->res.problems, &p->dir, p->kind, p->name);
    }
    l->res.problems.more += l->now.more;
}

static bool differed(const struct look *l, const struct mailfs_id *dir) {
    for (size_t i = 0; i < l->first.n; i++)
        if (mailfs_id_equal(&l->first.v[i].dir, dir))
            return true;
    return l->first.more > 0;
}

static void look_again(evutil_socket_t fd, short what, void *arg) {
    struct look *l = arg;
    struct volume *v = l->v;

    if (l->merging) { /* a restoration waits */
        mend_next(l);
        driver_pump(v);
        return;
    }
    l->at = 0;
    scan_next(l, l->first.n > 0);
    driver_pump(v);
}

/* What was found says nothing: from the beginning, when the nodes are in sync again. */
static void scan_later(struct look *l) {
    check_problems_free(&l->first);
    check_problems_free(&l->now);
    if (++l->tries >= SYNC_TRIES || replica_state(l->v->machine) == REPLICA_ALONE)
        l->res.err = -ENOTCONN;
    wait_ms(l, l->res.err == 0 ? SYNC_MS : 0);
}

static void scanned_all(struct look *l, bool again) {
    if (!in_sync(l)) {
        scan_later(l);
        return;
    }
    if (!again && l->now.n > 0) {
        l->first = l->now;
        l->now = (struct check_problems){0};
        wait_ms(l, l->v->cv->peer->timeout_ms + LATER_MS);
        return;
    }
    if (again)
        differs_still(l);
    contents_begin(l);
}

static void scanned(struct look *l, bool again) {
    struct volume *v = l->v;

    if (l->scan_err != 0)
        check_problem_add(&l->res.problems, &l->dirs[l->at], CHECK_UNREADABLE, NULL);
    l->at++;
    scan_next(l, again);
    driver_pump(v);
}

static void scan_done(void *arg) {
    scanned(arg, false);
}

static void scan_again_done(void *arg) {
    scanned(arg, true);
}

static void scan_next(struct look *l, bool again) {
    while (again && l->at < l->n && !differed(l, &l->dirs[l->at]))
        l->at++;
    l->n_lenders = oneway_lenders(l->v, l->lenders);
    if (is_over(l))
        look_end(l);
    else if (l->at < l->n)
        jobs_run(l->v->jobs, &l->dirs[l->at], scan_run, again ? scan_again_done : scan_done, l);
    else
        scanned_all(l, again);
}

/* ---- begin ------------------------------------------------------------------------- */

static struct look *look_new(struct volume *v, const struct mailfs_id *dirs, size_t n,
                             struct look_order order, look_fn *fn, void *arg) {
    struct look *l = mem_new(sizeof *l);

    l->v = v;
    l->dirs = mem_new((n + 1) * sizeof *l->dirs);
    memcpy(l->dirs, dirs, n * sizeof *dirs);
    l->digests = mem_new((n + 1) * sizeof *l->digests);
    l->n = n;
    l->order = order;
    l->fn = fn;
    l->arg = arg;
    l->timer = timer_new(v->engine->evb, look_again, l);
    return l;
}

static void first_job(void *arg) {
    struct look *l = arg;
    struct volume *v = l->v;

    scan_next(l, false);
    driver_pump(v);
}

struct look *look_begin(struct volume *v, const struct mailfs_id *dirs, size_t n,
                        struct look_order order, look_fn *fn, void *arg) {
    struct look *l = look_new(v, dirs, n, order, fn, arg);

    jobs_run(v->jobs, &mailfs_id_root, NULL, first_job, l);
    return l;
}

static void digests_run(void *arg) {
    struct look *l = arg;

    for (size_t i = 0; i < l->n && l->res.err == 0; i++)
        l->res.err = check_digest_of(l->v->state, &l->dirs[i], l->order.content, &l->digests[i]);
}

static void digests_done(void *arg) {
    struct look *l = arg;
    struct volume *v = l->v;

    look_end(l);
    driver_pump(v);
}

struct look *look_digests(struct volume *v, const struct mailfs_id *dirs, size_t n, bool content,
                          look_fn *fn, void *arg) {
    struct look *l = look_new(v, dirs, n, (struct look_order){.content = content}, fn, arg);

    if (workq_submit(v->engine->slow, WORKQ_NO_LANE, digests_run, digests_done, l) != 0)
        mem_out("the work queue");
    return l;
}

void look_cancel(struct look *l) {
    struct timeval now = {0};

    atomic_store(&l->stop, true);
    if (evtimer_pending(l->timer, NULL))
        evtimer_add(l->timer, &now);
}
