/* The merge of a mailbox when one node has lost what it knew: since its checkpoint, or all of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/merge.h"
#include "replica/replica.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

static int merge_once(const struct mailfs_id *dir, bool full) {
    return contact_merge_once(&p, dir, full);
}

/* One node lost what it knew since its last checkpoint: everything is listed, nothing comes back.
 */
static void test_lost_base(void **state) {
    struct acts a = {.n = 0};

    common();
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    act_remove(&a, MFL__SUB__CUR, "2.M1.x:2,S");
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    mark(&p.a, &inbox);
    node_reopen(&p.a); /* its base says that 2 is there; b's does not */
    assert_int_equal(merge_once(&inbox, false), -ESTALE);
    contact();
    assert_false(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
}

/*
 * The same of a mailbox that is younger than the checkpoint: b, who made it, does not know that a
 * has it. What came from a is in the journal, and was removed by agreement; what b alone has is its
 * own.
 */
static void test_lost_base_of_a_young_one(void **state) {
    struct acts a = {.n = 0};
    struct mailfs_id work;

    common();
    work = stores_mailbox(&p.b, &p.a, "u", ".Work");
    fs_write(&p.a, "u/.Work/new/1.M1.a", "one\n");
    act_add(&p.a, &a, "u/.Work", MFL__SUB__NEW, "1.M1.a", 0);
    assert_false(stores_send(&p.a, &p.b, &work, &a, false));
    fs_unlink(&p.a, "u/.Work/new/1.M1.a");
    mark(&p.a, &work);
    merge(&work);
    assert_false(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    mark(&p.b, &work);
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    fs_write(&p.b, "u/.Work/new/2.M2.b", "two\n");
    contact();
    assert_false(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    assert_false(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Work/new/2.M2.b"));
}

/* The power of both went. b has again what it had removed, and sent word of; on a the journal takes
 * it from the base, so it does not matter who has removed it from the store. No base is the later
 * one: what only b's knows stays. */
static void test_removed_and_both_cut(void **state) {
    struct acts b = {.n = 0};

    common();
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    fs_unlink(&p.b, "u/cur/2.M1.x:2,S");
    act_remove(&b, MFL__SUB__CUR, "2.M1.x:2,S");
    assert_false(stores_send(&p.b, &p.a, &inbox, &b, false));
    fs_write(&p.b, "u/cur/2.M1.x:2,S", "two\n");
    node_reopen(&p.a);
    node_reopen(&p.b);
    node_replay(&p.a);
    node_replay(&p.b);
    assert_false(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    contact();
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    assert_true(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
}

/*
 * The power of a went while somebody numbered a message: Dovecot's index has the UID, the list has
 * not. The other node brings nothing, and the UID is not given again all the same. A merge that a
 * has carried out is enough for that, and made anew it retires no more.
 */
static void test_uid_in_an_index(void **state) {
    Mfp__Listing *la, *lb;
    uint8_t da[STATE_DIGEST];

    common();
    mark(&p.a, &inbox);
    node_reopen(&p.a);
    node_replay(&p.a);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    assert_true(la->cut && !lb->cut);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, lb, da, NULL), 0);
    merge_mailbox_forget(p.a.st, &inbox); /* b could not */
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    assert_int_equal(next_in(&p.a), 4 + MERGE_LOST_UIDS);
    node_killed(&p.a);
    contact();
    assert_int_equal(next_in(&p.a), 4 + MERGE_LOST_UIDS);
    assert_int_equal(next_in(&p.b), 4 + MERGE_LOST_UIDS);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    node_killed(&p.a); /* no power cut */
    node_reopen(&p.b);
    add_new(&p.a, "u", "5.M1.x", "five\n");
    contact();
    assert_int_equal(next_in(&p.b), 3 * REPLICA_RAISE_BLOCK); /* the next one is raised to */
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
}

/* b is lost, and a client makes a mailbox on the new one before it has come there: what a has is
 * not numbered anew for that. Also when a's power goes before the two have merged. */
static void test_replaced(void **state) {
    char *list;

    common();
    node_replaced(&p.b);
    make_box(&p.b, "u");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000900 N1\n");
    add_seen(&p.b, "u", "9.M1.b", "2,", 1, "nine\n");
    assert_int_equal(base_unmerge(p.a.st), 0);
    node_reopen(&p.a);
    contact();
    inbox = fs_id(&p.a, "u");
    list = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(list, "3 V1700000000 "));
    free(list);
    assert_int_equal(uid_of(&p.a, "u", "1.M1.x"), 1);
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
    assert_int_equal(uid_of(&p.a, "u", "9.M1.b"), 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_lost_base),
        T(test_removed_and_both_cut),
        T(test_lost_base_of_a_young_one),
        T(test_uid_in_an_index),
        T(test_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
