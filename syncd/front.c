/*
 * front - the connection with mailfs
 *
 * Diagnostics: who connects and goes, and packets that make no sense.
 */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <event2/event.h>
#include <utlist.h>

#include "asks.h"
#include "base.h"
#include "contact.h"
#include "driver.h"
#include "front_private.h"
#include "mem.h"
#include "net/local.h"
#include "oneway_lock.h"
#include "timer.h"
#include "txn.h"
#include "util/log.h"
#include "util/str.h"
#include "volume.h"
#include "wire/codec.h"

/* Packets taken in one go, before others get their turn. */
#define BURST 64
/* Disk jobs waiting beyond which mailfs is not read. */
#define BUSY_JOBS 20000
/* In which the next worker has come, or the lock of one that ends is gone. */
#define APART_MS 200

#define REQ_BITS 48
#define REQ_MASK ((UINT64_C(1) << REQ_BITS) - 1)

uint64_t front_req(const struct front *f, uint64_t req) {
    return ((uint64_t)f->conn_no << REQ_BITS) | (req & REQ_MASK);
}

static void queue_free(struct front *f) {
    struct front_packet *p, *tmp;
    DL_FOREACH_SAFE(f->queue, p, tmp) {
        DL_DELETE(f->queue, p);
        free(p);
    }
    f->queued = 0;
}

static void conn_close(struct front *f) {
    if (f->read != NULL)
        event_free(f->read);
    if (f->write != NULL)
        event_free(f->write);
    f->read = f->write = NULL;
    f->write_armed = false;
    if (f->fd >= 0)
        close(f->fd);
    if (f->doubt_fd >= 0)
        close(f->doubt_fd);
    asks_end(f->v->asks);
    f->fd = f->doubt_fd = -1;
    f->hello = f->doubted = false;
    f->gen_done = NULL;
    queue_free(f);
}

void front_is_lost(struct front *f) {
    f->away = false;
    txns_abandon(f->v->txns);
    txns_locks_are(f->v->txns, NULL, 0, true);
    driver_pump(f->v);
}

static void holder_forget(struct front *f) {
    f->keeps = false;
    if (f->holder != NULL)
        event_free(f->holder);
    if (f->holder_fd >= 0)
        close(f->holder_fd);
    f->holder = NULL;
    f->holder_fd = -1;
}

/* A mailfs that is connected ends by itself soon, and says so by the connection's end. */
static void holder_ended(evutil_socket_t fd, short what, void *arg) {
    struct front *f = arg;
    holder_forget(f);
    if (!f->away)
        return;
    log_warn("volume %s: mailfs does not come back: its mount is lost", f->v->cv->name);
    front_is_lost(f);
}

void front_held_by(struct front *f, pid_t holder) {
    holder_forget(f);
    if (holder <= 0)
        return;
    f->holder_fd = (int)syscall(SYS_pidfd_open, holder, 0);
    if (f->holder_fd < 0) {
        log_warn("volume %s: process %d, which keeps the mount: %s", f->v->cv->name, (int)holder,
                 log_strerror(-errno));
        return;
    }
    f->holder = event_new(f->v->engine->evb, f->holder_fd, EV_READ, holder_ended, f);
    if (f->holder == NULL)
        mem_out("an event");
    event_add(f->holder, NULL);
    f->keeps = true;
}

/* The peer is met again when it has come, or has ended (contact.c). */
static void apart(evutil_socket_t fd, short what, void *arg) {
    struct front *f = arg;
    if (!contact_is_up(f->v) || !front_is_apart(f))
        return;
    contact_drop(f->v, "its mailfs serves without syncd", true);
    driver_pump(f->v);
}

/* Who has only been replaced by another worker, or ends, is not told from who serves on. The time
 * counts from the first end on: one that comes and goes serves by itself in between. */
static void look_for_apart(struct front *f) {
    struct timeval tv = {.tv_usec = APART_MS * 1000};
    if (f->apart != NULL && !f->v->stopping && !evtimer_pending(f->apart, NULL))
        evtimer_add(f->apart, &tv);
}

void front_disconnect(struct front *f) {
    struct volume *v = f->v;
    if (f->fd < 0)
        return;
    look_for_apart(f);
    log_info("volume %s: mailfs %d is gone", v->cv->name, (int)f->pid);
    conn_close(f);
    front_recent_to_stale(f);
    base_put_back_forget_all(v->state); /* it may serve on, or have died before it told */
    replica_mailfs_away(v->machine, volume_now());
    oneway_mailfs_away(v);
    driver_pump(v);
    if (f->keeps && !v->stopping)
        f->away = true;
    else
        front_is_lost(f);
}

void front_doubt(struct front *f, bool is) {
    uint64_t n = 1;
    if (f->doubt_fd < 0 || f->doubted == is)
        return;
    f->doubted = is;
    ssize_t r = is ? write(f->doubt_fd, &n, sizeof n) : read(f->doubt_fd, &n, sizeof n);
    if (r != sizeof n)
        log_warn_limited("volume %s: mailfs: %s", f->v->cv->name, log_strerror(-errno));
}

/*
 * mailfs takes the end of the connection for syncd's, after which the token of a mailbox is where
 * it was heard to be. Here it may have been given away without that having been read, or is now.
 * What it says meanwhile, or has said and was not read, it takes for told: its next Hello makes for
 * a look at what it has changed.
 */
void front_give_up(struct front *f) {
    f->missed = true;
    front_doubt(f, true);
    front_disconnect(f);
}

/* 1: a packet was handled; 0: no more for now; negative: close. */
static int read_one(struct front *f) {
    static uint8_t buf[LOCAL_PACKET_MAX];
    int passed = -1;
    ssize_t n = local_recv(f->fd, buf, sizeof buf, &passed);
    if (n == -EAGAIN || n == -EINTR)
        return 0;
    if (n <= 0)
        return n == 0 ? -ECONNRESET : (int)n;
    Mfl__ToSyncd *m = NULL;
    char why[256];
    int r = wire_to_syncd_unpack(buf, (size_t)n, &m, why, sizeof why);
    if (r == 0)
        r = front_receive(f, &m, &passed);
    else
        log_warn_limited("volume %s: from mailfs: %s", f->v->cv->name, why);
    f->missed = f->missed || r < 0;
    wire_to_syncd_free(m);
    if (passed >= 0)
        close(passed);
    return r < 0 ? r : 1;
}

static void readable(evutil_socket_t fd, short what, void *arg) {
    struct front *f = arg;
    struct volume *v = f->v;
    int r = 1;
    for (unsigned i = 0; i < BURST && r > 0 && f->fd >= 0; i++) {
        r = read_one(f);
        driver_pump(v); /* the machine wants its actions taken out after every call */
    }
    if (r < 0 && f->fd >= 0) {
        if (r == -ECONNRESET) {
            front_disconnect(f);
            return;
        }
        volume_error(v, "mailfs said something that makes no sense (%s): connection closed",
                     log_strerror(r));
        front_give_up(f);
    } else if (f->fd >= 0 && jobs_pending(v->jobs) > BUSY_JOBS) {
        f->paused = true;
        event_del(f->read);
    }
}

void front_resume(struct front *f) {
    if (f == NULL || f->fd < 0 || !f->paused || jobs_pending(f->v->jobs) > BUSY_JOBS / 2)
        return;
    f->paused = false;
    event_add(f->read, NULL);
}

static void writable(evutil_socket_t fd, short what, void *arg) {
    struct front *f = arg;
    f->write_armed = false;
    front_flush(f);
}

static void acceptable(evutil_socket_t fd, short what, void *arg) {
    struct front *f = arg;
    struct event_base *evb = f->v->engine->evb;
    pid_t pid = 0;
    int conn = local_accept(f->listen_fd, &pid);
    if (conn < 0) {
        if (conn == -EACCES)
            log_warn_limited("volume %s: pid %d may not connect as mailfs", f->v->cv->name,
                             (int)pid);
        return;
    }
    /* All that the one before has said, before what this one says. */
    while (f->fd >= 0 && read_one(f) > 0)
        driver_pump(f->v);
    front_disconnect(f);
    f->fd = conn;
    f->pid = pid;
    f->conn_no++;
    f->paused = false;
    f->read = event_new(evb, conn, EV_READ | EV_PERSIST, readable, f);
    f->write = event_new(evb, conn, EV_WRITE, writable, f);
    if (f->read == NULL || f->write == NULL)
        mem_out("an event");
    event_add(f->read, NULL);
}

int front_open(struct volume *v, char *err, size_t errsize) {
    char path[4096] = "";
    struct front *f = mem_new(sizeof *f);
    v->front = f;
    f->v = v;
    f->fd = -1;
    f->listen_fd = f->holder_fd = f->doubt_fd = -1;
    int r = state_mark_gen(v->state, &f->gen);
    if (f->gen == 0)
        f->gen = 1;
    if (r == 0)
        r = str_printf(path, sizeof path, "%s/syncd.sock", v->cv->state);
    if (r == 0)
        r = f->listen_fd = local_listen(path);
    if (r < 0) {
        snprintf(err, errsize, "%s: %s", path, log_strerror(r));
        return r;
    }
    f->accept = event_new(v->engine->evb, f->listen_fd, EV_READ | EV_PERSIST, acceptable, f);
    if (f->accept == NULL)
        return -ENOMEM;
    f->apart = timer_new(v->engine->evb, apart, f);
    event_add(f->accept, NULL);
    return 0;
}

void front_close(struct volume *v) {
    struct front *f = v->front;
    char path[4096];
    if (f == NULL)
        return;
    conn_close(f);
    if (f->accept != NULL)
        event_free(f->accept);
    if (f->apart != NULL)
        event_free(f->apart);
    if (f->listen_fd >= 0) {
        close(f->listen_fd);
        if (str_printf(path, sizeof path, "%s/syncd.sock", v->cv->state) == 0)
            unlink(path);
    }
    struct front_stale *s, *tmp;
    front_recent_to_stale(f);
    HASH_ITER(hh, f->stale, s, tmp) {
        HASH_DEL(f->stale, s);
        free(s);
    }
    holder_forget(f);
    free(f);
    v->front = NULL;
}

bool front_is_connected(const struct front *f) {
    return f != NULL && f->fd >= 0 && f->hello;
}

const char *front_access(const struct front *f) {
    return !front_is_connected(f) ? NULL : f->is_private ? "private" : "checked";
}

/* The pid in it says nothing: it stays there when mailfs has ended, and is another process's one
 * day.
 */
bool front_mailfs_runs(const void *volume) {
    const struct volume *v = volume;
    char path[4096];
    if (str_printf(path, sizeof path, "%s/mailfs.lock", v->cv->state) != 0)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return locked;
}

bool front_asks_nobody(const struct front *f) {
    return front_is_connected(f) && f->no_peer && f->v->cv->peer != NULL;
}

bool front_is_apart(const struct front *f) {
    return front_is_connected(f) ? front_asks_nobody(f) : front_mailfs_runs(f->v);
}

bool front_is_looking(const struct front *f) {
    return f != NULL && f->looks > 0;
}

uint64_t front_gen(const struct front *f) {
    return f->gen;
}
