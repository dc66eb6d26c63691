#ifndef SYNCD_SCAN_TREE_INT_H
#define SYNCD_SCAN_TREE_INT_H

/* Shared by the parts of tree_scan(). */

#include "base.h"
#include "scan.h"
#include "state_int.h"

/* A directory, as the base has it and as it is. */
struct node {
    UT_hash_handle hh;
    struct mailfs_id id;
    bool was, is, looked, marked, listed;
    bool told;           /* it is new, or gone again, and the peer may have it all the same */
    bool inside;         /* that was looked at: */
    bool changed;        /* something in it is not as in the base: */
    Mfp__TreeMsg **news; /* all that it is, if that can be said of it, and is little */
    size_t n_news;
    uint32_t validity; /* of these UIDs */
    struct mailfs_id old_parent, parent;
    char *old_name, *name;
    uint32_t mode, uid, gid;
};

struct tree {
    struct state *st;
    struct node *nodes;
    bool full;
    bool unmade;                  /* see scan_tree_make_held(), scan_tree_lose() */
    bool follows;                 /* see tree_scan_following() */
    struct state *const *lenders; /* scan.h */
    size_t n_lenders;
    size_t n_known;         /* see scan_tree_fill_msgs() */
    struct stage_pub *pubs; /* of all directories, once one of them has been asked for: */
    size_t n_pubs;
    bool has_pubs;
};

/* scan_tree.c */
struct node *scan_tree_find(struct tree *t, const struct mailfs_id *id);
struct node *scan_tree_get(struct tree *t, const struct mailfs_id *id); /* made if need be */
/* Where it is now; the base learns of a container it did not know, and of its handle. */
int scan_tree_place(struct tree *t, struct node *n, const struct mailfs_id *parent,
                    const char *name, int fd);
/* Where it is, or that it is not there, is what a lender is known to have. */
bool scan_tree_borrowed(const struct tree *t, const struct node *n);

/* scan_tree_read.c: the nodes of the base are there; these learn where they are, and others come */
int scan_tree_whole(struct tree *t);
int scan_tree_marked(struct tree *t);

/* scan_tree_held.c */
int scan_tree_make_held(struct tree *t, struct invals *inval);

/* scan_tree_lost.c */
int scan_tree_lose(struct tree *t);

/* scan_tree_inside.c: sets inside, changed and news of the nodes */
void scan_tree_look_inside(struct tree *t);

/* scan_tree_msgs.c: TreeDir.msgs */
#define SCAN_TREE_NEWS_MAX 16 /* of a directory; with more it lives, whatever they are */
/* false: of this message it cannot be said, or they are too many. */
bool scan_tree_note_new(const struct tree *t, struct node *n, const Mfp__Listing *l,
                        const Mfp__BaseMsg *m);
void scan_tree_forget_news(struct node *n);
/* Into d: what is new in one that is there, or what the base has in one that was removed. Of many
 * that were removed only the first say it (n_known); the others live if anything is new in them. */
int scan_tree_fill_msgs(struct tree *t, struct node *n, Mfp__TreeDir *d);

/* scan_tree_list.c */
int scan_tree_list(struct tree *t, Mfp__Tree *out);

#endif
