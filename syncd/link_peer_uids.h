#ifndef SYNCD_LINK_PEER_UIDS_H
#define SYNCD_LINK_PEER_UIDS_H

/*
 * A transaction's uidlist operation may hold a hundred thousand records: more than a frame. For the
 * wire it is divided into several operations, which the receiver makes one again before anybody
 * looks at it, since half a uidlist must never be seen in the store. Pure.
 */

#include "wire/peer.pb-c.h"

/* Records in one operation: some 200 KiB. */
#define UIDS_PER_OP 2000

struct uids_divided {
    Mfp__Txn txn;
    void *memory;
};

/* out->txn is txn with such operations divided; it borrows all of txn's. 0 or -ENOMEM. */
int uids_divide(const Mfp__Txn *txn, struct uids_divided *out);
void uids_divided_free(struct uids_divided *d);

/* All uidlist operations of txn (unpacked, malloc) become the first of them. 0 or -ENOMEM. */
int uids_unite(Mfp__Txn *txn);

#endif
