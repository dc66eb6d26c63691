#ifndef SYNCD_PROMOTE_H
#define SYNCD_PROMOTE_H

#include <stddef.h>

#include "replica/replica.h"
#include "state.h"

struct volume;

/*
 * Raises the next UID of every mailbox of the store (replica_raised_uid), durably; *raised: how
 * many have one; inval: what mailfs has to forget, the caller's. While nothing else of the volume
 * runs (a barrier); nobody writes to a standby. What was raised stays so when a later one fails:
 * raising twice is harmless. 0 or the first -errno.
 */
int promote_raise_all(struct volume *v, enum replica_raise how, size_t *raised,
                      struct invals *inval);

/* The same for one, in its lane. None, or no list: nothing to do. */
int promote_raise_one(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                      struct invals *inval);

/*
 * The same, above what somebody may have given whose list was replaced (replica_raised_over()).
 *
 * tried: 0 at first, and as it was left when it is tried again after an error: a list that got its
 * name, and of which only that did not reach the disk, is not raised beyond that.
 */
int promote_raise_lost(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                       uint32_t *tried, struct invals *inval);

#endif
