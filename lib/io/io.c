/*
 * io - the table of operations that change a disk, and calls through it
 *
 * Diagnostics: none; errors are returned as negative errno.
 */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* --- the real table ------------------------------------------------------------------------ */

static int result(int r) {
    return r < 0 ? -errno : r;
}

/*
 * openat2(2) refuses what open(2) ignores: flags it does not know, and a mode without a creation.
 */
#define OPEN_FLAGS                                                                                 \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |          \
     O_ASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE)

static int real_open(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (uint64_t)((flags & OPEN_FLAGS) | O_CLOEXEC),
        .mode = creates ? mode & 07777 : 0,
        .resolve = resolve,
    };
    long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

static ssize_t real_pwrite(int fd, const void *p, size_t n, off_t off) {
    ssize_t r = pwrite(fd, p, n, off);
    return r < 0 ? -errno : r;
}

static ssize_t real_write(int fd, const void *p, size_t n) {
    ssize_t r = write(fd, p, n);
    return r < 0 ? -errno : r;
}

static ssize_t real_copy(int from, off_t from_off, int to, off_t to_off, size_t n) {
    ssize_t r = copy_file_range(from, &from_off, to, &to_off, n, 0);
    return r < 0 ? -errno : r;
}

static int real_ftruncate(int fd, off_t size) {
    return result(ftruncate(fd, size));
}

static int real_fallocate(int fd, int mode, off_t off, off_t len) {
    return result(fallocate(fd, mode, off, len));
}

static int real_fsync(int fd) {
    return result(fsync(fd));
}

static int real_fdatasync(int fd) {
    return result(fdatasync(fd));
}

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* ext4's number is also that of ext2's and ext3's, which its driver mounts. Without a journal it
 * writes the directory of a new file when that is synced (ext4_sync_parent()). */
static bool names_go_with_files(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           ((uint32_t)fs.f_type == EXT4_SUPER_MAGIC || (uint32_t)fs.f_type == XFS_SUPER_MAGIC);
}

static int real_fsync_named(int fd, int dirfd) {
    int r = real_fsync(fd);
    return r != 0 || names_go_with_files(dirfd) ? r : real_fsync(dirfd);
}

static int real_syncfs(int fd) {
    return result(syncfs(fd));
}

static int real_fstatvfs(int fd, struct statvfs *fs) {
    return result(fstatvfs(fd, fs));
}

static int real_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    return result(renameat2(fromdir, from, todir, to, flags));
}

static int real_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    return result(linkat(fromdir, from, todir, to, flags));
}

static int real_unlink(int dirfd, const char *name, int flags) {
    return result(unlinkat(dirfd, name, flags));
}

static int real_mkdir(int dirfd, const char *name, mode_t mode) {
    return result(mkdirat(dirfd, name, mode));
}

static int real_mknod(int dirfd, const char *name, mode_t mode, dev_t dev) {
    return result(mknodat(dirfd, name, mode, dev));
}

static int real_symlink(const char *target, int dirfd, const char *name) {
    return result(symlinkat(target, dirfd, name));
}

/*
 * fchmod(2) and f*xattr(2) do not take O_PATH descriptors; their link in /proc does it.
 */
typedef char fd_link[40];

static const char *link_of(fd_link link, int fd) {
    snprintf(link, sizeof(fd_link), "/proc/self/fd/%d", fd);
    return link;
}

static int real_fchmod(int fd, mode_t mode) {
    fd_link link;
    int r = result(fchmod(fd, mode));
    return r == -EBADF ? result(chmod(link_of(link, fd), mode)) : r;
}

static int real_chown(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
    return result(fchownat(dirfd, name, uid, gid, flags));
}

static int real_utimens(int dirfd, const char *name, const struct timespec ts[2], int flags) {
    return result(utimensat(dirfd, name, ts, flags));
}

static int real_setxattr(int fd, const char *name, const void *p, size_t n, int flags) {
    fd_link link;
    int r = result(fsetxattr(fd, name, p, n, flags));
    return r == -EBADF ? result(setxattr(link_of(link, fd), name, p, n, flags)) : r;
}

static int real_removexattr(int fd, const char *name) {
    fd_link link;
    int r = result(fremovexattr(fd, name));
    return r == -EBADF ? result(removexattr(link_of(link, fd), name)) : r;
}

static int real_barrier(const char *what) {
    return 0;
}

const struct io_ops io_ops_real = {
    .open = real_open,
    .pwrite = real_pwrite,
    .write = real_write,
    .copy = real_copy,
    .ftruncate = real_ftruncate,
    .fallocate = real_fallocate,
    .fsync = real_fsync,
    .fdatasync = real_fdatasync,
    .fsync_named = real_fsync_named,
    .syncfs = real_syncfs,
    .fstatvfs = real_fstatvfs,
    .rename = real_rename,
    .link = real_link,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .mknod = real_mknod,
    .symlink = real_symlink,
    .fchmod = real_fchmod,
    .chown = real_chown,
    .utimens = real_utimens,
    .setxattr = real_setxattr,
    .removexattr = real_removexattr,
    .barrier = real_barrier,
};

static const struct io_ops *ops = &io_ops_real;

const struct io_ops *io_ops_set(const struct io_ops *table) {
    const struct io_ops *former = ops;
    ops = table;
    return former;
}

/* A signal is for the event loop; nobody here is to be told of it. */
#define RETRY(type, call)                                                                          \
    ({                                                                                             \
        type retry_r;                                                                              \
        do                                                                                         \
            retry_r = (call);                                                                      \
        while (retry_r == -EINTR);                                                                 \
        retry_r;                                                                                   \
    })

/* --- opening, reading, writing --------------------------------------------------------------- */

int io_open(int dirfd, const char *path, int flags, mode_t mode) {
    return RETRY(int, ops->open(dirfd, path, flags, mode, 0));
}

int io_open_beneath(int dirfd, const char *path, int flags, mode_t mode) {
    const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    /* EAGAIN: a rename elsewhere disturbed the walk (openat2(2)); bounded, as it could go on. */
    for (int tries = 0;; tries++) {
        int r = RETRY(int, ops->open(dirfd, path, flags, mode, resolve));
        if (r != -EAGAIN || tries >= 64)
            return r;
    }
}

ssize_t io_pwrite(int fd, const void *p, size_t n, off_t off) {
    return RETRY(ssize_t, ops->pwrite(fd, p, n, off));
}

int io_pwrite_all(int fd, const void *p, size_t n, off_t off) {
    const char *at = p;
    while (n > 0) {
        ssize_t r = io_pwrite(fd, at, n, off);
        if (r <= 0)
            return r < 0 ? (int)r : -EIO;
        at += r;
        off += r;
        n -= (size_t)r;
    }
    return 0;
}

int io_write_all(int fd, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        ssize_t r = RETRY(ssize_t, ops->write(fd, at, n));
        if (r <= 0)
            return r < 0 ? (int)r : -EIO;
        at += r;
        n -= (size_t)r;
    }
    return 0;
}

enum { CHUNK = 128 << 10 };

static ssize_t copy_by_hand(int from, off_t from_off, int to, off_t to_off, size_t n) {
    char *chunk = malloc(CHUNK);
    size_t done = 0;
    int r = chunk != NULL ? 0 : -ENOMEM;
    while (r == 0 && done < n) {
        size_t want = n - done < CHUNK ? n - done : CHUNK;
        ssize_t got = TEMP_FAILURE_RETRY(pread(from, chunk, want, from_off + (off_t)done));
        if (got <= 0) {
            r = got < 0 ? -errno : 0;
            break;
        }
        r = io_pwrite_all(to, chunk, (size_t)got, to_off + (off_t)done);
        done += (size_t)got;
    }
    free(chunk);
    return r < 0 ? r : (ssize_t)done;
}

/* Errors of copy_file_range(2) that speak of the two files, not of the disk. */
static bool copy_unfit(ssize_t r) {
    return r == -EXDEV || r == -EINVAL || r == -EOPNOTSUPP || r == -ENOSYS;
}

ssize_t io_copy_all(int from, off_t from_off, int to, off_t to_off, size_t n) {
    size_t done = 0;
    while (done < n) {
        off_t at = (off_t)done;
        ssize_t r = RETRY(ssize_t, ops->copy(from, from_off + at, to, to_off + at, n - done));
        if (done == 0 && copy_unfit(r))
            return copy_by_hand(from, from_off, to, to_off, n);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

int io_ftruncate(int fd, off_t size) {
    return RETRY(int, ops->ftruncate(fd, size));
}

int io_fallocate(int fd, int mode, off_t off, off_t len) {
    return RETRY(int, ops->fallocate(fd, mode, off, len));
}

int io_fsync(int fd) {
    return RETRY(int, ops->fsync(fd));
}

int io_fdatasync(int fd) {
    return RETRY(int, ops->fdatasync(fd));
}

int io_fsync_named(int fd, int dirfd) {
    return RETRY(int, ops->fsync_named(fd, dirfd));
}

int io_syncfs(int fd) {
    return RETRY(int, ops->syncfs(fd));
}

bool io_lacks(int fd, uint64_t bytes) {
    struct statvfs fs;
    return ops->fstatvfs(fd, &fs) == 0 && (uint64_t)fs.f_bfree * fs.f_frsize < bytes;
}

bool io_is_full(int fd) {
    return io_lacks(fd, IO_ROOM);
}

/* --- names ----------------------------------------------------------------------------------- */

int io_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    return RETRY(int, ops->rename(fromdir, from, todir, to, flags));
}

int io_link(int fromdir, const char *from, int todir, const char *to) {
    return RETRY(int, ops->link(fromdir, from, todir, to, 0));
}

int io_link_fd(int fd, int todir, const char *to) {
    /* By way of /proc, as in open(2) under O_TMPFILE: AT_EMPTY_PATH needs a capability. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return RETRY(int, ops->link(AT_FDCWD, path, todir, to, AT_SYMLINK_FOLLOW));
}

int io_unlink(int dirfd, const char *name) {
    return RETRY(int, ops->unlink(dirfd, name, 0));
}

int io_rmdir(int dirfd, const char *name) {
    return RETRY(int, ops->unlink(dirfd, name, AT_REMOVEDIR));
}

int io_mkdir(int dirfd, const char *name, mode_t mode) {
    return RETRY(int, ops->mkdir(dirfd, name, mode));
}

int io_mknod(int dirfd, const char *name, mode_t mode, dev_t dev) {
    return RETRY(int, ops->mknod(dirfd, name, mode, dev));
}

int io_symlink(const char *target, int dirfd, const char *name) {
    return RETRY(int, ops->symlink(target, dirfd, name));
}

/* --- attributes ------------------------------------------------------------------------------ */

int io_fchmod(int fd, mode_t mode) {
    return RETRY(int, ops->fchmod(fd, mode));
}

int io_fchown(int fd, uid_t uid, gid_t gid) {
    return RETRY(int, ops->chown(fd, "", uid, gid, AT_EMPTY_PATH));
}

int io_chown(int dirfd, const char *name, uid_t uid, gid_t gid) {
    return RETRY(int, ops->chown(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW));
}

int io_futimens(int fd, const struct timespec ts[2]) {
    return RETRY(int, ops->utimens(fd, "", ts, AT_EMPTY_PATH));
}

int io_utimens(int dirfd, const char *name, const struct timespec ts[2]) {
    return RETRY(int, ops->utimens(dirfd, name, ts, AT_SYMLINK_NOFOLLOW));
}

int io_setxattr(int fd, const char *name, const void *p, size_t n, int flags) {
    return RETRY(int, ops->setxattr(fd, name, p, n, flags));
}

int io_removexattr(int fd, const char *name) {
    return RETRY(int, ops->removexattr(fd, name));
}

int io_barrier(const char *what) {
    return RETRY(int, ops->barrier(what));
}
