/*
 * NAME
 *	listener - accept peers, bound what strangers can cost
 *
 * DESCRIPTION
 *	Each accepted connection becomes a link in one of a few slots until it is
 *	up (and handed on) or down (and freed). When there is no free slot the
 *	oldest gives way, because an honest handshake is over in two round trips,
 *	before sixteen newer connections can have come.
 *
 * DIAGNOSTICS
 *	Warnings, rate limited: a handshake that failed, and why; too many open
 *	descriptors, upon which accepting rests for a second.
 */
#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "util/log.h"

#define BACKLOG 64
#define REST_MS 1000

struct half_open {
    struct listener *ls;
    struct link *link; /* NULL: the slot is free */
    uint64_t number;   /* of the connection: the lowest is the oldest */
};

struct listener {
    struct event_base *base;
    struct evconnlistener *ev;
    struct event *rested;
    struct link_options opt;
    struct cert_fingerprint pins[LINK_PINS_MAX];
    listener_cb *on_link;
    listener_failed_cb *on_failed;
    void *arg;
    struct half_open half_open[LISTENER_HALF_OPEN];
    struct listener_stats stats;
    struct log_limit limit;
    char name[ADDR_TEXT_MAX];
};

/* Empty the slot; the link is the caller's now. */
static struct link *forget(struct half_open *h) {
    struct link *link = h->link;

    h->link = NULL;
    h->ls->stats.half_open--;
    return link;
}

static void half_up(struct link *link, void *arg) {
    struct half_open *h = arg;
    struct listener *ls = h->ls;

    forget(h);
    ls->stats.up++;
    ls->on_link(link, ls->arg);
}

static void failed(struct listener *ls, enum link_reason reason, const char *text) {
    ls->stats.failed++;
    log_msg_limited(&ls->limit, LOG_LVL_WARN, "%s: refused a connection from %s", ls->name, text);
    if (ls->on_failed)
        ls->on_failed(reason, text, ls->arg);
}

static void half_down(struct link *link, enum link_reason reason, const char *text, void *arg) {
    struct half_open *h = arg;
    struct listener *ls = h->ls;

    forget(h);
    failed(ls, reason, text);
    link_free(link);
}

/* Frames come only after half_up, which hands the link to somebody else. */
static void half_frame(struct link *link, const uint8_t *data, size_t len, void *arg) {
    (void)link;
    (void)data;
    (void)len;
    (void)arg;
}

static const struct link_callbacks half_open_callbacks = {
    .on_up = half_up,
    .on_frame = half_frame,
    .on_down = half_down,
};

static void displace(struct half_open *h) {
    struct link *link = forget(h);
    char text[ADDR_TEXT_MAX + 64];

    snprintf(text, sizeof(text), "%s: too many connections in the handshake", link_name(link));
    h->ls->stats.displaced++;
    failed(h->ls, LINK_TIMEOUT, text);
    link_free(link);
}

/* A free slot, made so if need be. */
static struct half_open *obtain_slot(struct listener *ls) {
    struct half_open *oldest = &ls->half_open[0];

    for (size_t i = 0; i < LISTENER_HALF_OPEN; i++) {
        if (!ls->half_open[i].link)
            return &ls->half_open[i];
        if (ls->half_open[i].number < oldest->number)
            oldest = &ls->half_open[i];
    }
    displace(oldest);
    return oldest;
}

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg) {
    struct listener *ls = arg;
    struct half_open *h = obtain_slot(ls);

    (void)ev;
    (void)sa;
    (void)len;
    h->ls = ls;
    h->number = ls->stats.accepted++;
    if (link_accept(ls->base, fd, &ls->opt, &half_open_callbacks, h, &h->link) == 0)
        ls->stats.half_open++;
    else
        h->link = NULL;
}

/* Without descriptors accept(2) fails at once, for ever: rest, or the loop spins. */
static void on_accept_error(struct evconnlistener *ev, void *arg) {
    struct listener *ls = arg;
    struct timeval rest = {.tv_sec = REST_MS / 1000};

    log_msg_limited(&ls->limit, LOG_LVL_WARN, "%s: accept: %s", ls->name, strerror(errno));
    evconnlistener_disable(ev);
    event_add(ls->rested, &rest);
}

static void on_rested(evutil_socket_t fd, short what, void *arg) {
    struct listener *ls = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(ls->ev);
}

/* A bound, not yet listening socket. Descriptor or negative errno. */
static int bind_socket(const struct addr_socket *at) {
    int one = 1, rc;
    int fd = socket(at->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&at->sa, at->len) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static int start(struct listener *ls, const struct addr *at) {
    struct addr_socket sock;
    int fd, rc = addr_lookup(at, &sock);

    if (rc != 0)
        return rc;
    fd = bind_socket(&sock);
    if (fd < 0)
        return fd;
    sock.len = sizeof(sock.sa);
    if (getsockname(fd, (struct sockaddr *)&sock.sa, &sock.len) == 0)
        addr_format_socket((struct sockaddr *)&sock.sa, sock.len, ls->name);
    ls->rested = event_new(ls->base, -1, 0, on_rested, ls);
    errno = ENOMEM;
    if (ls->rested)
        ls->ev = evconnlistener_new(ls->base, on_accept, ls,
                                    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (!ls->ev) {
        rc = -errno;
        close(fd);
        return rc;
    }
    evconnlistener_set_error_cb(ls->ev, on_accept_error);
    return 0;
}

int listener_open(struct event_base *base, const struct addr *at, const struct link_options *opt,
                  listener_cb *on_link, listener_failed_cb *on_failed, void *arg,
                  struct listener **out, char *err, size_t errsize) {
    struct listener *ls;
    int rc;

    if (opt->n_pins < 1 || opt->n_pins > LINK_PINS_MAX) {
        snprintf(err, errsize, "between 1 and %d peers are possible", LINK_PINS_MAX);
        return -EINVAL;
    }
    ls = calloc(1, sizeof(*ls));
    if (!ls) {
        snprintf(err, errsize, "out of memory");
        return -ENOMEM;
    }
    ls->base = base;
    ls->on_link = on_link;
    ls->on_failed = on_failed;
    ls->arg = arg;
    ls->opt = *opt;
    memcpy(ls->pins, opt->pins, opt->n_pins * sizeof(ls->pins[0]));
    ls->opt.pins = ls->pins;
    addr_format(at, ls->name);
    rc = start(ls, at);
    if (rc != 0) {
        snprintf(err, errsize, "listen on %s: %s", ls->name,
                 rc == -ENOENT ? "no such address" : strerror(-rc));
        listener_close(ls);
        return rc;
    }
    *out = ls;
    return 0;
}

void listener_close(struct listener *ls) {
    if (!ls)
        return;
    for (size_t i = 0; i < LISTENER_HALF_OPEN; i++)
        link_free(ls->half_open[i].link);
    if (ls->ev)
        evconnlistener_free(ls->ev);
    if (ls->rested)
        event_free(ls->rested);
    free(ls);
}

const char *listener_name(const struct listener *ls) {
    return ls->name;
}

struct listener_stats listener_stats(const struct listener *ls) {
    return ls->stats;
}
