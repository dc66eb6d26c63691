#ifndef SYNCD_TXN_H
#define SYNCD_TXN_H

/*
 * What mailfs tells of one container becomes transactions for the machine: acts of the owner of L
 * are kept until U, others go at once. Collecting (what exactly changed) is disk work and is done
 * in the container's lane, so the order of the acts stays.
 *
 * While there is nobody to send to, nothing is kept: the marks remember what changed.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/id.h"
#include "wire/local.pb-c.h"

/* Acts of one transaction; a client that does more between L and U gets its mailbox merged instead.
 */
#define TXN_ACTS_MAX 1000000

struct volume;
struct txns;

struct txns *txns_new(struct volume *v);
void txns_free(struct txns *t);

/*
 * Of two directories that both nodes made under one name one gives up its id (alias.h). mailfs
 * hears of that a moment later. So the L of such a directory is known by the id it was granted
 * under, and granted under no other than the one that the directory has.
 */
struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *dir);
/* Is there an L that was granted under an id that this container had before? */
bool txns_former_locked(const struct txns *t, const struct mailfs_id *dir);
/* The machine grants L under an id that its container has lost since the question: it is asked
 * again, under the one it has. */
bool txns_granted_formerly(struct txns *t, uint64_t req, const struct mailfs_id *dir);

/* m holds an Act, and is taken. 0 or -EPROTO. */
int txns_act(struct txns *t, Mfl__ToSyncd **m);
/* The machine grants L: mailfs is told, or L given back if who asked is gone with his mailfs. */
void txns_granted(struct txns *t, uint64_t req, const struct mailfs_id *dir, uint32_t raise);
/* The granted L exists now, or could not be made. */
void txns_lock_opened(struct txns *t, const struct mailfs_id *dir, bool ok);
void txns_lock_granted(struct txns *t, const struct mailfs_id *dir);
/* There is an L, or is about to be, by what was granted and mailfs has told. */
bool txns_locked(const struct txns *t, const struct mailfs_id *dir);
/* In any container. */
bool txns_locked_any(const struct txns *t);
void txns_lock_forget(struct txns *t, const struct mailfs_id *dir); /* the machine is not told */
void txns_lock_open(struct txns *t, uint64_t req, const struct mailfs_id *asked);
/* U; req 0: nobody waits. */
void txns_unlock(struct txns *t, uint64_t req, const struct mailfs_id *dir);
/* U that was told before, and asked about again. */
void txns_unlock_again(struct txns *t, uint64_t req, const struct mailfs_id *dir);
/* mailfs is gone: what its open transactions did is found by a merge. */
void txns_abandon(struct txns *t);
/* These L's are there and no others. lost: the mount was not kept. */
void txns_locks_are(struct txns *t, const struct mailfs_id *dirs, size_t n, bool lost);
/* Acts kept for an open transaction of dir. */
size_t txns_open_acts(const struct txns *t, const struct mailfs_id *dir);

#endif
