/*
 * hold - keeps the mount, and a worker that serves it
 *
 * Diagnostics: error: what kept it from being mounted; given up. warning: a worker died. info: a
 * worker took over, with the time it took; stopped.
 */
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hold_worker.h"
#include "keep.h"
#include "lock_end.h"
#include "mount.h"
#include "util/clock.h"
#include "util/log.h"
#include "vol.h"

enum { EXIT_OK = 0, EXIT_BAD = 1 };
enum {
    LOOK_MS = 100,   /* where only looking tells that a worker has ended */
    STOP_MS = 10000, /* for a clean stop, which settles what waits */
    PAUSE_MS = 50,   /* after a worker that could not start; twice as long each time, up to */
    PAUSE_MAX_MS = 5000,
    REPLACE_MS = 20000, /* for a new program to say that it could start */
};

/* How serving a mount ends. */
enum outcome { STOPPED, DIED, GIVEN_UP };

struct holding {
    const struct hold_args *args;
    int fuse_fd, mem_fd, signal_fd;
    struct hold_worker worker;
    bool stop, replace, unmounted; /* asked by signals; said by the worker */
    uint64_t served_from;          /* since when the worker serves, or the one before it did */
    uint64_t died;     /* clock_boot_ms() at which the last one was dead; 0: it serves */
    unsigned n_deaths; /* one after the other, of workers that did not serve long */
};

/* --- what comes in -------------------------------------------------------------------------------
 */

static void take_signals(struct holding *h) {
    struct signalfd_siginfo s;
    while (read(h->signal_fd, &s, sizeof s) == (ssize_t)sizeof s) {
        if (s.ssi_signo == SIGTERM || s.ssi_signo == SIGINT)
            h->stop = true;
        else if (s.ssi_signo == SIGHUP)
            h->replace = true;
        else if (s.ssi_signo == SIGUSR1 && h->worker.pid > 0)
            kill(h->worker.pid, SIGUSR1);
    }
}

/* Until something happens; timeout in ms, or -1. */
static void wait_a_while(struct holding *h, const struct hold_worker *w, int timeout) {
    struct pollfd p[] = {{.fd = h->signal_fd, .events = POLLIN},
                         {.fd = w->ctl, .events = POLLIN},
                         {.fd = w->pidfd, .events = POLLIN},
                         {.fd = w->sentinel, .events = POLLIN}};
    if (w->sentinel < 0 && (timeout < 0 || timeout > LOOK_MS))
        timeout = LOOK_MS;
    poll(p, 4, timeout);
    take_signals(h);
}

/* 0: it said so; -ECONNRESET: it has ended; -EINTR: a stop was asked for; -ETIMEDOUT. */
static int wait_for(struct holding *h, struct hold_worker *w, char what, int at_most_ms) {
    uint64_t until = clock_ms() + (uint64_t)at_most_ms;
    for (;;) {
        int heard = hold_worker_hear(w);
        if (heard == what)
            return 0;
        if (heard == HOLD_UNMOUNTED)
            h->unmounted = true;
        if (heard < 0 || hold_worker_ended(w))
            return -ECONNRESET;
        if (h->stop)
            return -EINTR;
        uint64_t now = clock_ms();
        if (at_most_ms >= 0 && now >= until)
            return -ETIMEDOUT;
        wait_a_while(h, w, at_most_ms < 0 ? -1 : (int)(until - now));
    }
}

/* --- workers -------------------------------------------------------------------------------------
 */

static void bury(struct hold_worker *w, int sig) {
    if (w->pid == 0)
        return;
    if (sig != 0)
        kill(w->pid, sig);
    hold_worker_wait(w);
    hold_worker_done(w);
    while (waitpid(-1, NULL, WNOHANG) > 0) /* those whose threads had to wait */
        ;
}

static bool dies_again_and_again(struct holding *h) {
    if (clock_ms() - h->served_from >= HOLD_LIVED_MS)
        h->n_deaths = 0;
    if (++h->n_deaths < HOLD_DEATHS_MAX)
        return false;
    log_error("workers die again and again: given up");
    return true;
}

/* Unless a stop is asked for. */
static void pause_ms(struct holding *h, unsigned ms) {
    uint64_t until = clock_ms() + ms, now;
    while (!h->stop && (now = clock_ms()) < until) {
        struct pollfd p = {.fd = h->signal_fd, .events = POLLIN};
        poll(&p, 1, (int)(until - now));
        take_signals(h);
    }
}

/* One that could start, and has not been let go yet. */
static int worker_prepared(struct holding *h, struct hold_worker *w, bool newest, int at_most_ms) {
    int r = hold_worker_start(w, h->args, newest, h->fuse_fd, h->mem_fd);
    if (r != 0)
        return r;
    r = wait_for(h, w, HOLD_PREPARED, at_most_ms);
    if (r != 0)
        bury(w, SIGKILL);
    return r;
}

static int worker_go(struct holding *h, struct hold_worker *w) {
    int r = hold_worker_say(w, HOLD_GO);
    if (r == 0)
        r = wait_for(h, w, HOLD_READY, -1);
    if (r == 0) {
        h->served_from = clock_ms();
        h->died = 0;
        hold_worker_serves(w);
    }
    return r;
}

static int worker_started(struct holding *h) {
    int r = worker_prepared(h, &h->worker, false, -1);
    if (r == 0)
        r = worker_go(h, &h->worker);
    if (r != 0)
        bury(&h->worker, SIGKILL);
    return r;
}

/*
 * The worker is dead: others, until one serves. DIED: it does; or GIVEN_UP or STOPPED. One that
 * cannot start (no memory, a configuration that is just being written) is not one that died.
 */
static enum outcome successor(struct holding *h, uint64_t since) {
    uint64_t until = clock_ms() + vol.timeout_ms; /* nobody waits longer for us */
    unsigned pause = PAUSE_MS;
    bury(&h->worker, 0);
    if (!h->unmounted && !h->stop && dies_again_and_again(h))
        return GIVEN_UP;
    for (;;) {
        if (h->unmounted || h->stop)
            return STOPPED;
        if (worker_started(h) == 0)
            break;
        if (clock_ms() >= until) {
            log_error("no worker can be started: given up");
            return GIVEN_UP;
        }
        pause_ms(h, pause);
        pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
    }
    log_info("worker %d has taken over after %llu ms", (int)h->worker.pid,
             (unsigned long long)(clock_ms() - since));
    return DIED; /* the former one */
}

/* SIGHUP. The running one is let alone until the new one has said that it can start. */
static enum outcome replace(struct holding *h) {
    struct hold_worker next = HOLD_WORKER_NONE;
    h->replace = false;
    int r = keep_possible() ? worker_prepared(h, &next, true, REPLACE_MS) : -ENOTSUP;
    if (r != 0) {
        log_error("the worker cannot be replaced, it goes on: %s",
                  r == -ENOTSUP     ? "this kernel cannot keep the mount, restart mailfs instead"
                  : r == -ETIMEDOUT ? "the new one does not start"
                                    : "the new one cannot start");
        return DIED;
    }
    uint64_t since = clock_ms();
    bury(&h->worker, SIGKILL);
    h->worker = next;
    if (worker_go(h, &h->worker) != 0) {
        bury(&h->worker, SIGKILL); /* it may be well: told to stop, we did not wait for it */
        return successor(h, since);
    }
    hold_worker_trust(&h->worker);
    log_info("worker %d has taken over after %llu ms", (int)h->worker.pid,
             (unsigned long long)(clock_ms() - since));
    return DIED;
}

/* --- the mount -----------------------------------------------------------------------------------
 */

static int do_mount(const struct holding *h) {
    char data[128];
    snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other%s",
             h->fuse_fd, vol.is_private ? "" : ",default_permissions");
    if (mount("mailfs", vol.conf_volume->mount, "fuse.mailfs", MS_NOSUID | MS_NODEV, data) != 0) {
        log_error("cannot mount at %s: %s", vol.conf_volume->mount, log_strerror(-errno));
        return -errno;
    }
    return vol.is_private ? mount_check_alone() : 0;
}

static void close_mount(struct holding *h) {
    if (h->fuse_fd >= 0)
        close(h->fuse_fd);
    if (h->mem_fd >= 0)
        close(h->mem_fd);
    keep_unmap();
    h->fuse_fd = h->mem_fd = -1;
}

/* All that is answered from here on is errors. */
static void end_connection(const struct holding *h) {
    lock_end_owners(h->died != 0 ? h->died : clock_boot_ms());
    mount_abort();
}

/* anew: another one, whose worker died, is there and goes. */
static int open_mount(struct holding *h, bool anew) {
    h->mem_fd = keep_create();
    h->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    int r = h->mem_fd < 0 ? h->mem_fd : h->fuse_fd < 0 ? -errno : 0;
    if (r != 0) {
        log_error("/dev/fuse, or memory for it: %s", log_strerror(r));
        return r;
    }
    keep.head->clean = vol.clean && !anew;
    keep.head->is_private = vol.is_private;
    keep.head->private_uid = vol.private_uid;
    if (anew)
        unsetenv("MAILFS_DIE"); /* for tests: once is enough */
    r = worker_prepared(h, &h->worker, false, -1);
    if (r != 0)
        return r;
    if (anew)
        mount_take_away();
    r = do_mount(h);
    if (r == 0)
        r = worker_go(h, &h->worker);
    if (r != 0) {
        bury(&h->worker, SIGKILL);
        mount_take_away();
    }
    return r;
}

/* Until the mount's end, or until it must be made anew (DIED). */
static enum outcome watch(struct holding *h) {
    for (;;) {
        enum outcome o = DIED;
        take_signals(h); /* a stop may have been asked of both */
        if (h->stop || h->unmounted)
            return STOPPED;
        int heard = hold_worker_hear(&h->worker);
        if (heard == HOLD_UNMOUNTED)
            h->unmounted = true;
        if (hold_worker_ended(&h->worker)) {
            uint64_t since = clock_ms();
            h->died = clock_boot_ms();
            if (!h->unmounted)
                log_warn("worker %d has died", (int)h->worker.pid);
            if (!keep_possible() && !h->unmounted)
                return dies_again_and_again(h) ? GIVEN_UP : DIED;
            o = successor(h, since);
        } else if (h->replace) {
            o = replace(h);
        } else if (heard == 0) {
            wait_a_while(h, &h->worker, -1);
        }
        if (o != DIED)
            return o;
    }
}

/* Settles what waits; what does not end by itself is ended. */
static void stop_worker(struct holding *h) {
    uint64_t until = clock_ms() + STOP_MS;
    if (h->worker.pid == 0)
        return;
    kill(h->worker.pid, SIGTERM);
    while (!hold_worker_ended(&h->worker) && clock_ms() < until)
        wait_a_while(h, &h->worker, LOOK_MS);
    kill(h->worker.pid, SIGKILL);
    if (!h->unmounted)
        end_connection(h); /* or its last threads might wait for ever */
    bury(&h->worker, 0);
}

static void signals_open(struct holding *h) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    h->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
}

static int check(void) {
    int r = hold_worker_program();
    if (r != 0) {
        log_error("own program: %s", log_strerror(r));
        return r;
    }
    if (geteuid() != 0) {
        log_error("mailfs must be run by root");
        return -EPERM;
    }
    r = mount_open_store();
    if (r == 0)
        r = mount_take_state();
    if (r == 0)
        r = mount_check_point();
    return r == 0 ? mount_check_private() : r;
}

int hold(const struct hold_args *args) {
    struct holding h = {.args = args, .fuse_fd = -1, .mem_fd = -1};
    h.worker = (struct hold_worker)HOLD_WORKER_NONE;
    enum outcome o = GIVEN_UP;
    umask(0);
    signals_open(&h);
    if (check() != 0 || open_mount(&h, false) != 0)
        return EXIT_BAD;
    args->ready();
    while ((o = watch(&h)) == DIED) {
        end_connection(&h);
        bury(&h.worker, SIGKILL);
        close_mount(&h);
        if (open_mount(&h, true) != 0)
            break;
        log_warn("the mount could not be kept and was made anew");
    }
    if (o != STOPPED) {
        end_connection(&h);
        bury(&h.worker, SIGKILL);
        return EXIT_BAD; /* what is left answers ENOTCONN, rather than take mail */
    }
    stop_worker(&h);
    if (!h.unmounted)
        mount_take_away();
    mount_leave_state();
    log_info("volume %s stopped", vol.conf_volume->name);
    return EXIT_OK;
}
