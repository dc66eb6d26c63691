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

/*
 * The peer is met, and the trees are going to be listed. What of an earlier connection waits for
 * somebody's L, and need not, is in them then; else it would be done after they are compared, and
 * undo what the peer has done since. Up to the first that has to wait (then they are compared once
 * more when it is done).
 */
void driver_apply_before_trees(struct volume *v);

/* After the machine has heard something: removals of directories whose turn has come. */
void driver_apply_go_on(struct volume *v);
void driver_apply_close(struct volume *v);

#endif
