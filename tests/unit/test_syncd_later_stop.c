/* What was fetched outlives an orderly stop of syncd (syncd/stage_later.c), and is dropped when
 * nobody wants it any more. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/content.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "io_fault.h"
#include "later_pair.h"

static unsigned lacking(const Mfp__Listing *theirs) {
    struct content_wants wants;
    unsigned n;

    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    n = (unsigned)wants.n;
    content_wants_free(&wants);
    return n;
}

/* The start, when the journal has been replayed. */
static void sweep(void) {
    struct stage_prep *preps;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &preps, &n), 0);
    free(preps);
}

/* The filling goes on from what has come; nobody keeps for ever what is not wanted any more. */
static void test_kept_over_a_stop(void **state) {
    Mfp__Listing *theirs;

    fill(3);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_killed(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 1);
    stage_drop_idle(p.b.st);
    assert_int_equal(lacking(theirs), 3);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* The link was cut before the merge: the merges of the next connection may want what has come. When
 * all is merged without it, it goes; not what is fetched since, as for a transaction. */
static void test_left_by_a_merge_broken_off(void **state) {
    Mfp__Listing *theirs;

    fill(3);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    fetch_some(2);
    stage_drop_idle(p.b.st);
    assert_int_equal(lacking(theirs), 1);
    stage_link_ended(p.b.st);
    assert_int_equal(lacking(theirs), 1);
    fetch_some(1);
    stage_drop_idle(p.b.st);
    assert_int_equal(lacking(theirs), 2);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* The same where it came when the next connection was there already. */
static void test_left_by_a_fetch_that_came_late(void **state) {
    fetch_some(2);
    stage_came_late(p.b.st, &inbox, MFP__SUB__CUR, "0.M1.a");
    stage_drop_idle(p.b.st);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
}

/* The machine was switched off after that, and on again; and once more, without an orderly stop in
 * between, or with one that came before anything was looked at. */
static void test_kept_over_a_reboot(void **state) {
    Mfp__Listing *theirs;

    fill(3);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 1);
    node_reopen(&p.b);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 3);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* The power is cut when the next life has begun: what that stages is not vouched for. */
static void test_vouched_for_once(void **state) {
    unsigned steps;

    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    fault_start(grave, FAULT_NONE, 0, 0);
    node_killed(&p.b);
    steps = fault_steps();
    fault_power_on();
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    assert_true(fs_there(&p.b, ".mailfs/stage/whole"));
    fault_start(grave, FAULT_CUT, steps, 0);
    node_killed(&p.b);
    assert_false(fault_happened());
    io_barrier("started");
    assert_true(fault_happened());
    fault_power_on();
    assert_false(fs_there(&p.b, ".mailfs/stage/whole"));
}

static void test_power_cut_at_a_stop(void **state) {
    unsigned at = 0, there;
    int r;

    do {
        fault_start(grave, FAULT_CUT, at++, -EIO);
        r = try_fetch_some(3);
        if (r == 0)
            r = stage_keep_fetched(p.b.st);
        io_barrier("stopped"); /* the power is cut here at the latest */
        fault_power_on();
        node_reopen(&p.b);
        sweep();
        there = whole(".mailfs/stage", "", false);
        assert_true(there <= 3 && (r != 0 || there == 3));
        mailbox_teardown(NULL);
        mailbox_setup_grave(NULL);
    } while (r != 0);
    assert_true(at > 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_kept_over_a_stop),
        T(test_left_by_a_merge_broken_off),
        T(test_left_by_a_fetch_that_came_late),
        T(test_kept_over_a_reboot),
        T(test_vouched_for_once),
        T(test_power_cut_at_a_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
