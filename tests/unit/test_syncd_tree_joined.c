/* Two directories that both nodes made under one name become one, by the merge of the trees and by
 * a transaction. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "syncd_contact.h"
#include "tree_pair.h"

static void set_id(struct node *n, const char *rel, const struct mailfs_id *id) {
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    assert_int_equal(setxattr(path, IO_DIRID_XATTR, id->b, sizeof(id->b), 0), 0);
}

/* Both have made u/.Sent; the id of a's stays. Ids that are below all others: of two moves of one
 * directory the one into it is not the one that stands. */
static void make_on_both(void) {
    static const struct mailfs_id of_a = {{0, 1}}, of_b = {{0, 2}};

    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.b, "u/.Sent");
    set_id(&p.a, "u/.Sent", &of_a);
    set_id(&p.b, "u/.Sent", &of_b);
    contact_mark(&p.a, &inbox);
    contact_mark(&p.b, &inbox);
}

/* What is in a directory that gets the other node's id is there all the while. */
static void test_made_on_both_stays(void **state) {
    uint8_t d[STATE_DIGEST];
    struct invals iv;
    struct trees t;
    size_t i;

    make_on_both();
    fs_mkdir(&p.b, "u/.Sent/below");
    fs_id(&p.b, "u/.Sent/below");
    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.b.st, t.b, t.wa, false, d, &iv), 0);
    for (i = 0; i < iv.n; i++) /* taken away, and put back under the same name */
        assert_false(iv.v[i].moved && iv.v[i].n_names && !iv.v[i].names->name);
    assert_true(fs_there(&p.b, "u/.Sent/below"));
    invals_free(&iv);
    trees_free(&t);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Sent/below"));
}

/* The power of b went while somebody numbered a message in it: that word goes with the directory.
 */
static void test_made_on_both_after_a_cut(void **state) {
    static const struct mailfs_id stays = {{0, 1}}, former = {{0, 2}};

    make_on_both();
    contact_mark(&p.b, &former);
    node_reopen(&p.b);
    assert_true(base_lost_uids(p.b.st, &former));
    contact_trees(&p, false);
    assert_true(base_lost_uids(p.b.st, &stays));
    assert_false(base_lost_uids(p.b.st, &former));
}

/* A folder is moved out of one that gets another id, to a name that is taken by then: it goes back
 * to where it was, and that has the new id already. */
static void test_made_on_both_undone(void **state) {
    char name[300];
    struct trees t;

    make_on_both();
    fs_rename(&p.b, "u/.Work", "u/.Sent/w");
    fs_rename(&p.a, "u/.Work", "u/.Zzz");
    scan_both(&t, false);
    fs_mkdir(&p.b, "u/.Zzz");
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Sent/w/new/1.M1.a"));
    name_in(&p.b, "trash", "move-", name);
    assert_string_equal(name, "");
    contact_all(&p);
}

/* A folder of this name on both, a's with the lower id. */
static void folder_on_both(char *rel, size_t cap, const char **name) {
    struct mailfs_id a, b;

    for (int i = 0; i < 64; i++) {
        snprintf(rel, cap, "u/.S%d", i);
        *name = rel + 2;
        fs_mkdir(&p.a, rel);
        fs_mkdir(&p.b, rel);
        a = fs_id(&p.a, rel);
        b = fs_id(&p.b, rel);
        if (mailfs_id_cmp(&a, &b) < 0)
            return;
    }
    fail();
}

static void fs_message(struct node *n, const char *folder, const char *name, uint32_t uid) {
    char rel[100], line[100];

    snprintf(rel, sizeof(rel), "%s/cur", folder);
    if (!fs_there(n, rel))
        fs_mkdir(n, rel);
    snprintf(rel, sizeof(rel), "%s/cur/%s:2,S", folder, name);
    fs_write(n, rel, name);
    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", folder);
    snprintf(line, sizeof(line), "%u :%s\n", uid, name);
    fs_append(n, rel, line);
}

/* What a does goes to b, which has it in its journal only. */
static uint64_t tell_b(const struct mailfs_id *dir, struct acts *acts, bool locked,
                       Mfp__Txn **got) {
    Mfp__Txn *txn = node_collect(&p.a, dir, acts, locked);
    uint64_t id = node_receive(&p.a, &p.b, txn, got);

    assert_int_equal(base_acked(p.a.st, txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    return id;
}

static void apply_at_b(Mfp__Txn *txn, uint64_t id) {
    struct apply_result res;

    assert_int_equal(apply_txn(p.b.st, txn, id, NULL, &res), 0);
    assert_true(res.suspect || res.n_also > 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
}

/* b was killed when its own folder had just got the id: what is in that goes to a nonetheless. */
static void test_joined_and_killed(void **state) {
    struct acts acts = {.n = 0};
    struct mailfs_id id;
    char rel[100], path[120];
    const char *name;
    Mfp__Txn *made;
    uint64_t j;

    folder_on_both(rel, sizeof(rel), &name);
    snprintf(path, sizeof(path), "%s/new", rel);
    fs_mkdir(&p.b, path);
    snprintf(path, sizeof(path), "%s/new/1.M1.b", rel);
    fs_write(&p.b, path, "one\n");
    act_dir_make(&p.a, &acts, "u", name);
    j = tell_b(&inbox, &acts, false, &made);
    id = fs_id(&p.a, rel);
    set_id(&p.b, rel, &id);
    node_killed(&p.b);
    apply_at_b(made, j);
    contact_all(&p);
    assert_true(fs_there(&p.a, path));
}

/* a is being filled, and a client was in the folder before it came. b hears of that when its own
 * folder has got the id of a's already: what is in it is no less b's. */
static void test_made_where_mail_is(void **state) {
    struct mailfs_id folder;
    struct acts acts = {.n = 0};
    char rel[100], list[120];
    const char *name;
    Mfp__Txn *made, *listed;
    uint64_t j_made, j_listed;

    folder_on_both(rel, sizeof(rel), &name);
    snprintf(list, sizeof(list), "%s/dovecot-uidlist", rel);
    fs_write(&p.b, list, "3 V1600000000 N3 G0123456789abcdef0123456789abcdef\n");
    fs_message(&p.b, rel, "1.M1.b", 1);
    fs_message(&p.b, rel, "2.M1.b", 2);
    fs_write(&p.a, list, "3 V1700000000 N2 Gfedcba9876543210fedcba9876543210\n");
    fs_message(&p.a, rel, "3.M1.a", 1);
    folder = fs_id(&p.a, rel);
    act_dir_make(&p.a, &acts, "u", name);
    j_made = tell_b(&inbox, &acts, false, &made);
    act_add(&p.a, &acts, rel, MFL__SUB__CUR, "3.M1.a:2,S", 0);
    act_file(&acts, "dovecot-uidlist");
    j_listed = tell_b(&folder, &acts, true, &listed);
    contact_mark(&p.b, &inbox);
    contact_trees(&p, false);
    apply_at_b(made, j_made);
    apply_at_b(listed, j_listed);
    assert_list_begins(&p.b, rel, "3 V1600000000 ");
    contact_all(&p);
    assert_list_begins(&p.a, rel, "3 V1600000000 ");
    assert_list_begins(&p.b, rel, "3 V1600000000 ");
}

#define T(f) cmocka_unit_test_setup_teardown(f, tree_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_made_on_both_stays), T(test_made_on_both_after_a_cut), T(test_made_on_both_undone),
        T(test_joined_and_killed),  T(test_made_where_mail_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
