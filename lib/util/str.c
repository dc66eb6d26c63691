/*
 * str - strings that are copied whole or not at all
 *
 * Diagnostics: none; errors are returned.
 */
#include "util/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int str_copyn(char *dst, size_t size, const char *src, size_t n) {
    if (size == 0)
        return -ENAMETOOLONG;
    if (n >= size) {
        dst[0] = '\0';
        return -ENAMETOOLONG;
    }
    memcpy(dst, src, n);
    dst[n] = '\0';
    return 0;
}

int str_copy(char *dst, size_t size, const char *src) {
    return str_copyn(dst, size, src, strlen(src));
}

int str_printf(char *dst, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(dst, size, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < size)
        return 0;
    if (size > 0)
        dst[0] = '\0';
    return -ENAMETOOLONG;
}

bool str_starts(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix) {
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}

int str_to_u64(const char *s, uint64_t max, uint64_t *value) {
    uint64_t v = 0;
    if (*s == '\0')
        return -EINVAL;
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return -EINVAL;
        unsigned digit = (unsigned)(*s - '0');
        if (v > max / 10 || digit > max - v * 10)
            return -EINVAL;
        v = v * 10 + digit;
    }
    *value = v;
    return 0;
}

int str_hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
