#ifndef MAILFS_EVENT_H
#define MAILFS_EVENT_H

/*
 * What syncd is told of a change that has been made: the rules of local.proto's Act, by what the
 * names mean. Unless said otherwise all within the change (change.h), in the thread of the request,
 * before its reply. pid: the caller's thread, which decides whether it belongs to the transaction
 * of L. Nothing here fails or waits.
 */

#include <sys/stat.h>
#include <sys/types.h>

#include "change.h"
#include "inode.h"

/* A name has come to be, of in, which is no directory. Before the new name becomes in's place. */
void event_appeared(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid);

/* The name is gone; mode: the type of what had it. */
void event_gone(const struct spot *at, mode_t mode, pid_t pid);

/* Something that is not a directory has a new name. */
void event_renamed(const struct spot *from, const struct spot *to, struct inode *in,
                   const struct stat *st, pid_t pid);

/* The attributes of in, whose place is at. */
void event_attr(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid);

/* The content of an open file was written: tells it if it was not told. Not within a change. */
void event_written(struct file *f);

/* The same for all such files of a container: before U. Not within a change. */
void event_written_all(struct dir *container);

/* The next UID was raised, under L, before L's owner saw it. */
void event_uidlist_raised(struct inode *container);

/* A directory: made, renamed (its place is the new one already), removed. */
void event_dir_made(const struct spot *at, struct inode *in, const struct stat *st, pid_t pid);
void event_dir_renamed(const struct spot *from, const struct spot *to, struct inode *in,
                       const struct stat *st, pid_t pid);
void event_dir_gone(const struct spot *at, struct inode *in, pid_t pid);

#endif
