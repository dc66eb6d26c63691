/*
 * state_marks: which containers may differ from what was agreed on.
 *
 * Diagnostics: marks that cannot be read, made or copied.
 */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "state_int.h"
#include "util/array.h"

struct mark_list {
    struct state_mark *v;
    size_t n;
    uint64_t below;
};

static int mark_add(const struct mark *m, void *arg) {
    struct mark_list *l = arg;
    struct state_mark *v;

    if (m->gen >= l->below)
        return 0;
    v = array_room(l->v, l->n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    l->v = v;
    l->v[l->n].dir = m->dir;
    l->v[l->n++].gen = m->gen;
    return 0;
}

int state_marks(struct state *st, uint64_t below, struct state_mark **marks, size_t *n) {
    struct mark_list l = {.below = below};
    int r = marks_each(st->marks, mark_add, &l);

    *marks = NULL;
    *n = 0;
    if (r < 0) {
        free(l.v);
        return state_fail(st, r, NULL, "cannot read the marks");
    }
    *marks = l.v;
    *n = l.n;
    return 0;
}

int state_mark_own(struct state *st, const struct mailfs_id *dir, uint64_t gen) {
    struct mark m = {.dir = *dir, .gen = gen, .path = ""};
    struct base_dir rec;
    int r;

    if (base_dir_get(st, dir, &rec) == 0)
        m.handle = rec.handle;
    r = marks_put(st->marks, &m, 1);
    return r < 0 ? state_fail(st, r, dir, "cannot mark") : 0;
}

int state_mark_found(struct state *st, const struct mailfs_id *dir,
                     const struct io_handle *handle) {
    struct mark m = {.dir = *dir, .handle = *handle, .path = ""};
    int r = marks_generation(st->marks, &m.gen);

    if (r == 0)
        r = marks_put(st->marks, &m, 1);
    return r < 0 ? state_fail(st, r, dir, "cannot mark") : 0;
}

/* What a one-way link changes in the store is to be compared with the peer and the other links as
 * well: the volume's own mark says so. */
int state_mark(struct state *st, const struct mailfs_id *dir, uint64_t gen) {
    uint64_t main_gen;
    int r = st->main ? state_mark_gen(st->main, &main_gen) : 0;

    if (r == 0 && st->main)
        r = state_mark_own(st->main, dir, main_gen);
    return r == 0 ? state_mark_own(st, dir, gen) : r;
}

int state_mark_gen(struct state *st, uint64_t *gen) {
    return marks_generation(st->marks, gen);
}

int state_mark_gen_raise(struct state *st, uint64_t gen) {
    int r = marks_generation_raise(st->marks, gen);

    return r < 0 ? state_fail(st, r, NULL, "cannot begin a generation of marks") : 0;
}

/* Those of the containers given, sorted; or all. */
struct copy {
    struct mark *v;
    size_t n;
    const struct mailfs_id *dirs;
    size_t n_dirs;
};

static int id_cmp(const void *a, const void *b) {
    return memcmp(a, b, MAILFS_ID_BYTES);
}

static int copy_one(const struct mark *m, void *arg) {
    struct copy *c = arg;
    struct mark *v;

    if (c->dirs && !bsearch(&m->dir, c->dirs, c->n_dirs, sizeof(*c->dirs), id_cmp))
        return 0;
    v = array_room(c->v, c->n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    c->v = v;
    v += c->n++;
    *v = *m;
    v->path = strdup(m->path);
    return v->path ? 0 : -ENOMEM;
}

int state_marks_copy(struct state *from, struct state *to, const struct mailfs_id *dirs, size_t n) {
    struct copy c = {.dirs = dirs, .n_dirs = n};
    uint64_t gen = 0;
    size_t i;
    int r = marks_generation(to->marks, &gen);

    if (r == 0)
        r = marks_each(from->marks, copy_one, &c);
    for (i = 0; i < c.n; i++)
        c.v[i].gen = gen;
    if (r == 0 && c.n)
        r = marks_put(to->marks, c.v, c.n);
    for (i = 0; i < c.n; i++)
        free((char *)(uintptr_t)c.v[i].path);
    free(c.v);
    return r < 0 ? state_fail(to, r, NULL, "cannot copy the marks") : 0;
}
