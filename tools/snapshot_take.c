/*
 * snapshot_take - the tree of a snapshot
 *
 * Directory by directory; what has come or gone meanwhile is looked at again, so that a mailbox
 * that is renamed is in it once. Each pass may be repeated, and the second one brings all mailboxes
 * to nearly one time: mail that is moved while a snapshot is made is in at least one of its
 * mailboxes.
 *
 * Diagnostics: none; errors are returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adopt.h"
#include "io/io.h"
#include "maildir/class.h"
#include "snapshot.h"
#include "util/str.h"

#define DEPTH_MAX  64
#define ROUNDS_MAX 10

/* ---- files -------------------------------------------------------------------------- */

static int set_attributes(int fd, const struct stat *st) {
    const struct timespec times[2] = {st->st_mtim, st->st_mtim};
    int r = io_fchown(fd, st->st_uid, st->st_gid);

    if (r == 0)
        r = io_fchmod(fd, st->st_mode & 07777);
    return r == 0 ? io_futimens(fd, times) : r;
}

int snapshot_dress(int fd, const struct stat *like) {
    return set_attributes(fd, like);
}

static int copy_link(int from, int to, const char *name, const struct stat *st) {
    const struct timespec times[2] = {st->st_mtim, st->st_mtim};
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
    int r;

    if (n < 0)
        return errno == EINVAL ? -ENOENT : -errno; /* a file now */
    target[n] = '\0';
    r = io_symlink(target, to, name);
    if (r == 0)
        r = io_chown(to, name, st->st_uid, st->st_gid);
    return r == 0 ? io_utimens(to, name, times) : r;
}

static int copy_file(int from, int to, const char *name) {
    int in = io_open_beneath(from, name, O_RDONLY | O_NONBLOCK, 0), out = -1, r;
    struct stat st;
    ssize_t n;

    if (in < 0)
        return in == -ELOOP ? -ENOENT : in;
    r = fstat(in, &st) != 0 ? -errno : !S_ISREG(st.st_mode) ? -ENOENT : 0;
    if (r == 0)
        r = out = io_open_beneath(to, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (r >= 0) {
        n = io_copy_all(in, 0, out, 0, SSIZE_MAX);
        r = n < 0 ? (int)n : set_attributes(out, &st);
    }
    if (out >= 0)
        close(out);
    close(in);
    return r;
}

int snapshot_copy(int from, int to, const char *name) {
    struct stat st;
    int r = io_unlink(to, name);

    if (r < 0 && r != -ENOENT)
        return r;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name, &st);
    return S_ISREG(st.st_mode) ? copy_file(from, to, name) : -ENOENT;
}

/* Copied by an earlier pass, and not touched since. */
static bool is_copied(struct snapshot_take *t, const struct stat *st, int into, const char *name) {
    struct stat have;

    return fstatat(into, name, &have, AT_SYMLINK_NOFOLLOW) == 0 && have.st_mode == st->st_mode &&
           have.st_size == st->st_size && have.st_uid == st->st_uid && have.st_gid == st->st_gid &&
           have.st_mtim.tv_sec == st->st_mtim.tv_sec &&
           have.st_mtim.tv_nsec == st->st_mtim.tv_nsec && st->st_ctim.tv_sec < t->since;
}

static int take_file(struct snapshot_take *t, int live, int into, const char *name,
                     const struct stat *st) {
    int r = is_copied(t, st, into, name) ? 0 : snapshot_copy(live, into, name);

    t->files += r == 0;
    return r == -ENOENT ? 0 : r;
}

/* ---- directories -------------------------------------------------------------------- */

static int take_container(struct snapshot_take *t, int live, int into, const char *path, int depth);

static int take_dir(struct snapshot_take *t, int live, int into, const char *name, const char *path,
                    int depth) {
    int from = adopt_open_dir(live, name), to, r;

    if (from < 0)
        return from == -ENOENT || from == -ENOTDIR || from == -ELOOP ? 0 : from;
    r = io_mkdir(into, name, 0700);
    to = r == 0 || r == -EEXIST ? adopt_open_dir(into, name) : r;
    r = to < 0 ? to : take_container(t, from, to, path, depth + 1);
    if (to >= 0)
        close(to);
    close(from);
    return r;
}

/* tmp/ is there, and empty: what lies in it is nobody's mail yet. */
static int take_tmp(int live, int into) {
    struct stat st;
    int fd, r = io_mkdir(into, "tmp", 0700);

    fd = r == 0 || r == -EEXIST ? adopt_open_dir(into, "tmp") : r;
    r = fd < 0                                                ? fd
        : fstatat(live, "tmp", &st, AT_SYMLINK_NOFOLLOW) == 0 ? snapshot_dress(fd, &st)
                                                              : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

/* What of a container is in a snapshot, beside the messages. */
static bool is_wanted(const char *name) {
    enum maildir_class c = maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name));

    return c == MAILDIR_SIZE || !maildir_class_is_local(c);
}

static bool is_mailboxes(enum maildir_class c) {
    return c == MAILDIR_UIDLIST || c == MAILDIR_KEYWORDS || c == MAILDIR_SUBDIR_NEW ||
           c == MAILDIR_SUBDIR_CUR;
}

/* seen: directories that are in the snapshot have been taken by this pass. */
static int take_entry(struct snapshot_take *t, int live, int into, const char *name,
                      const char *path, int depth, bool seen) {
    enum maildir_class c = maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name));
    struct stat st;

    if (*t->stop)
        return -ECANCELED;
    if (is_mailboxes(c))
        return 0;
    if (fstatat(live, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (c == MAILDIR_SUBDIR_TMP && S_ISDIR(st.st_mode))
        return take_tmp(live, into);
    if (!S_ISDIR(st.st_mode))
        return take_file(t, live, into, name, &st);
    if (seen && faccessat(into, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return take_dir(t, live, into, name, path, depth);
}

static int take_names(struct snapshot_take *t, int live, int into, const char *path, int depth,
                      bool seen, struct dirent **names, int n) {
    char child[PATH_MAX];
    int r = 0;

    for (int i = 0; r == 0 && i < n; i++) {
        r = adopt_join(child, sizeof(child), path, names[i]->d_name);
        if (r == 0)
            r = take_entry(t, live, into, names[i]->d_name, child, depth, seen);
        if (r < 0 && t->where[0] == '\0')
            str_copy(t->where, PATH_MAX, child);
    }
    return r;
}

static int sorted(const void *a, const void *b) {
    return strcmp((*(struct dirent *const *)a)->d_name, (*(struct dirent *const *)b)->d_name);
}

/* Whatever the locale's order is. Locks that come and go are left out. */
static int list_wanted(int fd, struct dirent ***names) {
    int n = adopt_list(fd, names), kept = 0;

    for (int i = 0; i < n; i++) {
        if (is_wanted((*names)[i]->d_name))
            (*names)[kept++] = (*names)[i];
        else
            free((*names)[i]);
    }
    if (kept > 1)
        qsort(*names, (size_t)kept, sizeof(**names), sorted);
    return n < 0 ? n : kept;
}

static int by_name(const void *key, const void *entry) {
    return strcmp(key, (*(struct dirent *const *)entry)->d_name);
}

/* Of the snapshot: what is no longer in the store. */
static int remove_gone(int into, struct dirent **names, int n) {
    struct dirent **have = NULL;
    int m = adopt_list(into, &have), r = m < 0 ? m : 0;

    for (int i = 0; r == 0 && i < m; i++)
        if (!bsearch(have[i]->d_name, names, (size_t)n, sizeof(*names), by_name))
            r = adopt_remove_tree(into, have[i]->d_name);
    adopt_list_free(have, m);
    return r;
}

static bool are_same(struct dirent **a, int n, struct dirent **b, int m) {
    bool same = n == m;

    for (int i = 0; same && i < n; i++)
        same = strcmp(a[i]->d_name, b[i]->d_name) == 0;
    return same;
}

/* Once through the names; *again: they are others now. */
static int take_round(struct snapshot_take *t, int live, int into, const char *path, int depth,
                      bool seen, bool *again) {
    struct dirent **names = NULL, **now = NULL;
    int n = list_wanted(live, &names), m = -1, r = n < 0 ? n : 0;

    if (r == 0)
        r = take_names(t, live, into, path, depth, seen, names, n);
    if (r == 0)
        r = remove_gone(into, names, n);
    if (r == 0)
        r = m = list_wanted(live, &now);
    if (r >= 0)
        *again = !are_same(names, n, now, m);
    adopt_list_free(now, m);
    adopt_list_free(names, n);
    return r < 0 ? r : 0;
}

static int take_container(struct snapshot_take *t, int live, int into, const char *path,
                          int depth) {
    struct stat st;
    bool again = true;
    int r = depth > DEPTH_MAX ? -ELOOP : 0;

    if (r == 0 && fstatat(live, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        r = snapshot_take_mailbox(t, live, into);
    for (int i = 0; r == 0 && again && i < ROUNDS_MAX; i++)
        r = take_round(t, live, into, path, depth, i > 0, &again);
    if (r == 0)
        r = fstat(live, &st) == 0 ? snapshot_dress(into, &st) : -errno;
    if (r < 0 && t->where[0] == '\0')
        str_copy(t->where, PATH_MAX, path);
    return r;
}

int snapshot_take_tree(struct snapshot_take *t, int store, int into) {
    t->mailboxes = t->messages = t->files = 0;
    t->where[0] = '\0';
    return take_container(t, store, into, "", 0);
}
