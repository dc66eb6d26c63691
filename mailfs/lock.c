/*
 * lock - L and its owner
 *
 * A container's L is a struct lock_l from the question to syncd until it is gone; it holds a
 * reference to the container, so that the kernel's forgetting does not end it. Who moves it to a
 * state that ends it (GOING) frees it. Blocking work is done in upcall_queue(), in a lane per
 * container. One lock, `locks`, for all states; held for pointer work only; taken inside the
 * connection's.
 *
 * Diagnostics: info: an owner of L died; a lock left behind was removed. warning: L refused because
 * the UID list could not be raised.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "cred.h"
#include "event.h"
#include "file.h"
#include "io/io.h"
#include "keep.h"
#include "lock_int.h"
#include "note.h"
#include "numbers.h"
#include "notify.h"
#include "owner.h"
#include "raise.h"
#include "replica/replica.h"
#include "reserve.h"
#include "role.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"
#include "watch.h"

enum l_state { WANTED, GRANTED, HELD, GOING, SHOWN };

struct lock_l {
    struct lock_l *prev, *next;
    struct inode *cont; /* a reference */
    enum l_state state;
    uint64_t serial; /* tells it from a later L of the same container */
    uint32_t number; /* of the request that created it: its lower bits */
    bool taken_over; /* another worker created it */
    bool told_going; /* ... and may have told syncd of its U */
    /* The request that waits. */
    fuse_req_t req;
    bool is_mknod;
    mode_t mode;
    struct fuse_file_info fi;
    struct fuse_ctx ctx;
    /* Its answer. */
    bool alone;
    int err;
    uint32_t raise;
    char holder[256];
    /* The uidlist when L was created, and whether nobody but this disk has what it gave since. */
    struct numbers numbers;
    bool only_here;
    /* The owner. */
    pid_t owner;           /* process; 0: not known */
    uint64_t watch;        /* token; 0: not watched */
    struct owner_end *end; /* the watch's argument */
};

/* The end of an owner. Not the lock_l itself, which may be gone when it is heard. */
struct owner_end {
    struct inode *cont; /* a reference */
    uint64_t serial;
};

static pthread_mutex_t locks = PTHREAD_MUTEX_INITIALIZER;
static struct lock_l *all;
static uint64_t last_serial;

/*
 * What a worker that takes over must know of an L that is held, in the slot of its container:
 * written when the file is there, before the reply; cleared when the file is gone.
 */
static void aux_set(const struct inode *cont, uint64_t aux) {
    atomic_store(&inode_slot(cont)->aux, aux);
}

static uint32_t number_of_request(void) {
    return (uint32_t)(note_unique() >> 1) & KEEP_L_NUMBER_MASK; /* the kernel counts by twos */
}

/* --- states
 * ---------------------------------------------------------------------------------------- */

static struct lock_l *l_new(struct inode *cont, fuse_req_t req) {
    struct lock_l *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->cont = cont;
    l->req = req;
    if (req != NULL)
        l->ctx = *fuse_req_ctx(req);
    l->number = number_of_request();
    inode_ref(cont);
    pthread_mutex_lock(&locks);
    l->serial = ++last_serial;
    DL_APPEND(all, l);
    cont->dir->lock = l;
    pthread_mutex_unlock(&locks);
    return l;
}

static void owner_end_free(struct owner_end *e) {
    inode_unref(e->cont, 1);
    free(e);
}

static void l_free(struct lock_l *l) {
    pthread_mutex_lock(&locks);
    DL_DELETE(all, l);
    if (l->cont->dir->lock == l) {
        l->cont->dir->lock = NULL;
        aux_set(l->cont, 0);
    }
    pthread_mutex_unlock(&locks);
    if (l->watch != 0 && watch_cancel(l->watch))
        owner_end_free(l->end);
    inode_unref(l->cont, 1);
    free(l);
}

static void l_set(struct lock_l *l, enum l_state s) {
    pthread_mutex_lock(&locks);
    l->state = s;
    pthread_mutex_unlock(&locks);
}

/*
 * The L of this container if it is in state `from` (and the one of that serial, unless 0), which it
 * leaves for GOING: the caller's alone from then on. req: the request that is to wait, or NULL.
 */
static struct lock_l *l_claim(struct dir *d, enum l_state from, uint64_t serial, fuse_req_t req) {
    pthread_mutex_lock(&locks);
    struct lock_l *l = d->lock;
    if (l == NULL || l->state != from || (serial != 0 && l->serial != serial)) {
        l = NULL;
    } else {
        l->state = GOING;
        l->req = req;
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

/* A container's jobs come one after the other. */
static void submit(const struct inode *cont, workq_fn *fn, void *arg) {
    if (workq_submit(upcall_queue(), (uint64_t)(uintptr_t)cont, fn, NULL, arg) != 0)
        submit_somehow(fn, arg);
}

static int l_unlink(struct inode *cont) {
    names_begin(cont);
    int r = io_unlink(cont->dir->fd, LOCK_L_NAME);
    names_end(cont, 0);
    note_die_at("unlock");
    return r;
}

/* L ends without anybody who waits for it. */
static void l_end_quietly(struct lock_l *l) {
    struct inode *cont = l->cont;
    inode_ref(cont);
    event_written_all(cont->dir);
    if (vol.has_peer)
        numbers_sync(cont->dir->fd, &l->numbers);
    numbers_distrust(cont->dir->fd, &l->numbers);
    lock_tell_died(&cont->dir->id, l->told_going);
    l_unlink(cont);
    l_free(l);
    notify_name(cont, LOCK_L_NAME);
    inode_unref(cont, 1);
}

/* --- the owner's end
 * --------------------------------------------------------------------------------- */

static void run_owner_ended(void *arg) {
    struct owner_end *e = arg;
    struct lock_l *l = l_claim(e->cont->dir, HELD, e->serial, NULL);
    if (l != NULL) {
        log_info("process %d ended holding a mailbox's lock: removed", (int)l->owner);
        l_end_quietly(l);
    }
    owner_end_free(e);
}

static void owner_ended(void *arg) {
    const struct owner_end *e = arg;
    submit(e->cont, run_owner_ended, arg);
}

/* From its success on the owner's end can free l at any time. -ESRCH: the caller is gone. */
static int watch_owner(struct lock_l *l) {
    if (l->ctx.pid == 0)
        return 0; /* of another pid namespace: what it leaves, Dovecot's own rules must clear */
    if (l->owner == 0)
        return -ESRCH;
    int fd = (int)syscall(SYS_pidfd_open, l->owner, 0);
    if (fd < 0)
        return errno == ESRCH ? -ESRCH : 0;
    struct owner_end *e = calloc(1, sizeof *e);
    if (e == NULL) {
        close(fd);
        return 0;
    }
    e->cont = l->cont;
    e->serial = l->serial;
    inode_ref(e->cont);
    l->end = e;
    if (watch_process(fd, owner_ended, e, &l->watch) != 0) {
        close(fd);
        owner_end_free(e);
    }
    return 0;
}

/* --- creating
 * ------------------------------------------------------------------------------------------ */

/* The request gets its reply, and this L never was. */
static void give_up(struct lock_l *l, int err, bool was_granted) {
    fuse_req_t req = l->req;
    if (was_granted)
        lock_tell_opened(&l->cont->dir->id, false);
    l_free(l);
    fuse_reply_err(req, err);
}

static int create_file(const struct lock_l *l, mode_t mode, int flags) {
    int r = names_begin_new(l->cont);
    if (r != 0)
        return r;
    aux_set(l->cont, KEEP_L_GOING);
    cred_take(l->ctx.uid, l->ctx.gid);
    int fd = io_open(l->cont->dir->fd, LOCK_L_NAME,
                     (flags & O_ACCMODE) | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    cred_back();
    names_end(l->cont, 0);
    return fd;
}

/* A lock of the peer's, for Dovecot to see and to wait for. */
static void show(struct lock_l *l) {
    int fd = create_file(l, 0644, O_WRONLY);
    int r = fd < 0 ? fd : io_write_all(fd, l->holder, strlen(l->holder));
    if (fd >= 0)
        close(fd);
    if (r != 0) {
        if (fd >= 0)
            l_unlink(l->cont);
        give_up(l, r == -EEXIST ? EEXIST : EAGAIN, false);
        return;
    }
    fuse_req_t req = l->req;
    l->req = NULL;
    l_set(l, SHOWN);
    fuse_reply_err(req, EEXIST);
}

/* 1: raised; 0: nothing to do; or an error. */
static int raise_if_due(const struct lock_l *l) {
    const struct mailfs_id *id = &l->cont->dir->id;
    uint32_t raise = l->raise;
    if (l->alone)
        raise = lock_raise_is_due(id) ? raise_alone() : 0;
    if (raise == 0 && l->cont->dir->lock_was_left)
        raise = vol.has_peer ? raise_alone() : REPLICA_RAISE_ODD;
    int r = raise != 0 ? raise_next_uid(l->cont, raise) : 0;
    if (r < 0)
        log_warn("the UID list of a mailbox cannot be raised, its lock is refused: %s",
                 log_strerror(r));
    else if (l->alone && raise != 0)
        lock_raise_was_done(id);
    if (r >= 0)
        l->cont->dir->lock_was_left = false;
    return r;
}

/* Replies; -errno: nobody took it. */
static int reply_created(const struct lock_l *was, struct inode *in, const struct stat *st,
                         struct file *f) {
    struct fuse_entry_param e;
    struct fuse_file_info fi = was->fi;
    struct spot at;
    spot_make(&at, was->cont, LOCK_L_NAME);
    entry_fill(&e, in, st, &at);
    spot_done(&at);
    fi.fh = f != NULL ? f->fh : 0;
    int r = was->is_mknod ? fuse_reply_entry(was->req, &e) : fuse_reply_create(was->req, &e, &fi);
    if (r != 0)
        inode_take_back(in);
    return r;
}

/* The file is there, and its inode: now it is L. */
static void created(struct lock_l *l, struct inode *in, const struct stat *st, struct file *f,
                    bool raised) {
    struct lock_l was = *l; /* l can go as soon as its owner is watched */
    inode_ref(was.cont);
    l->owner = owner_process(l->ctx.pid);
    aux_set(was.cont, (uint64_t)l->owner << KEEP_L_OWNER_SHIFT |
                          (uint64_t)l->number << KEEP_L_NUMBER_SHIFT | KEEP_L_HELD);
    l_set(l, HELD);
    note_die_at("lock");
    lock_tell_opened(&was.cont->dir->id, true);
    if (raised)
        event_uidlist_raised(was.cont);
    int r = watch_owner(l);
    if (r == 0)
        r = reply_created(&was, in, st, f);
    else
        fuse_reply_err(was.req, EINTR);
    if (r != 0) {
        if (f != NULL)
            file_unref(f);
        inode_unref(in, 1);
        l = l_claim(was.cont->dir, HELD, was.serial, NULL);
        if (l != NULL)
            l_end_quietly(l);
    }
    inode_unref(was.cont, 1);
}

static void create_granted(struct lock_l *l) {
    struct inode *in = NULL;
    struct stat st;
    struct file *f = NULL;
    if (role_refuses_lock()) { /* here, since a granted one is counted as held */
        give_up(l, EROFS, true);
        return;
    }
    int raised = reserve_check(l->cont->dir->fd);
    if (raised == 0)
        raised = raise_if_due(l);
    if (raised < 0) {
        give_up(l, EAGAIN, true);
        return;
    }
    numbers_look(l->cont->dir->fd, &l->numbers);
    int fd = create_file(l, l->mode, l->fi.flags);
    int r = fd < 0 ? fd : inode_from_fd(fd, l->cont, LOCK_L_NAME, &in, &st);
    if (r == 0 && !l->is_mknod) {
        f = file_new(in, fd, l->fi.flags, l->ctx.pid, NULL);
        r = f == NULL ? -ENOMEM : 0;
    } else if (r == 0) {
        close(fd);
    }
    if (r == 0) {
        created(l, in, &st, f, raised > 0);
        return;
    }
    inode_unref(in, 1);
    if (fd >= 0) {
        close(fd);
        l_unlink(l->cont);
    }
    if (raised > 0)
        event_uidlist_raised(l->cont);
    give_up(l, -r, true);
}

static void run_create(void *arg) {
    struct lock_l *l = arg;
    if (l->alone || l->err == 0)
        create_granted(l);
    else if (l->err == EEXIST)
        show(l);
    else
        give_up(l, l->err, false);
}

static void on_grant(void *arg, const struct upcall_answer *a, bool now) {
    struct lock_l *l = arg;
    l->alone = a->alone;
    l->err = a->err;
    l->raise = a->raise;
    if (a->holder == NULL || str_copy(l->holder, sizeof l->holder, a->holder) != 0)
        l->holder[0] = '\0';
    if (a->alone || a->err == 0)
        l_set(l, GRANTED); /* a Hello from now on must name it */
    if (!now)
        submit(l->cont, run_create, l);
}

/* An L that is in our books and not in the store: somebody removed it in another way. */
static void forget_vanished(struct inode *cont) {
    struct lock_l *l = l_claim(cont->dir, HELD, 0, NULL);
    if (l != NULL) {
        l_end_quietly(l);
        return;
    }
    l = l_claim(cont->dir, SHOWN, 0, NULL);
    if (l != NULL)
        l_free(l);
}

/* The worker before this one had created it, and not told: true, and replied. */
static bool create_was_done(fuse_req_t req, struct inode *dir, const struct fuse_file_info *fi) {
    struct lock_l was = {0};
    struct inode *in = NULL;
    struct stat st;
    struct file *f = NULL;
    if (!note_is_resent())
        return false;
    pthread_mutex_lock(&locks);
    const struct lock_l *l = dir->dir->lock;
    bool own = l != NULL && l->state == HELD && l->taken_over && l->number == number_of_request();
    if (own)
        was = *l;
    pthread_mutex_unlock(&locks);
    if (!own || inode_lookup(dir, LOCK_L_NAME, &in, &st) != 0)
        return false;
    was.req = req;
    was.is_mknod = fi == NULL;
    if (fi != NULL) {
        was.fi = *fi;
        int fd = inode_open(in, fi->flags & O_ACCMODE);
        f = fd < 0 ? NULL : file_new(in, fd, fi->flags, was.owner, NULL);
        if (f == NULL && fd >= 0)
            close(fd);
    }
    int r = fi != NULL && f == NULL ? -ENOMEM : reply_created(&was, in, &st, f);
    if (r != 0) {
        if (f != NULL)
            file_unref(f);
        else if (fi != NULL)
            fuse_reply_err(req, ENOMEM);
        inode_unref(in, 1);
        struct lock_l *gone = l_claim(dir->dir, HELD, was.serial, NULL);
        if (gone != NULL)
            l_end_quietly(gone);
    }
    return true;
}

void lock_create(fuse_req_t req, struct inode *dir, mode_t mode, const struct fuse_file_info *fi) {
    struct stat st;
    if (create_was_done(req, dir, fi))
        return;
    if (fstatat(dir->dir->fd, LOCK_L_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        fuse_reply_err(req, EEXIST);
        return;
    }
    if (change_mark_alone(dir->dir) != 0) {
        fuse_reply_err(req, EAGAIN);
        return;
    }
    forget_vanished(dir);
    struct lock_l *l = l_new(dir, req);
    if (l == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    l->mode = mode;
    l->is_mknod = fi == NULL;
    if (fi != NULL)
        l->fi = *fi;
    else
        l->fi.flags = O_WRONLY;
    if (!lock_ask_open(&dir->dir->id, l->ctx.pid, on_grant, l))
        run_create(l);
}

/* --- removing
 * -------------------------------------------------------------------------------------------- */

static void run_unlink(void *arg) {
    struct lock_l *l = arg;
    fuse_req_t req = l->req;
    if (l->only_here)
        numbers_sync(l->cont->dir->fd, &l->numbers);
    numbers_distrust(l->cont->dir->fd, &l->numbers);
    l_unlink(l->cont);
    l_free(l);
    fuse_reply_err(req, 0); /* whatever happened: Dovecot ignores it, and U must not be an error */
}

static void on_release(void *arg, const struct upcall_answer *a, bool now) {
    struct lock_l *l = arg;
    l->only_here = vol.has_peer && (a->alone || a->only_here);
    if (!now)
        submit(l->cont, run_unlink, l);
}

void lock_unlink(fuse_req_t req, struct inode *dir) {
    struct lock_l *l = l_claim(dir->dir, HELD, 0, req);
    if (l != NULL) {
        if (!l->told_going)
            event_written_all(dir->dir);
        atomic_fetch_or(&inode_slot(dir)->aux, KEEP_L_GOING);
        note_die_at("going");
        if (!lock_ask_unlock(&dir->dir->id, l->told_going, on_release, l))
            run_unlink(l);
        return;
    }
    l = l_claim(dir->dir, SHOWN, 0, NULL);
    if (l != NULL)
        l_free(l);
    int r = l_unlink(dir);
    /* Sent again: the worker before this one had removed it. */
    reply_result(req, r == -ENOENT && note_is_resent() ? 0 : r);
}

/* --- locks shown
 * ----------------------------------------------------------------------------------------- */

static void run_unshow(void *arg) {
    struct inode *cont = arg;
    struct lock_l *l = l_claim(cont->dir, SHOWN, 0, NULL);
    if (l != NULL) {
        l_unlink(cont);
        l_free(l);
        notify_name(cont, LOCK_L_NAME);
    }
    inode_unref(cont, 1);
}

void lock_token_here(const struct mailfs_id *id) {
    struct inode *cont = dir_by_id(id);
    if (cont != NULL)
        submit(cont, run_unshow, cont);
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
        if (ids != NULL && (l->state == HELD || l->state == GRANTED) && l->told_going == going)
            ids[(*n)++] = l->cont->dir->id;
    }
    pthread_mutex_unlock(&locks);
    return ids;
}

/* --- taking over
 * -----------------------------------------------------------------------------------------------
 */

/* held: somebody may have. */
static void left_behind(struct dir *d, bool held) {
    aux_set(d->self, 0);
    if (io_unlink(d->fd, LOCK_L_NAME) != 0 || !held)
        return;
    /* Who held it may have numbered a message in its own index, and not in the list (DESIGN, 19).
     */
    d->lock_was_left = true;
    log_info("removed a mailbox's lock that was left behind by a mailfs that is gone");
}

void lock_found(struct dir *d, bool local) {
    struct stat st;
    uint64_t aux = atomic_load(&inode_slot(d->self)->aux);
    bool held =
        (aux & KEEP_L_HELD) != 0 && fstatat(d->fd, LOCK_L_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0;
    struct lock_l *l = held ? l_new(d->self, NULL) : NULL;
    if (l == NULL) {
        if (!local)
            left_behind(d, aux != KEEP_L_GOING);
        return;
    }
    l->taken_over = true;
    l->told_going = (aux & KEEP_L_GOING) != 0;
    l->number = (uint32_t)(aux >> KEEP_L_NUMBER_SHIFT) & KEEP_L_NUMBER_MASK;
    l->owner = (pid_t)(aux >> KEEP_L_OWNER_SHIFT);
    l->ctx.pid = l->owner;
    l->state = HELD;
}

/* One that is not watched yet, with a reference to its container; NULL: there is none. */
static struct inode *unwatched(uint64_t after, uint64_t *serial) {
    struct inode *cont = NULL;
    struct lock_l *l;
    pthread_mutex_lock(&locks);
    DL_FOREACH(all, l) {
        if (l->taken_over && l->state == HELD && l->serial > after) {
            cont = l->cont;
            *serial = l->serial;
            inode_ref(cont);
            break;
        }
    }
    pthread_mutex_unlock(&locks);
    return cont;
}

void lock_take_over(void) {
    struct inode *cont;
    uint64_t serial = 0;
    while ((cont = unwatched(serial, &serial)) != NULL) {
        if (watch_owner(cont->dir->lock) == -ESRCH) {
            struct lock_l *l = l_claim(cont->dir, HELD, serial, NULL);
            if (l != NULL)
                l_end_quietly(l);
        }
        inode_unref(cont, 1);
    }
}
