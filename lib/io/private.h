#ifndef MAILFS_IO_PRIVATE_H
#define MAILFS_IO_PRIVATE_H

/*
 * Can only one user, and root, get to a mount point?
 *
 * That is so when the directory above it (the one that ".." leads to, whatever symbolic links the
 * path goes through) has mode 0700, no access control list, and lies on a file system of this
 * machine, where mode and owner are what decides. The store has to belong to that user, too: a
 * mount whose permissions nobody checks is for a store of one user. And that is not root: nobody
 * else would get there. Any thread.
 */

#include <stddef.h>
#include <sys/types.h>

/*
 * Of a mount point, mounted or not, and a store. 0 and *uid; or -errno and in why a sentence that
 * says what is wrong, where, and what to do.
 */
int io_private_check(const char *mount, const char *store, uid_t *uid, char *why, size_t n);

#endif
