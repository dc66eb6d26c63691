#ifndef MAILFS_INODE_INT_H
#define MAILFS_INODE_INT_H

/* What inode.c, inode_place.c and inode_restore.c share. */

#include "inode.h"

/* Stands for a node id that no worker gave out, or whose slot was torn: ESTALE, and as a directory
 * one that was removed. */
extern struct inode inode_nobody;

/* Finds or makes it, without a place; a reference. A directory may have to be attached yet. */
int inode_take(const struct stat *st, const struct io_handle *h, struct inode **out);

/* Attaches the directories that the worker before this one knew; ends what nobody knows. */
int inode_restore_dirs(void);

void inode_name_copy(char to[NAME_MAX + 1], const char *from);

/* Finds the names of what was taken over and was in that directory, or in the directory that in was
 * in. */
void inode_seek_in(struct inode *dir);
void inode_seek(struct inode *in);

#endif
