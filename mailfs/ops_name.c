/*
 * ops_name - making and removing names (renaming: ops_rename.c)
 *
 * Diagnostics: a warning when an expunged message cannot be kept; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cred.h"
#include "dir.h"
#include "event.h"
#include "file.h"
#include "io/dirid.h"
#include "io/io.h"
#include "io/marks.h"
#include "io/undo.h"
#include "lock.h"
#include "note.h"
#include "poke.h"
#include "prepare.h"
#include "upcall.h"
#include "util/log.h"

/* --- making
 * ---------------------------------------------------------------------------------------- */

struct making {
    mode_t mode;
    dev_t rdev;
    const char *target; /* a symbolic link's */
};

/* A container without an id would not be replicated, and nothing would show that: neither what is
 * put into it here, nor that both nodes are not the same. So then it is not made. */
static int identify(const struct spot *at, int dirfd) {
    enum maildir_dir kind = maildir_dir_of(at->w.kind, at->name, strlen(at->name));
    struct mailfs_id id;
    if (at->w.local || maildir_class_is_local(at->class) || kind != MAILDIR_DIR_CONTAINER)
        return 0;
    int fd = io_open_beneath(dirfd, at->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    int r = fd < 0 ? fd : io_dirid_ensure(fd, &id);
    if (fd >= 0)
        close(fd);
    if (r != 0 && io_rmdir(dirfd, at->name) != 0)
        upcall_lost(); /* it stays, and nobody has told of it */
    return r;
}

static int make_in_store(fuse_req_t req, const struct spot *at, const struct making *m) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    int dirfd = at->dir->dir->fd, r = names_begin_new(at->dir);
    if (r != 0)
        return r;
    if (note_made(dirfd, at->name)) {
        names_end(at->dir, 0);
        return 0;
    }
    cred_take(ctx->uid, ctx->gid);
    if (m->target != NULL)
        r = io_symlink(m->target, dirfd, at->name);
    else if (S_ISDIR(m->mode))
        r = io_mkdir(dirfd, at->name, m->mode & 07777);
    else
        r = io_mknod(dirfd, at->name, m->mode, m->rdev);
    cred_back();
    if (r == 0 && S_ISDIR(m->mode))
        r = identify(at, dirfd);
    names_end(at->dir, ctx->pid);
    note_die_at("make");
    return r;
}

static void make(fuse_req_t req, const struct spot *at, const struct making *m) {
    struct inode *in = NULL;
    struct stat st;
    int r = change_begin1(at) != 0 ? -EAGAIN : make_in_store(req, at, m);
    if (r == 0) {
        r = inode_lookup(at->dir, at->name, &in, &st);
        if (r != 0)
            upcall_lost();
    }
    if (r == 0 && in->dir != NULL)
        event_dir_made(at, in, &st, req_pid(req));
    else if (r == 0)
        event_appeared(at, in, &st, req_pid(req));
    change_end();
    if (S_ISDIR(m->mode) && !at->w.local) /* whoever delivers to a new user makes his mailbox */
        r = error_for_now(at, r);
    reply_entry(req, r, in, &st, at);
}

static bool refused(fuse_req_t req, const struct spot *at) {
    if (!spot_hidden(at) && at->class != MAILDIR_POKE)
        return false;
    fuse_reply_err(req, EPERM);
    return true;
}

/* The poke's file exists in the kernel only. */
static void make_poke(fuse_req_t req, const struct spot *at) {
    struct inode *in = inode_made_up();
    struct stat st;
    int r = in == NULL ? -ENOMEM : inode_stat(in, &st);
    reply_entry(req, r, in, &st, at);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev) {
    struct inode *dir = inode_of(parent);
    struct spot at;
    struct making m = {.mode = mode, .rdev = rdev};
    spot_make(&at, dir, name);
    if (at.class == MAILDIR_POKE && poke_is_mine(req_pid(req)))
        make_poke(req, &at);
    else if (refused(req, &at))
        ;
    else if (at.class == MAILDIR_LOCK_L && !at.w.local && S_ISREG(mode))
        lock_create(req, dir, mode, NULL);
    else
        make(req, &at, &m);
    spot_done(&at);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    struct spot at;
    struct making m = {.mode = S_IFDIR | (mode & 07777)};
    spot_make(&at, inode_of(parent), name);
    if (refused(req, &at))
        ;
    else if (spot_refuses_dir(&at) != 0)
        fuse_reply_err(req, EPERM);
    else
        make(req, &at, &m);
    spot_done(&at);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
    struct spot at;
    struct making m = {.target = target};
    spot_make(&at, inode_of(parent), name);
    if (!refused(req, &at))
        make(req, &at, &m);
    spot_done(&at);
}

static int link_in_store(struct inode *in, const struct spot *at, pid_t thread) {
    struct inode_fd f;
    int r = inode_fd(in, &f);
    if (r == 0)
        r = names_begin_new(at->dir);
    if (r == 0) {
        if (!note_made(at->dir->dir->fd, at->name))
            r = io_link_fd(f.fd, at->dir->dir->fd, at->name);
        names_end(at->dir, thread);
    }
    inode_fd_done(&f);
    note_die_at("link");
    return r;
}

/* The same inode, so that the kernel sees the links as one file. */
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name) {
    struct inode *in = inode_of(ino);
    struct spot at;
    struct stat st;
    spot_make(&at, inode_of(parent), name);
    if (at.class == MAILDIR_LOCK_L && !at.w.local) {
        fuse_reply_err(req, EPERM); /* L needs a token: only by O_EXCL */
    } else if (!refused(req, &at)) {
        int r = change_begin1(&at) != 0 ? -EAGAIN : link_in_store(in, &at, req_pid(req));
        if (r == 0) {
            r = inode_stat(in, &st);
            if (r != 0)
                upcall_lost();
        }
        if (r == 0) {
            event_appeared(&at, in, &st, req_pid(req));
            if (!prepare_is_for(&at))
                prepare_dropped(in);
            if (at.sent)
                file_retrack(in, &at);
            inode_place_set(in, at.dir, name);
            inode_ref(in);
        }
        change_end();
        if (at.w.kind != MAILDIR_DIR_CONTAINER && !at.w.local)
            r = error_for_now(&at, r);
        reply_entry(req, r, in, &st, &at);
    }
    spot_done(&at);
}

/* --- removing
 * ---------------------------------------------------------------------------------------- */

static void unlink_known(const struct spot *at, const struct stat *st) {
    struct inode *in = inode_find(st->st_dev, st->st_ino);
    if (in == NULL)
        return;
    inode_place_drop(in, at->dir, at->name);
    if (st->st_nlink <= 1)
        prepare_dropped(in);
    inode_unref(in, 1);
}

/* An expunged message is kept for a while (mailfsctl undelete). That must not keep it from going.
 */
static int remove_name(const struct spot *at, mode_t mode) {
    int dirfd = at->dir->dir->fd, r = -EOPNOTSUPP;
    char path[MARKS_PATH_MAX + 1];
    if (vol.undo_fd >= 0 && at->class == MAILDIR_MESSAGE && S_ISREG(mode) && at->w.cd->has_id) {
        if (dir_path(at->w.cont, path, sizeof path) != 0)
            path[0] = '\0';
        r = io_undo_keep(vol.undo_fd, &at->w.id, path, dirfd, at->name);
        if (r != 0 && r != -ENOENT)
            log_warn_limited("%s: an expunged message cannot be kept (undelete): %s", path,
                             log_strerror(r));
    }
    return r == 0 || r == -ENOENT ? r : io_unlink(dirfd, at->name);
}

static int unlink_in_store(const struct spot *at, struct stat *st, pid_t thread) {
    int dirfd = at->dir->dir->fd;
    names_begin(at->dir);
    int r = note_removed(dirfd, at->name, st);
    if (r == 0)
        r = remove_name(at, st->st_mode);
    names_end(at->dir, thread);
    note_die_at("unlink");
    return r < 0 ? r : 0;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct inode *dir = inode_of(parent);
    struct spot at;
    struct stat st;
    spot_make(&at, dir, name);
    if (at.class == MAILDIR_POKE && poke_is_mine(req_pid(req))) {
        fuse_reply_err(req, 0);
    } else if (spot_hidden(&at)) {
        fuse_reply_err(req, ENOENT);
    } else if (at.class == MAILDIR_LOCK_L && (!at.w.local || lock_is_held(dir->dir))) {
        lock_unlink(req, dir);
    } else {
        change_begin1(&at);
        int r = unlink_in_store(&at, &st, req_pid(req));
        if (r == 0) {
            event_gone(&at, st.st_mode, req_pid(req));
            unlink_known(&at, &st);
        }
        change_end();
        reply_result(req, r);
    }
    spot_done(&at);
}

/* in: its inode, a reference, or NULL: it is not known, since another worker had removed it. */
static int rmdir_in_store(const struct spot *at, struct inode **in, pid_t thread) {
    struct stat st;
    int r = inode_lookup(at->dir, at->name, in, &st);
    if (r != 0)
        *in = NULL;
    names_begin(at->dir);
    r = note_removed(at->dir->dir->fd, at->name, &st);
    if (r == 0)
        r = io_rmdir(at->dir->dir->fd, at->name);
    else if (r > 0 && *in == NULL)
        *in = inode_find(st.st_dev, st.st_ino);
    names_end(at->dir, thread);
    note_die_at("rmdir");
    return r < 0 ? r : 0;
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct inode *dir = inode_of(parent), *in = NULL;
    struct spot at;
    spot_make(&at, dir, name);
    change_begin1(&at);
    int r = spot_hidden(&at) ? -ENOENT : rmdir_in_store(&at, &in, req_pid(req));
    if (r == 0 && in != NULL && in->dir != NULL) {
        event_dir_gone(&at, in, req_pid(req));
        dir_removed(in);
    } else if (r == 0 && note_is_resent()) {
        upcall_lost(); /* another worker removed it, and nobody knows what it was */
    }
    inode_unref(in, 1);
    change_end();
    reply_result(req, r);
    spot_done(&at);
}
