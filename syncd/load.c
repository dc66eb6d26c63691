/*
 * load - the payloads the machine carries
 *
 * Diagnostics: none.
 */
#include "load.h"

#include <stdlib.h>
#include <unistd.h>

#include "mem.h"

static void load_free(struct replica_payload *p) {
    struct load *l = p->data;
    if (l->txn != NULL)
        mfp__txn__free_unpacked(l->txn, NULL);
    if (l->listing != NULL)
        mfp__listing__free_unpacked(l->listing, NULL);
    if (l->tree != NULL)
        mfp__tree__free_unpacked(l->tree, NULL);
    if (l->prepare != NULL)
        mfl__to_syncd__free_unpacked(l->prepare, NULL);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

static struct replica_payload *load_new(struct load init, size_t size) {
    struct load *l = mem_copy(&init, sizeof init);
    struct replica_payload *p = replica_payload_new(l, size, load_free);
    if (p == NULL)
        mem_out("a payload");
    return p;
}

struct replica_payload *load_txn(Mfp__Txn *txn) {
    return load_new((struct load){.kind = LOAD_TXN, .txn = txn, .fd = -1},
                    mfp__txn__get_packed_size(txn));
}

struct replica_payload *load_listing(Mfp__Listing *listing) {
    return load_new((struct load){.kind = LOAD_LISTING, .listing = listing, .fd = -1},
                    mfp__listing__get_packed_size(listing));
}

struct replica_payload *load_tree(Mfp__Tree *tree) {
    return load_new((struct load){.kind = LOAD_TREE, .tree = tree, .fd = -1},
                    mfp__tree__get_packed_size(tree));
}

struct replica_payload *load_file(int fd, uint64_t size, Mfl__ToSyncd *prepare) {
    return load_new((struct load){.kind = LOAD_FILE, .fd = fd, .size = size, .prepare = prepare},
                    sizeof(struct load));
}
