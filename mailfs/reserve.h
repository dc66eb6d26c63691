#ifndef MAILFS_RESERVE_H
#define MAILFS_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Room on the store's disk for what must not fail once L is granted: Dovecot forgets the UIDs that
 * it could not write, and gives them again (DESIGN, "Failure"). Any thread.
 */

/* Once. Without room, or where a file system cannot keep any, this is tried again or does without.
 */
void reserve_init(void);

/* May L of this container be granted? 0, or -ENOSPC: its lists could not be written anew. */
struct inode;
int reserve_check(struct inode *container);

/* Is the store's disk nearly full? */
bool reserve_is_short(void);

/* Is this one of the lists that the owner of L writes? */
struct spot;
bool reserve_is_for(const struct spot *at);

/* A write of so many bytes in this container (NULL: it is not known) found no room: gives some up.
 * False: there is none left. */
bool reserve_give(struct inode *container, size_t size);

#endif
