#ifndef SYNCD_COPIED_H
#define SYNCD_COPIED_H

/*
 * A delivery to several users is saved for the first, and linked into the mailboxes of the others.
 * Where one of these is left to a merge nobody but this node would have that copy till then, though
 * it is going to be acknowledged: the content that was prepared is the first one's, and goes with
 * that. So the copy is prepared, too, under a number of syncd's own, and U waits for it as the
 * fsync of a delivery does.
 */

#include <stddef.h>
#include <stdint.h>

#include "replica/replica.h"
#include "state.h"
#include "wire/local.pb-c.h"

/* Apart from those that mailfs gives (mailfs/prepare.c), which have 39 bits: a content's body comes
 * to the peer under the number alone. */
#define COPIED_FIRST (UINT64_C(1) << 63)

#define COPIED_MAX 16 /* of one transaction; of more, the first */

struct copied {
    struct replica_prep first; /* the numbers from here on are for it */
    struct {
        int fd;
        uint64_t size;
        Mfl__ToSyncd *prepare;
    } v[COPIED_MAX];
    size_t n;
};

/* In a worker: opens those of the transaction, and notes their numbers in the base, for the
 * listing of the merge. What cannot be opened is left to that. */
void copied_open(struct copied *c, struct state *st, const struct mailfs_id *dir,
                 const Mfp__Txn *txn);
/* In the loop thread, after replica_unlock(): RELEASE of req comes when the peer has all of them,
 * or is gone. Takes them. */
void copied_prepare(struct copied *c, struct replica *machine, uint64_t now, uint64_t req);
/* NULL is allowed. */
void copied_free(struct copied *c);

#endif
