#ifndef SYNCD_RECENT_H
#define SYNCD_RECENT_H

/*
 * What the base has got since the last checkpoint, and which entries of the journal have been
 * applied: in memory, and in a file of the store that is written and never synced. It outlives
 * syncd, so that one that was killed goes on from where it was, and nothing that was changed here
 * meanwhile is taken for undone. It must not outlive what it is about, the store's own unsynced
 * changes: a file that another life of the file system wrote (io/life.h) is not believed, and
 * removed. Then the base is that of the last checkpoint, and all of the journal is applied again.
 *
 * STORE/.mailfs/recent-GENERATION is about what follows upon that base (see INTERFACES). With a
 * checkpoint another one begins, before anything is taken out of memory, and the former goes after
 * its commit: what is in both says the same. Without room for another one the former goes on, under
 * both names.
 *
 * Used by kv and journal; the others only tell what belongs together.
 */

#include "state_int.h"

/* At the start: the base and the journal as they were in memory, if that is known; see
 * st->recent.whole. What is put then is not written again. */
void recent_open(struct state *st);
void recent_close(struct state *st);
/* There is no base any more that it could be about. */
void recent_forget(struct state *st);

/* Between these, what this thread puts is written at the end, all of it or nothing: a transaction,
 * a merge. They may be nested; of one state at a time. */
void recent_begin(struct state *st);
void recent_end(struct state *st);

/* A key of the agreed base (val NULL: removed), or of the journal (NULL: applied). By itself, or
 * within recent_begin() with the state's mutex held. */
void recent_put(struct state *st, enum table t, const void *key, size_t nkey, const void *val,
                size_t nval);

/* A checkpoint to that generation is about to take what is in memory; it has been committed.
 * -ENOSPC, -EDQUOT: not now, there is no room even for a name; the file that is there goes on. */
int recent_next(struct state *st, uint64_t generation);
void recent_committed(struct state *st);
/* Something could not be noted: until the next checkpoint a start is as after a power cut. Any
 * thread. */
bool recent_is_lost(const struct state *st);

#endif
