/* A delivery to two mailboxes, the second of which is left to a merge: its copy is prepared on the
 * other node under a number of its own till then. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/copied.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "merge_pair.h"

static const struct replica_prep first = {99, 17};
static const struct stage_prep its = {99, 17};
static struct mailfs_id work;

/* b gets what is opened of it, as the link would bring it: or that with another one's body. */
static void hand_over(const struct copied *c, const char *appended) {
    const Mfl__Prepare *m = c->v[0].prepare->prepare;
    Mfp__Meta meta = MFP__META__INIT;
    struct mailfs_id dir;
    struct stage_file *f;
    char text[64] = "";

    assert_int_equal(m->dir.len, MAILFS_ID_BYTES);
    memcpy(dir.b, m->dir.data, MAILFS_ID_BYTES);
    meta.mode = m->meta->mode;
    meta.uid = m->meta->uid;
    meta.gid = m->meta->gid;
    meta.mtime_ns = m->meta->mtime_ns;
    meta.size = c->v[0].size;
    assert_int_equal(pread(c->v[0].fd, text, sizeof(text), 0), meta.size);
    strcat(text, appended);
    meta.size += strlen(appended);
    assert_int_equal(stage_begin_prep(p.b.st, &its, &dir, m->tmp_name, &meta, &f), 0);
    assert_int_equal(stage_write(f, 0, text, meta.size), 0);
    assert_int_equal(stage_commit(f, STAGE_DURABLE), 0);
}

/* The machine's. Without the peer U is answered at once. */
static void ask(struct copied *c) {
    struct replica_config config = {.node = "a", .peer = "b", .timeout_ms = 3000};
    struct replica *r = replica_new(&config, 1000);
    struct replica_action a;
    bool released = false;

    copied_prepare(c, r, 1000, 5);
    assert_int_equal(c->n, 0);
    while (replica_next(r, &a)) {
        released = released || (a.kind == RACT_RELEASE && a.req == 5);
        replica_action_done(&a);
    }
    assert_true(released);
    replica_free(r);
}

/* The message is told; its copy is not, as U's transaction is not sent, but goes to b by itself. */
static void deliver_with(unsigned n_copies, const char *appended) {
    struct acts message = {.n = 0}, copy = {.n = 0};
    struct copied *c = calloc(1, sizeof(*c));
    Mfp__Txn *txn;

    assert_non_null(c);
    c->first = first;
    work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &message, "u", MFL__SUB__NEW, "9.M9.a", 9);
    assert_false(stores_send(&p.a, &p.b, &inbox, &message, true));
    stores_checkpoint(&p);
    fs_link(&p.a, "u/new/9.M9.a", "u/.Work/new/9.M9.a");
    act_add_link(&p.a, &copy, "u/.Work", MFL__SUB__NEW, "9.M9.a", &inbox, MFL__SUB__NEW, "9.M9.a");
    if (n_copies)
        acts_prepared(&copy, 9);
    txn = node_collect(&p.a, &work, &copy, true);
    assert_non_null(txn);
    copied_open(c, p.a.st, &work, txn);
    assert_int_equal(c->n, n_copies);
    if (n_copies) {
        hand_over(c, appended);
        ask(c);
    }
    copied_free(c);
    mfp__txn__free_unpacked(txn, NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &work);
}

static void deliver(unsigned n_copies) {
    deliver_with(n_copies, "");
}

static bool copy_is(struct node *n) {
    char *text = fs_read(n, "u/.Work/new/9.M9.a");
    bool is = text && strcmp(text, "nine\n") == 0;

    free(text);
    return is;
}

/* Its origin dies: it is what the recipient was promised. */
static void test_lost(void **state) {
    deliver(1);
    assert_false(copy_is(&p.b));
    assert_int_equal(stage_publish(p.b.st, &its, 1, NULL), 0);
    assert_true(copy_is(&p.b));
}

/* Its number is no matter any more: no later merge lists what became of it since. */
static void assert_forgotten(void) {
    struct stage_pub pub;

    assert_int_equal(stage_published(p.b.st, its.incarnation, its.seq, &pub), -ENOENT);
}

/* The origin comes back: it is one message. */
static void test_lost_and_back(void **state) {
    test_lost(state);
    mark(&p.b, &work);
    contact();
    assert_true(copy_is(&p.a));
    assert_null(p.b.st->items);
    assert_forgotten();
}

/* Somebody has read it there, before. */
static void test_lost_read_and_back(void **state) {
    test_lost(state);
    fs_rename(&p.b, "u/.Work/new/9.M9.a", "u/.Work/cur/9.M9.a:2,S");
    mark(&p.b, &work);
    contact();
    assert_true(fs_there(&p.a, "u/.Work/cur/9.M9.a:2,S"));
    assert_false(copy_is(&p.a));
    assert_forgotten();
}

/* Or expunged it. */
static void test_lost_expunged_and_back(void **state) {
    test_lost(state);
    fs_unlink(&p.b, "u/.Work/new/9.M9.a");
    mark(&p.b, &work);
    contact();
    assert_false(copy_is(&p.a));
    assert_forgotten();
}

/* The merge uses it up. */
static void test_merged(void **state) {
    deliver(1);
    contact();
    assert_true(copy_is(&p.b));
    assert_false(stage_has_prep(p.b.st, &its));
    assert_null(p.b.st->items);
    assert_int_equal(stage_publish(p.b.st, &its, 1, NULL), 1);
}

/* What has come under its number is not what it is listed as: it is fetched. */
static void test_not_its_content(void **state) {
    deliver_with(1, "ten\n");
    contact();
    assert_true(copy_is(&p.b));
}

/* It was no delivery that somebody waits for: the peer has what it is a copy of. */
static void test_not_prepared(void **state) {
    deliver(0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_lost),
        T(test_lost_and_back),
        T(test_lost_read_and_back),
        T(test_lost_expunged_and_back),
        T(test_merged),
        T(test_not_its_content),
        T(test_not_prepared),
    };
    return cmocka_run_group_tests_name("syncd_copied_unmerged", tests, NULL, NULL);
}
