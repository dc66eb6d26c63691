/*
 * io_fault - failing disks and power cuts at the n-th step
 *
 * Before each change that could be lost, what is needed to take it back is put on the list `undos`;
 * a sync forgets what it made durable; power_on takes back the rest, newest first.
 *
 * Diagnostics: assert(3); and one line on stderr when something cannot be taken back.
 */
#undef NDEBUG
#include "tests/unit/io_fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <utlist.h>

#include "io/io.h"

enum undo_kind {
    UNDO_DATA,   /* fd is the file */
    UNDO_XATTR,  /* fd is the file or directory, name the attribute */
    UNDO_APPEAR, /* fd is the directory, name became visible in it */
    UNDO_VANISH, /* likewise, name went away */
};

struct undo {
    enum undo_kind kind;
    int fd;
    dev_t dev; /* and ino: of fd; a sync of it makes the change durable */
    ino_t ino;
    char *name;
    void *data;
    size_t n;
    bool absent;    /* XATTR: there was none. VANISH: it is a directory, nothing is saved */
    char saved[32]; /* VANISH: its name in the grave */
    struct undo *prev, *next;
};

static struct {
    enum fault_kind kind;
    unsigned at, steps;
    int error;
    bool happened;
    int grave;
    unsigned graves;
    struct undo *undos;
} f;

/* --- counting ------------------------------------------------------------------------------- */

/* 0: do it; else the error of this step. */
static int step(void) {
    unsigned now = f.steps++;
    bool after = f.happened;
    if (f.kind == FAULT_NONE || now < f.at)
        return 0;
    f.happened = true;
    if (f.kind == FAULT_FAIL)
        return after ? 0 : f.error;
    return f.kind == FAULT_FAIL_ON ? f.error : -ENODEV;
}

static bool tracking(void) {
    return f.kind == FAULT_CUT;
}

/* --- remembering ---------------------------------------------------------------------------- */

/* fd is opened anew: the caller's may be closed, and the file unlinked, when it is wanted. */
static struct undo *remember(enum undo_kind kind, int fd, const char *name) {
    struct undo *u = calloc(1, sizeof *u);
    struct stat st;
    assert(u != NULL);
    u->kind = kind;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    u->fd = open(fd == AT_FDCWD ? "." : path, (kind == UNDO_DATA ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    assert(u->fd >= 0 && fstat(u->fd, &st) == 0);
    u->dev = st.st_dev;
    u->ino = st.st_ino;
    u->name = name != NULL ? strdup(name) : NULL;
    DL_APPEND(f.undos, u);
    return u;
}

static void forget(struct undo *u) {
    DL_DELETE(f.undos, u);
    close(u->fd);
    free(u->name);
    free(u->data);
    if (u->saved[0] != '\0')
        unlinkat(f.grave, u->saved, 0);
    free(u);
}

static struct undo *newest(void) {
    return f.undos != NULL ? f.undos->prev : NULL;
}

/* What was remembered for an operation that then did nothing. */
static void forget_since(const struct undo *before) {
    while (newest() != before)
        forget(newest());
}

static void remember_data(int fd) {
    struct stat st;
    if (!tracking())
        return;
    struct undo *u = remember(UNDO_DATA, fd, NULL);
    assert(fstat(fd, &st) == 0);
    u->n = (size_t)st.st_size;
    u->data = malloc(u->n + 1);
    assert(u->data != NULL && pread(u->fd, u->data, u->n, 0) == (ssize_t)u->n);
}

/* A name that is about to be removed or replaced, if it is there. */
static void remember_target(int dirfd, const char *name) {
    struct stat st;
    if (!tracking() || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    struct undo *u = remember(UNDO_VANISH, dirfd, name);
    u->absent = S_ISDIR(st.st_mode);
    if (u->absent)
        return;
    snprintf(u->saved, sizeof u->saved, "%u", f.graves++);
    int r = linkat(dirfd, name, f.grave, u->saved, 0);
    assert(r == 0);
}

static void remember_appear(int dirfd, const char *name) {
    if (tracking())
        remember(UNDO_APPEAR, dirfd, name);
}

static void remember_xattr(int fd, const char *name) {
    if (!tracking())
        return;
    struct undo *u = remember(UNDO_XATTR, fd, name);
    ssize_t n = fgetxattr(fd, name, NULL, 0);
    u->absent = n < 0;
    if (u->absent)
        return;
    u->n = (size_t)n;
    u->data = malloc(u->n + 1);
    assert(u->data != NULL && fgetxattr(fd, name, u->data, u->n) == n);
}

/* fd, or with fs everything on its file system, is durable now. */
static void synced(int fd, bool fs) {
    struct stat st;
    struct undo *u, *tmp;
    if (fstat(fd, &st) != 0)
        return;
    DL_FOREACH_SAFE(f.undos, u, tmp) {
        if (u->dev == st.st_dev && (fs || u->ino == st.st_ino))
            forget(u);
    }
}

static void undo(const struct undo *u) {
    ssize_t r = 0;
    switch (u->kind) {
    case UNDO_DATA:
        r = ftruncate(u->fd, (off_t)u->n);
        if (r == 0)
            r = pwrite(u->fd, u->data, u->n, 0);
        break;
    case UNDO_XATTR:
        r = u->absent ? fremovexattr(u->fd, u->name) : fsetxattr(u->fd, u->name, u->data, u->n, 0);
        break;
    case UNDO_APPEAR:
        r = unlinkat(u->fd, u->name, 0);
        if (r != 0 && errno == EISDIR)
            r = unlinkat(u->fd, u->name, AT_REMOVEDIR);
        if (r != 0 && errno == ENOTEMPTY) /* the test put something in by other means */
            r = 0;
        break;
    case UNDO_VANISH:
        r = u->absent ? mkdirat(u->fd, u->name, 0700)
                      : linkat(f.grave, u->saved, u->fd, u->name, 0);
        break;
    }
    if (r < 0)
        fprintf(stderr, "io_fault: cannot undo %d of %s: %s\n", (int)u->kind,
                u->name != NULL ? u->name : "a file", strerror(errno));
    assert(r >= 0);
}

/* --- the table ------------------------------------------------------------------------------ */

/* Truncation is taken out of the opening, so that the old content can be remembered. */
static int fault_open(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    bool tmpfile = (flags & O_TMPFILE) == O_TMPFILE;
    bool creates = tmpfile || ((flags & O_CREAT) != 0 &&
                               faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0);
    int r = creates || (flags & O_TRUNC) != 0 ? step() : 0;
    if (r != 0)
        return r;
    int fd = io_ops_real.open(dirfd, path, flags & ~O_TRUNC, mode, resolve);
    if (fd >= 0 && creates && !tmpfile) {
        assert(strchr(path, '/') == NULL || dirfd == AT_FDCWD);
        if (strchr(path, '/') == NULL) /* else a path of the configuration: not taken back */
            remember_appear(dirfd, path);
    }
    if (fd >= 0 && !creates && (flags & O_TRUNC) != 0) {
        remember_data(fd);
        r = io_ops_real.ftruncate(fd, 0);
        if (r != 0) {
            close(fd);
            return r;
        }
    }
    return fd;
}

static ssize_t fault_pwrite(int fd, const void *p, size_t n, off_t off) {
    int r = step();
    if (r != 0)
        return r;
    remember_data(fd);
    return io_ops_real.pwrite(fd, p, n, off);
}

static ssize_t fault_write(int fd, const void *p, size_t n) {
    int r = step();
    if (r != 0)
        return r;
    remember_data(fd);
    return io_ops_real.write(fd, p, n);
}

static ssize_t fault_copy(int from, off_t from_off, int to, off_t to_off, size_t n) {
    int r = step();
    if (r != 0)
        return r;
    remember_data(to);
    return io_ops_real.copy(from, from_off, to, to_off, n);
}

static int fault_ftruncate(int fd, off_t size) {
    int r = step();
    if (r != 0)
        return r;
    remember_data(fd);
    return io_ops_real.ftruncate(fd, size);
}

static int fault_fallocate(int fd, int mode, off_t off, off_t len) {
    int r = step();
    if (r != 0)
        return r;
    remember_data(fd);
    return io_ops_real.fallocate(fd, mode, off, len);
}

static int fault_sync(int fd, int (*sync)(int), bool fs) {
    int r = step();
    if (r == 0)
        r = sync(fd);
    if (r == 0)
        synced(fd, fs);
    return r;
}

static int fault_fsync(int fd) {
    return fault_sync(fd, io_ops_real.fsync, false);
}

static int fault_fdatasync(int fd) {
    return fault_sync(fd, io_ops_real.fdatasync, false);
}

/* As where names do not go with their files. */
static int fault_fsync_named(int fd, int dirfd) {
    int r = fault_fsync(fd);
    return r != 0 ? r : fault_fsync(dirfd);
}

static int fault_syncfs(int fd) {
    return fault_sync(fd, io_ops_real.syncfs, true);
}

/* Changes nothing; a disk that has been full is. */
static int fault_fstatvfs(int fd, struct statvfs *fs) {
    int r = io_ops_real.fstatvfs(fd, fs);
    if (r == 0 && f.error == -ENOSPC)
        fs->f_bfree = fs->f_bavail = 0;
    return r;
}

static int fault_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    int r = step();
    if (r != 0)
        return r;
    struct stat st;
    bool dir = fstatat(fromdir, from, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    assert(!tracking() || (!dir && (flags & RENAME_EXCHANGE) == 0));
    const struct undo *before = newest();
    remember_target(todir, to);
    remember_target(fromdir, from);
    r = io_ops_real.rename(fromdir, from, todir, to, flags);
    if (r == 0)
        remember_appear(todir, to);
    else
        forget_since(before);
    return r;
}

static int fault_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    int r = step();
    if (r == 0)
        r = io_ops_real.link(fromdir, from, todir, to, flags);
    if (r == 0)
        remember_appear(todir, to);
    return r;
}

static int fault_unlink(int dirfd, const char *name, int flags) {
    int r = step();
    if (r != 0)
        return r;
    const struct undo *before = newest();
    remember_target(dirfd, name);
    r = io_ops_real.unlink(dirfd, name, flags);
    if (r != 0)
        forget_since(before);
    return r;
}

static int fault_mkdir(int dirfd, const char *name, mode_t mode) {
    int r = step();
    if (r == 0)
        r = io_ops_real.mkdir(dirfd, name, mode);
    if (r == 0 && strchr(name, '/') == NULL) /* else a path of the configuration */
        remember_appear(dirfd, name);
    return r;
}

static int fault_mknod(int dirfd, const char *name, mode_t mode, dev_t dev) {
    int r = step();
    if (r == 0)
        r = io_ops_real.mknod(dirfd, name, mode, dev);
    if (r == 0)
        remember_appear(dirfd, name);
    return r;
}

static int fault_symlink(const char *target, int dirfd, const char *name) {
    int r = step();
    if (r == 0)
        r = io_ops_real.symlink(target, dirfd, name);
    if (r == 0)
        remember_appear(dirfd, name);
    return r;
}

static int fault_fchmod(int fd, mode_t mode) {
    int r = step();
    return r != 0 ? r : io_ops_real.fchmod(fd, mode);
}

static int fault_chown(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
    int r = step();
    return r != 0 ? r : io_ops_real.chown(dirfd, name, uid, gid, flags);
}

static int fault_utimens(int dirfd, const char *name, const struct timespec ts[2], int flags) {
    int r = step();
    return r != 0 ? r : io_ops_real.utimens(dirfd, name, ts, flags);
}

static int fault_setxattr(int fd, const char *name, const void *p, size_t n, int flags) {
    int r = step();
    if (r != 0)
        return r;
    const struct undo *before = newest();
    remember_xattr(fd, name);
    r = io_ops_real.setxattr(fd, name, p, n, flags);
    if (r != 0)
        forget_since(before);
    return r;
}

static int fault_removexattr(int fd, const char *name) {
    int r = step();
    if (r != 0)
        return r;
    const struct undo *before = newest();
    remember_xattr(fd, name);
    r = io_ops_real.removexattr(fd, name);
    if (r != 0)
        forget_since(before);
    return r;
}

static int fault_barrier(const char *what) {
    return step();
}

static const struct io_ops fault_table = {
    .open = fault_open,
    .pwrite = fault_pwrite,
    .write = fault_write,
    .copy = fault_copy,
    .ftruncate = fault_ftruncate,
    .fallocate = fault_fallocate,
    .fsync = fault_fsync,
    .fdatasync = fault_fdatasync,
    .fsync_named = fault_fsync_named,
    .syncfs = fault_syncfs,
    .fstatvfs = fault_fstatvfs,
    .rename = fault_rename,
    .link = fault_link,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .mknod = fault_mknod,
    .symlink = fault_symlink,
    .fchmod = fault_fchmod,
    .chown = fault_chown,
    .utimens = fault_utimens,
    .setxattr = fault_setxattr,
    .removexattr = fault_removexattr,
    .barrier = fault_barrier,
};

/* --- beginning and end ---------------------------------------------------------------------- */

void fault_start(const char *grave, enum fault_kind kind, unsigned at, int error) {
    assert(f.undos == NULL);
    memset(&f, 0, sizeof f);
    f.kind = kind;
    f.at = at;
    f.error = error;
    f.grave = open(grave, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(f.grave >= 0);
    io_ops_set(&fault_table);
}

bool fault_happened(void) {
    return f.happened;
}

unsigned fault_steps(void) {
    return f.steps;
}

void fault_power_on(void) {
    io_ops_set(&io_ops_real);
    while (f.undos != NULL) {
        struct undo *last = newest();
        if (f.kind == FAULT_CUT && f.happened)
            undo(last);
        forget(last);
    }
    close(f.grave);
}
