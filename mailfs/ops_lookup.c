/*
 * ops_lookup - names to inodes, and what needs only an inode
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dir.h"
#include "lock.h"

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct inode *dir = inode_of(parent), *in = NULL;
    struct spot at;
    struct stat st;
    spot_make(&at, dir, name);
    int r =
        spot_hidden(&at) || at.class == MAILDIR_POKE ? -ENOENT : inode_lookup(dir, name, &in, &st);
    if (r == -ENOENT && at.w.kind == MAILDIR_DIR_CONTAINER)
        lock_sought(dir, name, req_pid(req));
    reply_entry(req, r, in, &st, &at);
    spot_done(&at);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n) {
    inode_forget(inode_of(ino), n);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets) {
    for (size_t i = 0; i < count; i++)
        inode_forget(inode_of(forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino) {
    char target[PATH_MAX + 1];
    struct inode_fd f;
    ssize_t n = -1;
    int r = inode_fd(inode_of(ino), &f);
    if (r == 0) {
        n = readlinkat(f.fd, "", target, sizeof target - 1);
        if (n < 0)
            r = -errno;
    }
    inode_fd_done(&f);
    if (r != 0) {
        reply_result(req, r);
        return;
    }
    target[n] = '\0';
    fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino) {
    struct statvfs st;
    if (fstatvfs(vol.store_fd, &st) != 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_statfs(req, &st);
}
