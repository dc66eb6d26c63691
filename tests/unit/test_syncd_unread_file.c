/*
 * test_syncd_unread_file - a file that is no message, which a has and cannot read, over two stores:
 * each keeps what it has, nothing else waits for it, and it comes when it can be read
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/check.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/unread.h"
#include "merge_pair.h"

#define ACL "u/dovecot-acl"

static char bad[PATH_MAX]; /* what the disk does not give; "": it gives all */
static unsigned asked;

ssize_t pread64(int fd, void *to, size_t n, off64_t off) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    char link[64], path[PATH_MAX];
    ssize_t len;

    if (!real)
        real = (ssize_t(*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = *bad ? readlink(link, path, sizeof(path) - 1) : 0;
    path[len > 0 ? len : 0] = '\0';
    if (*bad && strcmp(path, bad) == 0) {
        asked++;
        errno = EIO;
        return -1;
    }
    return real(fd, to, n, off);
}

static int setup(void **state) {
    *bad = '\0';
    return merge_setup(state);
}

static int teardown(void **state) {
    *bad = '\0';
    return mailbox_teardown(state);
}

static void fails(void) {
    char path[400];

    snprintf(path, sizeof(path), "%s/" ACL, p.a.store);
    assert_non_null(realpath(path, bad));
}

/* Some time ago: two that are written one after the other can have one time. */
static void write_before(struct node *n, time_t seconds, const char *text) {
    struct timespec ts[2] = {{.tv_sec = time(NULL) - seconds}};
    char path[400];

    fs_write(n, ACL, text);
    ts[1] = ts[0];
    snprintf(path, sizeof(path), "%s/" ACL, n->store);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
}

static void acl_is(struct node *n, const char *text) {
    bool was = *bad;
    char *have;

    *bad = '\0';
    have = fs_read(n, ACL);
    if (was)
        fails();
    if (!text) {
        assert_null(have);
        return;
    }
    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

static void assert_in_no_base(void) {
    struct node *n[] = {&p.a, &p.b};
    struct base_file file;

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(base_file_get(n[i]->st, BASE_AGREED, &inbox, "dovecot-acl", &file),
                         -ENOENT);
}

static void assert_noted(void) {
    assert_int_equal(unread_is(p.a.st, &inbox, UNREAD_FILE, "dovecot-acl", NULL), UNREAD_STILL);
    assert_false(unread_in(p.b.st, NULL));
}

static void readable_again(void) {
    struct unread_msg *msgs;
    size_t n;

    assert_int_equal(unread_list(p.a.st, &msgs, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(unread_try(p.a.st, &msgs[0], true), 0);
    *bad = '\0';
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), 0);
    assert_int_equal(unread_try(p.a.st, &msgs[0], true), 1);
    free(msgs);
}

static void in_the_end(const char *text) {
    merge(&inbox);
    acl_is(&p.a, text);
    acl_is(&p.b, text);
    assert_false(unread_in(p.a.st, NULL));
    contact();
}

/* Each node keeps its own until then. */
static void merged_when_read(void) {
    merge(&inbox);
    acl_is(&p.a, "owner lrs\n");
    acl_is(&p.b, "owner lr\n");
    assert_in_no_base();
    readable_again();
    in_the_end("owner lrs\n");
}

static void both_have(const char *text) {
    common();
    write_before(&p.a, 30, text);
    mark(&p.a, &inbox);
    merge(&inbox);
    acl_is(&p.b, text);
}

/* a alone has it: the rest is merged, and it is not read at each listing. */
static void test_left(void **state) {
    struct check_problems found = {0};

    common();
    write_before(&p.a, 20, "owner lr\n");
    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    mark(&p.a, &inbox);
    fails();
    merge(&inbox);
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
    acl_is(&p.b, NULL);
    assert_in_no_base();
    assert_noted();
    asked = 0;
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_int_equal(asked, 0);
    assert_noted();
    assert_int_equal(check_scan(p.a.st, &inbox, NULL, 0, &found), 0);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.v[0].kind, CHECK_UNREADABLE);
    check_problems_free(&found);
    readable_again();
    in_the_end("owner lr\n");
}

/* It is put back, or removed: a mailbox's merge says so. */
static void test_restored(void **state) {
    struct unread_msg *msgs;
    size_t n;

    common();
    write_before(&p.a, 20, "owner lr\n");
    mark(&p.a, &inbox);
    fails();
    merge(&inbox);
    assert_int_equal(unread_list(p.a.st, &msgs, &n), 0);
    *bad = '\0';
    fs_write(&p.a, "u/new-acl", "owner lrs\n");
    fs_rename(&p.a, "u/new-acl", ACL);
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), 1);
    in_the_end("owner lrs\n");
    fs_unlink(&p.a, ACL);
    assert_int_equal(unread_try(p.a.st, &msgs[0], false), -ENOENT);
    free(msgs);
}

/* Both have it, and nobody has touched it: what it says is known, and what b makes of it comes. */
static void test_agreed(void **state) {
    struct acts a = {.n = 0};

    both_have("owner lr\n");
    fails();
    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    mark(&p.a, &inbox);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
    assert_false(unread_in(p.a.st, NULL));
    write_before(&p.b, 20, "owner lrs\n");
    act_file(&a, "dovecot-acl");
    assert_false(stores_send(&p.b, &p.a, &inbox, &a, false));
    acts_free(&a);
    acl_is(&p.a, "owner lrs\n");
    write_before(&p.b, 10, "owner lrst\n");
    mark(&p.b, &inbox);
    merge(&inbox);
    *bad = '\0';
    in_the_end("owner lrst\n");
}

/* The peer has asked for it. It is in neither base then, also if the power of a goes: else it would
 * have been removed by agreement. */
static void test_asked_for(void **state) {
    char path[400];
    struct stat sb;

    both_have("owner lr\n");
    stores_checkpoint(&p);
    fails();
    snprintf(path, sizeof(path), "%s/" ACL, p.a.store);
    assert_int_equal(stat(path, &sb), 0);
    fs_unlink(&p.b, ACL);
    unread_note(p.a.st, &inbox, UNREAD_FILE, "dovecot-acl", -EIO, &sb);
    mark(&p.a, &inbox);
    assert_int_equal(contact_merge_once(&p, &inbox, true), 0);
    assert_in_no_base();
    assert_noted();
    acl_is(&p.a, "owner lr\n");
    node_reopen(&p.a);
    mark(&p.a, &inbox);
    merge(&inbox);
    acl_is(&p.a, "owner lr\n");
    readable_again();
    in_the_end("owner lr\n");
}

/* What is written to it cannot be read back: that is not told, and the rest of it is. */
static void test_told(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    both_have("owner lr\n");
    write_before(&p.a, 10, "owner lrs\n");
    fails();
    add_new(&p.a, "u", "4.M1.x", "four\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "4.M1.x", 0);
    act_file(&a, "dovecot-acl");
    txn = node_collect(&p.a, &inbox, &a, false);
    assert_non_null(txn);
    assert_int_equal(txn->n_ops, 1);
    assert_int_equal(txn->ops[0]->op_case, MFP__OP__OP_MSG);
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(&a);
    assert_noted();
    mark(&p.a, &inbox);
    merged_when_read();
}

/* A client writes to it, and it cannot be read back: that is not told. */
static void written_unread(void) {
    struct acts a = {.n = 0};

    write_before(&p.a, 10, "owner lrs\n");
    fails();
    act_file(&a, "dovecot-acl");
    assert_null(node_collect(&p.a, &inbox, &a, false));
    acts_free(&a);
}

/* Both list, a sees that it cannot be read, and then both merge what they have listed. */
static void merge_and_meanwhile(void (*meanwhile)(void)) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    unread_listing_begins(p.a.st, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    meanwhile();
    stores_stage(&p.a, &p.b, la);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, lb, da, NULL), 0);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, la, db, NULL), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    assert_int_equal(merge_mailbox_done(p.a.st, &inbox), 0);
    assert_int_equal(merge_mailbox_done(p.b.st, &inbox), 0);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
}

/* What was listed says nothing of what is written after that: were it forgotten with the merge, the
 * mailbox would lose its mark, and b would never get it. */
static void test_told_since_listed(void **state) {
    both_have("owner lr\n");
    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    mark(&p.a, &inbox);
    merge_and_meanwhile(written_unread);
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
    assert_noted();
    merged_when_read();
}

/* Nor is it in b's base when b's power goes: a's is removed, as whoever has it is told to, and b's
 * stays. */
static void test_power_of_the_other(void **state) {
    both_have("owner lr\n");
    stores_checkpoint(&p);
    write_before(&p.a, 10, "owner lrs\n");
    fails();
    mark(&p.a, &inbox);
    merge(&inbox);
    assert_in_no_base();
    node_reopen(&p.b);
    *bad = '\0';
    fs_unlink(&p.a, ACL);
    unread_forget(p.a.st, &inbox, UNREAD_FILE, "dovecot-acl");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    in_the_end("owner lr\n");
}

/* b makes one of its own meanwhile, and tells a: each keeps what it has, until a's can be read. */
static void test_both_write(void **state) {
    struct acts a = {.n = 0};

    common();
    write_before(&p.a, 20, "owner lr\n");
    mark(&p.a, &inbox);
    fails();
    merge(&inbox);
    write_before(&p.b, 10, "owner lrs\n");
    act_file(&a, "dovecot-acl");
    assert_true(stores_send(&p.b, &p.a, &inbox, &a, false)); /* it is to be merged */
    acts_free(&a);
    acl_is(&p.a, "owner lr\n");
    merge(&inbox);
    acl_is(&p.a, "owner lr\n");
    acl_is(&p.b, "owner lrs\n");
    assert_in_no_base();
    readable_again();
    in_the_end("owner lrs\n");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_left),       CASE(test_restored),
        CASE(test_agreed),     CASE(test_asked_for),
        CASE(test_told),       CASE(test_told_since_listed),
        CASE(test_both_write), CASE(test_power_of_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
