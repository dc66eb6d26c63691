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

/* What went within the window, by the minute. Zeroed: nothing. Times are seconds of the wall clock;
 * one that goes back counts as the latest there was. */
#define BRAKE_MINUTES (BRAKE_WINDOW_S / 60)
struct brake_window {
    int64_t minute; /* the latest */
    uint32_t n[BRAKE_MINUTES];
};
void brake_window_add(struct brake_window *w, int64_t at, uint32_t n);
/* `part`, which is counted in w as well, is no longer. */
void brake_window_take(struct brake_window *w, struct brake_window *part, int64_t now);
/* *since: the minute in which the first of them went. */
uint64_t brake_window_sum(struct brake_window *w, int64_t now, int64_t *since);

/* Of n times, ascending, the most that lie within one window; *since: the first of these. */
size_t brake_most_at_once(const int64_t *times, size_t n, int64_t *since);

/*
 * What belongs together: the topmost mailbox above (or at) one, a user's INBOX as a rule. paths: of
 * all n mailboxes of which something was removed, below the store; is_mailbox tells of others. The
 * length of the part of path that names it; the whole of it if there is none above.
 */
typedef bool brake_is_mailbox_fn(void *arg, const char *path, size_t len);
size_t brake_tree_of(const char *path, const char *const *paths, size_t n,
                     brake_is_mailbox_fn *is_mailbox, void *arg);

#endif
