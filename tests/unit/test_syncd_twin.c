/* Two files of one base name in a mailbox: none of them is put in the other's place. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/merge.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "merge_pair.h"

#define TWIN "another one\n"

static void assert_text(struct node *n, const char *rel, const char *text) {
    char *have = fs_read(n, rel);

    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

/* What was `base` is a message of its own, with its flags. */
static void has_split(struct node *n, const char *base, const char *info, const char *text) {
    char split[256], rel[300];

    merge_split_name(base, strlen(text), split);
    snprintf(rel, sizeof(rel), "u/cur/%s:%s", split, info);
    assert_text(n, rel, text);
}

static void twin_is_on(struct node *n, const char *info) {
    has_split(n, "1.M1.x", info, TWIN);
}

/* a changes the one that the nodes agreed on, and b has another by the name it gets. */
static void test_in_a_merge(void **state) {
    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    mark(&p.a, &inbox);
    fs_write(&p.b, "u/cur/1.M1.x:2,S", TWIN);
    assert_int_equal(try_at(&p.b, &p.a), -ESTALE);
    assert_text(&p.b, "u/cur/1.M1.x:2,S", "one\n");
    twin_is_on(&p.b, "2,S");
    contact();
    assert_text(&p.a, "u/cur/1.M1.x:2,S", "one\n");
    assert_text(&p.b, "u/cur/1.M1.x:2,S", "one\n");
    twin_is_on(&p.a, "2,S");
    twin_is_on(&p.b, "2,S");
    assert_int_equal(uid_of(&p.b, "u", "1.M1.x"), 1);
}

/* What the twin would be called is a third one's name. */
static void test_of_three(void **state) {
    char base[256], next[256], rel[300];

    common();
    merge_split_name("1.M1.x", strlen(TWIN), base);
    merge_split_name(base, strlen(TWIN), next);
    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_write(&p.b, rel, "a third\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    mark(&p.a, &inbox);
    fs_write(&p.b, "u/cur/1.M1.x:2,S", TWIN);
    assert_int_equal(try_at(&p.b, &p.a), -ESTALE);
    assert_text(&p.b, rel, "a third\n");
    snprintf(rel, sizeof(rel), "u/cur/%s:2,S", next);
    assert_text(&p.b, rel, TWIN);
}

/* Two names of one file are one message. */
static void test_of_one_file(void **state) {
    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    mark(&p.a, &inbox);
    fs_link(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    contact();
    assert_text(&p.b, "u/cur/1.M1.x:2,S", "one\n");
    assert_false(fs_there(&p.b, "u/cur/1.M1.x:2,"));
    stores_assert_equal(&p);
}

/* The flags of both come together by a transaction. */
static void test_in_a_transaction(void **state) {
    struct acts a = {.n = 0};

    common();
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_write(&p.b, "u/cur/1.M1.x:2,FS", TWIN);
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    act_move(&a, MFL__SUB__CUR, "1.M1.x:2,", MFL__SUB__CUR, "1.M1.x:2,S");
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, true));
    assert_text(&p.b, "u/cur/1.M1.x:2,FS", "one\n");
    twin_is_on(&p.b, "2,FS");
    contact();
    assert_text(&p.a, "u/cur/1.M1.x:2,FS", "one\n");
    twin_is_on(&p.a, "2,FS");
}

#define THEIRS "of the other node\n"

/* b has another message of that name, and the longer one keeps it. What a's listing has of the two
 * that a has makes way for it; the other one is in its way, and is not taken for it. */
static void test_where_another_node_s_comes(void **state) {
    Mfp__Listing *theirs;

    common();
    fs_write(&p.a, "u/cur/9.M9.x:2,", "one more\n");
    fs_write(&p.a, "u/cur/9.M9.x:2,S", TWIN);
    fs_write(&p.b, "u/cur/9.M9.x:2,S", THEIRS);
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &theirs), 0);
    stores_stage(&p.b, &p.a, theirs);
    mfp__listing__free_unpacked(theirs, NULL);
    assert_int_equal(try_at(&p.a, &p.b), -ESTALE);
    assert_text(&p.a, "u/cur/9.M9.x:2,S", THEIRS);
    has_split(&p.a, "9.M9.x", "2,S", TWIN);
    contact();
    assert_text(&p.a, "u/cur/9.M9.x:2,S", THEIRS);
    assert_text(&p.b, "u/cur/9.M9.x:2,S", THEIRS);
    has_split(&p.a, "9.M9.x", "2,", "one more\n");
    has_split(&p.b, "9.M9.x", "2,", "one more\n");
    has_split(&p.a, "9.M9.x", "2,S", TWIN);
    has_split(&p.b, "9.M9.x", "2,S", TWIN);
}

/* The one in its way is this message: of a merge that was broken off. It is there once. */
static void test_where_it_is_already(void **state) {
    char split[256], rel[300];

    common();
    fs_write(&p.a, "u/cur/9.M9.x:2,", "one more\n");
    fs_write(&p.a, "u/cur/9.M9.x:2,S", THEIRS);
    fs_write(&p.b, "u/cur/9.M9.x:2,S", THEIRS);
    fs_set_mtime(&p.a, "u/cur/9.M9.x:2,S", 1000);
    fs_set_mtime(&p.b, "u/cur/9.M9.x:2,S", 1000);
    mark(&p.a, &inbox);
    contact();
    assert_text(&p.a, "u/cur/9.M9.x:2,S", THEIRS);
    has_split(&p.b, "9.M9.x", "2,", "one more\n");
    merge_split_name("9.M9.x", strlen(THEIRS), split);
    snprintf(rel, sizeof(rel), "u/cur/%s:2,S", split);
    assert_false(fs_there(&p.a, rel));
    assert_false(fs_there(&p.b, rel));
}

/* b removed the message, and has another one by its name since; a had flagged the removed one, and
 * lists it. It goes, and is not taken for the other, whether that has its very name or not. */
static void replaced_as(const char *name) {
    char rel[64];

    common();
    snprintf(rel, sizeof(rel), "u/cur/%s", name);
    fs_unlink(&p.b, "u/cur/1.M1.x:2,");
    fs_write(&p.b, rel, THEIRS);
    fs_append(&p.b, "u/dovecot-uidlist", "4 :1.M1.x\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    mark(&p.b, &inbox);
    contact();
    assert_text(&p.a, rel, THEIRS);
    assert_text(&p.b, rel, THEIRS);
    stores_assert_equal(&p);
}

static void test_where_a_removed_one_is(void **state) {
    replaced_as("1.M1.x:2,F");
}

static void test_where_a_removed_one_has_other_flags(void **state) {
    replaced_as("1.M1.x:2,S");
}

/* One gets the name of what b has after a has been listed: nobody has removed that. */
static void arrived_as(const char *rel) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *mine, *theirs;

    common();
    fs_write(&p.b, "u/cur/9.M9.x:2,S", THEIRS);
    mark(&p.b, &inbox);
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &mine), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &theirs), 0);
    stores_stage(&p.b, &p.a, theirs);
    fs_write(&p.a, rel, TWIN);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, mine, theirs, digest, NULL), -ESTALE);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
    contact();
    assert_text(&p.a, "u/cur/9.M9.x:2,S", THEIRS);
    assert_text(&p.b, "u/cur/9.M9.x:2,S", THEIRS);
    stores_assert_equal(&p);
}

static void test_where_one_has_come(void **state) {
    arrived_as("u/cur/9.M9.x:2,S");
    has_split(&p.a, "9.M9.x", "2,S", TWIN);
    has_split(&p.b, "9.M9.x", "2,S", TWIN);
}

static void test_where_one_has_come_with_other_flags(void **state) {
    arrived_as("u/cur/9.M9.x:2,F");
    has_split(&p.a, "9.M9.x", "2,F", TWIN);
    has_split(&p.b, "9.M9.x", "2,F", TWIN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_in_a_merge),
        T(test_of_three),
        T(test_of_one_file),
        T(test_in_a_transaction),
        T(test_where_another_node_s_comes),
        T(test_where_it_is_already),
        T(test_where_a_removed_one_is),
        T(test_where_a_removed_one_has_other_flags),
        T(test_where_one_has_come),
        T(test_where_one_has_come_with_other_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
