#ifndef SYNCD_LOOK_H
#define SYNCD_LOOK_H

/*
 * A look at some containers of this node's store: do they hold what was agreed on, are the contents
 * what they were? The same for a pass of this node's own and for one that the peer has asked for.
 *
 * What differs from the base is looked at again after more than the link's timeout: what was only
 * on its way has arrived then, or the nodes are not in sync.
 *
 * Loop thread only.
 */

#include "check.h"

struct volume;
struct look;

struct look_order {
    bool content, repair, accept, gentle;
};

/* With `repair`: what can be fetched from the peer has been; the rest has the fate CHECK_MERGED,
 * its control files are kept, and whoever ordered the look merges it (replica_suspect). */
struct look_result {
    int err; /* 0; -ECANCELED; -ENOTCONN: the nodes are not in sync any more */
    struct check_problems problems;
    struct check_counts counts;
    const struct check_digest *digests; /* one for each container */
    size_t n;
};

/* dirs are copied. fn, never from within: what it is given lives until it returns, and the look is
 * over then. */
typedef void look_fn(void *arg, struct look_result *result);
struct look *look_begin(struct volume *v, const struct mailfs_id *dirs, size_t n,
                        struct look_order order, look_fn *fn, void *arg);
/* Ends soon, with -ECANCELED. */
void look_cancel(struct look *l);
/* With the work queues drained: one that waits for its timer, and whose fn is not called any more.
 */
void look_free(struct look *l);

/* Digests alone. */
struct look *look_digests(struct volume *v, const struct mailfs_id *dirs, size_t n, bool content,
                          look_fn *fn, void *arg);

#endif
