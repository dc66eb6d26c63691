#ifndef SYNCD_MERGE_OWN_H
#define SYNCD_MERGE_OWN_H

/*
 * What this node has of a mailbox's round: its latest listing, and whether L is held for it (of a
 * one-way link, whose machine does not freeze it). Loop thread. A table is NULL when it is empty.
 */

#include <stdbool.h>
#include <stdint.h>

#include "replica/replica.h"
#include "util/id.h"

struct own;

/* Takes the place of the one before; a reference is taken. locked: L is held from before it was
 * made until own_take_lock() or own_forget(). */
void own_keep(struct own **all, const struct mailfs_id *dir, uint32_t round,
              struct replica_payload *listing, bool locked);
/* Its reference is the caller's from now on, so that nobody holds a listing longer than the step it
 * is for; NULL: there is none, or it was taken. */
struct replica_payload *own_take(struct own *all, const struct mailfs_id *dir);
/* Has it any? */
bool own_is(struct own *all, const struct mailfs_id *dir);
/* Is this round still the one that is under way? */
bool own_is_of(struct own *all, const struct mailfs_id *dir, uint32_t round);

/* The other end has listed messages, or has numbers. */
void own_note_theirs(struct own *all, const struct mailfs_id *dir, bool some);
bool own_theirs_some(struct own *all, const struct mailfs_id *dir);

/* True: L was held for it, and is the caller's from now on. */
bool own_take_lock(struct own *all, const struct mailfs_id *dir);
bool own_forget(struct own **all, const struct mailfs_id *dir);

void own_free(struct own **all);

#endif
