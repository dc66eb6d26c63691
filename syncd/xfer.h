#ifndef SYNCD_XFER_H
#define SYNCD_XFER_H

/*
 * Contents on their way: prepared ones both ways, and those one side fetches from the other.
 *
 * Outgoing files are read as the link has room, a part at a time, in turn; in memory are
 * the link's queue, and of each that the peer fetches one part. Incoming parts wait for the disk in
 * memory, at most XFER_IN_MAX for all together (then the link is not read).
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>

#include "content.h"
#include "replica/replica.h"
#include "wire/pack.h"
#include "wire/peer.pb-c.h"

#define XFER_PART        WIRE_PACK_MAX
#define XFER_IN_MAX      (32u * 1024u * 1024u)
#define XFER_FETCHES_MAX 64 /* asked of the peer at a time; as many as it has open */
#define XFER_ASKED_MAX   (1u * 1024u * 1024u) /* bytes of these, but for the last */
#define XFER_SERVED_MAX  64 /* open for the peer at a time: one that asks for more breaks off */

struct volume;
struct xfers;

struct xfers *xfers_new(struct volume *v);
void xfers_free(struct xfers *x);

/* What the peer of the new connection says of itself: it takes compressed bodies; bytes a second of
 * what we fetch (0: no limit). */
void xfer_peer_is(struct xfers *x, bool unpacks, uint64_t bandwidth);

/* The link has room again; the connection has ended. */
void xfer_writable(struct xfers *x);
void xfer_disconnected(struct xfers *x);

/* The body that follows a Prepare just sent. */
void xfer_send_prepared(struct xfers *x, const struct replica_prep *prep,
                        struct replica_payload *file);
void xfer_send_aborted(struct xfers *x, const struct replica_prep *prep);

/* Since the connection began. */
struct xfer_counts {
    uint64_t groups;                 /* calls of xfer_fetch() with something to fetch */
    uint64_t wanted, wanted_bytes;   /* contents asked for, or about to be */
    uint64_t fetched, fetched_bytes; /* of these: here, or given up */
    uint64_t served, served_bytes;   /* to the peer */
};
void xfer_counts(const struct xfers *x, struct xfer_counts *out);

/* From the peer. body's data may be taken out of it. 0 or -EPROTO. */
void xfer_receive_prepare(struct xfers *x, const Mfp__Prepare *prepare);
int xfer_receive_body(struct xfers *x, Mfp__Body *body);
int xfer_receive_fetch(struct xfers *x, const Mfp__Fetch *fetch);

/* Is the peer not read, since the disks do not keep up? */
bool xfer_paused(const struct xfers *x);

/* Rises whenever something more of what was fetched is on disk. */
uint64_t xfer_fetch_progress(const struct xfers *x);

/* Of the engine's `io`: what is done to the content of this number in the stage, in its order. */
uint64_t xfer_prep_lane(const struct replica_prep *prep);

/* Is this content being received? When one has been, journaler_wake() is called. */
bool xfer_receiving(const struct xfers *x, const struct replica_prep *prep);
/* Aborted by its origin while it was being received. False: it was not. */
bool xfer_cancel(struct xfers *x, const struct replica_prep *prep);

/*
 * Asks the peer for all of wants (taken over) and stages them. What the peer has no more is told to
 * the disk side (content_gone). Then fn, never from within: 0, or the first error; -ENOTCONN when
 * the connection ended.
 */
typedef void xfer_fetched_fn(void *arg, int err);
void xfer_fetch(struct xfers *x, struct content_wants *wants, xfer_fetched_fn *fn, void *arg);

#endif
