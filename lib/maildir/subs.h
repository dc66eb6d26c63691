/*
 * subs.h: the subscriptions file as a set of lines.
 *
 * Version 1 is one mailbox name a line; version 2 (Dovecot >= 2.2.17) begins with "V\t2\n\n" and
 * writes the parts of a name separated by tabs (subscription-file.c). Lines are opaque here but for
 * that. Order is kept, since people look at it; it means nothing.
 *
 * Memory: one copy of the text and about 80 bytes a line; at most MAILDIR_SUBS_TEXT_MAX bytes of
 * text. No I/O. Errors are negative errno.
 */
#ifndef MAILDIR_SUBS_H
#define MAILDIR_SUBS_H

#include <stdbool.h>
#include <stddef.h>

#define MAILDIR_SUBS_TEXT_MAX (16u << 20)
#define MAILDIR_SUBS_LINE_MAX 4096u

struct maildir_subs;

int maildir_subs_new(unsigned int version, struct maildir_subs **out);
/* Empty and doubled lines are dropped; a missing last '\n' is forgiven. NUL or a line too long:
 * -EBADMSG. -EFBIG, -ENOMEM. */
int maildir_subs_parse(const char *text, size_t len, struct maildir_subs **out);
void maildir_subs_free(struct maildir_subs *s); /* NULL is fine */
int maildir_subs_format(const struct maildir_subs *s, char **out, size_t *len);

unsigned int maildir_subs_version(const struct maildir_subs *s); /* 1 or 2 */
size_t maildir_subs_count(const struct maildir_subs *s);
const char *maildir_subs_at(const struct maildir_subs *s, size_t i);
bool maildir_subs_has(const struct maildir_subs *s, const char *line);

/* Idempotent: 1 changed, 0 was so already, -EINVAL for an impossible line, -ENOMEM. Added lines go
 * to the end. */
int maildir_subs_add(struct maildir_subs *s, const char *line);
int maildir_subs_remove(struct maildir_subs *s, const char *line);

/* Make a version 1 set a version 2 one: sep (Maildir++: '.') becomes the tab. */
int maildir_subs_upgrade(struct maildir_subs *s, char sep);

/* What changed: lines of `new_set` that `old_set` lacks, and the reverse, as two fresh sets (free
 * both). old_set or new_set may be NULL: empty. Versions must be equal or one set empty, else
 * -EINVAL (upgrade first). */
int maildir_subs_diff(const struct maildir_subs *old_set, const struct maildir_subs *new_set,
                      struct maildir_subs **added, struct maildir_subs **removed);

/* Apply such a difference: 1 changed, 0 nothing to do, or an error. */
int maildir_subs_apply(struct maildir_subs *s, const struct maildir_subs *added,
                       const struct maildir_subs *removed);

/*
 * Three-way merge; base NULL: union. A line is in iff it is in both, or only in one and not in the
 * base (added there). Lines of the base keep their order, the others follow in byte order: swapping
 * a and b gives the same text. a and b may be NULL (no file). The result has the higher version of
 * the two; lines of a version 1 side are translated with sep.
 */
int maildir_subs_merge(const struct maildir_subs *base, const struct maildir_subs *a,
                       const struct maildir_subs *b, char sep, struct maildir_subs **out);

#endif
