/* The merge of the directory tree where one side has borrowed what it lists from another node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replica/tree_merge.h"
#include "tree_lines.h"

/* a has borrowed all it lists. "id!" stays at a as it is there. */
static const struct {
    const char *why;
    struct tree_line a[4], b[4];
    const char *want;
} borrowed[] = {
    {"made elsewhere, or removed at b", {{1, "", "0 x", 0, 0}}, {{0}}, "1! "},
    {"with what is below it", {{1, "", "0 x", 0, 0}, {2, "", "1 y", 0, 0}}, {{0}}, "1! 2! "},
    {"with something of a's own in it", {{1, "", "0 x", 1, 0}}, {{0}}, "1:0/x "},
    {"below it something of a's own",
     {{1, "", "0 x", 0, 0}, {2, "", "1 y", 1, 0}},
     {{0}},
     "1:0/x 2:1/y "},
    {"removed at b", {{1, "0 x", "0 x", 0, 0}}, {{1, "0 x", "", 0, 0}}, ""},
    {"moved elsewhere, or back at b",
     {{1, "0 x", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}},
     "1:0/x 1! "},
    {"moved at b, too", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 a", 0, 0}}, "1:0/a "},
    {"made, and called otherwise at b", {{1, "", "0 y", 0, 0}}, {{1, "", "0 a", 0, 0}}, "1:0/a "},
    {"removed elsewhere", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, "1:0/x "},
    {"b has made another one of that name",
     {{2, "", "0 x", 0, 0}},
     {{1, "", "0 x", 0, 0}},
     "1:0/x 2=1 "},
    {"b has moved another one to that name",
     {{2, "", "0 x", 0, 0}},
     {{1, "0 y", "0 x", 0, 0}},
     "1:0/x 2=1 "},
    {"moved to where b has made one",
     {{1, "0 x", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "", "0 y", 0, 0}},
     "1:0/x 2:0/y "},
    {"below one that is another's",
     {{2, "", "0 x", 0, 0}, {3, "", "2 s", 0, 0}},
     {{1, "", "0 x", 0, 0}},
     "1:0/x 2=1 3:1/s "},
};

static void describe_left(const struct tree_result *r, char *out) {
    size_t i;

    tree_describe(r, out);
    for (i = 0; i < r->count; i++)
        if (r->items[i].what & TREE_LEFT)
            sprintf(out + strlen(out), "%d! ", r->items[i].id.b[15]);
}

static void check_borrowed(const struct tree_side *a, const struct tree_side *b, size_t i) {
    struct tree_result *r;
    char got[256];

    assert_int_equal(tree_merge(a, b, &r), 0);
    describe_left(r, got);
    if (strcmp(got, borrowed[i].want) != 0)
        fail_msg("%s: \"%s\", should be \"%s\"", borrowed[i].why, got, borrowed[i].want);
    tree_result_free(r);
}

static void test_borrowed(void **state) {
    size_t i, k;

    for (i = 0; i < sizeof borrowed / sizeof borrowed[0]; i++) {
        struct tree_entry ea[4], eb[4];
        struct tree_side a, b;

        tree_side_of(borrowed[i].a, true, ea, &a);
        tree_side_of(borrowed[i].b, true, eb, &b);
        for (k = 0; k < a.count; k++)
            ea[k].borrowed = true;
        check_borrowed(&a, &b, i);
        check_borrowed(&b, &a, i);
    }
}

/* a has not borrowed 1, which b has removed, but what is in it. */
static void test_borrowed_in_removed(void **state) {
    struct tree_line at_a[] = {
        {1, "0 x", "0 x", 0, 0}, {2, "1 y", "1 y", 0, 0}, {3, "", "2 z", 0, 0}, {0}};
    struct tree_line at_b[] = {{1, "0 x", "", 0, 0}, {2, "1 y", "", 0, 0}, {0}};
    struct tree_entry ea[4], eb[3];
    struct tree_result *r;
    struct tree_side a, b;
    char got[256];
    int turn;

    tree_side_of(at_a, true, ea, &a);
    tree_side_of(at_b, true, eb, &b);
    ea[1].borrowed = ea[2].borrowed = true;
    for (turn = 0; turn < 2; turn++) {
        assert_int_equal(turn ? tree_merge(&b, &a, &r) : tree_merge(&a, &b, &r), 0);
        describe_left(r, got);
        assert_string_equal(got, "1:0/x 3! ");
        tree_result_free(r);
    }
}

/* One that has no base has undone nothing. */
static void test_borrowed_filling(void **state) {
    struct tree_line made[] = {{1, "", "0 x", 0, 0}, {0}}, none[] = {{0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    tree_side_of(made, true, ea, &a);
    tree_side_of(none, false, eb, &b);
    ea[0].borrowed = true;
    tree_check(&a, &b, "1:0/x ", "b is new");
    tree_check(&b, &a, "1:0/x ", "b is new");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_borrowed_in_removed),
        cmocka_unit_test(test_borrowed_filling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
