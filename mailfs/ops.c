/*
 * ops - the table of callbacks, each with its counter; those that change something ask for the
 * role, and all for permission, where the kernel has not checked it (access.h)
 *
 * What is not here: flush (nothing needs it: the kernel stops asking after one ENOSYS), locks and
 * flock (the kernel keeps them itself), readdirplus (it gains nothing
 * where names outlive a listing), ioctl, poll, bmap. Nor extended attributes: no mail program uses
 * any, they did not travel to the peer, and having them costs a GETXATTR for each new file that is
 * written (1 of a delivery's 11 requests, 5 of an LMTP delivery's 55), since the kernel asks for
 * security.capability; after one ENOSYS it does not.
 *
 * Diagnostics: none.
 */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "access.h"
#include "lock.h"
#include "req.h"
#include "role.h"
#include "stats.h"

/* On a standby nothing is changed. */
static bool refused_as(fuse_req_t req, int err) {
    if (!role_refuses(req_pid(req)))
        return false;
    fuse_reply_err(req, err);
    return true;
}

static bool refused(fuse_req_t req) {
    return refused_as(req, EROFS);
}

/* r: of access.h */
static bool kept_out(fuse_req_t req, int r) {
    if (r != 0)
        fuse_reply_err(req, -r);
    return r != 0;
}

/* Who wants to make a name in dir, or with `goes` to remove that one. */
static bool refused_names(fuse_req_t req, fuse_ino_t dir, const char *goes) {
    return refused(req) || kept_out(req, access_names(req, dir, goes));
}

static void count_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    stats_count(STATS_LOOKUP);
    if (kept_out(req, access_inode(req, parent, X_OK)))
        return;
    op_lookup(req, parent, name);
}

static void count_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n) {
    stats_count(STATS_FORGET);
    op_forget(req, ino, n);
}

static void count_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
    stats_count(STATS_FORGET);
    op_forget_multi(req, count, forgets);
}

static void count_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    stats_count(STATS_GETATTR);
    op_getattr(req, ino, fi);
}

static void count_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
                          struct fuse_file_info *fi) {
    stats_count(STATS_SETATTR);
    if (refused(req) || kept_out(req, access_setattr(req, ino, attr, valid, fi != NULL)))
        return;
    op_setattr(req, ino, attr, valid, fi);
}

static void count_readlink(fuse_req_t req, fuse_ino_t ino) {
    stats_count(STATS_READLINK);
    if (kept_out(req, access_inode(req, ino, 0)))
        return;
    op_readlink(req, ino);
}

static void count_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                        dev_t rdev) {
    stats_count(STATS_MKNOD);
    if (refused_names(req, parent, NULL))
        return;
    op_mknod(req, parent, name, mode, rdev);
}

static void count_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode) {
    stats_count(STATS_MKDIR);
    if (refused_names(req, parent, NULL))
        return;
    op_mkdir(req, parent, name, mode);
}

static void count_unlink(fuse_req_t req, fuse_ino_t parent, const char *name) {
    stats_count(STATS_UNLINK);
    if (refused_names(req, parent, name))
        return;
    op_unlink(req, parent, name);
}

static void count_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name) {
    stats_count(STATS_RMDIR);
    if (refused_names(req, parent, name))
        return;
    op_rmdir(req, parent, name);
}

static void count_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name) {
    stats_count(STATS_SYMLINK);
    if (refused_names(req, parent, NULL))
        return;
    op_symlink(req, target, parent, name);
}

static void count_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                         const char *newname, unsigned flags) {
    stats_count(STATS_RENAME);
    if (refused_names(req, parent, name) || kept_out(req, access_names(req, newparent, newname)) ||
        kept_out(req, access_moves(req, parent, name, newparent)))
        return;
    if (flags & RENAME_EXCHANGE && kept_out(req, access_moves(req, newparent, newname, parent)))
        return;
    op_rename(req, parent, name, newparent, newname, flags);
}

static void count_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name) {
    stats_count(STATS_LINK);
    if (refused_names(req, parent, NULL) || kept_out(req, access_link(req, ino)))
        return;
    op_link(req, ino, parent, name);
}

static void count_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    stats_count(STATS_OPEN);
    if (((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) &&
        refused_as(req, EACCES)) /* then Dovecot opens its uidlist to read */
        return;
    if (fi->flags & O_TRUNC && kept_out(req, access_open(req, ino, fi->flags)))
        return;
    op_open(req, ino, fi);
}

static void count_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi) {
    stats_count(STATS_READ);
    op_read(req, ino, size, off, fi);
}

static void count_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                        struct fuse_file_info *fi) {
    stats_count(STATS_WRITE);
    if (refused(req))
        return;
    op_write(req, ino, buf, size, off, fi);
}

static void count_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    stats_count(STATS_RELEASE);
    op_release(req, ino, fi);
}

static void count_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    stats_count(STATS_FSYNC);
    op_fsync(req, ino, datasync, fi);
}

static void count_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    stats_count(STATS_OPENDIR);
    if (kept_out(req, access_inode(req, ino, R_OK)))
        return;
    op_opendir(req, ino, fi);
}

static void count_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                          struct fuse_file_info *fi) {
    stats_count(STATS_READDIR);
    op_readdir(req, ino, size, off, fi);
}

static void count_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    stats_count(STATS_RELEASEDIR);
    op_releasedir(req, ino, fi);
}

static void count_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
                           struct fuse_file_info *fi) {
    stats_count(STATS_FSYNCDIR);
    op_fsyncdir(req, ino, datasync, fi);
}

static void count_statfs(fuse_req_t req, fuse_ino_t ino) {
    stats_count(STATS_STATFS);
    op_statfs(req, ino);
}

static void count_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         struct fuse_file_info *fi) {
    stats_count(STATS_CREATE);
    /* An L that is EROFS is an error to Dovecot, EACCES a mailbox that it may only read. */
    if (refused_as(req, strcmp(name, LOCK_L_NAME) == 0 ? EACCES : EROFS))
        return;
    if (kept_out(req, access_names(req, parent, NULL)))
        return;
    op_create(req, parent, name, mode, fi);
}

static void count_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                            struct fuse_file_info *fi) {
    stats_count(STATS_FALLOCATE);
    if (refused(req))
        return;
    op_fallocate(req, ino, mode, off, len, fi);
}

static void count_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t in_off,
                                  struct fuse_file_info *in_fi, fuse_ino_t out, off_t out_off,
                                  struct fuse_file_info *out_fi, size_t len, int flags) {
    stats_count(STATS_COPY);
    if (refused(req))
        return;
    op_copy_file_range(req, in, in_off, in_fi, out, out_off, out_fi, len, flags);
}

static void count_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                        struct fuse_file_info *fi) {
    stats_count(STATS_LSEEK);
    op_lseek(req, ino, off, whence, fi);
}

/* Not asked where the kernel checks permissions: it knows then. */
static void count_access(fuse_req_t req, fuse_ino_t ino, int want) {
    stats_count(STATS_ACCESS);
    if (!kept_out(req, access_inode(req, ino, want)))
        fuse_reply_err(req, 0);
}

const struct fuse_lowlevel_ops ops_table = {
    .lookup = count_lookup,
    .forget = count_forget,
    .forget_multi = count_forget_multi,
    .getattr = count_getattr,
    .setattr = count_setattr,
    .readlink = count_readlink,
    .mknod = count_mknod,
    .mkdir = count_mkdir,
    .unlink = count_unlink,
    .rmdir = count_rmdir,
    .symlink = count_symlink,
    .rename = count_rename,
    .link = count_link,
    .open = count_open,
    .read = count_read,
    .write = count_write,
    .release = count_release,
    .fsync = count_fsync,
    .opendir = count_opendir,
    .readdir = count_readdir,
    .releasedir = count_releasedir,
    .fsyncdir = count_fsyncdir,
    .statfs = count_statfs,
    .create = count_create,
    .fallocate = count_fallocate,
    .copy_file_range = count_copy_file_range,
    .lseek = count_lseek,
    .access = count_access,
};
