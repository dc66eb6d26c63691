/*
 * NAME
 *	addr - socket addresses, and names looked up without blocking
 *
 * DESCRIPTION
 *	getaddrinfo(3) blocks for as long as the name servers are dead. It runs
 *	in a detached thread that owns its request together with the loop; an
 *	eventfd tells the loop. A cancelled look-up ends in the background.
 *
 * DIAGNOSTICS
 *	Reasons are handed to the caller in words; nothing is logged.
 */
#include "net/addr.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

/* Look-ups that hang are left behind; no more than this many at a time. */
#define RESOLVE_THREADS_MAX 8

void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    snprintf(out, ADDR_TEXT_MAX, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u",
             a->host[0] ? a->host : "*", (unsigned)a->port);
}

void addr_format_socket(const struct sockaddr *sa, socklen_t len, char out[ADDR_TEXT_MAX]) {
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, ADDR_TEXT_MAX, "(unknown address)");
    else
        snprintf(out, ADDR_TEXT_MAX, strchr(host, ':') ? "[%.200s]:%.6s" : "%.200s:%.6s", host,
                 port);
}

/* getaddrinfo with our hints; a code of gai_strerror(3). */
static int look_up(const struct addr *a, int flags, struct addrinfo **out) {
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    bool any = !a->host[0] || strcmp(a->host, "*") == 0;
    char port[8];

    snprintf(port, sizeof(port), "%u", (unsigned)a->port);
    if (any) {
        hints.ai_flags |= AI_PASSIVE;
        hints.ai_family = AF_INET;
    }
    return getaddrinfo(any ? NULL : a->host, port, &hints, out);
}

static size_t copy_found(const struct addrinfo *list, struct addr_socket *out, size_t max) {
    size_t n = 0;

    for (; list && n < max; list = list->ai_next) {
        if (list->ai_addrlen > sizeof(out[n].sa))
            continue;
        memcpy(&out[n].sa, list->ai_addr, list->ai_addrlen);
        out[n++].len = list->ai_addrlen;
    }
    return n;
}

static int first_found(const struct addr *a, int flags, struct addr_socket *out) {
    struct addrinfo *list = NULL;
    size_t n;

    if (look_up(a, flags, &list) != 0)
        return -ENOENT;
    n = copy_found(list, out, 1);
    freeaddrinfo(list);
    return n == 1 ? 0 : -ENOENT;
}

int addr_numeric(const struct addr *a, struct addr_socket *out) {
    return first_found(a, AI_NUMERICHOST, out);
}

int addr_lookup(const struct addr *a, struct addr_socket *out) {
    return first_found(a, 0, out);
}

/* ---- look-ups in the background ---------------------------------------------- */

struct addr_resolve {
    struct addr addr;
    struct addr_socket found[ADDR_RESOLVE_MAX];
    size_t n;
    int code;          /* of getaddrinfo */
    int wake;          /* eventfd: the thread has finished */
    atomic_int owners; /* the thread and the loop */
    struct event *event;
    addr_resolve_cb *cb;
    void *arg;
};

static atomic_int threads;

static void release(struct addr_resolve *r) {
    if (atomic_fetch_sub(&r->owners, 1) != 1)
        return;
    close(r->wake);
    free(r);
}

static void *resolve_thread(void *arg) {
    struct addr_resolve *r = arg;
    struct addrinfo *list = NULL;
    uint64_t one = 1;

    r->code = look_up(&r->addr, AI_ADDRCONFIG, &list);
    if (r->code == 0) {
        r->n = copy_found(list, r->found, ADDR_RESOLVE_MAX);
        freeaddrinfo(list);
    }
    /* An eventfd at 0 takes a 1 without fail. */
    if (write(r->wake, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort();
    release(r);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

static void resolve_done(evutil_socket_t fd, short what, void *arg) {
    struct addr_resolve *r = arg;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return;
    event_free(r->event);
    r->cb(r->found, r->n, r->n > 0 ? NULL : gai_strerror(r->code ? r->code : EAI_NONAME), r->arg);
    release(r);
}

static int start_thread(struct addr_resolve *r) {
    pthread_attr_t attr;
    pthread_t thread;
    int rc = pthread_attr_init(&attr);

    if (rc != 0)
        return -rc;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (atomic_fetch_add(&threads, 1) >= RESOLVE_THREADS_MAX)
        rc = EAGAIN;
    else
        rc = pthread_create(&thread, &attr, resolve_thread, r);
    if (rc != 0)
        atomic_fetch_sub(&threads, 1);
    pthread_attr_destroy(&attr);
    return -rc;
}

int addr_resolve(struct event_base *base, const struct addr *a, addr_resolve_cb *cb, void *arg,
                 struct addr_resolve **out) {
    struct addr_resolve *r = calloc(1, sizeof(*r));
    int rc = -ENOMEM;

    if (!r)
        return -ENOMEM;
    *r = (struct addr_resolve){.addr = *a, .cb = cb, .arg = arg};
    atomic_init(&r->owners, 2);
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->wake < 0) {
        rc = -errno;
        goto err_free;
    }
    r->event = event_new(base, r->wake, EV_READ, resolve_done, r);
    if (!r->event || event_add(r->event, NULL) != 0)
        goto err_event;
    rc = start_thread(r);
    if (rc != 0)
        goto err_event;
    *out = r;
    return 0;

err_event:
    if (r->event)
        event_free(r->event);
    close(r->wake);
err_free:
    free(r);
    return rc;
}

void addr_resolve_cancel(struct addr_resolve *r) {
    if (!r)
        return;
    event_free(r->event);
    release(r);
}
