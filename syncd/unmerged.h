#ifndef SYNCD_UNMERGED_H
#define SYNCD_UNMERGED_H

/* Mailboxes whose merge does not come to an end, and what is known here of why. Loop thread. */

#include <stdbool.h>

#include "util/id.h"

#define UNMERGED_WHY 128

struct unmerged;

/* Something of a round has failed here. */
void unmerged_failed(struct unmerged **all, const struct mailfs_id *dir, const char *why);
/* A round has come to nothing, with the connection up. True: somebody is to be told why: it is the
 * third in a row, or a later one for another reason. */
bool unmerged_put_off(struct unmerged **all, const struct mailfs_id *dir, char why[UNMERGED_WHY]);
/* It is merged. True: it had been told that it is not. */
bool unmerged_over(struct unmerged **all, const struct mailfs_id *dir);
void unmerged_free(struct unmerged **all);

#endif
