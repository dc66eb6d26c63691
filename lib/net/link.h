/*
 * link - one framed, authenticated connection to a peer, dialled or accepted.
 *
 * On the wire, inside TLS 1.3: frames of a 4-byte big-endian length and that
 * many bytes, at most LINK_FRAME_MAX. Once its handshake is done, the accepting
 * side sends an empty frame; the dialling side is up when that has come. (In
 * TLS 1.3 the client is done before the server has looked at its certificate:
 * without this a refused client would believe for a moment to be connected.)
 * Later empty frames are signs of life and are not shown to the caller.
 *
 * Two priorities. Control frames (link_send) go out in order, ahead of every
 * bulk frame (link_send_bulk) not yet handed to TLS. Of bulk frames at most
 * LINK_BULK_INFLIGHT bytes are handed over at a time, and the kernel is told to
 * hold little unsent data, so a token never waits for a 25 MiB body.
 * Control and bulk frames are two streams: order holds within each only.
 *
 * Memory: one incoming frame, LINK_CONTROL_MAX and LINK_BULK_MAX outgoing.
 *
 * All calls and callbacks in the loop thread. Callbacks never run from within
 * link_dial, link_accept, link_send or link_send_bulk. link_free may be called
 * from any callback.
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/cert.h"
#include "net/tls.h"

struct event_base;
struct link;

#define LINK_FRAME_MAX     (1024u * 1024u) /* one frame, without its length */
#define LINK_BULK_INFLIGHT (256u * 1024u)  /* bulk bytes handed to TLS at a time, or one frame */
#define LINK_BULK_MAX      (2u * 1024u * 1024u)  /* bulk bytes queued before -EAGAIN */
#define LINK_CONTROL_MAX   (32u * 1024u * 1024u) /* control bytes queued before -ENOBUFS */

enum link_reason {
    LINK_CLOSED,         /* the peer closed the connection */
    LINK_REFUSED,        /* connect(2): nobody listens, no route, no such host */
    LINK_TIMEOUT,        /* no connection, or no handshake, in time */
    LINK_SILENT,         /* was up, then nothing came for silence_ms */
    LINK_WRONG_PEER,     /* its certificate is not the pinned one */
    LINK_NO_CERTIFICATE, /* it showed none */
    LINK_NOT_TRUSTED,    /* it refused *our* certificate */
    LINK_VERSION,        /* other protocol version, or no TLS 1.3 */
    LINK_GARBAGE,        /* not TLS at all, or not our framing */
    LINK_OVERSIZE,       /* a frame longer than LINK_FRAME_MAX was announced */
    LINK_TLS,            /* any other TLS failure */
    LINK_ERROR,          /* error of the network or of this machine */
};

struct link_callbacks {
    /* Both certificates checked; frames may be sent and will come. Once. */
    void (*on_up)(struct link *l, void *arg);
    /* One frame, 1..LINK_FRAME_MAX bytes; data is valid during the call only. */
    void (*on_frame)(struct link *l, const uint8_t *data, size_t len, void *arg);
    /* After -EAGAIN from link_send_bulk: half the queue is free again. May be NULL. */
    void (*on_writable)(struct link *l, void *arg);
    /*
     * The connection is over, up before or not; exactly once; nothing follows.
     * text says why in words for a person ("10.77.0.2:7400: wrong fingerprint: …").
     * The caller frees the link, then or later.
     */
    void (*on_down)(struct link *l, enum link_reason reason, const char *text, void *arg);
};

struct link_options {
    struct tls_context *tls;
    const struct cert_fingerprint *pins; /* peers accepted; copied */
    size_t n_pins;                       /* 1..LINK_PINS_MAX */
    unsigned handshake_ms;               /* look-up, connection, handshake: all of it; 0 = 5000 */
    unsigned silence_ms;                 /* 0 = never; else send signs of life, and be down
                                            after that long without any of the peer's */
};
#define LINK_PINS_MAX 16

/*
 * Start connecting. Failures of the network arrive by on_down. Returns 0, or
 * negative errno for what is wrong here (-EINVAL, -ENOMEM); then no callback comes.
 */
int link_dial(struct event_base *base, const struct addr *to, const struct link_options *opt,
              const struct link_callbacks *cb, void *arg, struct link **out);

/* Serve an accepted, connected socket. The descriptor is the link's from here on, also on failure.
 */
int link_accept(struct event_base *base, int fd, const struct link_options *opt,
                const struct link_callbacks *cb, void *arg, struct link **out);

/* Hand the link to another owner (the listener does so in on_up). */
void link_set_callbacks(struct link *l, const struct link_callbacks *cb, void *arg);

/* Close without a word and free. NULL is allowed. */
void link_free(struct link *l);

/*
 * Close politely: what is queued goes out first (at most `ms` long), then the
 * connection is closed and on_down(LINK_CLOSED) called. For a clean stop.
 */
void link_close(struct link *l, unsigned ms);

/*
 * Queue one frame (copied). 0; -EMSGSIZE when longer than LINK_FRAME_MAX or empty;
 * -ENOTCONN when not up; -ENOBUFS when LINK_CONTROL_MAX is reached: the peer
 * does not read, the caller should give the link up.
 */
int link_send(struct link *l, const void *data, size_t len);

/* The same for bulk; -EAGAIN when LINK_BULK_MAX is reached: wait for on_writable. */
int link_send_bulk(struct link *l, const void *data, size_t len);

/*
 * Stop or go on reading, for a caller who cannot keep up. What the peer sends
 * waits in its own queues. While stopped, silence is not held against the peer;
 * signs of life still go out.
 */
void link_read(struct link *l, bool on);

bool link_is_up(const struct link *l);
bool link_is_dialled(const struct link *l);
/* Which of the pins the peer showed; -1 before it is up. */
int link_peer(const struct link *l);
/* Bytes queued here, control and bulk together, not counting the kernel's. */
size_t link_queued(const struct link *l);
/* Milliseconds since the last byte came from the peer. */
unsigned link_quiet_ms(const struct link *l);
/* "10.77.0.2:7400", for log lines. Valid as long as the link. */
const char *link_name(const struct link *l);
/* A word for a reason ("wrong-peer"), for logs and metrics. */
const char *link_reason_word(enum link_reason reason);

#endif
