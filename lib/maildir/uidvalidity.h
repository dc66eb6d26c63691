/*
 * uidvalidity.h: where Dovecot finds the next UIDVALIDITY of a user.
 *
 * The file dovecot-uidvalidity holds eight hex digits; beside it an empty file
 * dovecot-uidvalidity.XXXXXXXX says the same in its name, and the rename to the next value is what
 * makes taking one atomic (mailbox-uidvalidity.c). When they disagree the highest wins. Pure
 * functions; negative errno.
 */
#ifndef MAILDIR_UIDVALIDITY_H
#define MAILDIR_UIDVALIDITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAILDIR_UIDVALIDITY_NAME     "dovecot-uidvalidity"
#define MAILDIR_UIDVALIDITY_NAME_MAX 32 /* room for the longest with its NUL */

/* The value in the name "dovecot-uidvalidity.XXXXXXXX": 0, or -EINVAL if the name is not of that
 * form. 1 to 8 digits are read, as Dovecot does. */
int maildir_uidvalidity_from_name(const char *name, size_t len, uint32_t *value);

/* The value in the file. -EINVAL if it is none (then the names decide). */
int maildir_uidvalidity_parse(const char *text, size_t len, uint32_t *value);

/* "XXXXXXXX" (9 bytes with NUL), and "dovecot-uidvalidity.XXXXXXXX". Both return the length or
 * -ENOSPC. */
int maildir_uidvalidity_format(char *buf, size_t cap, uint32_t value);
int maildir_uidvalidity_format_name(char *buf, size_t cap, uint32_t value);

/* Of two values known, the one both go on from. */
uint32_t maildir_uidvalidity_join(uint32_t a, uint32_t b);

/* The first one from v on that a node may hand out: odd ones the lower-named, even ones the other.
 */
uint32_t maildir_uidvalidity_own(uint32_t v, bool lower);

#endif
