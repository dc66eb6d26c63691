/*
 * NAME
 *	netwatch - tells that links, addresses or routes have changed
 *
 * DESCRIPTION
 *	A NETLINK_ROUTE socket in the groups of these. Its messages are not read
 *	but thrown away: that there are some is all that is told. What was told
 *	since the last look is told once.
 *
 * DIAGNOSTICS
 *	None; errors are returned.
 */
#include "net/netwatch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <event2/event.h>

#define GROUPS                                                                                     \
    (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE)

struct netwatch {
    int fd;
    struct event *event;
    netwatch_fn *fn;
    void *arg;
};

/* ENOBUFS: there were more than the socket could hold, which is a change as well. */
static void on_messages(evutil_socket_t fd, short what, void *arg) {
    struct netwatch *w = arg;
    char buf[4096];

    (void)what;
    while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || errno == ENOBUFS || errno == EINTR)
        ;
    w->fn(w->arg);
}

int netwatch_open(struct event_base *base, netwatch_fn *fn, void *arg, struct netwatch **out) {
    struct sockaddr_nl me = {.nl_family = AF_NETLINK, .nl_groups = GROUPS};
    struct netwatch *w = calloc(1, sizeof(*w));
    int r = -ENOMEM;

    if (!w)
        return r;
    w->fn = fn;
    w->arg = arg;
    w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (w->fd < 0 || bind(w->fd, (struct sockaddr *)&me, sizeof(me)) < 0) {
        r = -errno;
    } else {
        w->event = event_new(base, w->fd, EV_READ | EV_PERSIST, on_messages, w);
        if (w->event && event_add(w->event, NULL) == 0)
            r = 0;
    }
    if (r < 0) {
        netwatch_close(w);
        return r;
    }
    *out = w;
    return 0;
}

void netwatch_close(struct netwatch *w) {
    if (!w)
        return;
    if (w->event)
        event_free(w->event);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}
