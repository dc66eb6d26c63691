#ifndef SYNCD_DRIVER_MERGE_INT_H
#define SYNCD_DRIVER_MERGE_INT_H

/* Shared by driver_merge.c, driver_trees.c and driver_treeless.c. */

#include "content.h"
#include "driver_merge.h"
#include "merge_run.h"
#include "scan.h"
#include "unmerged.h"
#include "volume.h"

struct own;
struct lone;
struct idset;
struct treeless;

struct merges {
    struct volume *v;
    struct own *own;
    struct lone *lone;
    struct idset *misfits; /* of a link: the last merge did not fit what had been done between its
                            * listing and L for its result (merge_fits.c) */
    struct treeless *treeless;
    struct unmerged *unmerged;
    struct replica_payload *tree;
    bool tree_full;
    struct step *fetched;  /* all is here for these, and not synced, */
    struct step *settling; /* or a worker is at it */
    int settle_err;
    uint8_t trees[STATE_DIGEST]; /* agreed on in the last comparison */
};

/* An action that is being carried out. */
struct step {
    struct step *next; /* in fetched, settling */
    struct volume *v;
    struct mailfs_id dir;
    uint32_t round;
    bool full, frozen, locked, standby;
    bool anew;  /* of the trees: not at a contact */
    bool first; /* caught up: since the contact */
    bool peer_blank;
    bool follows;  /* oneway_only_follows(); of the trees: oneway_trees_only_follow() */
    uint64_t term; /* of this node's role */
    struct state *lenders[CONF_LINKS_MAX];
    size_t n_lenders;
    uint64_t turn;
    bool tried;    /* the merge was carried out, or was to be */
    bool treeless; /* dir is one of m->treeless, and is not listed before the trees are compared */
    struct mailfs_id *lacking; /* all such: what is not here may be in one of them */
    size_t n_lacking;
    int lasting;      /* why the trees are not to be compared */
    bool may_compare; /* they can be */
    bool tells;       /* that it cannot be merged: */
    char why[UNMERGED_WHY], path[256];
    struct replica_payload *mine, *theirs;
    /* results */
    int err;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *listing;
    Mfp__Tree *tree;
    struct scan_mark *marks;
    size_t n_marks;
    struct content_wants wants;
    struct invals inval;
};

/* With the arguments of the action, and what the peer sent. */
struct step *merges_step_new(struct merges *m, const struct replica_action *a);
/* After its answer: what the machine decides on it is carried out. */
void merges_step_free(struct step *s);

/* driver_trees.c: TREE_SCAN, TREE_RESCAN and TREE_MERGE; TREE_DONE; LIST_MARKS */
void merges_on_tree(struct merges *m, const struct replica_action *a);
void merges_on_tree_done(struct merges *m, const struct replica_action *a);
void merges_on_list_marks(struct merges *m, const struct replica_action *a);

/* driver_treeless.c: the loop's, but for merges_look_for_room() */

/* A mailbox that one node has and the other has not: no merge of mailboxes can settle that, one of
 * the trees can. */
bool merges_one_is_gone(const struct step *s);
/* After a merge: are the trees to be compared? What makes it on the other node may be on its way,
 * held back while its parent is merged. So not the first time: the next round is a second later. */
bool merges_lone_still(struct step *s);
void merges_lone_free(struct merges *m);
/* Before it is listed: what is known to be lacking (treeless, lacking, lasting). */
void merges_look_for_treeless(struct step *s);
/* By the worker, for what is not to be listed: what the round ends with, -ESTALE where there is
 * room and the trees may be compared. */
int merges_look_for_room(struct step *s);

#endif
