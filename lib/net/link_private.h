/*
 * link_private - what link.c and link_dial.c share. Nobody else includes this.
 */
#ifndef NET_LINK_PRIVATE_H
#define NET_LINK_PRIVATE_H

#include "net/link.h"

struct event;
struct bufferevent;

/*
 * RESOLVING -> CONNECTING -> HANDSHAKE -> HELLO -> UP -> CLOSING -> DOWN; any state
 * may go to DOWN. Accepted links begin at HANDSHAKE and have no HELLO.
 *
 * Invariants: bev exists from HANDSHAKE to CLOSING. connect_fd, connect_event
 * only in CONNECTING; resolve only in RESOLVING. In DOWN there is no descriptor and
 * no timer, at most `report` pending. deadline is armed up to UP and in CLOSING.
 */
enum link_state {
    LINK_ST_RESOLVING,
    LINK_ST_CONNECTING,
    LINK_ST_HANDSHAKE,
    LINK_ST_HELLO, /* dialled: waits for the empty frame that says we are accepted */
    LINK_ST_UP,
    LINK_ST_CLOSING,
    LINK_ST_DOWN,
};

struct link_bulk {
    struct link_bulk *next;
    size_t len;
    uint8_t data[];
};

struct link {
    struct event_base *base;
    struct tls_context *tls;
    struct link_callbacks cb;
    void *arg;
    enum link_state state;
    unsigned busy; /* callbacks running */
    unsigned silence_ms;
    bool dialled;
    bool paused;
    bool freed;     /* by the caller, inside one of our callbacks */
    bool bulk_full; /* somebody was told -EAGAIN */
    char name[ADDR_TEXT_MAX];

    struct tls_peer peer;
    struct cert_fingerprint pins[LINK_PINS_MAX];

    /* dialling */
    struct addr_resolve *resolve;
    struct addr_socket found[ADDR_RESOLVE_MAX];
    size_t n_found, next_found;
    struct event *connect_event;
    int connect_fd;
    int connect_error; /* of the last address tried */

    /* connected */
    struct bufferevent *bev;
    struct link_bulk *bulk_first, *bulk_last;
    size_t bulk_bytes;
    uint64_t last_rx, last_tick;

    /* TLS or the socket has ended; to be reported by `resume` */
    unsigned long end_code; /* OpenSSL's error, or 0 and */
    int end_error;          /* errno, 0 = end of file */
    bool ended;
    bool end_up; /* the link was up then */

    struct event *deadline, *tick, *resume, *report;
    enum link_reason reason;
    char text[764];
};

/* NULL: too many pins, none, or out of memory. */
struct link *link_new(struct event_base *base, const struct link_options *opt,
                      const struct link_callbacks *cb, void *arg, bool dialled);
/* A link that was never handed out. */
void link_discard(struct link *l);
/* The descriptor is taken, also on failure. 0 or -ENOMEM. */
int link_start_tls(struct link *l, int fd);
/* Both sides accept; calls on_up. */
void link_up(struct link *l);
/* Drop the connection and report it soon. l->text has been filled in. */
void link_fail(struct link *l, enum link_reason reason);
/* Forget an address look-up or a connection under way. */
void link_dial_stop(struct link *l);

#endif
