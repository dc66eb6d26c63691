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

/* Whoever removes a little every hour is asked nothing; a burst is seen wherever the hour begins.
 */
static void within_an_hour(void **state) {
    struct brake_window w = {0};
    int64_t since = 0, t = 1700000000;

    assert_int_equal(brake_window_sum(&w, t, &since), 0);
    brake_window_add(&w, t, 60);
    brake_window_add(&w, t + 1800, 50);
    assert_int_equal(brake_window_sum(&w, t + 1800, &since), 110);
    assert_int_equal(since, t / 60 * 60);
    assert_int_equal(brake_window_sum(&w, t + 3660, &since), 50);
    assert_int_equal(since, (t + 1800) / 60 * 60);
    brake_window_add(&w, t - 86400, 7); /* the clock was put back */
    assert_int_equal(brake_window_sum(&w, t, &since), 57);
    assert_int_equal(brake_window_sum(&w, t + 3660 + 3600, &since), 0);
    brake_window_add(&w, t + 1000000, UINT32_MAX);
    brake_window_add(&w, t + 1000000, 1);
    assert_int_equal(brake_window_sum(&w, t + 1000000, &since), UINT32_MAX);
    struct brake_window all = {0}, part = {0};
    brake_window_add(&all, t, 70);
    brake_window_add(&part, t, 30);
    brake_window_add(&all, t + 600, 5);
    brake_window_take(&all, &part, t + 700);
    assert_int_equal(brake_window_sum(&all, t + 700, &since), 45);
    for (int64_t at = t + 2000000; at < t + 2000000 + 7200; at += 60)
        brake_window_add(&w, at, 1);
    assert_int_equal(brake_window_sum(&w, t + 2000000 + 7140, &since), 60);
}

static void most_at_once(void **state) {
    static const int64_t times[] = {0, 100, 3599, 3600, 3700, 10000, 10001, 10002};
    int64_t since = -1;

    assert_int_equal(brake_most_at_once(times, 0, &since), 0);
    assert_int_equal(since, -1);
    assert_int_equal(brake_most_at_once(times, 1, &since), 1);
    assert_int_equal(since, 0);
    assert_int_equal(brake_most_at_once(times, 5, &since), 3); /* not all five: 3600 s are over */
    assert_int_equal(brake_most_at_once(times, 8, &since), 3);
    assert_int_equal(since, 0);
    assert_int_equal(brake_most_at_once(times + 4, 4, &since), 3);
    assert_int_equal(since, 10000);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(when), cmocka_unit_test(within_an_hour),
                                       cmocka_unit_test(most_at_once), cmocka_unit_test(of_what)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
