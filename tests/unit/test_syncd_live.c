/* The way of a transaction: collect -> wire -> journal -> store, on two real stores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "syncd/apply.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "live_pair.h"

static void test_delivery_and_flags(void **state) {
    deliver_a("1.M1.a,S=6", "hello\n", 1);
    assert_true(fs_there(&p.b, "u/new/1.M1.a,S=6"));
    pick_up("1.M1.a,S=6", 1);
    flag("1.M1.a,S=6:2,", "1.M1.a,S=6:2,FS");
    deliver_a("2.M2.a", "second\n", 0); /* not prepared: it is fetched */
    pick_up("2.M2.a", 2);
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

static void test_expunge(void **state) {
    struct acts a = {.n = 0};

    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    fs_unlink(&p.a, "u/cur/1.M1.a:2,");
    act_remove(&a, MFL__SUB__CUR, "1.M1.a:2,");
    assert_false(send_a(&a, true));
    assert_false(fs_there(&p.b, "u/cur/1.M1.a:2,"));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

/* A message that is there again after a power cut is moved in once more, by a link of its file. */
static void moved_in_again(bool locked) {
    struct acts a = {.n = 0};

    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,S");
    fs_link(&p.a, "u/cur/1.M1.a:2,S", "u/tmp/1.M1.a");
    fs_rename(&p.a, "u/tmp/1.M1.a", "u/new/1.M1.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    fs_append(&p.a, "u/dovecot-uidlist", "2 :1.M1.a\n");
    assert_false(send_a(&a, locked));
}

static void test_moved_in_again(void **state) {
    moved_in_again(true);
    assert_false(fs_there(&p.a, "u/cur/1.M1.a:2,S"));
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

/* Somebody who picks up a message by link and unlink: the name is his to remove. */
static void test_linked_without_lock(void **state) {
    moved_in_again(false);
    assert_true(fs_there(&p.a, "u/cur/1.M1.a:2,S"));
    assert_true(fs_there(&p.a, "u/new/1.M1.a"));
}

static void test_copy_is_a_link(void **state) {
    struct mailfs_id sent = stores_mailbox(&p.a, &p.b, "u", ".Sent");
    struct acts a = {.n = 0};
    char x[512], y[512];
    struct stat s1, s2;

    deliver_a("1.M1.a", "one\n", 1);
    fs_link(&p.a, "u/new/1.M1.a", "u/.Sent/cur/1.M1.a:2,S");
    act_add_link(&p.a, &a, "u/.Sent", MFL__SUB__CUR, "1.M1.a:2,S", &inbox, MFL__SUB__NEW, "1.M1.a");
    assert_false(stores_send(&p.a, &p.b, &sent, &a, true));
    stores_assert_equal(&p);
    snprintf(x, sizeof(x), "%s/u/new/1.M1.a", p.b.store);
    snprintf(y, sizeof(y), "%s/u/.Sent/cur/1.M1.a:2,S", p.b.store);
    assert_int_equal(stat(x, &s1), 0);
    assert_int_equal(stat(y, &s2), 0);
    assert_int_equal(s1.st_ino, s2.st_ino);
    digests_equal(&sent);
}

/* Flags set on both sides at once: both are there, and the mailbox is to be merged. */
static void test_crossing_flags(void **state) {
    struct acts a = {.n = 0};

    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    fs_rename(&p.b, "u/cur/1.M1.a:2,", "u/cur/1.M1.a:2,F");
    fs_rename(&p.a, "u/cur/1.M1.a:2,", "u/cur/1.M1.a:2,S");
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    assert_true(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/cur/1.M1.a:2,FS"));
}

/* Several transactions on their way: each one's "was" is what the one before made. */
static void test_in_flight(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *t1, *t2, *t3;

    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    t1 = node_collect(&p.a, &inbox, &a, false);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,S", MFL__SUB__CUR, "1.M1.a:2,");
    t2 = node_collect(&p.a, &inbox, &a, false);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    assert_int_equal(base_acked(p.a.st, t1), 0);
    t3 = node_collect(&p.a, &inbox, &a, false);
    assert_string_equal(t2->ops[0]->msg->old->info, "2,S");
    assert_string_equal(t2->ops[0]->msg->now->info, "2,");
    assert_string_equal(t3->ops[0]->msg->old->info, "2,");
    base_forget_sent(p.a.st);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,F");
    mfp__txn__free_unpacked(t3, NULL);
    t3 = node_collect(&p.a, &inbox, &a, false);
    assert_string_equal(t3->ops[0]->msg->old->info, "2,S");
    mfp__txn__free_unpacked(t1, NULL);
    mfp__txn__free_unpacked(t2, NULL);
    mfp__txn__free_unpacked(t3, NULL);
}

static bool base_has(struct node *n, const char *base) {
    struct base_msg m;
    return base_msg_get(n->st, BASE_AGREED, &inbox, base, &m) == 0;
}

/* A message that could not be added is not in the base, or a merge would take it for removed here
 * and remove the only copy. Its entry, and what it holds, stay. */
static void test_not_done_is_not_agreed(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    struct apply_result res;
    uint64_t va, vb, id;

    fs_write(&p.a, "u/new/1.M1.a", "one\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    fs_unlink(&p.a, "u/new/1.M1.a"); /* the peer's Fetch finds nothing */
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), 0);
    assert_true(res.suspect);
    apply_result_free(&res);
    assert_true(base_has(&p.a, "1.M1.a"));
    assert_false(base_has(&p.b, "1.M1.a"));
    assert_int_equal(base_version_get(p.a.st, BASE_OF_MAILBOX, &inbox, &va), 0);
    assert_int_equal(base_version_get(p.b.st, BASE_OF_MAILBOX, &inbox, &vb), 0);
    assert_true(va > vb);
    assert_int_equal(journal_waiting(p.b.st), 1);
    /* moved back in: it is asked for again */
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    act_remove(&a, MFL__SUB__NEW, "1.M1.a");
    send_a(&a, false);
    fs_write(&p.a, "u/new/1.M1.a", "one again\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    assert_false(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    assert_true(base_has(&p.b, "1.M1.a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_delivery_and_flags), T(test_expunge),
        T(test_moved_in_again),     T(test_linked_without_lock),
        T(test_copy_is_a_link),     T(test_crossing_flags),
        T(test_in_flight),          T(test_not_done_is_not_agreed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
