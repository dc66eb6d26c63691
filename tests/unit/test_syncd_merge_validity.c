/* UIDVALIDITYs that differ when a mailbox is merged. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/merge_run.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

#define G_A "G0123456789abcdef0123456789abcdef"
#define G_B "Gfedcba9876543210fedcba9876543210"

static void assert_starts(struct node *n, const char *rel, const char *head) {
    char *text = fs_read(n, rel);

    assert_non_null(text);
    assert_int_equal(strncmp(text, head, strlen(head)), 0);
    free(text);
}

/* Made on both nodes at once, and still empty: the higher V is that of both. */
static void test_validity_of_empty(void **state) {
    common();
    make_box(&p.a, "u/.Sent");
    make_box(&p.b, "u/.Sent");
    fs_write(&p.a, "u/.Sent/dovecot-uidlist", "3 V1700000002 N1 " G_B "\n");
    fs_write(&p.b, "u/.Sent/dovecot-uidlist", "3 V1700000001 N1 " G_A "\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_starts(&p.b, "u/.Sent/dovecot-uidlist", "3 V1700000002 N1 " G_B "\n");
}

/* One V handed out on both: the messages get numbers that neither had shown, and one G. */
static void test_validity_equal(void **state) {
    common();
    make_box(&p.a, "u/.Sent");
    make_box(&p.b, "u/.Sent");
    fs_write(&p.a, "u/.Sent/dovecot-uidlist", "3 V1700000002 N1 " G_B "\n");
    fs_write(&p.b, "u/.Sent/dovecot-uidlist", "3 V1700000002 N1 " G_A "\n");
    add_seen(&p.a, "u/.Sent", "1.M1.a", "2,", 1, "of a\n");
    add_seen(&p.b, "u/.Sent", "1.M1.b", "2,", 1, "of b\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(uid_of(&p.a, "u/.Sent", "1.M1.a") > 1);
    assert_true(uid_of(&p.a, "u/.Sent", "1.M1.b") > 1);
    assert_starts(&p.a, "u/.Sent/dovecot-uidlist", "3 V1700000002 N4 " G_A "\n");
}

/* A list that Dovecot made anew, with the numbers it had: they are others for all that. */
static void test_validity_anew(void **state) {
    common();
    fs_write(&p.a, "u/dovecot-uidlist",
             "3 V1700000009 N4 " G_A "\n1 :1.M1.x\n2 :2.M1.x\n3 :3.M1.x\n");
    mark(&p.a, &inbox);
    contact();
    assert_starts(&p.b, "u/dovecot-uidlist", "3 V1700000009 N4 ");
    assert_int_equal(uid_of(&p.b, "u", "2.M1.x"), 2);
}

/* Put back from somewhere, or thrown away: what both had stays. */
static void test_validity_lower(void **state) {
    static const char *const lists[] = {"3 V1600000000 N2 " G_A "\n1 :2.M1.x\n",
                                        "3 V1700000000 N2 " G_A "\n1 :1.M1.x\n", ""};
    size_t i;

    common();
    for (i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        fs_write(&p.a, "u/dovecot-uidlist", lists[i]);
        mark(&p.a, &inbox);
        contact();
        assert_starts(&p.a, "u/dovecot-uidlist", "3 V1700000000 N");
    }
    fs_unlink(&p.b, "u/dovecot-uidlist");
    mark(&p.b, &inbox);
    contact();
    assert_starts(&p.b, "u/dovecot-uidlist", "3 V1700000000 N");
    assert_int_equal(uid_of(&p.b, "u", "2.M1.x"), uid_of(&p.a, "u", "2.M1.x"));
}

/* The same in a transaction: with another V every record is news. */
static void test_validity_sent(void **state) {
    struct acts acts = {.n = 0};

    common();
    fs_write(&p.a, "u/dovecot-uidlist",
             "3 V1700000009 N4 " G_A "\n1 :1.M1.x\n2 :2.M1.x\n3 :3.M1.x\n");
    assert_false(stores_send(&p.a, &p.b, &inbox, &acts, true));
    assert_int_equal(uid_of(&p.b, "u", "2.M1.x"), 2);
    /* the lower one is not taken, and both have the higher one after the merge that follows */
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000005 N4 " G_A "\n1 :1.M1.x\n");
    assert_true(stores_send(&p.b, &p.a, &inbox, &acts, true));
    mark(&p.a, &inbox);
    contact();
    assert_starts(&p.b, "u/dovecot-uidlist", "3 V1700000009 N");
}

/* Each node has counted on by itself: both go on from the higher one, and nobody has to decide. */
static void test_validity_counted(void **state) {
    struct acts acts = {.n = 0};

    common();
    fs_write(&p.a, "u/dovecot-uidvalidity", "65000003");
    fs_write(&p.a, "u/dovecot-uidvalidity.65000003", "");
    fs_write(&p.b, "u/dovecot-uidvalidity", "65000001");
    fs_write(&p.b, "u/dovecot-uidvalidity.64ffffff", "");
    fs_write(&p.b, "u/dovecot-uidvalidity.65000001", "");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact(); /* which compares all names */
    assert_starts(&p.b, "u/dovecot-uidvalidity", "65000003");
    assert_true(fs_there(&p.b, "u/dovecot-uidvalidity.65000003"));
    assert_int_equal(merge_kept(p.b.st), 0);

    /* a goes on, and b, before it hears of that, goes further */
    fs_rename(&p.a, "u/dovecot-uidvalidity.65000003", "u/dovecot-uidvalidity.65000004");
    fs_write(&p.a, "u/dovecot-uidvalidity", "65000004");
    fs_rename(&p.b, "u/dovecot-uidvalidity.65000003", "u/dovecot-uidvalidity.65000005");
    fs_write(&p.b, "u/dovecot-uidvalidity", "65000005");
    act_file(&acts, "dovecot-uidvalidity");
    assert_false(stores_send(&p.a, &p.b, &inbox, &acts, false));
    assert_starts(&p.b, "u/dovecot-uidvalidity", "65000005");
    act_file(&acts, "dovecot-uidvalidity");
    assert_false(stores_send(&p.b, &p.a, &inbox, &acts, false));
    assert_starts(&p.a, "u/dovecot-uidvalidity", "65000005");
    assert_true(fs_there(&p.a, "u/dovecot-uidvalidity.65000005"));
    assert_false(fs_there(&p.a, "u/dovecot-uidvalidity.65000004"));
}

/* A list that both had, of a mailbox younger than the checkpoint, went with b's power. The one that
 * b begins instead has more messages; but a is not being filled, and has shown the higher V. */
static void test_validity_lost(void **state) {
    struct acts acts = {.n = 0};
    struct mailfs_id work;

    common();
    work = stores_mailbox(&p.b, &p.a, "u", ".Work");
    merge(&work);
    fs_write(&p.b, "u/.Work/dovecot-uidlist", "3 V1700000009 N1 " G_B "\n");
    add_seen(&p.b, "u/.Work", "1.M1.b", "2,S", 1, "one\n");
    act_add(&p.b, &acts, "u/.Work", MFL__SUB__CUR, "1.M1.b:2,S", 0);
    act_file(&acts, "dovecot-uidlist");
    assert_false(stores_send(&p.b, &p.a, &work, &acts, true));
    mark(&p.b, &work);
    node_reopen(&p.b);
    node_replay(&p.b);
    fs_write(&p.b, "u/.Work/dovecot-uidlist", "3 V1700000005 N1 " G_B "\n1 :1.M1.b\n");
    add_seen(&p.b, "u/.Work", "2.M2.b", "2,", 2, "two\n");
    contact();
    assert_starts(&p.a, "u/.Work/dovecot-uidlist", "3 V1700000009 N");
    assert_starts(&p.b, "u/.Work/dovecot-uidlist", "3 V1700000009 N");
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw) {
    return remove(path);
}

/* mailfs has served the store, and syncd has never run there: its marks are all there is. */
static void never_run(struct node *n) {
    char base[120];

    snprintf(base, sizeof(base), "%s/base", n->state);
    assert_int_equal(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    fs_unlink(n, ".mailfs/id");
    node_reopen(n);
    assert_false(n->start.lost);
}

/* Nothing of what is marked was lost by that, nor was there a base of it: what a client has begun
 * on the node that is being filled gives way as in any mailbox. */
static void test_validity_never_run(void **state) {
    struct mailfs_id box;

    make_box(&p.a, "u");
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1 " G_A "\n");
    add_seen(&p.a, "u", "1.M1.a", "2,S", 1, "one\n");
    add_seen(&p.a, "u", "2.M1.a", "2,S", 2, "two\n");
    box = fs_id(&p.a, "u");
    mark(&p.a, &box);
    never_run(&p.a);
    make_box(&p.b, "u");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000009 N1 " G_B "\n");
    add_seen(&p.b, "u", "3.M1.b", "2,S", 1, "three\n");
    assert_int_equal(state_set_contact(p.a.st, false), 0);
    assert_int_equal(state_set_contact(p.b.st, false), 0);
    contact();
    assert_starts(&p.a, "u/dovecot-uidlist", "3 V1700000000 N");
    assert_int_equal(uid_of(&p.b, "u", "2.M1.a"), 2);
}

/* On the one that is being filled syncd has never run either, and what its list was before nobody
 * knows: the higher V is that of both, and under it each UID is what it was on the node that had
 * shown it. */
static void test_validity_new_never_run(void **state) {
    struct mailfs_id box;

    make_box(&p.a, "u");
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1 " G_A "\n");
    add_seen(&p.a, "u", "1.M1.a", "2,S", 1, "one\n");
    add_seen(&p.a, "u", "2.M1.a", "2,S", 2, "two\n");
    make_box(&p.b, "u");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000009 N1 " G_B "\n");
    add_seen(&p.b, "u", "3.M1.b", "2,S", 2, "three\n"); /* 1 was shown, and is gone */
    box = fs_id(&p.b, "u");
    mark(&p.b, &box);
    never_run(&p.b);
    assert_int_equal(state_set_contact(p.a.st, false), 0);
    assert_int_equal(state_set_contact(p.b.st, false), 0);
    contact();
    assert_starts(&p.a, "u/dovecot-uidlist", "3 V1700000009 N");
    assert_starts(&p.b, "u/dovecot-uidlist", "3 V1700000009 N");
    assert_int_equal(uid_of(&p.b, "u", "3.M1.b"), 2);
    assert_int_equal(uid_of(&p.a, "u", "3.M1.b"), 2);
    assert_true(uid_of(&p.b, "u", "1.M1.a") > 2);
    assert_int_equal(uid_of(&p.a, "u", "1.M1.a"), uid_of(&p.b, "u", "1.M1.a"));
    assert_true(uid_of(&p.b, "u", "2.M1.a") > 2);
    assert_int_equal(uid_of(&p.a, "u", "2.M1.a"), uid_of(&p.b, "u", "2.M1.a"));
    contact(); /* and stays so */
    assert_starts(&p.a, "u/dovecot-uidlist", "3 V1700000009 N");
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_validity_of_empty),
        T(test_validity_equal),
        T(test_validity_anew),
        T(test_validity_lower),
        T(test_validity_sent),
        T(test_validity_counted),
        T(test_validity_lost),
        cmocka_unit_test_setup_teardown(test_validity_never_run, merge_setup_empty,
                                        mailbox_teardown),
        cmocka_unit_test_setup_teardown(test_validity_new_never_run, merge_setup_empty,
                                        mailbox_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
