/*
 * contact - meet the peer, and agree that it is the right one
 *
 * A connection that TLS has accepted (the peer's certificate is the pinned one) is a candidate
 * until both Hello have been exchanged. One connection is current; a newer good one replaces it,
 * since the peer would not dial if it still had the old one. Nobody but the lower-named node dials.
 * With equal names both do, so that somebody is told what is wrong.
 *
 * A refusal is said in a Bye before the connection is closed, and shown in `status` on both nodes;
 * what only a person can repair is tried again at a slower pace.
 *
 * Diagnostics: each new reason why there is no connection, once (volume_error).
 */
#include "contact_int.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "driver.h"
#include "driver_apply.h"
#include "front.h"
#include "link_peer.h"
#include "mem.h"
#include "net/link.h"
#include "net/listener.h"
#include "net/tls.h"
#include "reread.h"
#include "role.h"
#include "timer.h"
#include "util/log.h"
#include "util/str.h"
#include "verify.h"
#include "volume.h"
#include "wire/check.h"
#include "wire/codec.h"
#include "xfer.h"

#define HELLO_MS 5000
#define BYE_MS   1000
#define PROTOCOL 1

static void conn_hello(struct conn *conn, const Mfp__Hello *hello);

const struct conf_peer *contact_peer(const struct contact *c) {
    return c->v->cv->peer;
}

/* ---- connections ------------------------------------------------------------------- */

struct conn *contact_conn_new(struct contact *c) {
    struct conn *conn = mem_new(sizeof *conn);
    conn->v = c->v;
    DL_APPEND(c->others, conn);
    return conn;
}

void contact_conn_free(struct conn *conn) {
    struct contact *c = conn->v->contact;
    if (c->current == conn)
        c->current = NULL;
    else
        DL_DELETE(c->others, conn);
    if (c->knocking == conn)
        c->knocking = NULL;
    link_free(conn->link);
    if (conn->deadline != NULL)
        event_free(conn->deadline);
    free(conn);
    if (c->quitting && c->current == NULL && c->others == NULL) {
        c->quitting = false;
        volume_disconnected(c->v);
    }
}

static void hello_overdue(evutil_socket_t fd, short what, void *arg) {
    struct conn *conn = arg;
    struct contact *c = conn->v->contact;
    bool knocked = conn->knock; /* its end was lost on the way; dialled it was then */
    if (!knocked)
        volume_error(conn->v, "peer %s at %s: connected, but said no Hello within %d s",
                     contact_peer(c)->name, link_name(conn->link), HELLO_MS / 1000);
    contact_conn_free(conn);
    if (!knocked)
        contact_dial_later(c);
}

static int conn_send(struct conn *conn, const Mfp__Frame *frame) {
    uint8_t buf[4096];
    size_t n = mfp__frame__get_packed_size(frame);
    if (n > sizeof buf)
        return -EMSGSIZE;
    mfp__frame__pack(frame, buf);
    return link_send(conn->link, buf, n);
}

static void conn_bye(struct conn *conn, const char *reason) {
    Mfp__Bye bye = MFP__BYE__INIT;
    Mfp__Frame frame = MFP__FRAME__INIT;
    bye.reason = (char *)(uintptr_t)reason;
    frame.m_case = MFP__FRAME__M_BYE;
    frame.bye = &bye;
    conn_send(conn, &frame);
    conn->closing = true;
    if (conn->deadline != NULL)
        evtimer_del(conn->deadline);
    link_close(conn->link, BYE_MS);
}

static void conn_say_hello(struct conn *conn) {
    struct volume *v = conn->v;
    Mfp__Hello hello = MFP__HELLO__INIT;
    Mfp__Frame frame = MFP__FRAME__INIT;
    hello.version_min = hello.version = PROTOCOL;
    hello.node = v->conf->node;
    hello.volume = v->cv->name;
    hello.incarnation = v->incarnation;
    hello.store_id = (ProtobufCBinaryData){sizeof v->start.store_id, v->start.store_id};
    hello.fresh = !v->had_contact;
    hello.blank = v->blank;
    hello.oneway = v->main != NULL;
    hello.standby = role_of(v).standby;
    hello.term = role_of(v).term;
    hello.verifies = true;
    hello.unread = true;
    hello.trees = v->main != NULL;
    hello.borrowed = hello.borrowed_trees = v->main != NULL;
    hello.verifies_oneway = v->main != NULL;
    hello.bandwidth = v->cv->peer != NULL ? v->cv->peer->bandwidth : 0;
    hello.zstd = v->cv->peer != NULL && v->cv->peer->compress != CONF_COMPRESS_OFF;
    frame.m_case = MFP__FRAME__M_HELLO;
    frame.hello = &hello;
    conn_send(conn, &frame); /* if it fails, the link says so soon */
}

static void conn_up(struct link *l, void *arg) {
    struct conn *conn = arg;
    struct timeval tv = {.tv_sec = HELLO_MS / 1000};
    conn->deadline = timer_new(conn->v->engine->evb, hello_overdue, conn);
    evtimer_add(conn->deadline, &tv);
    conn_say_hello(conn);
}

static void refuse_frame(struct conn *conn, const char *why) {
    struct contact *c = conn->v->contact;
    volume_error(conn->v, "peer %s: %s: ending the connection", contact_peer(c)->name, why);
    if (c->current == conn) {
        contact_drop(conn->v, why, true);
        return;
    }
    c->slow = true;
    contact_conn_free(conn);
    contact_dial_later(c);
}

static void conn_first_frame(struct conn *conn, const uint8_t *data, size_t len) {
    struct contact *c = conn->v->contact;
    const char *why = "its first message is not a Hello";
    char reason[256];
    Mfp__Frame *frame = NULL;
    if (wire_frame_unpack(data, len, &frame, reason, sizeof reason) != 0)
        why = reason;
    if (frame != NULL && frame->m_case == MFP__FRAME__M_BYE) {
        volume_error(conn->v, "peer %s refuses: %s", contact_peer(c)->name, frame->bye->reason);
        c->slow = true;
        contact_conn_free(conn);
        contact_dial_later(c);
    } else if (frame != NULL && frame->m_case == MFP__FRAME__M_HELLO) {
        conn_hello(conn, frame->hello);
    } else {
        refuse_frame(conn, why);
    }
    wire_frame_free(frame);
}

static void conn_frame(struct link *l, const uint8_t *data, size_t len, void *arg) {
    struct conn *conn = arg;
    struct volume *v = conn->v;
    const char *why = NULL;
    if (conn->closing)
        return;
    if (v->contact->current != conn) {
        conn_first_frame(conn, data, len);
        return;
    }
    replica_heard(v->machine, volume_now());
    int r = peer_receive(v->peer, data, len, &why);
    if (r == -EPROTO && v->contact->current == conn)
        refuse_frame(conn, why != NULL ? why : "a message that makes no sense now");
    driver_pump(v);
}

static void conn_writable(struct link *l, void *arg) {
    struct conn *conn = arg;
    if (conn->v->contact->current == conn)
        xfer_writable(conn->v->xfers);
}

static bool needs_a_person(enum link_reason reason) {
    return reason == LINK_WRONG_PEER || reason == LINK_NOT_TRUSTED || reason == LINK_VERSION ||
           reason == LINK_NO_CERTIFICATE || reason == LINK_GARBAGE;
}

static void conn_down(struct link *l, enum link_reason reason, const char *text, void *arg) {
    struct conn *conn = arg;
    struct volume *v = conn->v;
    struct contact *c = v->contact;
    bool was_current = c->current == conn, knocked = conn->knock;
    if (!conn->closing && !conn->knock && !v->stopping)
        volume_error(v, "peer %s: %s", contact_peer(c)->name, text);
    c->slow = c->slow || needs_a_person(reason);
    if (was_current) {
        contact_drop(v, NULL, true);
        driver_pump(v);
        return;
    }
    contact_conn_free(conn);
    if (!knocked) /* else it was dialled when the peer knocked */
        contact_dial_later(c);
}

const struct link_callbacks contact_conn_callbacks = {
    .on_up = conn_up, .on_frame = conn_frame, .on_writable = conn_writable, .on_down = conn_down};

/* ---- Hello ------------------------------------------------------------------------- */

/* What is wrong with this peer, in words meant for the administrators of both nodes; 0: nothing. */
static int hello_check(const struct volume *v, const Mfp__Hello *h, char *why, size_t size) {
    const char *node = v->conf->node;
    if (h->version_min > PROTOCOL || h->version < PROTOCOL)
        return snprintf(why, size, "version: %s speaks protocol %u to %u, %s speaks %d", h->node,
                        h->version_min, h->version, node, PROTOCOL);
    if (memcmp(h->store_id.data, v->start.store_id, sizeof v->start.store_id) == 0)
        return snprintf(why, size,
                        "both nodes have the same store id: the store was copied with its "
                        "`.mailfs`, or %s talks to itself",
                        node);
    if (strcmp(h->node, node) == 0)
        return snprintf(why, size,
                        "both nodes are called \"%s\": give one of them another `node` name", node);
    if (strcmp(h->node, v->cv->peer->name) != 0)
        return snprintf(why, size, "%s expected a peer called \"%s\", this one is called \"%s\"",
                        node, v->cv->peer->name, h->node);
    if (strcmp(h->volume, v->cv->name) != 0)
        return snprintf(why, size, "volume \"%s\" of %s met volume \"%s\" of %s", v->cv->name, node,
                        h->volume, h->node);
    return 0;
}

/* Whose connection is it? The listener of a volume is that of its links, too. */
static struct volume *volume_of_pin(struct volume *v, int pin) {
    int first = v->cv->peer != NULL ? 1 : 0;
    return pin < first || (size_t)(pin - first) >= v->n_links ? v : v->links[pin - first];
}

static void conn_established(struct conn *conn, const Mfp__Hello *hello) {
    struct volume *v = conn->v;
    struct contact *c = v->contact;
    if (c->current != NULL)
        contact_drop(v, "replaced by a newer connection", true);
    DL_DELETE(c->others, conn);
    c->current = conn;
    if (conn->deadline != NULL)
        evtimer_del(conn->deadline);
    if (c->dial != NULL)
        evtimer_del(c->dial);
    c->backoff_ms = BACKOFF_MIN_MS;
    log_info("volume %s: connected with %s at %s%s", v->cv->name, hello->node,
             link_name(conn->link), hello->fresh ? " (it has had no contact yet)" : "");
    peer_reset(v->peer);
    driver_apply_before_trees(v);
    replica_connected(v->machine, volume_now());
}

/* It gives L, and so UIDs, without asking: nothing can be merged beside it, and what has been is
 * merged once more when it has told what it changed. It dials again some seconds after syncd has
 * hung (mailfs/upcall.c). */
bool contact_mailfs_is_apart(struct volume *v) {
    if (v->main != NULL || !front_is_apart(v->front))
        return false;
    volume_error(v,
                 front_asks_nobody(v->front)
                     ? "mailfs was started when its configuration named no peer, and knows of no "
                       "peer: %s is not met before it is reloaded"
                     : "mailfs runs and is not connected to syncd: peer %s is not met before it is",
                 v->cv->peer->name);
    return true;
}

static void conn_hello(struct conn *conn, const Mfp__Hello *hello) {
    struct volume *v = conn->v;
    struct contact *c = v->contact;
    char why[VOLUME_ERROR_MAX];
    if (hello_check(v, hello, why, sizeof why) != 0 || role_meet(v, hello, why, sizeof why) != 0) {
        volume_error(v, "peer %s refused: %s", contact_peer(c)->name, why);
        c->slow = true;
        conn_bye(conn, why);
        return;
    }
    v->met = true;
    conn->knock = false;
    /* An active node of a lower term follows as soon as it reads our Hello (role_meet). */
    v->other_standby = hello->standby || (v->main != NULL && hello->term < role_of(v).term);
    v->other_term = hello->term;
    v->peer_verifies = v->main != NULL ? hello->verifies_oneway : hello->verifies;
    v->peer_takes_trees = hello->trees;
    v->peer_blank = v->main == NULL && hello->blank;
    v->peer_knows_borrowed = hello->borrowed && hello->borrowed_trees;
    xfer_peer_is(v->xfers, hello->zstd, hello->bandwidth);
    if (!v->ready || v->stopping || contact_mailfs_is_apart(v)) { /* since it was accepted */
        contact_conn_free(conn);                                  /* it comes again */
        contact_dial_later(c);
        return;
    }
    reread_contact(v->reread, hello->unread);
    conn_established(conn, hello);
    driver_pump(v);
}

static void accepted(struct link *l, void *arg) {
    struct contact *c = volume_of_pin(((struct contact *)arg)->v, link_peer(l))->contact;
    struct conn *conn;
    unsigned n;
    if (c == NULL || contact_peer(c) == NULL) {
        link_free(l);
        return;
    }
    DL_COUNT(c->others, conn, n);
    if (n >= CANDIDATES_MAX || !c->started || c->v->stopping || contact_mailfs_is_apart(c->v)) {
        link_free(l);
        return;
    }
    conn = contact_conn_new(c);
    conn->link = l;
    link_set_callbacks(l, &contact_conn_callbacks, conn);
    conn_up(l, conn);
    contact_knocked(c, conn);
}

static void handshake_failed(enum link_reason reason, const char *text, void *arg) {
    struct contact *c = arg;
    if (c->current == NULL && needs_a_person(reason) && reason != LINK_GARBAGE)
        volume_remember(c->v, text); /* the listener has logged it */
}

/* ---- opening and closing ----------------------------------------------------------- */

static unsigned longest_timeout(const struct conf_volume *cv) {
    unsigned ms = cv->peer != NULL ? cv->peer->timeout_ms : 0;
    for (size_t i = 0; i < cv->n_links; i++)
        ms = cv->links[i].timeout_ms > ms ? cv->links[i].timeout_ms : ms;
    return ms;
}

static int listen_open(struct contact *c, char *err, size_t errsize) {
    const struct conf_volume *cv = c->v->cv;
    const struct conf_addr *at = &cv->listen;
    struct addr addr = {.port = at->port};
    struct cert_fingerprint pins[1 + CONF_LINKS_MAX];
    struct link_options options = {.tls = c->tls, .pins = pins, .silence_ms = longest_timeout(cv)};
    if (cv->peer != NULL) /* the order volume_of_pin() relies on */
        memcpy(pins[options.n_pins++].sha256, cv->peer->fingerprint, sizeof pins->sha256);
    for (size_t i = 0; i < cv->n_links; i++)
        memcpy(pins[options.n_pins++].sha256, cv->links[i].fingerprint, sizeof pins->sha256);
    int r = str_copy(addr.host, sizeof addr.host, at->host);
    if (r == 0)
        r = listener_open(c->v->engine->evb, &addr, &options, accepted, handshake_failed, c,
                          &c->listener, err, errsize);
    return r;
}

int contact_open(struct volume *v, char *err, size_t errsize) {
    struct contact *c = mem_new(sizeof *c);
    v->contact = c;
    c->v = v;
    c->backoff_ms = BACKOFF_MIN_MS;
    c->seed = (unsigned)v->incarnation;
    if (v->cv->peer == NULL && v->n_links == 0)
        return 0;
    int r = tls_open(v->main != NULL ? v->main->cv->state : v->cv->state, &c->tls, err, errsize);
    if (r != 0)
        return r;
    if (v->cv->peer == NULL)
        return listen_open(c, err, errsize);
    memcpy(c->pin.sha256, v->cv->peer->fingerprint, sizeof c->pin.sha256);
    c->options = (struct link_options){
        .tls = c->tls, .pins = &c->pin, .n_pins = 1, .silence_ms = v->cv->peer->timeout_ms};
    r = contact_dial_open(c);
    if (r != 0)
        return r;
    return v->cv->has_listen ? listen_open(c, err, errsize) : 0;
}

void contact_start(struct volume *v) {
    struct contact *c = v->contact;
    c->started = true;
    if (v->cv->peer != NULL)
        contact_try_at_once(c);
}

void contact_drop(struct volume *v, const char *reason, bool tell_machine) {
    struct contact *c = v->contact;
    struct conn *conn = c->current;
    if (conn == NULL)
        return;
    c->current = NULL;
    DL_APPEND(c->others, conn);
    log_info("volume %s: connection with %s ended%s%s", v->cv->name, contact_peer(c)->name,
             reason != NULL ? ": " : "", reason != NULL ? reason : "");
    if (reason != NULL && link_is_up(conn->link))
        conn_bye(conn, reason);
    else
        contact_conn_free(conn);
    peer_reset(v->peer);
    if (tell_machine)
        replica_disconnected(v->machine, volume_now());
    xfer_disconnected(v->xfers);
    verify_disconnected(v->verify);
    driver_disconnected(v);
    contact_dial_later(c);
}

void contact_stop(struct volume *v, const char *reason) {
    struct contact *c = v->contact;
    if (c->listener != NULL)
        listener_close(c->listener);
    c->listener = NULL;
    c->started = false;
    contact_drop(v, reason, true);
    for (struct conn *conn = c->others, *next; conn != NULL; conn = next) {
        next = conn->next;
        if (!conn->closing)
            contact_conn_free(conn);
    }
    c->quitting = c->others != NULL;
    if (!c->quitting)
        volume_disconnected(v);
}

void contact_close(struct volume *v) {
    struct contact *c = v->contact;
    if (c == NULL)
        return;
    c->quitting = false;
    if (c->current != NULL)
        contact_conn_free(c->current);
    while (c->others != NULL)
        contact_conn_free(c->others);
    if (c->listener != NULL)
        listener_close(c->listener);
    contact_dial_close(c);
    tls_close(c->tls);
    free(c);
    v->contact = NULL;
}

/* ---- using it ---------------------------------------------------------------------- */

bool contact_is_up(const struct volume *v) {
    return v->contact != NULL && v->contact->current != NULL;
}

int contact_send(struct volume *v, const void *data, size_t len) {
    return contact_is_up(v) ? link_send(v->contact->current->link, data, len) : -ENOTCONN;
}

int contact_send_bulk(struct volume *v, const void *data, size_t len) {
    return contact_is_up(v) ? link_send_bulk(v->contact->current->link, data, len) : -ENOTCONN;
}

void contact_read(struct volume *v, bool on) {
    if (contact_is_up(v))
        link_read(v->contact->current->link, on);
}

unsigned contact_quiet_ms(const struct volume *v) {
    return contact_is_up(v) ? link_quiet_ms(v->contact->current->link) : UINT_MAX;
}
