/* coming: merges of a one-way link that are broken off, and what a standby has got by then. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/state_int.h"
#include "io_fault.h"
#include "oneway_pair.h"

/* ---- carried out, and the connection ends before the other end hears of it ---------- */

static void follow_half(void) {
    assert_int_equal(oneway_follow_alone(FAULT_NONE, 0), 0);
    merge_mailbox_half(links[0], &shared);
}

/* It is not its own, to bring to another. */
static void test_half_is_lent(void **state) {
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    follow_half();
    assert_true(fs_there(&ends.a, "u/new/1.M1.b"));
    assert_int_equal(oneway_told_to_second("1.M1.b"), 1);
    oneway_follow();
    assert_int_equal(oneway_told_to_second("1.M1.b"), 1);
    assert_true(fs_there(&ends.a, "u/new/1.M1.b") && fs_there(&ends.b, "u/new/1.M1.b"));
}

/* Nor to bring back to where it is from. */
static void test_half_is_followed(void **state) {
    oneway_follow();
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    fs_write(&ends.b, "u/cur/2.M1.b:2,S", "two\n");
    fs_write(&ends.b, "u/cur/3.M1.b:2,S", "three\n");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N4\n2 :2.M1.b\n3 :3.M1.b\n");
    fs_write(&ends.b, "u/script", "keep;\n");
    follow_half();
    assert_true(fs_there(&ends.a, "u/new/1.M1.b") && fs_there(&ends.a, "u/script"));
    assert_true(fs_there(&ends.a, "u/cur/2.M1.b:2,S") && fs_there(&ends.a, "u/cur/3.M1.b:2,S"));
    fs_unlink(&ends.b, "u/new/1.M1.b");
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,S");
    fs_rename(&ends.b, "u/cur/3.M1.b:2,S", "u/cur/3.M1.b:2,");
    fs_unlink(&ends.b, "u/script");
    oneway_follow();
    assert_false(fs_there(&ends.a, "u/new/1.M1.b") || fs_there(&ends.b, "u/new/1.M1.b"));
    assert_false(fs_there(&ends.a, "u/cur/2.M1.b:2,S") || fs_there(&ends.b, "u/cur/2.M1.b:2,S"));
    assert_true(fs_there(&ends.a, "u/cur/3.M1.b:2,") && fs_there(&ends.b, "u/cur/3.M1.b:2,"));
    assert_false(fs_there(&ends.a, "u/script") || fs_there(&ends.b, "u/script"));
}

/* What it removed so is there again: nobody removed that. */
static void test_half_removal(void **state) {
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    oneway_follow();
    fs_rename(&ends.b, "u/new/1.M1.b", "u/tmp/1.M1.b");
    follow_half();
    assert_false(fs_there(&ends.a, "u/new/1.M1.b"));
    fs_rename(&ends.b, "u/tmp/1.M1.b", "u/new/1.M1.b");
    oneway_follow();
    assert_true(fs_there(&ends.a, "u/new/1.M1.b") && fs_there(&ends.b, "u/new/1.M1.b"));
}

/* The power of the end it came from was cut, and it is not there any more: then it was not removed,
 * and this may be the only copy. */
static void test_half_and_power_cut(void **state) {
    oneway_follow();
    assert_int_equal(state_checkpoint(ends.b.st, 0, NULL, 0), 0);
    contact_mark(&ends.b, &shared);
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    follow_half();
    fs_unlink(&ends.b, "u/new/1.M1.b");
    node_reopen(&ends.b);
    oneway_follow();
    assert_true(fs_there(&ends.a, "u/new/1.M1.b") && fs_there(&ends.b, "u/new/1.M1.b"));
}

/* The other end is as it was before some of the mail came, its state, too: a copy of its disk was
 * put back. What it lacks it did not remove, and this may be the only copy. */
static void test_half_and_put_back(void **state) {
    fs_write(&ends.b, "u/cur/1.M1.b:2,S", "one\n");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N2\n1 :1.M1.b\n");
    oneway_follow();
    assert_int_equal(state_checkpoint(ends.b.st, 0, NULL, 0), 0);
    fs_write(&ends.b, "u/cur/2.M1.b:2,S", "two\n");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N3\n1 :1.M1.b\n2 :2.M1.b\n");
    oneway_follow();
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,S");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N2\n1 :1.M1.b\n");
    node_reopen(&ends.b);
    assert_int_equal(base_lacking_merged(ends.b.st, &shared), 0); /* it was quiet then */
    fs_write(&ends.b, "u/new/3.M1.b", "three\n");
    follow_half();
    assert_true(fs_there(&ends.a, "u/new/3.M1.b") && fs_there(&ends.a, "u/cur/2.M1.b:2,S"));
    oneway_follow();
    assert_true(fs_there(&ends.a, "u/cur/2.M1.b:2,S") && fs_there(&ends.b, "u/cur/2.M1.b:2,S"));
    assert_true(fs_there(&ends.a, "u/new/3.M1.b") && fs_there(&ends.b, "u/new/3.M1.b"));
}

/* What the standby has itself for the other end, that one has not got. */
static void test_half_of_both(void **state) {
    struct base_msg msg;

    oneway_follow();
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    fs_write(&ends.a, "u/new/2.M1.a", "two\n");
    follow_half();
    assert_true(fs_there(&ends.a, "u/new/1.M1.b"));
    assert_int_equal(oneway_told_to_second("1.M1.b"), 1);
    assert_int_equal(oneway_told_to_second("2.M1.a"), 0);
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &shared, "2.M1.a", &msg), -ENOENT);
    fs_unlink(&ends.b, "u/new/1.M1.b");
    oneway_follow();
    assert_true(fs_there(&ends.b, "u/new/2.M1.a") && fs_there(&ends.a, "u/new/2.M1.a"));
    assert_false(fs_there(&ends.a, "u/new/1.M1.b") || fs_there(&ends.b, "u/new/1.M1.b"));
}

/* One of the name of a message of its own is not that one. */
static void test_half_of_one_name(void **state) {
    struct base_msg msg;

    oneway_follow();
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    fs_write(&ends.a, "u/new/1.M1.b", "another\n");
    follow_half();
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &shared, "1.M1.b", &msg), -ENOENT);
}

/* An active end takes nothing that a standby has brought for what both have. */
static void test_half_of_active(void **state) {
    struct base_msg msg;

    oneway_follow();
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    assert_int_equal(oneway_follow_alone(FAULT_NONE, 0), 0);
    merge_mailbox_forget(links[0], &shared);
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &shared, "1.M1.b", &msg), -ENOENT);
    oneway_killed();
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &shared, "1.M1.b", &msg), -ENOENT);
}

/* ---- broken off anywhere ----------------------------------------------------------- */

#define LIST "3 V1700000000 "

/* Both have two messages. */
static void first(void) {
    fs_write(&ends.b, "u/cur/3.M1.b:2,S", "three\n");
    fs_write(&ends.b, "u/cur/4.M1.b:2,", "four\n");
    fs_write(&ends.b, "u/dovecot-uidlist", LIST "N5\n3 :3.M1.b\n4 :4.M1.b\n");
    oneway_follow();
}

/* Some come, one changes, one goes, at the other end. */
static void then(void) {
    fs_write(&ends.b, "u/new/1.M1.b", "one\n");
    fs_write(&ends.b, "u/cur/2.M1.b:2,S", "two\n");
    fs_rename(&ends.b, "u/cur/3.M1.b:2,S", "u/cur/3.M1.b:2,FS");
    fs_rename(&ends.b, "u/cur/4.M1.b:2,", "u/tmp/4.M1.b");
    fs_write(&ends.b, "u/dovecot-uidlist", LIST "N6\n3 :3.M1.b\n5 :2.M1.b\n");
    fs_write(&ends.b, "u/script", "keep;\n");
}

/* It is as it was there. */
static void undone(void) {
    fs_unlink(&ends.b, "u/new/1.M1.b");
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,S");
    fs_rename(&ends.b, "u/cur/3.M1.b:2,FS", "u/cur/3.M1.b:2,S");
    fs_rename(&ends.b, "u/tmp/4.M1.b", "u/cur/4.M1.b:2,");
    fs_write(&ends.b, "u/dovecot-uidlist", LIST "N6\n3 :3.M1.b\n4 :4.M1.b\n");
    fs_unlink(&ends.b, "u/script");
}

static void assert_lent(const char *base, const char *rel) {
    assert_int_equal(oneway_told_to_second(base), fs_there(&ends.a, rel) ? 1 : -1);
}

static void assert_undone(struct node *n) {
    assert_false(fs_there(n, "u/new/1.M1.b") || fs_there(n, "u/cur/2.M1.b:2,S"));
    assert_true(fs_there(n, "u/cur/3.M1.b:2,S") && fs_there(n, "u/cur/4.M1.b:2,"));
    assert_false(fs_there(n, "u/script"));
}

/* What had come by then is not the standby's: it brings it neither to another nor back. */
static void assert_followed(void) {
    assert_lent("1.M1.b", "u/new/1.M1.b");
    assert_lent("2.M1.b", "u/cur/2.M1.b:2,S");
    undone();
    oneway_follow();
    assert_undone(&ends.a);
    assert_undone(&ends.b);
}

/* At this step; was there one? */
static bool break_at(enum fault_kind kind, unsigned at, bool own) {
    int r;

    first();
    then();
    if (own)
        fs_write(&ends.a, "u/new/9.M1.a", "nine\n");
    r = oneway_follow_alone(kind, at);
    if (kind == FAULT_KILL)
        oneway_killed();
    else
        merge_mailbox_half(links[0], &shared);
    assert_followed();
    assert_int_equal(fs_there(&ends.b, "u/new/9.M1.a"), own);
    return fault_happened() && r < 0;
}

static void break_everywhere(void **state, enum fault_kind kind, bool own) {
    unsigned at = 0;

    while (break_at(kind, at++, own)) {
        oneway_teardown(state);
        oneway_setup(state);
    }
    assert_true(at > 10);
}

static void test_killed_anywhere(void **state) {
    break_everywhere(state, FAULT_KILL, false);
}

static void test_killed_with_its_own(void **state) {
    break_everywhere(state, FAULT_KILL, true);
}

static void test_disk_full_anywhere(void **state) {
    break_everywhere(state, FAULT_FAIL_ON, false);
}

/* syncd is killed while it takes over what came. */
static void test_killed_after(void **state) {
    unsigned at = 0;
    bool more;

    do {
        first();
        then();
        assert_int_equal(oneway_follow_alone(FAULT_NONE, 0), 0);
        fault_start(ends.a.root, FAULT_KILL, at++, 0);
        merge_mailbox_half(links[0], &shared);
        fault_power_on();
        more = fault_happened();
        oneway_killed();
        assert_followed();
        oneway_teardown(state);
        oneway_setup(state);
    } while (more);
    assert_true(at > 1);
}

/* A merge that came to its end leaves nothing to take over: what goes here later went here. */
static void test_not_after_the_end(void **state) {
    struct base_msg msg;

    first();
    then();
    oneway_follow();
    fs_unlink(&ends.a, "u/cur/2.M1.b:2,S");
    oneway_killed();
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &shared, "2.M1.b", &msg), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, oneway_setup, oneway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_half_is_lent),        T(test_half_is_followed),   T(test_half_removal),
        T(test_half_and_power_cut),  T(test_half_and_put_back),  T(test_half_of_both),
        T(test_half_of_one_name),    T(test_half_of_active),     T(test_killed_anywhere),
        T(test_killed_with_its_own), T(test_disk_full_anywhere), T(test_killed_after),
        T(test_not_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
