/*
 * test_syncd_asks - a job that is at work when mailfs gives syncd up writes no list of UIDs over
 * that of whoever has got L from mailfs meanwhile
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/asks.h"
#include "syncd/base.h"
#include "syncd/jobs.h"
#include "syncd/promote.h"
#include "merge_pair.h"

#define LIST "u/dovecot-uidlist"

/* What it gives is above a gap, and whoever has L appends to the list: mailfs/raise.c. */
#define GIVEN "3 V1700000000 N65536 G0123456789abcdef0123456789abcdef\n65536 :9.M1.z\n"

/* The same as it is with the rule that both raise by. */
#define RAISED "3 V1700000000 N327681 G0123456789abcdef0123456789abcdef\n327680 :9.M1.z\n"

static struct asks *asks;
static int ends[2];       /* of syncd, of mailfs */
static bool runs;         /* one that has not come */
static const char *given; /* the list that one puts there which gives L by itself */

static bool mailfs_runs(const void *arg) {
    return runs;
}

static void mailfs_comes(void) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    asks_begin(asks, ends[0]);
}

static void mailfs_goes(void) {
    close(ends[0]);
    close(ends[1]);
}

static int setup(void **state) {
    runs = false;
    given = GIVEN;
    asks = asks_new(mailfs_runs, NULL);
    mailfs_comes();
    return merge_setup(state);
}

static int teardown(void **state) {
    io_ops_set(&io_ops_real);
    asks_enter(NULL, (struct asks_at){0});
    mailfs_goes();
    asks_free(asks);
    return mailbox_teardown(state);
}

/* ---- the look ---------------------------------------------------------------------- */

static void test_look(void **state) {
    struct asks_at first = asks_now(asks);

    assert_int_equal(asks_still(), 0); /* of no job */
    asks_enter(asks, first);
    assert_int_equal(asks_still(), 0);
    assert_int_equal(shutdown(ends[1], SHUT_RDWR), 0); /* the loop thread has not seen it */
    assert_int_equal(asks_still(), -EOWNERDEAD);
    asks_end(asks);
    assert_int_equal(asks_still(), -EOWNERDEAD);
    mailfs_goes();
    mailfs_comes();
    assert_int_equal(asks_still(), -EOWNERDEAD); /* it may have given L before it came */
    asks_enter(asks, asks_now(asks));
    assert_int_equal(asks_still(), 0);
    asks_end(asks);
    asks_enter(asks, asks_now(asks)); /* begun with nobody there */
    assert_int_equal(asks_still(), 0);
}

/* Begun when none was there. One is started, gets no answer, and gives L by itself; or it comes,
 * and goes, which the loop thread has heard before the job is done. */
static void test_none(void **state) {
    asks_end(asks);
    asks_enter(asks, asks_now(asks));
    asks_end(asks); /* as for one that has not said Hello */
    assert_int_equal(asks_still(), 0);
    runs = true;
    assert_int_equal(asks_still(), -EOWNERDEAD);
    runs = false;
    assert_int_equal(asks_still(), 0);
    mailfs_goes();
    mailfs_comes();
    assert_int_equal(asks_still(), -EOWNERDEAD);
    asks_end(asks);
    assert_int_equal(asks_still(), -EOWNERDEAD);
}

/* Begun beside one that serves by itself, as it has to be at some time: until that one comes. */
static void test_beside(void **state) {
    asks_end(asks);
    runs = true;
    asks_enter(asks, asks_now(asks));
    assert_int_equal(asks_still(), 0);
    mailfs_goes();
    mailfs_comes();
    assert_int_equal(asks_still(), -EOWNERDEAD);
}

/* Or started between the look of who began it and the beginning. */
static void test_saw(void **state) {
    asks_end(asks);
    runs = true;
    asks_enter(asks, asks_now(asks));
    asks_saw(false);
    assert_int_equal(asks_still(), -EOWNERDEAD);
    runs = false;
    asks_enter(asks, asks_now(asks));
    asks_saw(true); /* it has ended since: another may come */
    runs = true;
    assert_int_equal(asks_still(), 0);
}

static void job_run(void *arg) {
    *(int *)arg = asks_still();
}

/* Of the term in which it was added, however late it runs; and the thread is free again. */
static void test_job(void **state) {
    struct workq *wq;
    struct jobs *jobs;
    int late = 1, next = 1;

    assert_int_equal(workq_new(1, 10, &wq), 0);
    jobs = jobs_new(wq, 1);
    jobs_ask(jobs, asks);
    jobs_barrier(jobs, NULL, NULL, NULL); /* what comes behind it starts when it is delivered */
    jobs_run(jobs, &inbox, job_run, NULL, &late);
    asks_end(asks);
    jobs_run(jobs, &inbox, job_run, NULL, &next);
    while (jobs_pending(jobs) > 0)
        workq_drain(wq);
    assert_int_equal(late, -EOWNERDEAD);
    assert_int_equal(next, 0);
    jobs_free(jobs);
    workq_free(wq);
}

/* ---- a transaction, a merge -------------------------------------------------------- */

static bool gave;

/* mailfs gives syncd up, and L by itself. */
static void gives_up(void) {
    if (gave)
        return;
    gave = true;
    assert_int_equal(shutdown(ends[1], SHUT_RDWR), 0);
    fs_write(&p.b, "u/dovecot-uidlist.tmp", given);
    fs_rename(&p.b, "u/dovecot-uidlist.tmp", LIST);
}

/* All of a new list has been written, and it gets its name next. */
static int fsync_then(int fd) {
    int r = io_ops_real.fsync(fd);

    gives_up();
    return r;
}

/* The list is to be appended to. */
static int open_then(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    int fd = io_ops_real.open(dirfd, path, flags, mode, resolve);

    if (strcmp(path, "dovecot-uidlist") == 0 && (flags & O_APPEND))
        gives_up();
    return fd;
}

/* While b works it is given up. */
static void b_begins(struct io_ops *ops) {
    gave = false;
    asks_enter(asks, asks_now(asks));
    io_ops_set(ops);
}

static void b_ends(void) {
    char *list = fs_read(&p.b, LIST);

    io_ops_set(&io_ops_real);
    assert_true(gave);
    assert_string_equal(list, given);
    free(list);
}

/* At a, and on the way to b. */
static uint64_t sent(Mfp__Txn **got) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;
    uint64_t id;

    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "4.M1.x:2,", 0);
    txn = node_collect(&p.a, &inbox, &a, true);
    assert_non_null(txn);
    id = node_receive(&p.a, &p.b, txn, got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(&a);
    return id;
}

static void applied_when_given_up(struct io_ops *ops) {
    struct apply_result res;
    Mfp__Txn *got;
    uint64_t id = sent(&got);

    b_begins(ops);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), -EOWNERDEAD);
    b_ends();
    assert_false(res.suspect);
    apply_result_free(&res);
    /* Then it is known that nobody asks, and the list is read as it is: 4 may have been seen. */
    asks_end(asks);
    asks_enter(asks, asks_now(asks));
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), 0);
    assert_true(res.suspect);
    assert_int_equal(next_in(&p.b), 65537);
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 0);
    assert_int_equal(uid_of(&p.b, "u", "9.M1.z"), 65536);
    apply_result_free(&res);
    mfp__txn__free_unpacked(got, NULL);
}

static void test_append(void **state) {
    struct io_ops ops = io_ops_real;

    ops.open = open_then;
    common();
    applied_when_given_up(&ops);
}

/* The list has been touched since it was last seen: it is read, and written anew. */
static void test_rewrite(void **state) {
    struct io_ops ops = io_ops_real;

    ops.fsync = fsync_then;
    common();
    fs_write(&p.b, LIST, "3 V1700000000 N4\n1 :1.M1.x\n2 :2.M1.x\n3 :3.M1.x\n5");
    applied_when_given_up(&ops);
}

static void test_merge(void **state) {
    struct io_ops ops = io_ops_real;

    ops.fsync = fsync_then;
    common();
    add_seen(&p.b, "u", "5.M1.y", "2,", 4, "five\n");
    mark(&p.b, &inbox);
    add_seen(&p.a, "u", "3.M2.x", "2,", 4, "of a\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_unlink(&p.a, "u/cur/3.M2.x:2,"); /* all that is left of it at a is its number */
    mark(&p.a, &inbox);
    b_begins(&ops);
    assert_int_equal(try_at(&p.b, &p.a), -EOWNERDEAD);
    b_ends();
}

/* It has gone before any message has got its name: none gets one. */
static void test_merge_late(void **state) {
    common();
    add_new(&p.a, "u", "4.M1.a", "four\n");
    mark(&p.a, &inbox);
    asks_enter(asks, asks_now(asks));
    assert_int_equal(shutdown(ends[1], SHUT_RDWR), 0);
    assert_int_equal(try_at(&p.b, &p.a), -EOWNERDEAD);
    assert_false(fs_there(&p.b, "u/new/4.M1.a"));
}

/* Nothing is wrong with the list, so nobody is told that there is. */
static void test_raise(void **state) {
    struct io_ops ops = io_ops_real;
    struct invals inval;
    char said[STATE_ERROR_MAX];

    ops.fsync = fsync_then;
    common();
    b_begins(&ops);
    assert_int_equal(promote_raise_one(p.b.st, &inbox, REPLICA_RAISE_ODD, &inval), -EOWNERDEAD);
    b_ends();
    state_last_error(p.b.st, said);
    assert_string_equal(said, "");
    invals_free(&inval);
    asks_end(asks);
    asks_enter(asks, asks_now(asks));
    assert_int_equal(promote_raise_one(p.b.st, &inbox, REPLICA_RAISE_ODD, &inval), 0);
    assert_int_equal(next_in(&p.b), 5 * REPLICA_RAISE_BLOCK);
    invals_free(&inval);
}

/* Beside a mailfs that serves by itself nothing holds the raising up. It raises, too, and whoever
 * has L from it begins there: what he appends is lost, and is not given again. */
static void test_raise_beside(void **state) {
    uint32_t tried = 0;
    struct io_ops ops = io_ops_real;
    struct invals inval;

    ops.fsync = fsync_then;
    common();
    asks_end(asks);
    runs = true;
    given = RAISED;
    b_begins(&ops);
    assert_int_equal(promote_raise_lost(p.b.st, &inbox, REPLICA_RAISE_ODD, &tried, &inval), 0);
    io_ops_set(&io_ops_real);
    assert_true(gave);
    assert_int_equal(uid_of(&p.b, "u", "9.M1.z"), 0);
    assert_true(next_in(&p.b) > 327680);
    invals_free(&inval);
}

static int fsync_no_dir(int fd) {
    struct stat sb;
    return fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode) ? -EIO : io_ops_real.fsync(fd);
}

/* The list has its name, and that does not reach the disk: it is not raised once more each time.
 * Who reads it then, as a mailfs that serves by itself does, finds it above what such a one had
 * raised to.
 */
static void test_raise_unsynced(void **state) {
    uint32_t tried = 0;
    struct io_ops ops = io_ops_real;
    struct invals inval;

    ops.fsync = fsync_no_dir;
    common();
    asks_end(asks);
    io_ops_set(&ops);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(promote_raise_lost(p.b.st, &inbox, REPLICA_RAISE_ODD, &tried, &inval),
                         -EIO);
        assert_int_equal(next_in(&p.b), 9 * REPLICA_RAISE_BLOCK);
        invals_free(&inval);
    }
    io_ops_set(&io_ops_real);
    assert_int_equal(promote_raise_lost(p.b.st, &inbox, REPLICA_RAISE_ODD, &tried, &inval), 0);
    assert_int_equal(next_in(&p.b), 9 * REPLICA_RAISE_BLOCK);
    invals_free(&inval);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_look),       T(test_none),   T(test_beside),       T(test_saw),
        T(test_job),        T(test_append), T(test_rewrite),      T(test_merge),
        T(test_merge_late), T(test_raise),  T(test_raise_beside), T(test_raise_unsynced)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
