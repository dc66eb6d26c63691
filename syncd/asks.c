/*
 * asks - does mailfs still ask for L what a job was begun under?
 *
 * The descriptor is one of our own, under the mutex: the loop thread may be closing the connection.
 *
 * No diagnostics.
 */
#include "asks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "mem.h"

struct asks {
    pthread_mutex_t mutex;
    unsigned term; /* another one whenever one has come, or ended */
    int fd;        /* -1: there is none, or it cannot be looked at */
    bool connected;
    bool (*runs)(const void *arg);
    const void *arg;
};

static _Thread_local struct {
    struct asks *asks;
    struct asks_at at;
} job;

struct asks *asks_new(bool (*runs)(const void *arg), const void *arg) {
    struct asks *a = mem_new(sizeof *a);
    a->runs = runs;
    a->arg = arg;
    pthread_mutex_init(&a->mutex, NULL);
    a->fd = -1;
    return a;
}

static void set(struct asks *a, bool connected, int fd) {
    pthread_mutex_lock(&a->mutex);
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    a->connected = connected;
    a->term++;
    pthread_mutex_unlock(&a->mutex);
}

void asks_free(struct asks *a) {
    if (a == NULL)
        return;
    set(a, false, -1);
    pthread_mutex_destroy(&a->mutex);
    free(a);
}

void asks_begin(struct asks *a, int fd) {
    if (a != NULL)
        set(a, true, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void asks_end(struct asks *a) {
    if (a != NULL && a->connected)
        set(a, false, -1);
}

/* What it reads nobody else writes. */
struct asks_at asks_now(const struct asks *a) {
    if (a == NULL)
        return (struct asks_at){0};
    return (struct asks_at){a->term, !a->connected && a->runs(a->arg)};
}

void asks_enter(struct asks *a, struct asks_at at) {
    job.asks = a;
    job.at = at;
}

void asks_saw(bool ran) {
    job.at.ran = ran;
}

static bool has_ended(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return fd >= 0 && poll(&p, 1, 0) > 0 && p.revents != 0;
}

int asks_still(void) {
    struct asks *a = job.asks;
    if (a == NULL)
        return 0;
    pthread_mutex_lock(&a->mutex);
    bool same = a->term == job.at.term && !has_ended(a->fd), alone = !a->connected;
    pthread_mutex_unlock(&a->mutex);
    bool come = same && alone && !job.at.ran && a->runs(a->arg);
    return same && !come ? 0 : -EOWNERDEAD;
}
