/*
 * lock - the L's there are, and their end (their making: lock_create.c; their owners: lock_owner.c,
 * lock_lost.c)
 *
 * A container's L is a struct lock_l from the question to syncd until it is gone; it holds a
 * reference to the container, so that the kernel's forgetting does not end it. Who moves it to a
 * state that ends it (GOING) frees it. Blocking work is done in upcall_queue(), in a lane per
 * container. One lock, `locks`, for all states; held for pointer work only; taken inside the
 * connection's.
 *
 * Diagnostics: error: no memory to go on with an L; a uidlist that could not be synced, or be given
 * another time. Nobody can be told: U is no error.
 */
#include "lock.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "event.h"
#include "io/io.h"
#include "lock_int.h"
#include "note.h"
#include "notify.h"
#include "owner.h"
#include "reserve.h"
#include "util/log.h"
#include "watch.h"

static pthread_mutex_t locks = PTHREAD_MUTEX_INITIALIZER;
static struct lock_l *all;
static uint64_t last_serial;

void lock_aux_set(const struct inode *cont, uint64_t aux) {
    atomic_store(&inode_slot(cont)->aux, aux);
}

uint32_t lock_request_number(void) {
    return (uint32_t)(note_unique() >> 1) & KEEP_L_NUMBER_MASK; /* the kernel counts by twos */
}

/* --- states
 * ---------------------------------------------------------------------------------------- */

struct lock_l *lock_new(struct inode *cont, fuse_req_t req) {
    struct lock_l *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->cont = cont;
    l->asked = cont->dir->id;
    l->req = req;
    if (req != NULL)
        l->ctx = *fuse_req_ctx(req);
    l->number = lock_request_number();
    inode_ref(cont);
    pthread_mutex_lock(&locks);
    l->serial = ++last_serial;
    DL_APPEND(all, l);
    cont->dir->lock = l;
    pthread_mutex_unlock(&locks);
    return l;
}

void lock_free(struct lock_l *l) {
    pthread_mutex_lock(&locks);
    DL_DELETE(all, l);
    if (l->cont->dir->lock == l) {
        l->cont->dir->lock = NULL;
        lock_aux_set(l->cont, 0);
    }
    pthread_mutex_unlock(&locks);
    if (l->watch != 0 && watch_cancel(l->watch))
        lock_owner_end_free(l->end);
    inode_unref(l->cont, 1);
    free(l->path);
    free(l);
}

void lock_set_state(struct lock_l *l, enum l_state s) {
    pthread_mutex_lock(&locks);
    l->state = s;
    pthread_mutex_unlock(&locks);
}

struct lock_l *lock_claim(struct dir *d, enum l_state from, uint64_t serial, fuse_req_t req) {
    pthread_mutex_lock(&locks);
    struct lock_l *l = d->lock;
    if (l == NULL || l->state != from || (serial != 0 && l->serial != serial)) {
        l = NULL;
    } else {
        l->state = GOING;
        l->req = req;
        l->to_unlock = req != NULL;
    }
    pthread_mutex_unlock(&locks);
    return l;
}

struct job {
    workq_fn *fn;
    void *arg;
};

static void *run_job(void *arg) {
    struct job j = *(struct job *)arg;
    free(arg);
    j.fn(j.arg);
    return NULL;
}

/* The queue is full: a thread of its own, since the caller may hold the connection's lock. */
static void submit_somehow(workq_fn *fn, void *arg) {
    pthread_t thread;
    struct job *j = malloc(sizeof *j);
    if (j != NULL)
        *j = (struct job){fn, arg};
    if (j != NULL && pthread_create(&thread, NULL, run_job, j) == 0)
        pthread_detach(thread);
    else
        log_error("out of memory: a mailbox stays locked"); /* until mailfs is started anew */
}

void lock_submit(const struct inode *cont, workq_fn *fn, void *arg) {
    if (workq_submit(upcall_queue(), (uint64_t)(uintptr_t)cont, fn, NULL, arg) != 0)
        submit_somehow(fn, arg);
}

int lock_unlink_file(struct inode *cont) {
    names_begin(cont);
    int r = io_unlink(cont->dir->fd, LOCK_L_NAME);
    names_end(cont, 0);
    note_die_at("unlock");
    return r;
}

static void list_done(struct inode *cont, const char *not_done, int r) {
    char path[PATH_MAX];
    if (r != 0)
        log_error_limited("%s: dovecot-uidlist cannot be %s: %s",
                          dir_shown(cont, path, sizeof path), not_done, log_strerror(r));
}

static void list_sync(const struct lock_l *l) {
    list_done(l->cont, "synced", numbers_sync(l->cont->dir->fd, &l->numbers));
}

static void list_distrust(const struct lock_l *l) {
    list_done(l->cont, "given another time", numbers_distrust(l->cont->dir->fd, &l->numbers));
}

void lock_end_quietly(struct lock_l *l) {
    struct inode *cont = l->cont;
    inode_ref(cont);
    event_written_all(cont->dir);
    if (vol.has_peer)
        list_sync(l);
    list_distrust(l);
    lock_tell_died(&l->asked, l->told_going);
    lock_unlink_file(cont);
    lock_free(l);
    notify_name(cont, LOCK_L_NAME);
    inode_unref(cont, 1);
}

/* --- removing
 * -------------------------------------------------------------------------------------------- */

static void run_unlink(void *arg) {
    struct lock_l *l = arg;
    fuse_req_t req = l->req;
    if (l->only_here)
        list_sync(l);
    if (l->by_other || reserve_is_short())
        list_distrust(l);
    lock_unlink_file(l->cont);
    lock_free(l);
    fuse_reply_err(req, 0); /* whatever happened: Dovecot ignores it, and U must not be an error */
}

static void on_release(void *arg, const struct upcall_answer *a, bool now) {
    struct lock_l *l = arg;
    l->only_here = vol.has_peer && (a->alone || a->only_here);
    pthread_mutex_lock(&locks);
    l->to_unlock = false;
    pthread_mutex_unlock(&locks);
    if (!now)
        lock_submit(l->cont, run_unlink, l);
}

void lock_unlink(fuse_req_t req, struct inode *dir) {
    bool by_owner = lock_is_owner(dir->dir, fuse_req_ctx(req)->pid);
    struct lock_l *l = lock_claim(dir->dir, HELD, 0, req);
    if (l != NULL) {
        l->by_other = !by_owner;
        note_stop_at("claimed");
        if (!l->told_going)
            event_written_all(dir->dir);
        atomic_fetch_or(&inode_slot(dir)->aux, KEEP_L_GOING);
        note_die_at("going");
        if (!lock_ask_unlock(&l->asked, l->told_going, on_release, l))
            run_unlink(l);
        return;
    }
    l = lock_claim(dir->dir, SHOWN, 0, NULL);
    if (l != NULL)
        lock_free(l);
    int r = lock_unlink_file(dir);
    /* Sent again: the worker before this one had removed it. */
    reply_result(req, r == -ENOENT && note_is_resent() ? 0 : r);
}

/* --- locks shown
 * ----------------------------------------------------------------------------------------- */

static void run_unshow(void *arg) {
    struct inode *cont = arg;
    struct lock_l *l = lock_claim(cont->dir, SHOWN, 0, NULL);
    if (l != NULL) {
        lock_unlink_file(cont);
        lock_free(l);
        notify_name(cont, LOCK_L_NAME);
    }
    inode_unref(cont, 1);
}

void lock_token_here(const struct mailfs_id *id) {
    struct inode *cont = dir_by_id(id);
    if (cont != NULL)
        lock_submit(cont, run_unshow, cont);
}

void lock_forget_shown(void) {
    struct lock_l *l;
    pthread_mutex_lock(&locks);
    DL_FOREACH(all, l) {
        if (l->state != SHOWN && l->state != WANTED)
            continue; /* what is wanted may be about to be shown, earlier in its lane */
        inode_ref(l->cont);
        if (workq_submit(upcall_queue(), (uint64_t)(uintptr_t)l->cont, run_unshow, NULL, l->cont) !=
            0)
            inode_unref(l->cont, 1); /* goes stale by Dovecot's own rules */
    }
    pthread_mutex_unlock(&locks);
}

/* --- looking
 * -----------------------------------------------------------------------------------------------
 */

bool lock_is_held(struct dir *container) {
    pthread_mutex_lock(&locks);
    const struct lock_l *l = container->lock;
    bool held = l != NULL && (l->state == HELD || l->state == GOING);
    pthread_mutex_unlock(&locks);
    return held;
}

bool lock_is_owner(struct dir *container, pid_t tid) {
    pthread_mutex_lock(&locks);
    const struct lock_l *l = container->lock;
    bool held = l != NULL && (l->state == HELD || l->state == GOING);
    pid_t owner = held ? l->owner : 0, opener = held ? l->ctx.pid : -1;
    pthread_mutex_unlock(&locks);
    if (!held || tid == owner || tid == opener)
        return held;
    return owner != 0 && owner_process(tid) == owner;
}

struct mailfs_id *lock_ids(bool going, size_t *n) {
    struct lock_l *l;
    size_t count = 0;
    pthread_mutex_lock(&locks);
    DL_COUNT(all, l, count);
    struct mailfs_id *ids = calloc(count + 1, sizeof *ids);
    *n = 0;
    DL_FOREACH(all, l) {
        bool named = l->state == HELD || l->state == GRANTED || l->to_unlock;
        if (ids != NULL && named && l->told_going == going)
            ids[(*n)++] = l->asked = l->cont->dir->id; /* that syncd knows no other */
    }
    pthread_mutex_unlock(&locks);
    return ids;
}

bool lock_taken_over(struct dir *d, struct lock_l *copy) {
    uint32_t number = lock_request_number();
    pthread_mutex_lock(&locks);
    const struct lock_l *l = d->lock;
    bool own = l != NULL && l->state == HELD && l->taken_over && l->number == number;
    if (own)
        *copy = *l;
    pthread_mutex_unlock(&locks);
    return own;
}

struct inode *lock_next(uint64_t after, lock_is_fn *is, void *arg, uint64_t *serial) {
    struct inode *cont = NULL;
    struct lock_l *l;
    pthread_mutex_lock(&locks);
    DL_FOREACH(all, l) {
        if (l->serial > after && is(l, arg)) {
            cont = l->cont;
            *serial = l->serial;
            inode_ref(cont);
            break;
        }
    }
    pthread_mutex_unlock(&locks);
    return cont;
}
