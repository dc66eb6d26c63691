#ifndef SYNCD_OWED_H
#define SYNCD_OWED_H

/*
 * Mailboxes whose next UID is to be raised, since somebody may have given UIDs that their list does
 * not say: noted before that list is replaced, so that no end of syncd's, nor a disk that is full,
 * makes the next one grant L there as if nothing had been. By the id that the container has.
 *
 * Any thread. No diagnostics but those of state_fail().
 */

#include <stdbool.h>
#include <stddef.h>

#include "state.h"

struct db_val;

struct owed_dir {
    struct mailfs_id dir;
    bool raised; /* and once more when whoever may have had L then is known to be gone */
};

/* Also where it was raised before. Durable when it returns 0. */
int owed_note(struct state *st, const struct mailfs_id *dir);
/* Right behind that, in the mailbox's lane: so many starts that come to nothing raise it once. */
int owed_raised(struct state *st, const struct mailfs_id *dir);
/* Nobody is left who may write the list as he knew it; but where it was noted anew. */
int owed_paid(struct state *st, const struct mailfs_id *dir);
/* Before and after a container gets another id, which is the only one that the next life knows; the
 * first also by alias_note(). */
int owed_copy(struct state *st, const struct mailfs_id *former, const struct mailfs_id *now);
int owed_drop(struct state *st, const struct mailfs_id *dir);
/* Of such a record, in T_META: it outlives the base, being of the store. */
bool owed_is_key(const struct db_val *key);
/* What an earlier life has left; *dirs is the caller's. */
int owed_list(struct state *st, struct owed_dir **dirs, size_t *n);

#endif
