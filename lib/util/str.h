#ifndef MAILFS_UTIL_STR_H
#define MAILFS_UTIL_STR_H

/* Small string helpers; no allocation, any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies src with its NUL. 0, or -ENAMETOOLONG with dst an empty string (never a cut name). */
int str_copy(char *dst, size_t size, const char *src);

/* "%.*s" into dst: n bytes of src and a NUL. Same results as str_copy(). */
int str_copyn(char *dst, size_t size, const char *src, size_t n);

/* snprintf(3) that reports truncation: 0 or -ENAMETOOLONG (dst then empty). */
int str_printf(char *dst, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* The whole of s is an unsigned decimal number <= max, without sign or space. 0 or -EINVAL. */
int str_to_u64(const char *s, uint64_t max, uint64_t *value);

/* What a hexadecimal digit of either case stands for; -1: it is none, as the NUL at an end. */
int str_hex_digit(char c);

#endif
