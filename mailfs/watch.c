/*
 * watch - one epoll loop for processes, queues and a signal
 *
 * Diagnostics: none of its own.
 */
#include "watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utlist.h>

#include "keep.h"
#include "stats.h"
#include "util/workq.h"

struct watched {
    struct watched *prev, *next;
    int fd;
    uint64_t token;
    struct workq *wq; /* NULL: a process, or (fn NULL) the signal */
    void (*fn)(void *arg);
    void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watched *all;
static uint64_t last_token;
static int epfd = -1;

/* token may be NULL. */
static int watch_add(const struct watched *what, uint64_t *token) {
    struct watched *w = malloc(sizeof *w);
    if (w == NULL)
        return -ENOMEM;
    *w = *what;
    pthread_mutex_lock(&lock);
    w->token = ++last_token;
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = w->token};
    int r = epoll_ctl(epfd, EPOLL_CTL_ADD, w->fd, &ev) == 0 ? 0 : -errno;
    if (r == 0) {
        if (token != NULL)
            *token = w->token;
        DL_APPEND(all, w);
    }
    pthread_mutex_unlock(&lock);
    if (r != 0)
        free(w);
    return r;
}

/* The entry may have been cancelled, and its descriptor's number be another's. Under the lock. */
static struct watched *watch_find(uint64_t token) {
    struct watched *w;
    DL_SEARCH_SCALAR(all, w, token, token);
    return w;
}

/* Under the lock. */
static void watch_remove(struct watched *w) {
    epoll_ctl(epfd, EPOLL_CTL_DEL, w->fd, NULL);
    DL_DELETE(all, w);
    close(w->fd);
    free(w);
}

static void process_ended(uint64_t token) {
    void (*fn)(void *) = NULL;
    void *arg = NULL;
    pthread_mutex_lock(&lock);
    struct watched *w = watch_find(token);
    if (w != NULL) {
        fn = w->fn;
        arg = w->arg;
        watch_remove(w);
    }
    pthread_mutex_unlock(&lock);
    if (fn != NULL)
        fn(arg);
}

static void handle(uint64_t token) {
    struct signalfd_siginfo info;
    pthread_mutex_lock(&lock);
    struct watched *w = watch_find(token);
    struct workq *wq = w != NULL ? w->wq : NULL;
    bool process = w != NULL && w->fn != NULL;
    int fd = w != NULL ? w->fd : -1;
    pthread_mutex_unlock(&lock);
    if (wq != NULL)
        workq_poll(wq);
    else if (process)
        process_ended(token);
    else if (w != NULL && read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        stats_log();
}

static void *watcher(void *arg) {
    struct epoll_event ev[16];
    atomic_store(&keep.head->sentinel, gettid());
    for (;;) {
        int n = epoll_wait(epfd, ev, 16, -1);
        for (int i = 0; i < n; i++)
            handle(ev[i].data.u64);
    }
    return NULL;
}

int watch_init(void) {
    sigset_t usr1;
    pthread_t thread;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (epfd < 0)
        return -errno;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    int fd = signalfd(-1, &usr1, SFD_CLOEXEC | SFD_NONBLOCK);
    int r = fd < 0 ? -errno : watch_add(&(struct watched){.fd = fd}, NULL);
    if (r == 0)
        r = -pthread_create(&thread, NULL, watcher, NULL);
    if (r == 0)
        pthread_detach(thread);
    return r;
}

int watch_queue(struct workq *wq) {
    return watch_add(&(struct watched){.fd = workq_fd(wq), .wq = wq}, NULL);
}

int watch_process(int pidfd, void (*fn)(void *arg), void *arg, uint64_t *token) {
    return watch_add(&(struct watched){.fd = pidfd, .fn = fn, .arg = arg}, token);
}

bool watch_cancel(uint64_t token) {
    struct watched *w;
    pthread_mutex_lock(&lock);
    DL_SEARCH_SCALAR(all, w, token, token);
    if (w != NULL)
        watch_remove(w);
    pthread_mutex_unlock(&lock);
    return w != NULL;
}
