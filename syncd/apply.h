#ifndef SYNCD_APPLY_H
#define SYNCD_APPLY_H

/*
 * The receiver's side: a journalled transaction to the store. Idempotent: applying again what is
 * there changes nothing. Order: keywords, messages, uidlist, removals, other files, directories.
 * While L of the container is held here only as one who replaces the list that its owner writes to.
 */

#include "replica/replica.h"
#include "state.h"

struct apply_result {
    struct invals inval;
    bool suspect; /* the store was in neither the state before nor after: merge the container */
    struct mailfs_id also[4]; /* and these */
    size_t n_also;
    bool unnoted; /* what was not done could not be noted: it must not count as applied */
    bool raised;  /* the list of UIDs was replaced, with its next one raised */
    bool unsure;  /* or may have been, and that may not be on the disk */
    bool tree; /* directories are elsewhere than the peer thinks: compare the trees (a new contact)
                */
};
void apply_result_free(struct apply_result *r);

/*
 * replay: at the start, an entry of an earlier life, perhaps applied already.
 * beside: while other jobs are at work, but on none of the containers it touches (touched.h).
 * raise: somebody may have L. What he appends to the list of UIDs is lost where that is replaced,
 * so it is with a next UID above all that (replica_raised_over()), and never appended to.
 */
struct apply_how {
    bool replay, beside;
    enum replica_raise raise;
};

/*
 * journal_id: of its journal entry (0: none). how NULL: none of these. Base and journal follow, for
 * what the store has now and for nothing else. 0        done; or suspect -ENOENT  the container is
 * not here: nothing was done, the entry stays; suspect -EINVAL and others that trying again cannot
 * mend: the rest was done, the base follows that; suspect any other (-ENOSPC, -EIO, -EMFILE, ...):
 * partly done, base and entry untouched: try again An entry with a message that could not be added
 * stays until merge_mailbox_done().
 *
 * Beside others: -EBUSY: it concerns another container, too (a directory made on both nodes):
 * partly done, base and entry untouched. Again with nothing else at work. -ENOENT: the container is
 * not here yet; nothing was said about that.
 */
int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id,
              const struct apply_how *how, struct apply_result *out);

#endif
