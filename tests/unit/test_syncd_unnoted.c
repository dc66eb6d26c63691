/*
 * test_syncd_unnoted - what could not be applied, without memory to note that
 *
 * The peer's base has it. Where this one's does not even say that it may lack something, it is what
 * this node has removed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uthash.h>

#include "mailbox_pair.h"
#include "replica/base_age.h"
#include "syncd/apply.h"
#include "syncd/base.h"
#include "syncd/build.h"
#include "syncd/journal.h"

#ifdef __SANITIZE_ADDRESS__
#define CALLOC __interceptor_calloc
#else
#define CALLOC __libc_calloc
#endif
void *CALLOC(size_t n, size_t size);

static unsigned fails_at; /* the so many-th from now on; 0: none */

/* Without memory for a table the process ends. */
static bool is_of_a_table(size_t size) {
    return size == sizeof(UT_hash_table) ||
           size == HASH_INITIAL_NUM_BUCKETS * sizeof(UT_hash_bucket);
}

void *calloc(size_t n, size_t size) {
    bool counts = fails_at > 0 && !is_of_a_table(n * size);

    return counts && --fails_at == 0 ? NULL : CALLOC(n, size);
}

static bool lacks(void) {
    uint64_t v = 0;

    assert_int_equal(base_version_list(p.b.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    return v & BASE_AGE_LACKS;
}

/* An operation that no trying mends: a list of UIDs, and not under L. Then once more. True: it had
 * not so many allocations. */
static bool apply_twice(unsigned at) {
    Mfp__Txn *txn = build_txn(&inbox, false), *got;
    struct apply_result res;

    assert_non_null(build_op(txn, MFP__OP__OP_UIDLIST));
    uint64_t id = node_receive(&p.a, &p.b, txn, &got);
    fails_at = at;
    int r = apply_txn(p.b.st, got, id, NULL, &res);
    bool all = fails_at > 0;
    fails_at = 0;
    assert_true(res.unnoted ? r == -ENOMEM : lacks());
    assert_int_equal(journal_waiting(p.b.st), r != -EPROTO);
    apply_result_free(&res);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), -EPROTO);
    assert_false(res.unnoted);
    assert_int_equal(journal_waiting(p.b.st), 0);
    apply_result_free(&res);
    node_killed(&p.b);
    assert_true(lacks());
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    return all;
}

static void unnoted(void **state) {
    bool all = false;

    for (unsigned at = 1; !all; at++) {
        assert_int_equal(mailbox_setup(state), 0);
        all = apply_twice(at);
        assert_int_equal(mailbox_teardown(state), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(unnoted)};
    return cmocka_run_group_tests_name("unnoted", tests, NULL, NULL);
}
