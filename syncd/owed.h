#ifndef SYNCD_OWED_H
#define SYNCD_OWED_H

/*
 * Mailboxes whose next UID is to be raised, since somebody may have given UIDs that their list does
 * not say: noted before that list is replaced, so that no end of syncd's, nor a disk that is full,
 * makes the next one grant L there as if nothing had been.
 *
 * Any thread. No diagnostics but those of state_fail().
 */

#include <stddef.h>

#include "state.h"

/* Durable when it returns 0. */
int owed_note(struct state *st, const struct mailfs_id *dir);
/* It is raised, and nobody is left who may write the list as he knew it. */
int owed_paid(struct state *st, const struct mailfs_id *dir);
/* What an earlier life has left; *dirs is the caller's. */
int owed_list(struct state *st, struct mailfs_id **dirs, size_t *n);

#endif
