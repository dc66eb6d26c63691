/*
 * tree_shape.c: making a tree of directories that were merged one by one
 *
 * T3. Every present directory's parent is present, not listed, or the root.
 * T4. No circles.
 * T5. No two present directories in one place.
 * T6. All of it by ids and names alone, so that both nodes do the same.
 * What is left where a side has borrowed it (T8) is not, if there is no room for it there; what it
 * lies in is present, unless that is borrowed too.
 *
 * Undoing a move may need a removed parent back, and a parent that comes back may find its place
 * taken: so first parents and circles, until there are none, then places.
 *
 * Diagnostics: -ENOMEM.
 */
#include "replica/tree_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t tree_work_find(const struct tree_work *w, const struct mailfs_id *id) {
    size_t lo = 0, hi = w->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = mailfs_id_cmp(&w->items[mid].id, id);

        if (c == 0)
            return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return w->count;
}

/* Index of the parent, or count: the root, or one that is not listed. */
static size_t parent_of(const struct tree_work *w, size_t i) {
    return tree_work_find(w, &w->items[i].place.parent);
}

/* Where it was by the bases; of two that differ the greater. False: it is new. */
static bool old_place(const struct tree_slot *s, struct tree_place *place, struct tree_attr *attr) {
    const struct tree_view *v = s->a.was ? &s->a : &s->b;

    if (!v->was)
        return false;
    if (s->a.was && s->b.was && tree_place_cmp(&s->b.old, &s->a.old) > 0)
        v = &s->b;
    *place = v->old;
    if (attr)
        *attr = v->old_attr;
    return true;
}

/* A removed one comes back for what is in it: as the side has it that still does, or as it was. */
static void revive(struct tree_item *it, const struct tree_slot *s) {
    it->present = true;
    it->what = (it->what & ~(unsigned)TREE_LEFT) | TREE_REVIVED;
    if (it->at_a || it->at_b) {
        it->place = it->at_a ? it->now_a : it->now_b;
        it->attr = it->at_a ? it->attr_a : it->attr_b;
    } else if (!old_place(s, &it->place, &it->attr)) { /* of a base that is not valid */
        const struct tree_entry *e = it->a ? it->a : it->b;

        it->place = e->old;
        it->attr = e->old_attr;
    }
}

/* Where the side that has borrowed it has it. */
static const struct tree_place *left_place(const struct tree_work *w, size_t i) {
    return w->slots[i].a.borrowed ? &w->items[i].now_a : &w->items[i].now_b;
}

static bool is_left(const struct tree_work *w, size_t i) {
    return (w->items[i].what & TREE_LEFT) != 0;
}

/*
 * What is left where a side has borrowed it keeps what it lies in. One that is borrowed itself is
 * not removed there with something in it; any other would have to go, and cannot.
 */
static void revive_above_left(struct tree_work *w, size_t i) {
    bool at_a = w->slots[i].a.borrowed;
    size_t steps, p = tree_work_find(w, &left_place(w, i)->parent);

    for (steps = 0; steps < w->count && p < w->count && !w->items[p].present; steps++) {
        struct tree_item *it = &w->items[p];

        if (!(at_a ? &w->slots[p].a : &w->slots[p].b)->borrowed)
            revive(it, &w->slots[p]);
        p = tree_work_find(w, at_a ? &it->now_a.parent : &it->now_b.parent);
    }
}

static void revive_parents(struct tree_work *w) {
    size_t i, p;

    for (i = 0; i < w->count; i++)
        if (is_left(w, i))
            revive_above_left(w, i);
    for (i = 0; i < w->count; i++) {
        if (!w->items[i].present)
            continue;
        for (p = parent_of(w, i); p < w->count && !w->items[p].present; p = parent_of(w, p))
            revive(&w->items[p], &w->slots[p]);
    }
}

/* Which of the circle that i is in gives up its move: the highest id that has one to give up. */
static size_t choose_undo(const struct tree_work *w, size_t i) {
    size_t best = w->count, highest = i, j = i;

    do {
        struct tree_place old;

        if (old_place(&w->slots[j], &old, NULL) && !w->slots[j].undone &&
            tree_place_cmp(&old, &w->items[j].place) != 0 && (best == w->count || j > best))
            best = j;
        if (j > highest)
            highest = j;
        j = parent_of(w, j);
    } while (j != i);
    return best < w->count ? best : highest;
}

static void undo_move(struct tree_work *w, size_t i) {
    struct tree_item *it = &w->items[i];
    struct tree_place old;

    it->what |= TREE_UNDONE | TREE_CONFLICT;
    if (!w->slots[i].undone && old_place(&w->slots[i], &old, NULL)) {
        it->place = old;
    } else { /* nonsense from the peer: new ones in a circle; the root takes them */
        memset(&it->place.parent, 0, sizeof it->place.parent);
    }
    w->slots[i].undone = true;
}

/* A member of some circle, or count. Each walk upwards has a colour of its own; meeting it again is
 * a circle, meeting an older one leads to where that walk went. */
static size_t find_circle(struct tree_work *w) {
    unsigned colour = 0;
    size_t i, j;

    for (i = 0; i < w->count; i++)
        w->slots[i].colour = 0;
    for (i = 0; i < w->count; i++) {
        if (!w->items[i].present || w->slots[i].colour)
            continue;
        colour++;
        for (j = i; j < w->count && !w->slots[j].colour; j = parent_of(w, j))
            w->slots[j].colour = colour;
        if (j < w->count && w->slots[j].colour == colour)
            return j;
    }
    return w->count;
}

static void break_circles(struct tree_work *w) {
    size_t i;

    for (;;) {
        if (!MUTANT(MUTANT_TREE_ORPHANS))
            revive_parents(w);
        i = find_circle(w);
        if (i == w->count || MUTANT(MUTANT_TREE_CIRCLES))
            return;
        undo_move(w, choose_undo(w, i));
    }
}

/* ---- one directory in one place --------------------------------------------------------- */

struct by_place {
    struct tree_item *item;
    bool known; /* to a base */
};

/* By place, then the one that stays first. */
static int compare_by_place(const void *x, const void *y) {
    const struct by_place *a = x, *b = y;
    int c = tree_place_cmp(&a->item->place, &b->item->place);

    if (c)
        return c;
    if (a->known != b->known)
        return a->known ? -1 : 1;
    return mailfs_id_cmp(&a->item->id, &b->item->id);
}

static void follow_aliases(struct tree_work *w) {
    size_t i;

    for (i = 0; i < w->count; i++) {
        struct tree_item *it = &w->items[i];
        size_t p = it->present ? parent_of(w, i) : w->count;

        while (p < w->count && w->items[p].aliased) {
            it->place.parent = w->items[p].alias_of;
            p = parent_of(w, i);
        }
        while (it->aliased) {
            p = tree_work_find(w, &it->alias_of);
            if (!w->items[p].aliased)
                break;
            it->alias_of = w->items[p].alias_of;
        }
    }
}

/* One round; true if some became aliases, whose children may then meet others. */
static bool join_places(struct tree_work *w, struct by_place *order) {
    size_t i, n = 0, first = 0;
    bool joined = false;

    for (i = 0; i < w->count; i++)
        if (w->items[i].present)
            order[n++] = (struct by_place){&w->items[i], w->slots[i].a.was || w->slots[i].b.was};
    if (n > 1)
        qsort(order, n, sizeof *order, compare_by_place);
    for (i = 1; i < n; i++) {
        if (tree_place_cmp(&order[first].item->place, &order[i].item->place) != 0) {
            first = i;
            continue;
        }
        order[i].item->present = false;
        order[i].item->aliased = true;
        order[i].item->alias_of = order[first].item->id;
        order[i].item->what |= TREE_CONFLICT;
        order[first].item->what |= TREE_CONFLICT;
        joined = true;
    }
    if (joined)
        follow_aliases(w);
    return joined;
}

/* ---- what is borrowed ------------------------------------------------------------------- */

/* Another one that will be there, or the parent is to have another id. */
static bool has_no_room(const struct tree_work *w, size_t i, struct by_place *order, size_t n) {
    struct tree_item key = {.place = *left_place(w, i)};
    size_t lo = 0, hi = n, p = tree_work_find(w, &key.place.parent);

    if (p < w->count && w->items[p].aliased)
        return true;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (tree_place_cmp(&order[mid].item->place, &key.place) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && tree_place_cmp(&order[lo].item->place, &key.place) == 0 &&
           order[lo].item != &w->items[i];
}

/* Those become like any others: what the other side lacks it gets, what it has elsewhere is
 * followed. True: there were some. */
static bool settle_left(struct tree_work *w, struct by_place *order) {
    size_t i, n = 0;
    bool some = false;

    for (i = 0; i < w->count; i++)
        if (w->items[i].present)
            order[n++] = (struct by_place){&w->items[i], true};
    if (n > 1)
        qsort(order, n, sizeof *order, compare_by_place);
    for (i = 0; i < w->count; i++) {
        struct tree_item *it = &w->items[i];
        if (!is_left(w, i) || !has_no_room(w, i, order, n))
            continue;
        it->what &= ~(unsigned)TREE_LEFT;
        some = true;
        if (it->present)
            continue;
        it->present = true;
        it->place = *left_place(w, i);
        it->attr = w->slots[i].a.borrowed ? it->attr_a : it->attr_b;
    }
    return some;
}

/* Where it will be; of one that goes, where it is (if both have it, on both nodes the same). NULL:
 * nowhere. */
static const struct tree_place *shown_place(const struct tree_item *it) {
    if (it->present)
        return &it->place;
    if (it->at_a && it->at_b)
        return tree_place_cmp(&it->now_a, &it->now_b) > 0 ? &it->now_a : &it->now_b;
    return it->at_a ? &it->now_a : it->at_b ? &it->now_b : NULL;
}

/* What goes is removed one directory at a time, so that those in it have to go first. Their places
 * are as the peer lists them, which may be in a circle. */
static void set_depths(struct tree_work *w) {
    size_t i;

    for (i = 0; i < w->count; i++) {
        const struct tree_place *at = shown_place(&w->items[i]);
        unsigned depth = 0;

        while (at && depth <= w->count) {
            size_t p = tree_work_find(w, &at->parent);

            depth++;
            at = p < w->count ? shown_place(&w->items[p]) : NULL;
        }
        w->items[i].depth = depth;
    }
}

int tree_shape(struct tree_work *w) {
    struct by_place *order = calloc(w->count ? w->count : 1, sizeof *order);

    if (!order)
        return -ENOMEM;
    do {
        break_circles(w);
        while (!MUTANT(MUTANT_TREE_TWO_IN_PLACE) && join_places(w, order))
            ;
    } while (settle_left(w, order));
    free(order);
    set_depths(w);
    return 0;
}
