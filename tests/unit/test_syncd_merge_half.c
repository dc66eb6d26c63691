/* A merge that one node alone could carry out, and that is made anew with what came since. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/undo.h"
#include "syncd/base.h"
#include "syncd/half.h"
#include "syncd/hold.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "io_fault.h"
#include "merge_pair.h"

/* One side has applied the result, the other has not, and nobody confirmed: nothing is lost. */
static void test_half_a_merge(void **state) {
    uint8_t da[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    common();
    add_seen(&p.b, "u", "4.M1.b", "2,", 4, "four\n");
    mark(&p.b, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    stores_stage(&p.b, &p.a, lb);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, lb, da, NULL), 0);
    assert_true(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    merge_mailbox_forget(p.a.st, &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    contact();
    assert_true(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    assert_true(fs_there(&p.b, "u/cur/4.M1.b:2,"));
}

static void note_answers(struct node *n) {
    for (int i = 0; i < 5; i++)
        assert_int_equal(base_version_next(n->st, BASE_OF_MAILBOX, &inbox), 0);
}

/* What came to b that way is not b's own doing: cleared by somebody, on either node, it is clear.
 * ahead: before that, its node has noted an answer that the other has not; late: or after it, the
 * other one has, several. */
static void half_and_cleared(struct node *ahead, bool late) {
    for (int by_a = 0; by_a < 2; by_a++) {
        struct node *by = by_a ? &p.a : &p.b;

        if (!by_a)
            common();
        fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
        fs_rename(&p.a, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,a");
        fs_write(&p.a, "u/dovecot-keywords", "0 urgent\n");
        fs_rename(&p.b, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,FS");
        mark(&p.a, &inbox);
        mark(&p.b, &inbox);
        if (ahead)
            assert_int_equal(base_version_next(ahead->st, BASE_OF_MAILBOX, &inbox), 0);
        merge_at(&p.b, &p.a);
        if (late)
            note_answers(&p.a);
        assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,F"));
        assert_true(fs_there(&p.b, "u/cur/3.M1.x:2,a"));
        fs_rename(by, "u/cur/1.M1.x:2,F", "u/cur/1.M1.x:2,");
        fs_rename(by, "u/cur/3.M1.x:2,a", "u/cur/3.M1.x:2,");
        contact();
        assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,"));
        assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,"));
        assert_true(fs_there(&p.b, "u/cur/3.M1.x:2,"));
        assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,FS"));
        assert_true(fs_there(&p.b, "u/cur/2.M1.x:2,FS"));
        fs_rename(&p.b, "u/cur/2.M1.x:2,FS", "u/cur/2.M1.x:2,S"); /* and as it was, once more */
        mark(&p.b, &inbox);
        contact();
        assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    }
}

static void test_half_and_cleared(void **state) {
    struct node *const ahead[] = {NULL, &p.a, &p.b};

    for (int i = 0; i < 6; i++) {
        half_and_cleared(ahead[i / 2], i & 1);
        mailbox_teardown(state);
        merge_setup(state);
    }
}

static void gone_at_both(const char *rel) {
    assert_false(fs_there(&p.a, rel));
    assert_false(fs_there(&p.b, rel));
}

/* Came by that, and was expunged by somebody: it does not come back. again: the second merge, too,
 * was carried out by that node alone; late: the other one has noted answers since. */
static void half_and_expunged(struct node *by, bool again, bool late) {
    common();
    add_seen(&p.a, "u", "4.M1.a", "2,S", 4, "four\n");
    add_new(&p.a, "u", "5.M1.a", "five\n");
    add_new(&p.b, "u", "6.M1.b", "six\n");
    add_new(&p.a, "u", "7.M1.a", "seven\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    merge_at(&p.b, &p.a);
    if (late)
        note_answers(&p.a);
    assert_true(fs_there(&p.b, "u/cur/4.M1.a:2,S"));
    fs_unlink(by, "u/cur/4.M1.a:2,S");
    fs_unlink(by, "u/new/5.M1.a");
    fs_unlink(&p.b, "u/new/6.M1.b");
    if (again)
        merge_at(&p.b, &p.a);
    if (again) /* what that said nothing new of counts still */
        fs_unlink(by, "u/new/7.M1.a");
    contact();
    gone_at_both("u/cur/4.M1.a:2,S");
    gone_at_both("u/new/5.M1.a");
    gone_at_both("u/new/6.M1.b");
    assert_int_equal(fs_there(&p.a, "u/new/7.M1.a"), !again);
    assert_int_equal(fs_there(&p.b, "u/new/7.M1.a"), !again);
}

static void test_half_and_expunged(void **state) {
    for (int i = 0; i < 8; i++) {
        half_and_expunged(i & 1 ? &p.a : &p.b, i & 2, i & 4);
        mailbox_teardown(state);
        merge_setup(state);
    }
}

/* The other node is lost, and an empty one takes its place: what came by half of the first merge of
 * all was not removed by that. */
static void test_half_and_new_peer(void **state) {
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    fs_write(&p.b, "u/new/2.M1.b", "two\n");
    merge_at(&p.a, &p.b);
    fs_unlink(&p.b, "u/new/1.M1.b");
    fs_unlink(&p.b, "u/new/2.M1.b");
    p.b.st->life += 2;
    contact();
    assert_true(fs_there(&p.a, "u/new/1.M1.b"));
    assert_true(fs_there(&p.b, "u/new/1.M1.b"));
}

/* And one that says so is not even told of it. */
static void test_half_and_blank_peer(void **state) {
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    merge_at(&p.a, &p.b);
    assert_non_null(half_find(p.a.st, &inbox, "1.M1.b"));
    assert_int_equal(base_unmerge(p.a.st), 0);
    assert_null(half_find(p.a.st, &inbox, "1.M1.b"));
}

/* What went at one node while its removals were held back, and cannot be put back there, is not
 * removed at the other: that one has merged it, and no base knows it yet. */
static void test_half_and_held(void **state) {
    struct invals iv = {0};
    uint64_t n;

    common();
    add_new(&p.b, "u", "6.M1.b", "six\n");
    mark(&p.b, &inbox);
    merge_at(&p.a, &p.b);
    fs_unlink(&p.b, "u/new/6.M1.b");
    p.b.st->undo = io_undo_open(p.b.st->home);
    assert_int_equal(hold_put_back(p.b.st, &inbox, 0, &iv, &n), 0);
    invals_free(&iv);
    contact();
    assert_true(fs_there(&p.a, "u/new/6.M1.b"));
    assert_true(fs_there(&p.b, "u/new/6.M1.b"));
}

/* Two contents of one name: of which of them a half speaks cannot be said, so it does not. */
static void test_half_and_split(void **state) {
    common();
    add_seen(&p.a, "u", "8.M1.x", "2,S", 8, "the longer one\n");
    add_seen(&p.b, "u", "8.M1.x", "2,", 8, "short\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    merge_at(&p.a, &p.b);
    fs_unlink(&p.b, "u/cur/8.M1.x:2,");
    contact();
    assert_true(fs_there(&p.a, "u/cur/8.M1.x:2,S"));
    assert_true(fs_there(&p.b, "u/cur/8.M1.x:2,S"));
}

static void both_keywords(void) {
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,ab"));
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,ab"));
}

/*
 * Both nodes gave their first keyword, to one message; only one could merge that at first. The
 * other one may have been killed when it had the new table, and the message's letter not.
 */
static void test_half_and_keywords(void **state) {
    for (int i = 0; i < 8; i++) {
        struct node *here = i & 1 ? &p.a : &p.b, *other = i & 1 ? &p.b : &p.a;
        char *table;

        common();
        keyword(&p.a, i & 2 ? "Work" : "Home");
        keyword(&p.b, i & 2 ? "Home" : "Work");
        merge_at(here, other);
        table = fs_read(here, "u/dovecot-keywords");
        if (i & 4)
            fs_write(other, "u/dovecot-keywords", table);
        free(table);
        both_keywords();
        mailbox_teardown(state);
        merge_setup(state);
    }
}

/* b has carried out a merge, with a keyword of its own, when a names another one by that letter. So
 * b's letter has to change, and the merge fails when all names have the new one. */
static void letter_moves(unsigned fail_at) {
    common();
    fs_write(&p.b, "u/dovecot-keywords", "0 Work\n");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    merge_at(&p.b, &p.a);
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fa"));
    fs_write(&p.a, "u/dovecot-keywords", "0 Home\n");
    fs_rename(&p.a, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,Sa");
    fault_start(p.a.root, fail_at ? FAULT_FAIL : FAULT_NONE, fail_at, -EIO);
    assert_int_equal(try_at(&p.b, &p.a), fail_at ? -EIO : 0);
    fault_power_on();
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fb"));
}

/* What was kept of the first one, in letters, is not taken for something else by the third. */
static void test_half_and_letters(void **state) {
    unsigned steps;

    letter_moves(0);
    steps = fault_steps();
    mailbox_teardown(state);
    merge_setup(state);
    letter_moves(steps - 2); /* the last one is the sync of the store */
    fs_rename(&p.a, "u/cur/1.M1.x:2,F", "u/cur/1.M1.x:2,Fa");
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,Fab"));
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fab"));
}

/* Without a base: nothing is kept of what was the same on both before. */
static void test_half_of_the_same(void **state) {
    common();
    assert_int_equal(base_unmerge(p.a.st), 0);
    assert_int_equal(base_unmerge(p.b.st), 0);
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    merge_at(&p.b, &p.a);
    assert_non_null(half_find(p.b.st, &inbox, "1.M1.x"));
    assert_null(half_find(p.b.st, &inbox, "2.M1.x"));
    assert_null(half_find(p.b.st, &inbox, "3.M1.x"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_half_a_merge),        T(test_half_and_cleared),  T(test_half_and_keywords),
        T(test_half_and_letters),    T(test_half_and_expunged), T(test_half_and_new_peer),
        T(test_half_and_blank_peer), T(test_half_and_split),    T(test_half_of_the_same),
        T(test_half_and_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
