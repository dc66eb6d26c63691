/*
 * link_peer_uids - large uidlist operations in pieces, and back
 *
 * The pieces carry V, N and the header as the whole does; only the first says `full`.
 *
 * Diagnostics: none.
 */
#include "link_peer_uids.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_uidlist(const Mfp__Op *op) {
    return op->op_case == MFP__OP__OP_UIDLIST;
}

static size_t pieces_of(const Mfp__Op *op) {
    size_t n = is_uidlist(op) ? op->uidlist->n_recs : 0;
    return n <= UIDS_PER_OP ? 1 : (n + UIDS_PER_OP - 1) / UIDS_PER_OP;
}

/* An operation and what it points to, side by side. */
struct piece {
    Mfp__Op op;
    Mfp__OpUidlist list;
};

static void piece_make(struct piece *p, const Mfp__Op *whole, size_t number) {
    size_t from = number * UIDS_PER_OP, left = whole->uidlist->n_recs - from;
    p->op = *whole;
    p->list = *whole->uidlist;
    p->op.uidlist = &p->list;
    p->list.recs += from;
    p->list.n_recs = left < UIDS_PER_OP ? left : UIDS_PER_OP;
    p->list.full = whole->uidlist->full && number == 0;
}

int uids_divide(const Mfp__Txn *txn, struct uids_divided *out) {
    size_t ops = 0, pieces = 0, n = 0, made = 0;
    for (size_t i = 0; i < txn->n_ops; i++) {
        size_t k = pieces_of(txn->ops[i]);
        ops += k;
        pieces += k > 1 ? k : 0;
    }
    *out = (struct uids_divided){.txn = *txn};
    if (pieces == 0)
        return 0;
    struct piece *p = malloc(pieces * sizeof *p + ops * sizeof(Mfp__Op *));
    if (p == NULL)
        return -ENOMEM;
    Mfp__Op **list = (Mfp__Op **)(void *)(p + pieces);
    for (size_t i = 0; i < txn->n_ops; i++) {
        size_t k = pieces_of(txn->ops[i]);
        if (k == 1)
            list[n++] = txn->ops[i];
        for (size_t j = 0; k > 1 && j < k; j++) {
            piece_make(&p[made], txn->ops[i], j);
            list[n++] = &p[made++].op;
        }
    }
    out->memory = p;
    out->txn.ops = list;
    out->txn.n_ops = n;
    return 0;
}

void uids_divided_free(struct uids_divided *d) {
    free(d->memory);
    d->memory = NULL;
}

static int append(Mfp__OpUidlist *to, Mfp__OpUidlist *from) {
    if (from->n_recs == 0)
        return 0;
    Mfp__UidRec **grown = realloc(to->recs, (to->n_recs + from->n_recs) * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    memcpy(grown + to->n_recs, from->recs, from->n_recs * sizeof *grown);
    to->recs = grown;
    to->n_recs += from->n_recs;
    from->n_recs = 0;
    free(from->recs);
    from->recs = NULL;
    return 0;
}

int uids_unite(Mfp__Txn *txn) {
    Mfp__OpUidlist *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < txn->n_ops; i++) {
        Mfp__Op *op = txn->ops[i];
        if (!is_uidlist(op) || first == NULL) {
            first = is_uidlist(op) ? op->uidlist : first;
            txn->ops[n++] = op;
            continue;
        }
        if (append(first, op->uidlist) != 0) {
            memmove(&txn->ops[n], &txn->ops[i], (txn->n_ops - i) * sizeof *txn->ops);
            txn->n_ops -= i - n;
            return -ENOMEM;
        }
        mfp__op__free_unpacked(op, NULL);
    }
    txn->n_ops = n;
    return 0;
}
