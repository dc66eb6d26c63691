#ifndef MAILFS_IO_DIRID_H
#define MAILFS_IO_DIRID_H

/*
 * The permanent id of a container, kept in an extended attribute of its directory, so that it goes
 * along when the directory is renamed while nobody looks.
 *
 * Format: IO_DIRID_XATTR holds the 16 bytes of the id, nothing else. The root's all-zero id is not
 * stored: the caller knows its root. Any thread.
 */

#include "util/id.h"

#define IO_DIRID_XATTR "user.mailfs.id"

/*
 * fd: an open directory (not O_PATH). 0; -ENODATA: it has none; -EINVAL: not 16 bytes or all zero.
 */
int io_dirid_get(int fd, struct mailfs_id *id);

/* -EEXIST: there is one already. Durable with the next fsync of fd. -EOPNOTSUPP: mount option. */
int io_dirid_set(int fd, const struct mailfs_id *id);

/* Sets it, whatever there was (a copied directory gets an id of its own). */
int io_dirid_replace(int fd, const struct mailfs_id *id);

/* Reads it, or makes one. Two callers at once agree on one id. */
int io_dirid_ensure(int fd, struct mailfs_id *id);

#endif
