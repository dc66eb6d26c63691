/* What a start makes of what was on its way, or prepared, when syncd died or the power went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/stage.h"
#include "live_pair.h"

/* What was marked when syncd started may lack what it had sent, until it has been merged. */
static void test_base_that_lacks(void **state) {
    uint64_t v;

    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_true(v != 0 && !(v & BASE_AGE_LACKS));
    assert_int_equal(state_mark(p.a.st, &inbox, 1), 0);
    node_reopen(&p.a);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_true(v & BASE_AGE_LACKS);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_TREE, &mailfs_id_root, &v), 0);
    assert_true(v & BASE_AGE_LACKS);
    base_lacking_merged(p.a.st, &inbox);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_false(v & BASE_AGE_LACKS);
}

/* The receiver dies after it acknowledged: what it acknowledged is applied at its start. */
static void test_crash_before_apply(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    fs_write(&p.a, "u/tmp/1.M1.a", "one\n");
    stores_prepare(&p.a, &p.b, "u", "1.M1.a", "u/tmp/1.M1.a", 1);
    fs_rename(&p.a, "u/tmp/1.M1.a", "u/new/1.M1.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 1);
    txn = node_collect(&p.a, &inbox, &a, false);
    node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    node_reopen(&p.b);
    assert_int_equal(p.b.start.journal, 1);
    assert_false(fs_there(&p.b, "u/new/1.M1.a"));
    node_replay(&p.b);
    stores_assert_equal(&p);
    digests_equal(&inbox);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* It dies after it applied: applying all again changes nothing. */
static void test_crash_after_apply(void **state) {
    struct stage_prep *left;
    struct acts a = {.n = 0};
    size_t n;

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,S");
    flag("1.M1.a:2,S", "1.M1.a:2,");
    flag("1.M1.a:2,", "1.M1.a:2,F");
    deliver_a("2.M1.a", "two\n", 2);
    fs_unlink(&p.a, "u/new/2.M1.a");
    act_remove(&a, MFL__SUB__NEW, "2.M1.a");
    assert_false(send_a(&a, false));
    node_reopen(&p.b);
    assert_true(p.b.start.journal >= 6);
    node_replay(&p.b);
    stores_assert_equal(&p);
    digests_equal(&inbox);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_int_equal(journal_waiting(p.b.st), 0);
    node_reopen(&p.b);
    assert_int_equal(p.b.start.journal, 0);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
    digests_equal(&inbox);
}

/* The power of b is cut: lost is that a flag had been cleared there, which a knew when it set a
 * keyword. It is not set once more. */
static void test_cleared_and_cut(void **state) {
    struct acts b = {.n = 0};

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,F");
    fs_rename(&p.b, "u/cur/1.M1.a:2,F", "u/cur/1.M1.a:2,");
    act_move(&b, MFL__SUB__CUR, "1.M1.a:2,F", MFL__SUB__CUR, "1.M1.a:2,");
    assert_false(stores_send(&p.b, &p.a, &inbox, &b, true));
    flag("1.M1.a:2,", "1.M1.a:2,a");
    fs_rename(&p.b, "u/cur/1.M1.a:2,a", "u/cur/1.M1.a:2,F");
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_true(fs_there(&p.b, "u/cur/1.M1.a:2,a"));
    stores_assert_equal(&p);
}

/* The sender loses its base since the last checkpoint: the digests tell. */
static void test_crash_of_the_origin(void **state) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];

    assert_int_equal(state_checkpoint(p.a.st, 0, NULL, 0), 0);
    deliver_a("1.M1.a", "one\n", 1);
    node_reopen(&p.a);
    assert_int_equal(base_digest(p.a.st, &inbox, da), 0);
    assert_int_equal(base_digest(p.b.st, &inbox, db), 0);
    assert_true(memcmp(da, db, STATE_DIGEST) != 0);
}

/* Prepared, and then the origin is gone: the message is published, once, and when the origin tells
 * its name after all it is renamed. */
static void test_publish(void **state) {
    struct stage_prep prep = {77, 9}, *left;
    struct invals iv = {0};
    struct acts a = {.n = 0};
    size_t n;

    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_reopen(&p.b);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(left[0].seq, 9);
    free(left);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, &iv), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    assert_int_equal(iv.n, 1);
    assert_true(iv.v[0].poke_new);
    invals_free(&iv);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 1);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    assert_false(send_a(&a, false));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    stores_assert_equal(&p);
}

/* What the peer prepared and dropped is not published. */
static void test_abort(void **state) {
    struct stage_prep prep = {77, 9};

    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_true(stage_has_prep(p.b.st, &prep));
    assert_int_equal(stage_drop(p.b.st, &prep), 0);
    assert_false(stage_has_prep(p.b.st, &prep));
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 1);
}

static void test_marks_and_checkpoint(void **state) {
    struct state_mark *m;
    size_t n;

    assert_int_equal(state_mark(p.a.st, &inbox, 3), 0);
    assert_int_equal(state_checkpoint(p.a.st, 3, &inbox, 1), 0);
    assert_int_equal(state_marks(p.a.st, UINT64_MAX, &m, &n), 0);
    assert_int_equal(n, 1); /* of this generation: stays */
    free(m);
    assert_int_equal(state_checkpoint(p.a.st, 4, &inbox, 1), 0);
    assert_int_equal(state_marks(p.a.st, UINT64_MAX, &m, &n), 0);
    assert_int_equal(n, 0);
    free(m);
    assert_int_equal(state_dirty_bytes(p.a.st), 0);
}

/* Another store under the same state: the base is forgotten. */
static void test_lost_state(void **state) {
    char path[512];

    assert_int_equal(state_checkpoint(p.a.st, 0, NULL, 0), 0);
    snprintf(path, sizeof(path), "%s/.mailfs/id", p.a.store);
    assert_int_equal(unlink(path), 0);
    node_reopen(&p.a);
    assert_true(p.a.start.lost);
    assert_false(p.a.start.had_contact);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_base_that_lacks), T(test_crash_before_apply),   T(test_crash_after_apply),
        T(test_cleared_and_cut), T(test_crash_of_the_origin),  T(test_publish),
        T(test_abort),           T(test_marks_and_checkpoint), T(test_lost_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
