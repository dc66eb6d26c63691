#ifndef SYNCD_DRIVER_RAISE_H
#define SYNCD_DRIVER_RAISE_H

/*
 * The next UID of a mailbox is raised, since somebody may have given UIDs that its list does not
 * say. Loop thread only.
 */

#include "replica/replica.h"

struct volume;

/*
 * RACT_RAISE; in the mailbox's lane: ahead of the scan and the merge that follow. The machine hears
 * replica_raised() when it is done, and of nothing else, since L is granted there again then: what
 * fails is tried until it is done, or the next start.
 */
void driver_raise(struct volume *v, const struct replica_action *a);
/* At a start: what an earlier life has not done, or was to do once more (owed.h). 0 or an error:
 * then no L is to be granted. */
int driver_raise_left(struct volume *v);

#endif
