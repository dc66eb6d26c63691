#ifndef SYNCD_DRIVER_APPLY_H
#define SYNCD_DRIVER_APPLY_H

/*
 * What the machine says is to be applied, from the journal to the store, by workers; then the
 * machine hears of it. Loop thread only.
 */

#include "replica/replica.h"

struct volume;

/* RACT_APPLY. */
void driver_apply(struct volume *v, const struct replica_action *a);

/* At the start, of the journal of an earlier life; takes payload over. Begun by
 * driver_replay_go_on(), in this order. */
void driver_apply_replayed(struct volume *v, const struct mailfs_id *dir, uint64_t journal_id,
                           struct replica_payload *payload);
/* Has somebody L of one of their containers, as far as mailfs has said? */
bool driver_replay_is_locked(const struct volume *v);
void driver_replay_go_on(struct volume *v);

/*
 * A journalled transaction that only makes or moves directories need not wait for the L of their
 * parent, and must not: what follows in the new directory would find nothing there.
 */
void driver_apply_early(struct volume *v, const struct mailfs_id *dir,
                        struct replica_payload *payload);

/* After the machine has heard something: removals of directories whose turn has come. */
void driver_apply_go_on(struct volume *v);
void driver_apply_close(struct volume *v);

#endif
