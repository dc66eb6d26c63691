/*
 * uidvalidity.c: dovecot-uidvalidity and its companion's name
 *
 * Diagnostics: none.
 */
#include "maildir/uidvalidity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/str.h"

/* 0 is no UIDVALIDITY (RFC 9051: nz-number). */
static int parse_hex(const char *p, size_t len, uint32_t *value) {
    uint32_t v = 0;
    size_t i;

    if (len < 1 || len > 8)
        return -EINVAL;
    for (i = 0; i < len; i++) {
        int d = str_hex_digit(p[i]);

        if (d < 0)
            return -EINVAL;
        v = v << 4 | (uint32_t)d;
    }
    if (v == 0)
        return -EINVAL;
    *value = v;
    return 0;
}

int maildir_uidvalidity_from_name(const char *name, size_t len, uint32_t *value) {
    static const char prefix[] = MAILDIR_UIDVALIDITY_NAME ".";
    size_t n = sizeof prefix - 1;

    if (len <= n || memcmp(name, prefix, n) != 0)
        return -EINVAL;
    return parse_hex(name + n, len - n, value);
}

int maildir_uidvalidity_parse(const char *text, size_t len, uint32_t *value) {
    /* Dovecot reads the first eight bytes and no more */
    return parse_hex(text, len > 8 ? 8 : len, value);
}

int maildir_uidvalidity_format(char *buf, size_t cap, uint32_t value) {
    int n = snprintf(buf, cap, "%08" PRIx32, value);

    return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
}

int maildir_uidvalidity_format_name(char *buf, size_t cap, uint32_t value) {
    int n = snprintf(buf, cap, MAILDIR_UIDVALIDITY_NAME ".%08" PRIx32, value);

    return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
}

uint32_t maildir_uidvalidity_join(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

uint32_t maildir_uidvalidity_own(uint32_t v, bool lower) {
    return v % 2 == (lower ? 1 : 0) ? v : v + 1;
}
