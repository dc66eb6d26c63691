#ifndef SYNCD_LOAD_H
#define SYNCD_LOAD_H

/*
 * What the machine carries as an opaque payload: a transaction, a listing, a tree, or an open file
 * being prepared. References are counted in the loop thread only; a job that uses one in a worker
 * holds a reference from submission to done(). What is inside does not change once it is a payload,
 * but for journal_id (loop thread).
 */

#include <stdbool.h>

#include "replica/replica.h"
#include "wire/local.pb-c.h"
#include "wire/peer.pb-c.h"

enum load_kind { LOAD_TXN, LOAD_LISTING, LOAD_TREE, LOAD_FILE };

struct load {
    enum load_kind kind;
    Mfp__Txn *txn;
    Mfp__Listing *listing;
    Mfp__Tree *tree;
    /* LOAD_FILE */
    int fd;
    uint64_t size;
    Mfl__ToSyncd *prepare; /* holds the Prepare */
    /* LOAD_TXN, received: its journal entry, once it has one */
    uint64_t journal_id;
    bool applying;        /* the machine has asked for it */
    uint64_t applied_seq; /* what the machine calls it */
    bool late;            /* of an earlier connection than this one */
    bool early;           /* begun before it asked */
    bool early_done, early_ok;
    bool counted; /* in the volume's trees_unapplied */
};

/* Take over what they are given. */
struct replica_payload *load_txn(Mfp__Txn *txn);
struct replica_payload *load_listing(Mfp__Listing *listing);
struct replica_payload *load_tree(Mfp__Tree *tree);
struct replica_payload *load_file(int fd, uint64_t size, Mfl__ToSyncd *prepare);

static inline struct load *load_of(const struct replica_payload *p) {
    return p == NULL ? NULL : p->data;
}

#endif
