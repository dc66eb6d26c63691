#ifndef SYNCD_XFER_PRIVATE_H
#define SYNCD_XFER_PRIVATE_H

/* What xfer_out.c, xfer_in.c and xfer_fetch.c share. Nobody else includes this. */

#include "io/sum.h"
#include "pace.h"
#include "stage.h"
#include "xfer.h"

/* A file being sent. */
struct xfer_out {
    struct xfer_out *next, *prev;
    Mfp__Body__Kind kind;
    uint64_t id;
    struct replica_prep prep;     /* PREPARE */
    struct replica_payload *file; /* PREPARE: whose descriptor it is; else fd is ours */
    int fd;
    uint64_t offset, size;
    bool begun;
    bool dense;     /* its first part could not be compressed: nor will the others */
    int err;        /* FETCH: nothing but this is sent */
    Mfp__Meta meta; /* FETCH: with the first part */
    char *symlink;  /* FETCH; or NULL */
    /* of a message: what goes is hashed; at the end it fits its checksum, or becomes it */
    struct io_hasher *hash;
    uint64_t hashed; /* so many bytes */
    struct io_sum sum;
    bool has_sum;
    struct timespec mtime; /* when that began */
    struct mailfs_id dir;
    char *name;
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
    bool end, dead, working, begun;
    bool drop;    /* aborted when it was all here: dropped when it is staged */
    int peer_err; /* the peer could not read it */
    struct fetch *fetch;
    /* the worker's */
    struct xfer_chunk *work;
    bool work_end, durable;
    struct stage_file *file;
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
};

struct xfers {
    struct volume *v;
    uint64_t epoch;
    struct xfer_out *out;
    struct xfer_in *in;
    size_t in_bytes;
    bool paused;
    struct fetch *asked;
    struct fetch_group *groups; /* with something queued, the next one first */
    unsigned n_asked, n_served;
    uint64_t next_id;
    struct xfer_counts counts;
    struct pace pace; /* of what the peer fetches */
    struct event *paced;
    bool peer_unpacks;
    uint64_t fetch_progress;
};

/* A fetched content is staged, or has failed. */
void xfer_fetch_done(struct xfers *x, struct fetch *f, int err);
struct fetch *xfer_fetch_find(struct xfers *x, uint64_t id);
void xfer_fetch_disconnected(struct xfers *x);
void xfer_paced(int fd, short what, void *arg); /* xfer_out.c: there may be bandwidth again */
void xfer_out_disconnected(struct xfers *x);
void xfer_in_disconnected(struct xfers *x);

#endif
