#ifndef MAILFS_POKE_H
#define MAILFS_POKE_H

/*
 * Waking what watches new/ or cur/ by inotify: creates and removes MAILDIR_POKE_NAME there, through
 * the mount, since only that makes events. The file exists in the kernel only.
 *
 * The directory can be locked by a request that waits (L): a thread of a pool waits there then, one
 * per directory at most, and later pokes of that directory count as the one that waits.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "inode.h"

/* mount_path is kept, not copied. */
int poke_init(const char *mount_path);

void poke(struct inode *dir);

/* Is this one of our poking threads? */
bool poke_is_mine(pid_t tid);

#endif
