/* tree_priv.h: what the files of the tree's merge share. Nobody else's. */
#ifndef MAILFS_REPLICA_TREE_PRIV_H
#define MAILFS_REPLICA_TREE_PRIV_H

#include "replica/mutant.h"
#include "replica/tree_merge.h"

/* What one side knows of one directory, listed or not. */
struct tree_view {
    bool valid; /* the side has a base */
    uint64_t base_version;
    bool was, is, borrowed;
    struct tree_place old, now;
    struct tree_attr old_attr, attr;
    uint32_t old_validity;
    bool changed_inside;
    const struct tree_msg *msgs;
    size_t n_msgs;
    uint32_t validity;
    uint64_t version;
};

/* What is kept beside an item while the tree is put together. */
struct tree_slot {
    struct tree_view a, b;
    bool undone;     /* its move has been undone once */
    unsigned colour; /* of a walk upwards, see tree_shape.c */
};

struct tree_work {
    struct tree_item *items; /* ascending by id */
    struct tree_slot *slots; /* beside them */
    size_t count;
};

int tree_place_cmp(const struct tree_place *x, const struct tree_place *y);
/* Index of an id, or count. */
size_t tree_work_find(const struct tree_work *w, const struct mailfs_id *id);

/* The item by itself: present or not, place, attributes. */
void tree_decide(const struct tree_slot *slot, struct tree_item *it);

/* The whole: parents revived, circles broken, one directory in one place, depths. -ENOMEM. */
int tree_shape(struct tree_work *w);

#endif
