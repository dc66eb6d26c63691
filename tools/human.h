#ifndef TOOLS_HUMAN_H
#define TOOLS_HUMAN_H

/* Figures as a person says them. All write NUL-terminated text and return buf. */

#include <stddef.h>
#include <stdint.h>

#define HUMAN_MAX 48

/* "0.4 s", "12 s", "5 min", "2 h 13 min", "3 d 4 h". Below 0 counts as 0. */
char *human_duration(double seconds, char buf[HUMAN_MAX]);

/* "0 bytes", "812 bytes", "34.5 KiB", "1.2 GiB". */
char *human_bytes(uint64_t bytes, char buf[HUMAN_MAX]);

/* "1 message", "1,204 messages". */
char *human_count(uint64_t n, const char *one, const char *many, char buf[HUMAN_MAX]);

/* Copies s for a terminal: what is not printable becomes '?'; NULL becomes "". */
char *human_text(const char *s, char *buf, size_t size);

#endif
