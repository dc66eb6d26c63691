#ifndef SYNCD_ALIAS_H
#define SYNCD_ALIAS_H

/*
 * Ids that directories had. Of two directories that both nodes made under one name one gives up its
 * id. mailfs may tell of a change, or of the end of an L, under the old one for a moment still;
 * what that was is found by comparing the one that remains.
 */

#include <stdbool.h>

#include "state.h"

/*
 * How many are remembered for good, and of more each for so long: nothing has a former id in hand
 * for an hour. mailfs is told of the new one at once, the peer goes by it from the end of the
 * tree's merge on, and after a new connection all is merged; an L is held for two minutes.
 */
#define ALIASES_KEPT 4096
#define ALIAS_MS     (60 * 60 * 1000)

/* An id that was given up for one that was given up, and so on. */
#define ALIAS_CHAIN_MAX 16

/* What is noted of its next UID by the old one is by the other, too (owed.h). */
int alias_note(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now);
/* A directory gets this id, perhaps again. */
void alias_end(struct state *st, const struct mailfs_id *id);
/* Which id has the directory that had this one? False: nobody has lost it. */
bool alias_now(struct state *st, const struct mailfs_id *old, struct mailfs_id *now);
/* The same, one step of several. */
bool alias_next(struct state *st, const struct mailfs_id *old, struct mailfs_id *next);
/* Has a directory lost this id? Then the one that it has now is marked. 1, 0 or an error. */
int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now);
void alias_free(struct state *st);

#endif
