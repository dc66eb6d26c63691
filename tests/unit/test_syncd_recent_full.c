/* What outlives syncd when the disk was full: room set apart, and what cannot be noted. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/recent.h"
#include "syncd/scan.h"
#include "recent_pair.h"

static bool full;

static ssize_t write_or_full(int fd, const void *buf, size_t n) {
    return full ? -ENOSPC : io_ops_real.write(fd, buf, n);
}

/* A record that cannot be noted, with these operations, on a disk that is full from then on. */
static void lose_one(struct io_ops *ops) {
    ops->write = write_or_full;
    io_ops_set(ops);
    full = true;
    assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
}

/* What could not be noted is not known, and not taken for nothing. */
static void test_no_room(void **state) {
    struct io_ops ops = io_ops_real;
    uint8_t one[STATE_DIGEST];

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    ops.write = write_or_full;
    io_ops_set(&ops);
    full = true;
    digest_of(&both.b, one);
    assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    full = false;
    io_ops_set(&io_ops_real);
    deliver("2.M1.a");
    node_killed(&both.b);
    assert_false(both.b.st->recent.whole);
    assert_int_equal(both.b.start.journal, 2);
    node_replay(&both.b);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
}

static int no_commit(const char *what) {
    return -ENOSPC;
}

/* The checkpoint that was to make it known again failed as well: the next one does. */
static void test_known_again(void **state) {
    struct io_ops ops = io_ops_real;

    NEEDS_LIFE(state);
    ops.barrier = no_commit;
    lose_one(&ops);
    assert_true(recent_is_lost(both.b.st));
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), -ENOSPC);
    full = false;
    io_ops_set(&io_ops_real);
    assert_true(recent_is_lost(both.b.st));
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    assert_false(recent_is_lost(both.b.st));
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
}

/* It has its file, and the base that this follows upon is not on the disk: still not known. */
static void test_known_when_committed(void **state) {
    struct io_ops ops = io_ops_real;

    NEEDS_LIFE(state);
    ops.barrier = no_commit;
    lose_one(&ops);
    full = false;
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), -ENOSPC);
    io_ops_set(&io_ops_real);
    assert_true(recent_is_lost(both.b.st));
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    assert_false(recent_is_lost(both.b.st));
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
}

static unsigned unlinks;

static int one_unlink(int dirfd, const char *name, int flags) {
    return unlinks++ > 0 ? -EIO : io_ops_real.unlink(dirfd, name, flags);
}

/* Killed as two are given up: the one that is left is not taken for all there was. */
static void test_killed_as_it_ends(void **state) {
    struct io_ops ops = io_ops_real;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    ops.syncfs = no_sync;
    ops.write = write_or_full;
    ops.unlink = one_unlink;
    io_ops_set(&ops);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), -EIO);
    unlinks = 0;
    full = true;
    assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    full = false;
    assert_true(unlinks > 1);
    io_ops_set(&io_ops_real);
    node_killed(&both.b);
    assert_false(both.b.st->recent.whole);
    assert_int_equal(both.b.start.journal, 1);
}

/* Nothing has changed since: it takes a checkpoint all the same. */
static void test_known_again_unchanged(void **state) {
    struct io_ops ops = io_ops_real;

    NEEDS_LIFE(state);
    lose_one(&ops);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    full = false;
    io_ops_set(&io_ops_real);
    assert_true(recent_is_lost(both.b.st));
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    deliver("1.M1.a");
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
}

/* As on a full disk: what has been set apart can be written. */
static ssize_t write_within(int fd, const void *buf, size_t n) {
    struct stat sb;

    assert_int_equal(fstat(fd, &sb), 0);
    return (uint64_t)sb.st_size + n > (uint64_t)sb.st_blocks * 512 ? -ENOSPC
                                                                   : io_ops_real.write(fd, buf, n);
}

static int no_more(int fd, int mode, off_t off, off_t len) {
    return -ENOSPC;
}

/* A full disk costs nothing for a while, whatever ends syncd. */
static void test_room_set_apart(void **state) {
    struct io_ops ops = io_ops_real;

    NEEDS_LIFE(state);
    ops.write = write_within;
    ops.fallocate = no_more;
    io_ops_set(&ops);
    for (int i = 0; i < 100; i++)
        assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    assert_false(recent_is_lost(both.b.st));
    io_ops_set(&io_ops_real);
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    killed_and_the_same(&both.b);
}

/* Nor does it keep the base off the disk: an orderly stop, or the power, is not to cost more. */
static void test_full_and_power_cut(void **state) {
    struct io_ops ops = io_ops_real;
    uint64_t v = 0, w = 0;

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    fs_unlink(&both.b, "u/new/1.M1.a");
    assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    assert_int_equal(base_version_get(both.b.st, BASE_OF_MAILBOX, &mailbox, &v), 0);
    ops.fallocate = no_more;
    io_ops_set(&ops);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    io_ops_set(&io_ops_real);
    another_life(&both.b);
    assert_false(both.b.st->recent.whole);
    assert_int_equal(both.b.start.journal, 0);
    assert_int_equal(base_version_get(both.b.st, BASE_OF_MAILBOX, &mailbox, &w), 0);
    assert_int_equal(v, w);
}

/* Killed within such a checkpoint: one file has both names. */
static void test_killed_while_full(void **state) {
    struct io_ops ops = io_ops_real;
    char path[256];

    NEEDS_LIFE(state);
    deliver("1.M1.a");
    ops.fallocate = no_more;
    ops.syncfs = no_sync;
    io_ops_set(&ops);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), -EIO);
    assert_int_equal(base_version_next(both.b.st, BASE_OF_MAILBOX, &mailbox), 0);
    io_ops_set(&io_ops_real);
    killed_and_the_same(&both.b);
    assert_true(both.b.st->recent.whole);
    assert_int_equal(both.b.start.journal, 0);
    assert_int_equal(state_checkpoint(both.b.st, 0, NULL, 0), 0);
    deliver("2.M1.a");
    killed_and_the_same(&both.b);
    assert_int_equal(both.b.start.journal, 0);
    recent_path(&both.b, both.b.st->generation - 1, path);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_room, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_known_again, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_known_when_committed, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_killed_as_it_ends, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_known_again_unchanged, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_room_set_apart, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_full_and_power_cut, recent_setup, recent_teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_full, recent_setup, recent_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
