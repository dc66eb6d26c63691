/*
 * test_syncd_apply_raise - what the peer did, applied while somebody may have L
 *
 * What the owner of that L appends to the list is lost where another one takes its place: the next
 * UID in that is above what he may give, and it is raised for what was replaced only.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "io/io.h"
#include "merge_pair.h"
#include "syncd/apply.h"
#include "syncd/base.h"

#define ABOVE (9 * REPLICA_RAISE_BLOCK) /* two steps of the rule */

static const struct apply_how under_lock = {.raise = REPLICA_RAISE_ODD};
static Mfp__Txn *got;
static uint64_t id;

/* Numbered at a, and on the way to b. */
static void send(const char *base, unsigned uid) {
    struct acts a = {.n = 0};
    char rel[40];

    snprintf(rel, sizeof(rel), "%s:2,", base);
    add_seen(&p.a, "u", base, "2,", uid, "text\n");
    act_add(&p.a, &a, "u", MFL__SUB__CUR, rel, 0);
    Mfp__Txn *txn = node_collect(&p.a, &inbox, &a, true);
    id = node_receive(&p.a, &p.b, txn, &got);
    mfp__txn__free_unpacked(txn, NULL);
    acts_free(&a);
}

/* Of the list at b 3 is the last. */
static int setup(void **state) {
    int r = merge_setup(state);

    if (r == 0) {
        common();
        send("4.M1.x", 4);
    }
    return r;
}

static int teardown(void **state) {
    io_ops_set(&io_ops_real);
    mfp__txn__free_unpacked(got, NULL);
    return mailbox_teardown(state);
}

struct replaced {
    bool raised, unsure;
};

static struct replaced apply(const struct apply_how *how, int expected) {
    struct apply_result res;

    assert_int_equal(apply_txn(p.b.st, got, id, how, &res), expected);
    struct replaced r = {res.raised, res.unsure};
    apply_result_free(&res);
    return r;
}

static bool is_marked(void) {
    struct state_mark *marks;
    size_t n;

    assert_int_equal(state_marks(p.b.st, UINT64_MAX, &marks, &n), 0);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found = found || mailfs_id_equal(&marks[i].dir, &inbox);
    free(marks);
    return found;
}

/* In one write. */
static void replaced(void **state) {
    struct replaced r = apply(&under_lock, 0);

    assert_true(r.raised && !r.unsure);
    assert_int_equal(next_in(&p.b), ABOVE);
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
    assert_true(is_marked());
    r = apply(&under_lock, 0);
    assert_false(r.raised || r.unsure);
    assert_int_equal(next_in(&p.b), ABOVE);
}

/* He has the list that is there open. */
static void not_appended(void **state) {
    apply(NULL, 0); /* so it is known how the list ends */
    assert_int_equal(next_in(&p.b), 5);
    mfp__txn__free_unpacked(got, NULL);
    send("5.M1.x", 5);
    assert_true(apply(&under_lock, 0).raised);
    assert_int_equal(next_in(&p.b), ABOVE);
    assert_int_equal(uid_of(&p.b, "u", "5.M1.x"), 5);
}

static void nobody(void **state) {
    struct replaced r = apply(NULL, 0);

    assert_false(r.raised || r.unsure);
    assert_int_equal(next_in(&p.b), 5);
    r = apply(&under_lock, 0); /* the list stays */
    assert_false(r.raised || r.unsure);
    assert_int_equal(next_in(&p.b), 5);
}

static int no_room(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    return (flags & O_CREAT) != 0 ? -ENOSPC : io_ops_real.open(dirfd, path, flags, mode, resolve);
}

/* As often as it is tried: nothing is replaced. */
static void full(void **state) {
    struct io_ops ops = io_ops_real;

    ops.open = no_room;
    apply(NULL, 0);
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000000 N4\n1 :1.M1.x\n2 :2.M1.x\n3 :3.M1.x\n");
    io_ops_set(&ops);
    for (unsigned i = 0; i < 3; i++) {
        struct replaced r = apply(&under_lock, -ENOSPC);
        assert_false(r.raised || r.unsure);
    }
    assert_int_equal(next_in(&p.b), 4);
    io_ops_set(&io_ops_real);
    assert_true(apply(&under_lock, 0).raised);
    assert_int_equal(next_in(&p.b), ABOVE);
}

static int fsync_no_dir(int fd) {
    struct stat sb;
    return fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode) ? -EIO : io_ops_real.fsync(fd);
}

/* It has its name, and that may not be on the disk. It is not raised once more. */
static void unsynced(void **state) {
    struct io_ops ops = io_ops_real;

    ops.fsync = fsync_no_dir;
    apply(NULL, 0);
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000000 N4\n1 :1.M1.x\n2 :2.M1.x\n3 :3.M1.x\n");
    io_ops_set(&ops);
    struct replaced r = apply(&under_lock, -EIO);
    assert_true(!r.raised && r.unsure);
    assert_int_equal(next_in(&p.b), ABOVE);
    io_ops_set(&io_ops_real);
    r = apply(&under_lock, 0);
    assert_false(r.raised || r.unsure);
    assert_int_equal(next_in(&p.b), ABOVE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(replaced), T(not_appended), T(nobody), T(full),
                                       T(unsynced)};
    return cmocka_run_group_tests_name("apply_raise", tests, NULL, NULL);
}
