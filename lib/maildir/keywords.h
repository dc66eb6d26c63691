/*
 * keywords.h: dovecot-keywords, the table of keyword names.
 *
 *	0 Junk
 *	1 $Forwarded
 *
 * Lines "index name"; index 0..25 is the letter a..z in message file names. Names compare without
 * regard to ASCII case (RFC 9051 2.3.2, and maildir-keywords.c in Dovecot). Dovecot only ever adds
 * lines. It ignores indexes beyond 25; they are kept here.
 *
 * Memory: bounded by MAILDIR_KEYWORDS_MAX entries of MAILDIR_KEYWORD_LEN_MAX bytes. No I/O, not
 * thread-safe for one table. Errors are negative errno.
 */
#ifndef MAILDIR_KEYWORDS_H
#define MAILDIR_KEYWORDS_H

#include <stddef.h>
#include <stdint.h>

#include "maildir/name.h"
#include "maildir/set.h"

#define MAILDIR_KEYWORDS_MAX    1024u /* indexes 0..1023 */
#define MAILDIR_KEYWORD_LEN_MAX 1024u

struct maildir_keywords;

int maildir_keywords_new(struct maildir_keywords **out); /* empty; 0, -ENOMEM */

/* Read the file. Lines that Dovecot would skip (no index, no name, a name or an index seen before,
 * too long) are skipped and counted in *ignored, which may be NULL. A last line without '\n' counts
 * as a line. 0, -EFBIG, -ENOMEM. */
int maildir_keywords_parse(const char *text, size_t len, struct maildir_keywords **out,
                           size_t *ignored);

void maildir_keywords_free(struct maildir_keywords *kw); /* NULL is fine */

/* The file's text, by ascending index; malloc'ed, NUL-terminated. 0, -ENOMEM. */
int maildir_keywords_format(const struct maildir_keywords *kw, char **out, size_t *len);

size_t maildir_keywords_count(const struct maildir_keywords *kw);
/* One more than the highest index in use. */
unsigned int maildir_keywords_end(const struct maildir_keywords *kw);
/* Name at an index, NULL if free. */
const char *maildir_keywords_at(const struct maildir_keywords *kw, unsigned int i);
/* Index of a name, -ENOENT. */
int maildir_keywords_find(const struct maildir_keywords *kw, const char *name);
/* Set an index. -EEXIST if it has another name or the name another index; -EINVAL for a name with a
 * line end or none, -ERANGE, -ENOMEM. */
int maildir_keywords_put(struct maildir_keywords *kw, unsigned int i, const char *name);
/* Index of the name, given the lowest free one if it has none. -ENOSPC. */
int maildir_keywords_add(struct maildir_keywords *kw, const char *name);

/* Letters of `used` (bit i: 'a' + i) that have no name get "unknown-<i>", which is what Dovecot
 * would write. 0 or -ENOMEM/-EEXIST. */
int maildir_keywords_name_unknown(struct maildir_keywords *kw, uint32_t used);

/* What an index of one table is in the merged one; -1 for a free index. */
struct maildir_keywords_remap {
    int16_t to[MAILDIR_LETTERS];
};

/*
 * One table out of two, by name. A name keeps its letter where both agree or nobody else wants it;
 * of two names for one letter the lesser (by bytes) has it and the other gets the lowest free one;
 * a name with two letters gets the lower that is free, on the other side as well. Indexes from 26
 * on are for names that no letter is left for: they cannot stand in file names. Swapping a and b
 * gives the same table. ra and rb say where the letters of a and b went. As long as there are
 * letters that neither side has given a name, none goes where its side has another name: so they
 * can be moved before anything else means what they did. 0, -ENOSPC, -ENOMEM.
 */
int maildir_keywords_merge(const struct maildir_keywords *a, const struct maildir_keywords *b,
                           struct maildir_keywords **out, struct maildir_keywords_remap *ra,
                           struct maildir_keywords_remap *rb);

/*
 * The name at a letter is on its way to another one, which is free: that one says so, by a name of
 * its own that begins with this, and both are the same keyword to maildir_keywords_merge() and
 * _map(). So messages can be renamed from the one to the other without any of them saying something
 * else meanwhile. One that was on its way already, and has to go on, has it once more at each
 * letter. -EEXIST, -ENOENT, -ERANGE, -ENOMEM.
 */
#define MAILDIR_KEYWORD_MOVING "$mailfs-moving-"
int maildir_keywords_move(struct maildir_keywords *kw, unsigned int from, unsigned int to);

/* Letters of one side -> members of the merged table (unnamed ones vanish: call
 * maildir_keywords_name_unknown() before). Members beyond 127 vanish. */
struct maildir_set maildir_keywords_to_set(const struct maildir_keywords_remap *r,
                                           uint32_t letters);
/* Members -> letters of a file name; those from 26 on have none. */
uint32_t maildir_keywords_to_letters(struct maildir_set set);

/* Do all letters stay what they are, so that no file needs renaming for the table's sake? */
bool maildir_keywords_remap_is_identity(const struct maildir_keywords_remap *r);

/* A mapping of letters between tables by name alone (no merge): -1 where `to` lacks the name. For
 * names that travel with the sender's table. */
void maildir_keywords_map(const struct maildir_keywords *from, const struct maildir_keywords *to,
                          struct maildir_keywords_remap *r);

#endif
