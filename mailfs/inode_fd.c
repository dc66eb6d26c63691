/*
 * inode_fd - descriptors and attributes of inodes, by what is open already or by their handles
 *
 * Diagnostics: none; errors are returned.
 */
#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "file.h"
#include "vol.h"

int inode_open(struct inode *in, int flags) {
    struct io_handle h;
    inode_handle(in, &h);
    return h.len == 0 ? -ESTALE : io_handle_open(vol.store_fd, &h, flags);
}

int inode_fd(struct inode *in, struct inode_fd *out) {
    *out = (struct inode_fd){.fd = -1};
    if (in->made_up)
        return -ENOENT;
    if (in->dir != NULL) {
        out->fd = in->dir->fd;
        return 0;
    }
    out->file = file_borrow(in);
    if (out->file != NULL) {
        out->fd = file_fd(out->file);
        return 0;
    }
    out->fd = inode_open(in, O_PATH | O_NOFOLLOW);
    out->own = true;
    return out->fd < 0 ? out->fd : 0;
}

void inode_fd_done(struct inode_fd *f) {
    if (f->own && f->fd >= 0)
        close(f->fd);
    if (f->file != NULL)
        file_unref(f->file);
    *f = (struct inode_fd){.fd = -1};
}

int inode_stat(struct inode *in, struct stat *st) {
    struct inode_fd f;
    if (in->made_up) {
        *st = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_ino = 2};
        return 0;
    }
    int r = inode_fd(in, &f);
    if (r == 0)
        r = fstat(f.fd, st) == 0 ? 0 : -errno;
    inode_fd_done(&f);
    return r;
}
