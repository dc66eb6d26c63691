/*
 * adopt_place - whether a tree can be a store where it is, and can be put where it is to be
 *
 * Diagnostics: to the report.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "adopt.h"
#include "adopt_kinds.h"
#include "io/dirid.h"
#include "io/handle.h"
#include "util/log.h"
#include "util/str.h"

/* A new id may cost a block of its own, and syncd must be able to begin. */
#define BLOCK_BYTES UINT64_C(4096)
#define BEGIN_BYTES (UINT64_C(16) << 20)
/* docs/DESIGN.md: about a hundred bytes of the base a message; what LMDB needs besides */
#define BASE_BYTES UINT64_C(200)
#define INODES_FEW 10000

/* ---- the file system ---------------------------------------------------------------- */

/* On a file without a name, so that the check leaves nothing behind. */
static void check_xattrs(struct adopt *a) {
    int fd = openat(a->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int err = fd < 0 ? errno : 0;

    if (fd >= 0 && fsetxattr(fd, IO_DIRID_XATTR, "probe", 5, 0) != 0)
        err = errno;
    if (fd >= 0)
        close(fd);
    if (err == ENOSPC || err == EDQUOT)
        report_add(a->report, &kind_room, a->dir, "%s", log_strerror(err));
    else if (err)
        report_add(a->report, &kind_filesystem, a->dir, "user extended attributes: %s",
                   log_strerror(err));
}

static void check_filesystem(struct adopt *a) {
    struct io_handle h;
    struct statfs st;
    int r;

    if (fstatfs(a->fd, &st) == 0 && st.f_type == FUSE_SUPER_MAGIC) {
        report_add(a->report, &kind_filesystem, a->dir, "it is a FUSE mount");
        return;
    }
    check_xattrs(a);
    r = io_handle_get_fd(a->fd, &h);
    if (r < 0)
        report_add(a->report, &kind_filesystem, a->dir, "file handles: %s", log_strerror(r));
}

/* The nearest directory that exists: of a path or above it. */
static int nearest(const char *path, char *buf, size_t size, struct stat *st) {
    int r = str_copy(buf, size, path);

    memset(st, 0, sizeof(*st));
    while (r == 0 && stat(buf, st) != 0) {
        char *slash = strrchr(buf, '/');

        if (errno != ENOENT || !slash)
            return -errno;
        slash[slash == buf] = '\0';
    }
    return r;
}

static void check_room_at(struct adopt *a, const char *path, uint64_t need, bool inodes) {
    char at[PATH_MAX];
    struct statvfs vfs;
    struct stat st;
    int r = nearest(path, at, sizeof(at), &st);

    if (r < 0 || statvfs(at, &vfs) != 0) {
        report_add(a->report, &kind_unreadable, path, "%s", log_strerror(r < 0 ? r : errno));
        return;
    }
    if ((uint64_t)vfs.f_bavail * vfs.f_frsize < need)
        report_add(a->report, &kind_room, path, "%" PRIu64 " KiB are needed", need >> 10);
    if (inodes && vfs.f_files > 0 && vfs.f_favail < INODES_FEW)
        report_add(a->report, &kind_inodes, path, "%" PRIu64 " of %" PRIu64, (uint64_t)vfs.f_favail,
                   (uint64_t)vfs.f_files);
}

/* ---- the place ---------------------------------------------------------------------- */

static bool is_empty(const char *path) {
    DIR *d = opendir(path);
    bool empty = d != NULL;
    struct dirent *de;

    while (empty && (de = readdir(d)))
        empty = strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

/* The guard of a mount point (chattr +i), which is to go before that directory is replaced. */
static bool is_immutable(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), flags = 0;
    bool yes = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && flags & FS_IMMUTABLE_FL;

    if (fd >= 0)
        close(fd);
    return yes;
}

void adopt_check_target(struct adopt *a, const char *to) {
    char at[PATH_MAX];
    struct stat st;
    int r;

    if (conf_path_within(to, a->dir) || conf_path_within(a->dir, to))
        report_add(a->report, &kind_paths, a->dir, "it and %s lie within each other", to);
    else if (lstat(to, &st) == 0 && (!S_ISDIR(st.st_mode) || !is_empty(to)))
        report_add(a->report, &kind_taken, to, "it exists, and is no empty directory");
    else if (is_immutable(to))
        report_add(a->report, &kind_immutable, to, "%s", "");
    r = nearest(to, at, sizeof(at), &st);
    if (r < 0)
        report_add(a->report, &kind_unreadable, at, "%s", log_strerror(r));
    else if (st.st_dev != a->dev)
        report_add(a->report, &kind_filesystem, to,
                   "it is on another file system than %s: mail is not copied", a->dir);
    if (adopt_is_mounted(a->dir) == 1 || adopt_is_mounted(to) == 1)
        report_add(a->report, &kind_mount, adopt_is_mounted(to) == 1 ? to : a->dir,
                   "a file system is mounted there");
}

void adopt_check_place(struct adopt *a) {
    const struct conf_volume *v = a->volume;

    check_filesystem(a);
    if (conf_path_within(a->dir, v->state) || conf_path_within(v->state, a->dir))
        report_add(a->report, &kind_paths, v->state,
                   "the state and the directory lie within each other");
    if (strcmp(a->dir, a->store) != 0)
        adopt_check_target(a, a->store);
    if (strcmp(a->dir, v->mount) != 0 && conf_path_within(a->dir, v->mount))
        report_add(a->report, &kind_paths, v->mount, "the mount is inside the directory");
    check_room_at(a, a->dir, a->without_ids * BLOCK_BYTES + BEGIN_BYTES, true);
    check_room_at(a, v->state, a->messages * BASE_BYTES + BEGIN_BYTES, false);
}
