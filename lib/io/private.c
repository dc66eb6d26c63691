/*
 * private - is the directory above a mount point closed to all but one user?
 *
 * Diagnostics: none; the reason is returned as text.
 */
#include "io/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Not in linux/magic.h. */
#define CIFS_MAGIC INT64_C(0xff534d42)
#define SMB2_MAGIC INT64_C(0xfe534d42)

struct what {
    const char *above; /* the path of a file descriptor's directory, for messages */
    char *why;
    size_t n;
};

/* Where somebody else decides who may enter, the mode that is shown here proves nothing. */
static bool is_decided_elsewhere(int fd) {
    struct statfs st;
    if (fstatfs(fd, &st) != 0)
        return true;
    switch ((int64_t)st.f_type) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case CIFS_MAGIC:
    case SMB2_MAGIC:
    case V9FS_MAGIC:
    case AFS_SUPER_MAGIC:
    case CODA_SUPER_MAGIC:
    case CEPH_SUPER_MAGIC:
    case FUSE_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

static bool has_acl(int fd) {
    return fgetxattr(fd, "system.posix_acl_access", NULL, 0) >= 0 ||
           (errno != ENODATA && errno != EOPNOTSUPP);
}

static int check_above(const struct what *w, int fd, const struct stat *st) {
    if (is_decided_elsewhere(fd)) {
        snprintf(w->why, w->n,
                 "%s, the directory above the mount point, is on a network or FUSE file system, "
                 "which decides itself who may enter; use a mount point on a local one",
                 w->above);
        return -EOPNOTSUPP;
    }
    if ((st->st_mode & 0777) != 0700) {
        snprintf(w->why, w->n,
                 "%s, the directory above the mount point, has mode %04o: others than its owner "
                 "may enter; it must be 0700. Give the mount a directory of its own (as in "
                 "/srv/vmail/mail), and chmod 0700 the one above it",
                 w->above, (unsigned)st->st_mode & 07777);
        return -EACCES;
    }
    if (has_acl(fd)) {
        snprintf(w->why, w->n,
                 "%s, the directory above the mount point, has an access control list: remove it "
                 "(setfacl -b)",
                 w->above);
        return -EACCES;
    }
    return 0;
}

/* Root gets in anyway; Dovecot and Postfix serve mail as a user, who would be shut out. */
static int check_not_root(const struct what *w, uid_t uid, const char *store) {
    if (uid != 0)
        return 0;
    snprintf(w->why, w->n,
             "%s, the directory above the mount point, and the store %s belong to root: nobody "
             "else could use the mount; chown both to the user of the mail",
             w->above, store);
    return -EACCES;
}

static int check_owner(const struct what *w, const struct stat *above, const char *store) {
    struct stat st;
    if (stat(store, &st) != 0) {
        snprintf(w->why, w->n, "store %s: %s; create it", store, strerror(errno));
        return -errno;
    }
    if (st.st_uid == above->st_uid)
        return check_not_root(w, st.st_uid, store);
    snprintf(w->why, w->n,
             "store %s belongs to uid %u, but %s, the directory above the mount point, to uid %u: "
             "both must belong to the user of the mail; chown them",
             store, (unsigned)st.st_uid, w->above, (unsigned)above->st_uid);
    return -EACCES;
}

/* What ".." of an open directory is called; for messages. */
static const char *path_of(int fd, const char *mount, char *buf, size_t n) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, buf, n - 1);
    if (len <= 0)
        snprintf(buf, n, "%s/..", mount);
    else
        buf[len] = '\0';
    return buf;
}

int io_private_check(const char *mount, const char *store, uid_t *uid, char *why, size_t n) {
    char above[512];
    struct stat st = {0};
    /* Of a mount's root no request is sent: this must work while nobody answers. */
    int at = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = at < 0 ? -1 : openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fstat(fd, &st) != 0 ? -errno : 0;
    struct what w = {.above = path_of(fd, mount, above, sizeof above), .why = why, .n = n};
    if (r != 0)
        snprintf(why, n, "mount point %s, or the directory above it: %s", mount, strerror(-r));
    if (r == 0)
        r = check_above(&w, fd, &st);
    if (r == 0)
        r = check_owner(&w, &st, store);
    if (r == 0)
        *uid = st.st_uid;
    if (fd >= 0)
        close(fd);
    if (at >= 0)
        close(at);
    return r;
}
