/*
 * test_replica_merge_unread - the merge of a mailbox with a message that one side has and cannot
 * read
 *
 * It stays where it is, under a UID that is nobody else's, and in no base.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica_one.h"

enum { UNREAD = 1, LOST = 2, BORROWED = 4 }; /* of a: the first; of b: the others */

static const struct {
    const char *base_a, *a;
    uint32_t next_a, base_next_a;
    const char *base_b, *b;
    uint32_t next_b, base_next_b;
    unsigned how;
    const char *want;
    bool stays; /* at a alone */
    const char *why;
} cases[] = {
    {"", "12 cur S", 13, 10, "", "", 10, 10, UNREAD, "12 cur S", true, "its UID is free"},
    {"", "0 new", 10, 10, "", "", 10, 10, UNREAD, "0 new", true, "it has no UID"},
    {"", "12 cur", 13, 10, "", "", 15, 10, UNREAD, "15 cur", true, "b may have given its UID"},
    {"", "8 cur", 10, 10, "", "", 13, 10, UNREAD, "8 cur", true, "its UID is agreed on"},
    {"", "8 cur", 10, 10, "", "", 13, 10, 0, "13 cur", false, "it can be read"},
    {"", "8 cur", 10, 10, "", "", 13, 8, UNREAD, "13 cur", true, "b knows of no such agreement"},
    {"", "8 cur", 9, 10, "", "", 13, 10, UNREAD, "13 cur", true, "a's list was put back"},
    {NULL, "8 cur", 10, 10, "", "", 13, 10, UNREAD, "13 cur", true, "a has no base"},
    {"5 cur", "5 cur", 10, 10, "5 cur", "", 10, 10, UNREAD, "", false, "b has removed it"},
    {"5 cur", "5 cur F", 10, 10, "5 cur", "5 cur", 10, 10, UNREAD, "5 cur F", false, "b has it"},
    {"5 cur", "5 cur", 10, 10, NULL, "", 1, 1, UNREAD, "5 cur", true, "b is new"},
    {"5 cur", "5 cur", 10, 10, "5 cur", "5 cur", 10, 10, UNREAD | LOST, "5 cur", true,
     "b has lost it"},
    {"5 cur", "5 cur F", 10, 10, "5 cur", "", 10, 10, UNREAD | BORROWED, "5 cur F", true,
     "b lacks it as another node does"},
};

static void check_stays(const struct merge_side *a, const struct merge_side *b, size_t i) {
    struct merge_result *r;
    const struct merge_item *it;

    one_check(a, b, cases[i].want, cases[i].why);
    assert_int_equal(merge_mailbox(a, b, 0, &r), 0);
    it = merge_result_find(r, "m");
    if (((it->what & MERGE_UNREAD) != 0) != cases[i].stays)
        fail_msg("%s: %s", cases[i].why, cases[i].stays ? "it should stay" : "it should not stay");
    if (cases[i].stays) {
        assert_true(it->at_a != it->at_b);
        assert_int_equal(it->what & (MERGE_ADDED | MERGE_REMOVED), 0);
        assert_int_equal(
            r->stats.added_a + r->stats.added_b + r->stats.removed_a + r->stats.removed_b, 0);
    }
    merge_result_free(r);
}

static void test_stays(void **state) {
    size_t i;

    for (i = 0; i < LEN(cases); i++) {
        struct one a, b;

        one_side(&a, cases[i].base_a, cases[i].a, cases[i].next_a, cases[i].base_next_a);
        one_side(&b, cases[i].base_b, cases[i].b, cases[i].next_b, cases[i].base_next_b);
        a.entry.unread = cases[i].how & UNREAD;
        b.entry.lost = cases[i].how & LOST;
        b.entry.borrowed = cases[i].how & BORROWED;
        check_stays(&a.side, &b.side, i);
        check_stays(&b.side, &a.side, i);
    }
}

/* What b has numbered meanwhile with the UID of what a cannot read. */
static void check_other(uint32_t base_next, bool full) {
    struct merge_entry other = {.base = "other", .is = true};
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *m, *o;

    one_side(&a, "", "12 cur", 13, base_next);
    a.entry.unread = true;
    one_side(&b, "", "", 13, base_next);
    assert_true(one_state("12 cur", &other.now));
    b.side.entries = &other;
    b.side.count = 1;
    a.side.full = b.side.full = full;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    m = merge_result_find(r, "m");
    o = merge_result_find(r, "other");
    assert_true(m->present && (m->what & MERGE_UNREAD));
    assert_true(o->present && !(o->what & MERGE_UNREAD));
    assert_int_not_equal(m->state.uid, o->state.uid);
    assert_true(o->state.uid >= 13); /* nor the one that it had: a has shown that */
    assert_true(r->next > m->state.uid && r->next > o->state.uid);
    merge_result_free(r);
}

static void test_other(void **state) {
    check_other(10, true);
    check_other(10, false);
    check_other(13, true); /* as it must not be: agreed on, and given all the same */
}

/* Two contents of one name, of `mine` and `theirs` bytes; the first cannot be read, nor can the
 * second if `both`. Whose has the name then, and is the other one at its side alone? */
static void check_split(uint64_t mine, uint64_t theirs, bool both, bool swap) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *m, *half;
    bool a_loses = !both || mine < theirs;
    char name[MAILDIR_NAME_MAX + 1];

    one_side(&a, "", "12 cur", 13, 10);
    one_side(&b, "", "12 cur", 13, 10);
    a.entry.now.content = mine;
    b.entry.now.content = theirs;
    a.entry.unread = true;
    b.entry.unread = both;
    assert_int_equal(merge_mailbox(swap ? &b.side : &a.side, swap ? &a.side : &b.side, 0, &r), 0);
    merge_split_name("m", a_loses ? mine : theirs, name);
    m = merge_result_find(r, "m");
    half = merge_result_find(r, name);
    assert_non_null(m);
    assert_non_null(half);
    assert_int_equal(m->state.content, a_loses ? theirs : mine);
    assert_int_equal((m->what & MERGE_UNREAD) != 0, both);
    assert_int_equal(m->at_a, !both || a_loses == swap);
    assert_int_equal(m->at_b, !both || a_loses != swap);
    assert_true(half->what & MERGE_UNREAD);
    assert_int_equal(half->at_a, a_loses != swap);
    assert_int_equal(half->at_b, a_loses == swap);
    assert_true(m->state.uid >= 13 && half->state.uid >= 13);
    assert_int_not_equal(m->state.uid, half->state.uid);
    assert_true(r->next > m->state.uid && r->next > half->state.uid);
    assert_int_equal(r->stats.added_a + r->stats.added_b, 0);
    merge_result_free(r);
}

static void test_split(void **state) {
    for (int i = 0; i < 8; i++)
        check_split(i & 1 ? 5 : 8, i & 1 ? 8 : 5, i & 2, i & 4);
}

/* One side has put it there anew in the place of what the other still has: not what is removed. */
static void test_superseding(void **state) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *m;

    one_side(&a, "5 cur", "12 cur", 13, 10);
    one_side(&b, "5 cur", "5 cur", 10, 10);
    a.entry.now.content = 8;
    b.entry.now.content = 5;
    a.entry.unread = true;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    m = merge_result_find(r, "m");
    assert_int_equal(m->state.content, 5);
    assert_false(m->what & MERGE_UNREAD);
    assert_int_equal(r->count, 2);
    merge_result_free(r);
    a.entry.unread = false;
    b.entry.unread = true; /* it goes */
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    assert_int_equal(r->count, 1);
    assert_int_equal(merge_result_find(r, "m")->state.content, 8);
    merge_result_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stays),
        cmocka_unit_test(test_other),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_superseding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
