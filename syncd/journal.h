#ifndef SYNCD_JOURNAL_H
#define SYNCD_JOURNAL_H

/*
 * The journal: transactions received and acknowledged, not yet applied and synced.
 * Kept in the base's LMDB environment; an entry leaves it in the checkpoint after
 * journal_applied().
 */

#include "state.h"

/* One transaction to journal, and its number in the journal on return. */
struct journal_entry {
    const Mfp__Txn *txn;
    uint64_t id;
};

/*
 * Makes n transactions and every content they refer to durable, in one commit (group commit): call
 * content_missing() for each before; -ENODATA: something is still missing. Numbers ascend in the
 * order given. All or nothing. -ENOSPC, -EIO.
 */
int journal_append(struct state *st, struct journal_entry *entries, size_t n);

/* At the start: each entry in order, to be handed to apply. Non-zero from fn ends it. The callee
 * owns txn (mfp__txn__free_unpacked). */
typedef int journal_fn(void *arg, uint64_t id, Mfp__Txn *txn);
int journal_replay(struct state *st, journal_fn *fn, void *arg);

/* The store has it; the entry goes with the next checkpoint. apply_txn() calls this itself. */
void journal_applied(struct state *st, uint64_t id);

/* Is there one of this container that is not applied yet? */
bool journal_waits_for(struct state *st, const struct mailfs_id *dir);

/* Entries not applied yet. */
size_t journal_waiting(struct state *st);

#endif
