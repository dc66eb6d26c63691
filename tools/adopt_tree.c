/*
 * adopt_tree - every directory of a tree that is to become a store
 *
 * Diagnostics: to the report.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <uthash.h>

#include "adopt.h"
#include "adopt_kinds.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "maildir/name.h"
#include "util/log.h"
#include "util/str.h"

#define DEPTH_MAX  64 /* as deep as syncd goes */
#define LOCK_FRESH 120

/* Ids seen, to find a second holder. */
struct seen {
    UT_hash_handle hh;
    struct mailfs_id id;
};

struct walk {
    struct adopt *a;
    struct seen *seen;
    time_t now;
};

static void walk_container(struct walk *w, int fd, const char *path, int depth);

/* ---- shared ------------------------------------------------------------------------- */

int adopt_open_dir(int fd, const char *name) {
    return io_open_beneath(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

static int not_dots(const struct dirent *de) {
    return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

int adopt_list(int fd, struct dirent ***names) {
    int n = scandirat(fd, ".", names, not_dots, alphasort);

    return n < 0 ? -errno : n;
}

void adopt_list_free(struct dirent **names, int n) {
    for (int i = 0; i < n; i++)
        free(names[i]);
    if (n >= 0)
        free(names);
}

int adopt_join(char *buf, size_t size, const char *a, const char *b) {
    return str_printf(buf, size, "%s%s%s", a, a[0] ? "/" : "", b);
}

static const char *shown(const char *path) {
    return path[0] ? path : ".";
}

/* ---- entries of a container --------------------------------------------------------- */

static void check_id(struct walk *w, int fd, const char *path) {
    struct mailfs_id id;
    struct seen *s;

    if (path[0] == '\0') /* the root's is not stored */
        return;
    if (io_dirid_get(fd, &id) != 0) {
        w->a->without_ids++;
        return;
    }
    HASH_FIND(hh, w->seen, &id, sizeof(id), s);
    if (s) {
        report_add(w->a->report, &kind_copied_id, path, "%s", "");
        return;
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return;
    s->id = id;
    HASH_ADD(hh, w->seen, id, sizeof(s->id), s);
}

static void check_link(struct walk *w, int fd, const char *name, const char *path) {
    char target[PATH_MAX];
    ssize_t n = readlinkat(fd, name, target, sizeof(target) - 1);
    struct stat st;

    if (n < 0)
        return;
    target[n] = '\0';
    if (fstatat(fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode))
        report_add(w->a->report, &kind_link_dir, path, "to %s", target);
    else if (target[0] == '/')
        report_add(w->a->report, &kind_link_outside, path, "to %s", target);
    w->a->files++;
}

static void check_file(struct walk *w, const char *name, const char *path, const struct stat *st) {
    struct adopt *a = w->a;

    switch (maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name))) {
    case MAILDIR_LOCK_L:
        a->locks++;
        if (w->now - st->st_mtime < LOCK_FRESH)
            report_add(a->report, &kind_lock_fresh, path, "%s", "");
        else
            report_add(a->report, &kind_lock, path, "%s", "");
        break;
    case MAILDIR_NODE_LOCAL:
        if (str_starts(name, "dovecot.index") && a->indexes++ == 0)
            report_add(a->report, &kind_index, path, "%s", "");
        break;
    default:
        a->files++;
    }
}

static bool is_part(const char *name) {
    return strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0;
}

static void check_dir(struct walk *w, int fd, const char *name, const char *path, int depth) {
    enum maildir_class c = maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name));
    int sub;

    if (c == MAILDIR_INTERNAL) {
        report_add(w->a->report, strcmp(path, name) == 0 ? &kind_was_store : &kind_nested, path,
                   "%s", "");
        return;
    }
    if (c == MAILDIR_TRASH || maildir_class_is_local(c)) {
        report_add(w->a->report, c == MAILDIR_TRASH ? &kind_trash : &kind_local_dir, path, "%s",
                   "");
        return;
    }
    sub = adopt_open_dir(fd, name);
    if (sub < 0) {
        report_add(w->a->report, &kind_unreadable, path, "%s", log_strerror(sub));
        return;
    }
    walk_container(w, sub, path, depth + 1);
    close(sub);
}

static void check_entry(struct walk *w, int fd, const char *name, const char *path, int depth) {
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        report_add(w->a->report, &kind_unreadable, path, "%s", log_strerror(errno));
    else if (st.st_dev != w->a->dev)
        report_add(w->a->report, &kind_other_fs, path, "%s", "");
    else if (S_ISLNK(st.st_mode))
        check_link(w, fd, name, path);
    else if (S_ISREG(st.st_mode))
        check_file(w, name, path, &st);
    else if (!S_ISDIR(st.st_mode))
        report_add(w->a->report, &kind_special, path, "%s", "");
    else if (!is_part(name)) /* adopt_check_mailbox() looks into these */
        check_dir(w, fd, name, path, depth);
}

static bool has_dir(int fd, const char *name) {
    struct stat st;

    return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* One of the three is enough to look into it: a user may be called "tmp". */
static void check_parts(struct walk *w, int fd, const char *path) {
    bool cur = has_dir(fd, "cur"), new = has_dir(fd, "new");

    w->a->mailboxes += cur || new;
    if (cur || new || has_dir(fd, "tmp"))
        adopt_check_mailbox(w->a, fd, path);
}

static void walk_container(struct walk *w, int fd, const char *path, int depth) {
    struct dirent **names = NULL;
    char child[PATH_MAX];
    int n = adopt_list(fd, &names);

    if (n < 0 || depth > DEPTH_MAX) {
        report_add(w->a->report, n < 0 ? &kind_unreadable : &kind_deep, shown(path), "%s",
                   n < 0 ? log_strerror(n) : "");
        adopt_list_free(names, n);
        return;
    }
    w->a->containers++;
    check_id(w, fd, path);
    check_parts(w, fd, path);
    for (int i = 0; i < n; i++) {
        if (adopt_join(child, sizeof(child), path, names[i]->d_name) == 0)
            check_entry(w, fd, names[i]->d_name, child, depth);
        else
            report_add(w->a->report, &kind_deep, shown(path), "%s", names[i]->d_name);
    }
    adopt_list_free(names, n);
}

void adopt_check_tree(struct adopt *a) {
    struct walk w = {.a = a, .now = time(NULL)};
    struct seen *s, *tmp;
    size_t missing;

    walk_container(&w, a->fd, "", 0);
    HASH_ITER(hh, w.seen, s, tmp) {
        HASH_DEL(w.seen, s);
        free(s);
    }
    if (a->mailboxes == 0)
        report_add(a->report, &kind_not_maildir, a->dir, "%s", "");
    missing = report_count_kind(a->report, &kind_no_uidlist);
    if (missing > 0 && a->with_uidlist == 0)
        report_add(a->report, &kind_control_elsewhere, a->dir, "%zu have mail that was seen",
                   missing);
}
