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

/* As the volume's base says, and those of its links. */
static int all_boxes(struct ending *e) {
    int r = hold_boxes(e->v->state, &e->id, &e->boxes, &e->n_boxes);

    for (size_t i = 0; r == 0 && i < e->v->n_links; i++)
        r = hold_boxes(e->v->links[i]->state, &e->id, &e->boxes, &e->n_boxes);
    return r;
}

static int mark_all(struct ending *e) {
    uint64_t gen;
    int r = state_mark_gen(e->v->state, &gen);

    for (size_t i = 0; r == 0 && i < e->n_boxes; i++)
        r = state_mark(e->v->state, &e->boxes[i], gen);
    return r;
}

/* From here on what goes is told. That what went before differs only the marks say: they come
 * before the record changes. */
static void meant_run(void *arg) {
    struct ending *e = arg;

    hold_set(e->v->state, &e->id, false);
    e->err = all_boxes(e);
    if (e->err == 0)
        e->err = mark_all(e);
}

static void meant_done(void *arg) {
    struct ending *e = arg;
    struct volume *v = e->v;
    struct brake_held *h = brake_find(e->b, e->path);
    const struct brake_held meant = {.id = e->id, .id_known = true};

    if (h != NULL && e->err == 0) {
        log_info("volume %s: /%s: removals confirmed", v->cv->name, e->path);
        brake_drop(e->b, h);
        brake_meant(e->b, e->path, &meant, (int64_t)(clock_wall_ns() / 1000000000));
        brake_write(e->b);
        for (size_t i = 0; i < e->n_boxes; i++)
            brake_compare(v, &e->boxes[i]);
    } else if (e->err != 0) {
        hold_set(v->state, &e->id, h != NULL);
        volume_error(v, "/%s: the removals could not be confirmed: %s; try mailfsctl confirm again",
                     e->path, log_strerror(e->err));
    }
    ending_free(e);
    driver_pump(v);
}

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

int brake_confirm(struct brake *b, const char *path) {
    int n = 0, r;

    if (b == NULL)
        return 0;
    for (size_t i = b->n_held; i-- > 0;) {
        struct brake_held *h = &b->held[i];
        if (!is_of(h, path))
            continue;
        n++;
        if (h->id_known) {
            jobs_run(b->v->jobs, &h->id, meant_run, meant_done, ending_new(b, h));
        } else {
            log_info("volume %s: /%s: removals confirmed", b->v->cv->name, h->path);
            brake_meant(b, h->path, h, (int64_t)(clock_wall_ns() / 1000000000));
            brake_drop(b, h);
        }
    }
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

static void dirs_back_run(void *arg) {
    struct ending *e = arg;

    e->err = hold_boxes(e->v->state, &e->id, &e->boxes, &e->n_boxes);
    for (size_t i = 0; e->err == 0 && i < e->n_boxes; i++) {
        int r = hold_make_dir(e->v->state, &e->boxes[i], &e->inval);
        e->err = r < 0 ? r : 0;
    }
}

static void dirs_back_done(void *arg) {
    struct ending *e = arg;
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
    driver_pump(v);
}

void brake_undo(struct brake *b, const char *path, brake_back_fn *fn, void *arg) {
    struct back *k = mem_new(sizeof *k);

    k->fn = fn;
    k->arg = arg;
    k->left = 1;
    for (size_t i = 0; b != NULL && i < b->n_held; i++) {
        struct ending *e;
        if (!is_of(&b->held[i], path) || !b->held[i].id_known)
            continue;
        e = ending_new(b, &b->held[i]);
        e->back = k;
        k->left++;
        k->result.trees++;
        jobs_barrier(b->v->jobs, dirs_back_run, dirs_back_done, e);
    }
    back_less(k);
}
