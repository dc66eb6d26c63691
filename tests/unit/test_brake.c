/* the brake: when it takes hold, and of what */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replica/brake.h"

static void when(void **state) {
    assert_true(brake_trips(30, 100, 0));
    assert_false(brake_trips(30, 99, 0)); /* too few to ask anybody */
    assert_false(brake_trips(0, 1000000, 0));
    assert_false(brake_trips(30, 300, 700)); /* 30 % is not more than 30 % */
    assert_true(brake_trips(30, 301, 700));
    assert_false(brake_trips(100, 5000, 0));
    assert_true(brake_trips(1, 1000000000, 1000000000));
}

static bool is_mailbox(void *arg, const char *path, size_t len) {
    const char *only = arg;
    return only && strlen(only) == len && memcmp(only, path, len) == 0;
}

static void of_what(void **state) {
    static const char *const paths[] = {"anna/Maildir", "anna/Maildir/.Work", "anna2/Maildir/.Work",
                                        "ben/mail/A", "example.org/carl/Maildir/.X/.Y"};
    static const struct {
        const char *path, *tree;
    } cases[] = {
        {"anna/Maildir", "anna/Maildir"},
        {"anna/Maildir/.Work", "anna/Maildir"},
        {"anna2/Maildir/.Work", "anna2/Maildir/.Work"}, /* nothing is known of its INBOX */
        {"ben/mail/A", "ben/mail/A"},
        {"example.org/carl/Maildir/.X/.Y", "example.org/carl/Maildir"}, /* a mailbox that lives */
        {"top", "top"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(brake_tree_of(cases[i].path, paths, 5, is_mailbox,
                                       (void *)(uintptr_t) "example.org/carl/Maildir"),
                         strlen(cases[i].tree));
    assert_int_equal(brake_tree_of("anna/Maildir/.Work", paths, 0, is_mailbox, NULL), 18);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(when), cmocka_unit_test(of_what)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
