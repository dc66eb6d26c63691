/* Which messages count as not being at the peer yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/merge_run.h"
#include "syncd/pending.h"
#include "syncd/scan.h"
#include "merge_pair.h"

static struct pending_totals totals(struct node *n) {
    struct pending_totals t;

    pending_totals(n->st, &t);
    return t;
}

/* A message that is new at a, and not sent. */
static Mfp__Txn *collected(void) {
    struct acts a = {.n = 0};

    common();
    fs_write(&p.a, "u/new/1.M1.a", "four");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    return node_collect(&p.a, &inbox, &a, false);
}

static void test_acknowledged(void **state) {
    Mfp__Txn *txn = collected();

    assert_int_equal(totals(&p.a).messages, 1);
    assert_int_equal(totals(&p.a).bytes, 4);
    assert_true(totals(&p.a).oldest_wall_ns > 0);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(totals(&p.a).messages, 0);
    assert_int_equal(totals(&p.a).oldest_wall_ns, 0);
    mfp__txn__free_unpacked(txn, NULL);
}

static void test_counted_at_a_start(void **state) {
    Mfp__Txn *txn = collected();

    assert_int_equal(base_acked(p.a.st, txn), 0);
    fs_write(&p.a, "u/new/2.M1.a", "five5");
    assert_int_equal(pending_rescan(p.a.st, &inbox), 0);
    assert_int_equal(totals(&p.a).messages, 1);
    assert_int_equal(totals(&p.a).bytes, 5);
    mfp__txn__free_unpacked(txn, NULL);
}

/* Another base name is another message: one is counted, by the name that is acknowledged. */
static void test_renamed(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    mfp__txn__free_unpacked(collected(), NULL);
    base_forget_sent(p.a.st);
    fs_rename(&p.a, "u/new/1.M1.a", "u/new/2.M1.a");
    act_move(&a, MFL__SUB__NEW, "1.M1.a", MFL__SUB__NEW, "2.M1.a");
    txn = node_collect(&p.a, &inbox, &a, false);
    assert_int_equal(totals(&p.a).messages, 1);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(totals(&p.a).messages, 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* Where a transaction was in the store in part when syncd was killed, the next one counts that, and
 * may apply it after it has. */
static void test_applied_after_the_count(void **state) {
    Mfp__Txn *txn = collected();

    fs_write(&p.b, "u/new/1.M1.a", "four");
    assert_int_equal(pending_rescan(p.b.st, &inbox), 0);
    assert_int_equal(totals(&p.b).messages, 1);
    assert_int_equal(base_apply_txn(p.b.st, BASE_AGREED, txn, NULL), 0);
    pending_merged(p.b.st);
    assert_int_equal(totals(&p.b).messages, 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* What went while nobody told of it. */
static void test_gone_untold(void **state) {
    mfp__txn__free_unpacked(collected(), NULL);
    base_forget_sent(p.a.st);
    fs_unlink(&p.a, "u/new/1.M1.a");
    contact();
    assert_int_equal(totals(&p.a).messages, 0);
}

/* What is on its way stays. */
static void test_on_its_way(void **state) {
    mfp__txn__free_unpacked(collected(), NULL);
    pending_merged(p.a.st);
    assert_int_equal(totals(&p.a).messages, 1);
}

struct listings {
    Mfp__Listing *a, *b, *to_a, *to_b;
};

static struct listings listed(void) {
    struct listings l;

    add_new(&p.a, "u", "5.M1.x", "five\n");
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &l.a), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &l.b), 0);
    l.to_b = listing_over_wire(l.a);
    l.to_a = listing_over_wire(l.b);
    stores_stage(&p.a, &p.b, l.to_b);
    return l;
}

static void listings_free(struct listings *l) {
    mfp__listing__free_unpacked(l->a, NULL);
    mfp__listing__free_unpacked(l->b, NULL);
    mfp__listing__free_unpacked(l->to_a, NULL);
    mfp__listing__free_unpacked(l->to_b, NULL);
}

/* A name takes no L: it may be in the listing, and told of only when the merge was carried out. If
 * the link breaks before that transaction is acknowledged, no later merge has it. */
static void test_told_after_the_merge(void **state) {
    struct acts a = {.n = 0};
    uint8_t d[STATE_DIGEST];
    struct listings l;

    l = listed();
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, l.a, l.to_a, d, NULL), 0);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, l.b, l.to_b, d, NULL), 0);
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "5.M1.x", 0);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    assert_int_equal(merge_mailbox_done(p.a.st, &inbox), 0);
    assert_int_equal(merge_mailbox_done(p.b.st, &inbox), 0);
    base_forget_sent(p.a.st); /* the connection broke */
    contact();
    assert_int_equal(totals(&p.a).messages, 0);
    listings_free(&l);
}

/* b cannot carry it out: it lacks what a has already taken for given. */
static void test_merge_in_vain(void **state) {
    uint8_t d[STATE_DIGEST];
    struct listings l = listed();

    assert_int_equal(pending_rescan(p.a.st, &inbox), 0);
    assert_int_equal(totals(&p.a).messages, 1);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, l.a, l.to_a, d, NULL), 0);
    assert_int_equal(totals(&p.a).messages, 0);
    merge_mailbox_forget(p.a.st, &inbox);
    assert_int_equal(totals(&p.a).messages, 1);
    listings_free(&l);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_acknowledged),
        T(test_counted_at_a_start),
        T(test_renamed),
        T(test_applied_after_the_count),
        T(test_gone_untold),
        T(test_on_its_way),
        T(test_told_after_the_merge),
        T(test_merge_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
