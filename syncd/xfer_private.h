#ifndef SYNCD_XFER_PRIVATE_H
#define SYNCD_XFER_PRIVATE_H

/* What the files xfer_*.c share. Nobody else includes this. */

#include "io/sum.h"
#include "pace.h"
#include "stage.h"
#include "xfer.h"

/* A file being sent. */
struct xfer_out {
    struct xfer_out *next, *prev;
    struct xfers *x;
    Mfp__Body__Kind kind;
    uint64_t id;
    struct replica_prep prep;     /* PREPARE */
    struct replica_payload *file; /* PREPARE: whose descriptor it is; else fd is ours */
    int fd;
    uint8_t *data; /* FETCH: all of it, where it is short, checked already; then fd is -1 */
    uint64_t offset, size;
    /* FETCH of a long one: the part at offset. While `reading` a worker owns this, and hash. */
    uint8_t *part;
    ssize_t part_len; /* -errno */
    bool reading, ready;
    _Atomic bool gone; /* freed as soon as it is not being read; what waits to be is not */
    bool begun;
    bool dense;     /* its first part could not be compressed: nor will the others */
    int err;        /* FETCH: nothing but this is sent */
    Mfp__Meta meta; /* FETCH: with the first part */
    char *symlink;  /* FETCH; or NULL */
    bool delta;     /* FETCH: fd is the difference, from the peer's version to one with this hash */
    uint8_t sha256[IO_HASH_BYTES];
    /* of a message: what goes is hashed; at the end it fits its checksum, or becomes it */
    struct io_hasher *hash;
    uint64_t hashed; /* so many bytes */
    struct io_sum sum;
    bool has_sum;
    struct timespec mtime;    /* when that began */
    struct content_want want; /* FETCH: what was asked for, and */
    struct stat sb;           /* the file that it is; st_ino 0: none was found */
};

struct xfer_chunk {
    struct xfer_chunk *next, *prev;
    uint64_t offset;
    size_t len;
    uint8_t *data;
};

/*
 * A content being received. While `working`, a worker owns file, work and err; the loop thread
 * appends to chunks only.
 */
struct xfer_in {
    struct xfer_in *next, *prev;
    struct xfers *x;
    Mfp__Body__Kind kind;
    uint64_t id;
    struct replica_prep prep;
    struct mailfs_id dir;
    int sub;    /* FETCH */
    char *name; /* tmp name, base name or file name */
    Mfp__Meta *meta;
    char *symlink;
    struct xfer_chunk *chunks; /* received, for the next job */
    uint64_t received;         /* bytes, with what was here */
    bool end, dead, working, begun;
    struct xfer_in *next_in_batch;
    bool drop;    /* aborted when it was all here: dropped when it is staged */
    bool keep;    /* dead, but what has come may be of use (stage_keep_part) */
    bool resumes; /* FETCH: `file` has the beginning; else it is of no use */
    bool delta;   /* FETCH: what comes is the difference to `older` */
    int peer_err; /* the peer could not read it */
    struct fetch *fetch;
    /* the worker's */
    struct xfer_chunk *work;
    bool work_end;
    enum stage_how how;
    struct stage_file *file;
    int older, scratch; /* delta: descriptors; -1 */
    uint64_t scratched;
    uint8_t sha256[IO_HASH_BYTES];
    int err;
};

struct fetch_group {
    struct fetch_group *next, *prev;
    struct xfers *x;
    struct fetch *queued; /* not asked for yet */
    size_t left;
    int err;
    xfer_fetched_fn *fn;
    void *arg;
};

/* One content wanted of the peer. */
struct fetch {
    struct fetch *next, *prev;
    struct fetch_group *group;
    struct content_want want;
    uint64_t id; /* asked under this number; 0: not asked yet */
    int err;
    /* what of it is here (xfer_here.c) */
    bool looking;            /* a worker is */
    bool lost;               /* the connection has ended meanwhile */
    bool whole;              /* not again: the difference did not make it */
    struct stage_file *part; /* its beginning, or NULL */
    uint64_t have;
    uint8_t have_sha256[IO_HASH_BYTES];
    int older;    /* an older version, or -1, */
    uint8_t *sig; /* and its signature */
    size_t sig_len;
};

struct xfers {
    struct volume *v;
    uint64_t epoch;
    struct serve_dir *serving; /* containers in which something is being opened for the peer */
    struct xfer_out *out;
    struct xfer_in *in;
    struct xfer_in *to_write, **to_write_end; /* fetched, for the next batch */
    unsigned batches;                         /* at workers */
    size_t in_bytes;
    bool paused;
    struct fetch *asked;
    struct fetch_group *groups; /* with something queued, the next one first */
    unsigned n_asked, n_served;
    uint64_t asked_bytes;    /* of a long one its first part */
    uint64_t peer_bandwidth; /* of what we fetch; 0: no limit, or not said */
    uint64_t next_id;
    struct xfer_counts counts;
    struct pace pace; /* of what the peer fetches */
    struct event *paced;
    bool peer_unpacks;
    uint64_t fetch_progress;
};

/* A fetched content is staged, or has failed. */
void xfer_fetch_done(struct xfers *x, struct fetch *f, int err);
/* The difference to what is here does not make it: asks once more, for all of it. */
void xfer_fetch_whole(struct xfers *x, struct fetch *f);

/* What reads a whole file before anything is sent goes one after the other: deliveries wait for
 * these threads, too. */
#define XFER_LANE_READ UINT64_C(0x7265616478666572)

/* xfer_here.c: is it worth a look in a worker, what of it is here? */
bool fetch_may_be_here(const struct fetch *f);
void fetch_look_run(void *arg); /* the worker's; arg is the fetch */
void fetch_forget_here(struct fetch *f);
/* The parts of a difference, and then the file: a worker's. */
int xfer_delta_write(struct xfer_in *in, const struct xfer_chunk *c);
int xfer_delta_end(struct xfer_in *in);

struct xfer_out *xfer_out_new(struct xfers *x, Mfp__Body__Kind kind, uint64_t id);
/* What is sent no more: frees it, when nobody reads it. */
void xfer_out_end(struct xfer_out *o);
/* Reads the next part; its length, or -EIO when the file has become shorter. Any thread. */
ssize_t xfer_out_read(const struct xfer_out *o, uint8_t *buf);
/* xfer_ahead.c: is its next part read by a worker? Have that be read: what there was has been sent.
 */
bool xfer_is_read_ahead(const struct xfer_out *o);
void xfer_ahead(struct xfer_out *o);
/* All of it has been read: does it fit its checksum? 0 or -EUCLEAN. Any thread. */
int xfer_out_hashed(struct xfer_out *o);
/* What goes is hashed; so far: taken over, of what went before, or NULL. */
void xfer_out_hash(struct xfer_out *o, struct io_hasher *so_far);
/*
 * All of it was read, and has this hash. have: its checksum, or NULL: this becomes it, if it was
 * not written to since mtime, of this size. -EUCLEAN: it is damaged. Any thread.
 */
int xfer_sum_settle(int fd, const struct io_sum *have, const uint8_t sha256[IO_HASH_BYTES],
                    uint64_t size, const struct timespec *mtime);
void xfer_tell_damaged(struct xfers *x, const struct mailfs_id *dir, const char *name);
struct fetch *xfer_fetch_find(struct xfers *x, uint64_t id);
void xfer_fetch_disconnected(struct xfers *x);
void xfer_paced(int fd, short what, void *arg); /* xfer_out.c: there may be bandwidth again */
void xfer_out_disconnected(struct xfers *x);
void xfer_in_disconnected(struct xfers *x);

#endif
