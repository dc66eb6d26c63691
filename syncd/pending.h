#ifndef SYNCD_PENDING_H
#define SYNCD_PENDING_H

/* For status: messages added here that the peer does not have yet. Cheap; any thread. */

#include "state.h"

struct pending_totals {
    uint64_t messages, bytes;
    uint64_t oldest_wall_ns; /* when the oldest of them came; 0: none */
};

/* Kept by collect, base_acked, merge: the driver only asks. What a merge gives the peer does not
 * count from when this node has carried it out. */
void pending_totals(struct state *st, struct pending_totals *out);

/* At the start, for each marked container, and where a merge came to nothing that this node had
 * carried out: counts what store has and base has not. Reads the directory. */
int pending_rescan(struct state *st, const struct mailfs_id *dir);

void pending_add(struct state *st, const struct mailfs_id *dir, const char *base, uint64_t bytes);
void pending_del(struct state *st, const struct mailfs_id *dir, const char *base);
void pending_clear(struct state *st, const struct mailfs_id *dir);
/* All mailboxes are merged, and nothing else is done to this state meanwhile: what is not on its
 * way by now the peer has, or it is gone, whatever we were told of it, and when. */
void pending_merged(struct state *st);

#endif
