/*
 * size.h: maildirsize, the quota file of Maildir++.
 *
 *	1000000S,2000C      limits ("0S": none)
 *	15000 3             bytes and messages
 *	-3000 -1            differences, appended with O_APPEND
 *
 * Each node keeps its own; what the peer delivers or removes is one more line. See quota-maildir.c
 *in Dovecot. Pure functions; negative errno.
 */
#ifndef MAILDIR_SIZE_H
#define MAILDIR_SIZE_H

#include <stddef.h>
#include <stdint.h>

#define MAILDIR_SIZE_NAME     "maildirsize"
#define MAILDIR_SIZE_LINE_MAX 48 /* room for any line with its NUL */

struct maildir_size {
    uint64_t limit_bytes; /* 0: none */
    uint64_t limit_count; /* 0: none */
    int64_t bytes;        /* sum of all lines */
    int64_t count;
    size_t lines; /* of differences, the first sum included */
};

/* "bytes count\n" to buf. Returns its length or -ENOSPC. */
int maildir_size_format(char *buf, size_t cap, int64_t bytes, int64_t count);

/* Read a file. -EBADMSG for a line that is none (Dovecot would recount then), -ENODATA for an empty
 * text, -EOVERFLOW. A limits line it does not know is forgiven, as in Dovecot. */
int maildir_size_parse(const char *text, size_t len, struct maildir_size *out);

#endif
