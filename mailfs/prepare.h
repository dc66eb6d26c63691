#ifndef MAILFS_PREPARE_H
#define MAILFS_PREPARE_H

/*
 * The fsync of a message in tmp/: its content goes to the peer while it goes to our own disk. An
 * inode whose content was prepared remembers the id, so that the names it gets in new/ and cur/
 * need no content of their own.
 *
 * Memory: 24 bytes an inode; one that was prepared and has got no name yet stays known until its
 * name in tmp/ is gone.
 */

#include <stdbool.h>
#include <stdint.h>

#include "req.h"

struct file;
struct inode;

/* Replies, now or later. at: the file's place, in a tmp/ that is not local. */
void prepare_fsync(fuse_req_t req, struct file *f, const struct spot *at, int datasync);

/* The id of the content as it is now; false: there is none. */
bool prepare_id(struct inode *in, uint64_t *seq, bool *named);

/* Is a prepared content still of use under this name: as a message, or in tmp/? */
bool prepare_is_for(const struct spot *at);

/* It has got a name in new/ or cur/. */
void prepare_named(struct inode *in);

/* Its last name went: the peer need not keep it, if it never got one in new/ or cur/. */
void prepare_dropped(struct inode *in);

/* Its content is about to be changed. */
void prepare_spoiled(struct inode *in);

/* Taken over: what its slot says was prepared by the worker before. */
void prepare_restore(struct inode *in);

/* Watches the authors of what was taken over and has no name yet. Before there are requests. */
void prepare_take_over(void);

/* in is being freed. */
void prepare_inode_gone(struct inode *in);

#endif
