/* The way of a transaction: collect -> wire -> journal -> store, on two real stores. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "syncd/base.h"
#include "syncd/journal.h"
#include "syncd/pending.h"
#include "syncd/stage.h"
#include "syncd_pair.h"

static struct pair p;
static struct mailfs_id inbox; /* container "u" */

static int setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    return 0;
}

static int teardown(void **state) {
    stores_close(&p);
    return 0;
}

static bool send_a(struct acts *a, bool locked) {
    return stores_send(&p.a, &p.b, &inbox, a, locked);
}

/* A delivery as Postfix does it: prepared, linked into new/, no lock. */
static void deliver(const char *base, const char *text, uint64_t prep) {
    stores_deliver(&p, &inbox, base, text, prep);
}

/* Dovecot sees it: under L it goes to cur/ and gets a UID. */
static bool pick_up(const char *base, unsigned uid) {
    struct acts a = {.n = 0};
    char from[300], to[320], name[300], line[300];

    snprintf(from, sizeof(from), "u/new/%s", base);
    snprintf(name, sizeof(name), "%s:2,", base);
    snprintf(to, sizeof(to), "u/cur/%s", name);
    if (!fs_there(&p.a, "u/dovecot-uidlist"))
        fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1 G0123456789abcdef0123456789abcdef\n");
    fs_rename(&p.a, from, to);
    act_move(&a, MFL__SUB__NEW, base, MFL__SUB__CUR, name);
    snprintf(line, sizeof(line), "%u :%s\n", uid, base);
    fs_append(&p.a, "u/dovecot-uidlist", line);
    return send_a(&a, true);
}

static void flag(const char *old_name, const char *name) {
    struct acts a = {.n = 0};
    char from[300], to[300];

    snprintf(from, sizeof(from), "u/cur/%s", old_name);
    snprintf(to, sizeof(to), "u/cur/%s", name);
    fs_rename(&p.a, from, to);
    act_move(&a, MFL__SUB__CUR, old_name, MFL__SUB__CUR, name);
    assert_false(send_a(&a, true));
}

static void digests_equal(const struct mailfs_id *dir) {
    static const uint8_t zero[STATE_DIGEST];
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];

    assert_int_equal(base_digest(p.a.st, dir, da), 0);
    assert_int_equal(base_digest(p.b.st, dir, db), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    assert_true(memcmp(da, zero, STATE_DIGEST) != 0);
}

static void test_delivery_and_flags(void **state) {
    deliver("1.M1.a,S=6", "hello\n", 1);
    assert_true(fs_there(&p.b, "u/new/1.M1.a,S=6"));
    pick_up("1.M1.a,S=6", 1);
    flag("1.M1.a,S=6:2,", "1.M1.a,S=6:2,FS");
    deliver("2.M2.a", "second\n", 0); /* not prepared: it is fetched */
    pick_up("2.M2.a", 2);
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

static void test_expunge(void **state) {
    struct acts a = {.n = 0};

    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    fs_unlink(&p.a, "u/cur/1.M1.a:2,");
    act_remove(&a, MFL__SUB__CUR, "1.M1.a:2,");
    assert_false(send_a(&a, true));
    assert_false(fs_there(&p.b, "u/cur/1.M1.a:2,"));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

/* A message that is there again after a power cut is moved in once more, by a link of its file. */
static void moved_in_again(bool locked) {
    struct acts a = {.n = 0};

    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,S");
    fs_link(&p.a, "u/cur/1.M1.a:2,S", "u/tmp/1.M1.a");
    fs_rename(&p.a, "u/tmp/1.M1.a", "u/new/1.M1.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    fs_append(&p.a, "u/dovecot-uidlist", "2 :1.M1.a\n");
    assert_false(send_a(&a, locked));
}

static void test_moved_in_again(void **state) {
    moved_in_again(true);
    assert_false(fs_there(&p.a, "u/cur/1.M1.a:2,S"));
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

/* Somebody who picks up a message by link and unlink: the name is his to remove. */
static void test_linked_without_lock(void **state) {
    moved_in_again(false);
    assert_true(fs_there(&p.a, "u/cur/1.M1.a:2,S"));
    assert_true(fs_there(&p.a, "u/new/1.M1.a"));
}

static void test_uidlist_tail_and_rewrite(void **state) {
    struct acts a = {.n = 0};
    struct stat before, after;
    char path[512], *text;
    Mfp__Txn *txn;
    int i;

    for (i = 1; i <= 5; i++) {
        char base[32];
        snprintf(base, sizeof(base), "%d.M.a", i);
        deliver(base, "x\n", (uint64_t)i);
        snprintf(path, sizeof(path), "%s/u/dovecot-uidlist", p.b.store);
        if (i == 5)
            stat(path, &before);
        pick_up(base, (unsigned)i);
    }
    stat(path, &after);
    assert_int_equal(before.st_ino, after.st_ino); /* appended in place */
    stores_assert_equal(&p);
    /* Dovecot rewrites it, nothing new: no record is sent again. */
    text = fs_read(&p.a, "u/dovecot-uidlist");
    fs_write(&p.a, "u/dovecot-uidlist.tmp", "3 V1700000000 N6 G0123456789abcdef0123456789abcdef\n");
    fs_append(&p.a, "u/dovecot-uidlist.tmp", strchr(text, '\n') + 1);
    free(text);
    fs_rename(&p.a, "u/dovecot-uidlist.tmp", "u/dovecot-uidlist");
    txn = node_collect(&p.a, &inbox, &a, true);
    assert_null(txn);
    /* A higher N alone is news. */
    text = fs_read(&p.a, "u/dovecot-uidlist");
    fs_write(&p.a, "u/dovecot-uidlist.tmp",
             "3 V1700000000 N70000 G0123456789abcdef0123456789abcdef\n");
    fs_append(&p.a, "u/dovecot-uidlist.tmp", strchr(text, '\n') + 1);
    free(text);
    fs_rename(&p.a, "u/dovecot-uidlist.tmp", "u/dovecot-uidlist");
    assert_false(send_a(&a, true));
    text = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(text, " N70000"));
    free(text);
    stat(path, &before);
    assert_true(before.st_ino != after.st_ino);
    digests_equal(&inbox);
}

static void test_control_files(void **state) {
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/dovecot-keywords", "0 Junk\n1 Work\n");
    fs_write(&p.a, "u/subscriptions", "V\t2\n\nSent\nDrafts\n");
    act_file(&a, "dovecot-keywords");
    act_file(&a, "subscriptions");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    fs_write(&p.a, "u/subscriptions", "V\t2\n\nDrafts\nWork\tLong\n");
    act_file(&a, "subscriptions");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    digests_equal(&inbox);
}

static void test_other_files(void **state) {
    struct acts a = {.n = 0};
    char *big = malloc(200001);

    memset(big, 'x', 200000);
    big[200000] = '\0';
    fs_write(&p.a, "u/filter.sieve", "keep;\n");
    fs_symlink(&p.a, "filter.sieve", "u/.dovecot.sieve");
    fs_write(&p.a, "u/big", big); /* too large to go along: fetched */
    act_file(&a, "filter.sieve");
    act_file(&a, ".dovecot.sieve");
    act_file(&a, "big");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    fs_unlink(&p.a, "u/.dovecot.sieve");
    act_file(&a, ".dovecot.sieve");
    assert_false(send_a(&a, false));
    stores_assert_equal(&p);
    digests_equal(&inbox);
    free(big);
}

static void test_copy_is_a_link(void **state) {
    struct mailfs_id sent = stores_mailbox(&p.a, &p.b, "u", ".Sent");
    struct acts a = {.n = 0};
    char x[512], y[512];
    struct stat s1, s2;

    deliver("1.M1.a", "one\n", 1);
    fs_link(&p.a, "u/new/1.M1.a", "u/.Sent/cur/1.M1.a:2,S");
    act_add_link(&p.a, &a, "u/.Sent", MFL__SUB__CUR, "1.M1.a:2,S", &inbox, MFL__SUB__NEW, "1.M1.a");
    assert_false(stores_send(&p.a, &p.b, &sent, &a, true));
    stores_assert_equal(&p);
    snprintf(x, sizeof(x), "%s/u/new/1.M1.a", p.b.store);
    snprintf(y, sizeof(y), "%s/u/.Sent/cur/1.M1.a:2,S", p.b.store);
    assert_int_equal(stat(x, &s1), 0);
    assert_int_equal(stat(y, &s2), 0);
    assert_int_equal(s1.st_ino, s2.st_ino);
    digests_equal(&sent);
}

/* The receiver dies after it acknowledged: what it acknowledged is applied at its start. */
static void test_crash_before_apply(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    fs_write(&p.a, "u/tmp/1.M1.a", "one\n");
    stores_prepare(&p.a, &p.b, "u", "1.M1.a", "u/tmp/1.M1.a", 1);
    fs_rename(&p.a, "u/tmp/1.M1.a", "u/new/1.M1.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 1);
    txn = node_collect(&p.a, &inbox, &a, false);
    node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    node_reopen(&p.b);
    assert_int_equal(p.b.start.journal, 1);
    assert_false(fs_there(&p.b, "u/new/1.M1.a"));
    node_replay(&p.b);
    stores_assert_equal(&p);
    digests_equal(&inbox);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

/* It dies after it applied: applying all again changes nothing. */
static void test_crash_after_apply(void **state) {
    struct stage_prep *left;
    struct acts a = {.n = 0};
    size_t n;

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,S");
    flag("1.M1.a:2,S", "1.M1.a:2,");
    flag("1.M1.a:2,", "1.M1.a:2,F");
    deliver("2.M1.a", "two\n", 2);
    fs_unlink(&p.a, "u/new/2.M1.a");
    act_remove(&a, MFL__SUB__NEW, "2.M1.a");
    assert_false(send_a(&a, false));
    node_reopen(&p.b);
    assert_true(p.b.start.journal >= 6);
    node_replay(&p.b);
    stores_assert_equal(&p);
    digests_equal(&inbox);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_int_equal(journal_waiting(p.b.st), 0);
    node_reopen(&p.b);
    assert_int_equal(p.b.start.journal, 0);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
    digests_equal(&inbox);
}

/* The power of b is cut: lost is that a flag had been cleared there, which a knew when it set a
 * keyword. It is not set once more. */
static void test_cleared_and_cut(void **state) {
    struct acts b = {.n = 0};

    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    flag("1.M1.a:2,", "1.M1.a:2,F");
    fs_rename(&p.b, "u/cur/1.M1.a:2,F", "u/cur/1.M1.a:2,");
    act_move(&b, MFL__SUB__CUR, "1.M1.a:2,F", MFL__SUB__CUR, "1.M1.a:2,");
    assert_false(stores_send(&p.b, &p.a, &inbox, &b, true));
    flag("1.M1.a:2,", "1.M1.a:2,a");
    fs_rename(&p.b, "u/cur/1.M1.a:2,a", "u/cur/1.M1.a:2,F");
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_true(fs_there(&p.b, "u/cur/1.M1.a:2,a"));
    stores_assert_equal(&p);
}

/* The sender loses its base since the last checkpoint: the digests tell. */
static void test_crash_of_the_origin(void **state) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];

    assert_int_equal(state_checkpoint(p.a.st, 0, NULL, 0), 0);
    deliver("1.M1.a", "one\n", 1);
    node_reopen(&p.a);
    assert_int_equal(base_digest(p.a.st, &inbox, da), 0);
    assert_int_equal(base_digest(p.b.st, &inbox, db), 0);
    assert_true(memcmp(da, db, STATE_DIGEST) != 0);
}

/* Prepared, and then the origin is gone: the message is published, once, and when the origin tells
 * its name after all it is renamed. */
static void test_publish(void **state) {
    struct stage_prep prep = {77, 9}, *left;
    struct invals iv = {0};
    struct acts a = {.n = 0};
    size_t n;

    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_reopen(&p.b);
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(left[0].seq, 9);
    free(left);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, &iv), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    assert_int_equal(iv.n, 1);
    assert_true(iv.v[0].poke_new);
    invals_free(&iv);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 1);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    assert_false(send_a(&a, false));
    assert_false(fs_there(&p.b, "u/new/9.tmp"));
    stores_assert_equal(&p);
}

/* What the peer prepared and dropped is not published. */
static void test_abort(void **state) {
    struct stage_prep prep = {77, 9};

    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_true(stage_has_prep(p.b.st, &prep));
    assert_int_equal(stage_drop(p.b.st, &prep), 0);
    assert_false(stage_has_prep(p.b.st, &prep));
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 1);
}

/* Flags set on both sides at once: both are there, and the mailbox is to be merged. */
static void test_crossing_flags(void **state) {
    struct acts a = {.n = 0};

    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    fs_rename(&p.b, "u/cur/1.M1.a:2,", "u/cur/1.M1.a:2,F");
    fs_rename(&p.a, "u/cur/1.M1.a:2,", "u/cur/1.M1.a:2,S");
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    assert_true(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/cur/1.M1.a:2,FS"));
}

static void test_maildirsize(void **state) {
    struct acts a = {.n = 0};
    char *text;

    fs_write(&p.b, "u/maildirsize", "1000000S\n100 1\n");
    deliver("1.M1.a,S=4", "one\n", 1);
    text = fs_read(&p.b, "u/maildirsize");
    assert_string_equal(text, "1000000S\n100 1\n4 1\n");
    free(text);
    fs_unlink(&p.a, "u/new/1.M1.a,S=4");
    act_remove(&a, MFL__SUB__NEW, "1.M1.a,S=4");
    send_a(&a, false);
    text = fs_read(&p.b, "u/maildirsize");
    assert_string_equal(text, "1000000S\n100 1\n4 1\n-4 -1\n");
    free(text);
}

static void test_pending(void **state) {
    struct pending_totals t;
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    fs_write(&p.a, "u/new/1.M1.a", "four");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    pending_totals(p.a.st, &t);
    assert_int_equal(t.messages, 1);
    assert_int_equal(t.bytes, 4);
    assert_true(t.oldest_wall_ns > 0);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    pending_totals(p.a.st, &t);
    assert_int_equal(t.messages, 0);
    assert_int_equal(t.oldest_wall_ns, 0);
    fs_write(&p.a, "u/new/2.M1.a", "five5");
    assert_int_equal(pending_rescan(p.a.st, &inbox), 0);
    pending_totals(p.a.st, &t);
    assert_int_equal(t.messages, 1);
    assert_int_equal(t.bytes, 5);
    mfp__txn__free_unpacked(txn, NULL);
}

/* Several transactions on their way: each one's "was" is what the one before made. */
static void test_in_flight(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *t1, *t2, *t3;

    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    t1 = node_collect(&p.a, &inbox, &a, false);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,S", MFL__SUB__CUR, "1.M1.a:2,");
    t2 = node_collect(&p.a, &inbox, &a, false);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,S");
    assert_int_equal(base_acked(p.a.st, t1), 0);
    t3 = node_collect(&p.a, &inbox, &a, false);
    assert_string_equal(t2->ops[0]->msg->old->info, "2,S");
    assert_string_equal(t2->ops[0]->msg->now->info, "2,");
    assert_string_equal(t3->ops[0]->msg->old->info, "2,");
    base_forget_sent(p.a.st);
    act_move(&a, MFL__SUB__CUR, "1.M1.a:2,", MFL__SUB__CUR, "1.M1.a:2,F");
    mfp__txn__free_unpacked(t3, NULL);
    t3 = node_collect(&p.a, &inbox, &a, false);
    assert_string_equal(t3->ops[0]->msg->old->info, "2,S");
    mfp__txn__free_unpacked(t1, NULL);
    mfp__txn__free_unpacked(t2, NULL);
    mfp__txn__free_unpacked(t3, NULL);
}

static void test_marks_and_checkpoint(void **state) {
    struct state_mark *m;
    size_t n;

    assert_int_equal(state_mark(p.a.st, &inbox, 3), 0);
    assert_int_equal(state_checkpoint(p.a.st, 3, &inbox, 1), 0);
    assert_int_equal(state_marks(p.a.st, UINT64_MAX, &m, &n), 0);
    assert_int_equal(n, 1); /* of this generation: stays */
    free(m);
    assert_int_equal(state_checkpoint(p.a.st, 4, &inbox, 1), 0);
    assert_int_equal(state_marks(p.a.st, UINT64_MAX, &m, &n), 0);
    assert_int_equal(n, 0);
    free(m);
    assert_int_equal(state_dirty_bytes(p.a.st), 0);
}

/* Another store under the same state: the base is forgotten. */
static void test_lost_state(void **state) {
    char path[512];

    assert_int_equal(state_checkpoint(p.a.st, 0, NULL, 0), 0);
    snprintf(path, sizeof(path), "%s/.mailfs/id", p.a.store);
    assert_int_equal(unlink(path), 0);
    node_reopen(&p.a);
    assert_true(p.a.start.lost);
    assert_false(p.a.start.had_contact);
}

static bool base_has(struct node *n, const char *base) {
    struct base_msg m;
    return base_msg_get(n->st, BASE_AGREED, &inbox, base, &m) == 0;
}

/* What was marked when syncd started may lack what it had sent, until it has been merged. */
static void test_base_that_lacks(void **state) {
    uint64_t v;

    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_true(v != 0 && !(v & BASE_AGE_LACKS));
    assert_int_equal(state_mark(p.a.st, &inbox, 1), 0);
    node_reopen(&p.a);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_true(v & BASE_AGE_LACKS);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_TREE, &mailfs_id_root, &v), 0);
    assert_true(v & BASE_AGE_LACKS);
    base_lacking_merged(p.a.st, &inbox);
    assert_int_equal(base_version_list(p.a.st, BASE_OF_MAILBOX, &inbox, &v), 0);
    assert_false(v & BASE_AGE_LACKS);
}

/* A message that could not be added is not in the base, or a merge would take it for removed here
 * and remove the only copy. Its entry, and what it holds, stay. */
static void test_not_done_is_not_agreed(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    struct apply_result res;
    uint64_t va, vb, id;

    fs_write(&p.a, "u/new/1.M1.a", "one\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    fs_unlink(&p.a, "u/new/1.M1.a"); /* the peer's Fetch finds nothing */
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(apply_txn(p.b.st, got, id, false, &res), 0);
    assert_true(res.suspect);
    apply_result_free(&res);
    assert_true(base_has(&p.a, "1.M1.a"));
    assert_false(base_has(&p.b, "1.M1.a"));
    assert_int_equal(base_version_get(p.a.st, BASE_OF_MAILBOX, &inbox, &va), 0);
    assert_int_equal(base_version_get(p.b.st, BASE_OF_MAILBOX, &inbox, &vb), 0);
    assert_true(va > vb);
    assert_int_equal(journal_waiting(p.b.st), 1);
    /* moved back in: it is asked for again */
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    act_remove(&a, MFL__SUB__NEW, "1.M1.a");
    send_a(&a, false);
    fs_write(&p.a, "u/new/1.M1.a", "one again\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 0);
    assert_false(send_a(&a, false));
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    assert_true(base_has(&p.b, "1.M1.a"));
}

/* An act outside L never binds a UID, whatever it says. */
static void test_unlocked_binds_nothing(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    deliver("1.M1.a", "one\n", 1);
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000000 N1\n7 :1.M1.a\n");
    act_file(&a, "dovecot-uidlist");
    txn = node_collect(&p.a, &inbox, &a, false);
    assert_null(txn);
}

/* Half a line at the end of a uidlist, from a crash: nothing is written behind it. */
static void test_torn_uidlist(void **state) {
    char *text;

    deliver("1.M1.a", "one\n", 1);
    pick_up("1.M1.a", 1);
    deliver("2.M1.a", "two\n", 2);
    fs_append(&p.b, "u/dovecot-uidlist", "2 :2.M");
    pick_up("2.M1.a", 2);
    text = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(text, "\n1 :1.M1.a\n2 :2.M1.a\n"));
    free(text);
    stores_assert_equal(&p);
}

/* Whatever the peer says, no file becomes setuid, and none is written past its class. */
static void test_hostile_file(void **state) {
    char path[512];
    struct stat sb;
    struct acts a = {.n = 0};
    Mfp__Txn *txn, *got;
    struct apply_result res;
    uint64_t id;

    fs_write(&p.a, "u/run", "#!/bin/sh\n");
    snprintf(path, sizeof(path), "%s/u/run", p.a.store);
    assert_int_equal(chmod(path, 06755), 0);
    act_file(&a, "run");
    assert_false(send_a(&a, false));
    snprintf(path, sizeof(path), "%s/u/run", p.b.store);
    assert_int_equal(stat(path, &sb), 0);
    assert_int_equal(sb.st_mode & 07777, 0755);
    fs_write(&p.a, "u/x", "3 V1 N1\n");
    act_file(&a, "x");
    txn = node_collect(&p.a, &inbox, &a, false);
    free(txn->ops[0]->file->name);
    txn->ops[0]->file->name = strdup("dovecot-uidlist");
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(apply_txn(p.b.st, got, id, false, &res), -EPERM);
    apply_result_free(&res);
    assert_false(fs_there(&p.b, "u/dovecot-uidlist"));
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_delivery_and_flags),
        T(test_expunge),
        T(test_moved_in_again),
        T(test_linked_without_lock),
        T(test_uidlist_tail_and_rewrite),
        T(test_control_files),
        T(test_other_files),
        T(test_copy_is_a_link),
        T(test_base_that_lacks),
        T(test_crash_before_apply),
        T(test_crash_after_apply),
        T(test_cleared_and_cut),
        T(test_crash_of_the_origin),
        T(test_publish),
        T(test_abort),
        T(test_crossing_flags),
        T(test_maildirsize),
        T(test_pending),
        T(test_in_flight),
        T(test_marks_and_checkpoint),
        T(test_lost_state),
        T(test_not_done_is_not_agreed),
        T(test_unlocked_binds_nothing),
        T(test_torn_uidlist),
        T(test_hostile_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
