/*
 * test_maildir_subs - subscriptions as a set of lines
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/subs.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define V2     "V\t2\n\n"

static struct maildir_subs *must_parse(const char *text) {
    struct maildir_subs *s = NULL;

    if (text)
        assert_int_equal(maildir_subs_parse(text, strlen(text), &s), 0);
    return s;
}

static void assert_text(const struct maildir_subs *s, const char *want) {
    char *text;
    size_t len;

    assert_int_equal(maildir_subs_format(s, &text, &len), 0);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    free(text);
}

static const struct {
    const char *text, *format;
    unsigned version;
} texts[] = {
    {V2 "Sent\na\tb\n", V2 "Sent\na\tb\n", 2},
    {"Sent\na.b\n", "Sent\na.b\n", 1},
    {"", "", 1},
    {V2, V2, 2},
    {"V\t2\nSent\n", "V\t2\nSent\n", 1}, /* not the whole header, which is what Dovecot looks for */
    {V2 "b\na\nb\n\n", V2 "b\na\n", 2},
    {V2 "b\r\na", V2 "b\na\n", 2},
};

static void test_parse(void **state) {
    char longest[MAILDIR_SUBS_LINE_MAX + 1];
    struct maildir_subs *s;
    size_t i;

    for (i = 0; i < LEN(texts); i++) {
        s = must_parse(texts[i].text);
        assert_int_equal(maildir_subs_version(s), texts[i].version);
        assert_text(s, texts[i].format);
        maildir_subs_free(s);
    }
    memset(longest, 'x', sizeof longest);
    assert_int_equal(maildir_subs_parse(longest, sizeof longest, &s), -EBADMSG);
    assert_int_equal(maildir_subs_parse(longest, sizeof longest - 1, &s), 0);
    maildir_subs_free(s);
    assert_int_equal(maildir_subs_parse("a\0b\n", 4, &s), -EBADMSG);
}

static void test_add_and_remove(void **state) {
    struct maildir_subs *s = must_parse(V2 "a\nb\n");

    assert_int_equal(maildir_subs_add(s, "c"), 1);
    assert_int_equal(maildir_subs_add(s, "c"), 0);
    assert_int_equal(maildir_subs_add(s, ""), -EINVAL);
    assert_int_equal(maildir_subs_add(s, "x\ny"), -EINVAL);
    assert_int_equal(maildir_subs_remove(s, "a"), 1);
    assert_int_equal(maildir_subs_remove(s, "a"), 0);
    assert_true(maildir_subs_has(s, "b"));
    assert_false(maildir_subs_has(s, "a"));
    assert_text(s, V2 "b\nc\n");
    maildir_subs_free(s);
}

static const struct {
    const char *from, *to, *added, *removed;
} diffs[] = {
    {V2 "a\nb\n", V2 "b\nc\n", V2 "c\n", V2 "a\n"},
    {NULL, V2 "a\n", V2 "a\n", V2},
    {V2 "a\n", NULL, V2, V2 "a\n"},
    {V2 "a\n", V2 "a\n", V2, V2},
    {"a\n", "b\na\n", "b\n", ""},
};

static void test_diff_and_apply(void **state) {
    size_t i, j;

    for (i = 0; i < LEN(diffs); i++) {
        struct maildir_subs *from = must_parse(diffs[i].from), *to = must_parse(diffs[i].to);
        struct maildir_subs *added, *removed;

        assert_int_equal(maildir_subs_diff(from, to, &added, &removed), 0);
        assert_text(added, diffs[i].added);
        assert_text(removed, diffs[i].removed);
        if (from) {
            maildir_subs_apply(from, added, removed);
            assert_int_equal(maildir_subs_apply(from, added, removed), 0);
            assert_int_equal(maildir_subs_count(from), to ? maildir_subs_count(to) : 0);
            for (j = 0; to && j < maildir_subs_count(to); j++)
                assert_true(maildir_subs_has(from, maildir_subs_at(to, j)));
        }
        maildir_subs_free(from);
        maildir_subs_free(to);
        maildir_subs_free(added);
        maildir_subs_free(removed);
    }
}

static void test_diff_needs_one_version(void **state) {
    struct maildir_subs *one = must_parse("a.b\n"), *two = must_parse(V2 "a\tb\n"), *x, *y;

    assert_int_equal(maildir_subs_diff(one, two, &x, &y), -EINVAL);
    assert_int_equal(maildir_subs_upgrade(one, '.'), 0);
    assert_text(one, V2 "a\tb\n");
    assert_int_equal(maildir_subs_diff(one, two, &x, &y), 0);
    assert_int_equal(maildir_subs_count(x) + maildir_subs_count(y), 0);
    maildir_subs_free(x);
    maildir_subs_free(y);
    maildir_subs_free(one);
    maildir_subs_free(two);
}

static const struct {
    const char *base, *a, *b, *merged;
} merges[] = {
    {V2 "z\na\n", V2 "z\na\n", V2 "z\na\n", V2 "z\na\n"},
    {V2 "z\na\n", V2 "z\n", V2 "z\na\n", V2 "z\n"},
    {V2 "z\na\n", V2 "z\na\nn\n", V2 "z\nm\na\n", V2 "z\na\nm\nn\n"},
    {V2 "z\na\n", V2 "a\nn\n", V2 "z\n", V2 "n\n"},
    {V2 "z\n", V2 "z\nn\n", V2 "n\nz\n", V2 "z\nn\n"},
    {NULL, V2 "b\na\n", V2 "c\n", V2 "a\nb\nc\n"},
    {NULL, V2 "b\n", NULL, V2 "b\n"},
    {V2 "b\n", V2 "b\n", NULL, V2},
    {NULL, NULL, NULL, V2},
    {NULL, "a.b\n", V2 "c\n", V2 "a\tb\nc\n"},
    {"a.b\n", "a.b\n", V2 "a\tb\nd\n", V2 "a\tb\nd\n"},
    {NULL, "a.b\n", "c\n", "a.b\nc\n"},
    {NULL, "a.b\n", NULL, "a.b\n"},
    {NULL, "", V2 "a\tb\n", V2 "a\tb\n"},
};

static void test_merge(void **state) {
    size_t i;

    for (i = 0; i < LEN(merges); i++) {
        struct maildir_subs *base = must_parse(merges[i].base), *a = must_parse(merges[i].a),
                            *b = must_parse(merges[i].b), *m, *n;

        assert_int_equal(maildir_subs_merge(base, a, b, '.', &m), 0);
        assert_text(m, merges[i].merged);
        assert_int_equal(maildir_subs_merge(base, b, a, '.', &n), 0);
        assert_text(n, merges[i].merged);
        maildir_subs_free(m);
        maildir_subs_free(n);
        maildir_subs_free(a);
        maildir_subs_free(b);
        maildir_subs_free(base);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),          cmocka_unit_test(test_add_and_remove),
        cmocka_unit_test(test_diff_and_apply), cmocka_unit_test(test_diff_needs_one_version),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
