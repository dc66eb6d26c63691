/* The way of what is done to directories, on two real stores; see test_syncd_live.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/alias.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/state_int.h"
#include "io_fault.h"
#include "live_pair.h"

static void test_dirs(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work"), root = mailfs_id_root;
    struct acts a = {.n = 0};

    fs_rename(&p.a, "u/.Work", "u/.Play");
    act_dir_move(&a, &work, ".Work", &inbox, ".Play");
    assert_false(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/.Play/cur"));
    stores_assert_equal(&p);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_reopen(&p.b); /* the id still leads there */
    fs_rename(&p.a, "u", "v");
    act_dir_move(&a, &inbox, "u", &root, "v");
    assert_false(stores_send(&p.a, &p.b, &root, &a, false));
    fs_rename(&p.a, "v/.Play", "v/..DOVECOT-TRASHED");
    act_dir_remove(&a, &work, ".Play", NULL, 0);
    assert_false(send_a(&a, false));
    assert_false(fs_there(&p.b, "v/.Play"));
    assert_true(fs_there(&p.b, "v/cur"));
}

/* What took it away is held back, as its container is being merged, and comes after what brought it
 * back. */
static void test_moved_there_and_back(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work"), root = mailfs_id_root;
    struct acts a = {.n = 0};

    act_dir_move(&a, &work, "W", &inbox, ".Work");
    assert_true(stores_send(&p.a, &p.b, &root, &a, false));
    act_dir_move(&a, &work, ".Work", &root, "W");
    assert_false(send_a(&a, false));
    act_dir_move(&a, &work, "W", &inbox, ".Work");
    assert_false(stores_send(&p.a, &p.b, &root, &a, false));
    assert_true(fs_there(&p.b, "u/.Work/cur"));
}

/* Deleted there, delivered to here: it lives. */
static void test_delete_meets_delivery(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    const char *bases[] = {"1.M1.a"};
    struct acts a = {.n = 0};

    fs_write(&p.b, "u/.Work/new/1.M1.a", "known\n");
    fs_write(&p.b, "u/.Work/new/2.M1.b", "not known\n");
    act_dir_remove(&a, &work, ".Work", bases, 1);
    assert_true(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/.Work/new/2.M1.b"));
    fs_unlink(&p.b, "u/.Work/new/2.M1.b");
    act_dir_remove(&a, &work, ".Work", bases, 1);
    assert_false(send_a(&a, false));
    assert_false(fs_there(&p.b, "u/.Work"));
}

/* Two made under one name: one remains, under the lower id. */
static void test_two_of_one_name(void **state) {
    struct acts a = {.n = 0}, b = {.n = 0};
    struct mailfs_id ia, ib;
    Mfp__Txn *ta, *tb, *ga, *gb;
    struct apply_result res;
    uint64_t ja, jb;

    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.b, "u/.Sent");
    act_dir_make(&p.a, &a, "u", ".Sent");
    act_dir_make(&p.b, &b, "u", ".Sent");
    ta = node_collect(&p.a, &inbox, &a, false);
    tb = node_collect(&p.b, &inbox, &b, false);
    ja = node_receive(&p.a, &p.b, ta, &ga);
    jb = node_receive(&p.b, &p.a, tb, &gb);
    assert_int_equal(apply_txn(p.b.st, ga, ja, NULL, &res), 0);
    assert_int_equal(res.n_also, 1);
    apply_result_free(&res);
    assert_int_equal(apply_txn(p.a.st, gb, jb, NULL, &res), 0);
    apply_result_free(&res);
    ia = fs_id(&p.a, "u/.Sent");
    ib = fs_id(&p.b, "u/.Sent");
    assert_true(mailfs_id_equal(&ia, &ib));
    mfp__txn__free_unpacked(ta, NULL);
    mfp__txn__free_unpacked(tb, NULL);
    mfp__txn__free_unpacked(ga, NULL);
    mfp__txn__free_unpacked(gb, NULL);
}

static uint64_t told(struct node *from, struct node *to, const struct mailfs_id *dir,
                     struct acts *a, Mfp__Txn **got) {
    Mfp__Txn *txn = node_collect(from, dir, a, false);
    uint64_t id = node_receive(from, to, txn, got);

    assert_int_equal(base_acked(from->st, txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    return id;
}

/* Both make a folder, and one goes on in it before it hears that it is the other's: what it
 * delivers and makes there is on the other node nonetheless, in the one folder that both have. */
static void test_told_under_a_former_id(void **state) {
    struct acts make = {.n = 0}, make_too = {.n = 0}, more = {.n = 0}, mail = {.n = 0};
    struct mailfs_id ia, ib, in;
    struct node *keeps, *gives;
    struct apply_result res;
    Mfp__Txn *got[4];
    uint64_t id[4];
    int i;

    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.b, "u/.Sent");
    act_dir_make(&p.a, &make, "u", ".Sent");
    act_dir_make(&p.b, &make_too, "u", ".Sent");
    ia = fs_id(&p.a, "u/.Sent");
    ib = fs_id(&p.b, "u/.Sent");
    keeps = mailfs_id_cmp(&ia, &ib) < 0 ? &p.a : &p.b;
    gives = keeps == &p.a ? &p.b : &p.a;
    in = keeps == &p.a ? ib : ia;
    id[0] = told(gives, keeps, &inbox, gives == &p.a ? &make : &make_too, &got[0]);
    id[3] = told(keeps, gives, &inbox, keeps == &p.a ? &make : &make_too, &got[3]);
    fs_mkdir(gives, "u/.Sent/below");
    act_dir_make(gives, &more, "u/.Sent", "below");
    id[1] = told(gives, keeps, &in, &more, &got[1]);
    fs_mkdir(gives, "u/.Sent/new");
    fs_write(gives, "u/.Sent/new/1.M1.x", "one\n");
    act_add(gives, &mail, "u/.Sent", MFL__SUB__NEW, "1.M1.x", 0);
    fs_write(gives, "u/.Sent/new/2.M1.x", "two\n"); /* a client has moved it there on both */
    act_add(gives, &mail, "u/.Sent", MFL__SUB__NEW, "2.M1.x", 0);
    fs_mkdir(keeps, "u/.Sent/cur");
    fs_write(keeps, "u/.Sent/cur/2.M1.x:2,S", "two\n");
    id[2] = told(gives, keeps, &in, &mail, &got[2]);
    for (i = 0; i < 3; i++) {
        assert_int_equal(apply_txn(keeps->st, got[i], id[i], NULL, &res), 0);
        assert_false(res.tree);
        apply_result_free(&res);
    }
    assert_true(fs_there(keeps, "u/.Sent/below"));
    assert_true(fs_there(keeps, "u/.Sent/new/1.M1.x"));
    assert_false(fs_there(keeps, "u/.Sent/new/2.M1.x"));
    assert_true(fs_there(keeps, "u/.Sent/cur/2.M1.x:2,S"));
    assert_int_equal(apply_txn(gives->st, got[3], id[3], NULL, &res), 0);
    assert_true(res.inval.n > 0 && res.inval.v[0].renumbered);
    assert_true(mailfs_id_equal(&res.inval.v[0].former_id, &in));
    apply_result_free(&res);
    ia = fs_id(&p.a, "u/.Sent");
    ib = fs_id(&p.b, "u/.Sent");
    assert_true(mailfs_id_equal(&ia, &ib));
    ia = fs_id(&p.a, "u/.Sent/below");
    ib = fs_id(&p.b, "u/.Sent/below");
    assert_true(mailfs_id_equal(&ia, &ib));
    for (i = 0; i < 4; i++)
        mfp__txn__free_unpacked(got[i], NULL);
}

/* For a container that is not here nothing is done, and nothing is believed to be. */
static void test_no_container(void **state) {
    struct mailfs_id work;
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    struct apply_result res;
    struct base_msg m;
    uint64_t id;

    fs_mkdir(&p.a, "u/.Work");
    fs_mkdir(&p.a, "u/.Work/new");
    work = fs_id(&p.a, "u/.Work");
    fs_write(&p.a, "u/.Work/new/1.M1.a", "one\n");
    act_dir_make(&p.a, &a, "u", ".Work");
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL); /* lost */
    act_add(&p.a, &a, "u/.Work", MFL__SUB__NEW, "1.M1.a", 0);
    txn = node_collect(&p.a, &work, &a, false);
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(apply_txn(p.b.st, got, id, NULL, &res), -ENOENT);
    assert_true(res.suspect);
    apply_result_free(&res);
    assert_int_equal(base_msg_get(p.b.st, BASE_AGREED, &work, "1.M1.a", &m), -ENOENT);
    assert_int_equal(journal_waiting(p.b.st), 1);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* More than these are remembered for as long only as anybody may mean them. */
static void test_former_ids_end(void **state) {
    struct mailfs_id former[ALIASES_KEPT + 3], now;
    size_t i, n = sizeof(former) / sizeof(*former);

    for (i = 0; i < n; i++) {
        if (i == n - 1)
            p.a.st->alias_ms = 0;
        assert_int_equal(mailfs_id_new(&former[i]), 0);
        assert_true(i < 1 || alias_now(p.a.st, &former[0], &now));
        assert_int_equal(alias_note(p.a.st, &former[i], &inbox), 0);
    }
    for (i = 0; i < n; i++)
        assert_int_equal(alias_now(p.a.st, &former[i], &now), i >= n - ALIASES_KEPT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup, mailbox_teardown)

static struct io_ops short_of;

static int some_room(int fd, struct statvfs *fs) {
    int r = io_ops_real.fstatvfs(fd, fs);

    fs->f_frsize = 4096;
    fs->f_bfree = (16 << 20) / 4096 - 1;
    return r;
}

/* Not where the next directory would find none; and nothing is left of the one that is made. */
static void test_room(void **state) {
    static const unsigned first[] = {0, 1, 2};

    for (unsigned i = 0; i < 3; i++) {
        fault_start(grave, FAULT_FAIL_ON, first[i], -ENOSPC);
        assert_int_equal(tree_merge_room(p.b.st, NULL, 0), -ENOSPC);
        fault_power_on();
    }
    fault_start(grave, FAULT_FAIL_ON, 0, -EROFS);
    assert_int_equal(tree_merge_room(p.b.st, NULL, 0), -EROFS);
    fault_power_on();
    fs_mkdir(&p.b, ".mailfs/trash/room"); /* of a life that was killed in it */
    assert_int_equal(tree_merge_room(p.b.st, NULL, 0), 0);
    assert_false(fs_there(&p.b, ".mailfs/trash/room"));
    short_of = io_ops_real;
    short_of.fstatvfs = some_room;
    io_ops_set(&short_of);
    assert_int_equal(tree_merge_room(p.b.st, NULL, 0), -ENOSPC);
    io_ops_set(&io_ops_real);
}

static int mkdir_fails(int dirfd, const char *name, mode_t mode) {
    return name[0] == '.' ? -EIO : io_ops_real.mkdir(dirfd, name, mode);
}

/* The disk is damaged in one directory, in which something is lacking. */
static void test_room_in_it(void **state) {
    struct io_ops damaged = io_ops_real;

    damaged.mkdir = mkdir_fails;
    io_ops_set(&damaged);
    assert_int_equal(tree_merge_room(p.b.st, NULL, 0), 0);
    assert_int_equal(tree_merge_room(p.b.st, &inbox, 1), -EIO);
    io_ops_set(&io_ops_real);
    assert_int_equal(tree_merge_room(p.b.st, &inbox, 1), 0);
    assert_false(fs_there(&p.b, "u/.mailfs-room"));
}

/* ---- quotas ------------------------------------------------------------------------ */

#define USER 5001

static uid_t over; /* whose quota is used up */

static int chown_quota(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
    return uid == over ? -EDQUOT : io_ops_real.chown(dirfd, name, uid, gid, flags);
}

static ssize_t write_quota(int fd, const void *buf, size_t n, off_t off) {
    struct stat sb;

    return fstat(fd, &sb) == 0 && sb.st_uid == over ? -EDQUOT : io_ops_real.pwrite(fd, buf, n, off);
}

/* Whatever is free: the quota of who owns one of those in which something is lacking. */
static void quota_refuses(const struct io_ops *ops) {
    struct mailfs_id root = mailfs_id_root, nowhere = {{1}}, all[] = {root, nowhere, inbox};

    io_ops_set(ops);
    assert_int_equal(tree_merge_room(p.b.st, NULL, 0), 0);
    assert_int_equal(tree_merge_room(p.b.st, all, 2), 0);
    assert_int_equal(tree_merge_room(p.b.st, all, 3), -EDQUOT);
    over = USER + 1;
    assert_int_equal(tree_merge_room(p.b.st, all, 3), 0);
    over = USER;
    io_ops_set(&io_ops_real);
}

static void test_room_by_quota(void **state) {
    struct io_ops blocks = io_ops_real, inodes = io_ops_real;
    char path[512];

    if (geteuid() != 0)
        skip(); /* nobody else may give files away */
    snprintf(path, sizeof(path), "%s/u", p.b.store);
    assert_int_equal(chown(path, USER, USER), 0);
    over = USER;
    blocks.pwrite = write_quota;
    quota_refuses(&blocks);
    inodes.chown = chown_quota;
    quota_refuses(&inodes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_dirs),
        T(test_moved_there_and_back),
        T(test_delete_meets_delivery),
        T(test_two_of_one_name),
        T(test_told_under_a_former_id),
        T(test_no_container),
        T(test_former_ids_end),
        T(test_room_in_it),
        T(test_room_by_quota),
        cmocka_unit_test_setup_teardown(test_room, mailbox_setup_grave, mailbox_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
