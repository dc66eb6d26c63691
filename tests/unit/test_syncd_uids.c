/* link_peer_uids: a large uidlist operation is the same one after the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/link_peer_uids.h"

static Mfp__Op *keywords_op(void) {
    Mfp__Op *op = malloc(sizeof *op);
    mfp__op__init(op);
    op->op_case = MFP__OP__OP_KEYWORDS;
    op->keywords = malloc(sizeof *op->keywords);
    mfp__op_keywords__init(op->keywords);
    return op;
}

static Mfp__Op *uidlist_op(size_t n) {
    Mfp__Op *op = malloc(sizeof *op);
    mfp__op__init(op);
    op->op_case = MFP__OP__OP_UIDLIST;
    op->uidlist = malloc(sizeof *op->uidlist);
    mfp__op_uidlist__init(op->uidlist);
    op->uidlist->v = 17;
    op->uidlist->n = (uint32_t)n + 1;
    op->uidlist->full = true;
    op->uidlist->recs = calloc(n + 1, sizeof *op->uidlist->recs);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        Mfp__UidRec *rec = malloc(sizeof *rec);
        mfp__uid_rec__init(rec);
        snprintf(name, sizeof name, "17000.M%zu.h", i);
        rec->uid = (uint32_t)i + 1;
        rec->bname = strdup(name);
        op->uidlist->recs[op->uidlist->n_recs++] = rec;
    }
    return op;
}

static Mfp__Txn *make(size_t recs) {
    Mfp__Txn *txn = malloc(sizeof *txn);
    mfp__txn__init(txn);
    txn->ops = calloc(3, sizeof *txn->ops);
    txn->ops[0] = keywords_op();
    txn->ops[1] = uidlist_op(recs);
    txn->ops[2] = keywords_op();
    txn->n_ops = 3;
    return txn;
}

static uint8_t *packed(const Mfp__Txn *txn, size_t *n) {
    *n = mfp__txn__get_packed_size(txn);
    uint8_t *p = malloc(*n + 1);
    mfp__txn__pack(txn, p);
    return p;
}

static void way(size_t recs, size_t ops) {
    Mfp__Txn *txn = make(recs);
    struct uids_divided d;
    size_t n, m;
    assert_int_equal(uids_divide(txn, &d), 0);
    assert_int_equal(d.txn.n_ops, ops);
    uint8_t *bytes = packed(&d.txn, &n);
    uids_divided_free(&d);
    Mfp__Txn *there = mfp__txn__unpack(NULL, n, bytes);
    free(bytes);
    assert_non_null(there);
    assert_int_equal(uids_unite(there), 0);
    uint8_t *before = packed(txn, &n), *after = packed(there, &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    mfp__txn__free_unpacked(there, NULL);
    mfp__txn__free_unpacked(txn, NULL);
}

static void small_stays_whole(void **state) {
    way(0, 3);
    way(UIDS_PER_OP, 3);
}

static void large_is_divided(void **state) {
    way(UIDS_PER_OP + 1, 4);
    way(10 * UIDS_PER_OP, 12);
    way(10 * UIDS_PER_OP + 1, 13);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_stays_whole),
        cmocka_unit_test(large_is_divided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
