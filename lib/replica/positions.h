#ifndef MAILFS_REPLICA_POSITIONS_H
#define MAILFS_REPLICA_POSITIONS_H

/* Private to lib/replica: what the merge of a mailbox and that of the tree begin with. */

#include <stddef.h>

/*
 * The positions of n entries of `size` bytes, as ordered by compare. *out is the caller's to free.
 * With -EINVAL, two are equal, and -ENOMEM it is NULL.
 */
int positions_sort(const void *entries, size_t n, size_t size,
                   int (*compare)(const void *, const void *), size_t **out);

#endif
