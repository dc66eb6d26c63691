/*
 * ops_attr - attributes: stat, and what changes them
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "event.h"
#include "file.h"
#include "io/io.h"
#include "io/sum.h"
#include "prepare.h"

static void reply_stat(fuse_req_t req, int r, const struct stat *st, double lifetime) {
    if (r != 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_attr(req, st, lifetime);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct inode *in = inode_of(ino);
    struct stat st;
    int r;
    double lifetime = lifetime_attr(in);
    const struct file *open = fi != NULL && in->dir == NULL ? file_of(fi->fh) : NULL;
    if (in->dir != NULL && asked_now(in, req_pid(req)))
        lifetime = LIFETIME_SHORT;
    if (open != NULL)
        r = fstat(file_fd(open), &st) == 0 ? 0 : -errno;
    else
        r = inode_stat(in, &st);
    reply_stat(req, r, &st, lifetime);
}

static int set_owner(const struct inode_fd *f, const struct stat *attr, int valid) {
    uid_t uid = valid & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
    gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;
    return io_fchown(f->fd, uid, gid);
}

static struct timespec one_time(int valid, int set, int now, struct timespec t) {
    if (valid & now)
        return (struct timespec){0, UTIME_NOW};
    return valid & set ? t : (struct timespec){0, UTIME_OMIT};
}

static int set_times(const struct inode_fd *f, const struct stat *attr, int valid) {
    struct timespec ts[2] = {
        one_time(valid, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim),
        one_time(valid, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim),
    };
    return io_futimens(f->fd, ts);
}

static int set_size(struct inode *in, const struct file *open, off_t size) {
    if (open != NULL && (open->flags & O_ACCMODE) != O_RDONLY) {
        (void)io_sum_drop(file_fd(open));
        return io_ftruncate(file_fd(open), size);
    }
    int fd = inode_open(in, O_WRONLY | O_NONBLOCK);
    if (fd < 0)
        return fd;
    (void)io_sum_drop(fd);
    int r = io_ftruncate(fd, size);
    close(fd);
    return r;
}

#define ANY_TIME                                                                                   \
    (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)

/* The size first, since that clears set-id bits and sets times. */
static int set_all(struct inode *in, const struct file *open, const struct stat *attr, int valid,
                   struct stat *st) {
    struct inode_fd f;
    int r = 0;
    if (valid & FUSE_SET_ATTR_SIZE)
        r = set_size(in, open, attr->st_size);
    if (r != 0)
        return r;
    r = inode_fd(in, &f);
    if (r == 0 && valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
        r = set_owner(&f, attr, valid);
    if (r == 0 && valid & FUSE_SET_ATTR_MODE)
        r = io_fchmod(f.fd, attr->st_mode & 07777);
    if (r == 0 && valid & ANY_TIME)
        r = set_times(&f, attr, valid);
    if (r == 0)
        r = fstat(f.fd, st) == 0 ? 0 : -errno;
    inode_fd_done(&f);
    return r;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
                struct fuse_file_info *fi) {
    struct inode *in = inode_of(ino);
    const struct file *open = fi != NULL && in->dir == NULL ? file_of(fi->fh) : NULL;
    struct stat st;
    struct place place;
    struct spot at;
    bool placed = inode_place_get(in, &place);
    if (placed)
        spot_make(&at, place.parent, place.name);
    change_begin1(placed ? &at : NULL);
    if (valid & FUSE_SET_ATTR_SIZE)
        prepare_spoiled(in);
    int r = set_all(in, open, attr, valid, &st);
    if (r == 0 && placed)
        event_attr(&at, in, &st, req_pid(req));
    change_end();
    if (placed && at.w.kind == MAILDIR_DIR_TMP && !at.w.local) /* as with a write of a message */
        r = r == -EIO ? -EAGAIN : error_for_now(&at, r);
    reply_stat(req, r, &st, lifetime_attr(in));
    if (placed) {
        spot_done(&at);
        place_done(&place);
    }
}
