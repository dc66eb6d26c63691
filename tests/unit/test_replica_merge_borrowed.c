/*
 * test_replica_merge_borrowed - the merge of a mailbox with what a standby has from another node,
 * or has lost
 *
 * That is not the standby's own doing, so it changes nothing on a node that has the mailbox.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica_one.h"

/* a has borrowed what it has, or lacks: the result is what b has, with its UID, and where b did
 * nothing no side is touched. */
static const struct {
    const char *base_a, *a, *base_b, *b, *want;
    bool left;
    const char *why;
} borrowed[] = {
    {"", "12 cur S", "", "", "", true, "b does not have it, or no more"},
    {"", "0 new", "", "", "", true, "the same, without a UID"},
    {"", "12 cur FS", "", "12 cur S", "12 cur S", false, "b has cleared F since"},
    {"", "12 cur", "", "0 new", "12 new", false, "b has not heard of its UID"},
    {"5 cur", "5 cur F", "5 cur", "5 cur", "5 cur", true, "b has not heard of F, or cleared it"},
    {"0 new", "5 cur", "0 new", "0 new", "0 new", true, "nor of its UID"},
    {"5 cur", "5 cur F", "5 cur", "5 cur S", "5 cur S", false, "b has done something else"},
    {"5 cur", "5 cur F", "5 cur", "", "", false, "b has removed it"},
    {"5 cur", "", "5 cur", "5 cur", "5 cur", true, "b has not heard of its removal"},
    {"5 cur", "", "5 cur", "5 cur S", "5 cur S", false, "b has it, and has flagged it"},
    {"0 new", "", "0 new", "0 new", "0 new", true, "moved out, and in again at b"},
    {"5 cur", "", "5 cur", "", "", false, "gone on both"},
};

static void check_borrowed(const struct merge_side *a, const struct merge_side *b, size_t i) {
    struct merge_result *r;
    const struct merge_item *it;

    one_check(a, b, borrowed[i].want, borrowed[i].why);
    assert_int_equal(merge_mailbox(a, b, 0, &r), 0);
    it = merge_result_find(r, "m");
    if (!it || ((it->what & MERGE_LEFT) != 0) != borrowed[i].left)
        fail_msg("%s: should be %s", borrowed[i].why, borrowed[i].left ? "left" : "carried out");
    merge_result_free(r);
}

static void test_borrowed(void **state) {
    size_t i;

    for (i = 0; i < LEN(borrowed); i++) {
        struct one a, b;

        one_side(&a, borrowed[i].base_a, borrowed[i].a, 13, 10);
        one_side(&b, borrowed[i].base_b, borrowed[i].b, 13, 10);
        if (borrowed[i].b[0] == '0')
            b.side.next = 10; /* it has not heard of that UID either */
        a.entry.borrowed = true;
        check_borrowed(&a.side, &b.side, i);
        check_borrowed(&b.side, &a.side, i);
    }
}

/* A new node, and a standby meets it before its peer does: with the next UID it gets the mail, too.
 */
static void test_borrowed_filling(void **state) {
    struct one a, b;

    one_side(&a, NULL, "12 cur S", 13, 1);
    one_side(&b, NULL, "", 5, 1);
    a.entry.borrowed = true;
    one_check(&a.side, &b.side, "", "b has a list already");
    b.side.validity = b.side.next = b.side.base_next = 0;
    one_check(&a.side, &b.side, "12 cur S", "b is being filled");
    one_check(&b.side, &a.side, "12 cur S", "b is being filled");
}

/* What a has lost is as b has it, and nowhere where b has it not, whatever b knows of it. */
static void test_lost(void **state) {
    static const char *const base[] = {NULL, "", "5 cur"};

    for (size_t i = 0; i < LEN(base); i++) {
        struct one a, b;

        one_side(&a, "5 cur", "5 cur", 13, 10);
        a.entry.lost = true;
        one_side(&b, base[i], "", 13, 10);
        one_check(&a.side, &b.side, "", "b does not have it");
        one_check(&b.side, &a.side, "", "b does not have it");
        one_side(&b, base[i], "5 cur S", 13, 10);
        one_check(&a.side, &b.side, "5 cur S", "b has it");
        one_check(&b.side, &a.side, "5 cur S", "b has it");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_borrowed_filling),
        cmocka_unit_test(test_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
