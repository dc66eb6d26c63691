/*
 * driver - the machine's actions carried out
 *
 * Diagnostics: every change of state; why a connection was given up.
 */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "alias.h"
#include "await.h"
#include "base.h"
#include "checkpoint.h"
#include "contact.h"
#include "driver_apply.h"
#include "driver_journal.h"
#include "driver_merge.h"
#include "front.h"
#include "journal.h"
#include "link_peer.h"
#include "load.h"
#include "mem.h"
#include "merge_run.h"
#include "oneway.h"
#include "oneway_lock.h"
#include "promote.h"
#include "role.h"
#include "stage.h"
#include "touched.h"
#include "txn.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"
#include "xfer.h"

#define COMPARE_TREES_MS 3000
#define ACKED_HERE       16 /* operations */
#define TICK_MAX_MS      3600000
#define MAILFS_MS        2000 /* in which one that runs has come */
#define RAISE_AGAIN_MS   5000
#define PUBLISH_AGAIN_MS 10000

/* ---- the trees ---------------------------------------------------------------------- */

static void compare_trees(evutil_socket_t fd, short what, void *arg) {
    struct volume *v = arg;
    v->compare_trees_due = false;
    if (!contact_is_up(v) || v->stopping)
        return; /* the next contact compares them anyway */
    v->compare_trees_from = volume_now() + COMPARE_TREES_MS;
    contact_drop(v, "directories differ: they are to be compared", true);
    driver_pump(v);
}

/*
 * From the loop, so that no caller finds its connection gone. Too soon after the last time it is
 * put off, never forgotten, or the trees would differ for ever.
 */
void driver_compare_trees(struct volume *v, const char *why) {
    uint64_t now = volume_now();
    uint64_t ms = now < v->compare_trees_from ? v->compare_trees_from - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    if (v->compare_trees_due || !contact_is_up(v) || v->stopping)
        return;
    log_info("volume %s: %s: the directory trees are compared", v->cv->name, why);
    v->compare_trees_due =
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, compare_trees, v, &tv) == 0;
}

/* ---- base -------------------------------------------------------------------------- */

struct acked {
    struct volume *v;
    struct mailfs_id dir;
    int err;
    struct replica_payload *payload;
};

static void acked_run(void *arg) {
    struct acked *a = arg;
    a->err = base_acked(a->v->state, load_of(a->payload)->txn); /* logged there */
}

static void acked_done(void *arg) {
    struct acked *a = arg;
    struct volume *v = a->v;
    v->changes++;
    if (a->err != 0)
        replica_suspect(v->machine, volume_now(), a->dir);
    replica_payload_unref(a->payload);
    free(a);
    driver_pump(v);
}

/*
 * Here, if nothing of the container is before it: it is a change in memory, and a line to a file
 * that nobody syncs. With one delivery after the other 2 context switches less of the syncd that
 * sends, of 7.6.
 */
static void act_acked(struct volume *v, const struct replica_action *action) {
    if (action->payload == NULL)
        return;
    struct acked *a = mem_new(sizeof *a);
    a->v = v;
    a->dir = action->dir;
    a->payload = replica_payload_ref(action->payload);
    struct touched t;
    touched_by_txn(load_of(a->payload)->txn, &t);
    bool small = load_of(a->payload)->txn->n_ops <= ACKED_HERE;
    if (small && t.n == 1 && !t.all && jobs_may_run(v->jobs, &a->dir)) {
        acked_run(a);
        acked_done(a);
    } else {
        touched_run(&t, v->jobs, acked_run, acked_done, a);
    }
}

struct forget {
    struct volume *v;
    bool names;
};

static void forget_run(void *arg) {
    struct forget *f = arg;
    base_forget_sent(f->v->state);
    f->names = base_prep_unwritten(f->v->state);
}

/* The peer may not have heard which names these got, and publish them; see also named.c. */
static void forget_done(void *arg) {
    struct forget *f = arg;
    if (f->names) {
        f->v->changes++;
        checkpoint_soon(f->v->checkpoint);
    }
    free(f);
}

void driver_disconnected(struct volume *v) {
    await_disconnected(v);
    oneway_disconnected(v);
    struct forget *f = mem_new(sizeof *f);
    f->v = v;
    jobs_barrier(v->jobs, forget_run, forget_done, f);
    journaler_wake(v->journaler);
}

/* ---- contents the peer had prepared ------------------------------------------------ */

struct prep_job {
    struct volume *v;
    struct stage_prep prep;
    uint64_t gen;
    struct invals inval;
    int err; /* of publishing */
};

static void drop_run(void *arg) {
    struct prep_job *p = arg;
    stage_drop(p->v->state, &p->prep);
}

static void publish_run(void *arg) {
    struct prep_job *p = arg;
    p->err = stage_publish(p->v->state, &p->prep, p->gen, &p->inval);
}

static void publish_again(evutil_socket_t fd, short what, void *arg);

/* It may be the only copy there is, so it is not left until the next start. One whose mailbox is
 * gone waits for a merge (stage_publish_homeless()). */
static bool put_off_publish(struct prep_job *p) {
    struct timeval tv = {.tv_sec = PUBLISH_AGAIN_MS / 1000};
    return p->err < 0 && p->err != -ENOENT && !p->v->stopping &&
           event_base_once(p->v->engine->evb, -1, EV_TIMEOUT, publish_again, p, &tv) == 0;
}

static void prep_done(void *arg) {
    struct prep_job *p = arg;
    if (put_off_publish(p))
        return;
    p->v->changes++;
    if (p->inval.n >
        0) { /* nobody has been told; without the peer a mark tells at the next contact */
        replica_suspect(p->v->machine, volume_now(), p->inval.v[0].dir);
        oneway_changed(p->v, &p->inval.v[0].dir, false);
    }
    front_invalidate(p->v->front, &p->inval);
    invals_free(&p->inval);
    free(p);
}

static void publish_again(evutil_socket_t fd, short what, void *arg) {
    struct prep_job *p = arg;
    p->gen = front_gen(p->v->front);
    jobs_barrier(p->v->jobs, publish_run, prep_done, p);
}

static void prep_submit(struct volume *v, struct replica_prep prep, bool publish) {
    struct prep_job *p = mem_new(sizeof *p);
    p->v = v;
    p->prep = (struct stage_prep){prep.incarnation, prep.seq};
    p->gen = front_gen(v->front);
    if (publish)
        jobs_barrier(v->jobs, publish_run, prep_done, p); /* its mailbox is known on disk only */
    else if (workq_submit(v->engine->io, xfer_prep_lane(&prep), drop_run, prep_done, p) != 0)
        mem_out("work queue");
}

void driver_drop_prep(struct volume *v, struct replica_prep prep) {
    prep_submit(v, prep, false);
}

/* ---- L lost with the mount --------------------------------------------------------- */

struct raise_job {
    struct volume *v;
    struct mailfs_id dir;
    enum replica_raise how;
    struct invals inval;
    int err;
};

static void raise_run(void *arg) {
    struct raise_job *j = arg;
    j->err = promote_raise_one(j->v->state, &j->dir, j->how, &j->inval); /* logged there */
}

static void raise_again(evutil_socket_t fd, short what, void *arg);

/* Not raised, and no L: a UID that somebody has seen could name another message. */
static bool put_off_raise(struct raise_job *j) {
    struct timeval tv = {.tv_sec = RAISE_AGAIN_MS / 1000};
    return j->err != 0 && !j->v->stopping &&
           event_base_once(j->v->engine->evb, -1, EV_TIMEOUT, raise_again, j, &tv) == 0;
}

static void raise_done(void *arg) {
    struct raise_job *j = arg;
    struct volume *v = j->v;
    front_invalidate(v->front, &j->inval);
    invals_free(&j->inval);
    if (put_off_raise(j))
        return;
    replica_raised(v->machine, volume_now(), j->dir);
    free(j);
    driver_pump(v);
}

static void raise_again(evutil_socket_t fd, short what, void *arg) {
    struct raise_job *j = arg;
    jobs_run(j->v->jobs, &j->dir, raise_run, raise_done, j);
}

/* In the mailbox's lane: ahead of the scan and the merge that follow. */
static void act_raise(struct volume *v, const struct replica_action *a) {
    struct raise_job *j = mem_new(sizeof *j);
    *j = (struct raise_job){.v = v, .dir = a->dir, .how = a->raise};
    jobs_run(v->jobs, &a->dir, raise_run, raise_done, j);
}

/* ---- replay ------------------------------------------------------------------------ */

static void meet_peer(struct volume *v) {
    if (v->ready || v->stopping)
        return;
    v->ready = true;
    contact_start(v);
    driver_pump(v);
}

static void mailfs_overdue(evutil_socket_t fd, short what, void *arg) {
    meet_peer(arg);
}

void driver_mailfs_here(struct volume *v) {
    if (v->replayed)
        meet_peer(v);
}

/* What it named while no syncd was there comes with its Hello: without that the first merge would
 * take the name that the peer published it under for another message. And a node that is to be
 * filled: a mailfs that comes when that has begun ends the connection, since what it may have done
 * is to be listed, and who opens a mailbox in that moment is shown an empty one. */
static bool mailfs_will_come(const struct volume *v) {
    return front_is_expected(v->front) ||
           (v->cv->peer != NULL && !v->had_contact && !volume_is_watched(v) && !role_of(v).standby);
}

static void wait_for_mailfs(struct volume *v) {
    struct timeval tv = {.tv_sec = MAILFS_MS / 1000};
    if (v->main != NULL || front_is_connected(v->front) || !mailfs_will_come(v) ||
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, mailfs_overdue, v, &tv) != 0)
        meet_peer(v);
}

struct leftovers {
    struct volume *v;
    struct stage_prep *preps;
    size_t n;
};

static void leftovers_run(void *arg) {
    struct leftovers *l = arg;
    if (stage_leftovers(l->v->state, &l->preps, &l->n) != 0)
        l->n = 0;
    else
        state_start_over(l->v->state); /* an error is logged there */
}

static void leftovers_done(void *arg) {
    struct leftovers *l = arg;
    struct volume *v = l->v;
    for (size_t i = 0; i < l->n; i++)
        prep_submit(v, (struct replica_prep){l->preps[i].incarnation, l->preps[i].seq}, true);
    if (l->n > 0)
        log_info("volume %s: %zu prepared messages of an earlier life", v->cv->name, l->n);
    free(l->preps);
    free(l);
    v->replayed = true;
    wait_for_mailfs(v);
}

static int replay_one(void *arg, uint64_t id, Mfp__Txn *txn) {
    struct mailfs_id dir;
    if (txn->dir.len != sizeof dir) {
        mfp__txn__free_unpacked(txn, NULL);
        return -EUCLEAN;
    }
    memcpy(dir.b, txn->dir.data, sizeof dir);
    driver_apply_replayed(arg, &dir, id, load_txn(txn));
    return 0;
}

/* What the journal removes is kept back as at a contact: it may be of a time when not all had been
 * merged, and the message moved to a mailbox that is not here yet. */
int driver_replay(struct volume *v) {
    if (v->start.journal > 0)
        merge_keep_back(v->state);
    int r = journal_replay(v->state, replay_one, v);
    if (r != 0)
        return r;
    if (v->start.journal > 0)
        log_info("volume %s: %zu transactions to apply from the journal", v->cv->name,
                 v->start.journal);
    struct leftovers *l = mem_new(sizeof *l);
    l->v = v;
    jobs_barrier(v->jobs, leftovers_run, leftovers_done, l);
    return 0;
}

/* ---- actions ----------------------------------------------------------------------- */

static void act_send(struct volume *v, const struct replica_action *a) {
    int r = peer_send_msg(v->peer, &a->msg);
    if (r == 0 || r == -ENOTCONN)
        return;
    volume_error(v, "cannot send to the peer: %s", log_strerror(r));
    contact_drop(v, "it cannot send", true);
}

/* While a mailbox is to be merged, what was added to it is on one node only, perhaps moved there
 * from another: so what goes elsewhere is kept, until all is merged (RACT_CAUGHT_UP). */
/* Once it has caught up it follows every change: that is no news. */
static void log_link_state(struct volume *v, enum replica_state state) {
    if (v->follows && state != REPLICA_ALONE)
        return;
    log_info("volume %s, link with %s: %s", v->cv->name, v->cv->peer->name,
             volume_state_word(state));
    v->follows = state == REPLICA_IN_SYNC;
}

static void act_state(struct volume *v, const struct replica_action *a) {
    if (a->state != REPLICA_IN_SYNC && a->state != REPLICA_NO_PEER)
        merge_keep_back(v->state);
    v->since_wall_ns = clock_wall_ns();
    v->merged_before = v->merged;
    if (v->main != NULL)
        log_link_state(v, a->state);
    else
        log_info("volume %s: %s", v->cv->name, volume_state_word(a->state));
}

static void act_disconnect(struct volume *v, const struct replica_action *a) {
    const char *why = a->reason != NULL ? a->reason : "given up";
    volume_error(v, "peer %s: %s", v->cv->peer->name, why);
    contact_drop(v, why, false);
}

static void act_unprepare(struct volume *v, const struct replica_action *a) {
    if (!xfer_cancel(v->xfers, &a->prep))
        prep_submit(v, a->prep, false);
}

/* The lock may have been shown under an id that its container has lost since. */
static void act_token_here(struct volume *v, const struct mailfs_id *dir) {
    struct mailfs_id now;
    front_token_here(v->front, dir);
    if (alias_now(v->state, dir, &now))
        front_token_here(v->front, &now);
}

static void carry_out(struct volume *v, const struct replica_action *a) {
    await_action(v, a);
    switch (a->kind) {
    case RACT_SEND:
        act_send(v, a);
        break;
    case RACT_DISCONNECT:
        act_disconnect(v, a);
        break;
    case RACT_STATE:
        act_state(v, a);
        break;
    case RACT_GRANT:
        if (oneway_granted(v, a->req, a->raise) || txns_granted_formerly(v->txns, a->req, &a->dir))
            break;
        txns_granted(v->txns, a->req, &a->dir, (uint32_t)a->raise);
        break;
    case RACT_BUSY:
        if (oneway_busy(v, a->req))
            break;
        front_grant(v->front, a->req, -EEXIST, 0);
        break;
    case RACT_TOKEN_HERE:
        act_token_here(v, &a->dir);
        break;
    case RACT_TOKEN_HINT:
        front_token_hint(v->front, &a->dir, a->held);
        break;
    case RACT_RELEASE:
        if (a->req != 0 && !await_release(v, a->req, a->err, a->alone))
            front_release(v->front, a->req, a->err, a->alone);
        break;
    case RACT_WORKING:
        front_working(v->front, a->req);
        break;
    case RACT_JOURNAL:
        journaler_add(v->journaler, a->seq, &a->dir, a->payload);
        break;
    case RACT_APPLY:
        driver_apply(v, a);
        break;
    case RACT_ACKED:
        act_acked(v, a);
        break;
    case RACT_PUBLISH:
        prep_submit(v, a->prep, true);
        break;
    case RACT_UNPREPARE:
        act_unprepare(v, a);
        break;
    case RACT_RAISE:
        act_raise(v, a);
        break;
    case RACT_CAUGHT_UP:
        v->untold_since_wall_ns = 0;
        oneway_caught_up(v);
        merges_action(v->merges, a);
        break;
    default:
        if (!merges_action(v->merges, a))
            log_error("volume %s: unknown action %d", v->cv->name, (int)a->kind);
        break;
    }
}

/* ---- the pump ---------------------------------------------------------------------- */

static void tick_arm(struct volume *v) {
    uint64_t now = volume_now(), at = replica_deadline(v->machine);
    if (at == v->tick_at && evtimer_pending(v->tick, NULL))
        return;
    uint64_t ms = at <= now ? 0 : at - now;
    if (ms > TICK_MAX_MS)
        ms = TICK_MAX_MS;
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    v->tick_at = at;
    evtimer_add(v->tick, &tv);
}

void driver_pump(struct volume *v) {
    struct replica_action a;
    if (v->pumping || v->machine == NULL || v->tick == NULL)
        return;
    v->pumping = true;
    while (replica_next(v->machine, &a)) {
        carry_out(v, &a);
        replica_action_done(&a);
    }
    v->pumping = false;
    driver_apply_go_on(v);
    front_resume(v->front);
    checkpoint_if_lost(v->checkpoint);
    tick_arm(v);
}

static void tick(evutil_socket_t fd, short what, void *arg) {
    struct volume *v = arg;
    uint64_t now = volume_now();
    if (contact_is_up(v)) /* part of a long frame counts as well; what we do not read, too */
        replica_heard(v->machine, xfer_paused(v->xfers) ? now : now - contact_quiet_ms(v));
    replica_tick(v->machine, now);
    driver_pump(v);
}

int driver_open(struct volume *v) {
    v->tick = evtimer_new(v->engine->evb, tick, v);
    v->since_wall_ns = clock_wall_ns();
    return v->tick == NULL ? -ENOMEM : 0;
}

void driver_close(struct volume *v) {
    if (v->tick != NULL)
        event_free(v->tick);
    v->tick = NULL;
    driver_apply_close(v);
}
