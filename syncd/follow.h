#ifndef SYNCD_FOLLOW_H
#define SYNCD_FOLLOW_H

/*
 * The listing of a mailbox by a standby that follows one node alone (oneway_is_sole()).
 *
 * Nothing in it is the standby's own doing. So what was done to it below the mount is not merged,
 * which would bring it to the source, or be tried for ever with one that is watched: flags, UIDs,
 * the list, keywords and subscriptions are put back to what was agreed on, and then it is listed.
 * What else is there, and was never agreed on, or is no message and another than it was, is listed
 * as borrowed, and so is left where it is.
 */

#include "scan.h"

struct invals;

/*
 * Also as scan_mailbox_following(). inval: what was put back. A worker's, in the container's lane.
 * As that does, and nothing more, where the base may lack what is here, since a merge has not come
 * to its end or the power was cut.
 */
int follow_list(struct state *st, const struct mailfs_id *dir, bool full, Mfp__Listing **out,
                struct invals *inval);

#endif
