/*
 * uidlist.h: dovecot-uidlist, version 3 (and, for reading, version 1).
 *
 *	3 V1700000000 N57 G0123...cdef [P... and others, kept]
 *	12 :1700000001.M1P2.host,S=120
 *	13 W140 :1700000002.M3P4.host
 *
 * Records ascend by UID; no flags. N is stale after appended records: the effective next UID is
 * max(N, last UID + 1). See maildir-uidlist.c in Dovecot. A base name stands in a list at most once
 * here; where a file names it twice the higher UID wins, as in Dovecot.
 *
 * Memory: one copy of the text and about 110 bytes a record. Bounded by the text, which is refused
 * beyond MAILDIR_UIDLIST_TEXT_MAX. Not thread-safe; distinct lists are independent. No I/O. Errors
 * are negative errno.
 */
#ifndef MAILDIR_UIDLIST_H
#define MAILDIR_UIDLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAILDIR_UIDLIST_TEXT_MAX (UINT32_C(1) << 30)
#define MAILDIR_UID_MAX          (UINT32_MAX - 1) /* Dovecot: uid < (uint32_t)-1 */

struct maildir_uidlist;

struct maildir_uidrec {
    uint32_t uid;
    const char *ext;  /* raw extension fields, "" or "W140 Gabc"; no ends */
    const char *base; /* base name */
};

/* Where and why a text was refused, or what is odd about it. */
struct maildir_uidlist_report {
    size_t line;          /* 1 is the header; 0: no error */
    const char *what;     /* static text; NULL: no error */
    bool torn;            /* the last line has no '\n', or NULs follow: ignored */
    size_t used;          /* bytes up to the end of the last whole line */
    size_t duplicates;    /* records dropped since a later one has the base */
    unsigned int version; /* 1 or 3 as read (formatting always gives 3) */
};

/* An empty list. guid is 32 hex digits or NULL. Returns 0, -EINVAL, -ENOMEM. */
int maildir_uidlist_new(uint32_t validity, uint32_t next, const char *guid,
                        struct maildir_uidlist **out);

/*
 * Read a whole file. Strict: -EBADMSG for what Dovecot would call corrupted (and then unlink), with
 * report->line and ->what; -EPROTONOSUPPORT for version 2 and unknown versions; -EFBIG; -ENOMEM. An
 * empty text is -ENODATA. A last line without '\n' is being appended right now, and NULs up to the
 * end are an append that a power cut has kept from the disk: ignored, report->torn. report may be
 * NULL.
 */
int maildir_uidlist_parse(const char *text, size_t len, struct maildir_uidlist **out,
                          struct maildir_uidlist_report *report);

/* Read only what was appended to the file since (begins at a line's start, see report->used) into
 * the list. On error the list holds the records before the broken line. */
int maildir_uidlist_parse_tail(struct maildir_uidlist *list, const char *text, size_t len,
                               struct maildir_uidlist_report *report);

void maildir_uidlist_free(struct maildir_uidlist *list); /* NULL is fine */

uint32_t maildir_uidlist_validity(const struct maildir_uidlist *list);
uint32_t maildir_uidlist_next(const struct maildir_uidlist *list); /* effective */
size_t maildir_uidlist_count(const struct maildir_uidlist *list);

/* The header's fields other than V and N, raw ("G0123... P5"); never NULL. Valid until the list
 * changes. */
const char *maildir_uidlist_header_rest(const struct maildir_uidlist *list);

/* Replace them: fields "<key><value>" separated by single spaces, none of key V or N, no control
 * characters; "" for none. 0, -EINVAL, -ENOMEM. */
int maildir_uidlist_set_header_rest(struct maildir_uidlist *list, const char *rest);

/* The i-th record in ascending order, i < count; a record by base or by UID, NULL if there is none.
 * Valid until the list changes. */
const struct maildir_uidrec *maildir_uidlist_at(const struct maildir_uidlist *list, size_t i);
const struct maildir_uidrec *maildir_uidlist_find(const struct maildir_uidlist *list,
                                                  const char *base, size_t len);
const struct maildir_uidrec *maildir_uidlist_find_uid(const struct maildir_uidlist *list,
                                                      uint32_t uid);

/* Index of the first record with UID >= uid (count if none): what was appended since. */
size_t maildir_uidlist_lower_bound(const struct maildir_uidlist *list, uint32_t uid);

/* N becomes at least n: it never goes down. */
void maildir_uidlist_raise_next_to(struct maildir_uidlist *list, uint32_t n);
/* Retire `gap` numbers: next becomes effective next + gap (saturating). */
void maildir_uidlist_raise_next(struct maildir_uidlist *list, uint32_t gap);
void maildir_uidlist_set_validity(struct maildir_uidlist *list, uint32_t v);

/* Add a record, or replace the one with that base. ext may be NULL. -EEXIST if the UID names
 * another base; -EINVAL for a bad UID, base or ext. */
int maildir_uidlist_put(struct maildir_uidlist *list, uint32_t uid, const char *ext,
                        const char *base);

/* Remove by base: 0 or -ENOENT. */
int maildir_uidlist_remove(struct maildir_uidlist *list, const char *base);

/* The whole file, malloc'ed, NUL-terminated (not counted). Returns 0 or -ENOMEM. */
int maildir_uidlist_format(const struct maildir_uidlist *list, char **out, size_t *len);

/* A received part of a list. */
struct maildir_uidlist_update {
    uint32_t validity;       /* 0: the list's own */
    uint32_t next;           /* 0: says nothing */
    const char *header_rest; /* NULL: says nothing; used only where the list's own header lacks a
                              * field of that key */
    const struct maildir_uidrec *recs; /* ascending by uid */
    size_t count;
};

enum maildir_uidlist_change {
    MAILDIR_UIDLIST_SAME,    /* nothing to write */
    MAILDIR_UIDLIST_APPEND,  /* the file plus result->append is the new list */
    MAILDIR_UIDLIST_REWRITE, /* write maildir_uidlist_format() anew */
};

struct maildir_uidlist_result {
    enum maildir_uidlist_change change;
    char *append; /* malloc'ed, the caller's; NULL unless APPEND */
    size_t append_len;
    size_t added;   /* records that are new */
    size_t rebound; /* bases that got another UID */
    size_t stale;   /* records ignored: base known under a higher UID */
};

/*
 * Bring a received set of records into the list. Idempotent: twice is once.
 *  - same (uid, base): nothing, except that an empty ext is filled;
 *  - a base known under a lower UID moves to the received, higher one; under a higher one, the
 *    received record is stale and ignored;
 *  - a UID that names another base: -EEXIST, and the list is unchanged;
 *  - N never goes down; a header N that only grows past the effective next needs a rewrite, since
 *    appended lines cannot say it;
 *  - update->validity higher: all records of the list go, V and the update's records replace them;
 *    lower: -ESTALE, unchanged.
 * Other errors: -EINVAL (not ascending, bad record), -ENOMEM; list unchanged.
 */
int maildir_uidlist_merge(struct maildir_uidlist *list, const struct maildir_uidlist_update *update,
                          struct maildir_uidlist_result *result);

#endif
