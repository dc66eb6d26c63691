/* unsynced - see unsynced.h */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "io/io.h"
#include "unsynced.h"

unsigned n_unsynced;
static ino_t unsynced[UNSYNCED_MAX];

static void forget(ino_t ino) {
    for (unsigned i = 0; i < n_unsynced; i++) {
        if (unsynced[i] == ino)
            unsynced[i] = unsynced[--n_unsynced];
    }
}

ssize_t watched_pwrite(int fd, const void *data, size_t n, off_t off) {
    struct stat sb;

    assert_int_equal(fstat(fd, &sb), 0);
    forget(sb.st_ino);
    assert_true(n_unsynced < UNSYNCED_MAX);
    unsynced[n_unsynced++] = sb.st_ino;
    return io_ops_real.pwrite(fd, data, n, off);
}

int watched_fsync(int fd) {
    struct stat sb;

    assert_int_equal(fstat(fd, &sb), 0);
    forget(sb.st_ino);
    return io_ops_real.fsync(fd);
}

int watched_syncfs(int fd) {
    n_unsynced = 0;
    return io_ops_real.syncfs(fd);
}

void is_synced(int dirfd, const char *name) {
    struct stat sb;

    assert_int_equal(fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW), 0);
    for (unsigned i = 0; i < n_unsynced; i++)
        assert_int_not_equal(unsynced[i], sb.st_ino);
}

bool is_named(const char *to) {
    return strstr(to, ".M1.a") || strncmp(to, "l-", 2) == 0;
}

int watched_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    if (is_named(to))
        is_synced(fromdir, from);
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static int watched_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    if (is_named(to))
        is_synced(fromdir, from);
    return io_ops_real.link(fromdir, from, todir, to, flags);
}

void watch(void) {
    static struct io_ops watched;

    watched = io_ops_real;
    watched.pwrite = watched_pwrite;
    watched.fsync = watched_fsync;
    watched.syncfs = watched_syncfs;
    watched.rename = watched_rename;
    watched.link = watched_link;
    io_ops_set(&watched);
}
