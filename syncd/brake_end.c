/*
 * brake_end - what was held goes on the other nodes, too, or comes back on this one
 *
 * Diagnostics: that it did; an error leaves it held.
 */
#include <stdlib.h>
#include <string.h>

#include "brake_int.h"
#include "driver.h"
#include "front.h"
#include "hold.h"
#include "jobs.h"
#include "mem.h"
#include "oneway.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"

void brake_compare(struct volume *v, const struct mailfs_id *dir) {
    replica_suspect(v->machine, volume_now(), *dir);
    oneway_changed(v, dir, false);
}

/* ---- it was meant ------------------------------------------------------------------ */

/* The mailboxes of a tree are to be looked at: what is missing there goes, or has come back. */
struct ending {
    struct brake *b;
    struct volume *v;
    char *path;
    struct mailfs_id id;
    int64_t since;
    struct back *back; /* NULL: it was meant */
    struct mailfs_id *boxes;
    size_t n_boxes, left;
    int err;
    struct invals inval;
};

static void ending_free(struct ending *e) {
    invals_free(&e->inval);
    free(e->boxes);
    free(e->path);
    free(e);
}

/* All that one command ends: the directories are read once for all of them. */
struct endings {
    struct brake *b;
    struct volume *v;
    struct ending **e;
    struct mailfs_id *trees;
    size_t n;
};

static struct ending *ending_new(struct brake *b, const struct brake_held *h) {
    struct ending *e = mem_new(sizeof *e);

    e->b = b;
    e->v = b->v;
    e->path = mem_strdup(h->path);
    e->id = h->id;
    e->since = h->since;
    return e;
}

static bool is_of(const struct brake_held *h, const char *path) {
    return path == NULL || strcmp(h->path, path) == 0;
}

/* Of what the others are not told of. */
static struct endings *endings_new(struct brake *b, const char *path) {
    struct endings *all = mem_new(sizeof *all);

    all->b = b;
    all->v = b->v;
    all->e = mem_new((b->n_held + 1) * sizeof *all->e);
    all->trees = mem_new((b->n_held + 1) * sizeof *all->trees);
    for (size_t i = 0; i < b->n_held; i++) {
        if (!is_of(&b->held[i], path) || !b->held[i].id_known)
            continue;
        all->trees[all->n] = b->held[i].id;
        all->e[all->n++] = ending_new(b, &b->held[i]);
    }
    return all;
}

static void endings_free(struct endings *all) {
    free(all->e);
    free(all->trees);
    free(all);
}

static int add_box(void *arg, size_t tree, const struct mailfs_id *box) {
    const struct endings *all = arg;
    struct ending *e = all->e[tree];
    struct mailfs_id *v = realloc(e->boxes, (e->n_boxes + 1) * sizeof *v);

    if (v == NULL)
        mem_out("mailboxes");
    e->boxes = v;
    v[e->n_boxes++] = *box;
    return 0;
}

static int mark_all(struct ending *e) {
    uint64_t gen;
    int r = state_mark_gen(e->v->state, &gen);

    for (size_t i = 0; r == 0 && i < e->n_boxes; i++)
        r = state_mark(e->v->state, &e->boxes[i], gen);
    return r;
}

/* As the volume's base says, and those of its links. */
static int all_boxes(struct endings *all) {
    struct volume *v = all->v;
    int r = hold_boxes(v->state, all->trees, all->n, add_box, all);

    for (size_t i = 0; r == 0 && i < v->n_links; i++)
        r = hold_boxes(v->links[i]->state, all->trees, all->n, add_box, all);
    return r;
}

/* From here on what goes is told. That what went before differs only the marks say: they come
 * before the record changes. */
static void meant_run(void *arg) {
    struct endings *all = arg;
    int r;

    for (size_t i = 0; i < all->n; i++)
        hold_set(all->v->state, &all->e[i]->id, false);
    r = all_boxes(all);
    for (size_t i = 0; i < all->n; i++)
        all->e[i]->err = r == 0 ? mark_all(all->e[i]) : r;
}

static void one_meant(struct ending *e) {
    struct volume *v = e->v;
    struct brake_held *h = brake_find(e->b, e->path);
    const struct brake_held meant = {.id = e->id, .id_known = true};

    if (h != NULL && e->err == 0) {
        log_info("volume %s: /%s: removals confirmed", v->cv->name, e->path);
        brake_drop(e->b, h);
        brake_meant(e->b, e->path, &meant, (int64_t)(clock_wall_ns() / 1000000000));
    } else if (e->err != 0) {
        hold_set(v->state, &e->id, h != NULL);
        volume_error(v, "/%s: the removals could not be confirmed: %s; try mailfsctl confirm again",
                     e->path, log_strerror(e->err));
    }
}

static void meant_done(void *arg) {
    struct endings *all = arg;
    struct volume *v = all->v;

    for (size_t i = 0; i < all->n; i++)
        one_meant(all->e[i]);
    brake_write(all->b);
    for (size_t i = 0; i < all->n; i++) {
        struct ending *e = all->e[i];
        for (size_t k = 0; e->err == 0 && k < e->n_boxes; k++)
            brake_compare(v, &e->boxes[k]);
        ending_free(e);
    }
    endings_free(all);
    driver_pump(v);
}

static bool is_among(const struct mailfs_id *v, size_t n, const struct mailfs_id *id) {
    size_t i = 0;

    while (i < n && !mailfs_id_equal(&v[i], id))
        i++;
    return i < n;
}

/* In the lanes of all of them, each once. */
static void run_meant(struct endings *all) {
    struct mailfs_id *lanes = mem_new((all->n + 1) * sizeof *lanes);
    size_t n = 0;

    for (size_t i = 0; i < all->n; i++)
        if (!is_among(lanes, n, &all->trees[i]))
            lanes[n++] = all->trees[i];
    if (n > 0)
        jobs_run_on(all->v->jobs, lanes, n, meant_run, meant_done, all);
    else
        endings_free(all);
    free(lanes);
}

int brake_confirm(struct brake *b, const char *path) {
    int n = 0, r;

    if (b == NULL)
        return 0;
    for (size_t i = b->n_held; i-- > 0;) {
        struct brake_held *h = &b->held[i];
        if (!is_of(h, path))
            continue;
        n++;
        if (h->id_known)
            continue;
        log_info("volume %s: /%s: removals confirmed", b->v->cv->name, h->path);
        brake_meant(b, h->path, h, (int64_t)(clock_wall_ns() / 1000000000));
        brake_drop(b, h);
    }
    run_meant(endings_new(b, path));
    r = n > 0 ? brake_write(b) : 0;
    return r < 0 ? r : n;
}

/* ---- back -------------------------------------------------------------------------- */

struct back {
    struct brake_back result;
    size_t left;
    brake_back_fn *fn;
    void *arg;
};

static void back_less(struct back *k) {
    if (--k->left > 0)
        return;
    k->fn(k->arg, &k->result);
    free(k);
}

/* Compared when it is held no longer, so that nothing that goes meanwhile is overlooked. */
static void tree_back(struct ending *e) {
    struct brake_held *h = brake_find(e->b, e->path);

    if (e->err == 0 && h != NULL) {
        log_info("volume %s: /%s: what was removed is put back", e->v->cv->name, e->path);
        brake_drop(e->b, h);
        brake_write(e->b);
    }
    for (size_t i = 0; i < e->n_boxes; i++)
        brake_compare(e->v, &e->boxes[i]);
    if (e->back->result.err == 0)
        e->back->result.err = e->err;
    back_less(e->back);
    ending_free(e);
}

struct box_back {
    struct ending *e;
    struct mailfs_id dir;
    struct invals inval;
    uint64_t n;
    int err;
};

static void box_run(void *arg) {
    struct box_back *x = arg;

    x->err = hold_put_back(x->e->v->state, &x->dir, x->e->since, &x->inval, &x->n);
}

static void box_done(void *arg) {
    struct box_back *x = arg;
    struct ending *e = x->e;
    struct volume *v = e->v;

    front_invalidate(v->front, &x->inval);
    invals_free(&x->inval);
    e->back->result.messages += x->n;
    e->err = e->err != 0 ? e->err : x->err;
    free(x);
    if (--e->left == 0)
        tree_back(e);
    driver_pump(v);
}

static void make_dirs(struct ending *e) {
    for (size_t i = 0; e->err == 0 && i < e->n_boxes; i++) {
        int r = hold_make_dir(e->v->state, &e->boxes[i], &e->inval);
        e->err = r < 0 ? r : 0;
    }
}

static void dirs_back_run(void *arg) {
    struct endings *all = arg;
    int r = hold_boxes(all->v->state, all->trees, all->n, add_box, all);

    for (size_t i = 0; i < all->n; i++) {
        all->e[i]->err = r;
        make_dirs(all->e[i]);
    }
}

static void boxes_back(struct ending *e) {
    struct volume *v = e->v;

    front_invalidate(v->front, &e->inval);
    e->left = e->err == 0 ? e->n_boxes : 0;
    for (size_t i = 0; e->err == 0 && i < e->n_boxes; i++) {
        struct box_back *x = mem_new(sizeof *x);
        x->e = e;
        x->dir = e->boxes[i];
        jobs_run(v->jobs, &x->dir, box_run, box_done, x);
    }
    if (e->left == 0)
        tree_back(e);
}

static void dirs_back_done(void *arg) {
    struct endings *all = arg;
    struct volume *v = all->v;

    for (size_t i = 0; i < all->n; i++)
        boxes_back(all->e[i]);
    endings_free(all);
    driver_pump(v);
}

void brake_undo(struct brake *b, const char *path, brake_back_fn *fn, void *arg) {
    struct back *k = mem_new(sizeof *k);
    struct endings *all = b != NULL ? endings_new(b, path) : NULL;

    k->fn = fn;
    k->arg = arg;
    k->left = 1;
    for (size_t i = 0; all != NULL && i < all->n; i++) {
        all->e[i]->back = k;
        k->left++;
        k->result.trees++;
    }
    if (all != NULL && all->n > 0)
        jobs_barrier(b->v->jobs, dirs_back_run, dirs_back_done, all);
    else if (all != NULL)
        endings_free(all);
    back_less(k);
}
