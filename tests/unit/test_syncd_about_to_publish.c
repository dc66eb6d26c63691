/* A content that was prepared is about to be published, or half, when its origin's word of it, or a
 * merge, comes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "publish_pair.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"

/* And a has named it. */
static void about_to_be_published(void) {
    struct acts a = {.n = 0};

    publish_no_room();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
}

/* It was never there, so it was not removed; and what it was about to be called is no matter any
 * more. */
static void test_about_to_be_published(void **state) {
    struct stage_pub pub;

    about_to_be_published();
    contact();
    assert_true(fs_there(&p.a, "u/new/9.M9.a"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
}

/* The link is back, and all is merged, when a names it at last. */
static bool name_is_suspect(void) {
    struct acts a = {.n = 0};

    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    return stores_send(&p.a, &p.b, &inbox, &a, false);
}

static void name_and_tell(void) {
    assert_false(name_is_suspect());
}

/* Expunged at b before that, it goes at a as well. */
static void name_expunged(void) {
    assert_true(name_is_suspect());
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.a, "u/new/9.M9.a"));
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
}

/* It was never there, so it was not removed: it comes as any other, and not once more. */
static void test_about_to_be_published_and_told(void **state) {
    struct stage_pub pub;

    publish_no_room();
    name_and_tell();
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
    assert_int_equal(publish_again(), -EBUSY);
    stores_checkpoint(&p);
    assert_int_equal(publish_again(), 1);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/9.M9.a"));
    assert_false(fs_there(&p.a, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* Also where syncd is killed when the transaction is in its journal, for which what was prepared is
 * kept. */
static void test_about_to_be_published_and_killed(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;

    publish_no_room();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    txn = node_collect(&p.a, &inbox, &a, false);
    node_receive(&p.a, &p.b, txn, &got);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    assert_int_equal(publish_again(), -EBUSY);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    node_killed(&p.b);
    node_replay(&p.b);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_false(publish_is_left(&p.b));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

static int in_use;

static int commit_fails(const char *what) {
    in_use = publish_again();
    return -ENOSPC;
}

/* The next attempt meets the transaction on its way into the journal, for which the disk has no
 * room either: what was prepared may be all there is, so it is tried once more. */
static void test_about_to_be_published_and_refused(void **state) {
    struct io_ops ops = io_ops_real;
    struct acts a = {.n = 0};
    struct journal_entry e;
    Mfp__Txn *txn;

    publish_no_room();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    txn = node_collect(&p.a, &inbox, &a, false);
    e = (struct journal_entry){.txn = txn};
    ops.barrier = commit_fails;
    io_ops_set(&ops);
    assert_int_equal(journal_append(p.b.st, &e, 1), -ENOSPC);
    io_ops_set(&io_ops_real);
    mfp__txn__free_unpacked(txn, NULL);
    assert_int_equal(in_use, -EBUSY);
    assert_int_equal(publish_again(), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

static int aborted_and_no_room(int fd, const char *name, int to, const char *as, int flags) {
    assert_int_equal(stage_drop(p.b.st, &(struct stage_prep){77, 9}), 0);
    return -ENOSPC;
}

/* Its origin ends with it: who tries again finds nothing. */
static void test_about_to_be_published_and_aborted(void **state) {
    publish_no_room();
    assert_int_equal(stage_drop(p.b.st, &(struct stage_prep){77, 9}), 0);
    assert_int_equal(publish_again(), 1);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

/* Also where that comes in the midst of an attempt. */
static void test_aborted_while_published(void **state) {
    publish_stopped(aborted_and_no_room, -ENOSPC);
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
    assert_int_equal(publish_again(), 1);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

/* It is not in the stage any more (a power cut has torn it): it is fetched. */
static void test_about_to_be_published_and_lost(void **state) {
    publish_no_room();
    assert_int_equal(stage_drop(p.b.st, &(struct stage_prep){77, 9}), 0);
    name_and_tell();
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* Another message there has the name that this one did not get. */
static void test_about_to_be_published_as_another(void **state) {
    char *text;

    publish_no_room();
    fs_write(&p.b, "u/new/9.tmp", "another\n");
    name_and_tell();
    text = fs_read(&p.b, "u/new/9.M9.a");
    assert_non_null(text);
    assert_string_equal(text, "nine\n");
    free(text);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

/* It has the name, which is not known to be on the disk: it gets the one of its origin's. */
static void test_half_published_and_told(void **state) {
    publish_stopped(publish_name_and_error, -EIO);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    fs_rename(&p.b, "u/new/9.tmp", "u/cur/9.tmp:2,S");
    name_and_tell();
    assert_false(fs_there(&p.b, "u/cur/9.tmp:2,S"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    stores_checkpoint(&p);
    assert_int_equal(publish_again(), 1);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

static unsigned moves;

/* Somebody reads it in the moment before. */
static void read_at_once(const char *name) {
    if (moves++ == 0 && strcmp(name, "9.tmp") == 0)
        fs_rename(&p.b, "u/new/9.tmp", "u/cur/9.tmp:2,S");
}

static int read_and_rename(int fd, const char *from, int to, const char *as, unsigned flags) {
    read_at_once(from);
    return io_ops_real.rename(fd, from, to, as, flags);
}

static int read_and_open(int fd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    if (strcmp(path, "9.tmp") == 0)
        read_at_once(path);
    return io_ops_real.open(fd, path, flags, mode, resolve);
}

static int expunge_and_rename(int fd, const char *from, int to, const char *as, unsigned flags) {
    if (moves++ == 0)
        fs_unlink(&p.b, "u/new/9.tmp");
    return io_ops_real.rename(fd, from, to, as, flags);
}

static void name_meanwhile(const struct io_ops *ops, bool expunged) {
    moves = 0;
    io_ops_set(ops);
    assert_int_equal(name_is_suspect(), expunged);
    io_ops_set(&io_ops_real);
    assert_true(moves > 0);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_false(fs_there(&p.b, "u/cur/9.tmp:2,S"));
}

/* Between its being found and its new name: it is looked for once more. */
static void test_half_published_and_read(void **state) {
    struct io_ops ops = io_ops_real;

    ops.rename = read_and_rename;
    publish_stopped(publish_name_and_error, -EIO);
    name_meanwhile(&ops, false);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* Or before it can be compared with what was prepared, where it is not the same file. */
static void test_half_published_and_read_unseen(void **state) {
    struct io_ops ops = io_ops_real;

    ops.open = read_and_open;
    publish_no_room();
    fs_write(&p.b, "u/new/9.tmp", "nine\n");
    name_meanwhile(&ops, false);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* One that was there, and then was not, was expunged. */
static void test_half_published_and_expunged(void **state) {
    struct io_ops ops = io_ops_real;

    ops.rename = expunge_and_rename;
    publish_stopped(publish_name_and_error, -EIO);
    name_meanwhile(&ops, true);
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
}

/* A client has read it before the next attempt: that does not give it a second name. */
static void half_published_and_seen(void) {
    struct stage_pub pub;

    fs_rename(&p.b, "u/new/9.tmp", "u/cur/9.tmp:2,S");
    assert_int_equal(publish_again(), 0);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/cur/9.tmp:2,S"));
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), 0);
    assert_true(pub.done);
}

static void test_half_published_and_seen(void **state) {
    publish_stopped(publish_name_and_error, -EIO);
    half_published_and_seen();
}

/* Nor is it taken, by the next syncd, for one that a merge has named. */
static void test_half_published_and_killed(void **state) {
    publish_stopped(publish_name_and_error, -EIO);
    node_killed(&p.b);
    assert_true(publish_is_left(&p.b));
    half_published_and_seen();
}

/* It does not come back by that; nor when its origin names it. */
static void assert_undone_for_good(void) {
    struct stage_pub pub;

    assert_int_equal(publish_again(), 0);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), 0);
    assert_true(pub.done);
    name_expunged();
}

static void test_half_published_and_undone(void **state) {
    publish_half_undone();
    assert_undone_for_good();
}

static void test_half_published_undone_and_killed(void **state) {
    publish_half_undone();
    node_killed(&p.b);
    assert_true(publish_is_left(&p.b));
    assert_undone_for_good();
}

/* Its origin names it before there is a next attempt. */
static void test_half_published_undone_and_told(void **state) {
    publish_half_undone();
    name_expunged();
    stores_checkpoint(&p);
    assert_int_equal(publish_again(), 1);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
}

/* Or a merge says that it has: it was removed here. */
static void test_half_published_undone_and_merged(void **state) {
    struct acts a = {.n = 0};

    publish_half_undone();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.a, "u/new/9.M9.a"));
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
    assert_int_equal(publish_again(), 1);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

static int stays(int fd, const char *name, int flags) {
    return -EIO;
}

static int goes_and_error(int fd, const char *name, int flags) {
    int r = unlinkat(fd, name, flags);

    return r < 0 ? -errno : -EIO;
}

/* It has its name for good, and what was prepared of it stays in the stage. */
static void publish_and_leave(int (*unlink)(int, const char *, int)) {
    struct io_ops ops = io_ops_real;

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    ops.unlink = unlink;
    io_ops_set(&ops);
    assert_int_equal(publish_again(), -EIO);
    io_ops_set(&io_ops_real);
}

/* Its client expunges it before that goes: that is all the next attempt does. */
static void published_and_left(int (*unlink)(int, const char *, int)) {
    struct stage_prep prep = {77, 9};
    struct invals iv = {NULL, 0};

    publish_and_leave(unlink);
    fs_unlink(&p.b, "u/new/9.tmp");
    assert_int_equal(stage_publish(p.b.st, &prep, 1, &iv), 0);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_false(stage_has_prep(p.b.st, &prep));
    assert_int_equal(iv.n, 1); /* of the first attempt nobody was told */
    invals_free(&iv);
}

static void test_published_left_and_expunged(void **state) {
    published_and_left(stays);
}

static void test_published_gone_and_expunged(void **state) {
    published_and_left(goes_and_error);
}

/* Its client has expunged it, and it does not come back: not now, nor when syncd starts anew. */
static void assert_expunged_for_good(void) {
    struct stage_pub pub;

    fs_unlink(&p.b, "u/new/9.M9.a");
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
    assert_int_equal(publish_again(), 1);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    stores_checkpoint(&p);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
}

/* Its origin names it before the next attempt, and only then it is expunged. */
static void test_published_left_and_told(void **state) {
    publish_and_leave(stays);
    name_and_tell();
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_expunged_for_good();
}

static int prepared_stays(int fd, const char *name, int flags) {
    return strncmp(name, "p-", 2) == 0 ? -EIO : io_ops_real.unlink(fd, name, flags);
}

/* And it cannot be removed then either. */
static void test_published_stays_and_told(void **state) {
    struct io_ops ops = io_ops_real;

    ops.unlink = prepared_stays;
    publish_and_leave(stays);
    io_ops_set(&ops);
    name_and_tell();
    io_ops_set(&io_ops_real);
    assert_expunged_for_good();
}

/* It was expunged before its origin names it. */
static void test_published_left_expunged_and_told(void **state) {
    publish_and_leave(stays);
    fs_unlink(&p.b, "u/new/9.tmp");
    name_expunged();
    stores_checkpoint(&p);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
}

/* Or a merge gives it that name. */
static void test_published_stays_and_merged(void **state) {
    struct io_ops ops = io_ops_real;
    struct acts a = {.n = 0};

    ops.unlink = prepared_stays;
    publish_and_leave(stays);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    io_ops_set(&ops);
    contact();
    io_ops_set(&io_ops_real);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_expunged_for_good();
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_about_to_be_published),
        T(test_about_to_be_published_and_told),
        T(test_about_to_be_published_and_killed),
        T(test_about_to_be_published_and_refused),
        T(test_about_to_be_published_and_aborted),
        T(test_aborted_while_published),
        T(test_about_to_be_published_and_lost),
        T(test_about_to_be_published_as_another),
        T(test_half_published_and_told),
        T(test_half_published_and_read),
        T(test_half_published_and_read_unseen),
        T(test_half_published_and_expunged),
        T(test_half_published_and_seen),
        T(test_half_published_and_killed),
        T(test_half_published_and_undone),
        T(test_half_published_undone_and_killed),
        T(test_half_published_undone_and_told),
        T(test_half_published_undone_and_merged),
        T(test_published_left_and_expunged),
        T(test_published_gone_and_expunged),
        T(test_published_left_and_told),
        T(test_published_stays_and_told),
        T(test_published_left_expunged_and_told),
        T(test_published_stays_and_merged),
    };
    return cmocka_run_group_tests_name("syncd_about_to_publish", tests, NULL, NULL);
}
