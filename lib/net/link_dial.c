/*
 * NAME
 *	link_dial - how a link comes to be: looked up and connected, or accepted
 *
 * DESCRIPTION
 *	A name may have several addresses; they are tried one after the other,
 *	all within the link's handshake_ms.
 *
 * DIAGNOSTICS
 *	See link.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "net/explain.h"
#include "net/link_private.h"

static void try_next(struct link *l);

void link_dial_stop(struct link *l) {
    addr_resolve_cancel(l->resolve);
    l->resolve = NULL;
    if (l->connect_event)
        event_free(l->connect_event);
    l->connect_event = NULL;
    if (l->connect_fd >= 0)
        close(l->connect_fd);
    l->connect_fd = -1;
}

static void fail_errno(struct link *l, int error) {
    enum link_reason reason = explain_socket(error, l->name, false, l->text, sizeof(l->text));

    link_fail(l, reason);
}

/* The socket of the current address is connected. */
static void connected(struct link *l) {
    int rc, fd = l->connect_fd;

    l->connect_fd = -1;
    link_dial_stop(l);
    rc = link_start_tls(l, fd);
    if (rc != 0)
        fail_errno(l, -rc);
}

static void on_connect(evutil_socket_t fd, short what, void *arg) {
    struct link *l = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0) {
        connected(l);
        return;
    }
    l->connect_error = error;
    link_dial_stop(l);
    try_next(l);
}

/* Start connecting to one address; false: it has failed already, connect_error says why. */
static bool start_connect(struct link *l, const struct addr_socket *a) {
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        l->connect_error = errno;
        return false;
    }
    if (connect(fd, (const struct sockaddr *)&a->sa, a->len) != 0 && errno != EINPROGRESS) {
        l->connect_error = errno;
        close(fd);
        return false;
    }
    l->connect_fd = fd;
    l->connect_event = event_new(l->base, fd, EV_WRITE, on_connect, l);
    if (!l->connect_event || event_add(l->connect_event, NULL) != 0) {
        l->connect_error = ENOMEM;
        link_dial_stop(l);
        return false;
    }
    return true;
}

static void try_next(struct link *l) {
    l->state = LINK_ST_CONNECTING;
    while (l->next_found < l->n_found)
        if (start_connect(l, &l->found[l->next_found++]))
            return;
    fail_errno(l, l->connect_error);
}

static void on_resolved(const struct addr_socket *found, size_t n, const char *why, void *arg) {
    struct link *l = arg;

    l->resolve = NULL;
    if (n == 0) {
        snprintf(l->text, sizeof(l->text), "%s: cannot look up the host name: %s", l->name, why);
        link_fail(l, LINK_REFUSED);
        return;
    }
    memcpy(l->found, found, n * sizeof(found[0]));
    l->n_found = n;
    try_next(l);
}

int link_dial(struct event_base *base, const struct addr *to, const struct link_options *opt,
              const struct link_callbacks *cb, void *arg, struct link **out) {
    struct link *l = link_new(base, opt, cb, arg, true);
    int rc = 0;

    if (!l)
        return opt->n_pins < 1 || opt->n_pins > LINK_PINS_MAX ? -EINVAL : -ENOMEM;
    addr_format(to, l->name);
    if (addr_numeric(to, &l->found[0]) == 0) {
        l->n_found = 1;
        try_next(l);
    } else {
        l->state = LINK_ST_RESOLVING;
        rc = addr_resolve(base, to, on_resolved, l, &l->resolve);
    }
    if (rc != 0) {
        link_discard(l);
        return rc;
    }
    *out = l;
    return 0;
}

int link_accept(struct event_base *base, int fd, const struct link_options *opt,
                const struct link_callbacks *cb, void *arg, struct link **out) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    struct link *l = link_new(base, opt, cb, arg, false);

    if (!l) {
        close(fd);
        return opt->n_pins < 1 || opt->n_pins > LINK_PINS_MAX ? -EINVAL : -ENOMEM;
    }
    /* A scanner may be gone again by now; its name is all that is lost. */
    if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0)
        addr_format_socket((struct sockaddr *)&sa, len, l->name);
    else
        snprintf(l->name, sizeof(l->name), "(gone)");
    if (link_start_tls(l, fd) != 0) {
        link_discard(l);
        return -ENOMEM;
    }
    *out = l;
    return 0;
}
