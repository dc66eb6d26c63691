#ifndef SYNCD_RESTORE_H
#define SYNCD_RESTORE_H

/*
 * A mailbox of a standby becomes again what was agreed on with the node that it follows: its
 * uidlist, flags, keyword table and subscriptions. There is nothing to merge: a standby does
 * nothing of its own, so what differs was done to it below the mount. The source has no part in it.
 */

#include "state.h"

/*
 * A worker's, in the container's lane, while no link of the volume has begun a merge. lenders:
 * scan.h; what is theirs stays, and so does what they have not agreed on themselves
 * (check_is_lent()). A message that only this node has stays, too, with its UID where that is free.
 * The caller has kept the bad control files. 0, -ENOENT: nothing was agreed on; or an error.
 */
int restore_mailbox(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                    size_t n_lenders, struct invals *inval);

#endif
