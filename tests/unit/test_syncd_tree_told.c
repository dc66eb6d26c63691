/* A folder that one node made, told of, and deleted again before it heard that the other has it:
 * what becomes of it when the trees are merged. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "syncd/apply.h"
#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/hold.h"
#include "syncd/state_int.h"
#include "syncd_contact.h"
#include "tree_pair.h"

static struct mailfs_id brief;
static Mfp__Txn *told;

static void made_at_a(void) {
    struct acts made = {.n = 0};

    fs_mkdir(&p.a, "u/.Brief");
    fs_mkdir(&p.a, "u/.Brief/new");
    brief = fs_id(&p.a, "u/.Brief");
    act_dir_make(&p.a, &made, "u", ".Brief");
    told = node_collect(&p.a, &inbox, &made, false);
    assert_non_null(told);
    contact_mark(&p.a, &inbox);
    contact_mark(&p.a, &brief);
}

/* Out of the connection that has ended: a does not hear of it. */
static void b_reads(void) {
    struct apply_result out;
    Mfp__Txn *got;
    uint64_t number = node_receive(&p.a, &p.b, told, &got);

    assert_int_equal(apply_txn(p.b.st, got, number, NULL, &out), 0);
    apply_result_free(&out);
    mfp__txn__free_unpacked(got, NULL);
    assert_true(fs_there(&p.b, "u/.Brief"));
}

static void a_deletes(void) {
    struct acts gone = {.n = 0};

    fs_rename(&p.a, "u/.Brief", "u/..DOVECOT-TRASHED");
    act_dir_remove(&gone, &brief, ".Brief", NULL, 0);
    assert_int_equal(collect_alone(p.a.st, &inbox, gone.v, gone.n), 0);
    acts_free(&gone);
}

static void gone_on_both(void) {
    contact_all(&p);
    assert_false(fs_there(&p.a, "u/.Brief"));
    assert_false(fs_there(&p.b, "u/.Brief"));
}

static void there_on_both(void) {
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Brief"));
    assert_true(fs_there(&p.b, "u/.Brief"));
}

static int begin(void **state) {
    tree_setup(state);
    made_at_a();
    return 0;
}

static int end(void **state) {
    mfp__txn__free_unpacked(told, NULL);
    return mailbox_teardown(state);
}

static void test_read(void **state) {
    b_reads();
    a_deletes();
    gone_on_both();
}

static void test_read_and_killed(void **state) {
    b_reads();
    a_deletes();
    node_killed(&p.a);
    gone_on_both();
}

/* It waits at b for somebody's L, and is done when the trees have been merged, more than once. */
static void test_read_late(void **state) {
    a_deletes();
    contact_trees(&p, false);
    contact_trees(&p, false);
    b_reads();
    gone_on_both();
}

/* b has never heard of it: it is not known here for ever. */
static void test_not_read(void **state) {
    struct base_dir rec;

    a_deletes();
    gone_on_both();
    assert_int_equal(base_dir_get(p.a.st, &brief, &rec), -ENOENT);
}

/* Nor is one that lives known as anything else than any other. */
static void test_read_and_lives(void **state) {
    b_reads();
    there_on_both();
    a_deletes();
    contact_mark(&p.a, &inbox);
    gone_on_both();
}

static void test_something_came(void **state) {
    b_reads();
    a_deletes();
    fs_mkdir(&p.b, "u/.Brief/new");
    fs_write(&p.b, "u/.Brief/new/2.M1.b", "two\n");
    contact_mark(&p.b, &brief);
    there_on_both();
    assert_true(fs_there(&p.a, "u/.Brief/new/2.M1.b"));
}

/* Somebody deletes all that the user has, and it is held back: this one, too. */
static void test_held(void **state) {
    assert_int_equal(hold_open(p.a.st, 30), 0);
    b_reads();
    hold_set(p.a.st, &inbox, true);
    a_deletes();
    there_on_both();
}

/* It is held only by the time that the nodes meet. */
static void test_held_later(void **state) {
    assert_int_equal(hold_open(p.a.st, 30), 0);
    b_reads();
    a_deletes();
    hold_set(p.a.st, &inbox, true);
    there_on_both();
}

/* And its name has been taken by a new one: the two are one, and nothing is left to be done. */
static void held_and_made_again(void) {
    struct invals inval = {.n = 0};
    struct mailfs_id *made;
    struct base_dir rec;
    size_t n;

    assert_int_equal(hold_open(p.a.st, 30), 0);
    a_deletes();
    fs_mkdir(&p.a, "u/.Brief");
    fs_mkdir(&p.a, "u/.Brief/new");
    hold_set(p.a.st, &inbox, true);
    there_on_both();
    assert_int_equal(hold_make_dirs(p.a.st, &inval, &made, &n), 0);
    free(made);
    invals_free(&inval);
    assert_false(hold_dirs_due(p.a.st));
    assert_int_equal(contact_trees(&p, false), 0);
    assert_true(base_dir_get(p.a.st, &brief, &rec) == -ENOENT || rec.agreed);
}

static void test_held_and_made_again(void **state) {
    held_and_made_again();
}

static void test_held_read_and_made_again(void **state) {
    b_reads();
    held_and_made_again();
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_read),
        T(test_read_and_killed),
        T(test_read_late),
        T(test_not_read),
        T(test_read_and_lives),
        T(test_something_came),
        T(test_held),
        T(test_held_later),
        T(test_held_and_made_again),
        T(test_held_read_and_made_again),
    };
    return cmocka_run_group_tests_name("syncd_tree_told", tests, NULL, NULL);
}
