/*
 * name.h: names of message files.
 *
 *	1700000000.M123P45.host,S=2345,W=2390:2,FSab
 *	|--------------- base ---------------| |-info-|
 *
 * The base, up to the first ':', is what identifies the message; the info is its mutable state:
 * flags (D F R S T, others kept) and keywords as letters a to z that dovecot-keywords translates
 * (keywords.h). Dovecot writes the characters after "2," in ascending ASCII order
 * (maildir-filename-flags.c).
 *
 * No I/O, no allocation, no global state: safe in any thread. Errors are negative errno.
 */
#ifndef MAILDIR_NAME_H
#define MAILDIR_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maildir/set.h"

#define MAILDIR_NAME_MAX 255 /* NAME_MAX: bytes, without the NUL */
#define MAILDIR_LETTERS  26  /* keywords that a file name can carry */

/* A parsed name. It points into the string it was made from, which must outlive it. */
struct maildir_name {
    const char *name;
    size_t len;
    size_t base_len;  /* up to the first ':', or len */
    const char *info; /* after the ':', NULL if there is none */
    size_t info_len;
    bool standard;            /* no info at all, or "2," and flags we can merge; otherwise info is
                               * to be kept verbatim */
    struct maildir_set flags; /* by ASCII code, letters a..z not included */
    uint32_t keywords;        /* bit i: letter 'a' + i */
    int64_t size;             /* ",S=": bytes in the file; -1 if absent or broken */
    int64_t vsize;            /* ",W=": bytes with CRLF line ends; likewise */
};

/* What a name that somebody else sent is expected to be. */
enum maildir_name_kind {
    MAILDIR_NAME_COMPONENT, /* any single path component */
    MAILDIR_NAME_MESSAGE,   /* a file in new/ or cur/, with or without info */
    MAILDIR_NAME_BASE,      /* the base of such a name */
};

/*
 * Is this a name of that kind? Every kind: 1..255 bytes, no '/', no NUL, not "." or "..". MESSAGE
 * and BASE also: does not begin with '.' (no Maildir reader looks at those) or ':' (an empty base),
 * and holds no CR or LF (a line of dovecot-uidlist could not name it). BASE: no ':'.
 * Returns 0 or -EINVAL (-ENAMETOOLONG when only the length is wrong).
 */
int maildir_name_check(const char *name, size_t len, enum maildir_name_kind kind);

/* Take a message's name apart. Returns 0, or what maildir_name_check() says of it as a MESSAGE. */
int maildir_name_parse(const char *name, size_t len, struct maildir_name *out);

/* The bytes of name that are its base. Never fails; for any string. */
size_t maildir_name_base_len(const char *name, size_t len);

/* Do the two NUL-terminated names have the same base? */
bool maildir_name_same_base(const char *a, const char *b);

/*
 * Write the name of a message with this state to buf, NUL-terminated, flags and letters in
 * canonical order: "base:2,FSab". In new/ a message without any is "base" alone (in_cur false).
 * flags may hold any printable ASCII except ',' ':' '/' and letters a..z; others are left out.
 * Returns the length, or -ENAMETOOLONG if it exceeds MAILDIR_NAME_MAX or cap.
 */
int maildir_name_format(char *buf, size_t cap, const char *base, size_t base_len, bool in_cur,
                        struct maildir_set flags, uint32_t keywords);

/* The same with an info that is carried verbatim ("base:info"). */
int maildir_name_format_info(char *buf, size_t cap, const char *base, size_t base_len,
                             const char *info, size_t info_len);

/* A flag set as text ("FS") and back. maildir_flags_format() writes at most 127 bytes and a NUL;
 * returns the length or -ENOSPC. Parsing refuses with -EINVAL what could not stand in a name:
 * letters a..z, ',' ':' '/', bytes that are not printable ASCII. */
int maildir_flags_format(char *buf, size_t cap, struct maildir_set flags);
int maildir_flags_parse(const char *text, size_t len, struct maildir_set *out);

#endif
