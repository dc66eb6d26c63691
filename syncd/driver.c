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
#include "driver_raise.h"
#include "front.h"
#include "link_peer.h"
#include "load.h"
#include "mem.h"
#include "merge_run.h"
#include "oneway.h"
#include "oneway_lock.h"
#include "touched.h"
#include "txn.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"
#include "xfer.h"

#define COMPARE_TREES_MS 3000
#define ACKED_HERE       16 /* operations */
#define TICK_MAX_MS      3600000

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
        driver_drop_prep(v, a->prep);
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
        driver_publish_prep(v, a->prep);
        break;
    case RACT_UNPREPARE:
        act_unprepare(v, a);
        break;
    case RACT_RAISE:
        driver_raise(v, a);
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
