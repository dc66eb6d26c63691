/* The merge of the directory tree while the store is in use, and after it was cut short. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "wire/check.h"
#include "syncd_contact.h"
#include "tree_pair.h"

/* Cut short, and the process lives on: the next comparison finds it in its place. */
static void test_left_in_trash(void **state) {
    move_aside(&p.b, "u/.Work", &work);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* With a folder in a folder, both on their way; a start finds them. */
static void test_left_in_trash_nested(void **state) {
    struct mailfs_id below = stores_mailbox(&p.a, &p.b, "u/.Work", "below");

    fs_write(&p.a, "u/.Work/below/new/2.M1.a", "two\n");
    contact_mark(&p.a, &below);
    contact_all(&p);
    move_aside(&p.b, "u/.Work/below", &below);
    move_aside(&p.b, "u/.Work", &work);
    contact_mark(&p.b, &inbox);
    contact_mark(&p.b, &work);
    node_reopen(&p.b);
    assert_true(fs_there(&p.b, "u/.Work/below/new/2.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/below/new/2.M1.a"));
}

/* Somebody has made a folder of that name meanwhile. */
static void test_left_in_trash_name_taken(void **state) {
    char rel[200], hex[MAILFS_ID_HEX];

    move_aside(&p.b, "u/.Work", &work);
    fs_mkdir(&p.b, "u/.Work");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    snprintf(rel, sizeof(rel), "u/.Work.recovered-%s/new/1.M1.a", mailfs_id_format(&work, hex));
    assert_true(fs_there(&p.a, rel));
    assert_true(fs_there(&p.b, rel));
}

/* An empty node is filled: all that is new comes in one run, however deep. */
static void test_made_nested(void **state) {
    struct trees t;

    fs_mkdir(&p.a, "v");
    fs_mkdir(&p.a, "v/w");
    fs_mkdir(&p.a, "v/w/x");
    scan_both(&t, true);
    assert_int_equal(run_both(&t), 0);
    assert_true(fs_there(&p.b, "v/w/x"));
}

/* A rename by the peer, while a local user makes a folder of the new name. */
static void test_move_onto_new(void **state) {
    struct trees t;

    fs_rename(&p.a, "u/.Work", "u/.Done");
    contact_mark(&p.a, &inbox);
    scan_both(&t, false);
    fs_mkdir(&p.b, "u/.Done");
    contact_mark(&p.b, &inbox);
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a") || fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* A folder made at b, and a file of that name at a, which has no other place: the folder is on
 * both, and the file is kept. */
static void test_made_where_a_file_is(void **state) {
    fs_write(&p.a, "u/.Done", "a file\n");
    contact_mark(&p.a, &inbox);
    fs_mkdir(&p.b, "u/.Done");
    fs_mkdir(&p.b, "u/.Done/new");
    fs_write(&p.b, "u/.Done/new/2.M1.b", "two\n");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Done/new/2.M1.b"));
    assert_int_equal(merge_kept(p.a.st), 1);
}

/* ... and one that is renamed at b. */
static void test_moved_where_a_file_is(void **state) {
    fs_write(&p.a, "u/.Done", "a file\n");
    contact_mark(&p.a, &inbox);
    fs_rename(&p.b, "u/.Work", "u/.Done");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Done/new/1.M1.a"));
    assert_int_equal(merge_kept(p.a.st), 1);
}

/* ... and both hear of the other's while they are connected. */
static void test_told_where_a_file_is(void **state) {
    struct acts a = {.n = 0}, b = {.n = 0};

    fs_mkdir(&p.a, "u/.Done");
    fs_mkdir(&p.a, "u/.Done/new");
    fs_write(&p.a, "u/.Done/new/2.M1.a", "two\n");
    fs_write(&p.b, "u/.Done", "a file\n");
    act_dir_make(&p.a, &a, "u", ".Done");
    act_file(&b, ".Done");
    assert_true(stores_send(&p.b, &p.a, &inbox, &b, false));
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, false));
    contact_mark(&p.a, &inbox);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/2.M1.a"));
    assert_int_equal(merge_kept(p.b.st), 1);
}

/* ... and while a local user renames it too: that stays, until it is compared. */
static void test_move_of_moved(void **state) {
    struct trees t;

    fs_rename(&p.a, "u/.Work", "u/.Done");
    contact_mark(&p.a, &inbox);
    scan_both(&t, false);
    fs_rename(&p.b, "u/.Work", "u/.Mine");
    contact_mark(&p.b, &inbox);
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Mine/new/1.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a") || fs_there(&p.b, "u/.Mine/new/1.M1.a"));
}

/*
 * a has renamed .Work, and has the merge of that; b could not carry it out, while transactions of
 * its own went on moving its base: its count is `more` above what it was.
 */
static void moved_at_a_only(unsigned more) {
    uint64_t version;

    fs_rename(&p.a, "u/.Work", "u/.New");
    contact_mark(&p.a, &inbox);
    merge_at_a_only();
    assert_int_equal(base_version_get(p.b.st, BASE_OF_TREE, &mailfs_id_root, &version), 0);
    assert_int_equal(
        base_version_put(p.b.st, BASE_AGREED, BASE_OF_TREE, &mailfs_id_root, version + more), 0);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.New/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.New/new/1.M1.a"));
    assert_false(fs_there(&p.a, "u/.Work"));
    assert_false(fs_there(&p.b, "u/.Work"));
}

/* Its former name does not come back. */
static void test_moved_at_one(void **state) {
    for (unsigned more = 0; more < 4; more++) {
        moved_at_a_only(more);
        mailbox_teardown(state);
        tree_setup(state);
    }
}

/* a has the merge of a rename, and b not; then a told b of another one. Back at its first name by b
 * alone, that is where it is: what half a merge found is of no account any more. */
static void test_moved_and_told(void **state) {
    struct acts a = {.n = 0};

    fs_rename(&p.a, "u/.Work", "u/.New");
    contact_mark(&p.a, &inbox);
    merge_at_a_only();
    fs_rename(&p.b, "u/.Work", "u/.New"); /* what it had been doing */
    fs_rename(&p.a, "u/.New", "u/.Zoo");
    act_dir_move(&a, &work, ".New", &inbox, ".Zoo");
    stores_send(&p.a, &p.b, &inbox, &a, false);
    fs_rename(&p.b, "u/.Zoo", "u/.Work");
    contact_mark(&p.b, &inbox);
    contact_trees(&p, true);
    assert_true(fs_there(&p.a, "u/.Work"));
    assert_true(fs_there(&p.b, "u/.Work"));
}

/* Does the listing of b say that something in the folder may be this node's own? */
static bool counts_as_changed(struct state *const *lenders, size_t n_lenders, unsigned ms) {
    uint8_t digest[STATE_DIGEST];
    bool found = false, changed = false;
    struct mailfs_id id;
    Mfp__Tree *t;

    p.b.st->look_ms = ms;
    assert_int_equal(tree_scan_for(p.b.st, false, lenders, n_lenders, &t, digest, NULL), 0);
    for (size_t i = 0; i < t->n_dirs; i++) {
        if (wire_id(&t->dirs[i]->id, &id) == 0 && mailfs_id_equal(&id, &work)) {
            found = true;
            changed = t->dirs[i]->changed_inside;
        }
    }
    assert_true(found);
    mfp__tree__free_unpacked(t, NULL);
    return changed;
}

/* Where there is no time to look into it, it is for this node to bring, but if it is borrowed. */
static void test_no_time_to_look(void **state) {
    struct state *const lenders[] = {p.a.st};

    contact_mark(&p.b, &work);
    assert_false(counts_as_changed(NULL, 0, LOOK_INSIDE_MS));
    assert_true(counts_as_changed(NULL, 0, 0));
    assert_false(counts_as_changed(lenders, 1, 0));
    fs_write(&p.b, "u/.Work/new/2.M1.b", "its own\n");
    assert_true(counts_as_changed(lenders, 1, LOOK_INSIDE_MS));
}

/* Its first holder is known: the copy is another directory, and both are on both nodes. */
static void test_copied_with_its_id(void **state) {
    struct mailfs_id copy, first;

    fs_mkdir(&p.a, "u/.Copy");
    fs_mkdir(&p.a, "u/.Copy/new");
    fs_write(&p.a, "u/.Copy/new/2.M1.a", "two\n");
    fs_copy_id(&p.a, "u/.Work", "u/.Copy");
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    copy = fs_id(&p.a, "u/.Copy");
    first = fs_id(&p.a, "u/.Work");
    assert_true(mailfs_id_equal(&first, &work));
    assert_false(mailfs_id_equal(&copy, &work));
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.Copy/new/2.M1.a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, tree_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_left_in_trash),
        T(test_left_in_trash_nested),
        T(test_left_in_trash_name_taken),
        T(test_made_nested),
        T(test_move_onto_new),
        T(test_made_where_a_file_is),
        T(test_moved_where_a_file_is),
        T(test_told_where_a_file_is),
        T(test_move_of_moved),
        T(test_moved_at_one),
        T(test_moved_and_told),
        T(test_no_time_to_look),
        T(test_copied_with_its_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
