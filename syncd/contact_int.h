#ifndef SYNCD_CONTACT_INT_H
#define SYNCD_CONTACT_INT_H

/* What contact.c and contact_dial.c share. Loop thread only. */

#include "contact.h"

#include <stdbool.h>
#include <stdint.h>

#include "net/link.h"
#include "volume.h"

#define BACKOFF_MIN_MS 50
#define CANDIDATES_MAX 4

struct conn {
    struct volume *v;
    struct link *link;
    struct event *deadline; /* for the peer's Hello */
    bool closing;           /* Bye is said: only its end is awaited */
    bool knock;             /* by us, or perhaps by the peer: its end is no news */
    uint64_t since;         /* dialled, or knocked: when */
    struct conn *next, *prev;
};

struct contact {
    struct volume *v;
    struct tls_context *tls;
    struct listener *listener;
    struct link_options options;
    struct cert_fingerprint pin;
    struct conn *current;
    struct conn *others;   /* dialling, candidates, closing */
    struct conn *knocking; /* of these, our own knock */
    struct event *dial;
    struct netwatch *netwatch;
    struct event *noticed; /* NOTICED_MS after it told of a change */
    unsigned backoff_ms;
    bool slow;
    bool waits_slow; /* the next attempt is for what a person must repair */
    bool started;
    bool quitting; /* volume_disconnected() is to be called when the last connection has ended */
    unsigned seed;
};

/* contact.c */
const struct conf_peer *contact_peer(const struct contact *c); /* NULL: none is configured */
struct conn *contact_conn_new(struct contact *c);
void contact_conn_free(struct conn *conn); /* its link, too */
extern const struct link_callbacks contact_conn_callbacks;
/* Then the peer is not met, and told nothing: what it began with a Hello it would have to end. */
bool contact_mailfs_is_apart(struct volume *v);

/* contact_dial.c. 0 or -ENOMEM; closed by contact_dial_close() in any case. */
int contact_dial_open(struct contact *c);
void contact_dial_close(struct contact *c);
/* If it is ours to dial, and nothing is up: after a while. */
void contact_dial_later(struct contact *c);
/* Something says that it may work now: dials, or knocks. */
void contact_try_at_once(struct contact *c);
/* The peer has come while we are those who dial. */
void contact_knocked(struct contact *c, struct conn *conn);

#endif
