#ifndef SYNCD_TREE_RUN_INT_H
#define SYNCD_TREE_RUN_INT_H

/* Shared by tree_run.c and tree_run_dirs.c. */

#include "replica/tree_merge.h"
#include "state_int.h"

struct tree_run {
    struct state *st;
    struct tree_result *result;
    const struct tree_item **order; /* by depth */
    struct invals *inval;
    bool full;    /* both listed everything */
    bool standby; /* no client is shown anything here */
};

/* tree_run_dirs.c. What gives an int: -ESTALE: the listing is old. */
/* It stays as it is here, whatever becomes of the base. */
bool tree_run_is_left(const struct tree_item *it);
/* Is it elsewhere, or called something else, afterwards? */
bool tree_run_moves(const struct tree_run *t, const struct tree_item *it);
/* Out of the tree, to where nobody looks. */
int tree_run_take_away(struct tree_run *t, const struct tree_item *it);
/* It goes; its messages are kept until everything is merged. */
int tree_run_take_out(struct tree_run *t, const struct tree_item *it);
/* Two ids were one directory to their users: this one gets the id that remains. */
int tree_run_join(struct tree_run *t, const struct tree_item *it);
/* One that came by the joining of ids is there already; otherwise it is made or put back. */
int tree_run_place(struct tree_run *t, const struct tree_item *it);
int tree_run_set_attr(struct tree_run *t, const struct tree_item *it);
/* The merge failed: what is still out of the tree goes back to where it was, parents first (those
 * whose parent is away itself succeed when that one is back). What cannot is for tree_recover(). */
void tree_run_undo(struct tree_run *t);

#endif
