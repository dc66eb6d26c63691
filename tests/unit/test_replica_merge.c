/*
 * test_replica_merge - the three-way merge of a mailbox, case by case
 *
 * Each case is one message name "m" in a mailbox: what a and b hold it to have been, what it is
 * there, and what becomes of it. Every case is merged both ways round. What holds for all mailboxes
 * is in test_replica_merge_random.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "maildir/name.h"
#include "replica/base_age.h"
#include "replica/merge.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* "12 cur FS" or "0 new"; "" is absent. */
static bool state_of(const char *text, struct merge_state *s) {
    char where[8], flags[32] = "";

    memset(s, 0, sizeof *s);
    if (!*text)
        return false;
    assert_true(sscanf(text, "%u %7s %31s", &s->uid, where, flags) >= 2);
    s->in_cur = strcmp(where, "cur") == 0;
    assert_int_equal(maildir_flags_parse(flags, strlen(flags), &s->flags), 0);
    return true;
}

struct one {
    struct merge_entry entry;
    struct merge_side side;
};

/* base NULL: this side's base is not valid. */
static void make_side(struct one *o, const char *base, const char *now, uint32_t next,
                      uint32_t base_next) {
    memset(o, 0, sizeof *o);
    o->entry.base = "m";
    o->entry.was = state_of(base ? base : "", &o->entry.old);
    o->entry.is = state_of(now, &o->entry.now);
    o->side = (struct merge_side){.base_valid = base != NULL,
                                  .full = true,
                                  .validity = 9,
                                  .next = next,
                                  .base_next = base_next,
                                  .entries = &o->entry,
                                  .count = o->entry.was || o->entry.is};
}

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

static void check(const struct merge_side *a, const struct merge_side *b, const char *want,
                  const char *why) {
    struct merge_result *r;
    struct merge_state state, none = {0};
    const struct merge_item *it;
    bool present = state_of(want, &state);

    assert_int_equal(merge_mailbox(a, b, 0, &r), 0);
    it = merge_result_find(r, "m");
    if (it ? it->present != present : present)
        fail_msg("%s: should be %s", why, present ? "there" : "gone");
    if (it && present && !merge_state_equal(&it->state, &state))
        fail_msg("%s: uid %u%s, should be %s", why, it->state.uid, it->state.in_cur ? " cur" : "",
                 want);
    if (it && !present)
        assert_true(merge_state_equal(&it->state, &none));
    assert_true(r->next >= a->next && r->next >= b->next);
    assert_true(!present || r->next > state.uid);
    assert_int_equal(r->validity, 9);
    merge_result_free(r);
}

static void test_cases(void **state) {
    size_t i;

    for (i = 0; i < LEN(cases); i++) {
        struct one a, b;

        make_side(&a, cases[i].base_a, cases[i].a, cases[i].next_a, cases[i].base_next_a);
        make_side(&b, cases[i].base_b, cases[i].b, cases[i].next_b, cases[i].base_next_b);
        check(&a.side, &b.side, cases[i].want, cases[i].why);
        check(&b.side, &a.side, cases[i].want, cases[i].why);
    }
}

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

    check(a, b, borrowed[i].want, borrowed[i].why);
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

        make_side(&a, borrowed[i].base_a, borrowed[i].a, 13, 10);
        make_side(&b, borrowed[i].base_b, borrowed[i].b, 13, 10);
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

    make_side(&a, NULL, "12 cur S", 13, 1);
    make_side(&b, NULL, "", 5, 1);
    a.entry.borrowed = true;
    check(&a.side, &b.side, "", "b has a list already");
    b.side.validity = b.side.next = b.side.base_next = 0;
    check(&a.side, &b.side, "12 cur S", "b is being filled");
    check(&b.side, &a.side, "12 cur S", "b is being filled");
}

/* Each base lacks something that the other has: what only one of them knows stays. */
static void test_bases_that_lack(void **state) {
    assert_int_equal(base_age_cmp(3, 2), 1);
    assert_int_equal(base_age_cmp(3 | BASE_AGE_LACKS, 2), -1);
    assert_int_equal(base_age_cmp(3 | BASE_AGE_LACKS, 2 | BASE_AGE_LACKS), 0);
    assert_int_equal(base_age_cmp(0, 2), 0);
    assert_int_equal(base_age_merged(3 | BASE_AGE_LACKS, 5), 6);
}

/* The power of both went: what b removed was there before the UIDs that its base knows, and what a
 * has may have come after that. */
static void test_numbered_beyond_both(void **state) {
    struct one a, b;

    make_side(&a, "0 new", "9 cur", 10, 9);
    make_side(&b, "0 new", "", 9, 9);
    a.side.base_version = b.side.base_version = 7;
    check(&a.side, &b.side, "", "numbered here, removed there");
    a.side.base_version = b.side.base_version = 7 | BASE_AGE_LACKS;
    check(&a.side, &b.side, "9 cur", "perhaps moved out and in again");
    check(&b.side, &a.side, "9 cur", "perhaps moved out and in again");
    make_side(&a, "0 new", "0 new", 10, 9);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    check(&a.side, &b.side, "", "as it was in both");
}

/* The later base decides where the two differ, if the other node may have lost what it had. */
static void test_later_base_wins(void **state) {
    struct one a, b;

    make_side(&a, "5 cur", "5 cur", 10, 0); /* a cleared S; agreed; b crashed back */
    make_side(&b, "5 cur S", "5 cur S", 10, 0);
    a.side.base_version = 8;
    b.side.base_version = 7 | BASE_AGE_LACKS;
    check(&a.side, &b.side, "5 cur", "S was cleared by agreement");
    check(&b.side, &a.side, "5 cur", "S was cleared by agreement");
    make_side(&b, "5 cur S", "5 cur FS", 10, 0); /* but what b did since stays */
    b.side.base_version = 7 | BASE_AGE_LACKS;
    check(&a.side, &b.side, "5 cur F", "F is b's own");
}

/* Its acknowledgement was lost: b has it and a knows no answer. What a did then was on top of it.
 */
static void test_unanswered(void **state) {
    struct one a, b;

    make_side(&a, "5 cur", "5 cur", 10, 0); /* S was set, and cleared when alone */
    make_side(&b, "5 cur S", "5 cur S", 10, 0);
    a.side.base_version = 7;
    b.side.base_version = 8;
    check(&a.side, &b.side, "5 cur", "cleared after it was sent");
    check(&b.side, &a.side, "5 cur", "cleared after it was sent");
    make_side(&a, "", "5 cur", 10, 0); /* or it came with it */
    a.side.base_version = 7;
    check(&a.side, &b.side, "5 cur", "cleared after it came");
    check(&b.side, &a.side, "5 cur", "cleared after it came");
    make_side(&b, "5 cur S", "5 cur FS", 10, 0);
    b.side.base_version = 8;
    check(&a.side, &b.side, "5 cur F", "and b's own");
    make_side(&a, "5 cur S", "5 cur S", 10, 0); /* or was cleared, and set again */
    a.side.base_version = 7;
    make_side(&b, "5 cur", "5 cur", 10, 0);
    b.side.base_version = 8;
    check(&a.side, &b.side, "5 cur S", "set again");
}

/* A merge that b has carried out and a has not: `result` is b's part of it, `had` what a had then.
 */
static void half_done(struct one *b, const char *result, const char *had, uint64_t age) {
    b->entry.half = true;
    state_of(result, &b->entry.half_mine);
    state_of(had, &b->entry.half_theirs);
    b->side.half_age = age;
}

static void test_half_a_merge(void **state) {
    struct one a, b;

    make_side(&a, "5 cur", "5 cur S", 10, 0);
    make_side(&b, "5 cur", "5 cur F", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    check(&a.side, &b.side, "5 cur F", "b cleared what a had set");
    check(&b.side, &a.side, "5 cur F", "b cleared what a had set");
    make_side(&a, "5 cur", "5 cur", 10, 0);
    make_side(&b, "5 cur", "5 cur FS", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    check(&a.side, &b.side, "5 cur F", "a cleared it, and never had b's F");
    check(&b.side, &a.side, "5 cur F", "a cleared it, and never had b's F");
    make_side(&a, "5 cur FS", "5 cur FS", 10, 0); /* S was cleared here, F there */
    make_side(&b, "5 cur FS", "5 cur F", 10, 0);
    half_done(&b, "5 cur", "5 cur S", 1);
    check(&a.side, &b.side, "5 cur F", "set since, on both");
    make_side(&a, "5 cur", "5 cur FS", 10, 0); /* a is as the result: it went on from that */
    make_side(&b, "5 cur", "5 cur S", 10, 0);
    half_done(&b, "5 cur FS", "5 cur S", 1);
    check(&a.side, &b.side, "5 cur S", "b cleared its own");
    half_done(&a, "5 cur", "5 cur", 2); /* a later one, of a's: b's says nothing any more */
    a.entry.half = false;
    check(&a.side, &b.side, "5 cur FS", "set by both since");
    make_side(&a, "5 cur S", "5 cur S", 10, 0); /* after a power cut a may be what it was before */
    a.side.base_version = BASE_AGE_LACKS | 3;
    make_side(&b, "5 cur S", "5 cur", 10, 0);
    b.side.base_version = BASE_AGE_LACKS | 3;
    half_done(&b, "5 cur", "5 cur", 1);
    check(&a.side, &b.side, "5 cur", "b cleared it");
}

/* After a crash the peer's delivery is put into the store once more, without its UID, although a
 * client here had removed it and the peer knows: that is no message added anew. */
static void test_put_back(void **state) {
    struct one a, b;

    make_side(&a, "5 cur", "0 new", 10, 10);
    make_side(&b, "", "", 10, 10);
    a.side.base_version = 7 | BASE_AGE_LACKS;
    b.side.base_version = 8;
    check(&a.side, &b.side, "", "removed by agreement");
    check(&b.side, &a.side, "", "removed by agreement");
    a.side.base_version = 7;
    check(&a.side, &b.side, "0 new", "added anew");
    check(&b.side, &a.side, "0 new", "added anew");
    make_side(&a, "0 new", "70000 cur", 70001, 10); /* or a client has had it numbered since */
    a.side.base_version = 7 | BASE_AGE_LACKS;
    check(&a.side, &b.side, "", "removed by agreement");
    check(&b.side, &a.side, "", "removed by agreement");
    a.side.base_version = 7;
    check(&a.side, &b.side, "70000 cur", "perhaps another");
    check(&b.side, &a.side, "70000 cur", "perhaps another");
}

/* A listing of differences leaves out what is as in the common base. */
static void test_diff_listing(void **state) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *it;

    make_side(&a, "5 cur", "5 cur S", 10, 10);
    make_side(&b, "5 cur", "5 cur", 10, 10);
    a.side.full = b.side.full = false;
    b.side.count = 0;
    check(&a.side, &b.side, "5 cur S", "unlisted is unchanged");
    check(&b.side, &a.side, "5 cur S", "unlisted is unchanged");
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    it = merge_result_find(r, "m");
    assert_true(it->at_b);
    assert_int_equal(it->now_b.uid, 5);
    assert_true(maildir_set_empty(it->now_b.flags));
    assert_null(it->b);
    assert_int_equal(r->stats.changed_b, 1);
    assert_int_equal(r->stats.changed_a, 0);
    merge_result_free(r);

    make_side(&a, "5 cur", "", 10, 10);
    a.side.full = false;
    check(&a.side, &b.side, "", "expunged");
    make_side(&a, "", "10 cur", 11, 10);
    a.side.full = false;
    check(&a.side, &b.side, "10 cur", "unlisted is absent when the base has none");
    make_side(&a, "0 new", "12 cur", 13, 10);
    a.side.full = false;
    check(&a.side, &b.side, "12 cur", "numbered here");
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

    make_side(&a, "5 cur", "5 cur", 10, 10);
    make_side(&b, "5 cur", "5 cur", 6, 6); /* without what a had acknowledged */
    assert_int_equal(next_of(&a.side, &b.side), 10);
    b.side.cut = true;
    assert_int_equal(next_of(&a.side, &b.side), 10 + MERGE_LOST_UIDS);
    b.side.validity = b.side.next = 0; /* nor its list */
    assert_int_equal(next_of(&a.side, &b.side), 10 + MERGE_LOST_UIDS);
    make_side(&b, "5 cur", "5 cur", 200000, 6); /* or it had raised before, alone */
    b.side.cut = true;
    assert_int_equal(next_of(&a.side, &b.side), 200000 + MERGE_LOST_UIDS);
    make_side(&a, "", "131072 cur", 131073, 10); /* a gave it meanwhile, as far away as that */
    make_side(&b, "", "", 10, 10);
    b.side.cut = true;
    check(&a.side, &b.side, "131072 cur", "nobody saw it name another");
    check(&b.side, &a.side, "131072 cur", "nobody saw it name another");
    assert_int_equal(next_of(&a.side, &b.side), 131073);
    make_side(&a, "", "10 cur", 11, 10); /* what gets a new UID gets one above, too */
    make_side(&b, "", "", 11, 10);
    b.side.cut = true;
    check(&a.side, &b.side, "32779 cur", "10 was another's on b");
    make_side(&b, "", "", UINT32_MAX - 5, 10); /* used up: nothing better can be done */
    b.side.cut = true;
    b.side.count = a.side.count = 0;
    assert_int_equal(next_of(&a.side, &b.side), UINT32_MAX - 5);
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

static void test_keywords_and_info(void **state) {
    struct one a, b;
    struct merge_result *r;
    const struct merge_item *it;

    make_side(&a, "5 cur", "5 cur", 10, 10);
    make_side(&b, "5 cur", "5 cur", 10, 10);
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

    make_side(&a, "", "10 cur S", 11, 10);
    make_side(&b, "", "10 cur F", 11, 10);
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

static void test_long_split_name(void **state) {
    char name[256];
    struct one a, b;
    struct merge_result *r;

    memset(name, 'n', 255);
    name[255] = '\0';
    make_side(&a, "", "10 cur", 11, 10);
    make_side(&b, "", "10 cur", 11, 10);
    a.entry.base = b.entry.base = name;
    a.entry.now.content = 1;
    b.entry.now.content = 2;
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), 0);
    assert_int_equal(r->count, 2);
    assert_int_equal(strlen(r->items[0].name), 255);
    assert_int_equal(maildir_name_check(r->items[0].name, 255, MAILDIR_NAME_BASE), 0);
    merge_result_free(r);
}

static void test_uids_run_out(void **state) {
    struct one a, b;
    struct merge_result *r;

    make_side(&a, "", "4294967294 cur", UINT32_MAX, 0);
    make_side(&b, "", "", UINT32_MAX, 0);
    assert_int_equal(merge_mailbox(&a.side, &b.side, 0, &r), -EOVERFLOW);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_borrowed_filling),
        cmocka_unit_test(test_bases_that_lack),
        cmocka_unit_test(test_numbered_beyond_both),
        cmocka_unit_test(test_half_a_merge),
        cmocka_unit_test(test_put_back),
        cmocka_unit_test(test_later_base_wins),
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_diff_listing),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_same_uid_two_messages),
        cmocka_unit_test(test_twins_on_one_side),
        cmocka_unit_test(test_higher_validity_wins),
        cmocka_unit_test(test_many_keep_their_validity),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_no_list_on_a_side),
        cmocka_unit_test(test_keywords_and_info),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_long_split_name),
        cmocka_unit_test(test_uids_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
