/*
 * xfer_in - contents from the peer into the stage
 *
 * What has arrived of a content while its last piece was being written goes to a worker in one job;
 * a small message is one job from file to fsync. What is fetched is not synced here, and what has
 * come of it while BATCHES_MAX jobs were under way is one job: a wake-up for ten messages or so.
 *
 * A content is reported as durable exactly once, or as failed; one that was whole when the
 * connection ended is completed all the same, since the origin may be dead. One that is prepared
 * once more under the same number, after it was aborted, waits for that: the two have one name in
 * the stage, and the end of the one says nothing of the other.
 *
 * Diagnostics: a disk error is logged by the stage, and refused to the peer.
 */
#include "xfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "contact.h"
#include "driver.h"
#include "driver_journal.h"
#include "mem.h"
#include "volume.h"
#include "wire/check.h"
#include "wire/pack.h"
#include "xfer_private.h"

#define BATCHES_MAX 1

static void in_submit(struct xfer_in *in);

static void chunks_free(struct xfers *x, struct xfer_chunk **chunks) {
    struct xfer_chunk *c, *tmp;
    DL_FOREACH_SAFE(*chunks, c, tmp) {
        DL_DELETE(*chunks, c);
        x->in_bytes -= c->len;
        free(c->data);
        free(c);
    }
    if (x->paused && x->in_bytes < XFER_IN_MAX / 2) {
        x->paused = false;
        contact_read(x->v, true);
    }
}

static void in_free(struct xfer_in *in) {
    struct xfers *x = in->x;
    DL_DELETE(x->in, in);
    chunks_free(x, &in->chunks);
    chunks_free(x, &in->work);
    if (in->keep && in->err == 0)
        stage_keep_part(in->file);
    else
        stage_abandon(in->file);
    if (in->older >= 0)
        close(in->older);
    if (in->scratch >= 0)
        close(in->scratch);
    if (in->meta != NULL)
        mfp__meta__free_unpacked(in->meta, NULL);
    free(in->symlink);
    free(in->name);
    free(in);
}

static struct xfer_in *in_find(const struct xfers *x, Mfp__Body__Kind kind, uint64_t id) {
    struct xfer_in *in, *found = NULL;
    DL_FOREACH(x->in, in) {
        if (in->kind == kind && in->id == id && !in->dead)
            found = in; /* the newest: numbers come again when mailfs does */
    }
    return found;
}

/* Of another that is prepared under this one's number: the next that waits for it, or (before) the
 * first that it waits for. */
static struct xfer_in *in_same(const struct xfer_in *in, bool before) {
    struct xfer_in *other;
    bool passed = false;
    if (in->kind != MFP__BODY__KIND__PREPARE)
        return NULL;
    DL_FOREACH(in->x->in, other) {
        passed = passed || other == in;
        if (other != in && passed != before && other->kind == in->kind &&
            other->prep.seq == in->prep.seq && other->prep.incarnation == in->prep.incarnation)
            return other;
    }
    return NULL;
}

static Mfp__Meta *meta_copy(const Mfp__Meta *from) {
    if (from == NULL)
        return NULL;
    Mfp__Meta *m = mem_copy(from, sizeof *from);
    m->base.n_unknown_fields = 0;
    m->base.unknown_fields = NULL;
    return m;
}

/* ---- the worker -------------------------------------------------------------------- */

static int in_begin(struct xfer_in *in) {
    struct state *st = in->x->v->state;
    struct stage_prep prep = {in->prep.incarnation, in->prep.seq};
    if (in->kind == MFP__BODY__KIND__PREPARE)
        return stage_begin_prep(st, &prep, &in->dir, in->name, in->meta, &in->file);
    int r = in->resumes ? stage_resume_as(in->file, in->meta) : -ENOENT;
    if (r == 0)
        return 0;
    stage_abandon(in->file); /* the peer sends all of it */
    if (in->resumes)
        return r;
    in->file = NULL;
    if (in->delta) {
        in->scratch = stage_scratch(st);
        return in->scratch < 0 ? in->scratch : 0;
    }
    return stage_begin_fetch(st, &in->dir, in->sub, in->name, in->meta, in->symlink, &in->file);
}

static void in_run(void *arg) {
    struct xfer_in *in = arg;
    struct xfer_chunk *c;
    if (in->err == 0 && !in->begun) {
        in->err = in_begin(in);
        in->begun = in->err == 0;
        if (in->err != 0)
            in->file = NULL;
    }
    DL_FOREACH(in->work, c) {
        if (in->err == 0)
            in->err = in->delta ? xfer_delta_write(in, c)
                                : stage_write(in->file, c->offset, c->data, c->len);
    }
    if (in->work_end && in->err == 0 && in->delta)
        in->err = xfer_delta_end(in);
    if (in->work_end && in->err == 0) {
        in->err = stage_commit(in->file, in->how);
        in->file = NULL;
    } else if (in->err != 0) {
        stage_abandon(in->file);
        in->file = NULL;
    }
}

/* With what has come, if it is its turn. */
static void in_go_on(struct xfer_in *in) {
    if (!in->working && (in->chunks != NULL || in->end) && in_same(in, true) == NULL)
        in_submit(in);
}

static void in_finish(struct xfer_in *in) {
    struct volume *v = in->x->v;
    struct replica_prep prep = in->prep;
    int err = in->dead && !in->work_end ? -ENOTCONN : in->err;
    struct fetch *fetch = in->fetch;
    bool prepare = in->kind == MFP__BODY__KIND__PREPARE, drop = in->drop, delta = in->delta;
    struct xfer_in *next = in_same(in, false);
    bool late = in->dead && (in->keep || (!prepare && in->work_end && in->err == 0));
    if (late && !prepare)
        stage_came_late(v->state, &in->dir, in->sub, in->name);
    in_free(in);
    if (late)
        driver_drop_late(v);
    if (drop)
        driver_drop_prep(v, prep);
    if (next != NULL) {
        in_go_on(next);
    } else if (prepare) {
        replica_content_durable(v->machine, volume_now(), prep, err);
        journaler_wake(v->journaler);
    } else if (fetch != NULL && delta && err != 0) {
        xfer_fetch_whole(v->xfers, fetch);
    } else if (fetch != NULL) {
        xfer_fetch_done(v->xfers, fetch, err);
    }
    driver_pump(v);
}

/* What came before the connection ended is written still, to go on from there. */
static bool in_writes_on(const struct xfer_in *in) {
    return in->keep && in->chunks != NULL && in->err == 0;
}

static void in_done(void *arg) {
    struct xfer_in *in = arg;
    in->working = false;
    if (in->kind == MFP__BODY__KIND__FETCH)
        in->x->fetch_progress++;
    chunks_free(in->x, &in->work);
    if (in->work_end || (in->dead && !in_writes_on(in)))
        in_finish(in);
    else if (in->chunks != NULL || in->end)
        in_submit(in);
}

/* ---- what is fetched, several at a time -------------------------------------------- */

struct batch {
    struct xfers *x;
    struct xfer_in *first;
};

static void batch_run(void *arg) {
    const struct batch *b = arg;
    struct xfer_in *in;
    for (in = b->first; in != NULL; in = in->next_in_batch)
        in_run(in);
}

static void batch_submit(struct xfers *x);

static void batch_done(void *arg) {
    struct batch *b = arg;
    struct xfer_in *in, *next;
    b->x->batches--;
    for (in = b->first; in != NULL; in = next) {
        next = in->next_in_batch;
        in_done(in);
    }
    batch_submit(b->x);
    free(b);
}

static void batch_submit(struct xfers *x) {
    if (x->to_write == NULL || x->batches == BATCHES_MAX)
        return;
    struct batch *b = mem_new(sizeof *b);
    b->x = x;
    b->first = x->to_write;
    x->to_write = NULL;
    x->batches++;
    if (workq_submit(x->v->engine->io, WORKQ_NO_LANE, batch_run, batch_done, b) != 0)
        mem_out("work queue");
}

static void batch_add(struct xfers *x, struct xfer_in *in) {
    in->next_in_batch = NULL;
    if (x->to_write == NULL)
        x->to_write_end = &x->to_write;
    *x->to_write_end = in;
    x->to_write_end = &in->next_in_batch;
    batch_submit(x);
}

uint64_t xfer_prep_lane(const struct replica_prep *prep) {
    uint64_t lane = prep->incarnation ^ prep->seq;
    return lane == WORKQ_NO_LANE ? 0 : lane;
}

static uint64_t in_lane(const struct xfer_in *in) {
    return in->kind == MFP__BODY__KIND__PREPARE ? xfer_prep_lane(&in->prep) : WORKQ_NO_LANE;
}

static void in_submit(struct xfer_in *in) {
    in->working = true;
    in->work = in->chunks;
    in->work_end = in->end;
    in->chunks = NULL;
    if (in->err == 0)
        in->err = in->peer_err;
    if (in->kind == MFP__BODY__KIND__FETCH && !in->delta)
        batch_add(in->x, in);
    else if (workq_submit(in->x->v->engine->io, in_lane(in), in_run, in_done, in) != 0)
        mem_out("work queue");
}

/* ---- from the peer ----------------------------------------------------------------- */

static struct xfer_in *in_new(struct xfers *x, Mfp__Body__Kind kind, uint64_t id) {
    struct xfer_in *in = mem_new(sizeof *in);
    in->x = x;
    in->kind = kind;
    in->id = id;
    in->older = in->scratch = -1;
    if (kind == MFP__BODY__KIND__FETCH)
        in->how = STAGE_LATER;
    else
        in->how = x->v->cv->commit == CONF_COMMIT_DISK ? STAGE_DURABLE : STAGE_LOOSE;
    DL_APPEND(x->in, in);
    return in;
}

static void in_kill(struct xfer_in *in) {
    in->dead = true;
    in->fetch = NULL;
    if (in->working)
        return;
    if (in_writes_on(in) && in_same(in, true) == NULL)
        in_submit(in);
    else
        in_finish(in);
}

void xfer_receive_prepare(struct xfers *x, const Mfp__Prepare *prepare) {
    struct xfer_in *old = in_find(x, MFP__BODY__KIND__PREPARE, prepare->id->seq);
    if (old != NULL && !old->end)
        in_kill(old); /* of a mailfs that is no more */
    struct xfer_in *in = in_new(x, MFP__BODY__KIND__PREPARE, prepare->id->seq);
    in->prep = (struct replica_prep){prepare->id->incarnation, prepare->id->seq};
    in->name = mem_strdup(prepare->tmp_name);
    in->meta = meta_copy(prepare->meta);
    wire_id(&prepare->dir, &in->dir);
}

/* What is here of it goes over to what comes. */
static void in_take_here(struct xfer_in *in, struct fetch *f, const Mfp__Body *body) {
    in->file = f->part;
    f->part = NULL;
    in->resumes = in->file != NULL && body->offset == f->have && !body->delta;
    in->received = in->resumes ? f->have : 0;
    in->delta = body->delta;
    if (!in->delta)
        return;
    in->older = f->older;
    f->older = -1;
    memcpy(in->sha256, body->sha256.data, sizeof in->sha256);
}

static struct xfer_in *in_of_fetch(struct xfers *x, const Mfp__Body *body) {
    struct fetch *f = xfer_fetch_find(x, body->id);
    if (f == NULL)
        return NULL;
    struct xfer_in *in = in_new(x, MFP__BODY__KIND__FETCH, body->id);
    in->fetch = f;
    in->dir = f->want.dir;
    in->sub = f->want.sub;
    in->name = mem_strdup(f->want.name);
    in->meta = meta_copy(body->meta);
    if (body->symlink[0] != '\0')
        in->symlink = mem_strdup(body->symlink);
    in_take_here(in, f, body);
    return in;
}

/* One that nobody asked for. */
static bool bad_delta(struct xfers *x, const Mfp__Body *body) {
    const struct fetch *f = body->delta ? xfer_fetch_find(x, body->id) : NULL;
    return f != NULL && f->older < 0;
}

static void in_append(struct xfer_in *in, Mfp__Body *body) {
    if (body->data.len == 0)
        return;
    struct xfers *x = in->x;
    struct xfer_chunk *c = mem_new(sizeof *c);
    c->offset = body->offset;
    c->len = body->data.len;
    c->data = body->data.data;
    body->data = (ProtobufCBinaryData){0, NULL};
    x->in_bytes += c->len;
    in->received += c->len;
    DL_APPEND(in->chunks, c);
    if (!x->paused && x->in_bytes > XFER_IN_MAX) {
        x->paused = true;
        contact_read(x->v, false);
    }
}

static int unpack(struct xfers *x, Mfp__Body *body) {
    uint8_t *data;
    int r = x->v->cv->peer->compress == CONF_COMPRESS_OFF
                ? -EPROTO /* it was told so */
                : wire_unpack(body->data.data, body->data.len, body->packed, &data);
    if (r != 0)
        return r;
    free(body->data.data);
    body->data = (ProtobufCBinaryData){body->packed, data};
    body->packed = 0;
    return 0;
}

int xfer_receive_body(struct xfers *x, Mfp__Body *body) {
    int r = body->packed != 0 ? unpack(x, body) : 0;
    if (r != 0)
        return r;
    struct xfer_in *in = in_find(x, body->kind, body->id);
    if (in == NULL && bad_delta(x, body))
        return -EPROTO;
    if (in == NULL && body->kind == MFP__BODY__KIND__FETCH)
        in = in_of_fetch(x, body);
    if (in == NULL || in->end)
        return 0; /* aborted meanwhile */
    if (body->err != 0)
        in->peer_err = body->err > 0 && body->err < 4096 ? -body->err : -EIO;
    in_append(in, body);
    in->end = body->end || body->err != 0;
    in_go_on(in);
    return 0;
}

bool xfer_paused(const struct xfers *x) {
    return x->paused;
}

bool xfer_receiving(const struct xfers *x, const struct replica_prep *prep) {
    const struct xfer_in *in = in_find(x, MFP__BODY__KIND__PREPARE, prep->seq);
    return in != NULL && in->prep.incarnation == prep->incarnation;
}

bool xfer_cancel(struct xfers *x, const struct replica_prep *prep) {
    struct xfer_in *in = in_find(x, MFP__BODY__KIND__PREPARE, prep->seq);
    if (in == NULL || in->prep.incarnation != prep->incarnation)
        return false;
    if (in->end)
        in->drop = true;
    else
        in_kill(in);
    return true;
}

/* One that ends with the connection: what is fetched, and what is not here in whole. */
static struct xfer_in *in_lost(struct xfers *x) {
    struct xfer_in *in;
    DL_FOREACH(x->in, in) {
        if (!in->dead && (in->kind == MFP__BODY__KIND__FETCH || !in->end))
            return in;
    }
    return NULL;
}

void xfer_in_disconnected(struct xfers *x) {
    struct xfer_in *in;
    while ((in = in_lost(x)) != NULL) { /* from the start each time: one may end others */
        in->keep = !in->delta && in->received >= STAGE_PART_MIN;
        in_kill(in);
    }
    x->paused = false;
}
