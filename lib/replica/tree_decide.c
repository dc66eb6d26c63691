/*
 * tree_decide.c: the merge of one directory
 *
 * T1. Symmetric: which side is called a makes no difference.
 * T2. A directory goes only if a valid base says that it was on both sides, one has it no more, and
 * the other did nothing to it nor in it.
 * T8. Where a side has borrowed a directory (tree_merge.h), or that it lacks it, never changes what
 * the other has, nor what that has undone.
 *
 * Diagnostics: none.
 */
#include "replica/base_age.h"
#include "replica/tree_priv.h"

#include <string.h>

int tree_place_cmp(const struct tree_place *x, const struct tree_place *y) {
    int c = mailfs_id_cmp(&x->parent, &y->parent);

    return c ? c : strcmp(x->name, y->name);
}

static bool same_place(const struct tree_place *x, const struct tree_place *y) {
    return tree_place_cmp(x, y) == 0;
}

/* Whose base is the later common state; NULL: not known, or they are one. */
static const struct tree_view *later_base(const struct tree_view *a, const struct tree_view *b) {
    int c = a->valid && b->valid ? base_age_cmp(a->base_version, b->base_version) : 0;

    return c > 0 ? a : c < 0 ? b : NULL;
}

/* Neither was moved since its base: whose base says where it is? One that could not follow the
 * other's is listed without an age. Which directory it was that did not follow is not known: beside
 * one that has lost something in a power cut it may be the right one. */
static const struct tree_view *right_base(const struct tree_view *a, const struct tree_view *b) {
    if (!a->valid || !b->valid || (a->base_version == 0) == (b->base_version == 0))
        return later_base(a, b);
    const struct tree_view *followed = a->base_version != 0 ? a : b;
    return base_age_lacks(followed->base_version) ? NULL : followed;
}

static bool same_msg(const struct tree_view *p, const struct tree_msg *m, const struct tree_view *q,
                     const struct tree_msg *known) {
    if (m->prepared[0] != 0 && memcmp(m->prepared, known->prepared, sizeof m->prepared) == 0)
        return true;
    return m->uid != 0 && m->uid == known->uid && p->validity != 0 && p->validity == q->validity &&
           strcmp(m->name, known->name) == 0;
}

/*
 * All that is new to p's base in what q removed q had: under the same UIDs, since p had sent it,
 * and was cut off or killed before it heard so; or q made it, and p published what q had prepared
 * there when it was killed itself. What has neither may be another of that name (merge_decide.c
 * says the same of messages).
 */
static bool removed_knowing(const struct tree_view *p, const struct tree_view *q) {
    if (p->n_msgs == 0 || !q->was || q->is)
        return false;
    for (size_t i = 0; i < p->n_msgs; i++) {
        size_t k = 0;
        while (k < q->n_msgs && !same_msg(p, &p->msgs[i], q, &q->msgs[k]))
            k++;
        if (k == q->n_msgs)
            return false;
    }
    return true;
}

static bool is_changed(const struct tree_view *p, const struct tree_view *q) {
    return p->changed_inside && !MUTANT(MUTANT_TREE_REMOVE_CHANGED) && !removed_knowing(p, q);
}

/* p has it, q has not: did q remove what p has? */
static bool removed_by_absent(const struct tree_view *p, const struct tree_view *q) {
    if (is_changed(p, q) || !p->valid || !q->valid)
        return false;
    /* Removed by agreement, or made since q's base. Both nodes change the tree at once, so that
     * what each base has counted tells nothing: only of one that may lack something is the other
     * the later. */
    if (!q->was)
        return p->was && same_place(&p->now, &p->old) && base_age_lacks(p->base_version) &&
               later_base(p, q) == q;
    return same_place(&p->now, &q->old) || (p->was && same_place(&p->now, &p->old));
}

/* Two moves of one directory. */
static const struct tree_place *choose_move(const struct tree_view *a, const struct tree_view *b) {
    if (MUTANT(MUTANT_TREE_ASYMMETRIC))
        return &a->now;
    if (a->version != b->version)
        return a->version > b->version ? &a->now : &b->now;
    return tree_place_cmp(&a->now, &b->now) > 0 ? &a->now : &b->now;
}

static void merge_place(const struct tree_view *a, const struct tree_view *b,
                        struct tree_item *it) {
    bool moved_a = !a->was || !same_place(&a->now, &a->old);
    bool moved_b = !b->was || !same_place(&b->now, &b->old);
    bool a_is_base = b->was && same_place(&a->now, &b->old);
    bool b_is_base = a->was && same_place(&b->now, &a->old);

    if (same_place(&a->now, &b->now)) {
        it->place = a->now;
    } else if (moved_a != moved_b) {
        it->place = moved_a ? a->now : b->now;
    } else if (a_is_base != b_is_base) { /* one is where the other started from */
        it->place = a_is_base ? b->now : a->now;
    } else if (!moved_a && right_base(a, b)) {
        it->place = right_base(a, b)->now;
    } else {
        it->place = *choose_move(a, b);
        it->what |= TREE_CONFLICT;
    }
}

static uint32_t merge_number(bool base_a, uint32_t old_a, uint32_t a, bool base_b, uint32_t old_b,
                             uint32_t b) {
    bool changed_a = !base_a || a != old_a, changed_b = !base_b || b != old_b;

    if (changed_a != changed_b)
        return changed_a ? a : b;
    return a > b ? a : b;
}

static void merge_attr(const struct tree_view *a, const struct tree_view *b, struct tree_attr *to) {
    to->mode = merge_number(a->was, a->old_attr.mode, a->attr.mode, b->was, b->old_attr.mode,
                            b->attr.mode);
    to->uid =
        merge_number(a->was, a->old_attr.uid, a->attr.uid, b->was, b->old_attr.uid, b->attr.uid);
    to->gid =
        merge_number(a->was, a->old_attr.gid, a->attr.gid, b->was, b->old_attr.gid, b->attr.gid);
}

static void decide_lone(const struct tree_view *p, const struct tree_view *q,
                        struct tree_item *it) {
    if (removed_by_absent(p, q))
        return;
    it->present = true;
    it->place = p->now;
    it->attr = p->attr;
    if (q->was)
        it->what |= TREE_CONFLICT | TREE_REVIVED;
}

static bool unchanged(const struct tree_view *o) {
    return o->was && same_place(&o->now, &o->old);
}

/*
 * T8. f has borrowed it, o has not: the result is what o has. What o has never had f keeps, and
 * where o did nothing f keeps its own place, since who it is borrowed from may be ahead of o; where
 * o did something f follows. What f lacks it gets: o may put something into it.
 */
static void decide_borrowed(const struct tree_view *f, const struct tree_view *o,
                            struct tree_item *it) {
    if (!o->is) {
        it->what |= o->was ? 0 : TREE_LEFT;
        return;
    }
    it->present = true;
    it->place = o->now;
    it->attr = o->attr;
    if (!f->is)
        return;
    merge_attr(f, o, &it->attr);
    if (!same_place(&f->now, &o->now) && unchanged(o))
        it->what |= TREE_LEFT;
}

/* What is in it and f's own is f's to bring, with the directory. A side without a base has undone
 * nothing: it is new, or has lost its state, and is given all. */
static bool is_borrowed(const struct tree_view *f, const struct tree_view *o) {
    return f->borrowed && !o->borrowed && o->valid && (f->is || o->is) &&
           (o->is || !f->changed_inside);
}

void tree_decide(const struct tree_slot *slot, struct tree_item *it) {
    const struct tree_view *a = &slot->a, *b = &slot->b;

    it->at_a = a->is;
    it->at_b = b->is;
    it->now_a = a->now;
    it->now_b = b->now;
    it->attr_a = a->attr;
    it->attr_b = b->attr;
    if (is_borrowed(a, b)) {
        decide_borrowed(a, b, it);
    } else if (is_borrowed(b, a)) {
        decide_borrowed(b, a, it);
    } else if (a->is && b->is) {
        it->present = true;
        merge_place(a, b, it);
        merge_attr(a, b, &it->attr);
    } else if (a->is) {
        decide_lone(a, b, it);
    } else if (b->is) {
        decide_lone(b, a, it);
    }
}
