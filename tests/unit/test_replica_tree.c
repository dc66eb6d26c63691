/* The three-way merge of the directory tree: cases, each merged both ways round. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "replica/tree_merge.h"
#include "tree_lines.h"

static const struct {
    const char *why;
    struct tree_line a[4], b[4];
    bool no_base_b;
    const char *want; /* "id:parent/name" of what is there, "id=id" of aliases, by id */
} cases[] = {
    {"nothing", {{1, "0 x", "0 x", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, "1:0/x "},
    {"made", {{1, "", "0 x", 0, 0}}, {{0}}, false, "1:0/x "},
    {"made on both", {{1, "", "0 x", 0, 0}}, {{2, "", "0 y", 0, 0}}, false, "1:0/x 2:0/y "},
    {"made twice", {{2, "", "0 x", 0, 0}}, {{1, "", "0 x", 0, 0}}, false, "1:0/x 2=1 "},
    {"made twice, one known",
     {{2, "0 y", "0 x", 0, 0}},
     {{1, "", "0 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     false,
     "1=2 2:0/x "},
    {"children of what was made twice",
     {{3, "", "0 x", 0, 0}, {4, "", "3 s", 0, 0}},
     {{1, "", "0 x", 0, 0}, {2, "", "1 s", 0, 0}},
     false,
     "1:0/x 2:1/s 3=1 4=2 "},
    {"moved", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, "1:0/y "},
    {"moved on both, version",
     {{1, "0 x", "0 y", 0, 2}},
     {{1, "0 x", "0 z", 0, 1}},
     false,
     "1:0/y "},
    {"moved on both, name", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 z", 0, 0}}, false, "1:0/z "},
    {"removed", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, ""},
    {"removed, but moved there",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 y", 0, 0}},
     false,
     "1:0/y "},
    {"removed, but delivered to",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 x", 1, 0}},
     false,
     "1:0/x "},
    {"removed, no base there", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, true, "1:0/x "},
    {"only in one base", {{1, "0 x", "0 x", 0, 0}}, {{0}}, false, "1:0/x "},
    {"removed, and a child made below",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "", "1 y", 0, 0}},
     false,
     "1:0/x 2:1/y "},
    {"removed on both, and a child moved below",
     {{1, "0 x", "", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "1 y", 0, 0}},
     false,
     "1:0/x 2:1/y "},
    {"circle",
     {{1, "0 x", "2 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "1 y", 0, 0}},
     false,
     "1:2/x 2:0/y "},
    {"circle of three",
     {{1, "0 x", "2 x", 0, 0}, {2, "0 y", "0 y", 0, 0}, {3, "0 z", "1 z", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "3 y", 0, 0}, {3, "0 z", "0 z", 0, 0}},
     false,
     "1:2/x 2:3/y 3:0/z "},
    {"swapped names",
     {{1, "0 x", "0 y", 0, 0}, {2, "0 y", "0 x", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     false,
     "1:0/y 2:0/x "},
    {"removed here, a new one of that name; delivered to there",
     {{1, "0 x", "", 0, 0}, {2, "", "0 x", 0, 0}},
     {{1, "0 x", "0 x", 1, 0}},
     false,
     "1:0/x 2=1 "},
};

static void test_cases(void **state) {
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tree_entry ea[4], eb[4];
        struct tree_side a, b;

        tree_side_of(cases[i].a, true, ea, &a);
        tree_side_of(cases[i].b, !cases[i].no_base_b, eb, &b);
        tree_check(&a, &b, cases[i].want, cases[i].why);
        tree_check(&b, &a, cases[i].want, cases[i].why);
    }
}

static void test_later_base(void **state) {
    struct tree_line moved[] = {{1, "0 a", "0 a", 0, 0}, {0}},
                     still[] = {{1, "0 x", "0 x", 0, 0}, {0}};
    struct tree_line gone[] = {{0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    tree_side_of(moved, true, ea, &a); /* x became a, agreed; b came back as before */
    tree_side_of(still, true, eb, &b);
    a.base_version = 2;
    b.base_version = 1;
    tree_check(&a, &b, "1:0/a ", "the later base is right");
    tree_check(&b, &a, "1:0/a ", "the later base is right");
    tree_side_of(gone, true, ea, &a); /* x was removed, agreed; b came back as before */
    a.base_version = 2;
    /* ... or a has counted acts of its own, and not got yet what b made: both go on at once */
    tree_check(&a, &b, "1:0/x ", "made, or removed: not known");
    b.base_version = 1 | BASE_AGE_LACKS;
    tree_check(&a, &b, "", "removed by agreement");
    a.base_version = 1;
    b.base_version = 2;
    tree_check(&a, &b, "1:0/x ", "made by agreement");
}

/* Moved by agreement, and one had no room for that: to a name before or behind the former. */
static void test_base_could_not_follow(void **state) {
    struct tree_line moved[] = {{1, "0 x", "0 x", 0, 0}, {0}};
    struct tree_line former[] = {{1, "0 a", "0 a", 0, 0}, {0}},
                     late[] = {{1, "0 z", "0 z", 0, 0}, {0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    for (int i = 0; i < 2; i++) {
        tree_side_of(moved, true, ea, &a);
        tree_side_of(i == 0 ? former : late, true, eb, &b);
        a.base_version = 1;
        b.base_version = 0;
        tree_check(&a, &b, "1:0/x ", "the base that followed is right");
        tree_check(&b, &a, "1:0/x ", "the base that followed is right");
        a.base_version |= BASE_AGE_LACKS; /* perhaps it is this one that has it where it was */
        tree_check(&a, &b, i == 0 ? "1:0/x " : "1:0/z ", "neither base is known to be right");
        tree_check(&b, &a, i == 0 ? "1:0/x " : "1:0/z ", "neither base is known to be right");
    }
}

static void test_attributes(void **state) {
    struct tree_line one[] = {{1, "0 x", "0 x", 0, 0}, {0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;
    struct tree_result *r;

    tree_side_of(one, true, ea, &a);
    tree_side_of(one, true, eb, &b);
    ea[0].attr.mode = 0750;
    eb[0].attr.gid = 7;
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_int_equal(r->items[0].attr.mode, 0750);
    assert_int_equal(r->items[0].attr.gid, 7);
    assert_int_equal(r->items[0].attr.uid, 1);
    assert_true(r->items[0].what & TREE_ATTR);
    assert_int_equal(r->items[0].what & (TREE_MOVED | TREE_MADE | TREE_CONFLICT), 0);
    tree_result_free(r);
}

static void test_diff_listing(void **state) {
    struct tree_line moved[] = {{1, "0 x", "0 y", 0, 0}, {0}}, gone[] = {{1, "0 x", "", 0, 0}, {0}};
    struct tree_entry ea[2];
    struct tree_side a, b = {.base_valid = true, .full = false};

    tree_side_of(moved, true, ea, &a);
    a.full = false;
    tree_check(&a, &b, "1:0/y ", "unlisted is unchanged");
    tree_check(&b, &a, "1:0/y ", "unlisted is unchanged");
    tree_side_of(gone, true, ea, &a);
    a.full = false;
    tree_check(&a, &b, "", "unlisted is unchanged, so it goes");
}

/* What is new in it is what the other side removed with it, by name and UID. */
static void test_removed_knowing(void **state) {
    static const struct tree_msg one[] = {{"m", 3, {0}}}, two[] = {{"m", 3, {0}}, {"n", 4, {0}}},
                                 other[] = {{"m", 5, {0}}}, none[] = {{"m", 0, {0}}},
                                 pub[] = {{"m", 0, {9, 1}}}, named[] = {{"n", 4, {9, 1}}},
                                 next[] = {{"m", 0, {9, 2}}};
    static const struct {
        const struct tree_msg *news, *known;
        size_t n_news, n_known;
        uint32_t v_news, v_known;
        const char *want;
    } table[] = {
        {one, two, 1, 2, 7, 7, ""},         {two, one, 2, 1, 7, 7, "1:0/x "},
        {one, one, 1, 1, 7, 8, "1:0/x "},   {one, one, 1, 1, 0, 0, "1:0/x "},
        {other, one, 1, 1, 7, 7, "1:0/x "}, {none, none, 1, 1, 7, 7, "1:0/x "},
        {pub, named, 1, 1, 0, 7, ""},       {next, named, 1, 1, 0, 7, "1:0/x "},
        {one, NULL, 1, 0, 7, 7, "1:0/x "},  {NULL, one, 0, 1, 7, 7, "1:0/x "},
    };
    struct tree_line changed[] = {{1, "0 x", "0 x", 1, 0}, {0}},
                     gone[] = {{1, "0 x", "", 0, 0}, {0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        tree_side_of(changed, true, ea, &a);
        tree_side_of(gone, true, eb, &b);
        ea[0].msgs = table[i].news;
        ea[0].n_msgs = table[i].n_news;
        ea[0].validity = table[i].v_news;
        eb[0].msgs = table[i].known;
        eb[0].n_msgs = table[i].n_known;
        eb[0].validity = table[i].v_known;
        tree_check(&a, &b, table[i].want, "removed knowing");
        tree_check(&b, &a, table[i].want, "removed knowing");
    }
}

/* Who removed what lives on is told so, whichever side it is, and what it was numbered under. */
static void test_anew(void **state) {
    struct tree_line gone[] = {{1, "0 x", "", 0, 0}, {2, "1 y", "", 0, 0}, {0}};
    struct tree_line kept[] = {
        {1, "0 x", "0 x", 0, 0}, {2, "1 y", "1 y", 1, 0}, {3, "", "0 z", 0, 0}, {0}};
    struct tree_entry ea[3], eb[4];
    struct tree_side a, b;
    struct tree_result *r;

    tree_side_of(gone, true, ea, &a);
    tree_side_of(kept, true, eb, &b);
    ea[1].old_validity = 5;
    eb[1].old_validity = 7;
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_int_equal(r->count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(r->items[i].present);
        assert_int_equal(r->items[i].anew_a, i < 2); /* the parent, too; not what b has made */
        assert_false(r->items[i].anew_b);
    }
    assert_int_equal(r->items[1].old_validity, 7);
    assert_int_equal(r->items[2].old_validity, 0);
    tree_result_free(r);
    assert_int_equal(tree_merge(&b, &a, &r), 0);
    assert_true(r->items[1].anew_b && !r->items[1].anew_a);
    tree_result_free(r);
    a.base_valid = false; /* that it was there is not known */
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_false(r->items[1].anew_a);
    tree_result_free(r);
}

static void test_refused(void **state) {
    struct tree_line twice[] = {{1, "0 x", "0 x", 0, 0}, {1, "0 x", "0 y", 0, 0}, {0}};
    struct tree_entry e[3];
    struct tree_side s, empty = {.full = true}, bad = {.full = false};
    struct tree_result *r;

    tree_side_of(twice, true, e, &s);
    assert_int_equal(tree_merge(&s, &empty, &r), -EINVAL);
    assert_int_equal(tree_merge(&bad, &empty, &r), -EINVAL);
    s.count = 1;
    e[0].id = tree_id(0);
    assert_int_equal(tree_merge(&s, &empty, &r), -EINVAL);
    e[0].id = tree_id(1);
    e[0].was = e[0].is = false;
    assert_int_equal(tree_merge(&empty, &s, &r), -EINVAL);
    assert_int_equal(tree_merge(&empty, &empty, &r), 0);
    assert_int_equal(r->count, 0);
    tree_result_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_later_base),
        cmocka_unit_test(test_base_could_not_follow),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_diff_listing),
        cmocka_unit_test(test_removed_knowing),
        cmocka_unit_test(test_anew),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
