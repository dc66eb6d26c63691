/*
 * size.c: maildirsize
 *
 * Diagnostics: none; a file that does not read as one is -EBADMSG, and the right thing to do then
 * is nothing: Dovecot counts anew.
 */
#include "maildir/size.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int maildir_size_format(char *buf, size_t cap, int64_t bytes, int64_t count) {
    int n = snprintf(buf, cap, "%" PRId64 " %" PRId64 "\n", bytes, count);

    return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
}

/* A decimal number at *p, before end; false if there is none or it is too big. */
static bool take_number(const char **p, const char *end, uint64_t *v) {
    const char *s = *p;

    *v = 0;
    while (s < end && *s >= '0' && *s <= '9') {
        if (*v > (UINT64_MAX - 9) / 10)
            return false;
        *v = *v * 10 + (uint64_t)(*s++ - '0');
    }
    if (s == *p)
        return false;
    *p = s;
    return true;
}

static bool take_signed(const char **p, const char *end, int64_t *v) {
    bool neg = *p < end && **p == '-';
    uint64_t u;

    if (*p < end && (**p == '-' || **p == '+'))
        ++*p;
    if (!take_number(p, end, &u) || u > INT64_MAX)
        return false;
    *v = neg ? -(int64_t)u : (int64_t)u;
    return true;
}

/* "1000S,20C"; what is not understood is skipped up to the next comma. */
static void parse_limits(const char *p, const char *end, struct maildir_size *out) {
    uint64_t v;

    while (p < end) {
        if (take_number(&p, end, &v) && p < end && (p + 1 == end || p[1] == ',')) {
            if (*p == 'S' && v != 0)
                out->limit_bytes = v;
            else if (*p == 'C' && v != 0)
                out->limit_count = v;
        }
        while (p < end && *p != ',')
            p++;
        if (p < end)
            p++;
    }
}

static void skip_blanks(const char **p, const char *end) {
    while (*p < end && (**p == ' ' || **p == '\t'))
        ++*p;
}

static int parse_difference(const char *p, const char *end, struct maildir_size *out) {
    int64_t bytes, count;

    skip_blanks(&p, end); /* Courier pads its lines to 14 bytes */
    if (!take_signed(&p, end, &bytes))
        return -EBADMSG;
    skip_blanks(&p, end);
    if (!take_signed(&p, end, &count))
        return -EBADMSG;
    skip_blanks(&p, end);
    if (p != end)
        return -EBADMSG;
    if (__builtin_add_overflow(out->bytes, bytes, &out->bytes) ||
        __builtin_add_overflow(out->count, count, &out->count))
        return -EOVERFLOW;
    out->lines++;
    return 0;
}

int maildir_size_parse(const char *text, size_t len, struct maildir_size *out) {
    const char *p = text, *end = text + len, *eol;
    bool first = true;
    int err;

    memset(out, 0, sizeof *out);
    if (len == 0)
        return -ENODATA;
    for (; p < end; p = eol + 1, first = false) {
        eol = memchr(p, '\n', (size_t)(end - p));
        if (!eol)
            eol = end;
        if (first)
            parse_limits(p, eol, out);
        else if ((err = parse_difference(p, eol, out)) != 0)
            return err;
        if (eol == end)
            break;
    }
    return 0;
}
