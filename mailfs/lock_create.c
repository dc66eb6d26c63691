/*
 * lock_create - L is asked for, and made or refused
 *
 * Diagnostics: none; of a UID list that cannot be raised raise.c tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cred.h"
#include "event.h"
#include "file.h"
#include "io/io.h"
#include "lock_int.h"
#include "note.h"
#include "owner.h"
#include "raise.h"
#include "replica/replica.h"
#include "reserve.h"
#include "role.h"
#include "util/log.h"
#include "util/str.h"

/* The request gets its reply, and this L never was. */
static void give_up(struct lock_l *l, int err, bool was_granted) {
    fuse_req_t req = l->req;
    if (was_granted)
        lock_tell_opened(&l->asked, false);
    lock_free(l);
    fuse_reply_err(req, err);
}

static int create_file(const struct lock_l *l, mode_t mode, int flags) {
    int r = names_begin_new(l->cont);
    if (r != 0)
        return r;
    lock_aux_set(l->cont, KEEP_L_GOING);
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
            lock_unlink_file(l->cont);
        give_up(l, r == -EEXIST ? EEXIST : EAGAIN, false);
        return;
    }
    fuse_req_t req = l->req;
    l->req = NULL;
    lock_set_state(l, SHOWN);
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
    if (r >= 0 && l->alone && raise != 0)
        lock_raise_was_done(id, l->answered);
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
    lock_aux_set(was.cont, (uint64_t)l->owner << KEEP_L_OWNER_SHIFT |
                               (uint64_t)l->number << KEEP_L_NUMBER_SHIFT | KEEP_L_HELD);
    lock_set_state(l, HELD);
    note_die_at("lock");
    lock_tell_opened(&was.asked, true);
    if (raised)
        event_uidlist_raised(was.cont);
    int r = lock_watch_owner(l);
    if (r == 0)
        r = reply_created(&was, in, st, f);
    else
        fuse_reply_err(was.req, EINTR);
    if (r != 0) {
        if (f != NULL)
            file_unref(f);
        inode_unref(in, 1);
        l = lock_claim(was.cont->dir, HELD, was.serial, NULL);
        if (l != NULL)
            lock_end_quietly(l);
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
    int raised = reserve_check(l->cont);
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
        lock_unlink_file(l->cont);
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
    l->answered = lock_hints_time();
    l->err = a->err;
    l->raise = a->raise;
    if (a->holder == NULL || str_copy(l->holder, sizeof l->holder, a->holder) != 0)
        l->holder[0] = '\0';
    if (a->alone || a->err == 0)
        lock_set_state(l, GRANTED); /* a Hello from now on must name it */
    if (!now)
        lock_submit(l->cont, run_create, l);
}

/* An L that is in our books and not in the store: somebody removed it in another way. */
static void forget_vanished(struct inode *cont) {
    struct lock_l *l = lock_claim(cont->dir, HELD, 0, NULL);
    if (l != NULL) {
        lock_end_quietly(l);
        return;
    }
    l = lock_claim(cont->dir, SHOWN, 0, NULL);
    if (l != NULL)
        lock_free(l);
}

/* The worker before this one had created it, and not told: true, and replied. */
static bool create_was_done(fuse_req_t req, struct inode *dir, const struct fuse_file_info *fi) {
    struct lock_l was = {0};
    struct inode *in = NULL;
    struct stat st;
    struct file *f = NULL;
    if (!note_is_resent())
        return false;
    if (!lock_taken_over(dir->dir, &was) || inode_lookup(dir, LOCK_L_NAME, &in, &st) != 0)
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
        struct lock_l *gone = lock_claim(dir->dir, HELD, was.serial, NULL);
        if (gone != NULL)
            lock_end_quietly(gone);
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
    struct lock_l *l = lock_new(dir, req);
    if (l == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    l->mode = mode;
    l->is_mknod = fi == NULL;
    lock_note_path(l);
    if (fi != NULL)
        l->fi = *fi;
    else
        l->fi.flags = O_WRONLY;
    if (!lock_ask_open(&l->asked, l->ctx.pid, on_grant, l))
        run_create(l);
}
