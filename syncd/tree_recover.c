/*
 * tree_recover: directories that a merge, or a removal, left in .mailfs/trash/move-<id>.
 *
 * Such a directory was on its way. Out of the tree it would be taken for removed, and be removed on
 * the other node too: so it goes back before anything is compared. To where the base has it; if
 * that name is taken, beside it; if there is no parent, to the root.
 *
 * Diagnostics: each directory put back; one that could not be.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply_int.h"
#include "io/io.h"
#include "util/log.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define PREFIX "move-"

struct recover {
    struct state *st;
    bool anywhere; /* beside the place where it belongs, or to the root */
    size_t placed, left;
};

/* Its place may be known to the other node as another one: both are looked at. */
static int note(struct state *st, const struct mailfs_id *id, const struct mailfs_id *parent) {
    uint64_t gen;
    int r = state_mark_gen(st, &gen);

    if (r == 0)
        r = state_mark(st, id, gen);
    return r == 0 ? state_mark(st, parent, gen) : r;
}

static int beside(struct recover *rc, const char *name, const struct base_dir *rec,
                  struct store_dir *parent) {
    char to[MAILDIR_NAME_MAX + 1];

    if (!rc->anywhere)
        return -EEXIST;
    if (parent)
        snprintf(to, sizeof(to), "%.200s.recovered-%s", rec->name, name + strlen(PREFIX));
    else
        snprintf(to, sizeof(to), "recovered-%.40s", name + strlen(PREFIX));
    return io_rename(rc->st->trash, name, parent ? parent->fd[0] : rc->st->root, to,
                     RENAME_NOREPLACE);
}

static int put_back(struct recover *rc, const char *name) {
    char path[1024];
    struct store_dir parent;
    struct base_dir rec;
    struct mailfs_id id = mailfs_id_root; /* where the name is none */
    int r = mailfs_id_parse(name + strlen(PREFIX), &id);

    if (r == 0)
        r = base_dir_get(rc->st, &id, &rec);
    if (r == 0)
        r = store_dir_open(rc->st, &rec.parent, &parent);
    if (r == 0) {
        r = io_rename(rc->st->trash, name, parent.fd[0], rec.name, RENAME_NOREPLACE);
        if (r == -EEXIST || r == -ENOTEMPTY)
            r = beside(rc, name, &rec, &parent);
        store_dir_close(&parent);
    } else if (r == -ENOENT || r == -EINVAL) {
        rec.parent = mailfs_id_root;
        r = beside(rc, name, NULL, NULL);
    }
    if (r == 0)
        r = note(rc->st, &id, &rec.parent);
    if (r >= 0)
        log_warn("%s: a directory on its way was put back",
                 state_path(rc->st, &id, path, sizeof(path)));
    return r;
}

static int each(void *arg, const char *name, unsigned char type) {
    struct recover *rc = arg;
    int r;

    if (!str_starts(name, PREFIX))
        return 0;
    r = put_back(rc, name);
    if (r < 0) {
        rc->left++;
        return 0;
    }
    rc->placed++;
    return rc->anywhere; /* one at a time: what is below it may have its parent again */
}

int tree_recover(struct state *st) {
    struct recover rc = {.st = st};
    int r = 0;

    do {
        /* First all that can go where they belong, in any order; then one that cannot. */
        rc.anywhere = rc.placed == 0 && rc.left > 0;
        rc.placed = rc.left = 0;
        r = store_each_name(st->trash, each, &rc);
        if (r < 0)
            return state_fail(st, r, NULL, "cannot read .mailfs/trash");
    } while (rc.placed > 0 || (rc.left > 0 && !rc.anywhere));
    if (rc.left == 0)
        return 0;
    return state_fail(st, -EAGAIN, NULL, "a directory is left in .mailfs/trash");
}

static int sweep(void *arg, const char *name, unsigned char type) {
    struct state *st = arg;

    if (!str_starts(name, PREFIX) && apply_remove_tree(st, st->trash, name) < 0)
        log_warn("%s: .mailfs/trash/%s cannot be removed", st->store_path, name);
    return 0;
}

/* Half made, half removed. */
int tree_sweep(struct state *st) {
    return store_each_name(st->trash, sweep, st);
}
