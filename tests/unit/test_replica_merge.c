/*
 * test_replica_merge - the three-way merge of a mailbox, case by case
 *
 * Each case is one message name "m" in a mailbox: what a and b hold it to have been, what it is
 * there, and what becomes of it. Every case is merged both ways round. Then what a listing may
 * leave out, what is refused, keywords, and one name that has two contents. More cases are in
 * test_replica_merge_bases.c, _borrowed.c and _numbers.c; what holds for all mailboxes is in
 * test_replica_merge_random.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/name.h"
#include "replica_one.h"

static const struct {
    const char *base_a, *a, *base_b, *b, *want; /* "" is absent */
    uint32_t next_a, next_b, base_next_a, base_next_b;
    const char *why;
} cases[] = {
    {"5 cur", "5 cur", "5 cur", "5 cur", "5 cur", 10, 10, 0, 0, "nothing"},
    {"5 cur", "5 cur S", "5 cur", "5 cur F", "5 cur FS", 10, 10, 0, 0, "each set one"},
    {"5 cur S", "5 cur", "5 cur S", "5 cur FS", "5 cur F", 10, 10, 0, 0, "one cleared, one set"},
    {"5 new", "5 cur", "5 new", "5 new F", "5 cur F", 10, 10, 0, 0, "picked up and flagged"},
    {"5 cur", "", "5 cur", "5 cur S", "", 10, 10, 0, 0, "expunge beats flags"},
    {"5 cur", "5 cur", "5 cur", "", "", 10, 10, 0, 0, "expunged there"},
    {"5 cur", "", "5 cur", "", "", 10, 10, 0, 0, "expunged on both"},
    {"", "12 cur", "", "", "12 cur", 13, 10, 0, 0, "added: the other never used 12"},
    {"", "10 cur", "", "", "11 cur", 11, 11, 0, 0, "added: 10 was used there, for another"},
    {"", "0 new", "", "", "0 new", 11, 11, 0, 0, "added without a UID"},
    {"", "0 new", "", "10 cur", "10 cur", 10, 11, 0, 0, "numbered there"},
    {"", "0 new", "", "10 cur", "12 cur", 12, 11, 0, 0, "numbered there, but 10 was used here"},
    {"", "10 cur", "", "10 cur S", "10 cur S", 11, 11, 0, 0, "same number on both"},
    {"", "10 cur", "", "12 cur", "12 cur", 11, 13, 0, 0, "12 is free on a"},
    {"", "10 cur", "", "12 cur", "14 cur", 14, 13, 0, 0, "neither is free on the other"},
    {"5 cur", "10 cur S", "5 cur", "", "10 cur S", 11, 10, 0, 0, "removed there, added anew here"},
    {"5 cur", "10 cur S", "5 cur", "5 cur F", "10 cur S", 11, 10, 0, 0,
     "added anew, flagged there"},
    {"5 cur", "10 cur S", "5 cur", "5 cur F", "12 cur S", 11, 12, 0, 0, "the same, 10 used there"},
    {"5 cur", "10 cur S", "5 cur", "11 cur F", "11 cur FS", 11, 12, 0, 0, "added anew on both"},
    {"5 cur", "10 cur S", "5 cur", "11 cur F", "12 cur FS", 12, 12, 0, 0, "the same, 11 used"},
    {"5 cur", "0 new", "5 cur", "", "0 new", 10, 10, 0, 0, "came back, not numbered yet"},
    {"5 cur S", "0 new", "5 cur S", "5 cur S", "10 new", 10, 10, 0, 0, "came back, old one there"},
    /* a has noted that it went and came again, as no number tells */
    {"", "0 new", "0 new", "", "0 new", 10, 10, 10, 10, "came back, never numbered"},
    {"", "9 cur S", "0 new", "", "9 cur S", 10, 9, 9, 9, "came back, numbered since"},
    {"", "0 new", "0 new", "9 cur S", "9 cur S", 9, 10, 9, 9, "came back, numbered there"},
    {"0 new", "9 cur", "0 new", "", "", 10, 10, 9, 9, "numbered here, and there, and removed"},
    {"", "9 cur S", "0 new", "", "", 10, 10, 8, 9, "b's base is later than the message's coming"},
    /* bases that differ: one node crashed and has an older one */
    {"5 cur S", "5 cur S", "5 cur", "5 cur", "5 cur S", 10, 10, 0, 0, "b lost the setting of S"},
    {"5 cur", "5 cur", "5 cur S", "5 cur S", "5 cur S", 10, 10, 0, 0, "swapped: set wins"},
    {"5 cur", "5 cur FS", "5 cur FS", "5 cur F", "5 cur F", 10, 10, 0, 0, "a is where b started"},
    {"5 cur", "5 cur S", "5 cur S", "5 cur", "5 cur S", 10, 10, 0, 0, "each is the other's base"},
    {"5 cur", "5 cur", "", "", "", 10, 10, 0, 0, "the removal had been agreed"},
    {"5 cur", "5 cur", "", "", "", 10, 10, 10, 10, "the same, known by N"},
    {"5 cur", "5 cur S", "", "", "", 10, 10, 10, 10, "the same, flagged since"},
    {"5 cur", "5 cur S", "", "", "5 cur S", 10, 5, 0, 0, "flagged, and b may never have had it"},
    {"5 cur", "5 cur", "", "", "5 cur", 10, 5, 10, 5, "b's base is older than the message"},
    {"", "5 cur", "7 cur", "", "8 cur", 6, 5, 0, 0, "b removed a later one: a's is an addition"},
    {"5 cur", "5 cur", "7 cur", "", "", 8, 8, 0, 0, "b's base is later, and b removed that"},
    {"7 cur", "7 cur", "5 cur", "", "8 cur", 8, 8, 0, 0, "b removed an earlier one"},
    /* no base: union */
    {NULL, "5 cur", "", "", "5 cur", 6, 1, 0, 0, "a has no base"},
    {"", "", NULL, "5 cur", "5 cur", 1, 6, 0, 0, "b has no base"},
    {NULL, "5 cur S", NULL, "5 cur F", "5 cur FS", 6, 6, 0, 0, "neither has"},
    {NULL, "5 cur S", NULL, "7 cur F", "9 cur FS", 9, 9, 0, 0, "neither has, other numbers"},
    {"5 cur", "5 cur", NULL, "", "5 cur", 6, 1, 0, 0, "b empty and without base: it is given all"},
};

static void test_cases(void **state) {
    size_t i;

    for (i = 0; i < LEN(cases); i++) {
        struct one a, b;

        one_side(&a, cases[i].base_a, cases[i].a, cases[i].next_a, cases[i].base_next_a);
        one_side(&b, cases[i].base_b, cases[i].b, cases[i].next_b, cases[i].base_next_b);
        one_check(&a.side, &b.side, cases[i].want, cases[i].why);
        one_check(&b.side, &a.side, cases[i].want, cases[i].why);
    }
}

/* A listing of differences leaves out what is as in the common base. */
static void test_diff_listing(void **state) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *it;

    one_side(&a, "5 cur", "5 cur S", 10, 10);
    one_side(&b, "5 cur", "5 cur", 10, 10);
    a.side.full = b.side.full = false;
    b.side.count = 0;
    one_check(&a.side, &b.side, "5 cur S", "unlisted is unchanged");
    one_check(&b.side, &a.side, "5 cur S", "unlisted is unchanged");
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    it = merge_result_find(r, "m");
    assert_true(it->at_b);
    assert_int_equal(it->now_b.uid, 5);
    assert_true(maildir_set_empty(it->now_b.flags));
    assert_null(it->b);
    assert_int_equal(r->stats.changed_b, 1);
    assert_int_equal(r->stats.changed_a, 0);
    merge_result_free(r);

    one_side(&a, "5 cur", "", 10, 10);
    a.side.full = false;
    one_check(&a.side, &b.side, "", "expunged");
    one_side(&a, "", "10 cur", 11, 10);
    a.side.full = false;
    one_check(&a.side, &b.side, "10 cur", "unlisted is absent when the base has none");
    one_side(&a, "0 new", "12 cur", 13, 10);
    a.side.full = false;
    one_check(&a.side, &b.side, "12 cur", "numbered here");
}

static void test_refused(void **state) {
    struct merge_entry twice[2] = {{.base = "m", .is = true}, {.base = "m", .is = true}};
    struct merge_entry huge = {.base = "m", .is = true, .now.uid = UINT32_MAX};
    struct merge_side s = {.full = true, .entries = twice, .count = 2}, empty = {.full = true};
    struct merge_side bad = {.full = false, .base_valid = false};
    struct merge_result *r;

    assert_int_equal(merge_mailbox(&s, &empty, 0, &r), -EINVAL);
    assert_int_equal(merge_mailbox(&empty, &s, 0, &r), -EINVAL);
    assert_int_equal(merge_mailbox(&bad, &empty, 0, &r), -EINVAL);
    s.entries = &huge;
    s.count = 1;
    assert_int_equal(merge_mailbox(&s, &empty, 0, &r), -EINVAL);
    assert_int_equal(merge_mailbox(&empty, &empty, UINT32_MAX, &r), -EOVERFLOW);
    assert_int_equal(merge_mailbox(&empty, &empty, 0, &r), 0);
    assert_int_equal(r->count, 0);
    assert_int_equal(r->validity, 0);
    assert_null(merge_result_find(r, "m"));
    merge_result_free(r);
}

static void test_keywords_and_info(void **state) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *it;

    one_side(&a, "5 cur", "5 cur", 10, 10);
    one_side(&b, "5 cur", "5 cur", 10, 10);
    maildir_set_add(&a.entry.now.keywords, 0);
    maildir_set_add(&b.entry.now.keywords, 100);
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    it = merge_result_find(r, "m");
    assert_true(maildir_set_has(it->state.keywords, 0) && maildir_set_has(it->state.keywords, 100));
    assert_true(it->what & MERGE_CONFLICT);
    merge_result_free(r);
    a.entry.now.info = "1,verbatim";
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    it = merge_result_find(r, "m");
    assert_string_equal(it->state.info, "1,verbatim");
    assert_true(maildir_set_empty(it->state.keywords));
    merge_result_free(r);
}

/* One name, two contents: two messages, and neither content is lost. */
static void test_split(void **state) {
    struct one a, b;
    struct merge_result *r, *again;
    const struct merge_item *it, *half;
    struct merge_entry after[2];

    one_side(&a, "", "10 cur S", 11, 10);
    one_side(&b, "", "10 cur F", 11, 10);
    a.entry.base = b.entry.base = "m,S=7";
    a.entry.now.content = 0xaa;
    b.entry.now.content = 0xbb;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    assert_int_equal(r->count, 2);
    it = merge_result_find(r, "m,S=7");
    half = merge_result_find(r, "m.mf00000000000000aa,S=7");
    assert_non_null(half);
    assert_int_equal(it->content, 'b');
    assert_int_equal(half->content, 'a');
    assert_string_equal(half->split_from, "m,S=7");
    assert_true(maildir_set_has(it->state.flags, 'F') && !maildir_set_has(it->state.flags, 'S'));
    assert_true(maildir_set_has(half->state.flags, 'S'));
    assert_int_not_equal(it->state.uid, half->state.uid);
    assert_int_not_equal(half->state.uid, 10);
    assert_int_equal(r->stats.split, 1);

    /* broken off after a was done: the same result again */
    after[0] = (struct merge_entry){.base = it->name, .is = true, .now = it->state};
    after[1] = (struct merge_entry){.base = half->name, .is = true, .now = half->state};
    a.side.entries = after;
    a.side.count = 2;
    a.side.next = r->next;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &again), 0);
    assert_int_equal(again->count, 2);
    assert_int_equal(merge_result_find(again, "m,S=7")->state.uid, it->state.uid);
    assert_int_equal(merge_result_find(again, half->name)->state.uid, half->state.uid);
    merge_result_free(again);
    merge_result_free(r);
}

static void split_name(const char *name, uint32_t content, char out[MAILDIR_NAME_MAX + 1]) {
    merge_split_name(name, content, out);
    assert_int_equal(maildir_name_check(out, strlen(out), MAILDIR_NAME_BASE), 0);
}

/* Room is left for any flags, whatever the name was, and two that begin alike are told apart. */
static void test_long_split_name(void **state) {
    char name[256], one[256], two[256], full[256];
    struct maildir_set flags = {{UINT64_MAX, UINT64_MAX}};
    unsigned len;

    for (len = 1; len <= MAILDIR_NAME_MAX; len++) {
        memset(name, 'n', len);
        name[len] = '\0';
        if (len > 50)
            memcpy(name + len - 50, ",S=7,", 5);
        split_name(name, 7, one);
        name[len > 50 ? len - 51 : len - 1] = 'm';
        split_name(name, 7, two);
        assert_string_not_equal(one, two);
        split_name(name, 8, one);
        assert_string_not_equal(one, two);
        assert_true(maildir_name_format(full, sizeof(full), one, strlen(one), true, flags,
                                        (UINT32_C(1) << MAILDIR_LETTERS) - 1) > 0);
    }
}

/* An info that is kept as it is can be longer than any flags are. */
static void test_split_of_long_info(void **state) {
    char name[150], info[110];
    struct one a, b;
    struct merge_result *r;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(info, 'x', sizeof(info) - 1);
    info[sizeof(info) - 1] = '\0';
    memset(name + 140, '\0', 10);
    one_side(&a, "", "10 cur", 11, 10);
    one_side(&b, "", "10 cur", 11, 10);
    a.entry.base = b.entry.base = name;
    a.entry.now.content = 1;
    b.entry.now.content = 2;
    a.entry.now.info = b.entry.now.info = info;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    assert_int_equal(r->count, 2);
    for (size_t i = 0; i < r->count; i++) {
        const struct merge_item *it = &r->items[i];
        size_t n = it->state.info ? 1 + strlen(it->state.info) : 0;
        assert_true(strlen(it->name) + n <= MAILDIR_NAME_MAX);
    }
    merge_result_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_diff_listing),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_keywords_and_info),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_long_split_name),
        cmocka_unit_test(test_split_of_long_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
