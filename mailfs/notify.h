#ifndef MAILFS_NOTIFY_H
#define MAILFS_NOTIFY_H

/*
 * Telling the kernel what to forget. Mostly from threads of its own: these calls wait for locks
 * that a request which waits for us may hold; one mailbox's waiting does not keep another's from
 * running. Nothing here fails or blocks the caller.
 */

#include <stdbool.h>

#include "inode.h"
#include "wire/local.pb-c.h"

int notify_init(void);

/* No call into the session is made any more after this; waits for those under way. */
void notify_stop(unsigned at_most_ms);

/* The content of an inode. */
void notify_content(struct inode *in);

/*
 * What was written through the mount into `in`, as the store has it, if it is not large: the kernel
 * keeps only the pages of it that were written whole by one write(2). During a request that keeps
 * others from writing to it, such as an fsync. fd: a descriptor of it, readable or not.
 */
void notify_store(struct inode *in, int fd);

/* The attributes of a directory, at once: the kernel needs no lock for it. */
void notify_attr(struct inode *dir);

/* A name in a directory. */
void notify_name(struct inode *dir, const char *name);

/* All that the kernel may know of the store, but for open files' contents: nobody tells us what
 * changed. */
void notify_everything(void);

/* What syncd changed in the store: answered by Invalidated. Takes the message over. */
void notify_invalidate(Mfl__ToMailfs *m);

#endif
