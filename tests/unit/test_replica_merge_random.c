/*
 * test_replica_merge_random - what holds for every merge of a mailbox
 *
 * Two model mailboxes start from a common state, go apart by random acts of random clients, and are
 * merged, over and over, now and then with one of them thrown back to an older base as after a
 * crash. Checked each time: swapping the sides changes nothing; no UID comes to name another
 * message than it ever named on either node; what was added is there, what was removed is not,
 * flags that one side alone changed are as it left them; merging again changes nothing; a merge
 * that only one side carried out before the other lost its power comes to the same end; one that
 * one side does not know to be common is the base of both all the same; differences alone give what
 * full listings give. All that also where some messages cannot be read on the node that has them.
 *
 * A failure prints its seed; MERGE_SEED=n in the environment runs that one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "replica/merge.h"

#define NAMES  8    /* of messages that come and go and come back */
#define UIDS   4096 /* enough for one run */
#define ROUNDS 6    /* partitions and merges of one run */
#define RUNS   4000

struct msg {
    bool is;
    struct merge_state state;
};

struct box {
    struct msg now[NAMES], base[NAMES];
    uint32_t next, base_next;
    uint64_t base_version;
    bool base_valid;
    int8_t shown[UIDS];  /* name + 1 that a UID was ever given to here */
    bool readded[NAMES]; /* since the base: removed and added again */
    bool unread[NAMES];
};

static const char *const names[NAMES] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};
static const char flag_chars[] = "FST";
static uint64_t rng;
static unsigned seed;
static bool with_unread;

static unsigned rnd(unsigned n) {
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("seed %u: %s", seed, #cond);                                                  \
    } while (0)

static void show(struct box *x, int i) {
    uint32_t u = x->now[i].state.uid;

    if (!u)
        return;
    CHECK(u < UIDS);
    CHECK(x->shown[u] == 0 || x->shown[u] == i + 1);
    x->shown[u] = (int8_t)(i + 1);
}

/* ---- what clients do ---------------------------------------------------------------- */

static void add(struct box *x, int i) {
    if (x->base[i].is && !x->base[i].state.uid)
        return; /* one that never had a UID cannot be told from its successor */
    x->readded[i] = x->base[i].is;
    x->now[i] = (struct msg){.is = true};
    x->unread[i] = with_unread && !rnd(3);
    if (rnd(4)) {
        x->now[i].state.uid = x->next++;
        x->now[i].state.in_cur = rnd(2);
    }
    show(x, i);
}

static void act_on(struct box *x, int i) {
    struct merge_state *s = &x->now[i].state;
    unsigned f;

    switch (rnd(6)) {
    case 0:
        x->now[i] = (struct msg){0};
        break;
    case 1: /* the first SELECT numbers what has no number, and picks it up */
        if (!s->uid)
            s->uid = x->next++;
        s->in_cur = true;
        show(x, i);
        break;
    case 2: /* moved out and in again */
        if (s->uid)
            add(x, i);
        break;
    default:
        f = (unsigned char)flag_chars[rnd(sizeof flag_chars - 1)];
        if (maildir_set_has(s->flags, f))
            maildir_set_del(&s->flags, f);
        else
            maildir_set_add(&s->flags, f);
    }
}

static void live(struct box *x, unsigned acts) {
    while (acts--) {
        int i = (int)rnd(NAMES);

        if (with_unread && !rnd(8))
            x->unread[i] = false; /* somebody has put it back */

        if (x->now[i].is)
            act_on(x, i);
        else
            add(x, i);
    }
}

/* ---- merging them -------------------------------------------------------------------- */

struct listing {
    struct merge_entry entries[NAMES];
    struct merge_side side;
};

static void list(const struct box *x, bool full, struct listing *l) {
    int i, n = 0;

    memset(l, 0, sizeof *l);
    for (i = 0; i < NAMES; i++) {
        struct merge_entry *e = &l->entries[n];

        *e = (struct merge_entry){.base = names[i],
                                  .was = x->base_valid && x->base[i].is,
                                  .is = x->now[i].is,
                                  .unread = x->now[i].is && x->unread[i],
                                  .old = x->base[i].state,
                                  .now = x->now[i].state};
        if (!e->was && !e->is)
            continue;
        if (!full && e->was && e->is && merge_state_equal(&e->old, &e->now))
            continue;
        n++;
    }
    l->side = (struct merge_side){.base_valid = x->base_valid,
                                  .full = full,
                                  .validity = 7,
                                  .next = x->next,
                                  .base_next = x->base_next,
                                  .base_version = x->base_version,
                                  .entries = l->entries,
                                  .count = (size_t)n};
}

/* Before it carries out a merge: a base that lacks something is no proof of a removal. */
static void forget_unread(const struct merge_result *r, struct box *x, bool a) {
    int i;

    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(r, names[i]);

        if (it && (it->what & MERGE_UNREAD) && (a ? it->at_a : it->at_b))
            x->base[i] = (struct msg){0};
    }
}

static struct merge_result *merge(const struct box *a, const struct box *b, bool full) {
    struct merge_result *r;
    struct listing la, lb;
    size_t i;

    list(a, full, &la);
    list(b, full, &lb);
    CHECK(merge_mailbox(&la.side, &lb.side, 0, &r) == 0);
    for (i = 0; i < r->count; i++) /* the listings are gone when we return */
        r->items[i].a = r->items[i].b = NULL;
    return r;
}

static void assert_same(const struct merge_result *r, const struct merge_result *s) {
    size_t i;

    CHECK(r->count == s->count && r->next == s->next && r->validity == s->validity);
    for (i = 0; i < r->count; i++) {
        CHECK(strcmp(r->items[i].name, s->items[i].name) == 0);
        CHECK(r->items[i].present == s->items[i].present);
        CHECK(!r->items[i].present || merge_state_equal(&r->items[i].state, &s->items[i].state));
    }
}

/* a, or else b. */
static void apply(const struct merge_result *r, struct box *x, bool a, uint64_t version) {
    int i;

    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(r, names[i]);

        bool stays = it && (it->what & MERGE_UNREAD);

        if (it && !(stays && !(a ? it->at_a : it->at_b)))
            x->now[i] = (struct msg){it->present, it->state};
        if (x->now[i].is)
            show(x, i);
        x->base[i] = stays ? (struct msg){0} : x->now[i];
        x->readded[i] = false;
    }
    x->next = r->next;
    x->base_next = r->next;
    x->base_version = version;
    x->base_valid = true;
}

/* ---- what must hold ------------------------------------------------------------------- */

static void assert_symmetric(const struct box *a, const struct box *b) {
    struct merge_result *r = merge(a, b, true), *s = merge(b, a, true);
    size_t i;

    assert_same(r, s);
    for (i = 0; i < r->count; i++) {
        CHECK(r->items[i].what == s->items[i].what);
        CHECK(r->items[i].at_a == s->items[i].at_b && r->items[i].at_b == s->items[i].at_a);
    }
    CHECK(r->stats.added_a == s->stats.added_b && r->stats.removed_a == s->stats.removed_b);
    CHECK(r->stats.changed_a == s->stats.changed_b && r->stats.conflicts == s->stats.conflicts);
    CHECK(r->stats.renumbered == s->stats.renumbered);
    merge_result_free(r);
    merge_result_free(s);
}

static void assert_no_uid_twice(const struct merge_result *r) {
    size_t i, j;

    for (i = 0; i < r->count; i++)
        for (j = 0; j < i; j++)
            CHECK(!r->items[i].present || !r->items[j].present || !r->items[i].state.uid ||
                  r->items[i].state.uid != r->items[j].state.uid);
}

static bool added_anew(const struct box *x, int i) {
    return x->now[i].is && (!x->base[i].is || x->readded[i]);
}

/* With one common base: presence and flags by name. */
static void assert_intended(const struct box *a, const struct box *b,
                            const struct merge_result *r) {
    int i;
    unsigned k;

    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(r, names[i]);
        bool stays = (a->now[i].is && b->now[i].is) || added_anew(a, i) || added_anew(b, i);

        CHECK((it && it->present) == stays);
        if (!stays || !a->now[i].is || !b->now[i].is || added_anew(a, i) || added_anew(b, i))
            continue;
        for (k = 0; k + 1 < sizeof flag_chars; k++) {
            unsigned f = (unsigned char)flag_chars[k];
            bool was = maildir_set_has(a->base[i].state.flags, f);
            bool fa = maildir_set_has(a->now[i].state.flags, f);
            bool fb = maildir_set_has(b->now[i].state.flags, f);

            CHECK(maildir_set_has(it->state.flags, f) == (was ? fa && fb : fa || fb));
        }
        CHECK(it->state.in_cur == (a->now[i].state.in_cur || b->now[i].state.in_cur));
    }
}

/* A listing of differences leaves names out; those it has come out alike. */
static void assert_diff_agrees(const struct box *a, const struct box *b,
                               const struct merge_result *r) {
    struct merge_result *d = merge(a, b, false);
    size_t i;

    CHECK(d->next == r->next);
    for (i = 0; i < d->count; i++) {
        const struct merge_item *it = merge_result_find(r, d->items[i].name);

        CHECK(it != NULL && it->present == d->items[i].present);
        CHECK(!it->present || merge_state_equal(&it->state, &d->items[i].state));
        CHECK(it->at_a == d->items[i].at_a && it->at_b == d->items[i].at_b);
        CHECK(!it->at_b || merge_state_equal(&it->now_b, &d->items[i].now_b));
    }
    for (i = 0; i < r->count; i++) /* what the differences leave out stays as it is */
        CHECK(merge_result_find(d, r->items[i].name) ||
              (r->items[i].present && merge_state_equal(&r->items[i].now_a, &r->items[i].state)));
    merge_result_free(d);
}

/* Merging comes to `want` again. Where a message had been added anew the flags of the incarnation
 * it replaced may come in once more, since a renumbered one looks the same: `loose`. So may what
 * only one side has, and cannot read, get another UID, since the other side knows none of it. */
static void assert_end(const struct box *a, const struct box *b, const struct merge_result *want,
                       const bool *loose) {
    struct merge_result *r = merge(a, b, true);
    int i;

    CHECK(loose && with_unread ? r->next >= want->next : r->next == want->next);
    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(r, names[i]);
        const struct merge_item *w = merge_result_find(want, names[i]);
        bool present = it && it->present;

        CHECK(present == (w && w->present));
        if (present && loose && (it->what & MERGE_UNREAD))
            continue;
        CHECK(!present || it->state.uid == w->state.uid);
        CHECK(!present || (loose && loose[i]) || merge_state_equal(&it->state, &w->state));
    }
    merge_result_free(r);
}

/* b has applied what both have, and does not know that a knows; both go on. Flags come out as if it
 * knew. */
static void assert_unanswered(const struct box *a, const struct box *b, const struct box *before) {
    struct box x = *a, y = *b, behind;
    struct merge_result *r, *s;
    int i;

    live(&x, rnd(6));
    live(&y, rnd(6));
    behind = y;
    memcpy(behind.base, before->base, sizeof behind.base);
    behind.base_next = before->base_next;
    behind.base_version = before->base_version;
    r = merge(&x, &y, true);
    s = merge(&x, &behind, true);
    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(s, names[i]);

        if (!x.base[i].is || !x.now[i].is || !y.now[i].is || x.readded[i] || y.readded[i])
            continue;
        CHECK(it && it->present);
        CHECK(maildir_set_equal(it->state.flags, merge_result_find(r, names[i])->state.flags));
    }
    merge_result_free(r);
    merge_result_free(s);
}

/* ---- runs ------------------------------------------------------------------------------ */

static void one_round(struct box *a, struct box *b, struct box *old, uint64_t version) {
    static struct box a0, b0;
    struct merge_result *r;
    bool loose[NAMES];
    int i;

    live(a, rnd(12));
    live(b, rnd(12));
    a0 = *a;
    b0 = *b;
    for (i = 0; i < NAMES; i++)
        loose[i] = a->readded[i] || b->readded[i];
    assert_symmetric(a, b);
    r = merge(a, b, true);
    assert_no_uid_twice(r);
    assert_intended(a, b, r);
    assert_diff_agrees(a, b, r);
    apply(r, a, true, version);
    forget_unread(r, &a0, true);
    forget_unread(r, &b0, false);
    forget_unread(r, old, true);
    a0.base_version |= BASE_AGE_LACKS;
    b0.base_version |= BASE_AGE_LACKS;
    assert_end(a, &b0, r, loose); /* b lost its power before it was synced there */
    apply(r, b, false, version);
    assert_end(a, b, r, NULL);
    b0.base_version &= ~BASE_AGE_LACKS;
    assert_unanswered(a, b, &b0);
    assert_end(&a0, b, r, loose); /* so did a, and came back as it was before */
    merge_result_free(r);
}

/* One node forgets its last round, as a disk that had not been synced: it comes back with the
 * state and the base of before, the other goes on from the newer ones. Nothing the other has agreed
 * to may be undone. */
static void crash_round(struct box *a, struct box *b, const struct box *old, uint64_t version) {
    struct merge_result *r;
    int i;

    memcpy(a->now, old->now, sizeof a->now);
    memcpy(a->base, old->base, sizeof a->base);
    memcpy(a->readded, old->readded, sizeof a->readded);
    a->base_next = old->base_next;
    a->base_version = old->base_version | BASE_AGE_LACKS;
    live(b, rnd(6));
    assert_symmetric(a, b);
    r = merge(a, b, true);
    assert_no_uid_twice(r);
    for (i = 0; i < NAMES; i++) {
        const struct merge_item *it = merge_result_find(r, names[i]);

        CHECK(!b->now[i].is || b->readded[i] || (it && it->present));
        CHECK(!a->now[i].is || !a->unread[i] || a->base[i].is || b->base[i].is ||
              (it && it->present));
    }
    apply(r, a, true, version);
    apply(r, b, false, version);
    merge_result_free(r);
}

static void run(void) {
    static struct box a, b, old;
    uint64_t version = 1;
    int i;

    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.next = a.base_next = b.next = b.base_next = 1;
    a.base_valid = b.base_valid = true;
    a.base_version = b.base_version = version;
    for (i = 0; i < ROUNDS; i++) {
        old = a;
        one_round(&a, &b, &old, ++version);
        if (rnd(3) == 0)
            crash_round(&a, &b, &old, ++version);
    }
}

static void histories(void) {
    const char *only = getenv("MERGE_SEED");
    unsigned from = only ? (unsigned)atoi(only) : 1, to = only ? from : RUNS;

    for (seed = from; seed <= to; seed++) {
        rng = seed * 7919u + 1;
        run();
    }
}

static void test_random_histories(void **state) {
    histories();
}

static void test_unread_histories(void **state) {
    with_unread = true;
    histories();
    with_unread = false;
}

/* ---- nonsense: whatever the listings say, M1 and M5 hold, and no UID that was another's -- */

/* Whose a UID is on this side, now and ever; the other side deals them out anew. */
static uint32_t deal(const int8_t *owner, int i) {
    uint32_t u = 1 + rnd(9);

    return rnd(4) && owner[u] == i ? u : 0;
}

static void nonsense(struct box *x) {
    int8_t owner[10];
    int i, k;

    memset(x, 0, sizeof *x);
    for (i = 0; i < 10; i++)
        owner[i] = (int8_t)rnd(3);
    x->base_valid = rnd(4) != 0;
    x->next = rnd(12);
    x->base_next = rnd(12);
    x->base_version = rnd(3);
    for (i = 0; i < NAMES; i++) {
        x->unread[i] = !rnd(3);
        for (k = 0; k < 2; k++) {
            struct msg *m = k ? &x->base[i] : &x->now[i];

            if (!rnd(3))
                continue;
            m->is = true;
            m->state.uid = deal(owner, i);
            m->state.in_cur = rnd(2);
            m->state.content = rnd(4) ? 0 : 1 + rnd(2);
            m->state.flags.w[0] = rnd(8);
            m->state.info = rnd(8) ? NULL : rnd(2) ? "1,x" : "1,y";
            /* one UID, two messages at one time: no list can say that */
            for (int o = 0; m->state.uid && o < i; o++)
                if ((k ? x->base[o] : x->now[o]).state.uid == m->state.uid)
                    m->state.uid = 0;
        }
    }
}

static void assert_uid_was_no_others(const struct box *x, const struct merge_result *r) {
    size_t i;
    int k;

    for (i = 0; i < r->count; i++) {
        const struct merge_item *it = &r->items[i];

        for (k = 0; it->present && it->state.uid && k < NAMES; k++) {
            if (strcmp(names[k], it->name) == 0)
                continue;
            CHECK(!x->now[k].is || x->now[k].state.uid != it->state.uid);
            CHECK(!x->base_valid || !x->base[k].is || x->base[k].state.uid != it->state.uid);
        }
    }
}

static void test_nonsense(void **state) {
    const char *only = getenv("MERGE_SEED");
    unsigned from = only ? (unsigned)atoi(only) : 1, to = only ? from : 5 * RUNS;

    for (seed = from; seed <= to; seed++) {
        static struct box a, b;
        struct merge_result *r;

        rng = seed * 104729u + 3;
        nonsense(&a);
        nonsense(&b);
        assert_symmetric(&a, &b);
        r = merge(&a, &b, true);
        assert_no_uid_twice(r);
        assert_uid_was_no_others(&a, r);
        assert_uid_was_no_others(&b, r);
        merge_result_free(r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_unread_histories),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
