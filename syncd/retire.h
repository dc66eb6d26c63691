#ifndef SYNCD_RETIRE_H
#define SYNCD_RETIRE_H

/*
 * A container goes, since the other node removed it: never with a message in it that was not part
 * of the removal, whenever that came in, and by whatever descriptor somebody holds.
 */

#include "state.h"
#include "store.h"

/* Was the message of this base name part of the removal? 1: yes; 0: no; or an error. */
typedef int retire_agreed_fn(void *arg, const char *base);

/*
 * d is the container, open, in the tree. While nothing else of it, or below it, is at work here (a
 * barrier). While there is something to merge, its messages go to .mailfs/kept/ (rule 5 of DESIGN).
 *
 *  0                  it is gone
 *  RETIRE_LIVES       it is back where it was, with *what in it ("a message", "a directory"); of
 *                     what was agreed on, some may be gone
 *  RETIRE_LEFT        the same, but its place is taken: it is in .mailfs/trash, and back beside its
 *                     place with the next comparison of the trees
 *  an error           it is back, or in .mailfs/trash like that
 */
#define RETIRE_LIVES 1
#define RETIRE_LEFT  2
/* inval may be NULL. */
int retire_dir(struct state *st, struct store_dir *d, retire_agreed_fn *agreed, void *arg,
               const char **what, struct invals *inval);

#endif
