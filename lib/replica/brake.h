#ifndef MAILFS_REPLICA_BRAKE_H
#define MAILFS_REPLICA_BRAKE_H

/*
 * Is so much being removed that somebody should be asked? Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BRAKE_WINDOW_S 3600
#define BRAKE_FLOOR    100 /* fewer messages than that are nobody's business */

/* Of removed + present messages, `removed` went within the window. percent 0: never. */
bool brake_trips(unsigned percent, uint64_t removed, uint64_t present);

/*
 * What belongs together: the topmost mailbox above (or at) one, a user's INBOX as a rule. paths: of
 * all n mailboxes of which something was removed, below the store; is_mailbox tells of others. The
 * length of the part of path that names it; the whole of it if there is none above.
 */
typedef bool brake_is_mailbox_fn(void *arg, const char *path, size_t len);
size_t brake_tree_of(const char *path, const char *const *paths, size_t n,
                     brake_is_mailbox_fn *is_mailbox, void *arg);

#endif
