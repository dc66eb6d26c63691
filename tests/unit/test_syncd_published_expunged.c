/* A message that b published, and that was expunged there, is named by its origin in a transaction
 * that cannot be applied at once: it does not come back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "publish_pair.h"
#include "syncd/base.h"
#include "syncd/state_int.h"

static void published_and_expunged(void) {
    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(publish_again(), 0);
    stores_checkpoint(&p);
    fs_unlink(&p.b, "u/new/9.tmp");
}

enum heard { NO, YES, NOT_YET };

/* a names it, beside another message, in what b receives; it hears that it has, or does not. */
static Mfp__Txn *name_to(uint64_t *id, enum heard heard) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;

    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    fs_write(&p.a, "u/new/8.M8.a", "eight\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "8.M8.a", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    *id = node_receive(&p.a, &p.b, txn, &got);
    if (heard == YES)
        assert_int_equal(base_acked(p.a.st, txn), 0);
    else if (heard == NO)
        base_forget_sent(p.a.st);
    mfp__txn__free_unpacked(txn, NULL);
    return got;
}

static Mfp__Txn *name_beside(uint64_t *id) {
    return name_to(id, YES);
}

static int no_room_beside(int fd, const char *name, int to, const char *as, int flags) {
    return strcmp(as, "8.M8.a") == 0 ? -ENOSPC : linkat(fd, name, to, as, flags) < 0 ? -errno : 0;
}

static int apply_it(const Mfp__Txn *txn, uint64_t id) {
    struct apply_result res;
    int r = apply_txn(p.b.st, txn, id, NULL, &res);

    assert_true(res.suspect);
    apply_result_free(&res);
    return r;
}

static void apply_without_room(const Mfp__Txn *txn, uint64_t id) {
    struct io_ops ops = io_ops_real;

    ops.link = no_room_beside;
    io_ops_set(&ops);
    assert_int_equal(apply_it(txn, id), -ENOSPC);
    io_ops_set(&io_ops_real);
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
}

/* There is no room for the other one. */
static void no_room_yet(void) {
    uint64_t id;
    Mfp__Txn *txn;

    published_and_expunged();
    txn = name_beside(&id);
    apply_without_room(txn, id);
    mfp__txn__free_unpacked(txn, NULL);
}

static void applied(enum heard heard) {
    uint64_t id;
    Mfp__Txn *txn;

    published_and_expunged();
    txn = name_to(&id, heard);
    assert_int_equal(apply_it(txn, id), 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* It is nowhere, the other one on both, and nothing is noted of it any more. */
static void assert_expunged_everywhere(void) {
    struct stage_pub pub;

    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.a, "u/new/9.M9.a"));
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_true(fs_there(&p.a, "u/new/8.M8.a"));
    assert_true(fs_there(&p.b, "u/new/8.M8.a"));
    stores_checkpoint(&p);
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
}

/* The disk has no room for the other one: the transaction is tried again. */
static void try_again(void) {
    uint64_t id;
    Mfp__Txn *txn = name_beside(&id);

    apply_without_room(txn, id);
    stores_checkpoint(&p);
    assert_int_equal(apply_it(txn, id), 0);
    mfp__txn__free_unpacked(txn, NULL);
    assert_expunged_everywhere();
}

static void test_again(void **state) {
    published_and_expunged();
    try_again();
}

/* It was expunged before it was noted as published. */
static void test_half_published_and_again(void **state) {
    publish_half_undone();
    try_again();
}

/* By the next syncd. */
static void test_killed(void **state) {
    no_room_yet();
    node_killed(&p.b);
    node_replay(&p.b);
    assert_expunged_everywhere();
}

/* There was room, and then the power went, and with it what the base had got. */
static void test_cut(void **state) {
    applied(YES);
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_expunged_everywhere();
}

/* The connection broke on the way back. */
static void test_unheard(void **state) {
    applied(NO);
    assert_expunged_everywhere();
}

/* a's client has moved it to another mailbox, which b has got, and b's moves it in again: that is
 * not the one that had been expunged, though it came by the same number. */
static void assert_comes_in_again(void) {
    struct acts b = {.n = 0};

    fs_write(&p.b, "u/new/9.M9.a", "nine\n");
    act_add(&p.b, &b, "u", MFL__SUB__NEW, "9.M9.a", 0);
    mfp__txn__free_unpacked(node_collect(&p.b, &inbox, &b, false), NULL);
    base_forget_sent(p.b.st);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/9.M9.a"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

static void test_in_again(void **state) {
    applied(NO);
    fs_unlink(&p.a, "u/new/9.M9.a");
    assert_comes_in_again();
}

/* b was told that it had been moved away; a did not hear that this had arrived. */
static void test_in_again_told(void **state) {
    struct acts a = {.n = 0};
    struct apply_result res;
    uint64_t id;
    Mfp__Txn *txn, *got;

    applied(NOT_YET);
    fs_unlink(&p.a, "u/new/9.M9.a");
    act_remove(&a, MFL__SUB__NEW, "9.M9.a");
    txn = node_collect(&p.a, &inbox, &a, false);
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    base_forget_sent(p.a.st);
    assert_comes_in_again();
}

/* There was none for as long as that is tried: the mailbox is merged instead. */
static void test_given_up(void **state) {
    no_room_yet();
    assert_expunged_everywhere();
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_again),         T(test_half_published_and_again),
        T(test_killed),        T(test_cut),
        T(test_unheard),       T(test_in_again),
        T(test_in_again_told), T(test_given_up),
    };
    return cmocka_run_group_tests_name("syncd_published_expunged", tests, NULL, NULL);
}
