/*
 * hold_dirs - directories of a held tree that were removed are made again, empty
 *
 * A mailbox that is held is one on both nodes, with one base, and mail is delivered to it on both:
 * so it must be there. It gets the id that it had; its uidlist comes by the merge that its mark
 * asks for.
 *
 * Diagnostics: a directory that cannot be made, with its path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "base.h"
#include "hold_int.h"
#include "io/dirid.h"
#include "io/handle.h"
#include "io/io.h"
#include "mem.h"
#include "replica/tree_merge.h"
#include "store.h"

void hold_dir_gone(struct state *st, const struct mailfs_id *dir) {
    struct holds *h = hold_top(st)->holds;
    struct mailfs_id *v;

    pthread_mutex_lock(&h->mutex);
    v = realloc(h->gone, (h->n_gone + 1) * sizeof(*v));
    if (!v)
        mem_out("directories");
    h->gone = v;
    v[h->n_gone++] = *dir;
    pthread_mutex_unlock(&h->mutex);
}

bool hold_dirs_due(struct state *st) {
    struct holds *h = st->holds;
    bool due;

    if (!h)
        return false;
    pthread_mutex_lock(&h->mutex);
    due = h->n_gone > 0;
    pthread_mutex_unlock(&h->mutex);
    return due;
}

static bool was_mailbox(struct state *st, const struct mailfs_id *dir, const struct base_dir *rec) {
    struct base_uidlist ul;

    if (rec->subdirs & (1u << MFP__SUB__CUR))
        return true;
    if (base_uidlist_get(st, BASE_AGREED, dir, &ul) < 0)
        return false;
    free(ul.header_ext);
    return true;
}

/* 1: one of new/, cur/ and tmp/ had to be made. */
static int make_parts(struct state *st, struct store_dir *d, struct invals *inval) {
    static const char *const names[] = {"", "new", "cur", "tmp"};
    int sub, made = 0, fd;

    for (sub = MFP__SUB__NEW; sub <= MFP__SUB__TMP; sub++) {
        if (store_sub_open(st, d, sub, false) >= 0)
            continue;
        fd = store_sub_open(st, d, sub, true);
        if (fd < 0)
            return fd;
        inval_moved(inval, &d->id, &d->id, names[sub], names[sub]);
        made = 1;
    }
    return made;
}

static int make_in(struct state *st, int parent, const struct mailfs_id *dir, struct base_dir *rec,
                   struct invals *inval) {
    struct new_container c = {.name = rec->name,
                              .id = dir,
                              .has_meta = rec->mode != 0,
                              .mode = rec->mode,
                              .uid = rec->owner,
                              .gid = rec->group};
    int r = apply_make_container(st, parent, &c);
    int fd = r == 0 ? io_open_beneath(parent, rec->name, O_RDONLY | O_DIRECTORY, 0) : r;

    if (fd < 0)
        return fd;
    r = io_handle_get_fd(fd, &rec->handle);
    close(fd);
    if (r == 0)
        r = base_dir_put(st, dir, rec);
    inval_moved(inval, &rec->parent, dir, NULL, rec->name);
    return r;
}

static int make(struct state *st, const struct mailfs_id *dir, struct invals *inval, int depth);

/* Below its parent, which may have to be made before. */
static int make_whole(struct state *st, const struct mailfs_id *dir, struct base_dir *rec,
                      struct invals *inval, int depth) {
    struct store_dir up;
    int r = depth < HOLD_DEPTH_MAX ? make(st, &rec->parent, inval, depth + 1) : -ELOOP;

    if (r < 0)
        return r;
    r = store_dir_open(st, &rec->parent, &up);
    if (r < 0)
        return r;
    r = make_in(st, up.fd[0], dir, rec, inval);
    store_dir_close(&up);
    return r < 0 ? r : 1;
}

/* 1: it, or a part of it, was made. */
static int make(struct state *st, const struct mailfs_id *dir, struct invals *inval, int depth) {
    struct base_dir rec;
    struct store_dir d;
    uint64_t gen;
    int r = base_dir_get(st, dir, &rec), made = 0, parts = 0;

    if (mailfs_id_is_root(dir) || r == -ENOENT)
        return 0; /* it never was of the tree that the others know */
    if (r == 0)
        r = store_dir_open(st, dir, &d);
    if (r == -ENOENT) {
        made = make_whole(st, dir, &rec, inval, depth);
        r = made < 0 ? made : store_dir_open(st, dir, &d);
    }
    if (r < 0)
        return r;
    if (was_mailbox(st, dir, &rec))
        parts = make_parts(st, &d, inval);
    store_dir_close(&d);
    if (parts < 0 || !(made || parts))
        return parts;
    r = state_mark_gen(st, &gen);
    if (r == 0)
        r = state_mark(st, dir, gen);
    return r < 0 ? r : 1;
}

/* The directory that has the place of this one now, or is it still: what is above it may have been
 * made anew as well. A descriptor. */
static int open_place(struct state *st, const struct mailfs_id *id, int depth) {
    struct base_dir rec;
    struct store_dir d;
    int up, fd;

    if (mailfs_id_is_root(id))
        return io_open_beneath(st->root, ".", O_RDONLY | O_DIRECTORY, 0);
    if (store_dir_open(st, id, &d) == 0) {
        fd = fcntl(d.fd[0], F_DUPFD_CLOEXEC, 0);
        store_dir_close(&d);
        return fd < 0 ? -errno : fd;
    }
    if (depth >= HOLD_DEPTH_MAX || base_dir_get(st, id, &rec) < 0)
        return -ENOENT;
    up = open_place(st, &rec.parent, depth + 1);
    fd = up < 0 ? up : io_open_beneath(up, rec.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (up >= 0)
        close(up);
    return fd;
}

/* What was held under this id is held under that of the directory that has its place now. */
static void follow(struct state *st, const struct mailfs_id *id) {
    int fd = open_place(st, id, 0);
    struct mailfs_id now;

    if (fd >= 0 && io_dirid_get(fd, &now) == 0 && !mailfs_id_equal(id, &now))
        hold_alias(st, id, &now);
    if (fd >= 0)
        close(fd);
}

/* One that no merge of the trees says anything of: should the peer have it, it is joined with the
 * one that has its name. */
static int forget_own(struct state *st, const struct mailfs_id *dir, int err) {
    struct base_dir rec;
    int r = base_dir_get(st, dir, &rec);

    if (r < 0 || rec.agreed)
        return r < 0 && r != -ENOENT ? r : err;
    follow(st, dir);
    return base_dir_del(st, dir);
}

/* A name that is taken (the mailbox was made anew meanwhile): the trees' merge makes one of the
 * two. */
int hold_make_dir(struct state *st, const struct mailfs_id *dir, struct invals *inval) {
    int r = make(st, dir, inval, 0);

    if (r == -EEXIST || r == -ENOTEMPTY)
        r = forget_own(st, dir, r);
    if (r < 0 && r != -EEXIST && r != -ENOTEMPTY)
        state_fail(st, r, dir, "is held (mailfsctl status), was removed, and cannot be made again");
    return r;
}

int hold_make_dirs(struct state *st, struct invals *inval, struct mailfs_id **ids, size_t *n) {
    struct holds *h = st->holds;
    struct mailfs_id *gone;
    size_t n_gone, i;
    int first = 0;

    pthread_mutex_lock(&h->mutex);
    gone = h->gone;
    n_gone = h->n_gone;
    h->gone = NULL;
    h->n_gone = 0;
    pthread_mutex_unlock(&h->mutex);
    *ids = mem_new((n_gone + 1) * sizeof(**ids));
    *n = 0;
    for (i = 0; i < n_gone; i++) {
        int r = hold_make_dir(st, &gone[i], inval);
        if (r == 1)
            (*ids)[(*n)++] = gone[i];
        if (r < 0)
            hold_dir_gone(st, &gone[i]);
        if (r < 0 && first == 0)
            first = r;
    }
    free(gone);
    return first;
}

/* ---- made anew --------------------------------------------------------------------- */

struct merged {
    struct state *st;
    const struct tree_result *result;
};

static int forget_unlisted(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    const struct merged *m = arg;
    struct store_dir d;
    int r;

    if (!rec->agreed || tree_result_find(m->result, id) || !hold_keeps_dir(m->st, id))
        return 0;
    r = store_dir_open(m->st, id, &d); /* one that was made since was not listed, either */
    if (r == 0)
        store_dir_close(&d);
    if (r != -ENOENT)
        return r;
    follow(m->st, id);
    return base_gone_note(m->st, id, true);
}

int hold_tree_merged(struct state *st, const struct tree_result *result) {
    struct merged m = {st, result};

    return base_each_dir(st, forget_unlisted, &m);
}
