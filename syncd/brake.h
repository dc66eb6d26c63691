#ifndef SYNCD_BRAKE_H
#define SYNCD_BRAKE_H

/*
 * The brake: where more than `brake` of a user's, or of the volume's, messages went within an hour
 * by what was done on this node, the other nodes are not told of it (hold.h), and nothing that went
 * since is cleared away from .mailfs/undo, until an administrator has said that it was meant
 * (mailfsctl confirm), or has it put back (mailfsctl confirm --undo).
 *
 * Where there are other nodes it is counted as it goes, and the volume is weighed twice a minute.
 * Without any, what .mailfs/undo keeps is looked at twice a minute, and nothing is held back.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/id.h"

struct volume;
struct brake;

struct brake_held {
    char *path; /* of the topmost mailbox, below the store; "": the volume as a whole */
    struct mailfs_id id;
    bool id_known; /* the others are not told; otherwise it is only kept */
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

/* A worker may have found that something is to be held, or has seen a held directory go. */
void brake_noticed(struct brake *b);

/* It was meant: of one (path below the store), or NULL: of all. How many were held, or -errno. */
int brake_confirm(struct brake *b, const char *path);

/* It was not: what went since is put back here, under the names it had. messages of mailboxes;
 * fn comes once, also when nothing was held (trees 0). */
struct brake_back {
    size_t trees;
    uint64_t messages;
    int err; /* the first one; what it was about is held still */
};
typedef void brake_back_fn(void *arg, const struct brake_back *back);
void brake_undo(struct brake *b, const char *path, brake_back_fn *fn, void *arg);

#endif
