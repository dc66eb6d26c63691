/*
 * contact_dial - when the peer is dialled
 *
 * Who dials waits longer each time, a second at most, and begins anew at once when something says
 * that it may work now: this host's network has changed (netwatch), or the peer knocks. That is a
 * connection by the node that does not dial, which ends it as soon as both know each other: when it
 * has started, and when its network has changed.
 *
 * Diagnostics: an address that cannot be dialled (volume_error).
 */
#include "contact_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "net/netwatch.h"
#include "util/log.h"
#include "util/str.h"

#define BACKOFF_MAX_MS  1000
#define BACKOFF_SLOW_MS 5000 /* something that a person must repair */
#define NOTICED_MS      20   /* changes come in bursts, the link before its route */
#define YOUNG_MS        200  /* an attempt of that age is not given up for another one */

static bool dials(const struct contact *c) {
    return strcmp(c->v->conf->node, contact_peer(c)->name) <= 0;
}

/* ---- dialling ---------------------------------------------------------------------- */

/* Half of the time is chance, so that two that failed together do not try together for ever. */
static unsigned next_delay(struct contact *c) {
    unsigned ms = c->slow ? BACKOFF_SLOW_MS : c->backoff_ms;
    c->backoff_ms = c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : c->backoff_ms * 2;
    c->waits_slow = c->slow;
    c->slow = false;
    return ms / 2 + (unsigned)rand_r(&c->seed) % (ms / 2 + 1);
}

void contact_dial_later(struct contact *c) {
    if (!c->started || c->v->stopping || c->current != NULL || !dials(c) || c->dial == NULL ||
        evtimer_pending(c->dial, NULL))
        return;
    unsigned ms = next_delay(c);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(c->dial, &tv);
}

static void dial_now(evutil_socket_t fd, short what, void *arg) {
    struct contact *c = arg;
    struct addr to;
    if (c->current != NULL || c->v->stopping)
        return;
    if (contact_mailfs_is_apart(c->v)) {
        contact_dial_later(c);
        return;
    }
    int r = str_copy(to.host, sizeof to.host, contact_peer(c)->address.host);
    to.port = contact_peer(c)->address.port;
    struct conn *conn = contact_conn_new(c);
    conn->since = volume_now();
    if (r == 0)
        r = link_dial(c->v->engine->evb, &to, &c->options, &contact_conn_callbacks, conn,
                      &conn->link);
    if (r == 0)
        return;
    volume_error(c->v, "cannot dial %s: %s", contact_peer(c)->name, log_strerror(r));
    contact_conn_free(conn);
    contact_dial_later(c);
}

/* ---- trying at once ---------------------------------------------------------------- */

static bool may_dial(const struct contact *c) {
    return c->started && !c->v->stopping && c->current == NULL && c->dial != NULL;
}

static struct conn *dialling(const struct contact *c) {
    struct conn *conn;
    DL_FOREACH(c->others, conn) {
        if (link_is_dialled(conn->link) && !conn->closing && !conn->knock)
            return conn;
    }
    return NULL;
}

/* The waiting is over, and so is what was begun before: its first packet may have been lost. One
 * that is up already waits for the Hello only. */
static void dial_at_once(struct contact *c) {
    struct conn *conn = dialling(c);
    if (conn != NULL && link_is_up(conn->link))
        return;
    if (conn != NULL)
        contact_conn_free(conn);
    evtimer_del(c->dial);
    c->backoff_ms = BACKOFF_MIN_MS;
    c->waits_slow = false;
    dial_now(-1, 0, c);
}

static void knock_up(struct link *l, void *arg) {
    link_close(l, 0);
}

static void knock_frame(struct link *l, const uint8_t *data, size_t len, void *arg) {
}

static void knock_down(struct link *l, enum link_reason reason, const char *text, void *arg) {
    contact_conn_free(arg);
}

static const struct link_callbacks knock_callbacks = {
    .on_up = knock_up, .on_frame = knock_frame, .on_down = knock_down};

/* Nobody depends on it: the peer dials by itself, only later. */
static void knock(struct contact *c) {
    struct conn *conn;
    struct addr to = {.port = contact_peer(c)->address.port};
    const char *host = contact_peer(c)->address.host;
    unsigned n;
    if (c->knocking != NULL) /* its first packet may have been lost, as a dialler's */
        contact_conn_free(c->knocking);
    DL_COUNT(c->others, conn, n);
    if (n >= CANDIDATES_MAX || host == NULL || str_copy(to.host, sizeof to.host, host) != 0)
        return;
    conn = c->knocking = contact_conn_new(c);
    conn->knock = true;
    conn->since = volume_now();
    if (link_dial(c->v->engine->evb, &to, &c->options, &knock_callbacks, conn, &conn->link) != 0)
        contact_conn_free(conn);
}

void contact_try_at_once(struct contact *c) {
    if (!may_dial(c))
        return;
    if (dials(c))
        dial_at_once(c);
    else
        knock(c);
}

static void notice_in(struct contact *c, unsigned ms) {
    struct timeval tv = {.tv_usec = (suseconds_t)ms * 1000};
    if (may_dial(c) && !evtimer_pending(c->noticed, NULL))
        evtimer_add(c->noticed, &tv);
}

static void noticed(int fd, short what, void *arg) {
    struct contact *c = arg;
    const struct conn *conn = dials(c) ? dialling(c) : c->knocking;
    if (conn != NULL && volume_now() - conn->since < YOUNG_MS)
        notice_in(c, YOUNG_MS);
    else
        contact_try_at_once(c);
}

/* A host on which much comes and goes has us try so often at most; and only while there is no
 * connection. */
static void net_changed(void *arg) {
    notice_in(arg, NOTICED_MS);
}

/* It has come while we are those who dial: unless it says Hello, the peer knocks. Two that both
 * dial, since one has a wrong name, must not do so for each other. */
void contact_knocked(struct contact *c, struct conn *conn) {
    conn->knock = c->dial != NULL && strcmp(c->v->conf->node, contact_peer(c)->name) < 0;
    if (conn->knock && may_dial(c) && !c->waits_slow)
        noticed(-1, 0, c);
}

/* ---- opening and closing ----------------------------------------------------------- */

int contact_dial_open(struct contact *c) {
    c->dial = evtimer_new(c->v->engine->evb, dial_now, c);
    c->noticed = evtimer_new(c->v->engine->evb, noticed, c);
    if (c->dial == NULL || c->noticed == NULL)
        return -ENOMEM;
    int r = netwatch_open(c->v->engine->evb, net_changed, c, &c->netwatch);
    if (r != 0)
        log_debug("changes of the network are not told: %s", log_strerror(r));
    return 0;
}

void contact_dial_close(struct contact *c) {
    netwatch_close(c->netwatch);
    if (c->noticed != NULL)
        event_free(c->noticed);
    if (c->dial != NULL)
        event_free(c->dial);
}
