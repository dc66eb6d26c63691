/*
 * scan_tree_list: which directories are listed, and what is said of them.
 *
 * One that is not as in the base, or is marked, with all above it, before and now; or (full) all.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_tree_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"

static bool differs(const struct node *n) {
    if (!n->looked)
        return false;
    return n->was != n->is || (n->was && (!mailfs_id_equal(&n->parent, &n->old_parent) ||
                                          strcmp(n->name, n->old_name) != 0));
}

/* Should one have removed it and get it again, it must not go on under this one. */
static int fill_validity(struct state *st, const struct node *n, Mfp__TreeDir *d) {
    struct base_uidlist ul;
    int r = n->was ? base_uidlist_get(st, BASE_AGREED, &n->id, &ul) : -ENOENT;

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    d->old_v = ul.v;
    free(ul.header_ext);
    return 0;
}

/* Where it was by the base that both nodes certainly had. By differences the listing is beside an
 * equal base: the peer's has the new place too. */
static int fill_old(const struct tree *t, const struct node *n, Mfp__TreeDir *d) {
    char name[MAILDIR_NAME_MAX + 1];
    struct mailfs_id parent;
    bool moved = t->full && base_moved_from(t->st, &n->id, &parent, name);

    d->old_name = build_str(moved ? name : n->old_name);
    return d->old_name ? build_id(&d->old_parent, moved ? &parent : &n->old_parent) : -ENOMEM;
}

static int fill(struct tree *t, struct node *n, Mfp__TreeDir *d) {
    /* What was not looked at is as it was. */
    bool is = n->looked ? n->is : n->was;
    const char *name = n->looked ? n->name : n->old_name;
    const struct mailfs_id *parent = n->looked ? &n->parent : &n->old_parent;
    struct base_dir rec = {.mode = n->mode, .owner = n->uid, .group = n->gid};
    int r = build_id(&d->id, &n->id);

    if (r == 0)
        r = fill_validity(t->st, n, d);
    d->had = n->was;
    d->has = is;
    d->borrowed = scan_tree_borrowed(t, n);
    d->changed_inside = n->changed || !(n->was || (d->borrowed && n->inside));
    if (r == 0)
        r = scan_tree_fill_msgs(t, n, d);
    if (r == 0 && n->was)
        r = fill_old(t, n, d);
    if (r == 0 && is && !(d->name = build_str(name)))
        r = -ENOMEM;
    if (r == 0 && is)
        r = build_id(&d->parent, parent);
    if (r == 0 && !(d->meta = build_dir_meta(&rec)))
        r = -ENOMEM;
    return r;
}

static int list_node(struct tree *t, struct node *n, Mfp__Tree *out);

static int list_parent(struct tree *t, const struct mailfs_id *id, Mfp__Tree *out) {
    struct node *p = mailfs_id_is_root(id) ? NULL : scan_tree_find(t, id);

    return p ? list_node(t, p, out) : 0;
}

/* With all above it, before and now. */
static int list_node(struct tree *t, struct node *n, Mfp__Tree *out) {
    Mfp__TreeDir *d;
    int r = 0;

    if (n->listed || (!n->was && !n->is))
        return 0;
    n->listed = true;
    if (n->was)
        r = list_parent(t, &n->old_parent, out);
    if (r == 0 && n->looked && n->is)
        r = list_parent(t, &n->parent, out);
    if (r < 0)
        return r;
    d = malloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    mfp__tree_dir__init(d);
    r = fill(t, n, d);
    if (r == 0)
        r = build_push(&out->dirs, &out->n_dirs, d);
    if (r < 0)
        mfp__tree_dir__free_unpacked(d, NULL);
    return r;
}

int scan_tree_list(struct tree *t, Mfp__Tree *out) {
    struct node *n, *tmp;
    int r = 0;

    HASH_ITER(hh, t->nodes, n, tmp) {
        /* A marked one too: the peer may have removed it, and must know that it lives. */
        if (t->full || differs(n) || n->marked)
            r = list_node(t, n, out);
        if (r < 0)
            break;
    }
    return r;
}
