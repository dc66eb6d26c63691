#ifndef SYNCD_ONEWAY_LOCK_H
#define SYNCD_ONEWAY_LOCK_H

/*
 * L for a merge of a one-way link that changes the store here, taken from the volume's own machine
 * as a process would. Where it is granted with a gap, syncd makes it: with the peer away for long
 * nobody may work in the mailbox, and the link would wait for as long.
 *
 * Loop thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/replica.h"
#include "util/id.h"

struct volume;

typedef void oneway_lock_fn(void *arg, int err);
/* fn, never from within: 0, or -EAGAIN: somebody else has it, mailfs went away or has yet to say
 * who has it, or the next UID could not be raised (logged). */
void oneway_lock(struct volume *link, const struct mailfs_id *dir, oneway_lock_fn *fn, void *arg);
/* Is it the link's still? mailfs serves without a syncd that it has lost, or takes for a stuck one,
 * and may have let a process have it. */
bool oneway_holds(struct volume *link, const struct mailfs_id *dir);
void oneway_unlock(struct volume *link, const struct mailfs_id *dir, bool changed);

/* The machine of v has answered a request for L; false: it is not one of ours. */
bool oneway_granted(struct volume *v, uint64_t req, enum replica_raise raise);
bool oneway_busy(struct volume *v, uint64_t req);

/* The machine has forgotten who waited (replica_mailfs_away()): they are answered. */
void oneway_mailfs_away(struct volume *v);
/* The machine is told which are held (replica_locks_are()): one that is granted and whose gap is
 * being made is nobody's any more, and one of these, that mailfs names, is who works in the
 * mount's. */
void oneway_grants_void(struct volume *v, const struct mailfs_id *dirs, size_t n);
/* Those that are held, for replica_locks_are(); 0 to ask how many. */
size_t oneway_locks_held(const struct volume *v, struct mailfs_id *dirs, size_t max);

void oneway_locks_free(struct volume *v);

#endif
