/* Contact after a time alone: scan, stage, merge, of mailboxes and of the tree, on two real stores.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "io/io.h"
#include "maildir/uidlist.h"
#include "replica/merge.h"
#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/half.h"
#include "syncd/merge_run.h"
#include "syncd/pending.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "merge_pair.h"
#include "tests/unit/io_fault.h"

/* ---- contact ----------------------------------------------------------------------- */

static int merge_once(const struct mailfs_id *dir, bool full) {
    return contact_merge_once(&p, dir, full);
}

/* What is merged here has the same trees after one merge of them. */
static void merge_trees(bool full) {
    assert_int_equal(contact_trees(&p, full), 0);
}

/* ---- a client alone on one node ---------------------------------------------------- */

/* ---- tests ------------------------------------------------------------------------- */

static void test_one_side(void **state) {
    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    add_seen(&p.a, "u", "4.M1.x", "2,", 4, "four\n");
    add_new(&p.a, "u", "5.M1.x", "five\n");
    mark(&p.a, &inbox);
    contact();
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,F"));
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
    assert_true(fs_there(&p.b, "u/new/5.M1.x"));
    assert_int_equal(uid_of(&p.b, "u", "4.M1.x"), 4);
}

/* What mailfs tells while the other node is away. */
static void told_alone(struct node *n, struct acts *a) {
    assert_int_equal(collect_alone(n->st, &inbox, a->v, a->n), 0);
    acts_free(a);
}

/* Moved to another mailbox and back, as IMAP and a shell do it: the name is the same again. */
static void out_and_in(struct node *n, const char *base) {
    struct acts a = {.n = 0};
    char rel[100];

    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_rename(n, rel, "elsewhere.lock");
    act_remove(&a, MFL__SUB__NEW, base);
    told_alone(n, &a);
    fs_rename(n, "elsewhere.lock", rel);
    act_add(n, &a, "u", MFL__SUB__NEW, base, 0);
    told_alone(n, &a);
}

/* Never numbered, so it looks as if it had never been away; and removed on the other node. */
static void test_out_and_in(void **state) {
    add_new(&p.a, "u", "1.M1.x", "one\n");
    add_new(&p.a, "u", "2.M1.x", "two\n");
    add_new(&p.a, "u", "3.M1.x", "three\n");
    mark(&p.a, &inbox);
    contact();
    out_and_in(&p.b, "1.M1.x");
    out_and_in(&p.b, "2.M1.x"); /* and then a client opens the mailbox */
    fs_rename(&p.b, "u/new/2.M1.x", "u/cur/2.M1.x:2,S");
    fs_append(&p.b, "u/dovecot-uidlist", "2 :2.M1.x\n");
    fs_unlink(&p.a, "u/new/1.M1.x");
    fs_unlink(&p.a, "u/new/2.M1.x");
    fs_unlink(&p.a, "u/new/3.M1.x"); /* this one never moved there, and goes */
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/1.M1.x"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    assert_false(fs_there(&p.b, "u/new/3.M1.x"));
}

/* Picked up by link and unlink: it was never away. */
static void test_linked_over(void **state) {
    struct acts a = {.n = 0};

    add_new(&p.a, "u", "1.M1.x", "one\n");
    mark(&p.a, &inbox);
    contact();
    fs_link(&p.b, "u/new/1.M1.x", "u/cur/1.M1.x:2,");
    act_add(&p.b, &a, "u", MFL__SUB__CUR, "1.M1.x:2,", 0);
    told_alone(&p.b, &a);
    fs_unlink(&p.b, "u/new/1.M1.x");
    act_remove(&a, MFL__SUB__NEW, "1.M1.x");
    told_alone(&p.b, &a);
    fs_unlink(&p.a, "u/new/1.M1.x");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.b, "u/cur/1.M1.x:2,"));
}

/* Told to the peer, who never answered: the base does not follow, but it was away. */
static void test_out_and_in_unanswered(void **state) {
    struct acts a = {.n = 0};
    Mfp__Txn *gone, *back;

    add_new(&p.a, "u", "1.M1.x", "one\n");
    mark(&p.a, &inbox);
    contact();
    act_remove(&a, MFL__SUB__NEW, "1.M1.x");
    gone = node_collect(&p.b, &inbox, &a, false);
    act_add(&p.b, &a, "u", MFL__SUB__NEW, "1.M1.x", 0);
    back = node_collect(&p.b, &inbox, &a, false);
    base_forget_sent(p.b.st);
    mfp__txn__free_unpacked(gone, NULL);
    mfp__txn__free_unpacked(back, NULL);
    fs_unlink(&p.a, "u/new/1.M1.x");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/new/1.M1.x"));
}

static void test_both_sides(void **state) {
    unsigned u4, u5;

    common();
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,S");
    fs_rename(&p.a, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,");
    fs_unlink(&p.b, "u/cur/3.M1.x:2,");
    add_seen(&p.a, "u", "4.M1.a", "2,", 4, "four of a\n");
    add_seen(&p.b, "u", "5.M1.b", "2,", 4, "five of b\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,FS"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,"));
    assert_false(fs_there(&p.a, "u/cur/3.M1.x:2,"));
    u4 = uid_of(&p.a, "u", "4.M1.a");
    u5 = uid_of(&p.a, "u", "5.M1.b");
    assert_true(u4 > 4 && u5 > 4 && u4 != u5); /* 4 was shown for both: it is retired */
    assert_int_equal(uid_of(&p.a, "u", "1.M1.x"), 1);
}

static void test_kept_back(void **state) {
    DIR *d;
    char path[512];
    struct dirent *de;
    unsigned kept = 0;

    common();
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    mark(&p.a, &inbox);
    merge(&inbox);
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
    snprintf(path, sizeof(path), "%s/.mailfs/kept", p.b.store);
    d = opendir(path);
    while ((de = readdir(d)))
        kept += strncmp(de->d_name, "r-", 2) == 0;
    assert_int_equal(kept, 1);
    assert_int_equal(merge_caught_up(p.b.st, merge_keep_turn(p.b.st)), 0);
    rewinddir(d);
    kept = 0;
    while ((de = readdir(d)))
        kept += strncmp(de->d_name, "r-", 2) == 0;
    closedir(d);
    assert_int_equal(kept, 0);
}

/* One side has applied the result, the other has not, and nobody confirmed: nothing is lost. */
static void test_half_a_merge(void **state) {
    uint8_t da[STATE_DIGEST];
    Mfp__Listing *la, *lb;

    common();
    add_seen(&p.b, "u", "4.M1.b", "2,", 4, "four\n");
    mark(&p.b, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    stores_stage(&p.b, &p.a, lb);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, lb, da, NULL), 0);
    assert_true(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    merge_mailbox_forget(p.a.st, &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    contact();
    assert_true(fs_there(&p.a, "u/cur/4.M1.b:2,"));
    assert_true(fs_there(&p.b, "u/cur/4.M1.b:2,"));
}

/* Nothing changed: the digests say so, and a merge changes nothing. */
static void test_nothing(void **state) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    char x[512];
    struct stat before, after;

    common();
    assert_int_equal(base_digest(p.a.st, &inbox, da), 0);
    assert_int_equal(base_digest(p.b.st, &inbox, db), 0);
    assert_memory_equal(da, db, STATE_DIGEST);
    snprintf(x, sizeof(x), "%s/u/dovecot-uidlist", p.b.store);
    stat(x, &before);
    merge(&inbox);
    stat(x, &after);
    assert_int_equal(before.st_ino, after.st_ino);
}

/* One node lost what it knew since its last checkpoint: everything is listed, nothing comes back.
 */
static void test_lost_base(void **state) {
    struct acts a = {.n = 0};

    common();
    fs_unlink(&p.a, "u/cur/2.M1.x:2,S");
    act_remove(&a, MFL__SUB__CUR, "2.M1.x:2,S");
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    mark(&p.a, &inbox);
    node_reopen(&p.a); /* its base says that 2 is there; b's does not */
    assert_int_equal(merge_once(&inbox, false), -ESTALE);
    contact();
    assert_false(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    assert_false(fs_there(&p.b, "u/cur/2.M1.x:2,S"));
}

/*
 * The same of a mailbox that is younger than the checkpoint: b, who made it, does not know that a
 * has it. What came from a is in the journal, and was removed by agreement; what b alone has is its
 * own.
 */
static void test_lost_base_of_a_young_one(void **state) {
    struct acts a = {.n = 0};
    struct mailfs_id work;

    common();
    work = stores_mailbox(&p.b, &p.a, "u", ".Work");
    fs_write(&p.a, "u/.Work/new/1.M1.a", "one\n");
    act_add(&p.a, &a, "u/.Work", MFL__SUB__NEW, "1.M1.a", 0);
    assert_false(stores_send(&p.a, &p.b, &work, &a, false));
    fs_unlink(&p.a, "u/.Work/new/1.M1.a");
    mark(&p.a, &work);
    merge(&work);
    assert_false(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    mark(&p.b, &work);
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    fs_write(&p.b, "u/.Work/new/2.M2.b", "two\n");
    contact();
    assert_false(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    assert_false(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Work/new/2.M2.b"));
}

/* What came to b that way is not b's own doing: cleared by somebody, on either node, it is clear.
 */
static void test_half_and_cleared(void **state) {
    for (int by_a = 0; by_a < 2; by_a++) {
        struct node *by = by_a ? &p.a : &p.b;

        if (!by_a)
            common();
        fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
        fs_rename(&p.a, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,a");
        fs_write(&p.a, "u/dovecot-keywords", "0 urgent\n");
        fs_rename(&p.b, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,FS");
        mark(&p.a, &inbox);
        mark(&p.b, &inbox);
        merge_at(&p.b, &p.a);
        assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,F"));
        assert_true(fs_there(&p.b, "u/cur/3.M1.x:2,a"));
        fs_rename(by, "u/cur/1.M1.x:2,F", "u/cur/1.M1.x:2,");
        fs_rename(by, "u/cur/3.M1.x:2,a", "u/cur/3.M1.x:2,");
        contact();
        assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,"));
        assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,"));
        assert_true(fs_there(&p.b, "u/cur/3.M1.x:2,"));
        assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,FS"));
        assert_true(fs_there(&p.b, "u/cur/2.M1.x:2,FS"));
        fs_rename(&p.b, "u/cur/2.M1.x:2,FS", "u/cur/2.M1.x:2,S"); /* and as it was, once more */
        mark(&p.b, &inbox);
        contact();
        assert_true(fs_there(&p.a, "u/cur/2.M1.x:2,S"));
    }
}

static void both_keywords(void) {
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,ab"));
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,ab"));
}

/*
 * Both nodes gave their first keyword, to one message; only one could merge that at first. The
 * other one may have been killed when it had the new table, and the message's letter not.
 */
static void test_half_and_keywords(void **state) {
    for (int i = 0; i < 8; i++) {
        struct node *here = i & 1 ? &p.a : &p.b, *other = i & 1 ? &p.b : &p.a;
        char *table;

        common();
        keyword(&p.a, i & 2 ? "Work" : "Home");
        keyword(&p.b, i & 2 ? "Home" : "Work");
        merge_at(here, other);
        table = fs_read(here, "u/dovecot-keywords");
        if (i & 4)
            fs_write(other, "u/dovecot-keywords", table);
        free(table);
        both_keywords();
        teardown(state);
        setup(state);
    }
}

/* b has carried out a merge, with a keyword of its own, when a names another one by that letter. So
 * b's letter has to change, and the merge fails when all names have the new one. */
static void letter_moves(unsigned fail_at) {
    common();
    fs_write(&p.b, "u/dovecot-keywords", "0 Work\n");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    merge_at(&p.b, &p.a);
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fa"));
    fs_write(&p.a, "u/dovecot-keywords", "0 Home\n");
    fs_rename(&p.a, "u/cur/2.M1.x:2,S", "u/cur/2.M1.x:2,Sa");
    fault_start(p.a.root, fail_at ? FAULT_FAIL : FAULT_NONE, fail_at, -EIO);
    assert_int_equal(try_at(&p.b, &p.a), fail_at ? -EIO : 0);
    fault_power_on();
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fb"));
}

/* What was kept of the first one, in letters, is not taken for something else by the third. */
static void test_half_and_letters(void **state) {
    unsigned steps;

    letter_moves(0);
    steps = fault_steps();
    teardown(state);
    setup(state);
    letter_moves(steps - 2); /* the last one is the sync of the store */
    fs_rename(&p.a, "u/cur/1.M1.x:2,F", "u/cur/1.M1.x:2,Fa");
    contact();
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,Fab"));
    assert_true(fs_there(&p.b, "u/cur/1.M1.x:2,Fab"));
}

/* Without a base: nothing is kept of what was the same on both before. */
static void test_half_of_the_same(void **state) {
    common();
    assert_int_equal(base_unmerge(p.a.st), 0);
    assert_int_equal(base_unmerge(p.b.st), 0);
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,F");
    merge_at(&p.b, &p.a);
    assert_non_null(half_find(p.b.st, &inbox, "1.M1.x"));
    assert_null(half_find(p.b.st, &inbox, "2.M1.x"));
    assert_null(half_find(p.b.st, &inbox, "3.M1.x"));
}

static unsigned next_in(struct node *n) {
    struct maildir_uidlist *list;
    char *text = fs_read(n, "u/dovecot-uidlist");
    unsigned next;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    next = maildir_uidlist_next(list);
    maildir_uidlist_free(list);
    free(text);
    return next;
}

/*
 * The power of a went while somebody numbered a message: Dovecot's index has the UID, the list has
 * not. The other node brings nothing, and the UID is not given again all the same. A merge that a
 * has carried out is enough for that, and made anew it retires no more.
 */
static void test_uid_in_an_index(void **state) {
    Mfp__Listing *la, *lb;
    uint8_t da[STATE_DIGEST];

    common();
    mark(&p.a, &inbox);
    node_reopen(&p.a);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    assert_true(la->cut && !lb->cut);
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, lb, da, NULL), 0);
    merge_mailbox_forget(p.a.st, &inbox); /* b could not */
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    assert_int_equal(next_in(&p.a), 4 + MERGE_LOST_UIDS);
    node_killed(&p.a);
    contact();
    assert_int_equal(next_in(&p.a), 4 + MERGE_LOST_UIDS);
    assert_int_equal(next_in(&p.b), 4 + MERGE_LOST_UIDS);
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    node_killed(&p.a); /* no power cut */
    node_reopen(&p.b);
    add_new(&p.a, "u", "5.M1.x", "five\n");
    contact();
    assert_int_equal(next_in(&p.b), 4 + 2 * MERGE_LOST_UIDS);
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
}

static void test_keywords(void **state) {
    char *text;

    common();
    fs_write(&p.a, "u/dovecot-keywords", "0 Work\n");
    fs_rename(&p.a, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_write(&p.b, "u/dovecot-keywords", "0 Home\n");
    fs_rename(&p.b, "u/cur/1.M1.x:2,", "u/cur/1.M1.x:2,a");
    fs_rename(&p.b, "u/cur/3.M1.x:2,", "u/cur/3.M1.x:2,a");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    text = fs_read(&p.a, "u/dovecot-keywords");
    assert_non_null(strstr(text, "Work"));
    assert_non_null(strstr(text, "Home"));
    assert_true(fs_there(&p.a, "u/cur/1.M1.x:2,ab"));
    /* 3 has Home alone, under whatever letter it has now */
    if (strncmp(text, "0 Home", 6) == 0)
        assert_true(fs_there(&p.a, "u/cur/3.M1.x:2,a"));
    else
        assert_true(fs_there(&p.a, "u/cur/3.M1.x:2,b"));
    free(text);
}

static void set_mtime(struct node *n, const char *rel, time_t t) {
    char path[512];
    struct timespec ts[2] = {{t, 0}, {t, 0}};

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
}

static void test_files(void **state) {
    char *text;

    common();
    fs_write(&p.a, "u/x.sieve", "older\n");
    set_mtime(&p.a, "u/x.sieve", 1000);
    fs_write(&p.b, "u/x.sieve", "newer\n");
    set_mtime(&p.b, "u/x.sieve", 2000);
    fs_write(&p.a, "u/only-a", "a\n");
    fs_symlink(&p.b, "x.sieve", "u/.dovecot.sieve");
    fs_write(&p.a, "u/subscriptions", "One\nTwo\n");
    fs_write(&p.b, "u/subscriptions", "Two\nThree\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    text = fs_read(&p.a, "u/x.sieve");
    assert_string_equal(text, "newer\n");
    free(text);
    fs_unlink(&p.b, "u/only-a");
    fs_write(&p.b, "u/subscriptions", "Two\n");
    mark(&p.b, &inbox);
    contact();
    assert_false(fs_there(&p.a, "u/only-a"));
    text = fs_read(&p.a, "u/subscriptions");
    assert_string_equal(text, "Two\n");
    free(text);
}

/* SUBSCRIBE takes no L: it may come while the mailbox is frozen, after the listing. */
static void test_subscribed_meanwhile(void **state) {
    uint8_t d[STATE_DIGEST];
    Mfp__Listing *la, *lb, *wa, *wb;
    char *text;

    common();
    fs_write(&p.a, "u/subscriptions", "One\n");
    fs_write(&p.b, "u/subscriptions", "Two\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &lb), 0);
    wa = listing_over_wire(la);
    wb = listing_over_wire(lb);
    fs_write(&p.a, "u/subscriptions", "One\nZoo\n");
    assert_int_equal(merge_mailbox_run(p.a.st, &inbox, la, wb, d, NULL), 0);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, wa, d, NULL), 0);
    assert_int_equal(merge_mailbox_done(p.a.st, &inbox), 0);
    assert_int_equal(merge_mailbox_done(p.b.st, &inbox), 0);
    text = fs_read(&p.a, "u/subscriptions");
    assert_non_null(strstr(text, "One\n"));
    assert_non_null(strstr(text, "Two\n"));
    assert_non_null(strstr(text, "Zoo\n"));
    free(text);
    assert_false(fs_there(&p.a, "u/subscriptions.lock"));
    contact();
    text = fs_read(&p.b, "u/subscriptions");
    assert_non_null(strstr(text, "Zoo\n"));
    free(text);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    mfp__listing__free_unpacked(wa, NULL);
    mfp__listing__free_unpacked(wb, NULL);
}

/* Two stores that never met: union, nothing is removed. */
static void test_first_contact(void **state) {
    fs_mkdir(&p.a, "u");
    fs_mkdir(&p.a, "u/cur");
    fs_mkdir(&p.a, "u/new");
    fs_mkdir(&p.a, "u/tmp");
    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.a, "u/.Sent/cur");
    fs_mkdir(&p.a, "u/.Sent/new");
    fs_mkdir(&p.b, "u");
    fs_mkdir(&p.b, "u/cur");
    fs_mkdir(&p.b, "u/new");
    fs_mkdir(&p.b, "w");
    fs_mkdir(&p.b, "w/cur");
    fs_mkdir(&p.b, "w/new");
    fs_write(&p.a, "u/dovecot-uidlist", "3 V1700000001 N1\n");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000002 N1\n");
    fs_write(&p.a, "u/.Sent/dovecot-uidlist", "3 V1700000005 N1\n");
    add_seen(&p.a, "u", "1.M1.a", "2,S", 1, "one\n");
    add_seen(&p.b, "u", "2.M1.b", "2,", 1, "two\n");
    add_seen(&p.a, "u/.Sent", "3.M1.a", "2,S", 1, "sent\n");
    add_new(&p.b, "w", "4.M1.b", "w\n");
    fs_write(&p.a, "top", "a file in the root\n");
    assert_int_equal(state_set_contact(p.a.st, false), 0);
    assert_int_equal(state_set_contact(p.b.st, false), 0);
    contact();
    assert_true(fs_there(&p.b, "u/.Sent/cur/3.M1.a:2,S"));
    assert_true(fs_there(&p.a, "w/new/4.M1.b"));
    assert_true(fs_there(&p.a, "u/cur/2.M1.b:2,"));
    assert_true(uid_of(&p.a, "u", "2.M1.b") > 0);
    assert_int_equal(uid_of(&p.b, "u/.Sent", "3.M1.a"), 1);
}

/* b is lost, and a client makes a mailbox on the new one before it has come there: what a has is
 * not numbered anew for that. Also when a's power goes before the two have merged. */
static void test_replaced(void **state) {
    char *list;

    common();
    node_replaced(&p.b);
    make_box(&p.b, "u");
    fs_write(&p.b, "u/dovecot-uidlist", "3 V1700000900 N1\n");
    add_seen(&p.b, "u", "9.M1.b", "2,", 1, "nine\n");
    assert_int_equal(base_unmerge(p.a.st), 0);
    node_reopen(&p.a);
    contact();
    inbox = fs_id(&p.a, "u");
    list = fs_read(&p.b, "u/dovecot-uidlist");
    assert_non_null(strstr(list, "3 V1700000000 "));
    free(list);
    assert_int_equal(uid_of(&p.a, "u", "1.M1.x"), 1);
    assert_int_equal(uid_of(&p.b, "u", "3.M1.x"), 3);
    assert_int_equal(uid_of(&p.a, "u", "9.M1.b"), 4);
}

/* Since b listed it a UID has got another name there. Nothing is numbered over it, and it is said
 * which two messages it is about. */
static void test_uid_of_another(void **state) {
    uint8_t digest[STATE_DIGEST];
    char text[STATE_ERROR_MAX];
    Mfp__Listing *la, *lb;

    common();
    add_seen(&p.a, "u", "4.M1.a", "2,", 4, "four\n");
    mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &la), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, false, &lb), 0);
    stores_stage(&p.a, &p.b, la);
    add_seen(&p.b, "u", "4.M1.b", "2,", 4, "another\n");
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, lb, la, digest, NULL), -EEXIST);
    merge_mailbox_forget(p.b.st, &inbox);
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    state_last_error(p.b.st, text);
    assert_non_null(strstr(text, "/u: cannot merge: UID 4 is 4.M1.b here, and 4.M1.a there"));
    assert_int_equal(uid_of(&p.b, "u", "4.M1.b"), 4);
    contact();
    assert_int_equal(uid_of(&p.b, "u", "4.M1.a"), uid_of(&p.a, "u", "4.M1.a"));
}

/* ---- the tree ---------------------------------------------------------------------- */

static void test_tree_made_and_moved(void **state) {
    struct mailfs_id work;

    common();
    make_box(&p.a, "u/.Work");
    add_new(&p.a, "u/.Work", "1.M1.a", "w\n");
    make_box(&p.b, "u/.Home");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Home/cur"));
    /* names swapped on one side, a message put into one on the other */
    fs_rename(&p.a, "u/.Work", "u/.X");
    fs_rename(&p.a, "u/.Home", "u/.Work");
    fs_rename(&p.a, "u/.X", "u/.Home");
    mark(&p.a, &inbox);
    work = fs_id(&p.b, "u/.Work");
    add_new(&p.b, "u/.Work", "2.M1.b", "w2\n");
    mark(&p.b, &work);
    contact();
    assert_true(fs_there(&p.a, "u/.Home/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Home/new/1.M1.a"));
}

static void test_tree_removed(void **state) {
    struct mailfs_id work, home;

    common();
    make_box(&p.a, "u/.Work");
    make_box(&p.a, "u/.Home");
    add_new(&p.a, "u/.Work", "1.M1.a", "w\n");
    add_new(&p.a, "u/.Home", "1.M1.a", "h\n");
    mark(&p.a, &inbox);
    contact();
    work = fs_id(&p.a, "u/.Work");
    home = fs_id(&p.a, "u/.Home");
    /* a deletes both; b delivers to one of them */
    fs_rename(&p.a, "u/.Work", "u/..DOVECOT-TRASHED");
    mark(&p.a, &inbox);
    mark(&p.a, &work);
    add_new(&p.b, "u/.Home", "2.M1.b", "h2\n");
    mark(&p.b, &home);
    contact();
    assert_false(fs_there(&p.b, "u/.Work"));
    assert_true(fs_there(&p.b, "u/.Home"));
    fs_rename(&p.a, "u/.Home", "u/..DOVECOT-TRASHED/x");
    mark(&p.a, &inbox);
    mark(&p.a, &home);
    add_new(&p.b, "u/.Home", "3.M1.b", "h3\n");
    mark(&p.b, &home);
    merge_trees(false);
    assert_true(fs_there(&p.a, "u/.Home"));
    contact();
    assert_true(fs_there(&p.a, "u/.Home/new/3.M1.b"));
}

/* Both made one of that name while alone. */
static void test_tree_two_of_one_name(void **state) {
    common();
    make_box(&p.a, "u/.Sent");
    make_box(&p.b, "u/.Sent");
    add_new(&p.a, "u/.Sent", "1.M1.a", "of a\n");
    add_new(&p.b, "u/.Sent", "1.M1.b", "of b\n");
    mark(&p.a, &inbox);
    mark(&p.b, &inbox);
    contact();
    assert_true(fs_there(&p.a, "u/.Sent/new/1.M1.b"));
    assert_true(fs_there(&p.b, "u/.Sent/new/1.M1.a"));
}

/* Made by a under a directory whose id b has just given up: acknowledged, and not applied. It was
 * not removed by b for that, however far b's own base has come meanwhile. */
static void test_tree_made_unapplied(void **state) {
    struct acts acts = {.n = 0};
    struct mailfs_id other;
    struct apply_result res;
    Mfp__Txn *txn, *got;
    char path[200];
    uint64_t id;
    int i;

    common();
    make_box(&p.a, "u/.New");
    act_dir_make(&p.a, &acts, "u", ".New");
    assert_int_equal(mailfs_id_new(&other), 0);
    snprintf(path, sizeof(path), "%s/u", p.b.store);
    assert_int_equal(setxattr(path, IO_DIRID_XATTR, other.b, sizeof(other.b), 0), 0);
    txn = node_collect(&p.a, &inbox, &acts, false);
    id = node_receive(&p.a, &p.b, txn, &got);
    assert_int_equal(base_acked(p.a.st, txn), 0);
    assert_int_equal(apply_txn(p.b.st, got, id, false, &res), -ENOENT);
    assert_true(res.suspect && res.tree);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    for (i = 0; i < 5; i++)
        assert_int_equal(base_version_next(p.b.st, BASE_OF_TREE, &mailfs_id_root), 0);
    mark(&p.a, &inbox);
    mark(&p.b, &mailfs_id_root);
    contact();
    assert_true(fs_there(&p.a, "u/.New/cur"));
    assert_true(fs_there(&p.b, "u/.New/cur"));
}

static void test_copied_ids(void **state) {
    struct mailfs_id a, b;
    char cmd[1200];

    common();
    make_box(&p.a, "u/.Work");
    mark(&p.a, &inbox);
    contact();
    snprintf(cmd, sizeof(cmd), "cp -a '%s/u/.Work' '%s/u/.Copy'", p.a.store, p.a.store);
    assert_int_equal(system(cmd), 0);
    mark(&p.a, &inbox);
    contact();
    a = fs_id(&p.a, "u/.Work");
    b = fs_id(&p.a, "u/.Copy");
    assert_false(mailfs_id_equal(&a, &b));
}

/* ---- at random --------------------------------------------------------------------- */

/* What each UID was ever shown for, by its first line; in blocks, since power cuts retire many. */
static char shown[32][2048][32];

static char *shown_at(uint32_t uid) {
    assert_true(uid / MERGE_LOST_UIDS < 32 && uid % MERGE_LOST_UIDS < 2048);
    return shown[uid / MERGE_LOST_UIDS][uid % MERGE_LOST_UIDS];
}

static void show(struct node *n) {
    struct maildir_uidlist *list;
    char *text = fs_read(n, "u/dovecot-uidlist");
    size_t i;

    assert_int_equal(maildir_uidlist_parse(text, strlen(text), &list, NULL), 0);
    for (i = 0; i < maildir_uidlist_count(list); i++) {
        const struct maildir_uidrec *r = maildir_uidlist_at(list, i);
        char *was = shown_at(r->uid);
        if (*was && strcmp(was, r->base) != 0)
            fail_msg("UID %u was %s and is %s", r->uid, was, r->base);
        snprintf(was, sizeof(shown[0][0]), "%.31s", r->base);
    }
    maildir_uidlist_free(list);
    free(text);
}

static size_t messages(struct node *n, char names[][64], size_t max) {
    char path[512];
    DIR *d;
    struct dirent *de;
    size_t k = 0;

    snprintf(path, sizeof(path), "%s/u/cur", n->store);
    d = opendir(path);
    while ((de = readdir(d)) && k < max) {
        if (*de->d_name != '.')
            snprintf(names[k++], 64, "%.63s", de->d_name);
    }
    closedir(d);
    return k;
}

/* odd and even numbers keep the two apart, as the gap does */
static void random_act(struct node *n, unsigned *seed, unsigned *serial, unsigned parity) {
    static char names[512][64];
    char from[200], to[200], base[64];
    size_t k = messages(n, names, 512);
    unsigned what = (unsigned)rand_r(seed) % 10, uid;

    if (what < 4 || k == 0) {
        snprintf(base, sizeof(base), "%u.M1.%s", ++*serial, n->name);
        uid = next_in(n);
        if (uid % 2 != parity)
            uid++;
        add_seen(n, "u", base, "2,", uid, base);
        return;
    }
    snprintf(from, sizeof(from), "u/cur/%s", names[(size_t)rand_r(seed) % k]);
    if (what < 6) {
        fs_unlink(n, from);
        return;
    }
    snprintf(to, sizeof(to), "%s", from);
    strcpy(strchr(to, ':'), what == 6 ? ":2," : what == 7 ? ":2,F" : what == 8 ? ":2,S" : ":2,FS");
    fs_rename(n, from, to);
}

static void test_random(void **state) {
    unsigned seed = 20251123, serial = 0;
    int round, i;

    memset(shown, 0, sizeof(shown));
    common();
    for (round = 0; round < 25; round++) {
        for (i = 0; i < 8; i++) {
            if (rand_r(&seed) % 4) {
                random_act(&p.a, &seed, &serial, 0);
                mark(&p.a, &inbox);
            }
            if (rand_r(&seed) % 4) {
                random_act(&p.b, &seed, &serial, 1);
                mark(&p.b, &inbox);
            }
            show(&p.a);
            show(&p.b);
        }
        if (rand_r(&seed) % 5 == 0)
            node_reopen(&p.a);
        contact();
        show(&p.a);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_one_side),
        T(test_out_and_in),
        T(test_linked_over),
        T(test_out_and_in_unanswered),
        T(test_both_sides),
        T(test_kept_back),
        T(test_half_a_merge),
        T(test_nothing),
        T(test_lost_base),
        T(test_lost_base_of_a_young_one),
        T(test_uid_in_an_index),
        T(test_half_and_cleared),
        T(test_half_and_keywords),
        T(test_half_and_letters),
        T(test_half_of_the_same),
        T(test_keywords),
        T(test_files),
        T(test_subscribed_meanwhile),
        cmocka_unit_test_setup_teardown(test_first_contact, setup_empty, teardown),
        T(test_replaced),
        T(test_uid_of_another),
        T(test_tree_made_and_moved),
        T(test_tree_removed),
        T(test_tree_two_of_one_name),
        T(test_tree_made_unapplied),
        T(test_copied_ids),
        T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
