#ifndef MAILFS_POKE_H
#define MAILFS_POKE_H

/*
 * Waking what watches new/ or cur/ by inotify: creates and removes MAILDIR_POKE_NAME there, through
 * the mount, since only that makes events. The file exists in the kernel only.
 *
 * That is done by a process of its own, the poker. A thread of the worker's that waits for an
 * answer from the worker could not be ended if the worker died meanwhile: it would keep the
 * descriptor of /dev/fuse open, whose closing would end its waiting.
 *
 * The directory can be locked by a request that waits (L): a thread of the poker's waits there
 * then, one per directory at most, and later pokes of that directory count as the one that waits.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "inode.h"

/* Starts the poker: before there are threads. It closes all descriptors it does not need. */
int poke_fork(const char *mount_path);

/* Ends this worker, for another one to take over, when its poker dies. */
int poke_watch(void);

void poke(struct inode *dir);

/* Is this one of the poker's threads? */
bool poke_is_mine(pid_t tid);

#endif
