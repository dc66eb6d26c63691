/* restore_mailbox(): what was bad is kept, and nothing takes its place but what is bad, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/undo.h"
#include "syncd/restore.h"
#include "syncd/state_int.h"
#include "mailbox_pair.h"
#include "syncd_contact.h"

#define ONE      "1000.M1.a"
#define TWO      "1001.M2.a"
#define LIST     "3 V1700000000 N5\n1 :" ONE "\n2 :" TWO "\n"
#define BAD_LIST "3 V1700000000 N5\n1 :" TWO "\n2 :" ONE "\n"
#define SUBS     "Sent\n"
#define BAD_SUBS "Nonsense\n"

static int setup(void **state) {
    mailbox_setup(state);
    fs_write(&p.a, "u/cur/" ONE ":2,", "one\n");
    fs_write(&p.a, "u/cur/" TWO ":2,", "two\n");
    fs_write(&p.a, "u/dovecot-uidlist", LIST);
    fs_write(&p.a, "u/subscriptions", SUBS);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    p.b.st->undo = io_undo_open(p.b.st->home);
    assert_true(p.b.st->undo >= 0);
    return 0;
}

static void restore(void) {
    struct invals inval = {0};

    assert_int_equal(restore_mailbox(p.b.st, &inbox, NULL, 0, &inval), 0);
    invals_free(&inval);
    stores_assert_equal(&p);
}

static void kept_is(const char *name, const char *text) {
    char hex[MAILFS_ID_HEX], rel[200], *have;

    snprintf(rel, sizeof(rel), ".mailfs/undo/%s/" IO_UNDO_DAMAGED "%s",
             mailfs_id_format(&inbox, hex), name);
    have = fs_read(&p.b, rel);
    if (text) {
        assert_non_null(have);
        assert_string_equal(have, text);
    } else {
        assert_null(have);
    }
    free(have);
}

static void bad_one_stays(void **state) {
    fs_write(&p.b, "u/dovecot-uidlist", BAD_LIST);
    restore();
    kept_is("dovecot-uidlist", BAD_LIST);
    kept_is("subscriptions", NULL);
    fs_write(&p.b, "u/subscriptions", BAD_SUBS);
    restore();
    kept_is("subscriptions", BAD_SUBS);
    kept_is("dovecot-uidlist", BAD_LIST);
    fs_rename(&p.b, "u/cur/" ONE ":2,", "u/cur/" ONE ":2,S");
    restore();
    kept_is("subscriptions", BAD_SUBS);
    kept_is("dovecot-uidlist", BAD_LIST);
}

/* 3 and 4 were expunged: what nobody agreed on does not get such a number from a bad list. */
static void no_number_again(void **state) {
    struct invals inval = {0};
    char *list;

    fs_write(&p.b, "u/cur/1002.M3.b:2,", "three\n");
    fs_write(&p.b, "u/cur/1003.M4.b:2,", "four\n");
    fs_write(&p.b, "u/dovecot-uidlist",
             "3 V1700000000 N8\n1 :" TWO "\n2 :" ONE "\n3 :1002.M3.b\n7 :1003.M4.b\n");
    assert_int_equal(restore_mailbox(p.b.st, &inbox, NULL, 0, &inval), 0);
    invals_free(&inval);
    list = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(list);
    assert_non_null(strstr(list, "\n2 :" TWO "\n"));
    assert_null(strstr(list, "1002.M3.b"));
    assert_non_null(strstr(list, "\n7 :1003.M4.b\n"));
    free(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bad_one_stays, setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(no_number_again, setup, mailbox_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
