#ifndef SYNCD_ALIAS_H
#define SYNCD_ALIAS_H

/*
 * Ids that directories had. Of two directories that both nodes made under one name one gives up its
 * id. mailfs may tell of a change, or of the end of an L, under the old one for a moment still;
 * what that was is found by comparing the one that remains.
 */

#include "state.h"

int alias_note(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now);
/* Has a directory lost this id? Then the one that it has now is marked. 1, 0 or an error. */
int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now);
void alias_free(struct state *st);

#endif
