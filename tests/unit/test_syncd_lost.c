/* What is gone from a standby's store below its mount: it comes again, and is not removed where it
 * is from. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "oneway_pair.h"

/* ---- messages and files ------------------------------------------------------------ */

/* The other node that is followed has not heard of the mailbox. */
static void some(void) {
    assert_int_equal(base_dir_del(links[1], &shared), 0);
    fs_write(&ends.b, "u/cur/1.M1.b:2,S", "one\n");
    fs_write(&ends.b, "u/cur/2.M1.b:2,", "two\n");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N3\n1 :1.M1.b\n2 :2.M1.b\n");
    fs_write(&ends.b, "u/script", "keep;\n");
    oneway_follow();
    assert_true(fs_there(&ends.a, "u/cur/2.M1.b:2,"));
}

static void test_lost(void **state) {
    char *text;

    some();
    fs_unlink(&ends.a, "u/cur/1.M1.b:2,S");
    fs_unlink(&ends.a, "u/script");
    oneway_only_follow();
    assert_true(fs_there(&ends.b, "u/cur/1.M1.b:2,S") && fs_there(&ends.b, "u/script"));
    assert_true(fs_there(&ends.a, "u/cur/1.M1.b:2,S") && fs_there(&ends.a, "u/script"));
    text = fs_read(&ends.a, "u/dovecot-uidlist");
    assert_non_null(strstr(text, "\n1 :1.M1.b\n"));
    free(text);
}

/* What the other end has removed meanwhile is removed. */
static void test_lost_and_removed(void **state) {
    some();
    fs_unlink(&ends.a, "u/cur/1.M1.b:2,S");
    fs_unlink(&ends.b, "u/cur/1.M1.b:2,S");
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,");
    oneway_only_follow();
    assert_false(fs_there(&ends.a, "u/cur/1.M1.b:2,S") || fs_there(&ends.a, "u/cur/2.M1.b:2,"));
    assert_false(fs_there(&ends.b, "u/cur/1.M1.b:2,S") || fs_there(&ends.b, "u/cur/2.M1.b:2,"));
}

/* What another that is followed besides has removed stays so. */
static void test_removed_by_another(void **state) {
    some();
    fs_unlink(&ends.a, "u/cur/1.M1.b:2,S");
    oneway_agree_on(links[1], &shared);
    assert_int_equal(oneway_told_to_second("2.M1.b"), 1);
    oneway_only_follow();
    assert_false(fs_there(&ends.a, "u/cur/1.M1.b:2,S"));
    assert_true(fs_there(&ends.b, "u/cur/1.M1.b:2,S"));
}

static size_t lines_agreed(struct state *st) {
    Mfp__Listing *l;
    size_t n;

    assert_int_equal(scan_mailbox(st, &shared, true, &l), 0);
    n = l->n_subs_base;
    mfp__listing__free_unpacked(l, NULL);
    return n;
}

/* Nobody has unsubscribed. */
static void test_lost_subscriptions(void **state) {
    char *text;

    some();
    fs_write(&ends.b, "u/subscriptions", "One\nTwo\n");
    oneway_follow();
    fs_unlink(&ends.a, "u/subscriptions");
    oneway_only_follow();
    assert_true(fs_there(&ends.a, "u/subscriptions"));
    text = fs_read(&ends.b, "u/subscriptions");
    assert_string_equal(text, "One\nTwo\n");
    free(text);
    fs_unlink(&ends.a, "u/subscriptions");
    fs_unlink(&ends.b, "u/subscriptions");
    oneway_only_follow();
    assert_int_equal(lines_agreed(links[0]), 0);
    assert_int_equal(lines_agreed(ends.b.st), 0);
}

/* Nobody has it any more: the other end, which is filled anew, or has lost its base, does not wait
 * for what this one cannot give it. */
static void test_lost_everywhere(void **state) {
    some();
    fs_unlink(&ends.a, "u/cur/1.M1.b:2,S");
    fs_unlink(&ends.b, "u/cur/1.M1.b:2,S");
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,");
    fs_unlink(&ends.b, "u/dovecot-uidlist");
    assert_int_equal(base_dir_del(ends.b.st, &shared), 0);
    oneway_only_follow();
    assert_true(fs_there(&ends.a, "u/cur/2.M1.b:2,") && fs_there(&ends.b, "u/cur/2.M1.b:2,"));
    assert_false(fs_there(&ends.a, "u/cur/1.M1.b:2,S") || fs_there(&ends.b, "u/cur/1.M1.b:2,S"));
}

/* Of a merge that was broken off the standby has what came, as where nothing is lost. */
static void test_lost_and_broken_off(void **state) {
    some();
    fs_unlink(&ends.a, "u/cur/1.M1.b:2,S");
    fs_write(&ends.b, "u/new/3.M1.b", "three\n");
    oneway_only_follow_half();
    assert_true(fs_there(&ends.a, "u/cur/1.M1.b:2,S") && fs_there(&ends.a, "u/new/3.M1.b"));
    fs_unlink(&ends.b, "u/new/3.M1.b");
    oneway_only_follow();
    assert_false(fs_there(&ends.a, "u/new/3.M1.b") || fs_there(&ends.b, "u/new/3.M1.b"));
    assert_true(fs_there(&ends.a, "u/cur/1.M1.b:2,S") && fs_there(&ends.b, "u/cur/1.M1.b:2,S"));
}

/* ---- directories ------------------------------------------------------------------- */

static const Mfp__TreeDir *listed(const Mfp__Tree *t, const struct mailfs_id *id) {
    for (size_t i = 0; i < t->n_dirs; i++) {
        if (memcmp(t->dirs[i]->id.data, id->b, MAILFS_ID_BYTES) == 0)
            return t->dirs[i];
    }
    return NULL;
}

/* One that was agreed on, with mail in it, and is not there; and its mailbox is marked by who finds
 * it gone. */
static struct mailfs_id without_dir(bool with_second) {
    struct base_msg msg = {.sub = MFP__SUB__CUR, .info = "2,S"};
    struct mailfs_id id;
    Mfp__Listing *l;

    fs_mkdir(&ends.a, "u/.Work");
    id = fs_id(&ends.a, "u/.Work");
    for (size_t i = 0; i < 1 + (size_t)with_second; i++) {
        struct base_dir rec = {.parent = shared, .name = ".Work", .agreed = true, .merged = true};
        assert_int_equal(base_dir_put(links[i], &id, &rec), 0);
        assert_int_equal(base_msg_put(links[i], BASE_AGREED, &id, "1.M1.b", &msg), 0);
    }
    fs_rename(&ends.a, "u/.Work", ".mailfs/trash/work");
    assert_int_equal(scan_mailbox_following(links[0], &id, false, &links[1], 1, &l), 0);
    assert_true(l->gone);
    mfp__listing__free_unpacked(l, NULL);
    return id;
}

static void test_lost_dir(void **state) {
    struct mailfs_id id = without_dir(true);
    uint8_t digest[STATE_DIGEST], zero[STATE_DIGEST] = {0};
    struct base_dir rec;
    struct base_msg msg;
    Mfp__Tree *t;

    assert_int_equal(tree_scan_following(links[0], false, &links[1], 1, &t, digest, NULL), 0);
    assert_null(listed(t, &id));
    assert_memory_equal(digest, zero, STATE_DIGEST); /* all is compared */
    mfp__tree__free_unpacked(t, NULL);
    assert_int_equal(base_dir_get(links[0], &id, &rec), -ENOENT);
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &id, "1.M1.b", &msg), -ENOENT);
}

static void test_dir_removed_by_another(void **state) {
    struct mailfs_id id = without_dir(false);
    uint8_t digest[STATE_DIGEST];
    struct base_dir rec;
    Mfp__Tree *t;

    assert_int_equal(tree_scan_following(links[0], false, &links[1], 1, &t, digest, NULL), 0);
    assert_true(listed(t, &id)->borrowed);
    assert_false(listed(t, &id)->has);
    mfp__tree__free_unpacked(t, NULL);
    assert_int_equal(base_dir_get(links[0], &id, &rec), 0);
}

/* One that may have removed it itself says so. */
static void test_dir_removed_here(void **state) {
    struct mailfs_id id = without_dir(true);
    uint8_t digest[STATE_DIGEST];
    Mfp__Tree *t;

    assert_int_equal(tree_scan_for(links[0], false, &links[1], 1, &t, digest, NULL), 0);
    assert_false(listed(t, &id)->borrowed || listed(t, &id)->has);
    mfp__tree__free_unpacked(t, NULL);
}

/* ---- since when -------------------------------------------------------------------- */

static void test_followed(void **state) {
    assert_false(state_followed(links[0], 0));
    assert_int_equal(state_set_followed(links[0], 0), 0);
    assert_true(state_followed(links[0], 0));
    assert_false(state_followed(links[0], 1)); /* it was promoted, and is a standby again */
    assert_int_equal(state_set_followed(links[0], 2), 0);
    oneway_killed();
    assert_true(state_followed(links[0], 2));
    assert_false(state_followed(links[0], 0) || state_followed(links[1], 2));
}

#define T(f) cmocka_unit_test_setup_teardown(f, oneway_setup, oneway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_lost),
        T(test_lost_and_removed),
        T(test_removed_by_another),
        T(test_lost_subscriptions),
        T(test_lost_everywhere),
        T(test_lost_and_broken_off),
        T(test_lost_dir),
        T(test_dir_removed_by_another),
        T(test_dir_removed_here),
        T(test_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
