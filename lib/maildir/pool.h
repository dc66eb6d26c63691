/*
 * pool.h: memory that is given out in pieces and freed as a whole.
 *
 * For the parsers of lib/maildir, whose lists hold many small strings of one life. Not thread-safe.
 * Pieces are aligned for pointers and 64-bit numbers.
 */
#ifndef MAILDIR_POOL_H
#define MAILDIR_POOL_H

#include <stddef.h>

struct maildir_pool_chunk;
struct maildir_pool {
    struct maildir_pool_chunk *chunks;
};

/* All zero is an empty pool. */
void *maildir_pool_alloc(struct maildir_pool *pool, size_t n); /* zeroed; NULL: no memory */
/* A copy with a NUL behind it. */
char *maildir_pool_strndup(struct maildir_pool *pool, const char *s, size_t n);
void maildir_pool_free(struct maildir_pool *pool); /* everything; empty again */

#endif
