#ifndef SYNCD_MERGE_RUN_H
#define SYNCD_MERGE_RUN_H

/* Carries out the merge of a mailbox, and of the tree, on this node's store and base. */

#include <stdbool.h>

#include "state.h"

/*
 * mine: scanned frozen; theirs: the peer's frozen listing, its contents staged (content_lacks()).
 * The result is put into the store, durably, and is *proposed* as the base: it becomes the agreed
 * one with merge_mailbox_done(), and not before both have it; otherwise what only one of them has
 * would be taken for removed by the other the next time. digest is that base's, the same at the
 * peer. The container is marked. Messages to be removed are moved to STORE/.mailfs/kept/ until
 * merge_caught_up(). What lost against a newer version is kept there for good, and reported: in the
 * log, and by merge_kept(). -ENODATA: a content lacks (it appeared between the listings): put the
 * merge off.
 */
int merge_mailbox_run(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *mine,
                      const Mfp__Listing *theirs, uint8_t digest[STATE_DIGEST],
                      struct invals *inval);

/*
 * Does a listing say that nothing differs from its base? A merge with such a one changes nothing in
 * the store here, and so needs no L.
 */
bool merge_listing_is_base(const Mfp__Listing *l);
/* Of what a mailbox has once: UIDVALIDITY and next UID, the keyword table, the subscriptions. */
enum merge_part { MERGE_NUMBERS, MERGE_KEYWORDS, MERGE_SUBS, MERGE_PARTS };
bool merge_part_is_base(const Mfp__Listing *l, enum merge_part part);

/* RACT_MERGE_DONE: the result is the common base. RACT_MERGE_PUT_OFF: it will not be. */
int merge_mailbox_done(struct state *st, const struct mailfs_id *dir);
void merge_mailbox_forget(struct state *st, const struct mailfs_id *dir);
/* The same on a standby, of a one-way link: what came is in the base all the same (coming.h). */
void merge_mailbox_half(struct state *st, const struct mailfs_id *dir);
/* The same of all that were under way on this link when syncd ended. At the start. */
void merge_broken_off(struct state *st, bool standby);

/* How many losers are in STORE/.mailfs/kept/, until the administrator has removed them. Reads that
 * directory, if there may be any. */
uint64_t merge_kept(struct state *st);

/* From here on removed messages are kept back. Does not block. */
void merge_keep_back(struct state *st);
/* How often that was said. */
uint64_t merge_keep_turn(struct state *st);
/* Nothing was left to merge at that turn: removals kept back are carried out, unless a later one
 * has begun. While nothing else of the volume runs. */
int merge_caught_up(struct state *st, uint64_t turn);

/* The same for the tree. Messages of removed containers go to .mailfs/kept/ likewise. standby: this
 * node hands out no UIDVALIDITY. */
int tree_merge_run(struct state *st, const Mfp__Tree *mine, const Mfp__Tree *theirs, bool standby,
                   uint8_t digest[STATE_DIGEST], struct invals *inval);
/* Is there room for directories? 0, or the error. By making one, out of sight; and not on a disk
 * with less than 16 MiB left, where the merge might break off at the next one, or by the quotas of
 * those that own these n containers (what is not here is passed over) with less than 1 MiB. */
int tree_merge_room(struct state *st, const struct mailfs_id *in, size_t n);
/* Both have that result: what it removed is no longer in the base. While nothing else of the volume
 * runs. */
int tree_merge_settled(struct state *st);

#endif
