/* A delivery to two mailboxes: one prepared content, and a copy of it that bears the same number
 * (Dovecot links the first one's file into the second one's mailbox). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "wire/check.h"
#include "mailbox_pair.h"

static const struct stage_prep nine = {77, 9};
static struct mailfs_id work;

static int setup(void **state) {
    mailbox_setup(state);
    work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    stores_checkpoint(&p);
    return 0;
}

static void add_copy(struct acts *a, const char *mbox, const struct mailfs_id *from) {
    act_add_link(&p.a, a, mbox, MFL__SUB__NEW, "9.M9.a", from, MFL__SUB__NEW, "9.M9.a");
    acts_prepared(a, nine.seq);
}

/* What a tells of the message, in that mailbox, and of its copy. */
static void deliver_to(const char *mbox, const struct mailfs_id *id, struct acts *message,
                       struct acts *copy) {
    char tmp[64], name[64];

    *message = *copy = (struct acts){.n = 0};
    snprintf(tmp, sizeof(tmp), "%s/tmp/9.tmp", mbox);
    snprintf(name, sizeof(name), "%s/new/9.M9.a", mbox);
    fs_write(&p.a, tmp, "nine\n");
    stores_prepare(&p.a, &p.b, mbox, "9.tmp", tmp, nine.seq);
    fs_rename(&p.a, tmp, name);
    act_add(&p.a, message, mbox, MFL__SUB__NEW, "9.M9.a", nine.seq);
    fs_link(&p.a, name, "u/.Work/new/9.M9.a");
    add_copy(copy, "u/.Work", id);
}

static void deliver(struct acts *message, struct acts *copy) {
    deliver_to("u", &inbox, message, copy);
}

static bool both_there(void) {
    return fs_there(&p.b, "u/new/9.M9.a") && fs_there(&p.b, "u/.Work/new/9.M9.a");
}

/* The message is not told, as its mailbox is frozen, say; its copy is, and all is on b's disk. */
static void copy_alone(void) {
    struct acts message, copy;

    deliver(&message, &copy);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &message, false), NULL);
    assert_false(stores_send(&p.a, &p.b, &work, &copy, false));
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.a"));
    assert_false(fs_there(&p.b, "u/new/9.M9.a"));
}

/* And a dies for good: b has promised the message as well. */
static void test_only_copy_told(void **state) {
    copy_alone();
    assert_true(stage_has_prep(p.b.st, &nine));
    assert_int_equal(stage_publish(p.b.st, &nine, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.a"));
    assert_null(p.b.st->items);
}

/* What a start finds that nobody has named. */
static size_t left(void) {
    struct stage_prep *preps;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &preps, &n), 0);
    free(preps);
    return n;
}

/* The same with b's syncd killed in between. */
static void test_only_copy_told_and_killed(void **state) {
    copy_alone();
    node_killed(&p.b);
    assert_int_equal(left(), 1);
    assert_int_equal(stage_publish(p.b.st, &nine, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

/* The message's own mailbox has not come yet. */
static void deliver_to_new(struct acts *copy) {
    struct acts message;
    struct mailfs_id id;

    fs_mkdir(&p.a, "u/.New");
    fs_mkdir(&p.a, "u/.New/new");
    fs_mkdir(&p.a, "u/.New/tmp");
    id = fs_id(&p.a, "u/.New");
    deliver_to("u/.New", &id, &message, copy);
    acts_free(&message);
}

/* b's syncd dies when it has linked the content for the copy, before its journal has that. */
static void pinned_in_new(void) {
    struct content_wants wants;
    struct acts copy;
    Mfp__Txn *txn;

    deliver_to_new(&copy);
    txn = node_collect(&p.a, &work, &copy, false);
    assert_non_null(txn);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    content_wants_free(&wants);
    mfp__txn__free_unpacked(txn, NULL);
}

static void test_copy_pinned_and_killed(void **state) {
    pinned_in_new();
    node_killed(&p.b);
    assert_int_equal(left(), 1);
}

/* Without the base no mailbox is known. */
static void test_copy_pinned_and_lost(void **state) {
    pinned_in_new();
    node_lost(&p.b);
    assert_int_equal(left(), 1);
}

static void test_copy_told_and_killed(void **state) {
    struct acts copy;

    deliver_to_new(&copy);
    assert_false(stores_send(&p.a, &p.b, &work, &copy, false));
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_killed(&p.b);
    assert_int_equal(left(), 1);
}

/* But then a name in a mailbox is taken for its own. */
static void test_message_told_and_lost(void **state) {
    struct acts message, copy;

    deliver(&message, &copy);
    assert_false(stores_send(&p.a, &p.b, &inbox, &message, false));
    assert_true(stage_has_prep(p.b.st, &nine));
    node_lost(&p.b);
    assert_int_equal(left(), 0);
    acts_free(&copy);
}

/* Nothing is left of it when both have come, in either order. */
static void come(bool copy_first) {
    struct acts message, copy;

    deliver(&message, &copy);
    if (copy_first)
        assert_false(stores_send(&p.a, &p.b, &work, &copy, false));
    assert_false(stores_send(&p.a, &p.b, &inbox, &message, false));
    if (!copy_first)
        assert_false(stores_send(&p.a, &p.b, &work, &copy, false));
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_true(both_there());
    assert_null(p.b.st->items);
    assert_int_equal(stage_publish(p.b.st, &nine, 1, NULL), 1);
}

static void test_message_and_copy(void **state) {
    struct stat message, copy;

    come(false);
    assert_int_equal(fstatat(p.b.st->root, "u/new/9.M9.a", &message, 0), 0);
    assert_int_equal(fstatat(p.b.st->root, "u/.Work/new/9.M9.a", &copy, 0), 0);
    assert_int_equal(message.st_ino, copy.st_ino);
}

static void test_copy_and_message(void **state) {
    come(true);
}

/* In b's journal, not applied yet. */
static uint64_t copy_received(struct acts *copy, Mfp__Txn **txn, Mfp__Txn **got) {
    *txn = node_collect(&p.a, &work, copy, false);
    assert_non_null(*txn);
    return node_receive(&p.a, &p.b, *txn, got);
}

/* The copy waits in the journal for somebody's L, when the message is there, and synced. */
static void test_copy_waits(void **state) {
    struct acts message, copy;
    struct apply_result res;
    Mfp__Txn *txn, *got;
    uint64_t id;

    deliver(&message, &copy);
    id = copy_received(&copy, &txn, &got);
    assert_false(stores_send(&p.a, &p.b, &inbox, &message, false));
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_false(stage_has_prep(p.b.st, &nine));
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), 0);
    assert_false(res.suspect);
    apply_result_free(&res);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_true(both_there());
    assert_null(p.b.st->items);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* It is not asked of a, which may go at any moment. */
static void test_copy_is_here(void **state) {
    struct acts message, copy;
    struct content_wants wants;
    Mfp__Txn *txn;

    deliver(&message, &copy);
    txn = node_collect(&p.a, &work, &copy, false);
    assert_non_null(txn);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, 0);
    content_wants_free(&wants);
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(&message);
}

/* As a former version left it: the stage has it under its number alone. used: up, by the message's
 * merge, before the copy is applied. */
static void copy_of_former(bool used) {
    struct acts message, copy;
    struct apply_result res;
    char key[STAGE_NAME_MAX], rel[STAGE_NAME_MAX + 32];
    Mfp__Txn *txn, *got;
    uint64_t id;

    deliver(&message, &copy);
    id = copy_received(&copy, &txn, &got);
    stage_fetch_name(&work, MFP__SUB__CUR, "9.M9.a", key);
    snprintf(rel, sizeof(rel), ".mailfs/stage/%s", key);
    fs_unlink(&p.b, rel);
    node_reopen(&p.b);
    if (used)
        assert_int_equal(stage_drop(p.b.st, &nine), 0);
    assert_int_equal(apply_txn(p.b.st, got, id, &(struct apply_how){.replay = true}, &res), 0);
    assert_false(res.suspect);
    apply_result_free(&res);
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.a"));
    assert_int_equal(stage_has_prep(p.b.st, &nine), !used);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    acts_free(&message);
}

static void test_copy_of_former(void **state) {
    copy_of_former(false);
}

static void test_copy_of_former_and_used(void **state) {
    copy_of_former(true);
}

/* How many of the contents the transaction uses up, on which both ends have to agree; all bear the
 * number. */
static void uses_up(const struct mailfs_id *dir, struct acts *a, size_t expected) {
    struct stage_prep *preps;
    struct invals iv = {0};
    size_t n, there = 0;
    Mfp__Txn *txn;

    assert_int_equal(collect_txn(p.a.st, dir, a->v, a->n, false, &txn, &preps, &n, &iv), 0);
    assert_non_null(txn);
    assert_int_equal(n, expected);
    for (size_t i = 0; i < txn->n_ops; i++) {
        assert_non_null(wire_prepared(txn->ops[i]));
        there += wire_used_up(txn->ops[i]) != NULL;
    }
    assert_int_equal(there, expected);
    free(preps);
    invals_free(&iv);
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(a);
}

static void test_used_up_once(void **state) {
    struct acts message, copy;

    deliver(&message, &copy);
    uses_up(&work, &copy, 0);
    uses_up(&inbox, &message, 1);
}

/* Moved out and in again before it was told: it is what was prepared all the same. */
static void test_back_before_told(void **state) {
    struct acts message, copy;

    deliver(&message, &copy);
    act_remove(&message, MFL__SUB__NEW, "9.M9.a");
    add_copy(&message, "u", &work);
    uses_up(&inbox, &message, 1);
    acts_free(&copy);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_only_copy_told),
        T(test_only_copy_told_and_killed),
        T(test_copy_pinned_and_killed),
        T(test_copy_pinned_and_lost),
        T(test_copy_told_and_killed),
        T(test_message_told_and_lost),
        T(test_message_and_copy),
        T(test_copy_and_message),
        T(test_copy_waits),
        T(test_copy_is_here),
        T(test_copy_of_former),
        T(test_copy_of_former_and_used),
        T(test_used_up_once),
        T(test_back_before_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
