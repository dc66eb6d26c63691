#ifndef SYNCD_UNMERGED_H
#define SYNCD_UNMERGED_H

/* Mailboxes whose merge does not come to an end, and what is known here of why. Loop thread. */

#include <stdbool.h>

#include "util/id.h"

#define UNMERGED_WHY 256

struct unmerged;

/* What a round was at when it failed here. */
enum unmerged_at { UNMERGED_LIST, UNMERGED_FETCH, UNMERGED_MERGE };

/* What is wrong, where, and what can be done about it. err: negative errno. */
void unmerged_words(enum unmerged_at at, int err, char why[UNMERGED_WHY]);
/* A mailbox that one node lists and the other has not. */
#define UNMERGED_LONE                                                                              \
    "it is in the store of one node only, also after the directories were compared: look in both " \
    "logs for one that could not be made or removed"

/* Something of a round has failed here. */
void unmerged_failed(struct unmerged **all, const struct mailfs_id *dir, const char *why);
/* A round has come to nothing, with the connection up. True: somebody is to be told why: it is the
 * third in a row, or a later one for another reason. */
bool unmerged_put_off(struct unmerged **all, const struct mailfs_id *dir, char why[UNMERGED_WHY]);
/* It is merged. True: it had been told that it is not. */
bool unmerged_over(struct unmerged **all, const struct mailfs_id *dir);
void unmerged_free(struct unmerged **all);

#endif
