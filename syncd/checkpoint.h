#ifndef SYNCD_CHECKPOINT_H
#define SYNCD_CHECKPOINT_H

/*
 * Now and then: a new generation of marks, then store and base to disk, then the old marks of all
 * that is settled are cleared. At a clean stop once more, and nothing is left to compare.
 *
 * Loop thread only.
 */

#include <stdbool.h>

#ifndef CHECKPOINT_MS /* a test may be in a hurry */
#define CHECKPOINT_MS 10000
#endif
/* Between the end of one and the next that nothing hangs on. */
#define CHECKPOINT_PAUSE_MS 2000
/* While what has come since the last one cannot be noted; longer and longer, up to CHECKPOINT_MS.
 */
#define CHECKPOINT_RETRY_MS 500
/* Not later than when the base has so much of what is not on disk yet. */
#define CHECKPOINT_DIRTY_BYTES (8u * 1024u * 1024u)
/* A clean stop waits so long for mailfs's answer and the peer's acknowledgements. */
#define CHECKPOINT_STOP_MS 3000

struct volume;
struct checkpoint;

struct checkpoint *checkpoint_new(struct volume *v);
void checkpoint_free(struct checkpoint *c);

/* A mailbox has been merged: the base may have grown by all of it. NULL: at the end of a stop there
 * is none any more, and jobs still end. */
void checkpoint_look(struct checkpoint *c);

/* What has come since the last one could not be noted, and a kill would cost it (recent.h): now,
 * but CHECKPOINT_PAUSE_MS after the last one, since it may be so each time; and soon again until it
 * can be. NULL: likewise. */
void checkpoint_if_lost(struct checkpoint *c);

/* Now, or once more after the one that is under way: what is known now must not go with the power.
 * NULL: likewise. */
void checkpoint_soon(struct checkpoint *c);

/* All that differed at a contact is merged: a link that goes again soon has nothing to merge then.
 * But one that comes and goes all the time has the store synced each CHECKPOINT_PAUSE_MS at most.
 * NULL: likewise. */
void checkpoint_merged(struct checkpoint *c);

/* The clean stop: a last checkpoint; then volume_stopped(). */
void checkpoint_stop(struct checkpoint *c);

#endif
