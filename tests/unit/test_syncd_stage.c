/*
 * Prepared contents that are not fsynced when they come (commit = memory, async): durable before
 * the transaction that names them is acknowledged, and no message if the power was cut before. And
 * those that are (commit = disk), at each step.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/sum.h"
#include "io_fault.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "mailbox_pair.h"

static int begin(unsigned number, struct stage_file **f) {
    struct stage_prep id = {77, number};
    Mfp__Meta meta = MFP__META__INIT;
    char name[32];

    snprintf(name, sizeof(name), "%u.tmp", number);
    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    meta.size = 5;
    return stage_begin_prep(p.b.st, &id, &inbox, name, &meta, f);
}

/* As the receiver does it with commit = memory. */
static void prepare(unsigned number) {
    struct stage_file *f;

    assert_int_equal(begin(number, &f), 0);
    assert_int_equal(stage_write(f, 0, "text\n", 5), 0);
    assert_int_equal(stage_commit(f, STAGE_LOOSE), 0);
}

/* As with commit = disk, in two parts. */
static int prepare_durable(unsigned number) {
    struct stage_file *f;
    int r = begin(number, &f);

    if (r < 0)
        return r;
    r = stage_write(f, 0, "te", 2);
    if (r == 0)
        r = stage_write(f, 2, "xt\n", 3);
    if (r == 0)
        return stage_commit(f, STAGE_DURABLE);
    stage_abandon(f);
    return r;
}

/* The origin gives them their names, and the receiver has its transaction in the journal. */
static void commit(unsigned n) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    char rel[64];
    unsigned i;

    for (i = 1; i <= n; i++) {
        snprintf(rel, sizeof(rel), "u/new/%u.M1.a", i);
        fs_write(&p.a, rel, "text\n");
        act_add(&p.a, &a, "u", MFL__SUB__NEW, rel + 6, i);
    }
    txn = node_collect(&p.a, &inbox, &a, false);
    node_receive(&p.a, &p.b, txn, &got);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* How many whole contents are in the stage of b; fails at one that is not. */
static unsigned whole_contents(void) {
    char path[512], rel[512], *text;
    struct dirent *de;
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/.mailfs/stage", p.b.store);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strncmp(de->d_name, "p-", 2) != 0)
            continue;
        snprintf(rel, sizeof(rel), ".mailfs/stage/%.300s", de->d_name);
        text = fs_read(&p.b, rel);
        assert_string_equal(text, "text\n");
        free(text);
        n++;
    }
    closedir(d);
    return n;
}

static unsigned steps_of(unsigned n, enum fault_kind kind, unsigned at) {
    unsigned i;

    fault_start(grave, kind, at, 0);
    for (i = 1; i <= n; i++)
        prepare(i);
    commit(n);
    i = fault_steps();
    io_barrier("acknowledged"); /* the power is cut here */
    fault_power_on();
    return i;
}

static void acknowledged(unsigned n) {
    unsigned at = steps_of(n, FAULT_NONE, 0);

    mailbox_teardown(NULL);
    mailbox_setup_grave(NULL);
    assert_int_equal(steps_of(n, FAULT_CUT, at), at);
    assert_true(fault_happened());
    assert_int_equal(whole_contents(), n);
}

static void test_durable_when_acknowledged(void **state) {
    acknowledged(1);
}

static void test_many_durable_when_acknowledged(void **state) {
    acknowledged(40);
}

/* At a start. */
static void only_left_is(uint64_t number) {
    struct stage_prep *left;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(left[0].seq, number);
    free(left);
}

/* The prepared content 2 in the stage of b. Its directory, to be closed. */
static DIR *second_in_stage(char name[300]) {
    char path[512];
    struct dirent *de;
    DIR *d;

    snprintf(path, sizeof(path), "%s/.mailfs/stage", p.b.store);
    d = opendir(path);
    assert_non_null(d);
    *name = '\0';
    while ((de = readdir(d)))
        if (strstr(de->d_name, "2.tmp"))
            snprintf(name, 300, "%.290s", de->d_name);
    return d;
}

/* Nobody was told that it is durable, and it is not: it is not published. */
static void test_cut_short(void **state) {
    char name[300];
    DIR *d;

    prepare(1);
    prepare(2);
    d = second_in_stage(name);
    assert_int_equal(unlinkat(dirfd(d), name, 0), 0);
    close(openat(dirfd(d), name, O_WRONLY | O_CREAT, 0600));
    closedir(d);
    node_reopen(&p.b);
    only_left_is(1);
    assert_int_equal(whole_contents(), 1);
}

static void zeros_in_second(bool with_sum) {
    char name[300], zeros[4096] = "";
    struct stat sb;
    DIR *d = second_in_stage(name);
    int fd = openat(dirfd(d), name, O_RDWR);

    assert_true(fd >= 0 && fstat(fd, &sb) == 0 && sb.st_size <= (off_t)sizeof(zeros));
    assert_int_equal(pwrite(fd, zeros, (size_t)sb.st_size, 0), sb.st_size);
    if (!with_sum)
        assert_int_equal(io_sum_drop(fd), 0);
    close(fd);
    closedir(d);
}

/* Likewise where the file has its length already: on ext4 that comes before the data. */
static void test_torn(void **state) {
    prepare(1);
    prepare(2);
    zeros_in_second(true);
    node_reopen(&p.b);
    only_left_is(1);
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 2}));
}

/* Likewise where syncd was killed before it had looked at it, and is started once more. */
static void test_torn_and_killed(void **state) {
    prepare(1);
    prepare(2);
    zeros_in_second(true);
    node_reopen(&p.b);
    node_killed(&p.b);
    only_left_is(1);
}

/* Likewise where the disk failed to take it, and syncd was killed then: the next one knows nothing
 * of that. */
static void sync_fails(void) {
    prepare(1);
    assert_int_equal(stage_sync(p.b.st), 0);
    prepare(2);
    fault_start(grave, FAULT_FAIL, 0, -EIO);
    assert_int_equal(stage_sync(p.b.st), -EIO);
    assert_true(fault_happened());
    fault_power_on();
}

static void test_sync_failed_and_killed(void **state) {
    sync_fails();
    zeros_in_second(true);
    node_killed(&p.b);
    only_left_is(1);
}

/* It may be whole in the page cache alone: then no later sync writes it, and it is written anew. */
static void test_whole_and_killed(void **state) {
    struct stage_prep *left;
    struct stat was, is;
    char name[300];
    size_t n;
    DIR *d;

    sync_fails();
    d = second_in_stage(name);
    assert_int_equal(fstatat(dirfd(d), name, &was, AT_SYMLINK_NOFOLLOW), 0);
    node_killed(&p.b);
    fault_start(grave, FAULT_CUT, 1000, 0);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    fault_power_on();
    assert_int_equal(n, 2);
    free(left);
    assert_int_equal(whole_contents(), 2);
    assert_int_equal(fstatat(dirfd(d), name, &is, AT_SYMLINK_NOFOLLOW), 0);
    closedir(d);
    assert_int_not_equal(is.st_ino, was.st_ino);
    assert_int_equal(is.st_mode, was.st_mode);
    assert_memory_equal(&is.st_mtim, &was.st_mtim, sizeof(was.st_mtim));
}

/* It may have been acknowledged, and perhaps is whole. */
static void test_without_sum(void **state) {
    prepare(2);
    zeros_in_second(false);
    node_reopen(&p.b);
    only_left_is(2);
}

/* Cut, killed or failing at any step: whole, or not there; what was promised is there. */
static void at_each_step(enum fault_kind kind) {
    unsigned at = 0, there;
    int r;

    do {
        fault_start(grave, kind, at++, -EIO);
        r = prepare_durable(1);
        io_barrier("acknowledged");
        fault_power_on();
        if (kind == FAULT_CUT || kind == FAULT_KILL)
            node_reopen(&p.b); /* removes what is not whole */
        there = whole_contents();
        assert_true(there <= 1 && (r != 0 || there == 1));
        assert_true(kind != FAULT_FAIL || there == (r == 0));
        mailbox_teardown(NULL);
        mailbox_setup_grave(NULL);
    } while (r != 0);
    assert_true(at > 5);
}

static void test_power_cut_at_each_step(void **state) {
    at_each_step(FAULT_CUT);
}

static void test_killed_at_each_step(void **state) {
    at_each_step(FAULT_KILL);
}

static void test_failing_at_each_step(void **state) {
    at_each_step(FAULT_FAIL);
}

/* The number comes again: what is there already stays until the other is whole. */
static void test_same_number_again(void **state) {
    struct stage_file *f;

    assert_int_equal(prepare_durable(1), 0);
    assert_int_equal(begin(1, &f), 0);
    assert_int_equal(stage_write(f, 0, "te", 2), 0);
    assert_int_equal(whole_contents(), 1);
    stage_abandon(f);
    assert_int_equal(whole_contents(), 1);
    assert_int_equal(prepare_durable(1), 0);
    assert_int_equal(whole_contents(), 1);
}

static struct io_ops ops;
static unsigned unlinked, in_the_way;

static int unlink_and_look(int dirfd, const char *name, int flags) {
    unlinked++;
    if (pthread_mutex_trylock(&p.b.st->mutex) == 0)
        pthread_mutex_unlock(&p.b.st->mutex);
    else
        in_the_way++;
    return io_ops_real.unlink(dirfd, name, flags);
}

/* What had been fetched, and after a power cut is not known to be whole, may be much: who asks for
 * something else does not wait until the disk has let all of it go. */
static void test_nobody_waits_for_leftovers(void **state) {
    struct stage_prep *left;
    struct stage_file *f;
    char name[32];
    unsigned i;
    size_t n;

    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%u.M1.x", i);
        assert_int_equal(stage_begin_fetch(p.b.st, &inbox, MFP__SUB__CUR, name, NULL, NULL, &f), 0);
        assert_int_equal(stage_write(f, 0, "text\n", 5), 0);
        assert_int_equal(stage_commit(f, STAGE_DURABLE), 0);
    }
    node_reopen(&p.b);
    ops = io_ops_real;
    ops.unlink = unlink_and_look;
    unlinked = in_the_way = 0;
    io_ops_set(&ops);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(n, 0);
    free(left);
    assert_int_equal(unlinked, 3);
    assert_int_equal(in_the_way, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_durable_when_acknowledged),
        T(test_many_durable_when_acknowledged),
        T(test_cut_short),
        T(test_torn),
        T(test_torn_and_killed),
        T(test_sync_failed_and_killed),
        T(test_whole_and_killed),
        T(test_without_sum),
        T(test_power_cut_at_each_step),
        T(test_killed_at_each_step),
        T(test_failing_at_each_step),
        T(test_same_number_again),
        T(test_nobody_waits_for_leftovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
