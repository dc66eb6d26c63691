/*
 * pool.c: memory that is freed as a whole
 *
 * Chunks of 4 KiB, then larger ones up to 256 KiB; what is larger than a chunk has one of its own.
 * Diagnostics: NULL when malloc has nothing left.
 */
#include "maildir/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct maildir_pool_chunk {
    struct maildir_pool_chunk *next;
    size_t size, used;
    _Alignas(8) char data[];
};

static struct maildir_pool_chunk *add_chunk(struct maildir_pool *pool, size_t need) {
    size_t size = pool->chunks ? pool->chunks->size * 2 : 4096;
    struct maildir_pool_chunk *c;

    if (size > 256 * 1024)
        size = 256 * 1024;
    if (size < need)
        size = need;
    c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    c->next = pool->chunks;
    c->size = size;
    c->used = 0;
    pool->chunks = c;
    return c;
}

void *maildir_pool_alloc(struct maildir_pool *pool, size_t n) {
    struct maildir_pool_chunk *c = pool->chunks;
    void *p;

    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + 7) & ~(size_t)7;
    if (!c || c->size - c->used < n)
        c = add_chunk(pool, n);
    if (!c)
        return NULL;
    p = c->data + c->used;
    c->used += n;
    return memset(p, 0, n);
}

char *maildir_pool_strndup(struct maildir_pool *pool, const char *s, size_t n) {
    char *p = n < SIZE_MAX / 2 ? maildir_pool_alloc(pool, n + 1) : NULL;

    if (p && n > 0)
        memcpy(p, s, n);
    return p;
}

void maildir_pool_free(struct maildir_pool *pool) {
    while (pool->chunks) {
        struct maildir_pool_chunk *c = pool->chunks;

        pool->chunks = c->next;
        free(c);
    }
}
