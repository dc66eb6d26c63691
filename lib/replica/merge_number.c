/*
 * merge_number.c: which UID each message of a merged mailbox has
 *
 * M4. A message keeps UID u iff on each side u is bound to this very message there, or u >= that
 * side's effective next UID: so u never named another message on either side, shown or not. M5. No
 * two messages have one UID. M6. New UIDs lie above every UID either side knows of, in the order of
 * (old UID, base name). M7. The higher UIDVALIDITY is the result's (but see
 * choose_validity()); UIDs of the other one mean nothing. What is left as it is (M8) keeps the UID,
 * or none, that it has at the side that did not borrow it: that side has bound it there already.
 *
 * Diagnostics: -EOVERFLOW when there are no UIDs left.
 */
#include "replica/merge_priv.h"

#include "maildir/uidlist.h"
#include "replica/base_age.h"
#include "replica/replica.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct numbering {
    uint32_t validity;
    uint32_t next_a, next_b; /* effective; 0: no UID of this validity is known there */
};

static uint32_t max_u32(uint32_t x, uint32_t y) {
    return x > y ? x : y;
}

/* Also one that is not valid, if it says of which list it was. */
static bool base_has(const struct merge_side *s, uint32_t validity) {
    return s->base_validity ? s->base_validity == validity : s->base_valid;
}

/* A list may say less than it should (a torn header): no UID seen may be above it. */
static uint32_t effective_next(const struct merge_side *s, uint32_t validity) {
    uint32_t top = 0, next = 1;
    size_t i;

    if (s->validity != validity)
        return 0;
    if (base_has(s, validity))
        next = max_u32(next, s->base_next);
    for (i = 0; i < s->count; i++) {
        const struct merge_entry *e = &s->entries[i];

        if (e->is)
            top = max_u32(top, e->now.uid);
        if (e->was && base_has(s, validity))
            top = max_u32(top, e->old.uid);
    }
    return max_u32(max_u32(s->next, next), top < UINT32_MAX ? top + 1 : top);
}

/* M4, for one of the two sides. */
static bool free_at(uint32_t uid, bool there, uint32_t bound, uint32_t v, uint32_t next,
                    const struct numbering *n) {
    if (v != n->validity ||
        MUTANT(MUTANT_REBIND)) /* nothing of this validity was ever shown there */
        return true;
    return (there && bound == uid) || uid >= next;
}

static bool as_it_is(const struct merge_slot *slot, const struct numbering *n) {
    return slot->as_at != 0 && (slot->as_at == 'a' ? slot->v_a : slot->v_b) == n->validity;
}

static uint32_t keep_uid(const struct merge_item *it, const struct merge_slot *slot,
                         const struct numbering *n) {
    uint32_t ua = it->at_a && slot->v_a == n->validity ? it->now_a.uid : 0;
    uint32_t ub = it->at_b && slot->v_b == n->validity ? it->now_b.uid : 0;
    bool bound_a = it->at_a && slot->from_a, bound_b = it->at_b && slot->from_b;
    uint32_t best = 0;

    if (slot->renumber)
        return 0;
    if (as_it_is(slot, n))
        return slot->as_at == 'a' ? ua : ub;
    if (ua && slot->from_a && free_at(ua, bound_b, ub, slot->v_b, n->next_b, n))
        best = ua;
    if (ub && slot->from_b && free_at(ub, bound_a, ua, slot->v_a, n->next_a, n))
        best = max_u32(best, ub);
    return best;
}

struct order {
    uint32_t uid;
    struct merge_item *item;
};

static int compare_order(const void *x, const void *y) {
    const struct order *a = x, *b = y;

    if (a->uid != b->uid)
        return a->uid < b->uid ? -1 : 1;
    return strcmp(a->item->name, b->item->name);
}

/* M5: one side's own list may be damaged and name two messages by one UID. */
static void take_back_twins(struct order *kept, size_t n) {
    size_t i, j;

    qsort(kept, n, sizeof *kept, compare_order);
    for (i = 0; i < n; i = j) {
        for (j = i + 1; j < n && kept[j].uid == kept[i].uid; j++)
            kept[j].item->state.uid = 0;
        if (j > i + 1)
            kept[i].item->state.uid = 0;
    }
}

static int give_new(struct order *want, size_t n, uint32_t *next) {
    size_t i;

    qsort(want, n, sizeof *want, compare_order);
    for (i = 0; i < n; i++) {
        if (*next > MAILDIR_UID_MAX)
            return -EOVERFLOW;
        want[i].item->state.uid = (*next)++;
    }
    return 0;
}

static void mark_renumbered(struct merge_item *it) {
    bool a = it->at_a && it->now_a.uid != 0 && it->now_a.uid != it->state.uid;
    bool b = it->at_b && it->now_b.uid != 0 && it->now_b.uid != it->state.uid;

    if (it->present && !(it->what & MERGE_LEFT) && (a || b))
        it->what |= MERGE_RENUMBERED;
}

static int number_items(struct merge_result *r, const struct merge_slot *slots,
                        const struct numbering *n, struct order *order) {
    size_t i, kept = 0, want = 0;
    int err;

    for (i = 0; i < r->count; i++) {
        struct merge_item *it = &r->items[i];

        if (!it->present)
            continue;
        it->state.uid = keep_uid(it, &slots[i], n);
        if (it->state.uid)
            order[kept++] = (struct order){it->state.uid, it};
    }
    take_back_twins(order, kept);
    for (i = 0; i < r->count; i++)
        if (r->items[i].present && !r->items[i].state.uid && slots[i].old_uid &&
            !as_it_is(&slots[i], n))
            order[want++] = (struct order){slots[i].old_uid, &r->items[i]};
    err = give_new(order, want, &r->next);
    for (i = 0; !err && i < r->count; i++)
        mark_renumbered(&r->items[i]);
    return err;
}

static size_t count_numbered(const struct merge_side *s) {
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++)
        n += s->entries[i].is && s->entries[i].now.uid != 0;
    return n;
}

/*
 * Its list had another V before, or nobody knows: numbers of that one may have been shown here. Or
 * it was begun after the mailbox had been merged without one: no node that is being filled.
 */
static bool had_another(const struct merge_side *s) {
    return base_age_lacks(s->base_version) ||
           ((s->base_valid || s->base_validity != 0) && s->base_validity != s->validity);
}

/*
 * Of two, the higher. But a node that is being filled may have been opened by a client before the
 * mailbox came to it, and Dovecot then began a list there, with the time of day as V: not the few
 * messages in that one, but the many of the other are what clients know. Of those there is no base
 * then. Of the few there may be one, if that node made the directory and the other has acknowledged
 * that, and the list.
 */
static bool gives_up(const struct merge_side *few, const struct merge_side *many) {
    return !many->base_valid && !had_another(few);
}

static uint32_t choose_validity(const struct merge_side *a, const struct merge_side *b) {
    if (a->validity != 0 && b->validity != 0) {
        size_t na = count_numbered(a), nb = count_numbered(b);

        if (na > nb && gives_up(b, a))
            return a->validity;
        if (nb > na && gives_up(a, b))
            return b->validity;
    }
    return max_u32(a->validity, b->validity);
}

/*
 * Dovecot commits its index under L, and other clients read that. What was given before is in the
 * peer's base or was synced, so after a power cut only the UIDs of the last L may be in an index
 * and in no list. The next block may be one that the other node, which has heard nothing of this
 * merge, raises to: so it is left out. 0: nothing can be.
 */
static uint32_t above_lost(const struct merge_side *s, uint32_t next, const struct merge_side *o,
                           uint32_t validity) {
    if (!s->cut || MUTANT(MUTANT_SHOWN_AGAIN))
        return 0;
    if (base_has(o, validity))
        next = max_u32(next, o->base_next);
    if (next == 0 || next > MAILDIR_UID_MAX - MERGE_LOST_UIDS)
        return next;
    uint32_t above = replica_unraised_uid(next, next + MERGE_LOST_UIDS);
    return above <= MAILDIR_UID_MAX ? above : next;
}

int merge_number(const struct merge_side *a, const struct merge_side *b, uint32_t gap,
                 struct merge_result *r, const struct merge_slot *slots) {
    struct numbering n = {.validity = choose_validity(a, b)};
    struct order *order = calloc(r->count ? r->count : 1, sizeof *order);
    int err;

    if (!order)
        return -ENOMEM;
    if (MUTANT(MUTANT_LOWER_VALIDITY) && a->validity != 0 && b->validity != 0)
        n.validity = a->validity < b->validity ? a->validity : b->validity;
    n.next_a = effective_next(a, n.validity);
    n.next_b = effective_next(b, n.validity);
    r->validity = n.validity;
    r->next = max_u32(n.next_a, n.next_b);
    if (MUTANT(MUTANT_LOWER_NEXT) && n.next_a != 0 && n.next_b != 0)
        r->next = n.next_a < n.next_b ? n.next_a : n.next_b;
    r->next = max_u32(r->next, max_u32(above_lost(a, n.next_a, b, n.validity),
                                       above_lost(b, n.next_b, a, n.validity)));
    if (gap > 0 && (gap > MAILDIR_UID_MAX || r->next > MAILDIR_UID_MAX - gap)) {
        err = -EOVERFLOW;
    } else {
        r->next += gap;
        err = number_items(r, slots, &n, order);
    }
    free(order);
    return err;
}
