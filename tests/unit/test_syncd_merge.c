/* The merge of a mailbox that was changed on one node, or on both, while they were alone: messages,
 * keywords, files, on two real stores. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

static void test_one_side(void **state) {
    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    add_new(&p.a, "u", "5.M1.x", "five\n");
    mark(&p.a, &inbox);
    contact();
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,F"));
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
    assert_true(fs_there(&p.b, "u/new/5.M1.x"));
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
}

static void test_both_sides(void **state) {
    unsigned u4, u5;

    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    fs_rename(&p.a, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,");
    fs_unlink(&p.b, "u/cur/3.M1.x:2,");
    add_seen(&p.a, "u", "4.M1.a", "2,", 4, "four of a\n");
    add_seen(&p.b, "u", "5.M1.b", "2,", 4, "five of b\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,FS"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,"));
    assert_false(fs_there(&p.a, "u/cur/3.M1.x:2,"));
    u4 = uid_of(&p.a, "u", "4.M1.a");
    u5 = uid_of(&p.a, "u", "5.M1.b");
    assert_true(u4 > 4 && u5 > 4 && u4 != u5); /* 4 was shown for both: it is retired */
    assert_int_equal(uid_of(&p.a, "u", "1.M1.x"), 1);
}

/* Nothing changed: the digests say so, and a merge changes nothing. */
static void test_nothing(void **state) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    char x[512];
    struct stat before, after;

    common();
    assert_int_equal(base_digest(p.a.st, &inbox, da), 0);
    assert_int_equal(base_digest(p.b.st, &inbox, db), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    snprintf(x, sizeof(x), "%s/u/dovecot-uidlist", p.b.store);
    stat(x, &before);
    merge(&inbox);
    stat(x, &after);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void test_kept_back(void **state) {
    DIR *d;
    char path[512];
    struct dirent *de;
    unsigned kept = 0;

    common();
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    mark(&p.a, &inbox);
    merge(&inbox);
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
    snprintf(path, sizeof(path), "%s/.mailfs/kept", p.b.store);
    d = opendir(path);
    while ((de = readdir(d)))
        kept += strncmp(de->d_name, "r-", 2) == 0;
    assert_int_equal(kept, 1);
    assert_int_equal(merge_caught_up(p.b.st, merge_keep_turn(p.b.st)), 0);
    rewinddir(d);
    kept = 0;
    while ((de = readdir(d)))
        kept += strncmp(de->d_name, "r-", 2) == 0;
    closedir(d);
    assert_int_equal(kept, 0);
}

static void test_keywords(void **state) {
    char *text;

    common();
    fs_write(&p.a, "u/dovecot-keywords", "0 Work\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_write(&p.b, "u/dovecot-keywords", "0 Home\n");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_rename(&p.b, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,a");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    text = fs_read(&p.a, "u/dovecot-keywords");
    assert_non_null(strstr(text, "Work"));
    assert_non_null(strstr(text, "Home"));
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,ab"));
    /* 3 has Home alone, under whatever letter it has now */
    if (strncmp(text, "0 Home", 6) == 0)
        assert_true(fs_there(&p.a, "u/cur/3.M1.x:2,a"));
    else
        assert_true(fs_there(&p.a, "u/cur/3.M1.x:2,b"));
    free(text);
}

static void test_files(void **state) {
    char *text;

    common();
    fs_write(&p.a, "u/x.sieve", "older\n");
    fs_set_mtime(&p.a, "u/x.sieve", 1000);
    fs_write(&p.b, "u/x.sieve", "newer\n");
    fs_set_mtime(&p.b, "u/x.sieve", 2000);
    fs_write(&p.a, "u/only-a", "a\n");
    fs_symlink(&p.b, "x.sieve", "u/.dovecot.sieve");
    fs_write(&p.a, "u/subscriptions", "One\nTwo\n");
    fs_write(&p.b, "u/subscriptions", "Two\nThree\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    text = fs_read(&p.a, "u/x.sieve");
    assert_string_equal(text, "newer\n");
    free(text);
    fs_unlink(&p.b, "u/only-a");
    fs_write(&p.b, "u/subscriptions", "Two\n");
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.a, "u/only-a"));
    text = fs_read(&p.a, "u/subscriptions");
    assert_string_equal(text, "Two\n");
    free(text);
}

static unsigned to_fail;

static int unlink_fails(int dirfd, const char *name, int flags) {
    if (strcmp(name, "subscriptions.lock") != 0 || to_fail == 0)
        return io_ops_real.unlink(dirfd, name, flags);
    to_fail--;
    return -EIO;
}

/* Nobody else would take that lock away: it is of a process that lives. */
static void test_subscriptions_unlocked(void **state) {
    struct io_ops ops = io_ops_real;

    common();
    fs_write(&p.a, "u/subscriptions", "One\n");
    fs_write(&p.b, "u/subscriptions", "Two\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    ops.unlink = unlink_fails;
    to_fail = 2;
    io_ops_set(&ops);
    contact();
    io_ops_set(&io_ops_real);
    assert_int_equal(to_fail, 0);
    assert_false(fs_there(&p.a, "u/subscriptions.lock"));
    assert_false(fs_there(&p.b, "u/subscriptions.lock"));
}

/* SUBSCRIBE takes no L: it may come while the mailbox is frozen, after the listing. */
static void test_subscribed_meanwhile(void **state) {
    uint8_t d[STATE_DIGEST];
    Mfp__Listing *la, *lb, *wa, *wb;
    char *text;

    common();
    fs_write(&p.a, "u/subscriptions", "One\n");
    fs_write(&p.b, "u/subscriptions", "Two\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    wa = listing_over_wire(la);
    wb = listing_over_wire(lb);
    fs_write(&p.a, "u/subscriptions", "One\nZoo\n");
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, wb, d, NULL), 0);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, wa, d, NULL), 0);
    assert_int_equal(merge_mailbox_done(p.a.st, &inbox), 0);
    assert_int_equal(merge_mailbox_done(p.b.st, &inbox), 0);
    text = fs_read(&p.a, "u/subscriptions");
    assert_non_null(strstr(text, "One\n"));
    assert_non_null(strstr(text, "Two\n"));
    assert_non_null(strstr(text, "Zoo\n"));
    free(text);
    assert_false(fs_there(&p.a, "u/subscriptions.lock"));
    contact();
    text = fs_read(&p.b, "u/subscriptions");
    assert_non_null(strstr(text, "Zoo\n"));
    free(text);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    mfp__listing__free_unpacked(wa, NULL);
    mfp__listing__free_unpacked(wb, NULL);
}

/* Two stores that never met: union, nothing is removed. */
static void test_first_contact(void **state) {
    fs_mkdir(&p.a, "u");
    fs_mkdir(&p.a, "u/cur");
    fs_mkdir(&p.a, "u/new");
    fs_mkdir(&p.a, "u/tmp");
    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.a, "u/.Sent/cur");
    fs_mkdir(&p.a, "u/.Sent/new");
    fs_mkdir(&p.b, "u");
    fs_mkdir(&p.b, "u/cur");
    fs_mkdir(&p.b, "u/new");
    fs_mkdir(&p.b, "w");
    fs_mkdir(&p.b, "w/cur");
    fs_mkdir(&p.b, "w/new");
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000001 N1\n");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000002 N1\n");
    fs_write(&p.a, "u/.Sent/dovecot-uidlist", "3 V1700000005 N1\n");
    add_seen(&p.a, "u", "1.M1.a", "2,S", 1, "one\n");
    add_seen(&p.b, "u", "2.M1.b", "2,", 1, "two\n");
    add_seen(&p.a, "u/.Sent", "3.M1.a", "2,S", 1, "sent\n");
    add_new(&p.b, "w", "4.M1.b", "w\n");
    fs_write(&p.a, "top", "a file in the root\n");
    assert_int_equal(state_set_contact(p.a.st, false), 0);
    assert_int_equal(state_set_contact(p.b.st, false), 0);
    contact();
    assert_true(fs_there(&p.b, "u/.Sent/cur/3.M1.a:2,S"));
    assert_true(fs_there(&p.a, "w/new/4.M1.b"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.b:2,"));
    assert_true(uid_of(&p.a, "u", "2.M1.b") > 0);
    assert_int_equal(uid_of(&p.b, "u/.Sent", "3.M1.a"), 1);
}

/* Since b listed it a UID has got another name there. Nothing is numbered over it, and it is said
 * which two messages it is about. */
static void test_uid_of_another(void **state) {
    uint8_t digest[STATE_DIGEST];
    char text[STATE_ERROR_MAX];
    Mfp__Listing *la, *lb;

    common();
    add_seen(&p.a, "u", "4.M1.a", "2,", 4, "four\n");
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    stores_stage(&p.a, &p.b, la);
    add_seen(&p.b, "u", "4.M1.b", "2,", 4, "another\n");
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, la, digest, NULL), -EEXIST);
    merge_mailbox_forget(p.b.st, &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    state_last_error(p.b.st, text);
    assert_non_null(strstr(text, "/u: cannot merge: UID 4 is 4.M1.b here, and 4.M1.a there"));
    assert_int_equal(uid_of(&p.b, "u", "4.M1.b"), 4);
    contact();
    assert_int_equal(uid_of(&p.b, "u", "4.M1.a"), uid_of(&p.a, "u", "4.M1.a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_one_side),
        T(test_both_sides),
        T(test_nothing),
        T(test_kept_back),
        T(test_keywords),
        T(test_files),
        T(test_subscribed_meanwhile),
        T(test_subscriptions_unlocked),
        cmocka_unit_test_setup_teardown(test_first_contact, merge_setup_empty, mailbox_teardown),
        T(test_uid_of_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
