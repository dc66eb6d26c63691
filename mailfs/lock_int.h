#ifndef MAILFS_LOCK_INT_H
#define MAILFS_LOCK_INT_H

/* What lock.c and lock_tell.c share. */

#include "lock.h"
#include "upcall.h"

/* LockOpened, if there is a peer. */
void lock_tell_opened(const struct mailfs_id *dir, bool ok);

/* LockOpen and Unlock, asked; false: answered already, alone. */
bool lock_ask_open(const struct mailfs_id *dir, pid_t pid, upcall_fn *fn, void *arg);
/* again: the worker before this one may have asked. */
bool lock_ask_unlock(const struct mailfs_id *dir, bool again, upcall_fn *fn, void *arg);

/* Unlock of an owner that died. */
void lock_tell_died(const struct mailfs_id *dir, bool again);

/* Without syncd: must the next UID of this mailbox be raised before its next L? And: it was. */
bool lock_raise_is_due(const struct mailfs_id *dir);
void lock_raise_was_done(const struct mailfs_id *dir);

#endif
