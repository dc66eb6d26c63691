/*
 * check_walk: the contents of all mailboxes below a directory of the store, without a base
 *
 * Diagnostics: none; what is found is returned.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check_int.h"
#include "io/dirid.h"
#include "io/io.h"
#include "state_int.h"
#include "util/str.h"

#define TREE_DEPTH_MAX 64

struct check_walk {
    struct reading rd;
    int fd, depth;
    char path[PATH_MAX]; /* of fd, below the store, with "/" before it */
};

static void name_path(struct check_walk *w, size_t from) {
    size_t i;

    for (i = from; i < w->rd.out->n; i++)
        w->rd.out->v[i].path = strdup(*w->path ? w->path : "/");
}

/* The directory is the mailbox that a walk has come to. */
static int walk_mailbox(struct check_walk *w) {
    struct reading *rd = &w->rd;
    size_t before = rd->out->n;
    int r;

    rd->d = (struct store_dir){.fd = {dup(w->fd), -1, -1, -1}};
    rd->ix.msgs = NULL;
    if (rd->d.fd[0] < 0)
        return -errno;
    (void)io_dirid_get(w->fd, &rd->d.id);
    rd->counts->mailboxes++;
    r = index_read(rd->st, &rd->d, &rd->ix);
    if (r == 0)
        r = check_read_all(rd);
    else
        check_problem_add(rd->out, &rd->d.id, CHECK_UNREADABLE, NULL);
    index_free(&rd->ix);
    store_dir_close(&rd->d);
    name_path(w, before);
    return r == -ECANCELED ? r : 0;
}

static void unreadable(struct check_walk *w) {
    size_t before = w->rd.out->n;

    check_problem_add(w->rd.out, &mailfs_id_root, CHECK_UNREADABLE, NULL);
    name_path(w, before);
}

static int walk_name(void *arg, const char *name, unsigned char type);

/* What cannot be looked into is a problem as well, and does not keep the rest from being read. */
static int walk(struct check_walk *w) {
    int r = 0;

    if (faccessat(w->fd, "cur", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        r = walk_mailbox(w);
    else if (errno != ENOENT && errno != ENOTDIR)
        unreadable(w);
    if (r == 0)
        r = store_each_name(w->fd, walk_name, w);
    if (r < 0 && r != -ECANCELED) {
        unreadable(w);
        r = 0;
    }
    return r;
}

static int walk_into(struct check_walk *w, const char *name) {
    int above = w->fd, r = 0;

    w->fd = w->depth < TREE_DEPTH_MAX ? io_open_beneath(above, name, O_RDONLY | O_DIRECTORY, 0)
                                      : -ELOOP;
    w->depth++;
    if (w->fd >= 0) {
        r = walk(w);
        close(w->fd);
    } else if (w->fd != -ENOENT) { /* removed meanwhile */
        unreadable(w);
    }
    w->depth--;
    w->fd = above;
    return r;
}

static int walk_name(void *arg, const char *name, unsigned char type) {
    struct check_walk *w = arg;
    size_t len = strlen(w->path);
    int r = 0;

    if (type != DT_DIR || strcmp(name, ".mailfs") == 0 || strcmp(name, "cur") == 0 ||
        strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0)
        return 0;
    if (str_printf(w->path + len, sizeof(w->path) - len, "/%s", name) < 0)
        unreadable(w);
    else
        r = walk_into(w, name);
    w->path[len] = '\0';
    return r;
}

int check_tree(struct state *st, const char *path, const struct check_how *how,
               struct check_problems *out, struct check_counts *counts) {
    struct check_walk *w = calloc(1, sizeof(*w));
    int r = w ? 0 : -ENOMEM;

    while (*path == '/')
        path++;
    if (r == 0 && *path && strcmp(path, ".") != 0)
        r = str_printf(w->path, sizeof(w->path), "/%s", path);
    if (r >= 0)
        r = io_open_beneath(st->root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    if (r >= 0) {
        w->rd = (struct reading){.st = st, .how = how, .out = out, .counts = counts};
        w->fd = r;
        r = walk(w);
        close(w->fd);
    }
    free(w);
    return r;
}
