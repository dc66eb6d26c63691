#ifndef MAILFS_IO_IO_H
#define MAILFS_IO_IO_H

/*
 * The table through which every durable change to a store or to state goes, so that a test can cut
 * the power, or fill the disk, at the n-th of them. (LMDB writes its own file; lib/io/db asks the
 * table's barrier() before each commit.) Reading is not in the table: it changes nothing.
 *
 * All functions: 0 or a count on success, else a negative errno; EINTR is retried inside. Any
 * thread, as the system calls. Each does what the system call of its name does; what differs is
 * said here.
 *
 * Names and paths that came over the wire, or that a mail user chose, are opened with
 * io_open_beneath() only: it neither leaves dirfd nor follows a symbolic link (openat2(2),
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, so kernel >= 5.6). The other *at
 * calls take a single name beneath a directory opened that way; the last component of them is never
 * followed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct io_ops {
    /* resolve: RESOLVE_* of openat2(2); 0 for paths from the configuration. O_CLOEXEC is added. */
    int (*open)(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t off);
    ssize_t (*write)(int fd, const void *p, size_t n); /* at the descriptor's offset, or O_APPEND */
    ssize_t (*copy)(int from, off_t from_off, int to, off_t to_off, size_t n);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t off, off_t len);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*fsync_named)(int fd, int dirfd);
    int (*syncfs)(int fd);
    int (*fstatvfs)(int fd, struct statvfs *fs); /* changes nothing; a test says how full it is */
    int (*rename)(int fromdir, const char *from, int todir, const char *to, unsigned flags);
    /* from is a name in fromdir, or "" with AT_EMPTY_PATH and fromdir the file itself */
    int (*link)(int fromdir, const char *from, int todir, const char *to, int flags);
    int (*unlink)(int dirfd, const char *name, int flags); /* AT_REMOVEDIR */
    int (*mkdir)(int dirfd, const char *name, mode_t mode);
    int (*mknod)(int dirfd, const char *name, mode_t mode, dev_t dev);
    int (*symlink)(const char *target, int dirfd, const char *name);
    int (*fchmod)(int fd, mode_t mode);
    int (*chown)(int dirfd, const char *name, uid_t uid, gid_t gid, int flags);
    /* name "" with AT_EMPTY_PATH: dirfd is the file */
    int (*utimens)(int dirfd, const char *name, const struct timespec ts[2], int flags);
    int (*setxattr)(int fd, const char *name, const void *p, size_t n, int flags);
    int (*removexattr)(int fd, const char *name);
    /* What is not a system call of ours is about to become durable (an LMDB commit). */
    int (*barrier)(const char *what);
};

extern const struct io_ops io_ops_real;

/*
 * Replaces the table for the whole process; returns the former. Tests only, before threads start.
 */
const struct io_ops *io_ops_set(const struct io_ops *ops);

/* A path from the configuration or one of our own making: symbolic links are followed. */
int io_open(int dirfd, const char *path, int flags, mode_t mode);

/*
 * Anything else. -ELOOP for a symbolic link on the way, -EXDEV for an escape. path must be
 * relative.
 */
int io_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* All n bytes or an error (some may have been written). -EIO where the kernel says 0. */
int io_pwrite_all(int fd, const void *p, size_t n, off_t off);
int io_write_all(int fd, const void *p, size_t n);

/* One call; the count may be short. */
ssize_t io_pwrite(int fd, const void *p, size_t n, off_t off);

/*
 * copy_file_range(2) where the filesystem has it, else through a buffer; all n bytes, or up to the
 * end of from when it is shorter: returns the number copied.
 */
ssize_t io_copy_all(int from, off_t from_off, int to, off_t to_off, size_t n);

int io_ftruncate(int fd, off_t size);
int io_fallocate(int fd, int mode, off_t off, off_t len);
int io_fsync(int fd);
int io_fdatasync(int fd);
/*
 * The file, and the name under which it was made in dirfd by this process. ext4 and XFS write the
 * name with the file: both were made in one transaction of their journal. Elsewhere the directory
 * is synced as well. Bought: 1 of the 2 fsyncs that a message took on the receiving node until it
 * was acknowledged.
 */
int io_fsync_named(int fd, int dirfd);
int io_syncfs(int fd);
/*
 * Is the file system of fd full: less than IO_ROOM is free? For an error of writing that may have
 * another cause, too: LMDB calls a full disk EIO, and a thinly provisioned volume that has lost
 * what was reserved calls it ENOSPC. False where it cannot be asked.
 */
#define IO_ROOM (UINT64_C(1) << 20) /* bytes */
bool io_is_full(int fd);
bool io_lacks(int fd, uint64_t bytes); /* less is free */
int io_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags);
int io_link(int fromdir, const char *from, int todir, const char *to);
int io_link_fd(int fd, int todir, const char *to); /* an O_TMPFILE or otherwise open file */
int io_unlink(int dirfd, const char *name);
int io_rmdir(int dirfd, const char *name);
int io_mkdir(int dirfd, const char *name, mode_t mode);
int io_mknod(int dirfd, const char *name, mode_t mode, dev_t dev);
int io_symlink(const char *target, int dirfd, const char *name);
int io_fchmod(int fd, mode_t mode); /* this and the others with fd alone: also one of O_PATH */
int io_fchown(int fd, uid_t uid, gid_t gid);
int io_chown(int dirfd, const char *name, uid_t uid, gid_t gid); /* the link itself */
int io_futimens(int fd, const struct timespec ts[2]);
int io_utimens(int dirfd, const char *name, const struct timespec ts[2]); /* the link itself */
int io_setxattr(int fd, const char *name, const void *p, size_t n, int flags);
int io_removexattr(int fd, const char *name);
int io_barrier(const char *what);

#endif
