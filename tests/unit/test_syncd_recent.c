/* What outlives syncd, and what does not: syncd/recent.c. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/life.h"
#include "replica/base_age.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/recent.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "io_fault.h"
#include "recent_pair.h"

/* Removed here after it was applied, before syncd died or after: it does not come back. */
static void test_removed_here(void **state) {
    NEEDS_LIFE(state);
    deliver("1.M1.a");
    deliver("2.M1.a");
    fs_unlink(&both.b, "u/new/1.M1.a");
    killed_and_the_same(&both.b);
    assert_int_equal(both.b.start.journal, 0);
    fs_unlink(&both.b, "u/new/2.M1.a");
    node_replay(&both.b);
    assert_false(fs_there(&both.b, "u/new/1.M1.a"));
    assert_false(fs_there(&both.b, "u/new/2.M1.a"));
    killed_and_the_same(&both.a); /* and the base of who sent it is what was acknowledged */
}

/* Not applied yet: it is, at the start. What is in the journal anew is not taken for applied. */
static void test_not_applied(void **state) {
    struct acts a = {.n = 0};
    uint64_t first, second;
    Mfp__Txn *txn, *got;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    killed_and_the_same(&both.b);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    deliver("2.M1.a"); /* noted as applied in the file that the checkpoint began */
    fs_write(&both.a, "u/new/3.M1.a", "three\n");
    act_add(&both.a, &a, "u", MFL__SUB__NEW, "3.M1.a", 0);
    txn = node_collect(&both.a, &mailbox, &a, false);
    first = node_receive(&both.a, &both.b, txn, &got);
    mfp__txn__free_unpacked(got, NULL);
    node_killed(&both.b);
    assert_int_equal(both.b.start.journal, 1);
    second = node_receive(&both.a, &both.b, txn, &got);
    assert_true(second > first);
    node_replay(&both.b);
    assert_true(fs_there(&both.b, "u/new/3.M1.a"));
    assert_int_equal(journal_waiting(both.b.st), 0);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* A write cut short: the transaction is not there, those before it are. */
static void test_cut_short(void **state) {
    uint8_t one[STATE_DIGEST], now[STATE_DIGEST];
    char path[256];
    struct stat sb;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    digest_of(&both.b, one);
    deliver("2.M1.a");
    recent_path(&both.b, both.b.st->generation, path);
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(truncate(path, sb.st_size - 1), 0);
    node_killed(&both.b);
    assert_int_equal(both.b.start.journal, 1);
    digest_of(&both.b, now);
    assert_memory_equal(one, now, STATE_DIGEST);
    node_replay(&both.b);
    killed_and_the_same(&both.b); /* what comes after it can be read */
    assert_int_equal(both.b.start.journal, 0);
}

/* Of another boot, or before the file system was mounted anew: not believed. */
static void test_another_life(void **state) {
    NEEDS_LIFE(state);
    deliver("1.M1.a");
    fs_unlink(&both.b, "u/new/1.M1.a");
    another_life(&both.b);
    assert_int_equal(both.b.start.journal, 1);
    assert_false(both.b.st->recent.whole);
    node_replay(&both.b);
    assert_true(fs_there(&both.b, "u/new/1.M1.a")); /* it may have been lost: applied again */
}

static bool listed_as_put_back(void) {
    Mfp__Listing *l;
    bool is;

    assert_int_equal(scan_mailbox(both.b.st, &mailbox, true, &l), 0);
    assert_int_equal(l->n_msgs, 1);
    is = l->msgs[0]->put_back;
    mfp__listing__free_unpacked(l, NULL);
    return is;
}

/* After a power cut the journal puts a message back that had been removed here: that is said of it,
 * until one comes anew under its name. */
static void test_put_back(void **state) {
    struct acts a = {.n = 0};
    uint64_t gen;

    deliver("1.M1.a");
    assert_int_equal(state_mark_gen(both.b.st, &gen), 0);
    assert_int_equal(state_mark(both.b.st, &mailbox, gen), 0);
    fs_unlink(&both.b, "u/new/1.M1.a");
    act_remove(&a, MFL__SUB__NEW, "1.M1.a");
    mfp__txn__free_unpacked(node_collect(&both.b, &mailbox, &a, false), NULL);
    acts_free(&a);
    node_reopen(&both.b);
    node_replay(&both.b);
    assert_true(fs_there(&both.b, "u/new/1.M1.a"));
    fs_rename(&both.b, "u/new/1.M1.a", "u/cur/1.M1.a:2,");
    assert_true(listed_as_put_back());
    act_add(&both.b, &a, "u", MFL__SUB__CUR, "1.M1.a:2,", 0);
    mfp__txn__free_unpacked(node_collect(&both.b, &mailbox, &a, false), NULL);
    acts_free(&a);
    assert_false(listed_as_put_back());
    node_reopen(&both.b);
    node_replay(&both.b); /* it is there */
    assert_false(listed_as_put_back());
}

/* Killed between the beginning of a checkpoint and its commit: there are two files. */
static void test_within_a_checkpoint(void **state) {
    struct io_ops ops = io_ops_real;
    char path[256];

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    ops.syncfs = no_sync;
    io_ops_set(&ops);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), -EIO);
    io_ops_set(&io_ops_real);
    recent_path(&both.b, both.b.st->generation + 1, path);
    assert_int_equal(access(path, F_OK), 0);
    killed_and_the_same(&both.b);
    assert_int_equal(both.b.start.journal, 0);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    killed_and_the_same(&both.b);
    recent_path(&both.b, both.b.st->generation - 1, path);
    assert_int_equal(access(path, F_OK), -1);
}

static ssize_t die_at_write(int fd, const void *buf, size_t n) {
    kill(getpid(), SIGKILL);
    return -EIO;
}

/* Killed when the file of the next generation is made and has nothing in it yet. */
static void test_as_a_checkpoint_begins(void **state) {
    struct io_ops ops = io_ops_real;
    int status;
    pid_t pid;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    ops.write = die_at_write;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        io_ops_set(&ops);
        state_checkpoint(both.b.st, 0, NULL, 0);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
    assert_int_equal(both.b.start.journal, 0);
}

/* ---- what belongs together ------------------------------------------------------------- */

static atomic_bool frozen_one;

static int stop_after_freeze(int fd) {
    atomic_store(&frozen_one, true);
    return io_ops_real.syncfs(fd);
}

static void *puts_messages(void *arg) {
    struct base_msg msg = {.sub = MFP__SUB__NEW};
    char name[32];
    unsigned i;

    for (i = 0; !atomic_load(&frozen_one); i++) {
        snprintf(name, sizeof(name), "%u.M1.a", i % 100);
        msg.uid = i;
        if (base_msg_put(both.b.st, BASE_AGREED, &mailbox, name, &msg) != 0)
            return &both;
    }
    return NULL;
}

static void remove_all(void) {
    static const struct base_msg none;
    char name[32];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "%u.M1.a", i);
        assert_int_equal(base_msg_put(both.b.st, BASE_AGREED, &mailbox, name, &none), 0);
    }
}

/* A message goes to the disk with what it adds to the digest: nobody counts that anew, and two
 * mailboxes that are alike would differ for ever. */
static void test_sum_with_its_record(void **state) {
    struct io_ops ops = io_ops_real;
    uint8_t empty[STATE_DIGEST], now[STATE_DIGEST];
    pthread_t thread;
    void *failed;

    NEEDS_LIFE(state);
    assert_int_equal(base_sum_get(both.b.st, BASE_AGREED, &mailbox, empty), 0);
    ops.syncfs = stop_after_freeze;
    for (int i = 0; i < 100; i++) {
        atomic_store(&frozen_one, false);
        io_ops_set(&ops);
        assert_int_equal(pthread_create(&thread, NULL, puts_messages, NULL), 0);
        usleep(200);
        assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        io_ops_set(&io_ops_real);
        another_life(&both.b);
        remove_all();
        assert_int_equal(base_sum_get(both.b.st, BASE_AGREED, &mailbox, now), 0);
        assert_memory_equal(now, empty, STATE_DIGEST);
    }
}

static bool lacks(struct node *n) {
    uint64_t v = 0;

    assert_int_equal(base_version_list(n->st, BASE_OF_MAILBOX, &mailbox, &v), 0);
    return v & BASE_AGE_LACKS;
}

/* A base that may lack something says so after a kill as well, until it has been merged; one that
 * syncd was killed over lacks nothing. */
static void test_lacking(void **state) {
    uint64_t gen;

    NEEDS_LIFE(state);
    assert_int_equal(state_mark_gen(both.b.st, &gen), 0);
    assert_int_equal(state_mark(both.b.st, &mailbox, gen), 0);
    node_killed(&both.b);
    assert_false(lacks(&both.b));
    node_reopen(&both.b);
    node_replay(&both.b);
    assert_true(lacks(&both.b));
    node_killed(&both.b);
    assert_true(lacks(&both.b));
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    node_killed(&both.b);
    assert_true(lacks(&both.b));
    assert_int_equal(base_lacking_merged(both.b.st, &mailbox), 0);
    assert_false(lacks(&both.b));
    node_killed(&both.b);
    assert_false(lacks(&both.b));
}

static bool lost_uids(struct node *n) {
    Mfp__Listing *l;
    bool cut;

    assert_int_equal(scan_mailbox(n->st, &mailbox, true, &l), 0);
    cut = l->cut;
    mfp__listing__free_unpacked(l, NULL);
    return cut;
}

/* A start after a power cut in which syncd was killed, before it had noted anything and later: the
 * next one is one after a power cut still, but what the journal has brought is known. */
static void test_killed_in_a_start(void **state) {
    uint64_t gen;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    assert_int_equal(state_mark_gen(both.b.st, &gen), 0);
    another_life(&both.b);
    /* what the first one was killed over */
    assert_int_equal(state_mark(both.b.st, &mailbox, gen), 0);
    node_killed(&both.b);
    assert_false(both.b.st->recent.whole);
    assert_true(lacks(&both.b));
    assert_true(lost_uids(&both.b));
    assert_int_equal(both.b.start.journal, 1);
    node_replay(&both.b);
    killed_and_the_same(&both.b);
    assert_int_equal(both.b.start.journal, 0);
    assert_true(both.b.st->recent.whole);
    assert_true(lacks(&both.b));
}

/* b's next start is killed at this step, and there is another one. False: it was through before. */
static bool killed_in_start(unsigned at) {
    struct state_config conf = {
        .store = both.b.store, .dir = both.b.state, .node = "b", .peer = "a"};

    fault_start(both.b.root, FAULT_KILL, at, 0);
    if (state_open(&conf, &both.b.st, &both.b.start) == 0)
        state_close(both.b.st);
    both.b.st = NULL;
    fault_power_on();
    node_killed(&both.b);
    return fault_happened();
}

/* Whatever that one was killed at. */
static void test_killed_anywhere_in_a_start(void **state) {
    unsigned at = 0;
    uint64_t gen;
    bool more;

    NEEDS_LIFE(state);
    do {
        assert_int_equal(state_mark_gen(both.b.st, &gen), 0);
        assert_int_equal(state_mark(both.b.st, &mailbox, gen), 0);
        recent_forget(both.b.st);
        state_close(both.b.st);
        more = killed_in_start(at++);
        assert_false(both.b.st->recent.whole);
        assert_true(lacks(&both.b) && lost_uids(&both.b));
        recent_teardown(state);
        recent_setup(state);
    } while (more);
    assert_true(at > 5);
}

/* The store is another one, or of another time, and the start that finds that is killed: that this
 * node has met others is known all the same, and that its base was lost. */
static void test_killed_when_lost(void **state) {
    unsigned at = 0;
    bool more;

    NEEDS_LIFE(state);
    do {
        state_close(both.b.st);
        fs_write(&both.b, ".mailfs/id", "00112233445566778899aabbccddeeff");
        more = killed_in_start(at++);
        assert_true(both.b.start.met);
        assert_false(both.b.start.had_contact);
        assert_true(both.b.st->lost);
        recent_teardown(state);
        recent_setup(state);
    } while (more);
    assert_true(at > 5);
}

static void send_in(const struct mailfs_id *dir, struct acts *a) {
    assert_false(stores_send(&both.a, &both.b, dir, a, false));
}

/*
 * A delivery that was prepared, moved out and in again: what b linked into the stage for that has
 * the name under which the journal's first entry finds its content after a start. The prepared one
 * is used up all the same, and not published.
 */
static void test_out_and_in(void **state) {
    struct mailfs_id work = stores_mailbox(&both.a, &both.b, "u", ".Work");
    struct acts a = {.n = 0};
    struct stage_prep *left;
    size_t n;

    NEEDS_LIFE(state);
    fs_write(&both.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&both.a, &both.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    fs_rename(&both.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&both.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    send_in(&mailbox, &a);
    fs_link(&both.a, "u/new/9.M9.a", "u/.Work/cur/9.M9.a:2,");
    act_add_link(&both.a, &a, "u/.Work", MFL__SUB__CUR, "9.M9.a:2,", &mailbox, MFL__SUB__NEW,
                 "9.M9.a");
    send_in(&work, &a);
    fs_unlink(&both.a, "u/new/9.M9.a");
    act_remove(&a, MFL__SUB__NEW, "9.M9.a");
    send_in(&mailbox, &a);
    fs_link(&both.a, "u/.Work/cur/9.M9.a:2,", "u/cur/9.M9.a:2,");
    act_add_link(&both.a, &a, "u", MFL__SUB__CUR, "9.M9.a:2,", &work, MFL__SUB__CUR, "9.M9.a:2,");
    send_in(&mailbox, &a);
    node_killed(&both.b);
    assert_int_equal(stage_leftovers(both.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_out_and_in, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_removed_here, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_not_applied, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_cut_short, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_another_life, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_within_a_checkpoint, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_as_a_checkpoint_begins, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_put_back, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_sum_with_its_record, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_lacking, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_killed_in_a_start, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_killed_anywhere_in_a_start, recent_setup,
                                        recent_teardown),
        cmocka_unit_test_setup_teardown(test_killed_when_lost, recent_setup, recent_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
