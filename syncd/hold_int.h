#ifndef SYNCD_HOLD_INT_H
#define SYNCD_HOLD_INT_H

/* Shared by the parts of hold. */

#include <pthread.h>

#include <uthash.h>

#include "hold.h"
#include "replica/brake.h"
#include "state_int.h"

/* The topmost mailbox of what belongs together; the root: the volume. */
struct hold_tree {
    UT_hash_handle hh;
    struct mailfs_id id;
    bool held;
    int64_t meant; /* up to then */
    struct brake_window window;
    uint64_t total; /* removed and present, when that was counted last; 0: not yet */
};

struct holds {
    pthread_mutex_t mutex;
    unsigned percent;
    struct hold_tree *trees;
    size_t n_held, trees_most;
    struct hold_trip *trips;
    size_t n_trips;
    struct mailfs_id *gone; /* directories to be made again */
    size_t n_gone;
};

#define HOLD_DEPTH_MAX 64 /* of directories */

/* The volume's state, which has the table. */
struct state *hold_top(struct state *st);
bool hold_go_up(struct state *st, struct mailfs_id *id);
/* dir is top, or below it. */
bool hold_is_below(struct state *st, const struct mailfs_id *dir, const struct mailfs_id *top);
void hold_tree_of(struct state *st, const struct mailfs_id *dir, struct mailfs_id *tree);
void hold_weigh(struct state *st, const struct mailfs_id *tree, uint64_t removed, int64_t since);

#endif
