/* The way of what is no message: control files, scripts and their like, on two real stores; see
 * test_syncd_live.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "syncd/apply.h"
#include "live_pair.h"

static void test_uidlist_tail_and_rewrite(void **state) {
    struct acts a = {.n = 0};
    struct stat before, after;
    char path[512], *text;
    Mfp__Txn *txn;
    int i;

    for (i = 1; i <= 5; i++) {
        char base[32];
        snprintf(base, sizeof(base), "%d.M.a", i);
        deliver_a(base, "x\n", (uint64_t)i);
        snprintf(path, sizeof(path), "%s/u/dovecot-uidlist", p.b.store);
        if (i == 5)
            stat(path, &before);
        pick_up(base, (unsigned)i);
    }
    stat(path, &after);
    assert_int_equal(before.st_ino, after.st_ino); /* appended in place */
    stores_assert_equal(&p);
    /* Dovecot rewrites it, nothing new: no record is sent again. */
    text = fs_read(&p.a, "u/dovecot-uidlist");
    fs_write(&p.a, "u/dovecot-uidlist.tmp", "3 V1700000000 N6 G0123456789abcdef0123456789abcdef\n");
    fs_append(&p.a, "u/dovecot-uidlist.tmp", strchr(text, '\n') + 1);
    free(text);
    fs_rename(&p.a, "u/dovecot-uidlist.tmp", "u/dovecot-uidlist");
    txn = node_collect(&p.a, &inbox, &a, true);
    assert_null(txn);
    /* A higher N alone is news. */
    text = fs_read(&p.a, "u/dovecot-uidlist");
    fs_write(&p.a, "u/dovecot-uidlist.tmp",
             "3 V1700000000 N70000 G0123456789abcdef0123456789abcdef\n");
    fs_append(&p.a, "u/dovecot-uidlist.tmp", strchr(text, '\n') + 1);
    free(text);
    fs_rename(&p.a, "u/dovecot-uidlist.tmp", "u/dovecot-uidlist");
    assert_false(send_a(&a, true));
    text = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(text, " N70000"));
    free(text);
    stat(path, &before);
    assert_true(before.st_ino != after.st_ino);
    digests_equal(&inbox);
}

static void test_control_files(void **state) {
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/dovecot-keywords", "0 Junk\n1 Work\n");
    fs_write(&p.a, "u/subscriptions", "V\t2\n\nSent\nDrafts\n");
    act_file(&a, "dovecot-keywords");
    act_file(&a, "subscriptions");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    fs_write(&p.a, "u/subscriptions", "V\t2\n\nDrafts\nWork\tLong\n");
    act_file(&a, "subscriptions");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

static void test_other_files(void **state) {
    struct acts a = {.n = 0};
    char *big = malloc(200001);

    memset(big, 'x', 200000);
    big[200000] = '\0';
    fs_write(&p.a, "u/filter.sieve", "keep;\n");
    fs_symlink(&p.a, "filter.sieve", "u/.dovecot.sieve");
    fs_write(&p.a, "u/big", big); /* too large to go along: fetched */
    act_file(&a, "filter.sieve");
    act_file(&a, ".dovecot.sieve");
    act_file(&a, "big");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    fs_unlink(&p.a, "u/.dovecot.sieve");
    act_file(&a, ".dovecot.sieve");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    digests_equal(&inbox);
    free(big);
}

static void test_maildirsize(void **state) {
    struct acts a = {.n = 0};
    char *text;

    fs_write(&p.b, "u/maildirsize", "1000000S\n100 1\n");
    deliver_a("1.M1.a,S=4", "one\n", 1);
    text = fs_read(&p.b, "u/maildirsize");
    assert_string_equal(text, "1000000S\n100 1\n4 1\n");
    free(text);
    fs_unlink(&p.a, "u/new/1.M1.a,S=4");
    act_remove(&a, MFL__SUB__NEW, "1.M1.a,S=4");
    send_a(&a, false);
    text = fs_read(&p.b, "u/maildirsize");
    assert_string_equal(text, "1000000S\n100 1\n4 1\n-4 -1\n");
    free(text);
}

/* An act outside L never binds a UID, whatever it says. */
static void test_unlocked_binds_nothing(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    deliver_a("1.M1.a", "one\n", 1);
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1\n7 :1.M1.a\n");
    act_file(&a, "dovecot-uidlist");
    txn = node_collect(&p.a, &inbox, &a, false);
    assert_null(txn);
}

/* Half a line at the end of a uidlist, from a crash: nothing is written behind it. */
static void test_torn_uidlist(void **state) {
    char *text;

    deliver_a("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    deliver_a("2.M1.a", "two\n", 2);
    fs_append(&p.b, "u/dovecot-uidlist", "2 :2.M");
    pick_up("2.M1.a", 2);
    text = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(text, "\n1 :1.M1.a\n2 :2.M1.a\n"));
    free(text);
    stores_assert_equal(&p);
}

/* Whatever the peer says, no file becomes setuid, and none is written past its class. */
static void test_hostile_file(void **state) {
    char path[512];
    struct stat sb;
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    struct apply_result res;
    uint64_t id;

    fs_write(&p.a, "u/run", "#!/bin/sh\n");
    snprintf(path, sizeof(path), "%s/u/run", p.a.store);
    assert_int_equal(chmod(path, 06755), 0);
    act_file(&a, "run");
    assert_false(send_a(&a, false));
    snprintf(path, sizeof(path), "%s/u/run", p.b.store);
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0755);
    fs_write(&p.a, "u/x", "3 V1 N1\n");
    act_file(&a, "x");
    txn = node_collect(&p.a, &inbox, &a, false);
    free(txn->ops[0]->file->name);
    txn->ops[0]->file->name = strdup("dovecot-uidlist");
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), -EPERM);
    apply_result_free(&res);
    assert_false(fs_there(&p.b, "u/dovecot-uidlist"));
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_uidlist_tail_and_rewrite),
        T(test_control_files),
        T(test_other_files),
        T(test_maildirsize),
        T(test_unlocked_binds_nothing),
        T(test_torn_uidlist),
        T(test_hostile_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
