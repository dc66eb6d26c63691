/*
 * test_syncd_split - two messages of one name, over two stores, and the merge that gives one of
 * them another name is broken off on the node that has to give way: nothing is lost, and no UID is
 * the other message's
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/index.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "merge_pair.h"

#define NAME "4.M1.x"

/* The first step of a's merge that gives a file this name fails, or takes it, as do all after it: a
 * kill. */
static const char *fails_from;
static unsigned passes; /* so many times not yet */
static bool failed;

static int fails(const char *to) {
    if (!failed && strcmp(to, fails_from) == 0)
        failed = passes == 0 || passes-- == 0;
    return failed ? -EIO : 0;
}

static int rename_or_fail(int fromdir, const char *from, int todir, const char *to,
                          unsigned flags) {
    return fails(to) < 0 ? -EIO : io_ops_real.rename(fromdir, from, todir, to, flags);
}

static int link_or_fail(int fromdir, const char *from, int todir, const char *to, int flags) {
    return fails(to) < 0 ? -EIO : io_ops_real.link(fromdir, from, todir, to, flags);
}

static int unlink_or_fail(int dirfd, const char *name, int flags) {
    return fails(name) < 0 ? -EIO : io_ops_real.unlink(dirfd, name, flags);
}

/* The merge at a, up to there; b has not got as far as to change anything. */
static void broken_off_at(const char *to) {
    struct io_ops ops = io_ops_real;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *mine, *theirs, *came;

    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &mine), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &theirs), 0);
    came = listing_over_wire(theirs);
    stores_stage(&p.b, &p.a, came);
    ops.rename = rename_or_fail;
    ops.link = link_or_fail;
    ops.unlink = unlink_or_fail;
    fails_from = to;
    failed = false;
    io_ops_set(&ops);
    assert_true(merge_mailbox_run(p.a.st, &inbox, mine, came, digest, NULL) < 0);
    io_ops_set(&io_ops_real);
    assert_true(failed);
    merge_mailbox_forget(p.a.st, &inbox);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
    mfp__listing__free_unpacked(came, NULL);
}

static void text_is(struct node *n, const char *rel, const char *text) {
    char *there = fs_read(n, rel);

    assert_non_null(there);
    assert_string_equal(there, text);
    free(there);
}

/* Nothing is there twice. */
static void count_is(struct node *n, size_t expected) {
    struct store_dir d;
    struct index ix = {NULL};

    assert_int_equal(store_dir_open(n->st, &inbox, &d), 0);
    assert_int_equal(index_read(n->st, &d, &ix), 0);
    assert_int_equal(HASH_COUNT(ix.msgs), expected);
    index_free(&ix);
    store_dir_close(&d);
}

/* Both knew it, and what a has of it has become another one (an editor, a damaged disk): b's stays.
 */
static void both_stay(const char *at) {
    common();
    fs_write(&p.a, "u/cur/1.M1.x:2,", "o\n");
    mark(&p.a, &inbox);
    broken_off_at(at);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    text_is(&p.a, "u/cur/1.M1.x:2,", "one\n");
    text_is(&p.b, "u/cur/1.M1.x:2,", "one\n");
    text_is(&p.a, "u/cur/1.M1.x.mf0000000000000002:2,", "o\n");
    text_is(&p.b, "u/cur/1.M1.x.mf0000000000000002:2,", "o\n");
    count_is(&p.a, 4);
    count_is(&p.b, 4);
}

static void test_before_the_name(void **state) {
    both_stay("1.M1.x:2,");
}

static void test_before_the_list(void **state) {
    both_stay("dovecot-uidlist");
}

/* Each has delivered one; clients of a have seen its own under UID 4. */
static void uid_of_one(const char *at) {
    common();
    add_seen(&p.a, "u", NAME, "2,", 4, "four\n");
    add_new(&p.b, "u", NAME, "another\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    broken_off_at(at);
    assert_true(uid_of(&p.a, "u", NAME) != 4 || !fs_there(&p.a, "u/new/" NAME));
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    text_is(&p.b, "u/new/" NAME, "another\n");
    text_is(&p.b, "u/cur/" NAME ".mf0000000000000005:2,", "four\n");
    count_is(&p.a, 5);
    count_is(&p.b, 5);
    assert_int_not_equal(uid_of(&p.a, "u", NAME), 4);
    assert_int_not_equal(uid_of(&p.b, "u", NAME), 4);
}

static void test_uid_before_the_name(void **state) {
    uid_of_one(NAME);
}

static void test_uid_before_the_end(void **state) {
    uid_of_one(NAME ":2,");
}

static void test_uid_before_anything(void **state) {
    uid_of_one("4.M1.x.mf0000000000000005:2,");
}

/* The list is written twice: before the names change, and in the end. */
static void test_uid_before_the_list(void **state) {
    uid_of_one("dovecot-uidlist");
}

static void test_uid_before_the_last_list(void **state) {
    passes = 1;
    uid_of_one("dovecot-uidlist");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_before_the_name),         CASE(test_before_the_list),
        CASE(test_uid_before_the_name),     CASE(test_uid_before_the_end),
        CASE(test_uid_before_anything),     CASE(test_uid_before_the_list),
        CASE(test_uid_before_the_last_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
