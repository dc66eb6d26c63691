#ifndef SYNCD_REREAD_H
#define SYNCD_REREAD_H

/*
 * Notes what cannot be read when the peer asks for it (unread.h), and tries it again. Every
 * REREAD_LOOK_MS: is it another file by now, or gone? At each contact, and after longer and longer
 * times, up to REREAD_MS: can it be read? Then its mailbox is merged, and the peer has it, or
 * nobody.
 *
 * Of a volume, or of one of its one-way links. Loop thread.
 */

#include <stdbool.h>

#include "content.h"

#define REREAD_LOOK_MS 5000
#define REREAD_MS      (10 * 60 * 1000)

struct volume;
struct reread;

struct reread *reread_new(struct volume *v);
void reread_quiet(struct reread *r); /* nothing is begun any more; NULL is allowed, */
void reread_free(struct reread *r);  /* here with the work queues drained, too */

/* The peer has asked for this, and it ended with err. sb: of the file; st_ino 0: not known. False:
 * nothing is to be remembered of it. */
bool reread_failed(struct reread *r, const struct content_want *what, int err,
                   const struct stat *sb);
/* Something of the volume may have been noted by whoever listed it (unread_note()). NULL is
 * allowed.
 */
void reread_noticed(struct reread *r);
/* There is a connection. knows: the peer understands what is said of such a message; if not, the
 * mailbox waits for a person. */
void reread_contact(struct reread *r, bool knows);

#endif
