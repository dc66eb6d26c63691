/*
 * What is fetched is not durable until somebody counts on it (syncd/stage_later.c): the power is
 * cut at each step, and what has a name in a mailbox, or was acknowledged, is whole.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "io_fault.h"
#include "later_pair.h"

/* ---- a merge -------------------------------------------------------------------------- */

/* The digest that tells the peer that it is merged is not said before all of it is durable. */
static int merge_with_fault(unsigned n, enum fault_kind kind, unsigned at) {
    Mfp__Listing *mine, *theirs;
    int r;

    fill(n);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    fault_start(grave, kind, at, -EIO);
    r = fetch_and_merge(mine, theirs);
    io_barrier("said to be merged");
    fault_power_on();
    if (kind != FAULT_FAIL)
        node_reopen(&p.b);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
    return r;
}

static void merged_at_each_step(unsigned n, enum fault_kind kind) {
    unsigned at = 0, there;
    int r;

    do {
        r = merge_with_fault(n, kind, at++);
        there = whole("u/cur", "", true);
        assert_true(there <= n && (r != 0 || there == n));
        mailbox_teardown(NULL);
        mailbox_setup_grave(NULL);
    } while (r != 0);
    assert_true(at > n);
}

static void test_power_cut_in_a_merge(void **state) {
    merged_at_each_step(3, FAULT_CUT);
}

static void test_power_cut_in_a_merge_of_many(void **state) {
    merged_at_each_step(MANY, FAULT_CUT);
}

static void test_killed_in_a_merge(void **state) {
    merged_at_each_step(3, FAULT_KILL);
}

/* After an error the next attempt has all of it, and the stage is empty. */
static void test_failing_in_a_merge(void **state) {
    unsigned at = 0;
    int r;

    do {
        r = merge_with_fault(3, FAULT_FAIL, at++);
        if (r != 0)
            assert_int_equal(merge_with_fault(3, FAULT_NONE, 0), 0);
        assert_int_equal(whole("u/cur", "", true), 3);
        assert_int_equal(whole(".mailfs/stage", "", false), 0);
        mailbox_teardown(NULL);
        mailbox_setup_grave(NULL);
    } while (r != 0);
}

/* ---- a transaction -------------------------------------------------------------------- */

/* b has it in its journal, with the contents it asked for. */
static int receive(const Mfp__Txn *txn) {
    struct content_wants wants;
    struct journal_entry e = {.txn = txn};
    int r = content_missing(p.b.st, txn, &wants);

    if (r == 0)
        r = fetch_all(&wants);
    return r == 0 ? journal_append(p.b.st, &e, 1) : r;
}

static int receive_with_fault(unsigned n, enum fault_kind kind, unsigned at) {
    struct acts a = {.n = 0};
    char name[64];
    Mfp__Txn *txn;
    int r;

    fill(n);
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%u.M1.a:2,S", i);
        act_add(&p.a, &a, "u", MFL__SUB__CUR, name, 0);
    }
    txn = node_collect(&p.a, &inbox, &a, false);
    fault_start(grave, kind, at, -EIO);
    r = receive(txn);
    io_barrier("acknowledged");
    fault_power_on();
    node_reopen(&p.b);
    mfp__txn__free_unpacked(txn, NULL);
    return r;
}

static struct io_ops ops;

/* While one gets its name for the journal, another thread clears the other away. */
static int rename_and_clear(int fromdir, const char *from, int todir, const char *to,
                            unsigned flags) {
    struct state *st = p.b.st;

    io_ops_set(&io_ops_real);
    pthread_mutex_unlock(&st->mutex);
    stage_came_late(st, &inbox, MFP__SUB__CUR, "1.M1.a");
    stage_drop_idle(st);
    pthread_mutex_lock(&st->mutex);
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

/* What is not there any more is not acknowledged: it is fetched once more. */
static void test_cleared_away_meanwhile(void **state) {
    struct acts a = {.n = 0};
    struct journal_entry e = {0};
    Mfp__Txn *txn;

    fill(2);
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "0.M1.a:2,S", 0);
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "1.M1.a:2,S", 0);
    e.txn = txn = node_collect(&p.a, &inbox, &a, false);
    fetch_some(2);
    ops = io_ops_real;
    ops.rename = rename_and_clear;
    io_ops_set(&ops);
    assert_int_equal(journal_append(p.b.st, &e, 1), -ENODATA);
    assert_int_equal(journal_waiting(p.b.st), 0);
    assert_int_equal(receive(txn), 0);
    assert_int_equal(whole(".mailfs/stage", "f-", false), 2);
    mfp__txn__free_unpacked(txn, NULL);
}

/* A start finds them under the names by which the journal knows them. */
static void acknowledged_at_each_step(unsigned n) {
    unsigned at = 0;
    int r;

    do {
        r = receive_with_fault(n, FAULT_CUT, at++);
        if (r == 0)
            assert_int_equal(whole(".mailfs/stage", "f-", false), n);
        mailbox_teardown(NULL);
        mailbox_setup_grave(NULL);
    } while (r != 0);
    assert_true(at > n);
}

static void test_power_cut_before_an_acknowledgement(void **state) {
    acknowledged_at_each_step(2);
}

static void test_power_cut_before_one_of_many(void **state) {
    acknowledged_at_each_step(MANY);
}

/* The power is cut when it has the name by which an entry would find it, and is not synced. */
static void test_cut_short_under_its_name(void **state) {
    char key[STAGE_NAME_MAX], base[] = "0.M1.a", path[512];
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = base};
    struct content_wants wants;
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    fill(1);
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "0.M1.a:2,S", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    assert_int_equal(fetch(&w), 0);
    assert_int_equal(stage_settle(p.b.st, key), 0);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, 0);
    snprintf(path, sizeof(path), "%s/.mailfs/stage/%s", p.b.store, key);
    assert_int_equal(truncate(path, 3), 0);
    node_reopen(&p.b);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, 1);
    assert_int_equal(fetch_all(&wants), 0);
    assert_int_equal(append(txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    node_replay(&p.b);
    assert_int_equal(whole("u/cur", "", true), 1);
}

/* ---- and both ------------------------------------------------------------------------- */

/* What is staged anew under the same key replaces what was. */
static void test_staged_twice(void **state) {
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = (char[]){"1.M1.a"}};
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_fetch_name(&inbox, MFP__SUB__CUR, w.name, key);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fetch(&w), 0);
        assert_int_equal(whole(".mailfs/stage", "", false), 1);
    }
    assert_int_equal(stage_settle(p.b.st, key), 0);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    assert_string_equal(file, key);
    assert_int_equal(fetch(&w), 0);
    assert_int_equal(whole(".mailfs/stage", "f-", false), 1);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_power_cut_in_a_merge),
        T(test_power_cut_in_a_merge_of_many),
        T(test_killed_in_a_merge),
        T(test_failing_in_a_merge),
        T(test_power_cut_before_an_acknowledgement),
        T(test_cleared_away_meanwhile),
        T(test_power_cut_before_one_of_many),
        T(test_cut_short_under_its_name),
        T(test_staged_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
