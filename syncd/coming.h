#ifndef SYNCD_COMING_H
#define SYNCD_COMING_H

/*
 * What a merge of a one-way link brings here, until both ends have its result.
 *
 * A standby is followed in one direction: what it has got from the other end is not its own, to
 * bring to another node that it follows besides, or back to where it is from when it was undone
 * there meanwhile. The base says so when the merge is over. But the connection can end before that,
 * the disk can be full, syncd can be killed between two files. So before anything is changed in the
 * store it is noted how the other end has what this one is to get. What is in the store just so
 * afterwards both have, and it becomes part of this end's base. That of the other end is then the
 * later of the two (BASE_AGE_LACKS): it is right about what only one of them knows.
 *
 * It is kept with the base, and so known as long as what was put into the store is (recent.h).
 * About 100 bytes for each message that comes, changes or goes, until the merge is over. An active
 * end notes it, too, and never takes anything: it takes no mail from a standby's word.
 */

#include "merge_int.h"

/* Of this merge, which is about to be carried out. */
int coming_note(struct merge_run *m);
/* It will not come to its end: what is in the store of it by now is in the base. */
int coming_take(struct state *st, const struct mailfs_id *dir);
/* It has, or does not count. */
int coming_forget(struct state *st, const struct mailfs_id *dir);
/* At the start, of each merge that was under way: take or forget. */
int coming_load(struct state *st, bool take);

#endif
