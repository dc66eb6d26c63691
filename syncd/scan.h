#ifndef SYNCD_SCAN_H
#define SYNCD_SCAN_H

/* What a container, or the tree, holds now against the base. */

#include "state.h"

/* First of a listing's subs or subs_base: the file is of version 2 (lib/maildir/subs.h). */
#define SCAN_SUBS_V2      "V\t2"
#define SCAN_KEYWORDS_MAX (1u << 20) /* bytes of dovecot-keywords */

/*
 * full: everything, else what differs from the agreed base. The caller sets round and frozen in
 * *out. A container that is not in the store gives a listing with `gone`. Memory: the listing, and
 * the names of the container.
 */
int scan_mailbox(struct state *st, const struct mailfs_id *dir, bool full, Mfp__Listing **out);

/*
 * The same, on a standby that follows several nodes, for the link with one of them. lenders: the
 * states of the links with the others (oneway_lenders()). What is here, or is not, as one of these
 * is known to have it is listed as borrowed: messages, files that are no mail, subscriptions.
 */
int scan_mailbox_for(struct state *st, const struct mailfs_id *dir, bool full,
                     struct state *const *lenders, size_t n_lenders, Mfp__Listing **out);

/*
 * The same, where this node has removed nothing itself (oneway_only_follows()): a message or a file
 * that the base has and the store has not is lost, and not listed as removed, so that it comes
 * again from the other end. One that is borrowed so was removed by that one. A container that is
 * not in the store is marked: with the trees it is made again.
 */
int scan_mailbox_following(struct state *st, const struct mailfs_id *dir, bool full,
                           struct state *const *lenders, size_t n_lenders, Mfp__Listing **out);

/* Containers that are marked or whose parent is marked, and all above them; full: all. Gives ids to
 * containers without one, and new ones to copies. digest: the base's, as base_tree_digest(). */
int tree_scan(struct state *st, bool full, Mfp__Tree **out, uint8_t digest[STATE_DIGEST],
              struct invals *inval);
/* On a standby that follows several nodes, as scan_mailbox_for(): a directory that is where one of
 * the lenders is known to have it, or not there as it is not there, is listed as borrowed. */
int tree_scan_for(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                  Mfp__Tree **out, uint8_t digest[STATE_DIGEST], struct invals *inval);
/* As scan_mailbox_following(): a directory that is lost is in the base no more. */
int tree_scan_following(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                        Mfp__Tree **out, uint8_t digest[STATE_DIGEST], struct invals *inval);

/* Which containers to merge: marked ones with their base digests, or (full) all. malloc'ed. */
struct scan_mark {
    struct mailfs_id dir;
    uint8_t digest[STATE_DIGEST];
    uint32_t used; /* when its new/ or cur/ last changed, seconds; 0: no message is in it */
    bool left;     /* not to be merged: the other end does not have it, and it is a lender's */
};
int scan_marks(struct state *st, bool full, struct scan_mark **marks, size_t *n);
int scan_marks_for(struct state *st, bool full, struct state *const *lenders, size_t n_lenders,
                   struct scan_mark **marks, size_t *n);
/* It is not in the store, and was never agreed on: no merge of it can say anything. */
bool scan_is_nowhere(struct state *st, const struct mailfs_id *dir);
bool scan_is_left(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                  size_t n_lenders);

#endif
