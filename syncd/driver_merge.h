#ifndef SYNCD_DRIVER_MERGE_H
#define SYNCD_DRIVER_MERGE_H

/*
 * Contact: tree, marks, listings and merges, each in a worker. Keeps the own listings of the rounds
 * under way, since a merge needs both.
 *
 * Loop thread only.
 */

#include <stdbool.h>

#include "replica/replica.h"

struct volume;
struct merges;

struct merges *merges_new(struct volume *v);
void merges_free(struct merges *m);

/* Is a round of this mailbox under way? */
bool merges_under_way(const struct merges *m, const struct mailfs_id *dir);

/*
 * Something that the peer did to the directories in it, or to it, could not be done here (err): on
 * a full disk, say; or does not fit what is here (0). No merge of this mailbox can tell of that. So
 * it stays to be merged, and nobody is in sync, until there is room; then the trees are compared.
 * After an error that room does not mend (treeless.h) not before the next contact.
 */
void merges_await_trees(struct merges *m, const struct mailfs_id *dir, int err);
bool merges_awaits_trees(const struct merges *m, const struct mailfs_id *dir);

/* Carries out one of the actions of contact; false: it is none of these. */
bool merges_action(struct merges *m, const struct replica_action *a);

#endif
