/*
 * xfer_out - files to the peer
 *
 * The files take turns, a part each, so a large one does not hold up the small ones behind it.
 * `bandwidth` holds back what the peer fetches; a delivery that somebody waits for passes it.
 * What is being delivered is read in the loop thread: it was written a moment ago. What is fetched
 * a worker has read (xfer_serve.c, xfer_ahead.c).
 *
 * Diagnostics: a file that the peer wants and that cannot be read, with its container.
 */
#include "xfer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <utlist.h>

#include "contact.h"
#include "link_peer.h"
#include "load.h"
#include "mem.h"
#include "reread.h"
#include "state.h"
#include "util/log.h"
#include "volume.h"
#include "wire/check.h"
#include "wire/pack.h"
#include "xfer_private.h"

void xfer_out_end(struct xfer_out *o) {
    atomic_store(&o->gone, true);
    if (o->reading)
        return;
    if (o->file != NULL)
        replica_payload_unref(o->file);
    else if (o->fd >= 0)
        close(o->fd);
    io_hasher_free(o->hash);
    free(o->data);
    free(o->part);
    free(o->symlink);
    free(o->want.name);
    free(o->want.info);
    free(o);
}

static void out_free(struct xfers *x, struct xfer_out *o) {
    DL_DELETE(x->out, o);
    x->n_served -= o->kind == MFP__BODY__KIND__FETCH;
    xfer_out_end(o);
}

ssize_t xfer_out_read(const struct xfer_out *o, uint8_t *buf) {
    uint64_t left = o->size - o->offset;
    size_t want = left < XFER_PART ? (size_t)left : XFER_PART;
    size_t have = 0;
    while (have < want) {
        ssize_t n = pread(o->fd, buf + have, want - have, (off_t)(o->offset + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

static void out_progress(struct xfers *x, const struct xfer_out *o) {
    if (o->file != NULL)
        replica_progress(x->v->machine, volume_now(), o->prep);
}

void xfer_out_hash(struct xfer_out *o, struct io_hasher *so_far) {
    struct stat sb;
    if (o->fd < 0 || fstat(o->fd, &sb) != 0 || !S_ISREG(sb.st_mode))
        return;
    o->mtime = sb.st_mtim;
    o->hash = so_far != NULL ? so_far : io_hasher_new();
    o->hashed = o->offset;
    /* One that is just being delivered has no checksum that counts. */
    o->has_sum = o->kind == MFP__BODY__KIND__FETCH && io_sum_get(o->fd, &o->sum) == 0;
}

/* Was it written to while it was read? */
static bool is_as_it_was(int fd, uint64_t size, const struct timespec *mtime) {
    struct stat sb;
    return fstat(fd, &sb) == 0 && (uint64_t)sb.st_size == size &&
           sb.st_mtim.tv_sec == mtime->tv_sec && sb.st_mtim.tv_nsec == mtime->tv_nsec;
}

int xfer_sum_settle(int fd, const struct io_sum *have, const uint8_t sha256[IO_HASH_BYTES],
                    uint64_t size, const struct timespec *mtime) {
    struct io_sum sum = {.from = IO_SUM_PASSED};
    if (have != NULL)
        return memcmp(sha256, have->sha256, IO_HASH_BYTES) == 0 ? 0 : -EUCLEAN;
    memcpy(sum.sha256, sha256, sizeof sum.sha256);
    if (is_as_it_was(fd, size, mtime))
        (void)io_sum_set(fd, &sum);
    return 0;
}

void xfer_tell_damaged(struct xfers *x, const struct mailfs_id *dir, const char *name) {
    char path[256];
    volume_error(x->v,
                 "%s: message %s does not fit its checksum, and is not sent: "
                 "mailfsctl verify --content tells more",
                 state_path(x->v->state, dir, path, sizeof path), name);
}

/* What is damaged here must not become the peer's: it does without. */
int xfer_out_hashed(struct xfer_out *o) {
    uint8_t sha256[IO_HASH_BYTES];
    int r = o->hash != NULL ? io_hasher_end(o->hash, sha256) : -ENOMEM;
    o->hash = NULL;
    if (r != 0)
        return 0;
    return xfer_sum_settle(o->fd, o->has_sum ? &o->sum : NULL, sha256, o->size, &o->mtime);
}

/* What is not there any more was removed meanwhile: that comes, too. Of a damaged one is told where
 * it was read. */
static void tell_unreadable(struct xfers *x, const struct xfer_out *o, int err) {
    char path[256];
    if (reread_failed(x->v->reread, &o->want, err, &o->sb))
        return; /* it says so */
    if (err != -ENOENT && err != -ESTALE && err != -EUCLEAN)
        volume_error(x->v, "%s: a file that the peer lacks cannot be read: %s",
                     state_path(x->v->state, &o->want.dir, path, sizeof path), log_strerror(err));
}

/* A processor packs faster than a long wire takes it, and slower than a short one. */
static bool out_packs(const struct xfers *x, const struct xfer_out *o) {
    enum conf_compress how = x->v->cv->peer->compress;
    if (!x->peer_unpacks || o->dense || how == CONF_COMPRESS_OFF)
        return false;
    return how == CONF_COMPRESS_ON || peer_is_far(x->v->peer);
}

static void out_pack(const struct xfers *x, struct xfer_out *o, Mfp__Body *body) {
    static uint8_t packed[XFER_PART];
    size_t n = body->data.len, to;
    if (n == 0 || !out_packs(x, o))
        return;
    to = wire_pack(body->data.data, n, packed);
    o->dense = to == 0 && n == XFER_PART;
    if (to == 0)
        return;
    body->packed = (uint32_t)n;
    body->data = (ProtobufCBinaryData){to, packed};
}

/* The next part, which is in *part: read into it, or somewhere else already. */
static ssize_t out_take(const struct xfer_out *o, uint8_t **part) {
    if (o->err != 0)
        return 0;
    if (o->data == NULL && !xfer_is_read_ahead(o))
        return o->fd >= 0 ? xfer_out_read(o, *part) : 0;
    *part = o->data != NULL ? o->data : o->part;
    return o->data != NULL ? (ssize_t)o->size : o->part_len;
}

/* Of a delivery; once, also if it is sent again. */
static void out_hash(struct xfer_out *o, const uint8_t *buf, size_t n) {
    if (o->hash == NULL || o->offset < o->hashed || xfer_is_read_ahead(o))
        return;
    io_hasher_add(o->hash, buf, n);
    o->hashed = o->offset + n;
    if (o->hashed >= o->size)
        o->err = xfer_out_hashed(o);
}

static void out_fill(struct xfer_out *o, Mfp__Body *body, uint8_t *buf) {
    ssize_t n = out_take(o, &buf);
    if (n >= 0)
        out_hash(o, buf, (size_t)n);
    body->kind = o->kind;
    body->id = o->id;
    body->offset = o->offset;
    body->err = o->err != 0 ? -o->err : n < 0 ? (int)-n : 0;
    body->data = (ProtobufCBinaryData){n > 0 && body->err == 0 ? (size_t)n : 0, buf};
    body->end = body->err != 0 || o->offset + body->data.len >= o->size;
    if (o->begun || o->kind != MFP__BODY__KIND__FETCH)
        return;
    body->meta = (Mfp__Meta *)(uintptr_t)&o->meta;
    if (o->symlink != NULL)
        body->symlink = o->symlink;
    body->delta = o->delta;
    if (o->delta)
        body->sha256 = (ProtobufCBinaryData){sizeof o->sha256, o->sha256};
}

/* Sends one part. 1: it was the last. */
static int out_part(struct xfers *x, struct xfer_out *o) {
    static uint8_t buf[XFER_PART];
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Body body = MFP__BODY__INIT;
    out_fill(o, &body, buf);
    if (o->kind == MFP__BODY__KIND__FETCH && body.err != 0)
        tell_unreadable(x, o, -body.err);
    size_t part = body.data.len;
    out_pack(x, o, &body);
    frame.m_case = MFP__FRAME__M_BODY;
    frame.body = &body;
    int r = peer_send_frame(x->v->peer, &frame, true);
    if (r != 0)
        return r;
    if (o->kind == MFP__BODY__KIND__FETCH) {
        pace_took(&x->pace, body.data.len);
        x->counts.served += body.end ? 1 : 0;
        x->counts.served_bytes += part;
    }
    o->begun = true;
    o->offset += part;
    out_progress(x, o);
    return body.end ? 1 : 0;
}

/* It has no part yet that could be sent. */
static bool out_is_read(const struct xfer_out *o) {
    return o->reading || (xfer_is_read_ahead(o) && o->err == 0 && !o->ready);
}

/* The next whose turn it is; NULL: there is none, or bandwidth, or a disk, has to be waited for. */
static struct xfer_out *out_next(struct xfers *x) {
    uint64_t wait = x->out != NULL ? pace_wait(&x->pace, volume_now()) : 0;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000),
                         .tv_usec = (suseconds_t)(wait % 1000) * 1000};
    struct xfer_out *o = x->out;
    while (o != NULL && ((wait > 0 && o->kind == MFP__BODY__KIND__FETCH) || out_is_read(o)))
        o = o->next;
    if (o == NULL && wait > 0)
        evtimer_add(x->paced, &tv);
    return o;
}

void xfer_writable(struct xfers *x) {
    struct xfer_out *o;
    while ((o = out_next(x)) != NULL) {
        int r = out_part(x, o);
        if (r < 0)
            return; /* full: called again; down: all is dropped soon */
        if (r == 1) {
            out_free(x, o);
            continue;
        }
        xfer_ahead(o);
        if (o->next != NULL) {
            DL_DELETE(x->out, o);
            DL_APPEND(x->out, o);
        }
    }
}

void xfer_paced(int fd, short what, void *arg) {
    xfer_writable(arg);
}

struct xfer_out *xfer_out_new(struct xfers *x, Mfp__Body__Kind kind, uint64_t id) {
    struct xfer_out *o = mem_new(sizeof *o);
    o->x = x;
    o->kind = kind;
    o->id = id;
    o->fd = -1;
    mfp__meta__init(&o->meta);
    DL_APPEND(x->out, o);
    return o;
}

void xfer_send_prepared(struct xfers *x, const struct replica_prep *prep,
                        struct replica_payload *file) {
    struct load *l = load_of(file);
    struct xfer_out *o = xfer_out_new(x, MFP__BODY__KIND__PREPARE, prep->seq);
    o->prep = *prep;
    o->file = replica_payload_ref(file);
    o->fd = l->fd;
    o->size = l->size;
    xfer_out_hash(o, NULL);
    xfer_writable(x);
}

void xfer_send_aborted(struct xfers *x, const struct replica_prep *prep) {
    struct xfer_out *o, *tmp;
    DL_FOREACH_SAFE(x->out, o, tmp) {
        if (o->file != NULL && o->prep.seq == prep->seq && o->prep.incarnation == prep->incarnation)
            out_free(x, o);
    }
}

void xfer_out_disconnected(struct xfers *x) {
    while (x->out != NULL)
        out_free(x, x->out);
    x->n_served = 0; /* what is still being opened is of the epoch that is over */
}
