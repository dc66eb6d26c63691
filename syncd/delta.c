/*
 * delta: the difference of two versions of a file, with librsync.
 *
 * librsync reads and writes through buffers of the caller's; run() moves them. What a peer sent is
 * checked before librsync sees it where librsync would take memory for it (a signature's head), and
 * bounded where it would write for ever (what a delta makes).
 *
 * Diagnostics: none; errors are returned.
 */
#include "delta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <librsync.h>

#include "io/io.h"
#include "util/bytes.h"
#include "wire/check.h"

#define CHUNK     (64u << 10)
#define SIG_HEAD  12 /* magic, length of a block, length of a strong sum */
#define STRONG    16
#define BLOCK_SUM (4 + STRONG)
#define BLOCKS    ((WIRE_SIGNATURE_MAX - SIG_HEAD) / BLOCK_SUM)
#define BLOCK_MIN 512u
#define BLOCK_MAX (1u << 20)

typedef ssize_t fill_fn(void *arg, uint64_t offset, void *p, size_t n);

/* What a job reads from and writes to. */
struct pipe {
    fill_fn *fill;
    void *from;
    uint64_t filled;
    delta_sink *sink;
    void *to;
    uint64_t sunk, max;
    char in[CHUNK], out[CHUNK];
};

static ssize_t fill_fd(void *arg, uint64_t offset, void *p, size_t n) {
    ssize_t got;

    do
        got = pread(*(const int *)arg, p, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static int refill(struct pipe *p, rs_buffers_t *b) {
    ssize_t n;

    if (b->eof_in || b->avail_in == sizeof(p->in))
        return 0;
    if (b->avail_in > 0 && b->next_in != p->in)
        memmove(p->in, b->next_in, b->avail_in);
    b->next_in = p->in;
    n = p->fill(p->from, p->filled, p->in + b->avail_in, sizeof(p->in) - b->avail_in);
    if (n < 0)
        return (int)n;
    p->filled += (uint64_t)n;
    b->avail_in += (size_t)n;
    b->eof_in = n == 0;
    return 0;
}

static int drain(struct pipe *p, size_t n) {
    int r;

    if (n > p->max - p->sunk)
        return -EFBIG;
    r = n > 0 ? p->sink(p->to, p->sunk, p->out, n) : 0;
    p->sunk += n;
    return r;
}

static int error_of(rs_result res) {
    return res == RS_MEM_ERROR ? -ENOMEM : res == RS_IO_ERROR ? -EIO : -EBADMSG;
}

static int step(rs_job_t *job, struct pipe *p, rs_buffers_t *b, bool *over) {
    size_t had;
    rs_result res;
    int r = refill(p, b);

    if (r < 0)
        return r;
    had = b->avail_in;
    b->next_out = p->out;
    b->avail_out = sizeof(p->out);
    res = rs_job_iter(job, b);
    *over = res == RS_DONE;
    if (res != RS_DONE && res != RS_BLOCKED)
        return error_of(res);
    if (!*over && b->eof_in && had == b->avail_in && b->avail_out == sizeof(p->out))
        return -EBADMSG; /* it waits for what does not come */
    return drain(p, sizeof(p->out) - b->avail_out);
}

/* Frees the job. */
static int run(rs_job_t *job, struct pipe *p) {
    rs_buffers_t b = {.next_in = p->in};
    bool over = false;
    int r = job ? 0 : -ENOMEM;

    while (r == 0 && !over)
        r = step(job, p, &b, &over);
    if (job)
        rs_job_free(job);
    return r;
}

static struct pipe *pipe_new(fill_fn *fill, void *from, delta_sink *sink, void *to, uint64_t max) {
    struct pipe *p = calloc(1, sizeof(*p));

    rs_trace_set_level(RS_LOG_EMERG); /* or it writes to stderr */
    if (p) {
        p->fill = fill;
        p->from = from;
        p->sink = sink;
        p->to = to;
        p->max = max;
    }
    return p;
}

/* ---- signatures -------------------------------------------------------------------- */

static int sink_memory(void *arg, uint64_t offset, const void *p, size_t n) {
    memcpy((uint8_t *)arg + offset, p, n);
    return 0;
}

/* About as many blocks as one has bytes, which makes signature and difference shortest. */
static uint64_t block_of(uint64_t size) {
    uint64_t block = BLOCK_MIN;

    while (block * block < size || size / block >= BLOCKS)
        block += block / 4;
    return block;
}

int delta_signature(int fd, uint64_t size, uint8_t **sig, size_t *n) {
    uint64_t block = size / BLOCK_MAX < BLOCKS ? block_of(size) : BLOCK_MAX + 1;
    struct pipe *p;
    int r;

    *sig = NULL;
    if (block > BLOCK_MAX)
        return -EFBIG;
    *sig = malloc(WIRE_SIGNATURE_MAX);
    p = *sig ? pipe_new(fill_fd, &fd, sink_memory, *sig, WIRE_SIGNATURE_MAX) : NULL;
    r = p ? run(rs_sig_begin((size_t)block, STRONG, RS_RK_BLAKE2_SIG_MAGIC), p) : -ENOMEM;
    if (r == 0) {
        *n = (size_t)p->sunk;
    } else {
        free(*sig);
        *sig = NULL;
    }
    free(p);
    return r;
}

/* What delta_signature() may have made, wherever that was. */
static bool is_signature(const uint8_t *sig, size_t n) {
    uint32_t block;

    if (n < SIG_HEAD || n > WIRE_SIGNATURE_MAX || (n - SIG_HEAD) % BLOCK_SUM != 0)
        return false;
    block = bytes_get_u32(sig + 4);
    return bytes_get_u32(sig) == RS_RK_BLAKE2_SIG_MAGIC && block >= BLOCK_MIN &&
           block <= BLOCK_MAX && bytes_get_u32(sig + 8) == STRONG;
}

struct memory {
    const uint8_t *p;
    size_t n;
};

static ssize_t fill_memory(void *arg, uint64_t offset, void *p, size_t n) {
    const struct memory *m = arg;
    size_t left = m->n - (size_t)offset;

    n = n < left ? n : left;
    memcpy(p, m->p + offset, n);
    return (ssize_t)n;
}

static int no_sink(void *arg, uint64_t offset, const void *p, size_t n) {
    return -EBADMSG;
}

static int signature_load(const uint8_t *sig, size_t n, rs_signature_t **out) {
    struct memory m = {sig, n};
    struct pipe *p;
    rs_result res;
    int r;

    *out = NULL;
    if (!is_signature(sig, n))
        return -EBADMSG;
    p = pipe_new(fill_memory, &m, no_sink, NULL, 0);
    r = p ? run(rs_loadsig_begin(out), p) : -ENOMEM;
    free(p);
    if (r < 0 || !*out)
        return r < 0 ? r : -EBADMSG;
    res = rs_build_hash_table(*out);
    return res == RS_DONE ? 0 : error_of(res);
}

/* ---- the difference ---------------------------------------------------------------- */

struct hashed {
    int fd;
    struct io_hasher *hash;
};

static ssize_t fill_hashed(void *arg, uint64_t offset, void *p, size_t n) {
    struct hashed *h = arg;
    ssize_t got = fill_fd(&h->fd, offset, p, n);

    if (got > 0)
        io_hasher_add(h->hash, p, (size_t)got);
    return got;
}

static int sink_fd(void *arg, uint64_t offset, const void *p, size_t n) {
    return io_pwrite_all(*(const int *)arg, p, n, (off_t)offset);
}

int delta_make(const uint8_t *sig, size_t n, int file, int out, uint64_t max, uint64_t *size,
               uint8_t sha256[IO_HASH_BYTES]) {
    struct hashed from = {file, io_hasher_new()};
    struct pipe *p = pipe_new(fill_hashed, &from, sink_fd, &out, max);
    rs_signature_t *s = NULL;
    int r = p ? signature_load(sig, n, &s) : -ENOMEM;

    if (r == 0)
        r = run(rs_delta_begin(s), p);
    if (s)
        rs_free_sumset(s);
    if (r == 0) {
        *size = p->sunk;
        r = io_hasher_end(from.hash, sha256);
    } else {
        io_hasher_free(from.hash);
    }
    free(p);
    return r;
}

/* ---- the file ---------------------------------------------------------------------- */

struct older {
    int fd;
    uint64_t size;
};

static rs_result copy(void *arg, rs_long_t pos, size_t *len, void **buf) {
    const struct older *o = arg;
    ssize_t n;

    if (pos < 0 || (uint64_t)pos >= o->size)
        return RS_INPUT_ENDED;
    do
        n = pread(o->fd, *buf, *len, (off_t)pos);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? RS_IO_ERROR : RS_INPUT_ENDED;
    *len = (size_t)n;
    return RS_DONE;
}

struct made {
    delta_sink *sink;
    void *arg;
    struct io_hasher *hash;
};

static int sink_made(void *arg, uint64_t offset, const void *p, size_t n) {
    struct made *m = arg;

    io_hasher_add(m->hash, p, n);
    return m->sink(m->arg, offset, p, n);
}

int delta_apply(int delta, int older, uint64_t max, const uint8_t sha256[IO_HASH_BYTES],
                delta_sink *sink, void *arg) {
    struct made made = {sink, arg, io_hasher_new()};
    struct pipe *p = pipe_new(fill_fd, &delta, sink_made, &made, max);
    uint8_t is[IO_HASH_BYTES];
    struct older o = {older, 0};
    struct stat sb;
    int r = !p ? -ENOMEM : fstat(older, &sb) < 0 ? -errno : 0;

    if (r == 0) {
        o.size = (uint64_t)sb.st_size;
        r = run(rs_patch_begin(copy, &o), p);
    }
    if (r == 0) {
        r = io_hasher_end(made.hash, is);
        if (r == 0 && memcmp(is, sha256, sizeof(is)) != 0)
            r = -EBADMSG;
    } else {
        io_hasher_free(made.hash);
    }
    free(p);
    return r;
}
