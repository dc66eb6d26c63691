/*
 * NAME
 *	link - one connection to a peer: TLS, frames, two priorities, signs of life
 *
 * DESCRIPTION
 *	A bufferevent does TLS. Control frames are appended to its output at once;
 *	bulk frames wait in a list here and follow in portions, whenever the
 *	output has run low. How a connection comes to be is in link_dial.c.
 *
 *	Every end, from whichever depth, goes through link_fail: it drops the
 *	connection at once and reports from an event of its own, so no caller
 *	finds its link gone in the middle of a call.
 *
 * DIAGNOSTICS
 *	Nothing is logged; the reason goes to on_down, see explain.c.
 */
#include "net/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#include "net/explain.h"
#include "net/framing.h"
#include "net/link_private.h"
#include "util/clock.h"

#define HANDSHAKE_MS 5000
/* Input held back at most: a frame, its header, and what TLS hands over at a time. */
#define INPUT_MAX (LINK_FRAME_MAX + FRAMING_HEADER + 64 * 1024)
/* Unsent bytes the kernel may hold: what is in there goes ahead of any control frame. */
#define NOTSENT_LOWAT (128 * 1024)
/* A backstop below our own silence timer, for a peer whose window stays closed. */
#define USER_TIMEOUT_MIN_MS 30000
/* Signs of life, and looks at the clock, within one silence_ms. */
#define TICKS_PER_SILENCE 6

static void arm(struct event *ev, unsigned ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    event_add(ev, &tv);
}

/* ---- the end ------------------------------------------------------------------ */

static void drop_bulk(struct link *l) {
    while (l->bulk_first) {
        struct link_bulk *b = l->bulk_first;

        l->bulk_first = b->next;
        free(b);
    }
    l->bulk_last = NULL;
    l->bulk_bytes = 0;
}

static void disconnect(struct link *l) {
    link_dial_stop(l);
    if (l->bev)
        bufferevent_free(l->bev);
    l->bev = NULL;
    drop_bulk(l);
    event_del(l->deadline);
    event_del(l->tick);
    event_del(l->resume);
}

void link_fail(struct link *l, enum link_reason reason) {
    if (l->state == LINK_ST_DOWN)
        return;
    l->state = LINK_ST_DOWN;
    l->reason = reason;
    disconnect(l);
    event_active(l->report, EV_TIMEOUT, 0);
}

static void report_down(evutil_socket_t fd, short what, void *arg) {
    struct link *l = arg;

    (void)fd;
    (void)what;
    l->cb.on_down(l, l->reason, l->text, l->arg);
}

static void really_free(struct link *l) {
    event_free(l->deadline);
    event_free(l->tick);
    event_free(l->resume);
    event_free(l->report);
    free(l);
}

void link_free(struct link *l) {
    if (!l)
        return;
    l->state = LINK_ST_DOWN;
    disconnect(l);
    event_del(l->report);
    if (l->busy)
        l->freed = true;
    else
        really_free(l);
}

/* Around callbacks within which the caller may free the link. */
static void enter(struct link *l) {
    l->busy++;
}

/* The link may be gone after this: don't touch it. */
static void leave(struct link *l) {
    l->busy--;
    if (l->freed && l->busy == 0)
        really_free(l);
}

/* ---- sending ------------------------------------------------------------------ */

static size_t output_bytes(const struct link *l) {
    return l->bev ? evbuffer_get_length(bufferevent_get_output(l->bev)) : 0;
}

/* Hand bulk frames to TLS as far as the bound allows. */
static void pump_bulk(struct link *l) {
    struct evbuffer *out = bufferevent_get_output(l->bev);

    while (l->bulk_first) {
        struct link_bulk *b = l->bulk_first;
        size_t waiting = evbuffer_get_length(out);

        if (waiting > 0 && waiting + b->len > LINK_BULK_INFLIGHT)
            break;
        if (framing_add(out, b->data, b->len) != 0)
            break; /* no memory now; tried again when the output has run low */
        l->bulk_first = b->next;
        if (!l->bulk_first)
            l->bulk_last = NULL;
        l->bulk_bytes -= b->len;
        free(b);
    }
}

static int check_sendable(const struct link *l, size_t len) {
    if (len == 0 || len > LINK_FRAME_MAX)
        return -EMSGSIZE;
    return l->state == LINK_ST_UP ? 0 : -ENOTCONN;
}

int link_send(struct link *l, const void *data, size_t len) {
    int rc = check_sendable(l, len);

    if (rc != 0)
        return rc;
    if (output_bytes(l) + len > LINK_CONTROL_MAX)
        return -ENOBUFS;
    return framing_add(bufferevent_get_output(l->bev), data, len);
}

int link_send_bulk(struct link *l, const void *data, size_t len) {
    int rc = check_sendable(l, len);
    struct link_bulk *b;

    if (rc != 0)
        return rc;
    if (l->bulk_bytes > 0 && l->bulk_bytes + len > LINK_BULK_MAX) {
        l->bulk_full = true;
        return -EAGAIN;
    }
    b = malloc(sizeof(*b) + len);
    if (!b)
        return -ENOMEM;
    b->next = NULL;
    b->len = len;
    memcpy(b->data, data, len);
    if (l->bulk_last)
        l->bulk_last->next = b;
    else
        l->bulk_first = b;
    l->bulk_last = b;
    l->bulk_bytes += len;
    pump_bulk(l);
    return 0;
}

static void say_closed(struct link *l) {
    snprintf(l->text, sizeof(l->text), "%s: closed by this node", l->name);
}

static void finish_closing(struct link *l) {
    /* One attempt: a peer that does not read gets no farewell. */
    SSL_shutdown(bufferevent_openssl_get_ssl(l->bev));
    say_closed(l);
    link_fail(l, LINK_CLOSED);
}

/* The output has run low. */
static void on_write(struct bufferevent *bev, void *arg) {
    struct link *l = arg;

    (void)bev;
    if (l->state != LINK_ST_UP && l->state != LINK_ST_CLOSING)
        return;
    pump_bulk(l);
    if (l->state == LINK_ST_CLOSING) {
        if (output_bytes(l) == 0 && !l->bulk_first)
            finish_closing(l);
        return;
    }
    if (l->bulk_full && l->bulk_bytes <= LINK_BULK_MAX / 2) {
        l->bulk_full = false;
        if (l->cb.on_writable)
            l->cb.on_writable(l, l->arg);
    }
}

void link_close(struct link *l, unsigned ms) {
    if (l->state != LINK_ST_UP) {
        say_closed(l);
        link_fail(l, LINK_CLOSED);
        return;
    }
    l->state = LINK_ST_CLOSING;
    event_del(l->tick);
    arm(l->deadline, ms);
    bufferevent_setwatermark(l->bev, EV_WRITE, 0, 0);
    if (output_bytes(l) == 0 && !l->bulk_first)
        finish_closing(l);
}

/* ---- receiving ---------------------------------------------------------------- */

/* Show the caller one frame. false: stop reading, the link may be gone. */
static bool deliver(struct link *l, const uint8_t *data, size_t len) {
    if (l->state == LINK_ST_HELLO) {
        if (len != 0) {
            snprintf(l->text, sizeof(l->text), "%s: the peer does not begin with an empty frame",
                     l->name);
            link_fail(l, LINK_GARBAGE);
            return false;
        }
        link_up(l);
    } else if (len > 0 && l->state == LINK_ST_UP) {
        l->cb.on_frame(l, data, len, l->arg);
    }
    return !l->freed && l->state != LINK_ST_DOWN && l->bev && !l->paused;
}

/* All whole frames at hand: what TLS hands over at a time, so the loop is not kept. */
static void take_frames(struct link *l) {
    struct bufferevent *bev = l->bev;
    struct evbuffer *in = bufferevent_get_input(bev);
    const uint8_t *data = NULL;
    size_t len = 0;
    bool go_on = true;
    int rc = 0;

    while (go_on) {
        rc = framing_next(in, LINK_FRAME_MAX, &data, &len);
        if (rc != 1)
            break;
        go_on = deliver(l, data, len);
        if (!l->freed && l->bev == bev)
            framing_drop(in, len);
    }
    if (rc == -EMSGSIZE)
        snprintf(l->text, sizeof(l->text), "%s: oversized frame: %zu bytes announced, limit %u",
                 l->name, len, LINK_FRAME_MAX);
    else if (rc < 0)
        snprintf(l->text, sizeof(l->text), "%s: out of memory", l->name);
    if (rc < 0)
        link_fail(l, rc == -EMSGSIZE ? LINK_OVERSIZE : LINK_ERROR);
}

static void on_read(struct bufferevent *bev, void *arg) {
    struct link *l = arg;

    (void)bev;
    l->last_rx = clock_ms();
    if (l->paused || l->state == LINK_ST_DOWN)
        return;
    enter(l);
    take_frames(l);
    leave(l);
}

/* Report what on_event has put aside. */
static void fail_as_ended(struct link *l) {
    enum link_reason reason;

    if (l->end_code)
        reason = explain_tls(l->end_code, l->name, &l->peer, tls_fingerprint(l->tls), l->end_up,
                             l->text, sizeof(l->text));
    else
        reason = explain_socket(l->end_error, l->name, l->end_up, l->text, sizeof(l->text));
    link_fail(l, reason);
}

static void on_resume(evutil_socket_t fd, short what, void *arg) {
    struct link *l = arg;

    (void)fd;
    (void)what;
    if (!l->bev)
        return;
    enter(l);
    if (!l->paused)
        take_frames(l);
    if (!l->freed && l->ended)
        fail_as_ended(l);
    leave(l);
}

void link_read(struct link *l, bool on) {
    if (l->paused == !on)
        return;
    l->paused = !on;
    if (!l->bev)
        return;
    if (on) {
        l->last_rx = clock_ms();
        bufferevent_enable(l->bev, EV_READ);
        event_active(l->resume, EV_TIMEOUT, 0);
    } else {
        bufferevent_disable(l->bev, EV_READ);
    }
}

/* ---- timers ------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    struct link *l = arg;
    unsigned period = l->silence_ms / TICKS_PER_SILENCE;
    uint64_t now = clock_ms();
    /* When we ourselves were late (stopped, swapped out), what the peer sent may
     * still lie unread in the socket: look once more before we accuse it. */
    bool late = now - l->last_tick > 2 * (uint64_t)period;

    (void)fd;
    (void)what;
    l->last_tick = now;
    if (!late && !l->paused && now - l->last_rx >= l->silence_ms) {
        snprintf(l->text, sizeof(l->text), "%s: nothing heard from the peer for %.1f s", l->name,
                 (double)(now - l->last_rx) / 1000.0);
        link_fail(l, LINK_SILENT);
        return;
    }
    if (output_bytes(l) == 0)
        framing_add(bufferevent_get_output(l->bev), "", 0);
    arm(l->tick, period);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg) {
    struct link *l = arg;

    (void)fd;
    (void)what;
    if (l->state == LINK_ST_CLOSING) {
        finish_closing(l);
        return;
    }
    snprintf(l->text, sizeof(l->text), "%s: timeout: %s", l->name,
             l->bev                          ? "no handshake within the time allowed"
             : l->state == LINK_ST_RESOLVING ? "the name could not be looked up in time"
                                             : "no connection within the time allowed");
    link_fail(l, LINK_TIMEOUT);
}

/* ---- coming up ---------------------------------------------------------------- */

void link_up(struct link *l) {
    l->state = LINK_ST_UP;
    event_del(l->deadline);
    l->last_tick = l->last_rx = clock_ms();
    if (l->silence_ms)
        arm(l->tick, l->silence_ms / TICKS_PER_SILENCE);
    l->cb.on_up(l, l->arg);
}

/* TLS is satisfied on our side. */
static void handshake_done(struct link *l) {
    int rc = tls_check(bufferevent_openssl_get_ssl(l->bev), &l->peer);

    l->last_rx = clock_ms();
    if (rc == -EPROTO) {
        snprintf(l->text, sizeof(l->text), "%s: other protocol version: the peer does not speak %s",
                 l->name, TLS_ALPN);
        link_fail(l, LINK_VERSION);
    } else if (rc != 0) {
        snprintf(l->text, sizeof(l->text), "%s: the peer showed no acceptable certificate",
                 l->name);
        link_fail(l, LINK_NO_CERTIFICATE);
    } else if (l->dialled) {
        l->state = LINK_ST_HELLO;
    } else if (framing_add(bufferevent_get_output(l->bev), "", 0) != 0) {
        snprintf(l->text, sizeof(l->text), "%s: out of memory", l->name);
        link_fail(l, LINK_ERROR);
    } else {
        enter(l);
        link_up(l);
        leave(l);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct link *l = arg;
    int error = what & BEV_EVENT_EOF ? 0 : EVUTIL_SOCKET_ERROR();
    unsigned long code = bufferevent_get_openssl_error(bev);

    if (l->state == LINK_ST_DOWN || l->ended)
        return;
    if (what & BEV_EVENT_CONNECTED) {
        handshake_done(l);
        return;
    }
    /* A refusal leaves several errors on OpenSSL's stack; the first is the cause. */
    while (bufferevent_get_openssl_error(bev))
        ;
    l->ended = true;
    l->end_code = code;
    l->end_error = error;
    l->end_up = l->state == LINK_ST_UP || l->state == LINK_ST_CLOSING;
    /* libevent reports the end ahead of the last bytes before it: let these come first. */
    event_active(l->resume, EV_TIMEOUT, 0);
}

static void tune_socket(int fd, unsigned silence_ms) {
    int one = 1, lowat = NOTSENT_LOWAT;
    unsigned user = silence_ms * 4 > USER_TIMEOUT_MIN_MS ? silence_ms * 4 : USER_TIMEOUT_MIN_MS;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof(user));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

int link_start_tls(struct link *l, int fd) {
    SSL *ssl = tls_new(l->tls, !l->dialled, &l->peer);

    if (ssl)
        l->bev = bufferevent_openssl_socket_new(
            l->base, fd, ssl, l->dialled ? BUFFEREVENT_SSL_CONNECTING : BUFFEREVENT_SSL_ACCEPTING,
            BEV_OPT_CLOSE_ON_FREE);
    if (!l->bev) {
        SSL_free(ssl);
        close(fd);
        return -ENOMEM;
    }
    tune_socket(fd, l->silence_ms);
    l->state = LINK_ST_HANDSHAKE;
    bufferevent_setcb(l->bev, on_read, on_write, on_event, l);
    bufferevent_setwatermark(l->bev, EV_READ, 0, INPUT_MAX);
    bufferevent_setwatermark(l->bev, EV_WRITE, LINK_BULK_INFLIGHT / 2, 0);
    bufferevent_enable(l->bev, EV_WRITE | (l->paused ? 0 : EV_READ));
    return 0;
}

struct link *link_new(struct event_base *base, const struct link_options *opt,
                      const struct link_callbacks *cb, void *arg, bool dialled) {
    struct link *l;

    if (opt->n_pins < 1 || opt->n_pins > LINK_PINS_MAX)
        return NULL;
    l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->base = base;
    l->tls = opt->tls;
    l->cb = *cb;
    l->arg = arg;
    l->dialled = dialled;
    l->silence_ms = opt->silence_ms;
    memcpy(l->pins, opt->pins, opt->n_pins * sizeof(l->pins[0]));
    l->peer = (struct tls_peer){.pins = l->pins, .n_pins = opt->n_pins, .matched = -1};
    l->deadline = event_new(base, -1, 0, on_deadline, l);
    l->tick = event_new(base, -1, 0, on_tick, l);
    l->resume = event_new(base, -1, 0, on_resume, l);
    l->report = event_new(base, -1, 0, report_down, l);
    l->connect_fd = -1;
    if (!l->deadline || !l->tick || !l->resume || !l->report) {
        link_discard(l);
        return NULL;
    }
    arm(l->deadline, opt->handshake_ms ? opt->handshake_ms : HANDSHAKE_MS);
    return l;
}

void link_discard(struct link *l) {
    struct event *ev[] = {l->deadline, l->tick, l->resume, l->report};

    for (size_t i = 0; i < sizeof(ev) / sizeof(ev[0]); i++)
        if (ev[i])
            event_free(ev[i]);
    free(l);
}

/* ---- questions ---------------------------------------------------------------- */

void link_set_callbacks(struct link *l, const struct link_callbacks *cb, void *arg) {
    l->cb = *cb;
    l->arg = arg;
}

bool link_is_up(const struct link *l) {
    return l->state == LINK_ST_UP;
}

bool link_is_dialled(const struct link *l) {
    return l->dialled;
}

int link_peer(const struct link *l) {
    return l->state == LINK_ST_UP || l->state == LINK_ST_CLOSING ? l->peer.matched : -1;
}

size_t link_queued(const struct link *l) {
    return output_bytes(l) + l->bulk_bytes;
}

unsigned link_quiet_ms(const struct link *l) {
    return (unsigned)(clock_ms() - l->last_rx);
}

const char *link_name(const struct link *l) {
    return l->name;
}

const char *link_reason_word(enum link_reason reason) {
    static const char *const words[] = {
        [LINK_CLOSED] = "closed",
        [LINK_REFUSED] = "refused",
        [LINK_TIMEOUT] = "timeout",
        [LINK_SILENT] = "silent",
        [LINK_WRONG_PEER] = "wrong-peer",
        [LINK_NO_CERTIFICATE] = "no-certificate",
        [LINK_NOT_TRUSTED] = "not-trusted",
        [LINK_VERSION] = "version",
        [LINK_GARBAGE] = "garbage",
        [LINK_OVERSIZE] = "oversize",
        [LINK_TLS] = "tls",
        [LINK_ERROR] = "error",
    };

    return (size_t)reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "unknown";
}
