/* The disk side of one-way links: several states on one store, each with a base of its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "syncd/store.h"
#include "syncd_contact.h"

static struct pair p; /* p.a: the standby; p.b: a node that it follows */
static struct state *links[2];
static struct mailfs_id inbox; /* "u", on both, and agreed on with both links' ends */

static struct state *link_open(const char *peer) {
    char dir[256];
    struct state_config conf = {
        .store = p.a.store, .dir = dir, .node = "a", .peer = peer, .main = p.a.st};
    struct state_start start;
    struct state *st;

    snprintf(dir, sizeof(dir), "%s/%s", p.a.root, peer);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(state_open(&conf, &st, &start), 0);
    assert_int_equal(state_set_contact(st, true), 0);
    return st;
}

static void agree_on(struct state *st, const struct mailfs_id *id) {
    struct base_dir rec;

    assert_int_equal(base_dir_get(p.a.st, id, &rec), 0);
    rec.agreed = rec.merged = true;
    assert_int_equal(base_dir_put(st, id, &rec), 0);
}

static int setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    for (size_t i = 0; i < 2; i++) {
        links[i] = link_open(i ? "y" : "x");
        agree_on(links[i], &inbox);
    }
    return 0;
}

static int teardown(void **state) {
    state_close(links[0]);
    state_close(links[1]);
    stores_close(&p);
    return 0;
}

static void mark(struct state *st, const struct mailfs_id *id) {
    assert_int_equal(state_mark(st, id, 1), 0);
}

static Mfp__Tree *scan(struct state *st) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Tree *t;

    assert_int_equal(tree_scan(st, false, &t, digest, NULL), 0);
    return t;
}

static const struct scan_mark *listed(const struct scan_mark *m, size_t n,
                                      const struct mailfs_id *id) {
    for (size_t i = 0; i < n; i++) {
        if (mailfs_id_equal(&m[i].dir, id))
            return &m[i];
    }
    return NULL;
}

/* Made since the first link looked last, which has found it now. */
static struct mailfs_id made_and_found(const char *rel) {
    struct mailfs_id id;

    fs_mkdir(&p.a, rel);
    id = fs_id(&p.a, rel);
    mark(links[0], &inbox);
    mark(links[0], &id);
    mfp__tree__free_unpacked(scan(links[0]), NULL);
    return id;
}

/* A scan has found it, and it went before the trees were merged: nobody can be asked about it. */
static void test_found_and_gone(void **state) {
    struct scan_mark *m;
    struct mailfs_id id;
    size_t n;

    id = made_and_found("u/.Short");
    assert_int_equal(scan_marks(links[0], false, &m, &n), 0);
    assert_non_null(listed(m, n, &id));
    free(m);
    assert_false(scan_is_nowhere(links[0], &id));
    fs_rename(&p.a, "u/.Short", ".mailfs/trash/short");
    assert_int_equal(scan_marks(links[0], false, &m, &n), 0);
    assert_non_null(listed(m, n, &inbox));
    assert_null(listed(m, n, &id));
    free(m);
    assert_true(scan_is_nowhere(links[0], &id));
    assert_false(scan_is_nowhere(links[0], &inbox));
}

static Mfp__Tree *tell_of(const char *name, struct mailfs_id *id) {
    Mfp__Tree *t, *wire;
    uint8_t digest[STATE_DIGEST];

    fs_mkdir(&p.b, name);
    *id = fs_id(&p.b, name);
    contact_mark(&p.b, &inbox);
    contact_mark(&p.b, id);
    assert_int_equal(tree_scan(p.b.st, false, &t, digest, NULL), 0);
    wire = tree_over_wire(t);
    mfp__tree__free_unpacked(t, NULL);
    return wire;
}

/* Both of the pair have told of it, and both links have listed the tree before either made it. */
static void test_made_by_another_link(void **state) {
    uint8_t d[2][STATE_DIGEST];
    Mfp__Tree *mine[2], *theirs;
    struct store_dir dir;
    struct mailfs_id id;
    size_t i;

    theirs = tell_of("u/.Both", &id);
    for (i = 0; i < 2; i++)
        mine[i] = scan(links[i]);
    for (i = 0; i < 2; i++) {
        assert_int_equal(tree_merge_run(links[i], mine[i], theirs, true, d[i], NULL), 0);
        assert_int_equal(store_dir_open(links[i], &id, &dir), 0);
        store_dir_close(&dir);
    }
    assert_memory_equal(d[0], d[1], STATE_DIGEST);
    for (i = 0; i < 2; i++)
        mfp__tree__free_unpacked(mine[i], NULL);
    mfp__tree__free_unpacked(theirs, NULL);
}

/* What one lends, and the other end does not have, is not to be merged there; its mark stays. */
static void test_left_is_told(void **state) {
    const struct scan_mark *left;
    struct mailfs_id id;
    struct scan_mark *m;
    size_t n;

    id = made_and_found("u/.Lent");
    agree_on(links[1], &inbox);
    assert_int_equal(
        base_dir_put(links[1], &id,
                     &(struct base_dir){.parent = inbox, .name = ".Lent", .agreed = true}),
        0);
    assert_int_equal(scan_marks_for(links[0], false, &links[1], 1, &m, &n), 0);
    assert_false(listed(m, n, &inbox)->left);
    left = listed(m, n, &id);
    assert_non_null(left);
    assert_true(left->left);
    free(m);
}

/* ---- half a merge ------------------------------------------------------------------ */

/* What the end of the first link, p.b, has now is carried out on the standby, and the link ends
 * before that end hears of it. */
static void follow_half(void) {
    struct node a = p.a;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    a.st = links[0];
    assert_int_equal(scan_mailbox_for(links[0], &inbox, true, &links[1], 1, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    stores_stage(&p.b, &a, lb);
    assert_int_equal(merge_mailbox_run(links[0], &inbox, la, lb, digest, NULL), 0);
    merge_mailbox_half(links[0], &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
}

/* The next connection: the whole of a merge. */
static void follow(void) {
    struct node a = p.a;
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    a.st = links[0];
    assert_int_equal(scan_mailbox_for(links[0], &inbox, true, &links[1], 1, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    stores_stage(&p.b, &a, lb);
    stores_stage(&a, &p.b, la);
    assert_int_equal(merge_mailbox_run(links[0], &inbox, la, lb, da, NULL), 0);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, la, db, NULL), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    assert_int_equal(merge_mailbox_done(links[0], &inbox), 0);
    assert_int_equal(merge_mailbox_done(p.b.st, &inbox), 0);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
}

/* As the standby lists it to the end of the second link: -1 not at all, 1 borrowed. */
static int told_to_second(const char *base) {
    Mfp__Listing *l;
    int is = -1;

    assert_int_equal(scan_mailbox_for(links[1], &inbox, false, &links[0], 1, &l), 0);
    for (size_t i = 0; i < l->n_msgs; i++) {
        if (strcmp(l->msgs[i]->bname, base) == 0)
            is = l->msgs[i]->borrowed;
    }
    mfp__listing__free_unpacked(l, NULL);
    return is;
}

/* It is not its own, to bring to another. */
static void test_half_is_lent(void **state) {
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    follow_half();
    assert_true(fs_there(&p.a, "u/new/1.M1.b"));
    assert_int_equal(told_to_second("1.M1.b"), 1);
    follow();
    assert_int_equal(told_to_second("1.M1.b"), 1);
    assert_true(fs_there(&p.a, "u/new/1.M1.b") && fs_there(&p.b, "u/new/1.M1.b"));
}

/* Nor to bring back to where it is from. */
static void test_half_is_followed(void **state) {
    follow();
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    fs_write(&p.b, "u/cur/2.M1.b:2,S", "two\n");
    fs_write(&p.b, "u/cur/3.M1.b:2,S", "three\n");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000000 N4\n2 :2.M1.b\n3 :3.M1.b\n");
    fs_write(&p.b, "u/script", "keep;\n");
    follow_half();
    assert_true(fs_there(&p.a, "u/new/1.M1.b") && fs_there(&p.a, "u/script"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.b:2,S") && fs_there(&p.a, "u/cur/3.M1.b:2,S"));
    fs_unlink(&p.b, "u/new/1.M1.b");
    fs_unlink(&p.b, "u/cur/2.M1.b:2,S");
    fs_rename(&p.b, "u/cur/3.M1.b:2,S", "u/cur/3.M1.b:2,");
    fs_unlink(&p.b, "u/script");
    follow();
    assert_false(fs_there(&p.a, "u/new/1.M1.b") || fs_there(&p.b, "u/new/1.M1.b"));
    assert_false(fs_there(&p.a, "u/cur/2.M1.b:2,S") || fs_there(&p.b, "u/cur/2.M1.b:2,S"));
    assert_true(fs_there(&p.a, "u/cur/3.M1.b:2,") && fs_there(&p.b, "u/cur/3.M1.b:2,"));
    assert_false(fs_there(&p.a, "u/script") || fs_there(&p.b, "u/script"));
}

/* What it removed so is there again: nobody removed that. */
static void test_half_removal(void **state) {
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    follow();
    fs_rename(&p.b, "u/new/1.M1.b", "u/tmp/1.M1.b");
    follow_half();
    assert_false(fs_there(&p.a, "u/new/1.M1.b"));
    fs_rename(&p.b, "u/tmp/1.M1.b", "u/new/1.M1.b");
    follow();
    assert_true(fs_there(&p.a, "u/new/1.M1.b") && fs_there(&p.b, "u/new/1.M1.b"));
}

/* The power of the end it came from was cut, and it is not there any more: then it was not removed,
 * and this may be the only copy. */
static void test_half_and_power_cut(void **state) {
    follow();
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    contact_mark(&p.b, &inbox);
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    follow_half();
    fs_unlink(&p.b, "u/new/1.M1.b");
    node_reopen(&p.b);
    follow();
    assert_true(fs_there(&p.a, "u/new/1.M1.b") && fs_there(&p.b, "u/new/1.M1.b"));
}

/* Where the standby has something of its own for the other end, only one of them has the result. */
static void test_half_of_both(void **state) {
    struct base_msg msg;

    follow();
    fs_write(&p.b, "u/new/1.M1.b", "one\n");
    fs_write(&p.a, "u/new/2.M1.a", "two\n");
    follow_half();
    assert_true(fs_there(&p.a, "u/new/1.M1.b"));
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &inbox, "2.M1.a", &msg), -ENOENT);
    assert_int_equal(base_msg_get(links[0], BASE_AGREED, &inbox, "1.M1.b", &msg), -ENOENT);
    follow();
    assert_true(fs_there(&p.b, "u/new/2.M1.a") && fs_there(&p.a, "u/new/2.M1.a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_found_and_gone),     T(test_made_by_another_link), T(test_left_is_told),
        T(test_half_is_lent),       T(test_half_is_followed),     T(test_half_removal),
        T(test_half_and_power_cut), T(test_half_of_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
