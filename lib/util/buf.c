/*
 * buf - a growing byte buffer with a bound and an error that sticks
 *
 * Diagnostics: none; the first error is kept in the buffer.
 */
#include "util/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t max) {
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b) {
    free(b->p);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->err = 0;
    if (b->p != NULL)
        b->p[0] = '\0';
}

/* The NUL goes behind both ends: a caller that gives up does not leave an open string. */
void *buf_reserve(struct buf *b, size_t n) {
    if (b->err != 0)
        return NULL;
    if (n > b->max - b->len) {
        b->err = -EMSGSIZE;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap != 0 ? b->cap : BUF_FIRST;
        while (cap < need)
            cap *= 2;
        if (cap > b->max + 1) /* need is not: n was checked */
            cap = b->max + 1;
        char *p = realloc(b->p, cap);
        if (p == NULL) {
            b->err = -ENOMEM;
            return NULL;
        }
        b->p = p;
        b->cap = cap;
    }
    b->p[b->len] = '\0';
    b->p[b->len + n] = '\0';
    return b->p + b->len;
}

int buf_append(struct buf *b, const void *p, size_t n) {
    void *to = buf_reserve(b, n);
    if (to == NULL)
        return b->err;
    if (n > 0)
        memcpy(to, p, n);
    b->len += n;
    return 0;
}

int buf_add_str(struct buf *b, const char *s) {
    return buf_append(b, s, strlen(s));
}

int buf_add_char(struct buf *b, char c) {
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return b->err = b->err != 0 ? b->err : -EMSGSIZE;
    char *to = buf_reserve(b, (size_t)n);
    if (to == NULL)
        return b->err;
    va_start(ap, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, ap); /* its NUL is the one behind the last byte */
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

int buf_error(const struct buf *b) {
    return b->err;
}

const char *buf_str(const struct buf *b) {
    return b->p != NULL ? b->p : "";
}

char *buf_steal(struct buf *b, size_t *len) {
    char *p = b->p != NULL ? b->p : calloc(1, 1);
    if (len != NULL)
        *len = b->len;
    buf_init(b, b->max);
    return p;
}
