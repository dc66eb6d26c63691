/*
 * snapshot_place - where snapshots are: making, removing and mounting one
 *
 * One that is being made is called ".new-" and its name, one that is being removed ".old-"; both
 * are cleared away by whoever looks next. Complete, and durable, it gets its name by a rename.
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "adopt.h"
#include "io/io.h"
#include "maildir/class.h"
#include "snapshot.h"
#include "util/clock.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define BEGUN  ".new-"
#define GOING  ".old-"
#define PASSES 2
#define INFO   "user.mailfs.snapshot" /* "time mailboxes messages", decimal */

typedef char hidden_name[SNAPSHOT_NAME_MAX + 8];

bool snapshot_name_is_good(const char *name) {
    size_t n = strlen(name);

    return n > 0 && n <= SNAPSHOT_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

/* ---- the directory ------------------------------------------------------------------ */

static int clear_hidden(int fd) {
    struct dirent **names = NULL;
    int n = adopt_list(fd, &names), r = n < 0 ? n : 0;

    for (int i = 0; r == 0 && i < n; i++)
        if (names[i]->d_name[0] == '.')
            r = adopt_remove_tree(fd, names[i]->d_name);
    adopt_list_free(names, n);
    return r;
}

static int open_dir(struct snapshots *s, bool make) {
    int own = adopt_open_dir(s->store, MAILDIR_INTERNAL_NAME), r;

    if (own < 0)
        return own == -ENOENT && !make ? 0 : own;
    r = make ? io_mkdir(own, MAILDIR_SNAPSHOTS_NAME, 0700) : 0;
    r = r == 0 || r == -EEXIST ? adopt_open_dir(own, MAILDIR_SNAPSHOTS_NAME) : r;
    close(own);
    if (r == -ENOENT && !make)
        return 0;
    if (r < 0)
        return r;
    s->fd = r;
    if (flock(s->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    return clear_hidden(s->fd);
}

int snapshots_open(const struct conf_volume *v, bool make, struct snapshots *out) {
    int r;

    *out = (struct snapshots){.store = -1, .fd = -1};
    out->store = io_open(AT_FDCWD, v->store, O_RDONLY | O_DIRECTORY, 0);
    r = out->store < 0 ? out->store : open_dir(out, make);
    if (r < 0)
        snapshots_close(out);
    return r;
}

void snapshots_close(struct snapshots *s) {
    if (s->fd >= 0)
        close(s->fd);
    if (s->store >= 0)
        close(s->store);
    *s = (struct snapshots){.store = -1, .fd = -1};
}

/* ---- making ------------------------------------------------------------------------- */

static int write_info(int fd, const struct snapshot_take *t) {
    char text[80];
    int r = str_printf(text, sizeof(text), "%" PRId64 " %" PRIu64 " %" PRIu64,
                       (int64_t)(clock_wall_ns() / 1000000000), t->mailboxes, t->messages);

    return r == 0 ? io_setxattr(fd, INFO, text, strlen(text), 0) : r;
}

static int fill(struct snapshots *s, int fd, struct snapshot_take *t) {
    int r = 0;

    for (int i = 0; r == 0 && i < PASSES; i++)
        r = snapshot_take_tree(t, s->store, fd);
    if (r == 0)
        r = write_info(fd, t);
    return r == 0 ? io_syncfs(s->store) : r;
}

int snapshot_create(struct snapshots *s, const char *name, struct snapshot_take *t) {
    hidden_name begun;
    int fd, r = str_printf(begun, sizeof(begun), BEGUN "%s", name);

    t->since = (int64_t)(clock_wall_ns() / 1000000000) - 1;
    if (r == 0 && faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (r == 0)
        r = io_mkdir(s->fd, begun, 0700);
    if (r < 0)
        return r;
    fd = adopt_open_dir(s->fd, begun);
    r = fd < 0 ? fd : fill(s, fd, t);
    if (fd >= 0)
        close(fd);
    if (r == 0)
        r = io_rename(s->fd, begun, s->fd, name, RENAME_NOREPLACE);
    if (r < 0) {
        (void)adopt_remove_tree(s->fd, begun); /* else the next one does it */
        return r;
    }
    r = io_fsync(s->fd);
    if (r < 0)
        (void)adopt_remove_tree(s->fd, name);
    return r;
}

int snapshot_read_info(struct snapshots *s, const char *name, struct snapshot_info *out) {
    char text[80];
    ssize_t n;
    int fd = adopt_open_dir(s->fd, name);

    *out = (struct snapshot_info){0};
    if (fd < 0)
        return fd;
    n = fgetxattr(fd, INFO, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%" SCNd64 " %" SCNu64 " %" SCNu64, &out->at, &out->mailboxes,
               &out->messages) != 3)
        *out = (struct snapshot_info){0};
    return 0;
}

/* ---- mounting ----------------------------------------------------------------------- */

/* A detached copy of the mount is made read-only before anybody can see it. */
static int mount_read_only(int fd, const char *dir) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                          MOUNT_ATTR_NOEXEC};
    int tree = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH), r = 0;

    if (tree < 0)
        return -errno;
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) != 0 ||
        move_mount(tree, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) != 0)
        r = -errno;
    close(tree);
    return r;
}

int snapshot_mount(struct snapshots *s, const char *name, const char *dir) {
    int fd = s->fd < 0 ? -ENOENT : adopt_open_dir(s->fd, name), r;

    if (fd < 0)
        return fd;
    r = mount_read_only(fd, dir);
    close(fd);
    return r;
}

/* Mount points with an escape in their path (a space) are not looked at; nothing breaks for it, the
 * mount is empty afterwards. */
static bool is_mounted(const struct stat *st) {
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, point[PATH_MAX];
    size_t size = 0;
    struct stat at;
    bool found = false;

    while (f && !found && getline(&line, &size, f) > 0)
        if (strstr(line, "/" MAILDIR_SNAPSHOTS_NAME "/") &&
            sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
            found = stat(point, &at) == 0 && at.st_dev == st->st_dev && at.st_ino == st->st_ino;
    free(line);
    if (f)
        fclose(f);
    return found;
}

/* ---- removing ----------------------------------------------------------------------- */

int snapshot_remove(struct snapshots *s, const char *name) {
    hidden_name going;
    struct stat st;
    int r = str_printf(going, sizeof(going), GOING "%s", name);

    if (r < 0 || s->fd < 0)
        return r < 0 ? r : -ENOENT;
    if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (is_mounted(&st))
        return -EBUSY;
    r = io_rename(s->fd, name, s->fd, going, RENAME_NOREPLACE);
    return r == 0 ? adopt_remove_tree(s->fd, going) : r;
}
