/* What is told of a mailbox that both nodes have mail in, and that is to be merged still. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "merge_pair.h"

/* Messages in a directory, which has nothing else. */
static size_t fs_count(struct node *n, const char *rel) {
    char path[256];
    size_t count = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static void no_base(void) {
    common();
    assert_int_equal(base_unmerge(p.a.st), 0);
    assert_int_equal(base_unmerge(p.b.st), 0);
}

static void seen_at_a(int sub, const char *was) {
    struct acts a = {.n = 0};
    char from[64];

    snprintf(from, sizeof(from), "u/%s/%s", sub == MFL__SUB__NEW ? "new" : "cur", was);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    fs_rename(&p.a, from, "u/cur/9.M1.x:2,S");
    act_move(&a, sub, was, MFL__SUB__CUR, "9.M1.x:2,S");
    stores_send(&p.a, &p.b, &inbox, &a, false);
}

/* On either node there is one, and its flags are those of both. */
static void one_message(const char *rel) {
    contact();
    assert_int_equal(fs_count(&p.a, "u/new"), 0);
    assert_int_equal(fs_count(&p.b, "u/new"), 0);
    assert_int_equal(fs_count(&p.a, "u/cur"), fs_count(&p.b, "u/cur"));
    assert_true(fs_there(&p.a, rel));
    assert_true(fs_there(&p.b, rel));
}

/* Both stores had it beforehand, as where one was copied from the other. */
static void test_copied_and_flagged(void **state) {
    no_base();
    fs_write(&p.a, "u/cur/9.M1.x:2,", "nine\n");
    fs_write(&p.b, "u/cur/9.M1.x:2,F", "nine\n");
    seen_at_a(MFL__SUB__CUR, "9.M1.x:2,");
    assert_false(fs_there(&p.b, "u/cur/9.M1.x:2,F"));
    one_message("u/cur/9.M1.x:2,FS");
    assert_int_equal(fs_count(&p.b, "u/cur"), 4);
}

/* It came to a by a merge that b could not carry out. */
static void test_came_by_half_and_flagged(void **state) {
    common();
    add_new(&p.b, "u", "9.M1.x", "nine\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    merge_at(&p.a, &p.b);
    seen_at_a(MFL__SUB__NEW, "9.M1.x");
    one_message("u/cur/9.M1.x:2,S");
    assert_int_equal(fs_count(&p.b, "u/cur"), 4);
}

/* Two contents of one name stay two messages. */
static void test_of_two_contents(void **state) {
    no_base();
    fs_write(&p.a, "u/cur/9.M1.x:2,", "nine\n");
    fs_write(&p.b, "u/cur/9.M1.x:2,", "another nine\n");
    seen_at_a(MFL__SUB__CUR, "9.M1.x:2,");
    contact();
    assert_int_equal(fs_count(&p.a, "u/cur"), 5);
    assert_int_equal(fs_count(&p.b, "u/cur"), 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_copied_and_flagged),
        T(test_came_by_half_and_flagged),
        T(test_of_two_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
