#ifndef MAILFS_LOCK_H
#define MAILFS_LOCK_H

/*
 * L, dovecot-uidlist.lock: who may create it, who holds it, and when it goes (DESIGN, "Tokens").
 *
 * States of a container's L here: none; wanted (LockOpen asked, the reply deferred); granted (being
 * made); held (its owner is watched); going (U asked, the reply deferred); shown (a lock that
 * stands for the peer's).
 */

#include <stdbool.h>
#include <sys/types.h>

#include "req.h"

#define LOCK_L_NAME "dovecot-uidlist.lock"

/* CREATE and MKNOD (fi NULL) of L in dir. Replies, now or later. */
void lock_create(fuse_req_t req, struct inode *dir, mode_t mode, const struct fuse_file_info *fi);

/* UNLINK of L in dir. Replies, now or later. */
void lock_unlink(fuse_req_t req, struct inode *dir);

/* Does somebody hold the L of that container? */
bool lock_is_held(struct dir *container);

/* Is this thread's process the one? */
bool lock_is_owner(struct dir *container, pid_t tid);

/*
 * A process has looked for a name that is not there; and, a file that was open for writing has been
 * closed. Whose mailbox was renamed while he had its L does not find it any more: lock_lost.c.
 */
void lock_sought(struct inode *dir, const char *name, pid_t tid);
void lock_file_closed(void);

/*
 * A container not known until now may have an L in the store. It is held as before if the worker
 * before this one left word of it; else whoever made it did so through a mailfs that is gone, and
 * it is removed; but not where it is a file like others (local).
 */
void lock_found(struct dir *container, bool local);

/* Watches the owners of locks that were taken over. Before there are requests. */
void lock_take_over(void);

/* ---- from the connection to syncd, with its lock held */

void lock_token_here(const struct mailfs_id *dir);

/* Was the token of that mailbox here when syncd was last heard? */
void lock_token_hint(const struct mailfs_id *dir, bool held);

/* syncd is there (anew): hints are void. */
void lock_forget_hints(void);

/* The connection is lost: locks shown for the peer go. */
void lock_forget_shown(void);

/*
 * Ids of all containers whose L is held, malloc'ed, the caller's; NULL: no memory. going: of those
 * instead that were taken over and whose U syncd may have been told, or not.
 */
struct mailfs_id *lock_ids(bool going, size_t *n);

#endif
