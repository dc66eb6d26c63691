/* follow_list(): what was done to a standby's mailbox below its mount is not brought to its source,
 * and what is only on its way is not taken for that. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/follow.h"
#include "syncd/state_int.h"
#include "oneway_pair.h"

#define LIST "3 V1700000000 N3\n1 :1.M1.b\n2 :2.M1.b\n"

/* Nothing can be written at the source. */
static void some(void) {
    fs_write(&ends.b, "u/cur/1.M1.b:2,S", "one\n");
    fs_write(&ends.b, "u/cur/2.M1.b:2,a", "two\n");
    fs_write(&ends.b, "u/dovecot-uidlist", LIST);
    fs_write(&ends.b, "u/dovecot-keywords", "0 $Work\n");
    fs_write(&ends.b, "u/subscriptions", "Sent\n");
    oneway_follow();
    ends.b.st->read_only = true;
}

static void assert_text(struct node *n, const char *name, const char *want) {
    char *text = fs_read(n, name);

    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void assert_as_source(const char *list) {
    assert_text(&ends.a, "u/dovecot-uidlist", list);
    assert_text(&ends.b, "u/dovecot-uidlist", list);
    assert_text(&ends.a, "u/dovecot-keywords", "0 $Work\n");
    assert_text(&ends.a, "u/subscriptions", "Sent\n");
    assert_true(fs_there(&ends.a, "u/cur/1.M1.b:2,S") && fs_there(&ends.a, "u/cur/2.M1.b:2,a"));
    stores_assert_equal(&ends);
}

static void test_lists(void **state) {
    static const char *const bad[] = {"3 V1700000000 N3\n1 :2.M1.b\n2 :1.M1.b\n",
                                      "3 V1700000000 N9\n7 :1.M1.b\n8 :2.M1.b\n",
                                      "3 V1700000099 N3\n1 :1.M1.b\n2 :2.M1.b\n",
                                      "3 V1700000000 N90000\n1 :1.M1.b\n2 :2.M1.b\n",
                                      "3 V1700000000 N2\n1 :1.M1.b\n",
                                      "nothing\n",
                                      "3 V1700000000 N4\n1 :1.M1.b\n3 :9.M9.none\n"};

    some();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fs_write(&ends.a, "u/dovecot-uidlist", bad[i]);
        oneway_follow_sole();
        assert_as_source(LIST);
    }
    fs_unlink(&ends.a, "u/dovecot-uidlist");
    oneway_follow_sole();
    assert_as_source(LIST);
}

static void test_flags_and_texts(void **state) {
    some();
    fs_rename(&ends.a, "u/cur/1.M1.b:2,S", "u/cur/1.M1.b:2,FTc");
    fs_rename(&ends.a, "u/cur/2.M1.b:2,a", "u/new/2.M1.b");
    fs_write(&ends.a, "u/dovecot-keywords", "0 $Other\n5 $Nobody\n");
    fs_write(&ends.a, "u/subscriptions", "Nowhere\n");
    oneway_follow_sole();
    assert_as_source(LIST);
}

/* It stays where it is, whatever it has there, and goes nowhere. The UID is the source's to give.
 */
static void test_more(void **state) {
    some();
    fs_write(&ends.a, "u/cur/3.M1.a:2,Sf", "three\n");
    fs_write(&ends.a, "u/script", "discard;\n");
    fs_write(&ends.a, "u/dovecot-uidlist", "3 V1700000000 N4\n1 :1.M1.b\n2 :2.M1.b\n3 :3.M1.a\n");
    fs_write(&ends.b, "u/cur/4.M1.b:2,", "four\n");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N4\n1 :1.M1.b\n2 :2.M1.b\n3 :4.M1.b\n");
    oneway_follow_sole();
    assert_text(&ends.a, "u/cur/3.M1.a:2,Sf", "three\n");
    assert_text(&ends.a, "u/script", "discard;\n");
    assert_false(fs_there(&ends.b, "u/cur/3.M1.a:2,Sf") || fs_there(&ends.b, "u/script"));
    fs_unlink(&ends.a, "u/cur/3.M1.a:2,Sf");
    fs_unlink(&ends.a, "u/script");
    assert_as_source("3 V1700000000 N4\n1 :1.M1.b\n2 :2.M1.b\n3 :4.M1.b\n");
}

/* What the source has of it by now counts, and what it has removed has gone. */
static void test_changed_there(void **state) {
    some();
    fs_rename(&ends.a, "u/cur/1.M1.b:2,S", "u/cur/1.M1.b:2,FT");
    fs_rename(&ends.a, "u/cur/2.M1.b:2,a", "u/cur/2.M1.b:2,F");
    fs_write(&ends.a, "u/dovecot-uidlist", "3 V1700000000 N3\n1 :2.M1.b\n2 :1.M1.b\n");
    fs_rename(&ends.b, "u/cur/1.M1.b:2,S", "u/cur/1.M1.b:2,RS");
    fs_unlink(&ends.b, "u/cur/2.M1.b:2,a");
    fs_write(&ends.b, "u/dovecot-uidlist", "3 V1700000000 N3\n1 :1.M1.b\n");
    oneway_follow_sole();
    assert_true(fs_there(&ends.a, "u/cur/1.M1.b:2,RS"));
    assert_false(fs_there(&ends.a, "u/cur/2.M1.b:2,F") || fs_there(&ends.a, "u/cur/2.M1.b:2,a"));
    assert_text(&ends.a, "u/dovecot-uidlist", "3 V1700000000 N3\n1 :1.M1.b\n");
    stores_assert_equal(&ends);
}

/* ---- no damage ----------------------------------------------------------------------- */

static bool stays(const char *name) {
    struct invals inval = {0};
    Mfp__Listing *l;

    assert_int_equal(follow_list(links[0], &shared, false, &l, &inval), 0);
    mfp__listing__free_unpacked(l, NULL);
    invals_free(&inval);
    return fs_there(&ends.a, name);
}

/* A base of before the power cut, say. */
static void test_base_lacks(void **state) {
    some();
    assert_int_equal(base_lacking_note(links[0], &shared, false), 0);
    fs_rename(&ends.a, "u/cur/1.M1.b:2,S", "u/cur/1.M1.b:2,FS");
    assert_true(stays("u/cur/1.M1.b:2,FS"));
}

/* What another brought may be at that one alone: it is this node's to bring again. */
static void test_whom_it_is_fed_by(void **state) {
    assert_false(state_fed_alone(links[0]) || state_fed_alone(links[1]));
    assert_int_equal(state_set_fed_alone(links[0]), 0);
    assert_true(state_fed_alone(links[0]));
    fs_write(&ends.b, "u/cur/1.M1.b:2,S", "one\n");
    oneway_follow();
    assert_true(state_fed_alone(links[0]));
    assert_int_equal(state_set_fed_alone(links[1]), 0);
    oneway_killed();
    assert_true(state_fed_alone(links[1]));
    assert_false(state_fed_alone(links[0]));
    fs_write(&ends.b, "u/cur/2.M1.b:2,S", "two\n");
    oneway_follow();
    assert_false(state_fed_alone(links[0]) || state_fed_alone(links[1]));
    oneway_killed();
    assert_false(state_fed_alone(links[0]) || state_fed_alone(links[1]));
}

#define T(f) cmocka_unit_test_setup_teardown(f, oneway_setup, oneway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_lists),         T(test_flags_and_texts), T(test_more),
        T(test_changed_there), T(test_base_lacks),      T(test_whom_it_is_fed_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
