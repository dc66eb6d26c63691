/*
 * xfer_serve - contents that the peer asks for
 *
 * They are opened in their container's lane, all those of one that came while it was busy together,
 * and what is short is read and hashed there as well: the loop thread has enough to do. If the peer
 * has something of one, another worker reads as much of it before anything is sent: is it the
 * beginning of what is here, or what is the difference? If neither can be said, all of it goes.
 *
 * Diagnostics: none; what cannot be read is told by xfer_out.c.
 */
#include "xfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utlist.h>

#include "delta.h"
#include "mem.h"
#include "store.h"
#include "volume.h"
#include "wire/check.h"
#include "xfer_private.h"

/* Read in whole by the worker; XFER_SERVED_MAX of them may be in memory. */
#define SERVE_SHORT XFER_PART

struct serve {
    struct serve *next, *prev;
    struct xfers *x;
    uint64_t epoch, id;
    struct content_want want;
    int err, fd;
    struct stat sb;
    char *link;
    uint8_t *data; /* of a short one; then fd is -1 */
    bool damaged;
    /* what the peer has */
    uint64_t have;
    uint8_t have_sha256[IO_HASH_BYTES];
    uint8_t *sig;
    size_t sig_len;
    /* what that is good for */
    uint64_t from;          /* begin there, */
    struct io_hasher *hash; /* with this of what is before */
    int delta;              /* or send this file; -1 */
    uint64_t delta_size;
    uint8_t sha256[IO_HASH_BYTES];
};

/* A container in which something is being opened. */
struct serve_dir {
    struct serve_dir *next, *prev;
    struct xfers *x;
    struct mailfs_id dir;
    struct serve *now;   /* the worker's */
    struct serve *later; /* came meanwhile */
};

static bool is_message(const struct serve *s) {
    return s->want.sub != MFP__SUB__SELF;
}

/* ---- the worker -------------------------------------------------------------------- */

/* 0; -errno; 1: it has become shorter. */
static int read_all(int fd, uint8_t *to, size_t n) {
    size_t have = 0;
    while (have < n) {
        ssize_t r = pread(fd, to + have, n - have, (off_t)have);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : 1;
        have += (size_t)r;
    }
    return 0;
}

/* One that has become shorter xfer_out.c finds, as of a long one. What cannot be read is not tried
 * there once more: a bad disk takes long to say so, and the loop thread would wait. */
static void short_read(struct serve *s) {
    uint8_t sha256[IO_HASH_BYTES];
    struct io_sum sum;
    size_t size = (size_t)s->sb.st_size;
    if (s->err != 0 || s->fd < 0 || s->have > 0 || s->sig_len > 0 || size > SERVE_SHORT)
        return;
    s->data = mem_new(size + 1);
    int r = read_all(s->fd, s->data, size);
    s->err = r < 0 ? r : 0;
    if (r != 0) {
        free(s->data);
        s->data = NULL;
        return;
    }
    if (is_message(s) && io_hash(s->data, size, sha256) == 0) {
        bool has_sum = io_sum_get(s->fd, &sum) == 0;
        s->err = xfer_sum_settle(s->fd, has_sum ? &sum : NULL, sha256, size, &s->sb.st_mtim);
        s->damaged = s->err != 0;
    }
    close(s->fd);
    s->fd = -1;
}

static void serve_run(void *arg) {
    struct serve_dir *sd = arg;
    struct state *st = sd->x->v->state;
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    int r = store_dir_open(st, &sd->dir, &d);
    struct serve *s;
    DL_FOREACH(sd->now, s) {
        s->err = r < 0 ? r : content_open_in(st, &d, &s->want, &s->fd, &s->sb, &s->link);
        short_read(s);
    }
    store_dir_close(&d);
}

/* ---- what the peer has ------------------------------------------------------------- */

static bool hash_first(int fd, uint64_t size, struct io_hasher *h) {
    size_t most = 256u << 10;
    uint8_t *buf = mem_new(most);
    uint64_t at = 0;
    while (at < size) {
        ssize_t n = pread(fd, buf, size - at < most ? (size_t)(size - at) : most, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        io_hasher_add(h, buf, (size_t)n);
        at += (uint64_t)n;
    }
    free(buf);
    return at == size;
}

static void resume_run(struct serve *s) {
    uint8_t sha256[IO_HASH_BYTES];
    if (s->have > (uint64_t)s->sb.st_size)
        return;
    s->hash = io_hasher_new();
    if (hash_first(s->fd, s->have, s->hash) && io_hasher_so_far(s->hash, sha256) == 0 &&
        memcmp(sha256, s->have_sha256, sizeof sha256) == 0) {
        s->from = s->have;
        return;
    }
    io_hasher_free(s->hash);
    s->hash = NULL;
}

/* The difference, if it is shorter by a quarter at least. */
static void delta_run(struct serve *s) {
    uint64_t size = (uint64_t)s->sb.st_size;
    if (size < DELTA_FILE_MIN)
        return;
    s->delta = stage_scratch(s->x->v->state);
    if (s->delta < 0)
        return;
    if (delta_make(s->sig, s->sig_len, s->fd, s->delta, size / 4 * 3, &s->delta_size, s->sha256) ==
        0)
        return;
    close(s->delta);
    s->delta = -1;
}

static void compare_run(void *arg) {
    struct serve *s = arg;
    if (s->have > 0)
        resume_run(s);
    else
        delta_run(s);
}

static bool peer_has_something(const struct serve *s) {
    return s->err == 0 && s->fd >= 0 && (s->have > 0 || (s->sig_len > 0 && !is_message(s)));
}

/* ---- sending ----------------------------------------------------------------------- */

static void serve_meta(Mfp__Meta *m, const struct stat *sb) {
    m->mode = sb->st_mode;
    m->uid = sb->st_uid;
    m->gid = sb->st_gid;
    m->mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    m->size = (uint64_t)sb->st_size;
}

static void send_delta(struct serve *s, struct xfer_out *o) {
    close(o->fd);
    o->fd = s->delta;
    s->delta = -1;
    o->size = s->delta_size;
    o->delta = true;
    memcpy(o->sha256, s->sha256, sizeof o->sha256);
}

/* What s has goes over to what is sent. */
static void send_content(struct serve *s, struct xfer_out *o) {
    o->fd = s->fd;
    s->fd = -1;
    o->data = s->data;
    s->data = NULL;
    o->symlink = s->link;
    s->link = NULL;
    o->size = o->fd >= 0 || o->data != NULL ? (uint64_t)s->sb.st_size : 0;
    o->offset = s->from;
    serve_meta(&o->meta, &s->sb);
    if (s->delta >= 0) {
        send_delta(s, o);
    } else if (is_message(s)) {
        xfer_out_hash(o, s->hash);
        s->hash = NULL;
        o->mtime = s->sb.st_mtim; /* some has been read since then */
    }
}

static void serve_send(struct serve *s) {
    struct xfer_out *o = xfer_out_new(s->x, MFP__BODY__KIND__FETCH, s->id);
    o->err = s->err;
    if (s->damaged)
        xfer_tell_damaged(s->x, &s->want.dir, s->want.name);
    if (s->err == 0)
        send_content(s, o);
    o->sb = s->sb;
    o->want = s->want;
    s->want.name = s->want.info = NULL;
    xfer_ahead(o);
    xfer_writable(s->x);
}

static void serve_free(struct serve *s) {
    if (s->fd >= 0)
        close(s->fd);
    if (s->delta >= 0)
        close(s->delta);
    io_hasher_free(s->hash);
    free(s->link);
    free(s->data);
    free(s->sig);
    free(s->want.name);
    free(s->want.info);
    free(s);
}

static void serve_done(void *arg) {
    struct serve *s = arg;
    if (s->epoch == s->x->epoch)
        serve_send(s);
    serve_free(s);
}

static void opened(struct serve *s) {
    if (s->epoch != s->x->epoch || !peer_has_something(s))
        serve_done(s);
    else if (workq_submit(s->x->v->engine->io, XFER_LANE_READ, compare_run, serve_done, s) != 0)
        mem_out("work queue");
}

/* ---- from the peer ----------------------------------------------------------------- */

static void dir_done(void *arg);

static void dir_start(struct serve_dir *sd) {
    sd->now = sd->later;
    sd->later = NULL;
    jobs_run(sd->x->v->jobs, &sd->dir, serve_run, dir_done, sd);
}

static void dir_done(void *arg) {
    struct serve_dir *sd = arg;
    while (sd->now != NULL) {
        struct serve *s = sd->now;
        DL_DELETE(sd->now, s);
        opened(s);
    }
    if (sd->later != NULL) {
        dir_start(sd);
        return;
    }
    DL_DELETE(sd->x->serving, sd);
    free(sd);
}

/* It is opened with the others of its container. */
static void dir_add(struct xfers *x, struct serve *s) {
    struct serve_dir *sd;
    DL_FOREACH(x->serving, sd) {
        if (mailfs_id_equal(&sd->dir, &s->want.dir))
            break;
    }
    bool busy = sd != NULL;
    if (!busy) {
        sd = mem_new(sizeof *sd);
        sd->x = x;
        sd->dir = s->want.dir;
        DL_APPEND(x->serving, sd);
    }
    DL_APPEND(sd->later, s);
    if (!busy)
        dir_start(sd);
}

static void serve_want(struct content_want *w, const Mfp__Fetch *fetch) {
    wire_id(&fetch->dir, &w->dir);
    w->sub = (int)fetch->sub;
    w->by_base = fetch->by_base;
    w->name = mem_strdup(fetch->name);
    w->info = mem_strdup(fetch->info);
}

int xfer_receive_fetch(struct xfers *x, const Mfp__Fetch *fetch) {
    if (x->n_served >= XFER_SERVED_MAX)
        return -EPROTO;
    struct serve *s = mem_new(sizeof *s);
    x->n_served++;
    s->x = x;
    s->epoch = x->epoch;
    s->id = fetch->xfer;
    s->fd = s->delta = -1;
    serve_want(&s->want, fetch);
    s->have = fetch->have;
    if (s->have > 0)
        memcpy(s->have_sha256, fetch->have_sha256.data, sizeof s->have_sha256);
    s->sig_len = fetch->signature.len;
    if (s->sig_len > 0)
        s->sig = mem_copy(fetch->signature.data, s->sig_len);
    dir_add(x, s);
    return 0;
}
