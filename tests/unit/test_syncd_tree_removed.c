/* The merge of the directory tree when one node has removed a folder: what was put into it
 * meanwhile, a merge that was cut short, and what lives on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "syncd_contact.h"
#include "tree_pair.h"

static void remove_work_at_a(void) {
    fs_rename(&p.a, "u/.Work", "u/..DOVECOT-TRASHED");
    contact_mark(&p.a, &inbox);
    contact_mark(&p.a, &work);
}

/* Removed by the peer; mail came here after the comparison. */
static void test_removed_with_news(void **state) {
    struct trees t;

    remove_work_at_a();
    scan_both(&t, false);
    fs_write(&p.b, "u/.Work/new/2.M1.b", "late\n");
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Work/new/2.M1.b"));
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Work/new/2.M1.b"));
}

/* The same with a folder made in it. */
static void test_removed_with_new_folder(void **state) {
    struct trees t;

    remove_work_at_a();
    scan_both(&t, false);
    fs_mkdir(&p.b, "u/.Work/sub");
    assert_int_equal(run_both(&t), -ESTALE);
    contact_mark(&p.b, &work);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/sub"));
}

/* a has carried it out; b was killed before its turn. */
static void removed_at_a_only(void) {
    remove_work_at_a();
    merge_at_a_only();
}

static void work_is_gone(void) {
    contact_all(&p);
    assert_false(fs_there(&p.a, "u/.Work"));
    assert_false(fs_there(&p.b, "u/.Work"));
}

/* It does not come back. */
static void test_removed_before_its_turn(void **state) {
    removed_at_a_only();
    node_killed(&p.b);
    work_is_gone();
}

/* Nor when b was killed while its messages were being put away. */
static void test_removed_in_part(void **state) {
    removed_at_a_only();
    move_aside(&p.b, "u/.Work", &work);
    node_killed(&p.b);
    work_is_gone();
}

/* Nor when both were. */
static void test_removed_and_both_killed(void **state) {
    removed_at_a_only();
    node_killed(&p.a);
    node_killed(&p.b);
    work_is_gone();
}

/* What was fetched for a folder that is removed before it was merged is not left in the stage. */
static void test_removed_while_fetched(void **state) {
    Mfp__Listing *listing, *wire;
    char name[300];

    fs_write(&p.a, "u/.Work/new/2.M1.a", "two\n");
    contact_mark(&p.a, &work);
    assert_int_equal(scan_mailbox(p.a.st, &work, false, &listing), 0);
    wire = listing_over_wire(listing);
    stores_stage(&p.a, &p.b, wire);
    mfp__listing__free_unpacked(listing, NULL);
    mfp__listing__free_unpacked(wire, NULL);
    name_in(&p.b, "stage", "h-", name); /* nobody counts on it yet: it has no other name */
    assert_true(*name);
    remove_work_at_a();
    work_is_gone();
    name_in(&p.b, "stage", "h-", name);
    assert_string_equal(name, "");
    name_in(&p.b, "stage", "f-", name);
    assert_string_equal(name, "");
}

/* Its messages stay until everything is merged. */
static void test_removed_is_kept_back(void **state) {
    char kept[300], *text;
    struct trees t;

    remove_work_at_a();
    scan_both(&t, false);
    assert_int_equal(run_both(&t), 0);
    assert_false(fs_there(&p.b, "u/.Work"));
    name_in(&p.b, "kept", "r-", kept);
    assert_true(*kept);
    text = fs_read(&p.b, kept);
    assert_string_equal(text, "one\n");
    free(text);
    assert_int_equal(merge_caught_up(p.b.st, merge_keep_turn(p.b.st)), 0);
    name_in(&p.b, "kept", "r-", kept);
    assert_string_equal(kept, "");
}

/* Removed at a, where UIDs were given in it that b knows nothing of; and something put in at b. */
static void removed_and_alive(void) {
    fs_write(&p.a, "u/dovecot-uidvalidity", "65000003");
    fs_write(&p.a, "u/dovecot-uidvalidity.65000004", "");
    fs_write(&p.a, "u/.Work/dovecot-uidlist",
             "3 V1694498817 N2 G0123456789abcdef0123456789abcdef\n1 :1.M1.a\n");
    contact_mark(&p.a, &work);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    fs_append(&p.a, "u/.Work/dovecot-uidlist", "65538 :3.M1.a\n");
    remove_work_at_a();
    fs_write(&p.b, "u/.Work/new/2.M1.b", "late\n");
    fs_append(&p.b, "u/.Work/dovecot-uidlist", "2 :2.M1.b\n");
    contact_mark(&p.b, &work);
}

/* 0x65000003 was taken last: the next of a's, who sorts first, is odd. */
#define TAKEN "3 V1694498821 "

static void test_removed_lives_renumbered(void **state) {
    char *text;

    removed_and_alive();
    contact_all(&p);
    assert_list_begins(&p.a, "u/.Work", TAKEN);
    assert_list_begins(&p.b, "u/.Work", TAKEN);
    text = fs_read(&p.b, "u/.Work/dovecot-uidlist");
    assert_non_null(strstr(text, "1 :2.M1.b\n"));
    free(text);
    assert_false(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    text = fs_read(&p.b, "u/dovecot-uidvalidity");
    assert_string_equal(text, "65000005");
    free(text);
    assert_true(fs_there(&p.a, "u/dovecot-uidvalidity.65000006"));
    assert_false(fs_there(&p.a, "u/dovecot-uidvalidity.65000004"));
}

/* It is there again at a, and b does not get so far; then a's power is cut. */
static void test_removed_lives_cut_short(void **state) {
    uint8_t d[STATE_DIGEST];
    struct trees t;

    removed_and_alive();
    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.a.st, t.a, t.wb, false, d, NULL), 0);
    assert_list_begins(&p.a, "u/.Work", TAKEN);
    trees_free(&t);
    node_reopen(&p.a);
    contact_all(&p);
    assert_list_begins(&p.a, "u/.Work", TAKEN);
    assert_list_begins(&p.b, "u/.Work", TAKEN);
}

#define LIST "3 V1694498817 N2 G0123456789abcdef0123456789abcdef\n"

/* .Work has a message with a UID on both; its container is marked at b when its power goes. */
static void numbered_and_cut(const char *list_after) {
    fs_write(&p.a, "u/.Work/dovecot-uidlist", LIST "1 :1.M1.a\n");
    contact_mark(&p.a, &work);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    contact_mark(&p.b, &work);
    node_reopen(&p.b);
    assert_true(base_was_cut(p.b.st, &work));
    fs_write(&p.b, "u/.Work/dovecot-uidlist", list_after);
    remove_work_at_a();
}

/* The list there has lost what it was told last: nothing has come into the folder. */
static void test_removed_and_number_lost(void **state) {
    numbered_and_cut(LIST);
    work_is_gone();
}

/* What the other node had sent is there once more: it had come before. */
static void test_removed_and_put_back(void **state) {
    numbered_and_cut(LIST "1 :1.M1.a\n");
    fs_write(&p.b, "u/.Work/new/0.M1.a", "gone\n");
    assert_int_equal(base_put_back_note(p.b.st, &work, "0.M1.a"), 0);
    work_is_gone();
}

/* What came there itself, and is not known to the other node, is kept. */
static void test_removed_cut_and_news(void **state) {
    numbered_and_cut(LIST);
    fs_write(&p.b, "u/.Work/new/2.M1.b", "late\n");
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Work/new/2.M1.b"));
}

/* b had sent it, and has not heard that a has it. */
static void not_heard_of(const char *base) {
    struct base_msg none = {.sub = MFP__SUB__SELF};

    assert_int_equal(base_msg_put(p.b.st, BASE_AGREED, &work, base, &none), 0);
    contact_mark(&p.b, &work);
}

static void both_have_numbered(void) {
    fs_write(&p.a, "u/.Work/dovecot-uidlist", LIST "1 :1.M1.a\n");
    contact_mark(&p.a, &work);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
}

/* It is what a removed with the rest, and the folder does not come back for it. */
static void test_removed_before_the_ack(void **state) {
    both_have_numbered();
    not_heard_of("1.M1.a");
    remove_work_at_a();
    work_is_gone();
}

/* Another one came to b as well, of which a knows nothing. */
static void test_removed_and_one_more(void **state) {
    both_have_numbered();
    not_heard_of("1.M1.a");
    fs_write(&p.b, "u/.Work/new/2.M1.b", "late\n");
    fs_append(&p.b, "u/.Work/dovecot-uidlist", "2 :2.M1.b\n");
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Work/new/2.M1.b"));
}

/* It was moved out at b, and in again: that is another message. */
static void test_removed_and_in_again(void **state) {
    both_have_numbered();
    not_heard_of("1.M1.a");
    fs_write(&p.b, "u/.Work/dovecot-uidlist",
             "3 V1694498817 N3 G0123456789abcdef0123456789abcdef\n2 :1.M1.a\n");
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Work/new/1.M1.a"));
}

/* Nothing says that it is the same one. */
static void test_removed_and_unnumbered(void **state) {
    both_have_numbered();
    not_heard_of("1.M1.a");
    fs_write(&p.b, "u/.Work/dovecot-uidlist", LIST);
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* b was killed, and has published what a had prepared there; a went on, and named it. */
static void published_in_work(void) {
    struct stage_prep prep = {77, 9};
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/.Work/tmp/9.tmp", "nine\n");
    stores_prepare(&p.a, &p.b, "u/.Work", "9.tmp", "u/.Work/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/.Work/new/9.tmp"));
    fs_rename(&p.a, "u/.Work/tmp/9.tmp", "u/.Work/new/9.M9.a");
    act_add(&p.a, &a, "u/.Work", MFL__SUB__NEW, "9.M9.a", 9);
    mfp__txn__free_unpacked(node_collect(&p.a, &work, &a, false), NULL);
    base_forget_sent(p.a.st);
    contact_mark(&p.b, &work);
}

static void test_removed_and_published(void **state) {
    published_in_work();
    remove_work_at_a();
    work_is_gone();
}

static void b_names(struct acts *a) {
    fs_rename(&p.b, "u/.Work/tmp/9.tmp", "u/.Work/new/9.M9.b");
    act_add(&p.b, a, "u/.Work", MFL__SUB__NEW, "9.M9.b", 9);
    mfp__txn__free_unpacked(node_collect(&p.b, &work, a, false), NULL);
    base_forget_sent(p.b.st);
    contact_mark(&p.b, &work);
}

/* The other way round: a was alone, published it, and removed it with the folder; b named it. */
static void test_removed_as_published(void **state) {
    struct stage_prep prep = {77, 9};
    struct acts a = {.n = 0};

    fs_write(&p.b, "u/.Work/tmp/9.tmp", "nine\n");
    stores_prepare(&p.b, &p.a, "u/.Work", "9.tmp", "u/.Work/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.a.st, &prep, 1, NULL), 0);
    b_names(&a);
    remove_work_at_a();
    work_is_gone();
}

static int no_room(int fd, const char *name, int to, const char *as, int flags) {
    return -ENOSPC;
}

/* a's disk had no room for it: nobody there has seen what goes with the folder, and b's stays. */
static void test_removed_not_published(void **state) {
    struct stage_prep prep = {77, 9};
    struct io_ops full = io_ops_real;
    struct acts a = {.n = 0};

    fs_write(&p.b, "u/.Work/tmp/9.tmp", "nine\n");
    stores_prepare(&p.b, &p.a, "u/.Work", "9.tmp", "u/.Work/tmp/9.tmp", 9);
    full.link = no_room;
    io_ops_set(&full);
    assert_int_equal(stage_publish(p.a.st, &prep, 1, NULL), -ENOSPC);
    io_ops_set(&io_ops_real);
    b_names(&a);
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/9.M9.b"));
    assert_true(fs_there(&p.b, "u/.Work/new/9.M9.b"));
}

/* And another one, that a has named nowhere. */
static void test_removed_and_published_two(void **state) {
    struct stage_prep prep = {77, 10};

    published_in_work();
    fs_write(&p.a, "u/.Work/tmp/10.tmp", "ten\n");
    stores_prepare(&p.a, &p.b, "u/.Work", "10.tmp", "u/.Work/tmp/10.tmp", 10);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/10.tmp"));
    assert_true(fs_there(&p.b, "u/.Work/new/10.tmp"));
    assert_false(fs_there(&p.b, "u/.Work/new/9.tmp"));
}

/* .Play is made at a, and both trees have it; nothing of what is in it has been merged. */
static struct mailfs_id not_merged_yet(void) {
    struct mailfs_id play;

    fs_mkdir(&p.a, "u/.Play");
    fs_mkdir(&p.a, "u/.Play/new");
    play = fs_id(&p.a, "u/.Play");
    contact_mark(&p.a, &inbox);
    contact_trees(&p, false);
    assert_true(fs_there(&p.b, "u/.Play"));
    fs_mkdir(&p.b, "u/.Play/new");
    return play;
}

static void remove_play_at_a(const struct mailfs_id *play) {
    fs_rename(&p.a, "u/.Play", "u/..DOVECOT-TRASHED");
    contact_mark(&p.a, &inbox);
    contact_mark(&p.a, play);
    contact_mark(&p.b, play);
}

/* A client has looked into it at b. It does not live for that. */
static void test_removed_not_merged(void **state) {
    struct mailfs_id play = not_merged_yet();

    fs_write(&p.b, "u/.Play/dovecot-uidlist", LIST);
    fs_write(&p.b, "u/.Play/maildirfolder", "");
    remove_play_at_a(&play);
    contact_all(&p);
    assert_false(fs_there(&p.a, "u/.Play"));
    assert_false(fs_there(&p.b, "u/.Play"));
}

/* Mail is in it there. */
static void test_removed_not_merged_and_news(void **state) {
    struct mailfs_id play = not_merged_yet();

    fs_write(&p.b, "u/.Play/new/2.M1.b", "two\n");
    remove_play_at_a(&play);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Play/new/2.M1.b"));
    assert_true(fs_there(&p.b, "u/.Play/new/2.M1.b"));
}

static void lives_for_file(const char *rel) {
    struct mailfs_id play = not_merged_yet();

    fs_write(&p.b, rel, "Work\n");
    remove_play_at_a(&play);
    contact_all(&p);
    assert_true(fs_there(&p.a, rel));
    assert_true(fs_there(&p.b, rel));
}

/* Or a client has subscribed to something. */
static void test_removed_not_merged_and_subscribed(void **state) {
    lives_for_file("u/.Play/subscriptions");
}

/* Or has put a script there. */
static void test_removed_not_merged_and_file(void **state) {
    lives_for_file("u/.Play/filter.sieve");
}

/* What it holds was agreed on with a node that is lost, and the new one has not got it yet. */
static void test_removed_not_merged_again(void **state) {
    node_replaced(&p.a);
    assert_int_equal(base_unmerge(p.b.st), 0);
    contact_trees(&p, true);
    assert_int_equal(state_set_contact(p.a.st, true), 0);
    contact_mark(&p.b, &work);
    remove_work_at_a();
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* A peer of an older version says nothing of messages: the two decide alike. */
static void test_removed_before_the_ack_older(void **state) {
    struct trees t;

    both_have_numbered();
    not_heard_of("1.M1.a");
    remove_work_at_a();
    scan_both(&t, false);
    t.a->says_msgs = t.wa->says_msgs = false;
    assert_int_equal(run_both(&t), 0);
    assert_true(fs_there(&p.a, "u/.Work"));
    assert_true(fs_there(&p.b, "u/.Work"));
}

/* a's base has a folder of 1,000 messages that is not in the store. */
static void large_folder_removed(unsigned i) {
    struct base_msg msg = {.sub = MFP__SUB__NEW};
    struct base_dir rec = {.parent = inbox, .mode = 0700, .agreed = true, .merged = true};
    struct base_uidlist ul = {.v = 7, .n = 1001};
    struct mailfs_id id = {{0x40, (uint8_t)(i >> 8), (uint8_t)i}};
    char name[20];

    snprintf(rec.name, sizeof(rec.name), ".Large%u", i);
    assert_int_equal(base_dir_put(p.a.st, &id, &rec), 0);
    assert_int_equal(base_uidlist_put(p.a.st, BASE_AGREED, &id, &ul), 0);
    for (msg.uid = 1; msg.uid <= 1000; msg.uid++) {
        snprintf(name, sizeof(name), "%u.M1.a", msg.uid);
        assert_int_equal(base_msg_put(p.a.st, BASE_AGREED, &id, name, &msg), 0);
    }
}

/* What the tree says of messages has a limit, however much was removed. */
static void test_removed_very_many(void **state) {
    uint8_t d[STATE_DIGEST];
    size_t i, n = 0, said = 0;
    Mfp__Tree *t;

    for (i = 0; i < 120; i++)
        large_folder_removed((unsigned)i);
    assert_int_equal(tree_scan(p.a.st, true, &t, d, NULL), 0);
    for (i = 0; i < t->n_dirs; i++) {
        n += t->dirs[i]->had && !t->dirs[i]->has;
        said += t->dirs[i]->n_msgs;
    }
    mfp__tree__free_unpacked(t, NULL);
    assert_int_equal(n, 120);
    assert_int_equal(said, 100000);
}

/* A standby has no clients, and its source's go on. */
static void test_removed_lives_at_standby(void **state) {
    uint8_t d[STATE_DIGEST];
    struct trees t;

    removed_and_alive();
    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.a.st, t.a, t.wb, true, d, NULL), 0);
    assert_true(fs_there(&p.a, "u/.Work"));
    assert_false(fs_there(&p.a, "u/.Work/dovecot-uidlist"));
    trees_free(&t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, tree_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_removed_and_number_lost),
        T(test_removed_and_put_back),
        T(test_removed_cut_and_news),
        T(test_removed_with_news),
        T(test_removed_with_new_folder),
        T(test_removed_before_its_turn),
        T(test_removed_in_part),
        T(test_removed_and_both_killed),
        T(test_removed_while_fetched),
        T(test_removed_is_kept_back),
        T(test_removed_lives_renumbered),
        T(test_removed_lives_cut_short),
        T(test_removed_lives_at_standby),
        T(test_removed_before_the_ack),
        T(test_removed_and_one_more),
        T(test_removed_and_in_again),
        T(test_removed_and_unnumbered),
        T(test_removed_before_the_ack_older),
        T(test_removed_very_many),
        T(test_removed_and_published),
        T(test_removed_and_published_two),
        T(test_removed_as_published),
        T(test_removed_not_published),
        T(test_removed_not_merged),
        T(test_removed_not_merged_and_news),
        T(test_removed_not_merged_again),
        T(test_removed_not_merged_and_file),
        T(test_removed_not_merged_and_subscribed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
