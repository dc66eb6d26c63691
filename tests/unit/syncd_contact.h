#ifndef TESTS_SYNCD_CONTACT_H
#define TESTS_SYNCD_CONTACT_H

/* A contact of the two nodes of a pair, step by step, as the driver does it. */

#include "syncd_pair.h"

/* Opens the two: a mailbox "u" with a folder .Work on both, a message in the folder, no marks. */
void contact_with_folder(struct pair *p, struct mailfs_id *inbox, struct mailfs_id *work);
void contact_mark(struct node *n, const struct mailfs_id *dir);
/* One round of a mailbox: 0, or what both said. */
int contact_merge_once(struct pair *p, const struct mailfs_id *dir, bool full);
/* The whole of a mailbox: a second round where the first one must be with full listings. */
void contact_mailbox(struct pair *p, const struct mailfs_id *dir);
/* Until both have the same tree; at most five rounds. How often what had been merged was not. */
int contact_trees(struct pair *p, bool full);
/* All of it, to the checkpoint; fails unless the two stores hold the same then. As the former. */
int contact_all(struct pair *p);

#endif
