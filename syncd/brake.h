#ifndef SYNCD_BRAKE_H
#define SYNCD_BRAKE_H

/*
 * The brake: where more than `brake` of a user's, or of the volume's, messages went within an hour,
 * whoever removed them and on whichever node, nothing that went since is cleared away from
 * .mailfs/undo until an administrator has said that it was meant (mailfsctl confirm). What is kept
 * there is all this looks at, so nothing is counted where mail is served, and a restart forgets
 * nothing.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct volume;
struct brake;

struct brake_held {
    char *path; /* of the topmost mailbox, below the store; "": the volume as a whole */
    uint64_t removed, present;
    int64_t since, at; /* wall clock, seconds: the first that went; when it was noticed */
};

/* NULL when it is switched off, or nothing is kept; the others allow it. */
struct brake *brake_new(struct volume *v);
void brake_quiet(struct brake *b); /* nothing is begun any more */
void brake_free(struct brake *b);  /* with the work queues drained */

/* What is held now; valid until the loop goes on. */
const struct brake_held *brake_list(const struct brake *b, size_t *n);
/* What went from then on is held; INT64_MAX: nothing is. */
int64_t brake_held_from(const struct brake *b);

/* It was meant: of one (path below the store), or NULL: of all. How many were held, or -errno. */
int brake_confirm(struct brake *b, const char *path);

#endif
