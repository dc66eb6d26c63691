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
    struct mailfs_id also[4]; /* and these */
    size_t n_also;
    bool unnoted; /* what was not done could not be noted: it must not count as applied */
    bool tree; /* directories are elsewhere than the peer thinks: compare the trees (a new contact)
                */
};
void apply_result_free(struct apply_result *r);

/*
 * journal_id: of its journal entry (0: none). replay: at the start, an entry of an earlier life,
 * perhaps applied already. Base and journal follow, for what the store has now and for nothing
 * else. 0        done; or suspect -ENOENT  the container is not here: nothing was done, the entry
 * stays; suspect -EINVAL and others that trying again cannot mend: the rest was done, the base
 * follows that; suspect any other (-ENOSPC, -EIO, -EMFILE, ...): partly done, base and entry
 * untouched: try again An entry with a message that could not be added stays until
 * merge_mailbox_done().
 */
int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id, bool replay,
              struct apply_result *out);

/*
 * The same, while other jobs are at work, but on none of the containers it touches (touched.h).
 * -EBUSY: it concerns another one, too (a directory made on both nodes): partly done, base and
 * entry untouched. Again by apply_txn(), with nothing else at work. -ENOENT: the container is not
 * here yet; nothing was said about that.
 */
int apply_txn_beside(struct state *st, const Mfp__Txn *txn, uint64_t journal_id, bool replay,
                     struct apply_result *out);

#endif
