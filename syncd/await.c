/*
 * await - acknowledgements that wait for standbys
 *
 * A wait is for one unlink of L: the links whose bits are set have not merged its mailbox since.
 * The first frozen listing that is begun after it has what it changed, so the end of that round
 * ends the wait there, whatever has come meanwhile: a busy mailbox would never be through.
 *
 * Diagnostics: a standby that does not answer, in its status and the log.
 */
#include "await.h"

#include <stdlib.h>

#include <event2/event.h>
#include <utlist.h>

#include "contact.h"
#include "driver.h"
#include "front.h"
#include "mem.h"
#include "oneway.h"
#include "timer.h"
#include "volume.h"
#include "xfer.h"

#define PUT_OFF_MAX 3

struct wait {
    uint64_t req;
    struct mailfs_id dir;
    uint64_t since;                 /* volume_now() */
    unsigned links;                 /* bits: they have not got it */
    uint32_t round[CONF_LINKS_MAX]; /* this one of the link's brings it; 0: none yet */
    unsigned put_off;               /* rounds that were to bring it */
    bool answered;                  /* by the volume's own machine: */
    int err;
    bool alone;
    struct wait *prev, *next;
};

/* What is known of a link. */
struct side {
    struct await *w;
    struct volume *link;
    struct event *overdue; /* while it is waited for */
    uint64_t progress, progress_at;
    bool stuck; /* a mailbox that somebody waits for cannot be merged, whatever others do */
};

struct await {
    struct volume *v;
    struct wait *waits; /* the oldest first */
    struct side sides[CONF_LINKS_MAX];
};

static struct side *side_of(const struct volume *link) {
    return link->main != NULL && link->main->await != NULL
               ? &link->main->await->sides[link->link_index]
               : NULL;
}

static bool waits_for(const struct wait *w, const struct side *s) {
    return (w->links & 1u << s->link->link_index) != 0;
}

/* ---- the end ------------------------------------------------------------------------- */

static void finish(struct await *a, struct wait *w) {
    if (w->links != 0 || !w->answered)
        return;
    DL_DELETE(a->waits, w);
    front_release(a->v->front, w->req, w->err, w->alone);
    free(w);
}

static void has_it(struct side *s, struct wait *w) {
    w->links &= ~(1u << s->link->link_index);
    finish(s->w, w);
}

static void give_up(struct side *s) {
    struct wait *w, *tmp;
    DL_FOREACH_SAFE(s->w->waits, w, tmp) {
        if (waits_for(w, s))
            has_it(s, w);
    }
}

void await_disconnected(struct volume *link) {
    struct side *s = side_of(link);
    if (s != NULL)
        give_up(s);
}

/* ---- a standby that does not answer ---------------------------------------------------- */

static const struct wait *oldest(const struct side *s) {
    const struct wait *w;
    DL_FOREACH(s->w->waits, w) {
        if (waits_for(w, s))
            return w;
    }
    return NULL;
}

static uint64_t progress_of(const struct volume *link) {
    struct xfer_counts n;
    xfer_counts(link->xfers, &n);
    return n.served_bytes + link->merged;
}

static void arm(struct side *s) {
    unsigned ms = s->link->cv->peer->timeout_ms / 4;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    if (!evtimer_pending(s->overdue, NULL))
        evtimer_add(s->overdue, &tv);
}

static void tell_waiting(const struct side *s) {
    const struct wait *w;
    DL_FOREACH(s->w->waits, w) {
        if (waits_for(w, s))
            front_working(s->w->v->front, w->req);
    }
}

static void look(evutil_socket_t fd, short what, void *arg) {
    struct side *s = arg;
    const struct wait *w = oldest(s);
    uint64_t now = volume_now(), timeout = s->link->cv->peer->timeout_ms, is;
    if (w == NULL) {
        s->stuck = false;
        return;
    }
    is = progress_of(s->link);
    if (is != s->progress) {
        s->progress = is;
        s->progress_at = now;
        tell_waiting(s);
    }
    if (!s->stuck && (now - w->since < timeout || now - s->progress_at < timeout)) {
        arm(s);
        return;
    }
    s->stuck = false;
    volume_error(s->link,
                 "standby %s: an acknowledgement is overdue: it is not waited for until it has "
                 "caught up",
                 s->link->cv->peer->name);
    contact_drop(s->link, "an acknowledgement is overdue", true);
    driver_pump(s->link);
}

/* ---- the beginning --------------------------------------------------------------------- */

static bool must_wait(const struct side *s) {
    return s->link != NULL && s->link->cv->peer->commit == CONF_COMMIT_DISK && s->link->follows &&
           contact_is_up(s->link) && !oneway_reconnects(s->link);
}

void await_unlock(struct volume *v, uint64_t req, const struct mailfs_id *dir) {
    struct await *a = v->await;
    unsigned links = 0;
    for (size_t i = 0; a != NULL && req != 0 && i < v->n_links; i++) {
        if (!must_wait(&a->sides[i]))
            continue;
        links |= 1u << i;
        if (oldest(&a->sides[i]) == NULL)
            a->sides[i].progress_at = volume_now();
        oneway_hurry(v->links[i]);
        arm(&a->sides[i]);
    }
    if (links == 0)
        return;
    struct wait *w = mem_new(sizeof *w);
    *w = (struct wait){.req = req, .dir = *dir, .since = volume_now(), .links = links};
    DL_APPEND(a->waits, w);
}

bool await_release(struct volume *v, uint64_t req, int err, bool alone) {
    struct wait *w = NULL;
    if (v->await != NULL)
        DL_SEARCH_SCALAR(v->await->waits, w, req, req);
    if (w == NULL)
        return false;
    w->answered = true;
    w->err = err;
    w->alone = alone;
    finish(v->await, w);
    return true;
}

/* Once is nothing: a freeze took too long, or all has to be compared. */
static void put_off(struct side *s, struct wait *w, uint32_t round) {
    struct timeval now = {0};
    if (w->round[s->link->link_index] == round)
        w->round[s->link->link_index] = 0;
    if (++w->put_off < PUT_OFF_MAX)
        return;
    s->stuck = true;
    evtimer_add(s->overdue, &now);
}

void await_action(struct volume *link, const struct replica_action *a) {
    struct side *s = side_of(link);
    struct wait *w, *tmp;
    if (s == NULL || s->w->waits == NULL)
        return;
    uint32_t round = a->round;
    size_t i = link->link_index;
    DL_FOREACH_SAFE(s->w->waits, w, tmp) {
        if (!waits_for(w, s) || !mailfs_id_equal(&w->dir, &a->dir))
            continue;
        if (a->kind == RACT_SCAN && a->frozen && w->round[i] == 0)
            w->round[i] = round;
        else if (a->kind == RACT_MERGE_PUT_OFF)
            put_off(s, w, round);
        else if (a->kind == RACT_MERGE_DONE && w->round[i] == round)
            has_it(s, w);
    }
}

/* ---- life -------------------------------------------------------------------------------- */

struct await *await_new(struct volume *v) {
    struct await *a = mem_new(sizeof *a);
    a->v = v;
    for (size_t i = 0; i < v->n_links; i++) {
        struct side *s = &a->sides[i];
        *s = (struct side){.w = a, .link = v->links[i]};
        s->overdue = timer_new(v->engine->evb, look, s);
    }
    return a;
}

void await_free(struct await *a) {
    struct wait *w, *tmp;
    if (a == NULL)
        return;
    DL_FOREACH_SAFE(a->waits, w, tmp) {
        DL_DELETE(a->waits, w);
        free(w);
    }
    for (size_t i = 0; i < CONF_LINKS_MAX; i++) {
        if (a->sides[i].overdue != NULL)
            event_free(a->sides[i].overdue);
    }
    free(a);
}
