#ifndef SYNCD_APPLY_H
#define SYNCD_APPLY_H

/*
 * The receiver's side: a journalled transaction to the store. Idempotent: applying again what is
 * there changes nothing. Order: keywords, messages, uidlist, removals, other files, directories.
 * Never while L of the container is held here.
 */

#include "state.h"

struct apply_result {
    struct invals inval;
    bool suspect; /* the store was in neither the state before nor after: merge the container */
    struct mailfs_id also[2]; /* and these */
    size_t n_also;
    bool tree; /* directories are elsewhere than the peer thinks: compare the trees (a new contact) */
};
void apply_result_free(struct apply_result *r);

/*
 * journal_id: of its journal entry (0: none). replay: at the start, an entry of an earlier life,
 * perhaps applied already. Base and journal follow. An error of one operation does not stop the
 * others: it is logged, the container is suspect and the first such error is returned (the entry
 * counts as applied: the merge settles it); -ENOSPC, -EDQUOT, -EIO and -ENOMEM: the entry stays in
 * the journal and is applied again at the next start.
 */
int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id, bool replay,
              struct apply_result *out);

#endif
