/*
 * test_syncd_unread - a message that a has and cannot read, over two stores: it stays with a, under
 * its UID, and everything else is as if it were not there
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/check.h"
#include "syncd/collect.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/unread.h"
#include "merge_pair.h"
#include "oneway_pair.h"

#define BAD "4.M1.x"

/* As the peer's question for it ends. */
static void fails_at(struct node *n, const char *rel) {
    char path[400];
    struct stat sb;

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    assert_int_equal(stat(path, &sb), 0);
    unread_note(n->st, &inbox, UNREAD_MSG, BAD, -EIO, &sb);
}

static void fails(const char *rel) {
    fails_at(&p.a, rel);
}

/* a alone has the fourth, which cannot be read, and the fifth. */
static void apart(void) {
    common();
    add_seen(&p.a, "u", BAD, "2,", 4, "four\n");
    add_seen(&p.a, "u", "5.M1.x", "2,S", 5, "five\n");
    mark(&p.a, &inbox);
    fails("u/cur/" BAD ":2,");
}

/* It is on a alone, with this UID, and in no base; the lists agree on all else. */
static void assert_left(unsigned uid) {
    struct base_msg msg;

    assert_int_equal(uid_of(&p.a, "u", BAD), uid);
    assert_int_equal(uid_of(&p.b, "u", BAD), 0);
    assert_false(fs_there(&p.b, "u/cur/" BAD ":2,"));
    assert_int_equal(base_msg_get(p.a.st, BASE_AGREED, &inbox, BAD, &msg), -ENOENT);
    assert_int_equal(base_msg_get(p.b.st, BASE_AGREED, &inbox, BAD, &msg), -ENOENT);
    assert_true(next_in(&p.a) > uid && next_in(&p.b) > uid);
}

/* Under a UID that is above all that a Dovecot at b can have seen. */
static void assert_everywhere(const char *rel, const char *text) {
    unsigned uid = uid_of(&p.a, "u", BAD);
    char *there = fs_read(&p.b, rel);

    assert_non_null(there);
    assert_string_equal(there, text);
    free(there);
    assert_true(uid > 5);
    assert_int_equal(uid_of(&p.b, "u", BAD), uid);
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, BAD, NULL), UNREAD_NOT);
}

static void test_left(void **state) {
    apart();
    merge(&inbox);
    assert_left(4);
    assert_true(fs_there(&p.a, "u/cur/" BAD ":2,"));
    assert_int_equal(uid_of(&p.b, "u", "5.M1.x"), 5);
    assert_int_equal(next_in(&p.b), 6);
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, BAD, NULL), UNREAD_STILL);
    /* however often, and if b's part is listed in full */
    assert_int_equal(contact_merge_once(&p, &inbox, false), 0);
    assert_left(4);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_left(4);
}

/* Neither what a client does to it, nor its UID; but the next one. */
static void test_untold(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    apart();
    merge(&inbox);
    fs_rename(&p.a, "u/cur/" BAD ":2,", "u/cur/" BAD ":2,F");
    act_move(&a, MFL__SUB__CUR, BAD ":2,", MFL__SUB__CUR, BAD ":2,F");
    assert_null(node_collect(&p.a, &inbox, &a, true));
    acts_free(&a);
    /* what comes is told, and it is not with it */
    add_seen(&p.a, "u", "6.M1.x", "2,", 6, "six\n");
    fs_rename(&p.a, "u/cur/" BAD ":2,F", "u/cur/" BAD ":2,FS");
    a.n = 0;
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "6.M1.x:2,", 0);
    act_move(&a, MFL__SUB__CUR, BAD ":2,F", MFL__SUB__CUR, BAD ":2,FS");
    txn = node_collect(&p.a, &inbox, &a, true);
    assert_non_null(txn);
    for (size_t i = 0; i < txn->n_ops; i++) {
        if (txn->ops[i]->op_case == MFP__OP__OP_MSG)
            assert_string_equal(txn->ops[i]->msg->bname, "6.M1.x");
        if (txn->ops[i]->op_case == MFP__OP__OP_UIDLIST) {
            assert_int_equal(txn->ops[i]->uidlist->n_recs, 1);
            assert_int_equal(txn->ops[i]->uidlist->n, 7);
        }
    }
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(&a);
}

/* It had no UID; under L Dovecot gives it one, and b must not give that. */
static void test_numbered_later(void **state) {
    struct acts a = {.n = 0};

    common();
    add_new(&p.a, "u", BAD, "four\n");
    mark(&p.a, &inbox);
    fails("u/new/" BAD);
    merge(&inbox);
    assert_int_equal(next_in(&p.b), 4);
    fs_rename(&p.a, "u/new/" BAD, "u/cur/" BAD ":2,");
    fs_append(&p.a, "u/dovecot-uidlist", "4 :" BAD "\n");
    act_move(&a, MFL__SUB__NEW, BAD, MFL__SUB__CUR, BAD ":2,");
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, true));
    assert_left(4);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_left(4);
}

/* Both gave the UID, each alone: nobody has it afterwards. */
static void test_same_uid(void **state) {
    unsigned bad, other;

    apart();
    add_seen(&p.b, "u", "7.M1.y", "2,", 4, "seven\n");
    mark(&p.b, &inbox);
    merge(&inbox);
    bad = uid_of(&p.a, "u", BAD);
    other = uid_of(&p.a, "u", "7.M1.y");
    assert_true(bad > 5 && other > 5 && bad != other);
    assert_int_equal(uid_of(&p.b, "u", "7.M1.y"), other);
    assert_left(bad);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_left(bad);
}

/* What a's BAD is called when it has lost that name: of five bytes. */
#define LOSER BAD ".mf0000000000000005"

/* Both have given a message the name, and the UID. */
static void two_of_a_name(void) {
    common();
    add_seen(&p.a, "u", BAD, "2,", 4, "four\n");
    add_seen(&p.b, "u", BAD, "2,S", 4, "another\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    fails("u/cur/" BAD ":2,");
}

static void assert_text(struct node *n, const char *rel, const char *text) {
    char *there = fs_read(n, rel);

    assert_non_null(there);
    assert_string_equal(there, text);
    free(there);
}

/* Each has its own, on a without the name. Nobody's UID is 4: that was both's. */
static void assert_apart(void) {
    unsigned lost = uid_of(&p.a, "u", LOSER), other = uid_of(&p.b, "u", BAD);

    assert_text(&p.a, "u/cur/" LOSER ":2,", "four\n");
    assert_text(&p.b, "u/cur/" BAD ":2,S", "another\n");
    assert_false(fs_there(&p.b, "u/cur/" LOSER ":2,"));
    assert_int_equal(uid_of(&p.b, "u", LOSER), 0);
    assert_true(lost > 4 && other > 4 && lost != other);
    assert_true(next_in(&p.a) > lost && next_in(&p.a) > other && next_in(&p.b) == next_in(&p.a));
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, LOSER, NULL), UNREAD_STILL);
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, BAD, NULL), UNREAD_NOT);
}

static void readable_again(struct node *n) {
    struct unread_msg *msgs;
    size_t count;

    assert_int_equal(unread_list(n->st, &msgs, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(unread_try(n->st, &msgs[0], true), 1);
    free(msgs);
}

static void assert_both_everywhere(void) {
    struct node *n[] = {&p.a, &p.b};

    for (size_t i = 0; i < 2; i++) {
        assert_text(n[i], "u/cur/" LOSER ":2,", "four\n");
        assert_text(n[i], "u/cur/" BAD ":2,S", "another\n");
        assert_false(unread_in(n[i]->st, NULL));
    }
    assert_int_equal(uid_of(&p.a, "u", BAD), uid_of(&p.b, "u", BAD));
    assert_int_equal(uid_of(&p.a, "u", LOSER), uid_of(&p.b, "u", LOSER));
    assert_int_not_equal(uid_of(&p.a, "u", BAD), uid_of(&p.a, "u", LOSER));
}

/* The one that cannot be read loses the name, and the other one is on both. */
static void test_two_of_a_name(void **state) {
    two_of_a_name();
    merge(&inbox);
    assert_apart();
    assert_text(&p.a, "u/cur/" BAD ":2,S", "another\n");
    assert_int_equal(uid_of(&p.a, "u", BAD), uid_of(&p.b, "u", BAD));
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_apart();
    readable_again(&p.a);
    merge(&inbox);
    assert_both_everywhere();
    contact();
}

/* Neither can: each stays where it is, and comes when it can be read. */
static void test_two_unread(void **state) {
    two_of_a_name();
    fails_at(&p.b, "u/cur/" BAD ":2,S");
    merge(&inbox);
    assert_apart();
    assert_false(fs_there(&p.a, "u/cur/" BAD ":2,S"));
    assert_int_equal(uid_of(&p.a, "u", BAD), 0); /* which would be that of what comes */
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_apart();
    readable_again(&p.b);
    merge(&inbox);
    assert_apart();
    assert_text(&p.a, "u/cur/" BAD ":2,S", "another\n");
    readable_again(&p.a);
    merge(&inbox);
    assert_both_everywhere();
    contact();
}

/* It is put back: it is another file then, and comes. */
static void test_restored(void **state) {
    struct unread_msg *msgs;
    size_t n;

    apart();
    merge(&inbox);
    assert_int_equal(unread_list(p.a.st, &msgs, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), 0);
    fs_write(&p.a, "u/tmp-restored", "four!\n");
    fs_rename(&p.a, "u/tmp-restored", "u/cur/" BAD ":2,");
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), 1);
    free(msgs);
    merge(&inbox);
    assert_everywhere("u/cur/" BAD ":2,", "four!\n");
    contact(); /* and the two stores hold the same */
}

/* a alone has it, and can read it again; b has not asked for it. */
static void readable(void) {
    struct unread_msg *msgs;
    size_t n;

    apart();
    merge(&inbox);
    assert_int_equal(unread_list(p.a.st, &msgs, &n), 0);
    assert_int_equal(unread_try(p.a.st, &msgs[0], true), 1);
    free(msgs);
}

/* The same file can be read again. */
static void test_readable(void **state) {
    readable();
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, BAD, NULL), UNREAD_BEFORE);
    merge(&inbox);
    assert_everywhere("u/cur/" BAD ":2,", "four\n");
}

static void test_removed(void **state) {
    struct unread_msg *msgs;
    size_t n;

    apart();
    merge(&inbox);
    assert_int_equal(unread_list(p.a.st, &msgs, &n), 0);
    fs_unlink(&p.a, "u/cur/" BAD ":2,");
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), -ENOENT);
    unread_forget(p.a.st, &inbox, UNREAD_MSG, BAD);
    assert_false(unread_in(p.a.st, NULL));
    merge(&inbox);
    contact();
    free(msgs);
}

/* It can be read again, and is removed before b has asked for it: it is forgotten as well, and is
 * told of when it is there once more. */
static void test_removed_when_readable(void **state) {
    struct acts a = {.n = 0};

    readable();
    fs_unlink(&p.a, "u/cur/" BAD ":2,");
    merge(&inbox);
    assert_false(unread_in(p.a.st, NULL));
    fs_write(&p.a, "u/cur/" BAD ":2,", "four\n");
    act_add(&p.a, &a, "u", MFL__SUB__CUR, BAD ":2,", 0);
    stores_send(&p.a, &p.b, &inbox, &a, false);
    acts_free(&a);
    assert_true(fs_there(&p.b, "u/cur/" BAD ":2,"));
}

/* A syncd that is started anew does not know of it until it is asked for; its UID stays. */
static void test_started_anew(void **state) {
    apart();
    merge(&inbox);
    stores_checkpoint(&p);
    mark(&p.a, &inbox);
    node_killed(&p.a);
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_MSG, BAD, NULL), UNREAD_NOT);
    fails("u/cur/" BAD ":2,");
    merge(&inbox);
    assert_left(4);
}

/*
 * b is lost, and a cannot read a message that both had. What the new b has not got, and has agreed
 * not to have, is no removal: also if the power of a goes then.
 */
static void test_peer_replaced(void **state) {
    common();
    add_seen(&p.a, "u", BAD, "2,", 4, "four\n");
    mark(&p.a, &inbox);
    contact();
    fails("u/cur/" BAD ":2,");
    node_replaced(&p.b);
    contact_trees(&p, true);
    inbox = fs_id(&p.a, "u");
    fails("u/cur/" BAD ":2,");
    merge(&inbox);
    assert_left(4);
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
    mark(&p.a, &inbox);
    node_reopen(&p.a); /* its base is that of the last checkpoint */
    node_replay(&p.a);
    merge(&inbox);
    assert_true(fs_there(&p.a, "u/cur/" BAD ":2,"));
}

/* It is no difference that a verification has to mend. */
static void test_verified(void **state) {
    struct check_problems found = {0};

    apart();
    merge(&inbox);
    assert_int_equal(check_scan(p.a.st, &inbox, NULL, 0, &found), 0);
    assert_int_equal(found.n, 0);
    check_problems_free(&found);
}

/* A standby does without it, and brings nothing of it to another node that it follows. */
static void test_standby(void **state) {
    char path[400];
    struct stat sb;

    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N5\n3 :3.M1.x\n4 :" BAD "\n");
    fs_write(&ends.b, "u/cur/3.M1.x:2,", "three\n");
    fs_write(&ends.b, "u/cur/" BAD ":2,", "four\n");
    snprintf(path, sizeof(path), "%s/u/cur/" BAD ":2,", ends.b.store);
    assert_int_equal(stat(path, &sb), 0);
    unread_note(ends.b.st, &shared, UNREAD_MSG, BAD, -EIO, &sb);
    oneway_follow();
    oneway_only_follow();
    assert_true(fs_there(&ends.a, "u/cur/3.M1.x:2,"));
    assert_false(fs_there(&ends.a, "u/cur/" BAD ":2,"));
    assert_true(fs_there(&ends.b, "u/cur/" BAD ":2,"));
    assert_int_equal(uid_of(&ends.b, "u", BAD), 4);
    assert_int_equal(uid_of(&ends.a, "u", BAD), 0);
    assert_int_equal(oneway_told_to_second(BAD), -1);
    unread_forget(ends.b.st, &shared, UNREAD_MSG, BAD);
    oneway_only_follow();
    assert_true(fs_there(&ends.a, "u/cur/" BAD ":2,"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_left),
        CASE(test_untold),
        CASE(test_numbered_later),
        CASE(test_same_uid),
        CASE(test_two_of_a_name),
        CASE(test_two_unread),
        CASE(test_restored),
        CASE(test_readable),
        CASE(test_removed),
        CASE(test_removed_when_readable),
        CASE(test_started_anew),
        CASE(test_verified),
        CASE(test_peer_replaced),
        cmocka_unit_test_setup_teardown(test_standby, oneway_setup, oneway_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
