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
#include "merge_pair.h"

#define TWIN "another one\n"

static void assert_text(struct node *n, const char *rel, const char *text) {
    char *have = fs_read(n, rel);

    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

/* As what was 1.M1.x it is a message of both nodes, with its flags. */
static void twin_is_on(struct node *n, const char *info) {
    char base[256], rel[300];

    merge_split_name("1.M1.x", strlen(TWIN), base);
    snprintf(rel, sizeof(rel), "u/cur/%s:%s", base, info);
    assert_text(n, rel, TWIN);
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

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_in_a_merge),
        T(test_of_three),
        T(test_of_one_file),
        T(test_in_a_transaction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
