/*
 * listener - accept connections of peers, and survive everybody else.
 *
 * At most LISTENER_HALF_OPEN connections may be in the handshake, each for
 * handshake_ms; a newcomer beyond that displaces the oldest, so that somebody
 * holding connections open cannot keep the peer out. What fails before it is up
 * is logged through one log_limit (util/log.h). Loop thread only.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdint.h>

#include "net/addr.h"
#include "net/link.h"

#define LISTENER_HALF_OPEN 16

struct listener;

/* A link is up; it belongs to the callee, who sets its callbacks at once (link_set_callbacks). */
typedef void listener_cb(struct link *l, void *arg);

/* Optional: every failed handshake, before rate limiting (for status and metrics). */
typedef void listener_failed_cb(enum link_reason reason, const char *text, void *arg);

struct listener_stats {
    uint64_t accepted;  /* connections taken from the kernel */
    uint64_t up;        /* of these, authenticated */
    uint64_t failed;    /* handshakes that failed for any reason */
    uint64_t displaced; /* of these, pushed out by newer ones */
    unsigned half_open; /* now in the handshake */
};

/* opt is copied (the pins as well). 0, or negative errno with a sentence in err. */
int listener_open(struct event_base *base, const struct addr *at, const struct link_options *opt,
                  listener_cb *on_link, listener_failed_cb *on_failed, void *arg,
                  struct listener **out, char *err, size_t errsize);
void listener_close(struct listener *ls);

/* The address really listened on (with the port chosen when 0 was asked for). */
const char *listener_name(const struct listener *ls);
struct listener_stats listener_stats(const struct listener *ls);

#endif
