#ifndef MAILFS_UTIL_BUF_H
#define MAILFS_UTIL_BUF_H

/*
 * A growing byte buffer with a bound. Once something did not fit (-EMSGSIZE) or memory was short
 * (-ENOMEM), the error sticks: later appends do nothing, and a caller may append a whole record and
 * look at buf_error() once. There is always a NUL behind the last byte (not counted in len).
 * Not for use by two threads at once.
 */

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p; /* NULL while empty; use buf_str() for a string that is never NULL */
    size_t len;
    size_t cap;
    size_t max; /* bytes it may grow to, without the NUL */
    int err;
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* ready for use again, same max */
void buf_reset(struct buf *b); /* empty, no error, memory kept */

int buf_append(struct buf *b, const void *p, size_t n);
int buf_add_str(struct buf *b, const char *s);
int buf_add_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for n more bytes, to be filled by the caller, who then adds n to len; NULL on error. */
void *buf_reserve(struct buf *b, size_t n);

int buf_error(const struct buf *b); /* 0, -EMSGSIZE or -ENOMEM */
const char *buf_str(const struct buf *b);

/* Hands the memory (malloc'ed, NUL-terminated, never NULL unless out of memory) to the caller. */
char *buf_steal(struct buf *b, size_t *len);

#endif
