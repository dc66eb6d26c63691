/* Contact after folders were made, moved and removed on both nodes: the merge of the trees and of
 * the mailboxes in them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "syncd/base.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

/* What is merged here has the same trees after one merge of them. */
static void merge_trees(bool full) {
    assert_int_equal(contact_trees(&p, full), 0);
}

static void test_tree_made_and_moved(void **state) {
    struct mailfs_id work;

    common();
    make_box(&p.a, "u/.Work");
    add_new(&p.a, "u/.Work", "1.M1.a", "w\n");
    make_box(&p.b, "u/.Home");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Home/cur"));
    /* names swapped on one side, a message put into one on the other */
    fs_rename(&p.a, "u/.Work", "u/.X");
    fs_rename(&p.a, "u/.Home", "u/.Work");
    fs_rename(&p.a, "u/.X", "u/.Home");
    mark(&p.a, &inbox);
    work = fs_id(&p.b, "u/.Work");
    add_new(&p.b, "u/.Work", "2.M1.b", "w2\n");
    mark(&p.b, &work);
    contact();
    assert_true(fs_there(&p.a, "u/.Home/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Home/new/1.M1.a"));
}

static void test_tree_removed(void **state) {
    struct mailfs_id work, home;

    common();
    make_box(&p.a, "u/.Work");
    make_box(&p.a, "u/.Home");
    add_new(&p.a, "u/.Work", "1.M1.a", "w\n");
    add_new(&p.a, "u/.Home", "1.M1.a", "h\n");
    mark(&p.a, &inbox);
    contact();
    work = fs_id(&p.a, "u/.Work");
    home = fs_id(&p.a, "u/.Home");
    /* a deletes both; b delivers to one of them */
    fs_rename(&p.a, "u/.Work", "u/..DOVECOT-TRASHED");
    mark(&p.a, &inbox);
    mark(&p.a, &work);
    add_new(&p.b, "u/.Home", "2.M1.b", "h2\n");
    mark(&p.b, &home);
    contact();
    assert_false(fs_there(&p.b, "u/.Work"));
    assert_true(fs_there(&p.b, "u/.Home"));
    fs_rename(&p.a, "u/.Home", "u/..DOVECOT-TRASHED/x");
    mark(&p.a, &inbox);
    mark(&p.a, &home);
    add_new(&p.b, "u/.Home", "3.M1.b", "h3\n");
    mark(&p.b, &home);
    merge_trees(false);
    assert_true(fs_there(&p.a, "u/.Home"));
    contact();
    assert_true(fs_there(&p.a, "u/.Home/new/3.M1.b"));
}

/* Both made one of that name while alone. */
static void test_tree_two_of_one_name(void **state) {
    common();
    make_box(&p.a, "u/.Sent");
    make_box(&p.b, "u/.Sent");
    add_new(&p.a, "u/.Sent", "1.M1.a", "of a\n");
    add_new(&p.b, "u/.Sent", "1.M1.b", "of b\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/.Sent/new/1.M1.b"));
    assert_true(fs_there(&p.b, "u/.Sent/new/1.M1.a"));
}

/* Made by a under a directory whose id b has just given up: acknowledged, and not applied. It was
 * not removed by b for that, however far b's own base has come meanwhile. */
static void test_tree_made_unapplied(void **state) {
    struct acts acts = {.n = 0};
    struct mailfs_id other;
    struct apply_result res;
    Mfp__Txn *txn, *got;
    char path[200];
    uint64_t id;
    int i;

    common();
    make_box(&p.a, "u/.New");
    act_dir_make(&p.a, &acts, "u", ".New");
    assert_int_equal(mailfs_id_new(&other), 0);
    snprintf(path, sizeof(path), "%s/u", p.b.store);
    assert_int_equal(setxattr(path, IO_DIRID_XATTR, other.b, sizeof(other.b), 0), 0);
    txn = node_collect(&p.a, &inbox, &acts, false);
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), -ENOENT);
    assert_true(res.suspect && res.tree);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    for (i = 0; i < 5; i++)
        assert_int_equal(base_version_next(p.b.st, BASE_OF_TREE, &mailfs_id_root), 0);
    mark(&p.a, &inbox);
    mark(&p.b, &mailfs_id_root);
    contact();
    assert_true(fs_there(&p.a, "u/.New/cur"));
    assert_true(fs_there(&p.b, "u/.New/cur"));
}

static void test_copied_ids(void **state) {
    struct mailfs_id a, b;
    char cmd[1200];

    common();
    make_box(&p.a, "u/.Work");
    mark(&p.a, &inbox);
    contact();
    snprintf(cmd, sizeof(cmd), "cp -a '%s/u/.Work' '%s/u/.Copy'", p.a.store, p.a.store);
    assert_int_equal(system(cmd), 0);
    mark(&p.a, &inbox);
    contact();
    a = fs_id(&p.a, "u/.Work");
    b = fs_id(&p.a, "u/.Copy");
    assert_false(mailfs_id_equal(&a, &b));
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_tree_made_and_moved), T(test_tree_removed), T(test_tree_two_of_one_name),
        T(test_tree_made_unapplied), T(test_copied_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
