/*
 * xfer_fetch - contents asked of the peer
 *
 * At most XFER_FETCHES_MAX are asked for at a time. Groups (mailboxes) take turns, so that one that
 * somebody waits for does not come after all of a large one.
 *
 * Diagnostics: none; the group's owner gets the first error.
 */
#include "xfer.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>
#include <utlist.h>

#include "contact.h"
#include "driver.h"
#include "link_peer.h"
#include "mem.h"
#include "timer.h"
#include "volume.h"
#include "wire/check.h"
#include "xfer_private.h"

struct xfers *xfers_new(struct volume *v) {
    struct xfers *x = mem_new(sizeof *x);
    x->v = v;
    x->next_id = 1;
    pace_init(&x->pace, v->cv->peer != NULL ? v->cv->peer->bandwidth : 0);
    x->paced = timer_new(v->engine->evb, xfer_paced, x);
    return x;
}

void xfer_peer_is(struct xfers *x, bool unpacks, uint64_t bandwidth) {
    x->peer_unpacks = unpacks;
    x->peer_bandwidth = bandwidth;
}

uint64_t xfer_fetch_progress(const struct xfers *x) {
    return x->fetch_progress;
}

void xfers_free(struct xfers *x) {
    if (x == NULL)
        return;
    event_free(x->paced);
    free(x);
}

static void group_part_done(struct fetch_group *g, int err) {
    if (g->err == 0)
        g->err = err;
    if (--g->left > 0)
        return;
    g->fn(g->arg, g->err);
    free(g);
}

static void fetch_free(struct fetch *f) {
    struct fetch_group *g = f->group;
    int err = f->err;
    fetch_forget_here(f);
    free(f->want.name);
    free(f->want.info);
    free(f);
    group_part_done(g, err);
}

static void fetch_ask(struct xfers *x, struct fetch *f) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Fetch fetch = MFP__FETCH__INIT;
    f->id = x->next_id++;
    fetch.xfer = f->id;
    fetch.dir = wire_bytes_of(&f->want.dir);
    fetch.sub = (Mfp__Sub)f->want.sub;
    fetch.name = f->want.name;
    fetch.by_base = f->want.by_base;
    if (f->want.info != NULL)
        fetch.info = f->want.info;
    fetch.have = f->have;
    if (f->have > 0)
        fetch.have_sha256 = (ProtobufCBinaryData){sizeof f->have_sha256, f->have_sha256};
    fetch.signature = (ProtobufCBinaryData){f->sig_len, f->sig};
    frame.m_case = MFP__FRAME__M_FETCH;
    frame.fetch = &fetch;
    peer_send_frame(x->v->peer, &frame, false); /* fails only when the connection is ending */
}

static void fetch_looked(void *arg) {
    struct fetch *f = arg;
    struct volume *v = f->group->x->v;
    f->looking = false;
    if (!f->lost) {
        fetch_ask(v->xfers, f);
        return;
    }
    f->err = -ENOTCONN;
    fetch_free(f);
    driver_pump(v);
}

static void fetch_begin(struct xfers *x, struct fetch *f) {
    f->looking = fetch_may_be_here(f);
    if (!f->looking)
        fetch_ask(x, f);
    else if (workq_submit(x->v->engine->io, XFER_LANE_READ, fetch_look_run, fetch_looked, f) != 0)
        mem_out("work queue");
}

/* What a client waits for comes behind what has been asked for, and after a while the client is
 * served without it: so that is a quarter of a second of the peer's bandwidth, if there is a limit.
 */
static uint64_t may_ask(const struct xfers *x) {
    uint64_t most = x->peer_bandwidth > 0 ? x->peer_bandwidth / 4 : XFER_ASKED_MAX;
    return most < XFER_ASKED_MAX ? most : XFER_ASKED_MAX;
}

/* The peer sends a part of each in turn: so much of it is in front of what is asked for next. */
static uint64_t in_front(const struct fetch *f) {
    return f->want.size < XFER_PART ? f->want.size : XFER_PART;
}

static void fetch_more(struct xfers *x) {
    while (x->groups != NULL && x->n_asked < XFER_FETCHES_MAX &&
           (x->n_asked == 0 || x->asked_bytes < may_ask(x))) {
        struct fetch_group *g = x->groups;
        struct fetch *f = g->queued;
        DL_DELETE(g->queued, f);
        DL_DELETE(x->groups, g);
        if (g->queued != NULL)
            DL_APPEND(x->groups, g);
        DL_APPEND(x->asked, f);
        x->n_asked++;
        x->asked_bytes += in_front(f);
        fetch_begin(x, f);
    }
}

void xfer_fetch_whole(struct xfers *x, struct fetch *f) {
    fetch_forget_here(f);
    f->whole = true;
    fetch_ask(x, f);
}

static void gone_run(void *arg) {
    struct fetch *f = arg;
    f->err = content_gone(f->group->x->v->state, &f->want);
}

static void gone_done(void *arg) {
    struct fetch *f = arg;
    struct volume *v = f->group->x->v;
    fetch_free(f);
    driver_pump(v);
}

void xfer_fetch_done(struct xfers *x, struct fetch *f, int err) {
    DL_DELETE(x->asked, f);
    x->n_asked--;
    x->asked_bytes -= in_front(f);
    f->err = err;
    x->counts.fetched++;
    x->counts.fetched_bytes += f->want.size;
    if (err == -ENOENT)
        jobs_run(x->v->jobs, &f->want.dir, gone_run, gone_done, f);
    else
        fetch_free(f);
    fetch_more(x);
}

struct fetch *xfer_fetch_find(struct xfers *x, uint64_t id) {
    struct fetch *f;
    DL_FOREACH(x->asked, f) {
        if (f->id == id && id != 0)
            return f;
    }
    return NULL;
}

static void nothing_to_do(void *arg) {
    struct fetch_group *g = arg;
    struct volume *v = g->x->v;
    g->left = 1;
    group_part_done(g, 0);
    driver_pump(v);
}

static void fetch_add(struct xfers *x, struct fetch_group *g, struct content_want *want) {
    struct fetch *f = mem_new(sizeof *f);
    f->group = g;
    f->older = -1;
    f->want = *want;
    want->name = want->info = NULL;
    x->counts.wanted++;
    x->counts.wanted_bytes += f->want.size;
    DL_APPEND(g->queued, f);
}

void xfer_fetch(struct xfers *x, struct content_wants *wants, xfer_fetched_fn *fn, void *arg) {
    struct fetch_group *g = mem_new(sizeof *g);
    *g = (struct fetch_group){.x = x, .left = wants->n, .fn = fn, .arg = arg};
    if (!contact_is_up(x->v) && wants->n > 0)
        g->err = -ENOTCONN;
    if (wants->n == 0 || g->err != 0) {
        content_wants_free(wants);
        jobs_run(x->v->jobs, &mailfs_id_root, NULL, nothing_to_do, g);
        return;
    }
    for (size_t i = 0; i < wants->n; i++)
        fetch_add(x, g, &wants->v[i]);
    content_wants_free(wants);
    x->counts.groups++;
    DL_APPEND(x->groups, g);
    fetch_more(x);
}

static void fail_all(struct fetch *list) {
    while (list != NULL) {
        struct fetch *f = list;
        DL_DELETE(list, f);
        f->err = -ENOTCONN;
        f->lost = true;
        if (!f->looking) /* else the worker has it */
            fetch_free(f);
    }
}

void xfer_fetch_disconnected(struct xfers *x) {
    struct fetch *list = x->asked;
    struct fetch_group *g;
    x->asked = NULL; /* the owners may ask again at once */
    x->n_asked = 0;
    x->asked_bytes = 0;
    while ((g = x->groups) != NULL) {
        DL_DELETE(x->groups, g);
        DL_CONCAT(list, g->queued);
        g->queued = NULL;
    }
    fail_all(list);
}

void xfer_counts(const struct xfers *x, struct xfer_counts *out) {
    *out = x->counts;
}

void xfer_disconnected(struct xfers *x) {
    x->epoch++;
    x->counts = (struct xfer_counts){0};
    xfer_out_disconnected(x);
    xfer_in_disconnected(x);
    xfer_fetch_disconnected(x);
    stage_link_ended(x->v->state);
}
