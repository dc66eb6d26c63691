/*
 * test_maildir_keywords - dovecot-keywords: reading, writing, one table out of two
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/keywords.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static struct maildir_keywords *must_parse(const char *text) {
    struct maildir_keywords *kw;

    assert_int_equal(maildir_keywords_parse(text, strlen(text), &kw, NULL), 0);
    return kw;
}

static void assert_text(const struct maildir_keywords *kw, const char *want) {
    char *text;
    size_t len;

    assert_int_equal(maildir_keywords_format(kw, &text, &len), 0);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    free(text);
}

static const struct {
    const char *text, *format;
    size_t ignored;
} texts[] = {
    {"", "", 0},
    {"0 Junk\n1 $Forwarded\n", "0 Junk\n1 $Forwarded\n", 0},
    {"3 c\n1 a\n", "1 a\n3 c\n", 0},
    {"0 a", "0 a\n", 0},
    {"0 a\r\n", "0 a\n", 0},
    {"0 two words\n", "0 two words\n", 0},
    {"25 z\n26 beyond\n1000 far\n", "25 z\n26 beyond\n1000 far\n", 0},
    {"0 a\n0 b\n", "0 a\n", 1},
    {"0 a\n1 A\n", "0 a\n", 1},
    {"0 a\n0 a\n", "0 a\n", 1},
    {"junk\n0 a\nx y\n1\n2 \n 3 c\n", "0 a\n", 5},
    {"1024 far\n99999999999999999999 farther\n-1 x\n", "", 3},
    {"\n\n", "", 2},
};

static void test_parse(void **state) {
    size_t i, ignored;

    for (i = 0; i < LEN(texts); i++) {
        struct maildir_keywords *kw;

        assert_int_equal(
            maildir_keywords_parse(texts[i].text, strlen(texts[i].text), &kw, &ignored), 0);
        assert_int_equal(ignored, texts[i].ignored);
        assert_text(kw, texts[i].format);
        maildir_keywords_free(kw);
    }
}

static void test_long_and_nul_names_are_ignored(void **state) {
    char text[MAILDIR_KEYWORD_LEN_MAX + 20];
    struct maildir_keywords *kw;
    size_t ignored;
    int n = snprintf(text, sizeof text, "0 %0*d\n", (int)MAILDIR_KEYWORD_LEN_MAX + 1, 7);

    assert_int_equal(maildir_keywords_parse(text, (size_t)n, &kw, &ignored), 0);
    assert_int_equal(ignored, 1);
    maildir_keywords_free(kw);
    assert_int_equal(maildir_keywords_parse("0 a\0b\n", 6, &kw, &ignored), 0);
    assert_int_equal(ignored, 1);
    maildir_keywords_free(kw);
}

static void test_put_and_add(void **state) {
    struct maildir_keywords *kw = must_parse("0 a\n2 c\n");
    unsigned i;

    assert_int_equal(maildir_keywords_add(kw, "C"), 2);
    assert_int_equal(maildir_keywords_add(kw, "b"), 1);
    assert_int_equal(maildir_keywords_add(kw, "d"), 3);
    assert_int_equal(maildir_keywords_put(kw, 3, "D"), 0);
    assert_int_equal(maildir_keywords_put(kw, 4, "D"), -EEXIST);
    assert_int_equal(maildir_keywords_put(kw, 3, "e"), -EEXIST);
    assert_int_equal(maildir_keywords_put(kw, 5, "e\nf"), -EINVAL);
    assert_int_equal(maildir_keywords_put(kw, 5, ""), -EINVAL);
    assert_int_equal(maildir_keywords_put(kw, MAILDIR_KEYWORDS_MAX, "e"), -ERANGE);
    assert_int_equal(maildir_keywords_find(kw, "nobody"), -ENOENT);
    assert_null(maildir_keywords_at(kw, 4));
    assert_string_equal(maildir_keywords_at(kw, 0), "a");
    assert_int_equal(maildir_keywords_end(kw), 4);
    for (i = 4; i < MAILDIR_KEYWORDS_MAX; i++) {
        char name[16];

        snprintf(name, sizeof name, "k%u", i);
        assert_int_equal(maildir_keywords_add(kw, name), i);
    }
    assert_int_equal(maildir_keywords_add(kw, "one too many"), -ENOSPC);
    maildir_keywords_free(kw);
}

static void test_unknown_letters(void **state) {
    struct maildir_keywords *kw = must_parse("1 b\n");

    assert_int_equal(maildir_keywords_name_unknown(kw, 1u << 1 | 1u << 3), 0);
    assert_text(kw, "1 b\n3 unknown-3\n");
    maildir_keywords_free(kw);
}

/* letters of a and b -> where they went, '-' for a free one */
static const struct {
    const char *a, *b, *merged, *ra, *rb;
} merges[] = {
    {"", "", "", "", ""},
    {"0 x\n", "", "0 x\n", "a", ""},
    {"0 x\n1 y\n", "0 x\n1 y\n", "0 x\n1 y\n", "ab", "ab"},
    /* both added something as the second keyword: the lesser name has the letter */
    {"0 x\n1 red\n", "0 x\n1 blue\n", "0 x\n1 blue\n2 red\n", "ac", "ab"},
    /* same names, letters exchanged: neither can be moved to where the other is */
    {"0 x\n1 y\n", "0 y\n1 x\n", "2 x\n3 y\n", "cd", "dc"},
    /* a letter that comes free is not the next one's */
    {"0 red\n1 x\n", "0 blue\n1 red\n", "0 blue\n1 x\n2 red\n", "cb", "ac"},
    /* one name, two letters */
    {"0 x\n", "4 x\n", "0 x\n", "a", "----a"},
    {"0 x\n1 y\n", "0 x\n4 y\n", "0 x\n1 y\n", "ab", "a---b"},
    /* what both agree on stays, though another wants it */
    {"0 a\n5 zz\n", "5 zz\n0 b\n", "0 a\n1 b\n5 zz\n", "a----f", "b----f"},
    /* spelling */
    {"0 Work\n", "0 work\n", "0 Work\n", "a", "a"},
    {"0 b\n", "1 B\n2 c\n", "0 B\n2 c\n", "a", "-ac"},
    /* on its way: both letters are the name's, and it goes on to where it went */
    {"0 red\n4 $mailfs-moving-red\n", "0 blue\n", "0 blue\n4 red\n", "e---e", "a"},
    {"0 red\n4 $mailfs-moving-red\n", "0 blue\n4 red\n", "0 blue\n4 red\n", "e---e", "a---e"},
    {"0 blue\n4 $mailfs-moving-red\n", "", "0 blue\n4 red\n", "a---e", ""},
    /* where it went is another's by now: on to the next */
    {"0 red\n1 $mailfs-moving-red\n", "0 blue\n1 green\n", "0 blue\n1 green\n2 red\n", "cc", "ab"},
    {"0 red\n1 $mailfs-moving-red\n2 $mailfs-moving-$mailfs-moving-red\n", "0 blue\n1 green\n",
     "0 blue\n1 green\n2 red\n", "ccc", "ab"},
};

static void assert_remap(const struct maildir_keywords_remap *r, const char *want) {
    unsigned i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        int w = i < strlen(want) && want[i] != '-' ? want[i] - 'a' : -1;

        assert_int_equal(r->to[i], w);
    }
}

static void test_merge(void **state) {
    size_t i;

    for (i = 0; i < LEN(merges); i++) {
        struct maildir_keywords *a = must_parse(merges[i].a), *b = must_parse(merges[i].b);
        struct maildir_keywords *m, *n;
        struct maildir_keywords_remap ra, rb, rc, rd;

        assert_int_equal(maildir_keywords_merge(a, b, &m, &ra, &rb), 0);
        assert_int_equal(maildir_keywords_merge(b, a, &n, &rc, &rd), 0);
        assert_text(m, merges[i].merged);
        assert_text(n, merges[i].merged);
        assert_remap(&ra, merges[i].ra);
        assert_remap(&rb, merges[i].rb);
        assert_remap(&rd, merges[i].ra);
        assert_remap(&rc, merges[i].rb);
        maildir_keywords_free(m);
        maildir_keywords_free(n);
        maildir_keywords_free(a);
        maildir_keywords_free(b);
    }
}

/* Two full tables: 52 names for 26 letters. Nothing is lost from the table. */
static void test_merge_overflows_the_letters(void **state) {
    struct maildir_keywords *a, *b, *m;
    struct maildir_keywords_remap ra, rb;
    struct maildir_set s;
    char name[16];
    unsigned i, kept = 0;

    assert_int_equal(maildir_keywords_new(&a), 0);
    assert_int_equal(maildir_keywords_new(&b), 0);
    for (i = 0; i < 26; i++) {
        snprintf(name, sizeof name, "a%02u", i);
        assert_int_equal(maildir_keywords_add(a, name), i);
        snprintf(name, sizeof name, "b%02u", i);
        assert_int_equal(maildir_keywords_add(b, name), i);
    }
    assert_int_equal(maildir_keywords_merge(a, b, &m, &ra, &rb), 0);
    assert_int_equal(maildir_keywords_count(m), 52);
    for (i = 0; i < 26; i++) {
        assert_string_equal(maildir_keywords_at(m, (unsigned)ra.to[i]), maildir_keywords_at(a, i));
        assert_string_equal(maildir_keywords_at(m, (unsigned)rb.to[i]), maildir_keywords_at(b, i));
    }
    s = maildir_set_union(maildir_keywords_to_set(&ra, (1u << 26) - 1),
                          maildir_keywords_to_set(&rb, (1u << 26) - 1));
    for (i = 0; i < MAILDIR_SET_MAX; i++)
        kept += maildir_set_has(s, i);
    assert_int_equal(kept, 52);
    assert_int_equal(maildir_keywords_to_letters(s), (1u << 26) - 1);
    maildir_keywords_free(a);
    maildir_keywords_free(b);
    maildir_keywords_free(m);
}

static void test_moving(void **state) {
    struct maildir_keywords *kw = must_parse("0 red\n2 x\n"), *to = must_parse("1 RED\n");
    struct maildir_keywords_remap map;

    assert_int_equal(maildir_keywords_move(kw, 0, 2), -EEXIST);
    assert_int_equal(maildir_keywords_move(kw, 1, 3), -ENOENT);
    assert_int_equal(maildir_keywords_move(kw, 0, MAILDIR_LETTERS), -ERANGE);
    assert_int_equal(maildir_keywords_move(kw, 0, 3), 0);
    assert_int_equal(maildir_keywords_move(kw, 0, 3), 0); /* again */
    assert_text(kw, "0 red\n2 x\n3 $mailfs-moving-red\n");
    assert_int_equal(maildir_keywords_move(kw, 0, 1), 0); /* on to another */
    assert_int_equal(maildir_keywords_move(kw, 3, 1), 0);
    assert_text(kw, "0 red\n1 $mailfs-moving-$mailfs-moving-red\n2 x\n3 $mailfs-moving-red\n");
    maildir_keywords_map(kw, to, &map);
    assert_remap(&map, "bb-b");
    maildir_keywords_map(to, kw, &map);
    assert_remap(&map, "-b");
    maildir_keywords_free(kw);
    maildir_keywords_free(to);
}

static void test_sets_of_letters(void **state) {
    struct maildir_keywords *a = must_parse("0 x\n1 red\n"), *b = must_parse("0 x\n1 blue\n");
    struct maildir_keywords *m;
    struct maildir_keywords_remap ra, rb, map;

    assert_int_equal(maildir_keywords_merge(a, b, &m, &ra, &rb), 0);
    assert_int_equal(maildir_keywords_to_letters(maildir_keywords_to_set(&ra, 3)), 1 | 4);
    assert_int_equal(maildir_keywords_to_letters(maildir_keywords_to_set(&rb, 3)), 1 | 2);
    assert_false(maildir_keywords_remap_is_identity(&ra));
    assert_true(maildir_keywords_remap_is_identity(&rb));
    maildir_keywords_map(a, b, &map);
    assert_remap(&map, "a");
    maildir_keywords_free(a);
    maildir_keywords_free(b);
    maildir_keywords_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_long_and_nul_names_are_ignored),
        cmocka_unit_test(test_put_and_add), cmocka_unit_test(test_unknown_letters),
        cmocka_unit_test(test_merge),       cmocka_unit_test(test_merge_overflows_the_letters),
        cmocka_unit_test(test_moving),      cmocka_unit_test(test_sets_of_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
