#ifndef SYNCD_HALF_H
#define SYNCD_HALF_H

/*
 * Merges that this node has carried out, and the peer is not known to have: of each message its
 * flags in the result, and those that the peer had when it was computed. The base is still the one
 * before, so what was set or cleared on the other node and came here that way would look like this
 * node's own doing, and what came and is gone again as if it had never come; the next merge takes
 * these for where the two went on from (merge.h).
 *
 * Of a mailbox there is that of the last merge. In memory, until the peer has the result, or syncd
 * ends: about 150 bytes and the name for each message whose flags are not the base's, that one node
 * alone had, or that has no base and did not have the same flags on both nodes. Of a one-way link
 * nothing of that is kept: it is followed in one direction (coming.h).
 */

#include "merge_int.h"

struct half_msg {
    UT_hash_handle hh;
    const char *mine, *theirs; /* infos, by the letters of this node's table; NULL: the message was
                                * not in the result, or not there then */
    uint32_t uid_mine, uid_theirs; /* 0: none */
    char name[];
};

/* Of what this merge makes: later than both bases, and than what either node has half of. */
uint64_t merge_age(const struct merge_run *m);
/* Of this merge, which has been carried out. */
int half_keep(struct merge_run *m);
void half_forget(struct state *st, const struct mailfs_id *dir);
/* The peer has it, too. What this node had published, and has merged with the name that its origin
 * gave it after all, needs not be known any more. */
int half_settled(struct state *st, const struct mailfs_id *dir);
/* A transaction has moved the base of this message: that is where both go on from now. */
void half_forget_msg(struct state *st, const struct mailfs_id *dir, const char *name);
void half_free(struct state *st);

/* For a listing; nothing changes it meanwhile. NULL: none. */
const struct half_msg *half_find(struct state *st, const struct mailfs_id *dir, const char *name);
/* Each name, which fn may not change anything of; until it returns something else than 0. */
int half_each(struct state *st, const struct mailfs_id *dir, int (*fn)(void *arg, const char *name),
              void *arg);
/* The version of the base where that merge has come to its end, as it is listed; 0: there is none.
 * with: the peer's life (Listing.life) when it was computed. */
uint64_t half_age(struct state *st, const struct mailfs_id *dir, uint64_t *with);

#endif
