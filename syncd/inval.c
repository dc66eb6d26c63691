/*
 * inval: lists of what mailfs must make the kernel forget.
 *
 * Nothing here fails: without memory for a name the whole container is forgotten instead. No
 * diagnostics.
 */
#include <stdlib.h>
#include <string.h>

#include "state_int.h"

static void names_free(struct inval *v) {
    size_t j;

    for (j = 0; j < v->n_names; j++) {
        free(v->names[j].old_name);
        free(v->names[j].name);
    }
    free(v->names);
    v->names = NULL;
    v->n_names = 0;
}

void invals_free(struct invals *iv) {
    size_t i;

    for (i = 0; i < iv->n; i++)
        names_free(&iv->v[i]);
    free(iv->v);
    iv->v = NULL;
    iv->n = 0;
}

static struct inval *append(struct invals *iv, const struct mailfs_id *dir) {
    struct inval *v = realloc(iv->v, (iv->n + 1) * sizeof(*v));

    if (!v)
        return NULL;
    iv->v = v;
    v = &iv->v[iv->n++];
    memset(v, 0, sizeof(*v));
    v->dir = *dir;
    return v;
}

struct inval *inval_of(struct invals *iv, const struct mailfs_id *dir) {
    size_t i;

    for (i = 0; i < iv->n; i++) {
        if (!iv->v[i].moved && mailfs_id_equal(&iv->v[i].dir, dir))
            return &iv->v[i];
    }
    return append(iv, dir);
}

static void all(struct inval *v) {
    names_free(v);
    v->all = true;
}

void inval_add(struct invals *iv, const struct mailfs_id *dir, int sub, const char *old_name,
               const char *name, bool content) {
    struct inval *v = iv ? inval_of(iv, dir) : NULL;
    struct inval_name *n;

    if (!v || v->all)
        return;
    if (v->n_names >= INVAL_NAMES_MAX || !(n = realloc(v->names, (v->n_names + 1) * sizeof(*n)))) {
        all(v);
        return;
    }
    v->names = n;
    n += v->n_names++;
    n->sub = (uint8_t)sub;
    n->old_name = old_name ? strdup(old_name) : NULL;
    n->name = name ? strdup(name) : NULL;
    n->content = content;
}

void inval_poke(struct invals *iv, const struct mailfs_id *dir, int sub) {
    struct inval *v = iv ? inval_of(iv, dir) : NULL;

    if (v && sub == MFL__SUB__NEW)
        v->poke_new = true;
    if (v && sub == MFL__SUB__CUR)
        v->poke_cur = true;
}

static struct inval *moved(struct invals *iv, const struct mailfs_id *dir,
                           const struct mailfs_id *id, const char *old_name, const char *name) {
    struct inval *v = iv ? append(iv, dir) : NULL;

    if (!v)
        return NULL;
    v->moved = true;
    v->moved_id = *id;
    v->names = calloc(1, sizeof(*v->names));
    if (!v->names) {
        v->all = true;
        return v;
    }
    v->names->old_name = old_name ? strdup(old_name) : NULL;
    v->names->name = name ? strdup(name) : NULL;
    v->n_names = 1;
    return v;
}

void inval_moved(struct invals *iv, const struct mailfs_id *dir, const struct mailfs_id *id,
                 const char *old_name, const char *name) {
    moved(iv, dir, id, old_name, name);
}

void inval_renumbered(struct invals *iv, const struct mailfs_id *dir,
                      const struct mailfs_id *former, const struct mailfs_id *id,
                      const char *name) {
    struct inval *v = moved(iv, dir, id, name, name);

    if (!v)
        return;
    v->renumbered = true;
    v->former_id = *former;
}
