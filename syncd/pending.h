#ifndef SYNCD_PENDING_H
#define SYNCD_PENDING_H

/* For status: messages added here that the peer does not have yet. Cheap; any thread. */

#include "state.h"

struct pending_totals {
    uint64_t messages, bytes;
    uint64_t oldest_wall_ns; /* when the oldest of them came; 0: none */
};

/* Kept by collect, base_acked, merge: the driver only asks. */
void pending_totals(struct state *st, struct pending_totals *out);

/* At the start, for each marked container: counts what store has and base has not. Reads the
 * directory. */
int pending_rescan(struct state *st, const struct mailfs_id *dir);

void pending_add(struct state *st, const struct mailfs_id *dir, const char *base, uint64_t bytes);
void pending_del(struct state *st, const struct mailfs_id *dir, const char *base);
void pending_clear(struct state *st, const struct mailfs_id *dir);

#endif
