/* merge_priv.h: what the files of the mailbox merge share. Nobody else's. */
#ifndef MAILFS_REPLICA_MERGE_PRIV_H
#define MAILFS_REPLICA_MERGE_PRIV_H

#include "replica/merge.h"
#include "replica/mutant.h"

/* What one side knows of one message, listed or not. */
struct merge_view {
    const struct merge_side *side;
    bool was, is, borrowed, put_back, lost, unread;
    bool half, half_here, half_there;
    struct merge_state old, now, half_mine, half_theirs;
    uint32_t v_old, v_now; /* the UIDVALIDITY that the two UIDs belong to */
};

/* What numbering needs to know of an item, beside it. */
struct merge_slot {
    bool from_a, from_b; /* whose UID the message may keep */
    bool renumber;       /* nobody's: it must get a new one if it had any */
    char as_at;          /* 'a', 'b': just as it is there, also 0, if it is of the result's V */
    uint32_t old_uid;    /* for the order in which new ones are given */
    uint32_t v_a, v_b;
};

/* Decide presence, state and content of one item from both views: everything but its UID. Fills
 * item and slot. */
void merge_decide(const struct merge_view *a, const struct merge_view *b, struct merge_item *item,
                  struct merge_slot *slot);

/* Give all items their UIDs, and r->validity and r->next. -EOVERFLOW, -ENOMEM. */
int merge_number(const struct merge_side *a, const struct merge_side *b, uint32_t gap,
                 struct merge_result *r, const struct merge_slot *slots);

#endif
