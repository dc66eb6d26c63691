#ifndef SYNCD_COLLECT_H
#define SYNCD_COLLECT_H

/*
 * The origin's side of a transaction: from what mailfs told of one container to what the peer is
 * sent.
 */

#include "state.h"
#include "stage.h"

/*
 * acts: the container's, in order (all of one transaction with locked, or one act or several
 * outside any). Looks at the control files too: records appended to the uidlist since it was last
 * looked at, the keyword table if it changed. Operations on one message become one. *txn is NULL
 * when nothing is to be told (only local files). The transaction is remembered as sent until
 * base_acked() or base_forget_sent(). Also keeps the table of containers (handles, places) up to
 * date, for ever, and takes away what under L has become a message's second name; inval: what
 * mailfs has to forget then, the caller's. *preps: the contents it refers to, malloc'ed.
 */
int collect_txn(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                bool locked, Mfp__Txn **txn, struct stage_prep **preps, size_t *n_preps,
                struct invals *inval);

/* While nobody is to be told: only keeps the table of containers and `pending` up to date. */
int collect_alone(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n);

struct base_prep;
/* A message in dir has what was prepared: for one that the syncd before this one may not have
 * noted. */
int collect_named(struct state *st, const struct mailfs_id *dir, const char *base,
                  const struct base_prep *prep);

#endif
