/*
 * test_maildir_uidlist - dovecot-uidlist: reading, writing, taking over records
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "maildir/uidlist.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define GUID   "0123456789abcdef0123456789abcdef"

static struct maildir_uidlist *must_parse(const char *text) {
    struct maildir_uidlist *l;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &l, NULL), 0);
    return l;
}

static void assert_text(const struct maildir_uidlist *l, const char *want) {
    char *text;
    size_t len;

    assert_int_equal(maildir_uidlist_format(l, &text, &len), 0);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
    free(text);
}

static const struct {
    const char *text;
    int err;
    size_t line;
    const char *format; /* if read */
    bool torn;
    size_t duplicates;
} texts[] = {
    {"3 V17 N3 G" GUID "\n1 :a\n2 W140 Gabc :b,S=1\n", 0, 0,
     "3 V17 N3 G" GUID "\n1 :a\n2 W140 Gabc :b,S=1\n", false, 0},
    {"3 V17 N1 G" GUID " Pformat Zkept\n1 :a\n7 :b\n", 0, 0,
     "3 V17 N8 G" GUID " Pformat Zkept\n1 :a\n7 :b\n", false, 0},
    {"3 N9 V17\n", 0, 0, "3 V17 N9\n", false, 0},
    {"3 V17 N9\n1 :a:2,S\n", 0, 0, "3 V17 N9\n1 :a\n", false, 0},
    {"3 V17 N9\n1 :a\n2 :b", 0, 0, "3 V17 N9\n1 :a\n", true, 0},
    {"3 V17 N9\n1 :a\n2 :b\n3 :a\n", 0, 0, "3 V17 N9\n2 :b\n3 :a\n", false, 1},
    {"3 V17 N9\n1  W1  S2 :a\r\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 W1 S2  :a\r\n", 0, 0, "3 V17 N9\n1 W1 S2 :a\n", false, 0},
    {"3 V17 N9\n1 P:odd :a\n", 0, 0, "3 V17 N9\n1 P:odd :a\n", false, 0},
    {"3 V17 N9\n4294967294 :a\n", 0, 0, "3 V17 N4294967295\n4294967294 :a\n", false, 0},
    {"1 17 9\n1 a\n3 b:2,S\n", 0, 0, "3 V17 N9\n1 :a\n3 :b\n", false, 0},
    {"", -ENODATA, 0, NULL, false, 0},
    {"3 V17 N9", -ENODATA, 0, NULL, true, 0},
    {"2 17 9\n", -EPROTONOSUPPORT, 1, NULL, false, 0},
    {"4 V17 N9\n", -EPROTONOSUPPORT, 1, NULL, false, 0},
    {"x\n", -EBADMSG, 1, NULL, false, 0},
    {"3  V17 N9\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V17\n", -EBADMSG, 1, NULL, false, 0},
    {"3 N17\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V0 N1\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V4294967296 N1\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V17x N1\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V17 N1 Gshort\n", -EBADMSG, 1, NULL, false, 0},
    {"3 V17 N9\n0 :a\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\nx :a\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 a\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 :\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 w1 :a\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 :a/b\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 :a:2,/\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n1 :..\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n4294967295 :a\n", -EBADMSG, 2, NULL, false, 0},
    {"3 V17 N9\n2 :a\n2 :b\n", -EBADMSG, 3, NULL, false, 0},
    {"3 V17 N9\n2 :a\n1 :b\n", -EBADMSG, 3, NULL, false, 0},
    {"3 V17 N9\n\n", -EBADMSG, 2, NULL, false, 0},
    {"1 17 9\n9 a\n", -EBADMSG, 2, NULL, false, 0},
};

static void test_parse(void **state) {
    size_t i;

    for (i = 0; i < LEN(texts); i++) {
        struct maildir_uidlist *l;
        struct maildir_uidlist_report rep;
        int err = maildir_uidlist_parse(texts[i].text, strlen(texts[i].text), &l, &rep);

        if (err != texts[i].err)
            fail_msg("text %zu: %d, %s", i, err, rep.what ? rep.what : "ok");
        assert_int_equal(rep.line, texts[i].line);
        assert_int_equal(rep.torn, texts[i].torn);
        assert_int_equal(rep.duplicates, texts[i].duplicates);
        if (err) {
            assert_null(l);
            continue;
        }
        assert_text(l, texts[i].format);
        maildir_uidlist_free(l);
    }
}

static void test_nul_is_refused(void **state) {
    static const char text[] = "3 V17 N9\n1 :a\0b\n";
    struct maildir_uidlist *l;

    assert_int_equal(maildir_uidlist_parse(text, sizeof text - 1, &l, NULL), -EBADMSG);
}

static int add_tail(struct maildir_uidlist *l, const char *text,
                    struct maildir_uidlist_report *rep) {
    return maildir_uidlist_parse_tail(l, text, strlen(text), rep);
}

static void test_tail(void **state) {
    struct maildir_uidlist *l = must_parse("3 V17 N2\n1 :a\n");
    struct maildir_uidlist_report rep;

    assert_int_equal(add_tail(l, "2 :b\n5 W1 :c\n6 :torn", &rep), 0);
    assert_true(rep.torn);
    assert_int_equal(rep.used, strlen("2 :b\n5 W1 :c\n"));
    assert_text(l, "3 V17 N6\n1 :a\n2 :b\n5 W1 :c\n");
    /* what was read before may come again, but not otherwise */
    assert_int_equal(add_tail(l, "5 W1 :c\n6 :d\n", &rep), 0);
    assert_int_equal(maildir_uidlist_count(l), 4);
    assert_int_equal(add_tail(l, "7 :e\n5 :x\n", &rep), -EBADMSG);
    assert_int_equal(rep.line, 2);
    assert_int_equal(maildir_uidlist_count(l), 5);
    assert_int_equal(add_tail(l, "5 :x\n", &rep), -EBADMSG);
    assert_int_equal(add_tail(l, "", &rep), 0);
    maildir_uidlist_free(l);
}

static void test_lookup(void **state) {
    struct maildir_uidlist *l = must_parse("3 V17 N9\n1 :a\n4 :bb\n6 :c\n");

    assert_int_equal(maildir_uidlist_find(l, "bb", 2)->uid, 4);
    assert_null(maildir_uidlist_find(l, "bb", 1));
    assert_int_equal(maildir_uidlist_find(l, "c:2,S", 1)->uid, 6);
    assert_string_equal(maildir_uidlist_find_uid(l, 4)->base, "bb");
    assert_null(maildir_uidlist_find_uid(l, 5));
    assert_int_equal(maildir_uidlist_lower_bound(l, 5), 2);
    assert_int_equal(maildir_uidlist_lower_bound(l, 7), 3);
    assert_string_equal(maildir_uidlist_at(l, 0)->base, "a");
    maildir_uidlist_free(l);
}

static void test_next_never_goes_down(void **state) {
    struct maildir_uidlist *l = must_parse("3 V17 N2\n1 :a\n8 :b\n");

    assert_int_equal(maildir_uidlist_next(l), 9);
    assert_int_equal(maildir_uidlist_remove(l, "b"), 0);
    assert_int_equal(maildir_uidlist_remove(l, "b"), -ENOENT);
    assert_int_equal(maildir_uidlist_next(l), 9);
    maildir_uidlist_raise_next_to(l, 5);
    assert_int_equal(maildir_uidlist_next(l), 9);
    maildir_uidlist_raise_next(l, 65536);
    assert_int_equal(maildir_uidlist_next(l), 65545);
    maildir_uidlist_raise_next(l, UINT32_MAX);
    assert_int_equal(maildir_uidlist_next(l), MAILDIR_UID_MAX);
    maildir_uidlist_raise_next(l, 1);
    assert_int_equal(maildir_uidlist_next(l), MAILDIR_UID_MAX);
    maildir_uidlist_free(l);
}

static void test_put(void **state) {
    struct maildir_uidlist *l;

    assert_int_equal(maildir_uidlist_new(17, 1, "bad", &l), -EINVAL);
    assert_int_equal(maildir_uidlist_new(17, 1, GUID, &l), 0);
    assert_int_equal(maildir_uidlist_put(l, 5, NULL, "e"), 0);
    assert_int_equal(maildir_uidlist_put(l, 2, "W9", "b"), 0);
    assert_int_equal(maildir_uidlist_put(l, 2, NULL, "x"), -EEXIST);
    assert_int_equal(maildir_uidlist_put(l, 2, "W8", "b"), 0);
    assert_int_equal(maildir_uidlist_put(l, 7, NULL, "b"), 0);
    assert_int_equal(maildir_uidlist_put(l, 0, NULL, "z"), -EINVAL);
    assert_int_equal(maildir_uidlist_put(l, UINT32_MAX, NULL, "z"), -EINVAL);
    assert_int_equal(maildir_uidlist_put(l, 9, NULL, "a:2,S"), -EINVAL);
    assert_int_equal(maildir_uidlist_put(l, 9, "W1\n9 ", "z"), -EINVAL);
    assert_int_equal(maildir_uidlist_put(l, 9, ":", "z"), -EINVAL);
    assert_int_equal(maildir_uidlist_set_header_rest(l, "G" GUID " Pq"), 0);
    assert_int_equal(maildir_uidlist_set_header_rest(l, "N5"), -EINVAL);
    assert_int_equal(maildir_uidlist_set_header_rest(l, "P5\n"), -EINVAL);
    assert_text(l, "3 V17 N8 G" GUID " Pq\n5 :e\n7 :b\n");
    maildir_uidlist_free(l);
}

/* What an update of these records, V and N makes of "3 V17 N5 / 1 a / 3 b". */
static const struct {
    uint32_t v, n;
    const char *rest;
    struct maildir_uidrec recs[3];
    int err;
    enum maildir_uidlist_change change;
    const char *append, *format;
} updates[] = {
    {0, 0, NULL, {{0}}, 0, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {17, 5, NULL, {{1, "", "a"}, {3, NULL, "b"}}, 0, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {17,
     6,
     NULL,
     {{5, "", "c"}},
     0,
     MAILDIR_UIDLIST_APPEND,
     "5 :c\n",
     "3 V17 N6\n1 :a\n3 W2 :b\n5 :c\n"},
    {0,
     0,
     NULL,
     {{4, "W7 S8", "c"}, {9, "", "d"}},
     0,
     MAILDIR_UIDLIST_APPEND,
     "4 W7 S8 :c\n9 :d\n",
     "3 V17 N10\n1 :a\n3 W2 :b\n4 W7 S8 :c\n9 :d\n"},
    {0,
     0,
     NULL,
     {{1, "", "a"}, {4, "", "c"}},
     0,
     MAILDIR_UIDLIST_APPEND,
     "4 :c\n",
     "3 V17 N5\n1 :a\n3 W2 :b\n4 :c\n"},
    {17,
     90,
     NULL,
     {{5, "", "c"}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V17 N90\n1 :a\n3 W2 :b\n5 :c\n"},
    {17, 90, NULL, {{0}}, 0, MAILDIR_UIDLIST_REWRITE, NULL, "3 V17 N90\n1 :a\n3 W2 :b\n"},
    {17, 2, NULL, {{0}}, 0, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0,
     0,
     NULL,
     {{2, "", "c"}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V17 N5\n1 :a\n2 :c\n3 W2 :b\n"},
    {0, 0, NULL, {{6, "", "a"}}, 0, MAILDIR_UIDLIST_REWRITE, NULL, "3 V17 N7\n3 W2 :b\n6 :a\n"},
    {0, 0, NULL, {{2, "", "b"}}, 0, MAILDIR_UIDLIST_SAME, NULL, NULL}, /* stale */
    {0,
     0,
     NULL,
     {{1, "W5", "b"}, {2, "", "c"}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V17 N5\n1 :a\n2 :c\n3 W2 :b\n"}, /* a stale one must not lend its fields */
    {0,
     0,
     NULL,
     {{1, "W5", "a"}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V17 N5\n1 W5 :a\n3 W2 :b\n"},
    {0, 0, NULL, {{3, "W5", "b"}}, 0, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0,
     0,
     "G" GUID,
     {{0}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V17 N5 G" GUID "\n1 :a\n3 W2 :b\n"},
    {18,
     3,
     NULL,
     {{1, "", "x"}, {2, "", "a"}},
     0,
     MAILDIR_UIDLIST_REWRITE,
     NULL,
     "3 V18 N3\n1 :x\n2 :a\n"},
    {16, 99, NULL, {{9, "", "x"}}, -ESTALE, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{1, "", "z"}}, -EEXIST, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{5, "", "c"}, {5, "", "d"}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{6, "", "c"}, {5, "", "d"}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{5, "", "c"}, {6, "", "c"}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{5, "", "a/b"}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, NULL, {{5, "x", "c"}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
    {0, 0, "V9", {{0}}, -EINVAL, MAILDIR_UIDLIST_SAME, NULL, NULL},
};

static void check_update(size_t i) {
    static const char before[] = "3 V17 N5\n1 :a\n3 W2 :b\n";
    struct maildir_uidlist *l = must_parse(before);
    struct maildir_uidlist_update u = {.validity = updates[i].v,
                                       .next = updates[i].n,
                                       .header_rest = updates[i].rest,
                                       .recs = updates[i].recs};
    struct maildir_uidlist_result res, again;

    while (u.count < LEN(updates[i].recs) && updates[i].recs[u.count].uid)
        u.count++;
    assert_int_equal(maildir_uidlist_merge(l, &u, &res), updates[i].err);
    assert_int_equal(res.change, updates[i].change);
    assert_text(l, updates[i].format ? updates[i].format : before);
    if (updates[i].append) {
        assert_int_equal(res.append_len, strlen(updates[i].append));
        assert_string_equal(res.append, updates[i].append);
    } else {
        assert_null(res.append);
    }
    free(res.append);
    if (!updates[i].err) { /* twice is once */
        assert_int_equal(maildir_uidlist_merge(l, &u, &again), 0);
        assert_int_equal(again.change, MAILDIR_UIDLIST_SAME);
        assert_int_equal(again.added + again.rebound, 0);
    }
    maildir_uidlist_free(l);
}

static void test_merge(void **state) {
    size_t i;

    for (i = 0; i < LEN(updates); i++)
        check_update(i);
}

/* The file plus the bytes to append reads as the list itself. */
static void test_append_agrees_with_list(void **state) {
    struct maildir_uidlist *l = must_parse("3 V17 N5 G" GUID "\n1 :a\n"), *whole;
    struct maildir_uidrec recs[] = {{5, "W4", "c"}, {8, "", "d"}};
    struct maildir_uidlist_update u = {.recs = recs, .count = 2};
    struct maildir_uidlist_result res;
    char text[200], *one, *two;
    size_t n;

    assert_int_equal(maildir_uidlist_merge(l, &u, &res), 0);
    assert_int_equal(res.change, MAILDIR_UIDLIST_APPEND);
    snprintf(text, sizeof text, "3 V17 N5 G" GUID "\n1 :a\n%s", res.append);
    whole = must_parse(text);
    assert_int_equal(maildir_uidlist_format(l, &one, &n), 0);
    assert_int_equal(maildir_uidlist_format(whole, &two, &n), 0);
    assert_string_equal(one, two);
    free(one);
    free(two);
    free(res.append);
    maildir_uidlist_free(l);
    maildir_uidlist_free(whole);
}

static double seconds(void) {
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 100,000 records; generous bounds, to catch what is quadratic and not what is slow. */
static void test_large(void **state) {
    const unsigned n = 100000;
    char *text = malloc(n * 64), *p = text;
    struct maildir_uidlist *l;
    struct maildir_uidrec *recs = calloc(n, sizeof *recs);
    struct maildir_uidlist_update u = {.recs = recs, .count = n};
    struct maildir_uidlist_result res;
    double start = seconds();
    unsigned i;

    p += sprintf(p, "3 V17 N1 G" GUID "\n");
    for (i = 1; i <= n; i++)
        p += sprintf(p, "%u :17000%08u.M1P1.host,S=1,W=1\n", 2 * i, i);
    assert_int_equal(maildir_uidlist_parse(text, (size_t)(p - text), &l, NULL), 0);
    assert_int_equal(maildir_uidlist_count(l), n);
    for (i = 1; i <= n; i++) {
        char *name = malloc(32);

        sprintf(name, "new%08u", i);
        recs[i - 1] = (struct maildir_uidrec){2 * i + 1, "", name};
    }
    assert_int_equal(maildir_uidlist_merge(l, &u, &res), 0);
    assert_int_equal(res.change, MAILDIR_UIDLIST_REWRITE);
    assert_int_equal(maildir_uidlist_count(l), 2 * n);
    assert_int_equal(maildir_uidlist_find(l, "new00000007", 11)->uid, 15);
    assert_true(seconds() - start < 8.0);
    for (i = 0; i < n; i++)
        free((char *)recs[i].base);
    free(recs);
    free(text);
    maildir_uidlist_free(l);
}

/* What ext4 shows of an append that was under way when the power went. */
static void test_power_cut(void **state) {
    (void)state;
    static const char whole[] = "3 V17 N9\n1 :a\n\0\0\0", half[] = "3 V17 N9\n1 :a\n2 :b\0\0",
                      within[] = "3 V17 N9\n1 :a\n\0\0\n2 :b\n";
    struct maildir_uidlist_report rep;
    struct maildir_uidlist *l;

    assert_int_equal(maildir_uidlist_parse(whole, sizeof whole - 1, &l, &rep), 0);
    assert_true(rep.torn);
    assert_int_equal(rep.used, 14);
    assert_int_equal(maildir_uidlist_count(l), 1);
    maildir_uidlist_free(l);
    assert_int_equal(maildir_uidlist_parse(half, sizeof half - 1, &l, &rep), 0);
    assert_true(rep.torn);
    assert_int_equal(maildir_uidlist_count(l), 1);
    maildir_uidlist_free(l);
    assert_int_equal(maildir_uidlist_parse(within, sizeof within - 1, &l, &rep), -EBADMSG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_next_never_goes_down),
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_append_agrees_with_list),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
