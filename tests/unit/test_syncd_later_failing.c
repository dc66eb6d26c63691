/* A sync of what is staged fails: what it was about is not counted on, and comes again. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/content.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "later_pair.h"

/* The first one does, and no other hears of it: that is what the kernel does. */
static int failures;

static int failing_fsync(int fd) {
    return failures-- > 0 ? -EIO : io_ops_real.fsync(fd);
}

static int failing_syncfs(int fd) {
    return failures-- > 0 ? -EIO : io_ops_real.syncfs(fd);
}

static void fail_once(void) {
    static struct io_ops failing;

    failing = io_ops_real;
    failing.fsync = failing_fsync;
    failing.syncfs = failing_syncfs;
    failures = 1;
    io_ops_set(&failing);
}

/* The first that was prepared, by an entry of the journal. */
static bool is_counted(void) {
    char key[STAGE_NAME_MAX];
    struct stage_item *it;
    bool is;

    stage_prep_key(77, 1, key);
    state_lock(p.b.st);
    it = stage_find(p.b.st, key);
    is = it && it->refs > 0;
    state_unlock(p.b.st);
    return is;
}

static void nothing_is_left(void) {
    struct stage_prep *left;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
}

/* What was prepared is not acknowledged by a second attempt, but comes again; and is used up. */
static void failing_before_an_acknowledgement(unsigned n) {
    struct content_wants wants;
    Mfp__Txn *txn;

    prepare(&inbox, n);
    txn = name_prepared(n);
    fail_once();
    assert_int_equal(append(txn), -EIO);
    assert_int_equal(append(txn), -ENODATA);
    assert_false(content_at_hand(p.b.st, txn));
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, n);
    assert_int_equal(fetch_all(&wants), 0);
    assert_int_equal(append(txn), 0);
    io_ops_set(&io_ops_real);
    mfp__txn__free_unpacked(txn, NULL);
    assert_true(is_counted()); /* or it were published later on */
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_int_equal(whole("u/new", "", true), n);
    nothing_is_left();
}

static void test_failing_before_an_acknowledgement(void **state) {
    failing_before_an_acknowledgement(2);
}

static void test_failing_before_one_of_many(void **state) {
    failing_before_an_acknowledgement(MANY);
}

/* It comes again as it came first: that is as good. */
static void test_failing_and_prepared_again(void **state) {
    Mfp__Txn *txn;

    prepare(&inbox, 1);
    txn = name_prepared(1);
    fail_once();
    assert_int_equal(append(txn), -EIO);
    prepare(&inbox, 1);
    assert_true(content_at_hand(p.b.st, txn));
    assert_int_equal(append(txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* fetched: one more message was, so that it is the sync of that that fails. */
static void failing_in_a_merge_of_prepared(bool fetched) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *mine, *theirs;
    struct content_wants wants;

    prepare(&inbox, 3);
    name_prepared_untold(3);
    if (fetched)
        fs_write(&p.a, "u/cur/9.M1.a:2,S", "message 9.M1.a\n");
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    fail_once();
    assert_int_equal(fetch_and_merge(mine, theirs), -EIO);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, mine, theirs, digest, NULL), -ENODATA);
    assert_int_equal(whole("u/new", "", true), 0);
    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    assert_int_equal(wants.n, 3 + fetched);
    content_wants_free(&wants);
    assert_int_equal(fetch_and_merge(mine, theirs), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole("u/new", "", true), 3);
    assert_int_equal(whole("u/cur", "", true), fetched);
    assert_int_equal(whole(".mailfs/stage", "", false), 0);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
}

static void test_failing_in_a_merge_of_prepared(void **state) {
    failing_in_a_merge_of_prepared(false);
}

static void test_failing_in_a_merge_of_both(void **state) {
    failing_in_a_merge_of_prepared(true);
}

/* Its origin is gone, so it is the only copy. */
static void test_failing_and_published(void **state) {
    const struct stage_prep prep = {77, 1};

    prepare(&inbox, 1);
    fail_once();
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -EIO);
    assert_int_equal(whole("u/new", "", false), 0);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole("u/new", "0.tmp", false), 1);
}

static void test_failing_and_kept(void **state) {
    struct mailfs_id nowhere;

    assert_int_equal(mailfs_id_new(&nowhere), 0);
    prepare(&nowhere, 1);
    assert_int_equal(stage_publish(p.b.st, &(struct stage_prep){77, 1}, 1, NULL), -ENOENT);
    fail_once();
    stage_keep_homeless(p.b.st);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 0);
    stage_keep_homeless(p.b.st);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 1);
}

/* Another thread's sync hears of the error, and the one that begins after it does not. */
static sem_t at_it;
static _Atomic bool doubted;

static int others_fsync(int fd) {
    if (failures-- > 0) {
        sem_post(&at_it);
        while (!is_counted())
            sched_yield();
        return -EIO;
    }
    doubted = p.b.st->stage_doubts > 0;
    return io_ops_real.fsync(fd);
}

static int others_syncfs(int fd) {
    doubted = p.b.st->stage_doubts > 0;
    return io_ops_real.syncfs(fd);
}

static void *other_thread(void *arg) {
    *(int *)arg = stage_sync(p.b.st);
    return NULL;
}

static void test_failing_on_another_thread(void **state) {
    struct io_ops failing = io_ops_real;
    pthread_t other;
    Mfp__Txn *txn;
    int r = 0;

    prepare(&inbox, 1);
    txn = name_prepared(1);
    failing.fsync = others_fsync;
    failing.syncfs = others_syncfs;
    failures = 1;
    doubted = false;
    assert_int_equal(sem_init(&at_it, 0, 0), 0);
    io_ops_set(&failing);
    assert_int_equal(pthread_create(&other, NULL, other_thread, &r), 0);
    assert_int_equal(sem_wait(&at_it), 0);
    assert_int_equal(append(txn), -EIO);
    assert_int_equal(pthread_join(other, NULL), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, -EIO);
    assert_true(doubted);
    assert_int_equal(append(txn), -ENODATA);
    assert_int_equal(sem_destroy(&at_it), 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* What is dropped is unlinked while others use the state; and one that is staged meanwhile, under
 * the name that one of them had, is not taken for it. */
static unsigned unlinked;
static bool locked, staged_again;

static int watched_unlink(int dirfd, const char *name, int flags) {
    char base[] = "0.M1.a", key[STAGE_NAME_MAX];
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = base};

    unlinked++;
    if (pthread_mutex_trylock(&p.b.st->mutex) != 0) {
        locked = true;
        return io_ops_real.unlink(dirfd, name, flags);
    }
    state_unlock(p.b.st);
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    if (!staged_again) {
        staged_again = true;
        assert_int_equal(fetch(&w), 0);
        assert_int_equal(stage_settle(p.b.st, key), 0);
    }
    return io_ops_real.unlink(dirfd, name, flags);
}

static void test_dropped_beside_others(void **state) {
    struct io_ops watched = io_ops_real;
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_fetch_name(&inbox, MFP__SUB__CUR, "0.M1.a", key);
    fetch_some(3);
    assert_int_equal(stage_settle(p.b.st, key), 0);
    watched.unlink = watched_unlink;
    watched.fsync = failing_fsync;
    failures = 1;
    unlinked = 0;
    locked = staged_again = false;
    io_ops_set(&watched);
    assert_int_equal(stage_settle_all(p.b.st), -EIO);
    io_ops_set(&io_ops_real);
    assert_false(locked);
    assert_int_equal(unlinked, 3);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    assert_string_equal(file, key);
    assert_int_equal(whole(".mailfs/stage", key, false), 1);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
}

/* It is told to whoever links the content into the stage once more, for a copy of the message: no
 * sync on the message's own way into the journal hears of it. */
static void test_failing_for_a_copy(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    struct content_wants wants;
    struct acts copy = {.n = 0};
    char file[STAGE_NAME_MAX];
    Mfp__Txn *txn, *of_copy;

    prepare(&inbox, 1);
    txn = name_prepared(1);
    fs_link(&p.a, "u/new/0.M1.a", "u/.Work/new/0.M1.a");
    act_add_link(&p.a, &copy, "u/.Work", MFL__SUB__NEW, "0.M1.a", &inbox, MFL__SUB__NEW, "0.M1.a");
    acts_prepared(&copy, 1);
    of_copy = node_collect(&p.a, &work, &copy, false);
    assert_non_null(of_copy);
    fail_once();
    assert_int_equal(content_missing(p.b.st, of_copy, &wants), -EIO);
    io_ops_set(&io_ops_real);
    assert_int_equal(append(txn), -ENODATA);
    assert_int_equal(content_item(p.b.st, &inbox, txn->ops[0]->msg, file), -ENOENT);
    assert_int_equal(content_missing(p.b.st, of_copy, &wants), 0);
    assert_int_equal(wants.n, 1);
    content_wants_free(&wants);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(of_copy, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_failing_before_an_acknowledgement),
        T(test_failing_before_one_of_many),
        T(test_failing_and_prepared_again),
        T(test_failing_in_a_merge_of_prepared),
        T(test_failing_in_a_merge_of_both),
        T(test_failing_and_published),
        T(test_failing_and_kept),
        T(test_failing_on_another_thread),
        T(test_dropped_beside_others),
        T(test_failing_for_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
