#ifndef MAILFS_IO_UNDO_H
#define MAILFS_IO_UNDO_H

/*
 * Expunged messages, kept for a while: STORE/.mailfs/undo/<container 32>/<file name>. The same
 * inode under another name, so keeping costs a rename. When it was expunged is its ctime, which the
 * rename sets. The directory has the mailbox's path, as it was then, in IO_UNDO_XATTR (a hint: a
 * mailbox that still lives is found by its id).
 *
 * Any thread, any process of the volume.
 */

#include "util/id.h"

#define IO_UNDO_NAME  "undo"
#define IO_UNDO_XATTR "user.mailfs.path"

/* Opens .mailfs/undo (own: of .mailfs), which is made if need be. A descriptor or -errno. */
int io_undo_open(int own);

/*
 * `name` in dirfd, a message of the container `dir`, is no longer there, but kept. path: the
 * container's, below the store. What was kept under this name before goes: it is the same message.
 * -ENOENT: there is no such name. After any other error it is where it was.
 */
int io_undo_keep(int undo, const struct mailfs_id *dir, const char *path, int dirfd,
                 const char *name);

/*
 * A copy that turned out to be damaged, or changed behind everybody's back, and is about to be
 * replaced: kept beside the expunged ones as another link, under IO_UNDO_DAMAGED and its name,
 * which no message has: it is for the administrator, and nobody gets it back as mail.
 */
#define IO_UNDO_DAMAGED ".damaged-"
int io_undo_keep_damaged(int undo, const struct mailfs_id *dir, const char *path, int dirfd,
                         const char *name);

#endif
