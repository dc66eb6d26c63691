/*
 * test_replica_merge_bases - the merge of a mailbox whose two bases are not the same
 *
 * One lacks what was agreed last, or both do, since the power was cut; one node knows of a merge or
 * of a transaction, and the other does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "replica_one.h"

/* Each base lacks something that the other has: what only one of them knows stays. */
static void test_bases_that_lack(void **state) {
    assert_int_equal(base_age_cmp(3, 2), 1);
    assert_int_equal(base_age_cmp(3 | BASE_AGE_LACKS, 2), -1);
    assert_int_equal(base_age_cmp(3 | BASE_AGE_LACKS, 2 | BASE_AGE_LACKS), 0);
    assert_int_equal(base_age_cmp(0, 2), 0);
    assert_int_equal(base_age_merged(3 | BASE_AGE_LACKS, 5), 6);
    assert_true(base_age_of_merge(3 | BASE_AGE_LACKS, 5) > 100000);
    assert_true(base_age_of_merge(base_age_of_merge(3, 5), 5) > base_age_of_merge(3, 5) + 100000);
}

/* The power of both went: what b removed was there before the UIDs that its base knows, and what a
 * has may have come after that. */
static void test_numbered_beyond_both(void **state) {
    struct one a, b;

    one_side(&a, "0 new", "9 cur", 10, 9);
    one_side(&b, "0 new", "", 9, 9);
    a.side.base_version = b.side.base_version = 7;
    one_check(&a.side, &b.side, "", "numbered here, removed there");
    a.side.base_version = b.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "9 cur", "perhaps moved out and in again");
    one_check(&b.side, &a.side, "9 cur", "perhaps moved out and in again");
    one_side(&a, "0 new", "0 new", 10, 9);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "", "as it was in both");
}

/* The later base decides where the two differ, if the other node may have lost what it had. */
static void test_later_base_wins(void **state) {
    struct one a, b;

    one_side(&a, "5 cur", "5 cur", 10, 0); /* a cleared S; agreed; b crashed back */
    one_side(&b, "5 cur S", "5 cur S", 10, 0);
    a.side.base_version = 8;
    b.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "5 cur", "S was cleared by agreement");
    one_check(&b.side, &a.side, "5 cur", "S was cleared by agreement");
    one_side(&b, "5 cur S", "5 cur FS", 10, 0); /* but what b did since stays */
    b.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "5 cur F", "F is b's own");
    one_side(&b, "", "5 cur FS", 10, 0); /* it came after b's checkpoint */
    b.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "5 cur FS", "cleared before, or set since: b cannot say");
    one_check(&b.side, &a.side, "5 cur FS", "cleared before, or set since: b cannot say");
    one_side(&a, "5 cur FS", "5 cur F", 10, 0);
    a.side.base_version = 8;
    one_check(&a.side, &b.side, "5 cur F", "a cleared S after it was agreed");
    one_check(&b.side, &a.side, "5 cur F", "a cleared S after it was agreed");
}

/* Its acknowledgement was lost: b has it and a knows no answer. What a did then was on top of it.
 */
static void test_unanswered(void **state) {
    struct one a, b;

    one_side(&a, "5 cur", "5 cur", 10, 0); /* S was set, and cleared when alone */
    one_side(&b, "5 cur S", "5 cur S", 10, 0);
    a.side.base_version = 7;
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "5 cur", "cleared after it was sent");
    one_check(&b.side, &a.side, "5 cur", "cleared after it was sent");
    one_side(&a, "", "5 cur", 10, 0); /* or it came with it */
    a.side.base_version = 7;
    one_check(&a.side, &b.side, "5 cur", "cleared after it came");
    one_check(&b.side, &a.side, "5 cur", "cleared after it came");
    one_side(&b, "5 cur S", "5 cur FS", 10, 0);
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "5 cur F", "and b's own");
    one_side(&a, "5 cur S", "5 cur S", 10, 0); /* or was cleared, and set again */
    a.side.base_version = 7;
    one_side(&b, "5 cur", "5 cur", 10, 0);
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "5 cur S", "set again");
}

/* A merge that b has carried out and a has not: `result` is b's part of it, `had` what a had then.
 */
static void half_done(struct one *b, const char *result, const char *had, uint64_t age) {
    b->entry.half = true;
    b->entry.half_here = one_state(result, &b->entry.half_mine);
    b->entry.half_there = one_state(had, &b->entry.half_theirs);
    b->side.half_age = age;
    b->side.half_with = 1;
    b->side.count = 1;
}

static void test_half_a_merge(void **state) {
    struct one a, b;

    one_side(&a, "5 cur", "5 cur S", 10, 0);
    one_side(&b, "5 cur", "5 cur F", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    one_check(&a.side, &b.side, "5 cur F", "b cleared what a had set");
    one_check(&b.side, &a.side, "5 cur F", "b cleared what a had set");
    one_side(&a, "5 cur", "5 cur", 10, 0);
    one_side(&b, "5 cur", "5 cur FS", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    one_check(&a.side, &b.side, "5 cur F", "a cleared it, and never had b's F");
    one_check(&b.side, &a.side, "5 cur F", "a cleared it, and never had b's F");
    one_side(&a, "5 cur FS", "5 cur FS", 10, 0); /* S was cleared here, F there */
    one_side(&b, "5 cur FS", "5 cur F", 10, 0);
    half_done(&b, "5 cur", "5 cur S", 1);
    one_check(&a.side, &b.side, "5 cur F", "set since, on both");
    one_side(&a, "5 cur", "5 cur FS", 10, 0); /* a is as the result: it went on from that */
    one_side(&b, "5 cur", "5 cur S", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    one_check(&a.side, &b.side, "5 cur S", "b cleared its own");
    half_done(&a, "5 cur", "5 cur", 2); /* a later one, of a's: b's says nothing any more */
    a.entry.half = false;
    one_check(&a.side, &b.side, "5 cur FS", "set by both since");
    one_side(&a, "5 cur", "5 cur", 10, 0); /* a cleared F, after b alone had carried that out */
    one_side(&b, "5 cur", "5 cur F", 10, 0);
    half_done(&b, "5 cur F", "5 cur F", 9);
    a.side.base_version = 7; /* and either has not noted an answer before that merge */
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "5 cur", "a cleared it");
    one_check(&b.side, &a.side, "5 cur", "a cleared it");
    a.side.base_version = 8;
    b.side.base_version = 7;
    one_check(&a.side, &b.side, "5 cur", "a cleared it");
    one_check(&b.side, &a.side, "5 cur", "a cleared it");
    one_side(&a, "5 cur F", "5 cur", 10, 0); /* or has come to the end of it */
    a.side.base_version = 9;
    half_done(&b, "5 cur F", "5 cur", 9);
    one_check(&a.side, &b.side, "5 cur", "a cleared what b had set");
    one_check(&b.side, &a.side, "5 cur", "a cleared what b had set");
    one_side(&a, "5 cur S", "5 cur S", 10, 0); /* after a power cut a may be what it was before */
    a.side.base_version = BASE_AGE_LACKS | 3;
    one_side(&b, "5 cur S", "5 cur", 10, 0);
    b.side.base_version = BASE_AGE_LACKS | 3;
    half_done(&b, "5 cur", "5 cur", 1);
    one_check(&a.side, &b.side, "5 cur", "b cleared it");
}

static void check_both(const struct one *a, const struct one *b, const char *want,
                       const char *why) {
    one_check(&a->side, &b->side, want, why);
    one_check(&b->side, &a->side, want, why);
}

/* b has carried out a merge that brought it from a, or to a, and a may not have done so. */
static void test_half_came(void **state) {
    struct one a, b;

    one_side(&a, "", "5 cur S", 10, 0);
    one_side(&b, "", "", 10, 0);
    half_done(&b, "5 cur S", "5 cur S", 1);
    check_both(&a, &b, "", "expunged at b, where it came to");
    one_side(&a, "", "7 cur S", 10, 0);
    half_done(&b, "7 cur S", "5 cur S", 1);
    check_both(&a, &b, "", "and a has the number of that merge");
    half_done(&b, "", "7 cur S", 1);
    check_both(&a, &b, "", "and a second merge said so");
    one_side(&a, "", "8 cur S", 10, 0);
    b.side.next = 8;
    half_done(&b, "7 cur S", "5 cur S", 1);
    check_both(&a, &b, "8 cur S", "another one of that name");
    one_side(&a, "", "0 new", 10, 0);
    b.side.next = 10;
    check_both(&a, &b, "0 new", "another one, without a number yet");
    half_done(&b, "0 new", "0 new", 1);
    check_both(&a, &b, "", "it had none then");
    one_side(&a, "", "", 10, 0);
    one_side(&b, "", "5 cur", 10, 0);
    half_done(&b, "5 cur", "5 cur", 1);
    check_both(&a, &b, "", "expunged at a, where it came from");
    a.side.base_version = BASE_AGE_LACKS | 3;
    b.side.base_version = 3;
    check_both(&a, &b, "10 cur", "or lost there with the power");
    one_side(&a, "", "", 5, 0);
    half_done(&b, "5 cur", "", 1);
    check_both(&a, &b, "5 cur", "on its way to a");
    one_side(&a, "", "", 5, 0);
    one_side(&b, "", "8 cur", 10, 0);
    half_done(&b, "5 cur", "0 new", 1);
    check_both(&a, &b, "8 cur", "at b, moved out and in again");
    one_side(&a, "", "5 cur F", 10, 0); /* a has it from b: who cleared S? */
    one_side(&b, "", "5 cur S", 10, 0);
    half_done(&b, "5 cur S", "", 1);
    check_both(&a, &b, "5 cur F", "a, which has carried it out");
    half_done(&b, "", "5 cur", 1);
    check_both(&a, &b, "5 cur FS", "it was to go, and came again to both");
}

/* What says nothing of a removal, though the message was there when b carried out that merge. */
static void test_half_and_not_removed(void **state) {
    struct one a, b;

    one_side(&a, "", "", 5, 0);
    one_side(&b, "", "5 cur", 10, 0);
    half_done(&b, "5 cur", "5 cur", 1);
    check_both(&a, &b, "", "it went from a");
    a.side.held = true;
    check_both(&a, &b, "5 cur", "a tells of no removals");
    a.side.held = false;
    a.side.life = 2;
    check_both(&a, &b, "5 cur", "a was started anew: perhaps from a backup");
    a.side.life = 0;
    check_both(&a, &b, "5 cur", "a knows nothing of that");
    one_side(&a, "", "5 cur", 10, 0);
    one_side(&b, "", "", 5, 0);
    half_done(&b, "5 cur", "5 cur", 1);
    a.side.life = 2;
    check_both(&a, &b, "", "it went from b");
    b.side.held = true;
    check_both(&a, &b, "5 cur", "b tells of no removals");
    b.side.held = false;
    a.side.base_valid = false;
    check_both(&a, &b, "5 cur", "a was started anew, and knows of no base");
    a.side.life = 1;
    check_both(&a, &b, "", "nor ever did");
    b.side.life = 0;
    check_both(&a, &b, "5 cur", "b knows nothing of that");
    one_side(&a, "", "0 new", 10, 0);
    one_side(&b, "", "", 10, 0);
    half_done(&b, "0 new", "0 new", 9);
    a.side.base_version = 9;
    b.side.base_version = 7;
    check_both(&a, &b, "0 new", "moved out and in again, after a had come to the end of it");
}

/* After a crash the peer's delivery is put into the store once more, without its UID, although a
 * client here had removed it and the peer knows: that is no message added anew. */
static void test_put_back(void **state) {
    struct one a, b;

    one_side(&a, "5 cur", "0 new", 10, 10);
    one_side(&b, "", "", 10, 10);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "", "removed by agreement");
    one_check(&b.side, &a.side, "", "removed by agreement");
    a.side.base_version = 7;
    one_check(&a.side, &b.side, "0 new", "added anew");
    one_check(&b.side, &a.side, "0 new", "added anew");
    one_side(&a, "0 new", "70000 cur", 70001, 10); /* or a client has had it numbered since */
    a.side.base_version = 7 | BASE_AGE_LACKS;
    a.entry.put_back = true;
    one_check(&a.side, &b.side, "", "removed by agreement");
    one_check(&b.side, &a.side, "", "removed by agreement");
    one_side(&a, "5 cur", "70000 cur", 70001, 10); /* and its number was lost before that */
    a.side.base_version = 7 | BASE_AGE_LACKS;
    a.entry.put_back = true;
    one_check(&a.side, &b.side, "", "removed by agreement, whatever number it has got since");
    one_check(&b.side, &a.side, "", "removed by agreement, whatever number it has got since");
    one_side(&b, "5 cur", "", 10, 10);
    b.side.base_version = 8;
    one_check(&a.side, &b.side, "", "removed by b meanwhile");
    one_check(&b.side, &a.side, "", "removed by b meanwhile");
    b.side.base_version = 8 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "", "removed by b meanwhile, and the power of both was cut");
    one_side(&a, "0 new", "0 new", 10, 10); /* the number was b's */
    a.side.base_version = 7 | BASE_AGE_LACKS;
    a.entry.put_back = true;
    one_check(&a.side, &b.side, "", "removed by b meanwhile, and the power of both was cut");
    one_side(&a, "5 cur", "70000 cur", 70001, 10);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    one_check(&a.side, &b.side, "70000 cur", "another of that name");
    one_side(&b, "", "", 10, 10);
    b.side.base_version = 8;
    one_side(&a, "0 new", "70000 cur", 70001, 10);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    a.entry.put_back = false; /* or it was moved out, and in again: that went with the power */
    one_check(&a.side, &b.side, "70000 cur", "perhaps another");
    one_check(&b.side, &a.side, "70000 cur", "perhaps another");
    a.side.base_version = 7;
    one_check(&a.side, &b.side, "70000 cur", "perhaps another");
    one_check(&b.side, &a.side, "70000 cur", "perhaps another");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bases_that_lack),      cmocka_unit_test(test_numbered_beyond_both),
        cmocka_unit_test(test_later_base_wins),      cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_half_a_merge),         cmocka_unit_test(test_half_came),
        cmocka_unit_test(test_half_and_not_removed), cmocka_unit_test(test_put_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
