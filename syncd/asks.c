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
    unsigned term, terms; /* terms: so many there have been */
    int fd;               /* -1: there is none, or it cannot be looked at */
};

static _Thread_local struct {
    struct asks *asks;
    unsigned term;
} job;

struct asks *asks_new(void) {
    struct asks *a = mem_new(sizeof *a);
    pthread_mutex_init(&a->mutex, NULL);
    a->fd = -1;
    return a;
}

static void set(struct asks *a, unsigned term, int fd) {
    pthread_mutex_lock(&a->mutex);
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    a->term = term;
    pthread_mutex_unlock(&a->mutex);
}

void asks_free(struct asks *a) {
    if (a == NULL)
        return;
    set(a, 0, -1);
    pthread_mutex_destroy(&a->mutex);
    free(a);
}

void asks_begin(struct asks *a, int fd) {
    if (a == NULL)
        return;
    if (++a->terms == 0)
        a->terms = 1;
    set(a, a->terms, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void asks_end(struct asks *a) {
    if (a != NULL)
        set(a, 0, -1);
}

unsigned asks_term(const struct asks *a) {
    return a == NULL ? 0 : a->term; /* nobody else writes it */
}

void asks_enter(struct asks *a, unsigned term) {
    job.asks = a;
    job.term = term;
}

static bool has_ended(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return fd >= 0 && poll(&p, 1, 0) > 0 && p.revents != 0;
}

int asks_still(void) {
    struct asks *a = job.asks;
    if (a == NULL || job.term == 0)
        return 0;
    pthread_mutex_lock(&a->mutex);
    bool still = a->term == job.term && !has_ended(a->fd);
    pthread_mutex_unlock(&a->mutex);
    return still ? 0 : -ENOTCONN;
}
