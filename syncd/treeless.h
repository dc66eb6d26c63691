#ifndef SYNCD_TREELESS_H
#define SYNCD_TREELESS_H

/* Containers in which, or to which, something was not done that the peer did: the trees differ, and
 * are to be compared. Loop thread. */

#include <stdbool.h>

#include "util/id.h"

struct treeless;

/* err: what came of it, a negative errno; 0: it did not fit what is here. */
void treeless_put(struct treeless **set, const struct mailfs_id *id, int err);
bool treeless_has(struct treeless *set, const struct mailfs_id *id);
/*
 * An error of one of them that a merge of the trees would meet as well, whatever room there is,
 * that of id before another's; 0: none. Such a merge would be tried again for ever, and nothing at
 * all is applied meanwhile. What another one lacks may be in what that one could not make.
 */
int treeless_lasting(struct treeless *set, const struct mailfs_id *id);
void treeless_free(struct treeless **set);

#endif
