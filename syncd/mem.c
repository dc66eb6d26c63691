/*
 * mem - allocations that end the daemon when they fail
 *
 * Diagnostics: "out of memory", then exit status 1.
 */
#include "mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"

void mem_out(const char *what) {
    log_error("out of memory (%s): ending, to be started again", what);
    _Exit(1);
}

/*
 * A merge of a large mailbox takes lists of megabytes and gives them back. Each thread had an arena
 * of its own, in which what others had given back was of no use; and what is given back once makes
 * malloc(3) take the next one of that size from an arena, too.
 */
void mem_sparingly(void) {
    enum { ARENAS = 2, ALONE = 128 << 10 };
    mallopt(M_ARENA_MAX, ARENAS);
    mallopt(M_MMAP_THRESHOLD, ALONE);
}

void *mem_new(size_t size) {
    void *p = calloc(1, size > 0 ? size : 1);
    if (p == NULL)
        mem_out("a record");
    return p;
}

void *mem_copy(const void *p, size_t n) {
    char *copy = mem_new(n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

char *mem_strdup(const char *s) {
    return s == NULL ? mem_copy("", 0) : mem_copy(s, strlen(s));
}
