#ifndef MAILFS_RAISE_H
#define MAILFS_RAISE_H

#include <stdint.h>

struct inode;

/*
 * Puts a gap before the next UID of a mailbox, so that this node's UIDs and those the other one may
 * be giving at the same time do not meet: as replica_raised_uid() computes it for `raise` (not 0).
 * The caller holds what guards the list. 1: done, durable; 0: there is no list, so nothing to
 * raise; -errno: the list is as it was, and L must not be granted.
 */
int raise_next_uid(struct inode *container, uint32_t raise);

/* The raise of a node that must do without syncd: the two nodes' differ. */
uint32_t raise_alone(void);

#endif
