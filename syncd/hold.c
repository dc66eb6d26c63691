/*
 * hold - what the brake holds back: the table, and the counting of what goes
 *
 * Counted is what mail clients and others do through the mount, when it is collected, before it is
 * sent: so what comes after the message that was one too many is not sent. What was done while
 * there was no syncd is found in .mailfs/undo, at the next contact.
 *
 * The mutex is a leaf, as the base has its own.
 *
 * Diagnostics: none; brake.c says what is held.
 */
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "brake_count.h"
#include "gone.h"
#include "hold_int.h"
#include "io/io.h"
#include "maildir/name.h"
#include "mem.h"
#include "store.h"
#include "util/clock.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

static int64_t seconds(void) {
    return (int64_t)(clock_wall_ns() / 1000000000);
}

struct state *hold_top(struct state *st) {
    return st->main != NULL ? st->main : st;
}

/* ---- the table --------------------------------------------------------------------- */

int hold_open(struct state *st, unsigned percent) {
    struct holds *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->percent = percent;
    pthread_mutex_init(&h->mutex, NULL);
    st->holds = h;
    return 0;
}

void hold_close(struct state *st) {
    struct holds *h = st->holds;
    struct hold_tree *t, *ttmp;
    size_t i;

    if (!h)
        return;
    HASH_ITER(hh, h->trees, t, ttmp) {
        HASH_DEL(h->trees, t);
        free(t);
    }
    for (i = 0; i < h->n_trips; i++)
        free(h->trips[i].path);
    free(h->trips);
    free(h->gone);
    pthread_mutex_destroy(&h->mutex);
    free(h);
    st->holds = NULL;
}

static struct hold_tree *tree_find(struct holds *h, const struct mailfs_id *id) {
    struct hold_tree *t;

    HASH_FIND(hh, h->trees, id, sizeof(*id), t);
    return t;
}

/* Tables of what went lately: what says nothing any more is forgotten, now and then. */
#define TIDY_FROM 4096

static void trees_tidy(struct holds *h) {
    struct hold_tree *t, *tmp;
    int64_t since;

    HASH_ITER(hh, h->trees, t, tmp) {
        if (t->held || t->meant || brake_window_sum(&t->window, seconds(), &since) > 0)
            continue;
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
        HASH_DEL(h->trees, t);
        free(t);
    }
    h->trees_most = 2 * HASH_COUNT(h->trees) + TIDY_FROM;
}

static struct hold_tree *tree_get(struct holds *h, const struct mailfs_id *id) {
    struct hold_tree *t = tree_find(h, id);

    if (!t) {
        if (HASH_COUNT(h->trees) >= h->trees_most)
            trees_tidy(h);
        t = mem_new(sizeof(*t));
        t->id = *id;
        HASH_ADD(hh, h->trees, id, sizeof(t->id), t);
    }
    return t;
}

/* Under the mutex. What was counted is forgotten: of what goes from here on the next is asked. */
static void set(struct holds *h, const struct mailfs_id *id, bool held) {
    struct hold_tree *t = tree_get(h, id);

    if (t->held != held)
        h->n_held += held ? 1 : -1;
    t->held = held;
    t->window = (struct brake_window){0};
    t->total = 0;
}

void hold_set(struct state *st, const struct mailfs_id *id, bool held) {
    struct holds *h = st->holds;

    if (!h)
        return;
    pthread_mutex_lock(&h->mutex);
    set(h, id, held);
    pthread_mutex_unlock(&h->mutex);
}

void hold_meant(struct state *st, const struct mailfs_id *id, int64_t until) {
    struct holds *h = st->holds;

    if (!h)
        return;
    pthread_mutex_lock(&h->mutex);
    set(h, id, false);
    tree_find(h, id)->meant = until;
    pthread_mutex_unlock(&h->mutex);
}

static void trip_add(struct holds *h, const struct hold_trip *t) {
    struct hold_trip *v = realloc(h->trips, (h->n_trips + 1) * sizeof(*v));

    if (!v)
        mem_out("what is held");
    h->trips = v;
    v[h->n_trips++] = *t;
}

void hold_alias(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now) {
    struct holds *h = hold_top(st)->holds;
    const struct hold_trip moved = {.tree = *now, .was = *old};
    char from[MAILFS_ID_HEX], to[MAILFS_ID_HEX];
    const struct hold_tree *t;

    if (!h)
        return;
    /* What is kept of it is looked for under the id it has now. */
    if (st->undo >= 0)
        (void)io_rename(st->undo, mailfs_id_format(old, from), st->undo, mailfs_id_format(now, to),
                        RENAME_NOREPLACE);
    pthread_mutex_lock(&h->mutex);
    t = tree_find(h, old);
    if (t && t->held) {
        set(h, old, false);
        set(h, now, true);
        trip_add(h, &moved);
    }
    pthread_mutex_unlock(&h->mutex);
}

/* ---- is it held? ------------------------------------------------------------------- */

static bool is_held(struct holds *h, const struct mailfs_id *id) {
    const struct hold_tree *t;
    bool held;

    pthread_mutex_lock(&h->mutex);
    t = tree_find(h, id);
    held = t && t->held;
    pthread_mutex_unlock(&h->mutex);
    return held;
}

static bool none_held(struct holds *h) {
    bool none;

    pthread_mutex_lock(&h->mutex);
    none = h->n_held == 0;
    pthread_mutex_unlock(&h->mutex);
    return none;
}

/* The base of a link knows what the volume's has forgotten, and the other way round. */
bool hold_go_up(struct state *st, struct mailfs_id *id) {
    struct base_dir rec;

    if (mailfs_id_is_root(id) ||
        (base_dir_get(st, id, &rec) < 0 && (!st->main || base_dir_get(st->main, id, &rec) < 0)))
        return false;
    *id = rec.parent;
    return true;
}

bool hold_is_below(struct state *st, const struct mailfs_id *dir, const struct mailfs_id *top) {
    struct mailfs_id id = *dir;
    int depth = 0;

    do {
        if (mailfs_id_equal(&id, top))
            return true;
    } while (depth++ < HOLD_DEPTH_MAX && hold_go_up(st, &id));
    return false;
}

bool hold_covers(struct state *st, const struct mailfs_id *dir) {
    struct holds *h = hold_top(st)->holds;
    struct mailfs_id id = *dir;
    int depth = 0;

    if (!h || none_held(h))
        return false;
    do {
        if (is_held(h, &id))
            return true;
    } while (depth++ < HOLD_DEPTH_MAX && hold_go_up(st, &id));
    return is_held(h, &mailfs_id_root);
}

/* The held ones, malloc'ed. */
static struct mailfs_id *held_list(struct holds *h, size_t *n) {
    struct hold_tree *t, *tmp;
    struct mailfs_id *v;

    *n = 0;
    pthread_mutex_lock(&h->mutex);
    v = mem_new((h->n_held + 1) * sizeof(*v));
    HASH_ITER(hh, h->trees, t, tmp) {
        if (t->held)
            v[(*n)++] = t->id;
    }
    pthread_mutex_unlock(&h->mutex);
    return v;
}

bool hold_keeps_dir(struct state *st, const struct mailfs_id *dir) {
    struct holds *h = hold_top(st)->holds;
    bool keeps = hold_covers(st, dir);
    struct mailfs_id *v;
    size_t n, i;

    if (!h || keeps || none_held(h))
        return keeps;
    v = held_list(h, &n);
    for (i = 0; !keeps && i < n; i++)
        keeps = hold_is_below(st, &v[i], dir);
    free(v);
    return keeps;
}

/* ---- what goes --------------------------------------------------------------------- */

bool hold_counts(struct state *st) {
    return hold_top(st)->holds != NULL && st->undo >= 0;
}

bool hold_is_gone(struct state *st, const struct mailfs_id *dir, const char *name) {
    char hex[MAILFS_ID_HEX], kept[MAILFS_ID_HEX + MAILDIR_NAME_MAX + 2], path[PATH_MAX];
    struct stat sb;

    return str_printf(kept, sizeof(kept), "%s/%s", mailfs_id_format(dir, hex), name) == 0 &&
           fstatat(st->undo, kept, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
           gone_is(st, state_path(st, dir, path, sizeof(path)) + 1, name, &sb);
}

/* By the base, as a mailbox that is being removed has no cur/ any more. */
static bool is_mailbox(struct state *st, const struct mailfs_id *id) {
    struct base_uidlist ul;
    struct base_dir rec;
    struct store_dir d;
    bool is = base_dir_get(st, id, &rec) == 0 && (rec.subdirs & (1u << MFP__SUB__CUR));

    if (!is && base_uidlist_get(st, BASE_AGREED, id, &ul) == 0) {
        free(ul.header_ext);
        is = true;
    }
    if (!is && store_dir_open(st, id, &d) == 0) {
        is = store_sub_open(st, &d, MFP__SUB__CUR, false) >= 0;
        store_dir_close(&d);
    }
    return is;
}

/* The topmost mailbox above it, or itself: what belongs to one user. */
void hold_tree_of(struct state *st, const struct mailfs_id *dir, struct mailfs_id *tree) {
    struct holds *h = hold_top(st)->holds;
    struct mailfs_id id = *dir;
    int depth = 0;

    *tree = *dir;
    while (depth++ < HOLD_DEPTH_MAX && hold_go_up(st, &id) && !mailfs_id_is_root(&id)) {
        bool known;
        pthread_mutex_lock(&h->mutex);
        known = tree_find(h, &id) != NULL; /* its cur/ may be gone meanwhile */
        pthread_mutex_unlock(&h->mutex);
        if (known || is_mailbox(st, &id))
            *tree = id;
    }
}

/* With all that went of trees that are not held. It is held before its messages are counted. */
static void trip_volume(struct state *top) {
    struct holds *h = top->holds;
    struct hold_trip t = {.tree = mailfs_id_root};
    struct hold_tree *root;
    bool was;

    pthread_mutex_lock(&h->mutex);
    root = tree_get(h, &mailfs_id_root);
    was = root->held;
    t.removed = brake_window_sum(&root->window, seconds(), &t.since);
    set(h, &mailfs_id_root, true);
    pthread_mutex_unlock(&h->mutex);
    if (was)
        return;
    t.present = brake_present(top, "");
    t.path = mem_strdup("");
    pthread_mutex_lock(&h->mutex);
    trip_add(h, &t);
    pthread_mutex_unlock(&h->mutex);
}

static void trip(struct state *top, const struct mailfs_id *tree, const char *path,
                 uint64_t removed, uint64_t present, int64_t since) {
    struct holds *h = top->holds;
    struct hold_trip t = {.tree = *tree, .removed = removed, .present = present, .since = since};

    pthread_mutex_lock(&h->mutex);
    if (!tree_get(h, tree)->held) {
        t.path = mem_strdup(path);
        trip_add(h, &t);
        if (!mailfs_id_is_root(tree)) /* the volume is not asked about it once more */
            brake_window_take(&tree_get(h, &mailfs_id_root)->window, &tree_get(h, tree)->window,
                              seconds());
        set(h, tree, true);
    }
    pthread_mutex_unlock(&h->mutex);
}

/* So many of a tree have gone: is that too much? How many there are is counted when, by the last
 * count, it is. */
void hold_weigh(struct state *st, const struct mailfs_id *tree, uint64_t removed, int64_t since) {
    struct state *top = hold_top(st);
    struct holds *h = top->holds;
    char path[PATH_MAX];
    uint64_t total, present;
    bool held, many;

    pthread_mutex_lock(&h->mutex);
    total = tree_get(h, tree)->total;
    held = tree_get(h, tree)->held || tree_get(h, &mailfs_id_root)->held;
    many = h->n_held >= HOLD_TREES_MAX;
    pthread_mutex_unlock(&h->mutex);
    if (held || removed < BRAKE_FLOOR ||
        (total > removed && !brake_trips(h->percent, removed, total - removed)))
        return;
    state_path(st, tree, path, sizeof(path));
    present = brake_present(top, path + 1);
    if (brake_trips(h->percent, removed, present)) {
        if (many)
            trip_volume(top);
        else
            trip(top, tree, path + 1, removed, present, since);
        return;
    }
    pthread_mutex_lock(&h->mutex);
    tree_get(h, tree)->total = removed + present;
    pthread_mutex_unlock(&h->mutex);
}

void hold_removed(struct state *st, const struct mailfs_id *dir, uint32_t n) {
    struct holds *h = hold_top(st)->holds;
    struct mailfs_id tree;
    struct hold_tree *t;
    int64_t since = 0;
    uint64_t sum;

    if (!h || n == 0)
        return;
    hold_tree_of(st, dir, &tree);
    pthread_mutex_lock(&h->mutex);
    if (!mailfs_id_is_root(&tree) && !tree_get(h, &tree)->held)
        brake_window_add(&tree_get(h, &mailfs_id_root)->window, seconds(), n);
    t = tree_get(h, &tree);
    brake_window_add(&t->window, seconds(), n);
    sum = brake_window_sum(&t->window, seconds(), &since);
    pthread_mutex_unlock(&h->mutex);
    hold_weigh(st, &tree, sum, since);
}

void hold_weigh_volume(struct state *st) {
    struct holds *h = st->holds;
    int64_t since = 0;
    uint64_t sum;

    if (!h)
        return;
    pthread_mutex_lock(&h->mutex);
    sum = brake_window_sum(&tree_get(h, &mailfs_id_root)->window, seconds(), &since);
    pthread_mutex_unlock(&h->mutex);
    hold_weigh(st, &mailfs_id_root, sum, since);
}

size_t hold_trips(struct state *st, struct hold_trip **out) {
    struct holds *h = st->holds;
    size_t n = 0;

    *out = NULL;
    if (!h)
        return 0;
    pthread_mutex_lock(&h->mutex);
    *out = h->trips;
    n = h->n_trips;
    h->trips = NULL;
    h->n_trips = 0;
    pthread_mutex_unlock(&h->mutex);
    return n;
}
