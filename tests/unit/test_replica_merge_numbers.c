/*
 * test_replica_merge_numbers - which UIDs and which UIDVALIDITY a merged mailbox has
 *
 * Each UID names one message for ever, on both nodes, so what one of them may have given to another
 * message is not given again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "replica/replica.h"
#include "replica_one.h"

/* Two messages that got one UID while apart: both get new ones, in one order. */
static void test_same_uid_two_messages(void **state) {
    struct merge_entry ea = {.base = "x", .is = true, .now = {.uid = 10}};
    struct merge_entry eb = {.base = "y", .is = true, .now = {.uid = 10}};
    struct merge_side a = {
        .base_valid = true, .full = true, .validity = 9, .next = 11, .entries = &ea, .count = 1};
    struct merge_side b = {
        .base_valid = true, .full = true, .validity = 9, .next = 11, .entries = &eb, .count = 1};
    struct merge_result *r;

    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(merge_result_find(r, "x")->state.uid, 11);
    assert_int_equal(merge_result_find(r, "y")->state.uid, 12);
    assert_int_equal(r->next, 13);
    assert_int_equal(r->stats.renumbered, 2);
    assert_int_equal(r->stats.added_a, 1);
    merge_result_free(r);
    assert_int_equal(merge_mailbox(&a, &b, 100, &r), 0);
    assert_int_equal(merge_result_find(r, "x")->state.uid, 111);
    merge_result_free(r);
}

/* A damaged list names two messages by one UID: neither keeps it. */
static void test_twins_on_one_side(void **state) {
    struct merge_entry e[2] = {{.base = "x", .is = true, .now = {.uid = 10}},
                               {.base = "y", .is = true, .now = {.uid = 10}}};
    struct merge_side a = {.full = true, .validity = 9, .next = 3, .entries = e, .count = 2};
    struct merge_side b = {.full = true};
    struct merge_result *r;

    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(merge_result_find(r, "x")->state.uid, 11);
    assert_int_equal(merge_result_find(r, "y")->state.uid, 12);
    merge_result_free(r);
}

static void test_higher_validity_wins(void **state) {
    struct merge_entry ea[2] = {{.base = "both", .is = true, .now = {.uid = 2}},
                                {.base = "only-a", .is = true, .now = {.uid = 3}}};
    struct merge_entry eb[3] = {{.base = "both", .is = true, .now = {.uid = 70}},
                                {.base = "only-b", .is = true, .now = {.uid = 71}},
                                {.base = "unnumbered", .is = true}};
    struct merge_side a = {.full = true, .validity = 9, .next = 4, .entries = ea, .count = 2};
    struct merge_side b = {.full = true, .validity = 8, .next = 90, .entries = eb, .count = 3};
    struct merge_result *r;

    assert_int_equal(merge_mailbox(&b, &a, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    assert_int_equal(merge_result_find(r, "both")->state.uid, 2);
    assert_int_equal(merge_result_find(r, "only-a")->state.uid, 3);
    assert_int_equal(merge_result_find(r, "only-b")->state.uid, 4);
    assert_int_equal(merge_result_find(r, "unnumbered")->state.uid, 0);
    assert_int_equal(r->next, 5);
    merge_result_free(r);
}

/* A node that is being filled: a client was there before the mailbox. */
static void test_many_keep_their_validity(void **state) {
    struct merge_entry ea[2] = {{.base = "one", .is = true, .now = {.uid = 2}},
                                {.base = "two", .is = true, .now = {.uid = 3}}};
    struct merge_entry eb = {.base = "new", .is = true, .now = {.uid = 1}};
    struct merge_side a = {.full = true, .validity = 8, .next = 4, .entries = ea, .count = 2};
    struct merge_side b = {.full = true, .validity = 9, .next = 2, .entries = &eb, .count = 1};
    struct merge_result *r;

    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(turn ? merge_mailbox(&b, &a, 0, &r) : merge_mailbox(&a, &b, 0, &r), 0);
        assert_int_equal(r->validity, 8);
        assert_int_equal(merge_result_find(r, "one")->state.uid, 2);
        assert_int_equal(merge_result_find(r, "two")->state.uid, 3);
        assert_int_equal(merge_result_find(r, "new")->state.uid, 4);
        merge_result_free(r);
    }
    b.base_valid = true; /* the directory was made there, and that was acknowledged */
    b.base_validity = 9;
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 8);
    merge_result_free(r);
    b.base_validity = 8; /* what its numbers named there before is not known any more */
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
    b.base_validity = 0;
    b.base_version = BASE_AGE_LACKS;
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
    b.base_version = 0; /* merged without a list, and begun on both since: none is being filled */
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
    b.base_valid = false;
    a.base_valid = true; /* the same, but the other node alone knows of that merge */
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
    a.base_valid = b.base_valid = true; /* known to each other: each V was once the common one */
    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
}

static uint32_t next_of(const struct merge_side *a, const struct merge_side *b) {
    struct merge_result *r, *s;
    uint32_t next;

    assert_int_equal(merge_mailbox(a, b, 0, &r), 0);
    assert_int_equal(merge_mailbox(b, a, 0, &s), 0);
    next = r->next;
    assert_int_equal(s->next, next);
    merge_result_free(r);
    merge_result_free(s);
    return next;
}

/* The power of b was cut: an index there may have UIDs that its list lost, and nobody gives those.
 */
static void test_power_cut(void **state) {
    struct one a, b;

    one_side(&a, "5 cur", "5 cur", 10, 10);
    one_side(&b, "5 cur", "5 cur", 6, 6); /* without what a had acknowledged */
    assert_int_equal(next_of(&a.side, &b.side), 10);
    b.side.cut = true;
    assert_int_equal(next_of(&a.side, &b.side), 10 + MERGE_LOST_UIDS);
    b.side.validity = b.side.next = 0; /* nor its list */
    assert_int_equal(next_of(&a.side, &b.side), 10 + MERGE_LOST_UIDS);
    one_side(&b, "5 cur", "5 cur", 200000, 6); /* or it had raised before, alone */
    b.side.cut = true;
    assert_int_equal(next_of(&a.side, &b.side), 200000 + MERGE_LOST_UIDS);
    one_side(&a, "", "131072 cur", 131073, 10); /* a gave it meanwhile, as far away as that */
    one_side(&b, "", "", 10, 10);
    b.side.cut = true;
    one_check(&a.side, &b.side, "131072 cur", "nobody saw it name another");
    one_check(&b.side, &a.side, "131072 cur", "nobody saw it name another");
    assert_int_equal(next_of(&a.side, &b.side), 131073);
    one_side(&a, "", "10 cur", 11, 10); /* what gets a new UID gets one above, too */
    one_side(&b, "", "", 11, 10);
    b.side.cut = true;
    one_check(&a.side, &b.side, "32779 cur", "10 was another's on b");
    one_side(&b, "", "", UINT32_MAX - 5, 10); /* used up: nothing better can be done */
    b.side.cut = true;
    b.side.count = a.side.count = 0;
    assert_int_equal(next_of(&a.side, &b.side), UINT32_MAX - 5);
}

/* Cut twice before both had the merge: what only one node numbers then is not where the other one,
 * which goes on alone from the list that it has, raises to; wherever in its block each of them is.
 */
static void test_power_cut_twice(void **state) {
    const uint32_t block = REPLICA_RAISE_BLOCK, half = MERGE_LOST_UIDS;
    struct one a, b;

    for (uint32_t i = 1; i < 48; i++) {
        for (uint32_t other = 1; other <= i; other++) {
            uint32_t cut = i * half + 5, others = other * half + 5, next;
            one_side(&a, "", "", cut, cut);
            one_side(&b, "", "", others, others);
            a.side.cut = true;
            next = next_of(&a.side, &b.side);
            assert_true(next >= cut + half);
            for (int how = REPLICA_RAISE_ODD; how <= REPLICA_RAISE_EVEN; how++) {
                uint32_t alone = others;
                while (alone <= next) {
                    alone = replica_raised_uid(alone, how);
                    if (next / block != cut / block)
                        assert_int_not_equal(alone / block, next / block);
                }
            }
        }
    }
}

/* A side without uidlist has no UIDs to defend. */
static void test_no_list_on_a_side(void **state) {
    struct merge_entry e = {.base = "m", .is = true, .now = {.uid = 2}};
    struct merge_side a = {.full = true, .validity = 9, .next = 3, .entries = &e, .count = 1};
    struct merge_side b = {.full = true};
    struct merge_result *r;

    assert_int_equal(merge_mailbox(&a, &b, 0, &r), 0);
    assert_int_equal(merge_result_find(r, "m")->state.uid, 2);
    assert_int_equal(r->validity, 9);
    assert_int_equal(r->next, 3);
    merge_result_free(r);
}

static void test_uids_run_out(void **state) {
    struct one a, b;
    struct merge_result *r;

    one_side(&a, "", "4294967294 cur", UINT32_MAX, 0);
    one_side(&b, "", "", UINT32_MAX, 0);
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), -EOVERFLOW);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_uid_two_messages),
        cmocka_unit_test(test_twins_on_one_side),
        cmocka_unit_test(test_higher_validity_wins),
        cmocka_unit_test(test_many_keep_their_validity),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_power_cut_twice),
        cmocka_unit_test(test_no_list_on_a_side),
        cmocka_unit_test(test_uids_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
