/*
 * tree_merge.c: the three-way merge of the directory tree
 *
 * Puts the two listings beside each other by id, has each directory decided (tree_decide.c), then
 * makes a tree of them (tree_shape.c). The invariants T1 to T6 stand in those two files, and here:
 *
 * T7. A side that gets back what it had removed is told so (anew_a, anew_b): the other side's list
 * of UIDs does not know of those that this one has shown.
 *
 * Diagnostics: -EINVAL for listings that contradict themselves.
 */
#include "replica/tree_merge.h"

#include "replica/positions.h"
#include "replica/tree_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_ids(const void *x, const void *y) {
    const struct tree_entry *e = x, *f = y;

    return mailfs_id_cmp(&e->id, &f->id);
}

static bool entry_ok(const struct tree_entry *e) {
    return !mailfs_id_is_root(&e->id) && (e->was || e->is) && (!e->was || e->old.name) &&
           (!e->is || e->now.name);
}

/* The positions of a side's entries by id; -EINVAL for one that cannot be. */
static int sort_side(const struct tree_side *s, size_t **out) {
    if (!s->full && !s->base_valid)
        return -EINVAL;
    for (size_t i = 0; i < s->count; i++)
        if (!entry_ok(&s->entries[i]))
            return -EINVAL;
    return positions_sort(s->entries, s->count, sizeof *s->entries, compare_ids, out);
}

static void view_of_entry(const struct tree_side *s, const struct tree_entry *e,
                          struct tree_view *v) {
    v->was = e->was && s->base_valid;
    v->is = e->is;
    v->borrowed = e->borrowed;
    v->changed_inside = e->is && e->changed_inside;
    v->msgs = e->msgs;
    v->n_msgs = e->n_msgs;
    v->validity = e->validity;
    v->version = e->version;
    if (v->was) {
        v->old = e->old;
        v->old_attr = e->old_attr;
        v->old_validity = e->old_validity;
    }
    if (v->is) {
        v->now = e->now;
        v->attr = e->attr;
    }
}

/* What a side s knows of a directory: by its own entry, or, where its listing leaves out what is as
 * in the common base, by what the other, o, says of that base (in `any`, an entry that there is).
 */
static void make_view(const struct tree_side *s, const struct tree_entry *own,
                      const struct tree_side *o, const struct tree_entry *any,
                      struct tree_view *v) {
    memset(v, 0, sizeof *v);
    v->valid = s->base_valid;
    v->base_version = s->base_version;
    if (own) {
        view_of_entry(s, own, v);
    } else if (!s->full && any->was && o->base_valid) {
        v->was = v->is = true;
        v->old = v->now = any->old;
        v->old_attr = v->attr = any->old_attr;
    }
}

static void join_sides(const struct tree_side *a, const size_t *pa, const struct tree_side *b,
                       const size_t *pb, struct tree_work *w) {
    size_t i = 0, j = 0;

    for (;;) {
        const struct tree_entry *ea = i < a->count ? &a->entries[pa[i]] : NULL;
        const struct tree_entry *eb = j < b->count ? &b->entries[pb[j]] : NULL;
        int c = !ea ? 1 : !eb ? -1 : mailfs_id_cmp(&ea->id, &eb->id);
        const struct tree_entry *any = c <= 0 ? ea : eb;
        struct tree_item *it = &w->items[w->count];
        struct tree_slot *slot = &w->slots[w->count];

        if (!any)
            return;
        it->id = any->id;
        it->a = c <= 0 ? ea : NULL;
        it->b = c >= 0 ? eb : NULL;
        make_view(a, it->a, b, any, &slot->a);
        make_view(b, it->b, a, any, &slot->b);
        tree_decide(slot, it);
        w->count++;
        i += c <= 0;
        j += c >= 0;
    }
}

static bool same_attr(const struct tree_attr *x, const struct tree_attr *y) {
    return x->mode == y->mode && x->uid == y->uid && x->gid == y->gid;
}

/* The other side's base is no witness: it may have what has not come to this one yet. */
static bool made_anew(const struct tree_view *v) {
    return v->was && !v->is && !MUTANT(MUTANT_TREE_SAME_VALIDITY);
}

/* What the two sides have to do about an item, now that the tree is made. */
static void mark_item(struct tree_item *it, const struct tree_slot *slot) {
    if (it->what & TREE_LEFT)
        return;
    if (!it->present) {
        if (!it->aliased && (it->at_a || it->at_b))
            it->what |= TREE_REMOVED;
        return;
    }
    if (!it->at_a || !it->at_b)
        it->what |= TREE_MADE;
    it->anew_a = made_anew(&slot->a);
    it->anew_b = made_anew(&slot->b);
    it->old_validity =
        slot->a.old_validity > slot->b.old_validity ? slot->a.old_validity : slot->b.old_validity;
    if ((it->at_a && tree_place_cmp(&it->now_a, &it->place) != 0) ||
        (it->at_b && tree_place_cmp(&it->now_b, &it->place) != 0))
        it->what |= TREE_MOVED;
    if ((it->at_a && !same_attr(&it->attr_a, &it->attr)) ||
        (it->at_b && !same_attr(&it->attr_b, &it->attr)))
        it->what |= TREE_ATTR;
}

static void count_item(const struct tree_item *it, struct tree_stats *s) {
    s->made += (it->what & TREE_MADE) != 0;
    s->removed += (it->what & TREE_REMOVED) != 0;
    s->moved += (it->what & TREE_MOVED) != 0;
    s->conflicts += (it->what & TREE_CONFLICT) != 0;
    s->revived += (it->what & TREE_REVIVED) != 0;
    s->undone += (it->what & TREE_UNDONE) != 0;
    s->aliased += it->aliased;
}

static int merge_sorted(const struct tree_side *a, const size_t *pa, const struct tree_side *b,
                        const size_t *pb, struct tree_result *r) {
    struct tree_work w = {0};
    size_t i;
    int err;

    r->items = w.items = calloc(a->count + b->count + 1, sizeof *w.items);
    w.slots = calloc(a->count + b->count + 1, sizeof *w.slots);
    if (!w.items || !w.slots) {
        free(w.slots);
        return -ENOMEM;
    }
    join_sides(a, pa, b, pb, &w);
    r->count = w.count;
    err = tree_shape(&w);
    for (i = 0; !err && i < r->count; i++) {
        mark_item(&r->items[i], &w.slots[i]);
        count_item(&r->items[i], &r->stats);
    }
    free(w.slots);
    return err;
}

int tree_merge(const struct tree_side *a, const struct tree_side *b, struct tree_result **out) {
    size_t *pa = NULL, *pb = NULL;
    struct tree_result *r = calloc(1, sizeof *r);
    int err;

    *out = NULL;
    err = r ? sort_side(a, &pa) : -ENOMEM;
    if (!err)
        err = sort_side(b, &pb);
    if (!err)
        err = merge_sorted(a, pa, b, pb, r);
    free(pa);
    free(pb);
    if (err)
        tree_result_free(r);
    else
        *out = r;
    return err;
}

void tree_result_free(struct tree_result *r) {
    if (!r)
        return;
    free(r->items);
    free(r);
}

const struct tree_item *tree_result_find(const struct tree_result *r, const struct mailfs_id *id) {
    struct tree_work w = {.items = r->items, .count = r->count};
    size_t i = tree_work_find(&w, id);

    return i < r->count ? &r->items[i] : NULL;
}
