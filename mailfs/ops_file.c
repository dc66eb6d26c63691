/*
 * ops_file - open files: create, open, sync, close
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "access.h"
#include "cred.h"
#include "event.h"
#include "file.h"
#include "io/io.h"
#include "io/sum.h"
#include "lock.h"
#include "note.h"
#include "prepare.h"
#include "reserve.h"
#include "upcall.h"
#include "validity.h"

/* mode_strip_sgid() of the kernel's vfs, which our capabilities would let pass. */
static mode_t mode_of_new(fuse_req_t req, const struct inode *dir, mode_t mode) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    if ((mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP) || ctx->uid == 0)
        return mode;
    if (fstat(dir->dir->fd, &st) != 0 || !(st.st_mode & S_ISGID) || access_in_group(req, st.st_gid))
        return mode;
    return mode & ~(mode_t)S_ISGID;
}

/* Its content is read again at its fsync, notify_store(). */
static int readable_too(int flags) {
    return (flags & O_ACCMODE) == O_WRONLY ? (flags & ~O_ACCMODE) | O_RDWR : flags;
}

/* One that is there already, or all of a store, may be for writing only. */
static int open_new(const struct spot *at, mode_t mode, int flags) {
    int how = (flags & (FILE_BACKING_FLAGS | O_EXCL)) | O_CREAT | O_NOFOLLOW;
    int fd = io_open(at->dir->dir->fd, at->name, readable_too(how), mode);
    if (fd == -EACCES && readable_too(how) != how)
        fd = io_open(at->dir->dir->fd, at->name, how, mode);
    return fd;
}

static int create_in_store(fuse_req_t req, const struct spot *at, mode_t mode, int flags) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    mode = mode_of_new(req, at->dir, mode);
    int r = names_begin_new(at->dir);
    if (r != 0)
        return r;
    if (note_made(at->dir->dir->fd, at->name))
        flags &= ~O_EXCL;
    int fd;
    cred_take(ctx->uid, ctx->gid);
    do
        fd = open_new(at, mode, flags);
    while (fd == -ENOSPC && reserve_is_for(at) && reserve_give(at->dir, 0));
    cred_back();
    names_end(at->dir, ctx->pid);
    note_die_at("create");
    return fd;
}

/* The new file counts as written: its being there has to be told even if nothing is written. */
static int create(fuse_req_t req, const struct spot *at, mode_t mode, int flags, struct inode **in,
                  struct stat *st, struct file **f) {
    int fd = create_in_store(req, at, mode, flags);
    if (fd < 0)
        return fd;
    int r = inode_from_fd(fd, at->dir, at->name, in, st);
    if (r != 0) {
        upcall_lost();
        close(fd);
        return r;
    }
    *f = file_new(*in, fd, flags, req_pid(req), at);
    if (*f == NULL) {
        upcall_lost();
        close(fd);
        inode_unref(*in, 1);
        return -ENOMEM;
    }
    if ((*f)->tracked)
        file_dirty(*f, at->w.cont);
    else
        event_appeared(at, *in, st, req_pid(req));
    return 0;
}

static void reply_created(fuse_req_t req, const struct spot *at, struct inode *in,
                          const struct stat *st, struct file *f, struct fuse_file_info *fi) {
    struct fuse_entry_param e;
    fi->fh = f->fh;
    entry_fill(&e, in, st, at);
    if (fuse_reply_create(req, &e, fi) != 0) {
        event_written(f);
        file_unref(f);
        entry_not_taken(in);
    }
}

/* The first UIDVALIDITY of a user, by the clock: if it is not ours Dovecot tries the next. */
static bool first_validity_is_refused(struct spot *at, int flags,
                                      char ahead[MAILDIR_UIDVALIDITY_NAME_MAX]) {
    enum validity whose = flags & O_EXCL ? validity_of(at, ahead) : VALIDITY_NONE;
    if (whose == VALIDITY_OURS)
        at->name = ahead;
    return whose == VALIDITY_THEIRS;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi) {
    char ahead[MAILDIR_UIDVALIDITY_NAME_MAX];
    struct inode *dir = inode_of(parent), *in;
    struct spot at;
    struct stat st;
    struct file *f;
    spot_make(&at, dir, name);
    if (first_validity_is_refused(&at, fi->flags, ahead)) {
        fuse_reply_err(req, EEXIST);
    } else if (spot_hidden(&at) || at.class == MAILDIR_POKE) {
        fuse_reply_err(req, EPERM);
    } else if (at.class == MAILDIR_LOCK_L && !at.w.local) {
        lock_create(req, dir, mode, fi);
    } else {
        int r = change_begin1(&at) != 0 ? -EAGAIN : create(req, &at, mode, fi->flags, &in, &st, &f);
        change_end();
        if (r == 0)
            reply_created(req, &at, in, &st, f, fi);
        else
            reply_result(req, at.class == MAILDIR_TMP_LOCAL ? error_for_now(&at, r) : r);
    }
    spot_done(&at);
}

/* at: NULL if no place of it is known. */
static int open_backing(fuse_req_t req, struct inode *in, const struct spot *at, int flags,
                        struct file **out) {
    int fd = inode_open(in, flags & FILE_BACKING_FLAGS);
    if (fd < 0)
        return fd;
    int r = access_opened(req, fd, flags);
    struct file *f = r != 0 ? NULL : file_new(in, fd, flags, req_pid(req), at);
    if (f == NULL) {
        close(fd);
        return r != 0 ? r : -ENOMEM;
    }
    if (flags & O_TRUNC) {
        prepare_spoiled(in);
        (void)io_sum_drop(fd);
        if (f->tracked && at != NULL)
            file_dirty(f, at->w.cont);
    }
    *out = f;
    return 0;
}

/* Messages are immutable: their pages stay. */
static bool keeps_cache(const struct spot *at, int flags) {
    return at != NULL && at->class == MAILDIR_MESSAGE && (flags & O_ACCMODE) == O_RDONLY;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct inode *in = inode_of(ino);
    struct place place;
    struct spot at;
    struct file *f;
    bool placed = inode_place_get(in, &place);
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC;
    if (placed)
        spot_make(&at, place.parent, place.name);
    if (writes)
        change_begin1(placed ? &at : NULL);
    int r = in->made_up ? -EPERM : open_backing(req, in, placed ? &at : NULL, fi->flags, &f);
    if (writes)
        change_end();
    if (r == 0) {
        fi->fh = f->fh;
        fi->keep_cache = keeps_cache(placed ? &at : NULL, fi->flags);
        if (fuse_reply_open(req, fi) != 0)
            file_unref(f);
    } else {
        fuse_reply_err(req, -r);
    }
    if (placed) {
        spot_done(&at);
        place_done(&place);
    }
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct file *f = file_closed(fi->fh);
    if (f != NULL) {
        bool written = (f->flags & O_ACCMODE) != O_RDONLY;
        event_written(f);
        file_unref(f);
        if (written)
            lock_file_closed();
    }
    fuse_reply_err(req, 0);
}

/* Pigeonhole's sieve/ has a tmp/ too. */
static bool is_mailbox(const struct dir *d) {
    struct stat st;
    return fstatat(d->fd, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    struct file *f = req_file(req, fi);
    struct place place;
    struct spot at;
    if (f == NULL)
        return;
    bool placed = inode_place_get(f->in, &place);
    if (placed)
        spot_make(&at, place.parent, place.name);
    bool message = placed && at.w.kind == MAILDIR_DIR_TMP && !at.w.local &&
                   f->in->type == S_IFREG && (f->flags & O_ACCMODE) != O_RDONLY;
    if (message && is_mailbox(at.w.cd))
        prepare_fsync(req, f, &at, datasync);
    else
        reply_result(req, datasync ? io_fdatasync(f->fd) : io_fsync(f->fd));
    if (placed) {
        spot_done(&at);
        place_done(&place);
    }
}
