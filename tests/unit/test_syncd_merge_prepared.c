/* Merges of a mailbox in which a prepared content was published, copied or named. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/merge_run.h"
#include "syncd/pending.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "merge_pair.h"
#include "publish_pair.h"

/* b published what a had prepared and then gave a name of its own. */
static void published(struct acts *a) {
    struct stage_prep prep = {77, 9};

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, a, false), NULL);
    base_forget_sent(p.a.st); /* the connection broke */
    mark(&p.a, &inbox);
}

/* Which name it got is in memory only, until a checkpoint: the driver asks for one where the link
 * ends then. */
static void test_named_and_unwritten(void **state) {
    struct acts a = {.n = 0};

    assert_false(base_prep_unwritten(p.a.st));
    published(&a);
    assert_true(base_prep_unwritten(p.a.st));
    assert_false(base_prep_unwritten(p.b.st));
    stores_checkpoint(&p);
    assert_false(base_prep_unwritten(p.a.st));
}

/* What the base says in memory of which prepared contents messages have, or have not any more. */
static unsigned noted_preps(const struct state *st) {
    const struct kv_cont *c;
    const struct kv_entry *e;
    unsigned n = 0;

    for (c = st->agreed.conts; c; c = c->hh.next) {
        for (e = c->entries; e; e = e->hh.next)
            n += e->key[0] == T_PREPOF;
    }
    return n;
}

/* A merge forgets what there is of that, and says nothing of the other messages. */
static void test_forgotten_where_noted(void **state) {
    struct acts a = {.n = 0};
    struct base_prep prep;

    published(&a);
    assert_int_equal(noted_preps(p.a.st), 1);
    assert_int_equal(base_prep_get(p.a.st, &inbox, "9.M9.a", &prep), 0);
    merge(&inbox);
    assert_int_equal(base_prep_get(p.a.st, &inbox, "9.M9.a", &prep), -ENOENT);
    assert_int_equal(noted_preps(p.a.st), 1);
    assert_int_equal(noted_preps(p.b.st), 0);
}

/* It is one message. */
static void test_published(void **state) {
    struct pending_totals left;
    struct acts a = {.n = 0};

    published(&a);
    assert_int_equal(pending_rescan(p.b.st, &inbox), 0);
    contact();
    pending_totals(p.b.st, &left);
    assert_int_equal(left.messages, 0);
    assert_false(fs_there(&p.a, "u/new/9.tmp"));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* Also when clients of b have got its UID under the name it was published with. */
static void test_published_numbered(void **state) {
    struct acts a = {.n = 0};

    published(&a);
    fs_rename(&p.b, "u/new/9.tmp", "u/cur/9.tmp:2,F");
    fs_append(&p.b, "u/dovecot-uidlist", "65536 W12 :9.tmp\n");
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/cur/9.M9.a:2,F"));
    assert_true(fs_there(&p.b, "u/cur/9.M9.a:2,F"));
    assert_int_equal(uid_of(&p.a, "u", "9.M9.a"), 65536);
    assert_int_equal(uid_of(&p.b, "u", "9.M9.a"), 65536);
    assert_int_equal(uid_of(&p.b, "u", "9.tmp"), 0);
}

static void published_at_both(void) {
    struct stage_prep prep = {77, 9};

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/9.tmp"));
}

/* A copy has the number of what it is a copy of, and is a message all the same. */
static void test_published_and_copied(void **state) {
    struct acts a = {.n = 0};

    published_at_both();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/10.M10.a");
    act_add_link(&p.a, &a, "u", MFL__SUB__NEW, "10.M10.a", &inbox, MFL__SUB__NEW, "9.tmp");
    acts_prepared(&a, 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st); /* it is alone */
    mark(&p.a, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/10.M10.a"));
    assert_true(fs_there(&p.b, "u/new/10.M10.a"));
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

/*
 * b's message was merged, and so known to both by the name that b gave it, when a process of a's
 * that had been stopped names it after all, while the mailbox is not merged: it is one message, by
 * the name that clients have seen.
 */
static void test_published_and_merged(void **state) {
    struct stage_pub pub;
    struct acts a = {.n = 0};

    published_at_both();
    fs_rename(&p.a, "u/new/9.tmp", "u/cur/9.tmp:2,S");
    fs_append(&p.a, "u/dovecot-uidlist", "4 W12 :9.tmp\n");
    mark(&p.a, &inbox);
    contact();
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st); /* it is alone */
    fs_rename(&p.a, "u/new/9.M9.a", "u/cur/9.M9.a:2,F");
    mark(&p.a, &inbox);
    merge_at(&p.b, &p.a); /* a cannot: b is to know it the next time, too */
    add_new(&p.a, "u", "8.M8.a", "eight\n");
    contact();
    assert_true(fs_there(&p.a, "u/cur/9.tmp:2,FS"));
    assert_true(fs_there(&p.b, "u/cur/9.tmp:2,FS"));
    assert_false(fs_there(&p.a, "u/cur/9.M9.a:2,F"));
    assert_false(fs_there(&p.b, "u/cur/9.M9.a:2,F"));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
    assert_true(fs_there(&p.b, "u/new/8.M8.a"));
    assert_int_equal(uid_of(&p.b, "u", "9.tmp"), 4);
    contact();
}

/* The same where a alone has carried out the merge by which it came, and it is in no base. */
static void test_published_and_half_merged(void **state) {
    struct stage_prep prep = {77, 9};
    struct acts a = {.n = 0};

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    mark(&p.b, &inbox);
    merge_at(&p.a, &p.b);
    assert_true(fs_there(&p.a, "u/new/9.tmp"));
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &inbox);
    contact();
    assert_int_equal(fs_there(&p.a, "u/new/9.M9.a") + fs_there(&p.a, "u/new/9.tmp"), 1);
    assert_int_equal(fs_there(&p.b, "u/new/9.M9.a") + fs_there(&p.b, "u/new/9.tmp"), 1);
}

/* a gives it its name, which b is not told. */
static void name_prepared_untold(void) {
    struct acts a = {.n = 0};

    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    base_forget_sent(p.a.st);
}

/* And prepared it before. */
static void name_untold(void) {
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    name_prepared_untold();
}

/* b has what a prepared, and merges the name that a gave it: once a knows that this is done, nobody
 * tells b's next syncd that it is not to be published. */
static void test_prepared_and_merged(void **state) {
    common();
    name_untold();
    mark(&p.a, &inbox);
    merge(&inbox);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
}

static ssize_t no_room(int fd, const void *bytes, size_t n, off_t off) {
    return -ENOSPC;
}

/* b's disk is full when the merge has given it its name there. */
static void half_merge(void) {
    struct io_ops ops = io_ops_real;
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    fs_append(&p.a, "u/dovecot-uidlist", "4 W12 :9.M9.a\n");
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    ops.pwrite = no_room;
    io_ops_set(&ops);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, la, digest, NULL), -ENOSPC);
    io_ops_set(&io_ops_real);
    merge_mailbox_forget(p.b.st, &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
}

/* It is not published beside that, where the link is gone before the next merge. */
static void half_merged(void) {
    struct stage_pub pub;

    half_merge();
    assert_int_equal(stage_publish(p.b.st, &(struct stage_prep){77, 9}, 1, NULL), 0);
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    assert_false(stage_has_prep(p.b.st, &(struct stage_prep){77, 9}));
    assert_int_equal(stage_published(p.b.st, 77, 9, &pub), -ENOENT);
    contact();
    assert_false(fs_there(&p.a, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_int_equal(uid_of(&p.b, "u", "9.M9.a"), 4);
}

static void test_prepared_and_half_merged(void **state) {
    common();
    name_untold();
    half_merged();
}

/* Also where there had been no room to publish it before. */
static void test_about_to_be_published_and_half_merged(void **state) {
    publish_no_room();
    name_prepared_untold();
    half_merged();
}

/* And by the next syncd. */
static void test_about_to_be_published_half_merged_and_killed(void **state) {
    publish_no_room();
    name_prepared_untold();
    half_merge();
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
}

/* A copy of it in another mailbox is merged first. */
static void merge_copy_of_prepared(void) {
    struct acts a = {.n = 0}, copy = {.n = 0};
    struct mailfs_id work;
    Mfl__Prepared *id;

    common();
    work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &inbox, &a, false), NULL);
    fs_link(&p.a, "u/new/9.M9.a", "u/.Work/new/9.M9.a");
    act_add_link(&p.a, &copy, "u/.Work", MFL__SUB__NEW, "9.M9.a", &inbox, MFL__SUB__NEW, "9.M9.a");
    id = malloc(sizeof(*id));
    assert_non_null(id);
    mfl__prepared__init(id);
    id->incarnation = 77;
    id->seq = 9;
    copy.v[0]->add->source->prepared = id;
    mfp__txn__free_unpacked(node_collect(&p.a, &work, &copy, false), NULL);
    base_forget_sent(p.a.st);
    mark(&p.a, &work);
    merge(&work);
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.a"));
}

/* And a dies for good: b publishes it where it was prepared, as if there were no copy. */
static void test_prepared_and_copied(void **state) {
    merge_copy_of_prepared();
    assert_int_equal(stage_publish(p.b.st, &(struct stage_prep){77, 9}, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

/* The same when b's syncd is killed before. */
static void test_prepared_copied_and_killed(void **state) {
    merge_copy_of_prepared();
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_killed(&p.b);
    assert_true(publish_is_left(&p.b));
    assert_int_equal(stage_publish(p.b.st, &(struct stage_prep){77, 9}, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.a"));
}

/* b's syncd is killed when the merge has given it its name, and it may have been read, or expunged,
 * before the next one starts. */
static void named_and_killed(const char *to) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], from[STAGE_NAME_MAX + 32];

    common();
    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    node_killed(&p.b);
    assert_true(publish_is_left(&p.b));
    stage_prep_key(77, 9, key);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    snprintf(from, sizeof(from), ".mailfs/stage/%s", file);
    fs_link(&p.b, from, "u/new/9.M9.a");
    if (to)
        fs_rename(&p.b, "u/new/9.M9.a", to);
    node_killed(&p.b);
    assert_false(publish_is_left(&p.b));
}

static void test_prepared_and_named(void **state) {
    named_and_killed(NULL);
}

static void test_prepared_named_and_seen(void **state) {
    named_and_killed("u/cur/9.M9.a:2,S");
}

static void test_prepared_named_and_expunged(void **state) {
    char hex[MAILFS_ID_HEX], dir[MAILFS_ID_HEX + 32], to[MAILFS_ID_HEX + 64];

    snprintf(dir, sizeof(dir), ".mailfs/undo/%s", mailfs_id_format(&inbox, hex));
    snprintf(to, sizeof(to), "%s/9.M9.a", dir);
    if (!fs_there(&p.b, ".mailfs/undo"))
        fs_mkdir(&p.b, ".mailfs/undo");
    fs_mkdir(&p.b, dir);
    named_and_killed(to);
}

/*
 * a's mailfs tells its next syncd once more of a name that a delivery got. Meanwhile the message
 * was moved out of the mailbox on b, by agreement, and in again, alone: it is not what that note is
 * of.
 */
static void test_noted_and_in_again(void **state) {
    const struct base_prep prep = {77, 9};
    struct acts a = {.n = 0};
    struct apply_result res;
    Mfp__Txn *txn, *got;
    uint64_t id;

    common();
    fs_write(&p.a, "u/new/9.M9.a", "nine\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    fs_unlink(&p.b, "u/new/9.M9.a");
    act_remove(&a, MFL__SUB__NEW, "9.M9.a");
    assert_false(stores_send(&p.b, &p.a, &inbox, &a, false));
    assert_false(fs_there(&p.a, "u/new/9.M9.a"));
    fs_write(&p.b, "u/new/8.M8.b", "eight\n"); /* a has it, and b no answer: a's base is later */
    act_add(&p.b, &a, "u", MFL__SUB__NEW, "8.M8.b", 0);
    txn = node_collect(&p.b, &inbox, &a, false);
    id = node_receive(&p.b, &p.a, txn, &got);
    assert_int_equal(apply_txn(p.a.st, got, id, NULL, &res), 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    base_forget_sent(p.b.st);
    add_seen(&p.b, "u", "9.M9.a", "2,", 65536, "nine\n");
    assert_int_equal(collect_named(p.a.st, &inbox, "9.M9.a", &prep), 0);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/cur/9.M9.a:2,"));
    assert_true(fs_there(&p.b, "u/cur/9.M9.a:2,"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_named_and_unwritten),
        T(test_forgotten_where_noted),
        T(test_published),
        T(test_about_to_be_published_and_half_merged),
        T(test_about_to_be_published_half_merged_and_killed),
        T(test_published_numbered),
        T(test_published_and_copied),
        T(test_published_and_merged),
        T(test_published_and_half_merged),
        T(test_prepared_and_merged),
        T(test_prepared_and_half_merged),
        T(test_prepared_and_copied),
        T(test_prepared_copied_and_killed),
        T(test_prepared_and_named),
        T(test_prepared_named_and_seen),
        T(test_prepared_named_and_expunged),
        T(test_noted_and_in_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
