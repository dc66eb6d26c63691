#ifndef MAILFS_ACCESS_H
#define MAILFS_ACCESS_H

/*
 * Who may do what in a mount whose permissions the kernel does not check (access = "private").
 *
 * The kernel checks the way to the mount: the directory above it lets only one user in, and root
 * (io/private.h). So what comes from anybody else got in by some other way (a descriptor that was
 * handed over, a bind mount, a capability) and is refused here, each time. Of the user's own
 * requests those are refused that the kernel would refuse him, by the mode of the inode they name:
 * what is root's in the store stays root's, and nothing can be given away, nor be made to run with
 * the rights of others. What the kernel has in its cache it shows unasked: names that were looked
 * up and their attributes; so it may keep none of a directory that is not the user's.
 *
 * Where the kernel checks, all of this is passed over: each returns 0 then, or -EACCES or -EPERM.
 * Supplementary groups count only where a group is given (they have to be read from /proc): one
 * that others may not do either is refused to a group. Any thread.
 */

#include "vol.h"

#include <fuse_lowlevel.h>

struct inode;

/* want: as in access(2): R_OK, W_OK, X_OK, or 0: to get there. */
int access_inode(fuse_req_t req, fuse_ino_t ino, int want);

/* open(2) with these flags: before it is done, where it changes something (O_TRUNC); ... */
int access_open(fuse_req_t req, fuse_ino_t ino, int flags);

/* ... and of what we have opened so, before anybody else gets it: one call instead of three, 2 of
 * the 15 microseconds of a warm read. */
int access_opened(fuse_req_t req, int fd, int flags);

/* A name is made in dir; with `goes`, that name is removed, or another file gets it. */
int access_names(fuse_req_t req, fuse_ino_t dir, const char *goes);

/* What has this name goes to another directory: if it is a directory, its ".." is changed. */
int access_moves(fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to);

/* It gets one more name: one's own, or one that may be read and written (fs.protected_hardlinks).
 */
int access_link(fuse_req_t req, fuse_ino_t ino);

/* open: through a file that is open for writing. May clear a bit of attr->st_mode, as the kernel
 * does. */
int access_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, bool open);

/* May the kernel keep names in this directory, and go through it without asking? */
bool access_names_live(const struct inode *dir);

/* Is the caller in this group? */
bool access_in_group(fuse_req_t req, gid_t gid);

#endif
