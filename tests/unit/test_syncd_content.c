/* What lies in the stage, who holds it, and who is given a name; and that store and state are of
 * one time. */
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
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "mailbox_pair.h"
#include "syncd_contact.h"

static int setup(void **state) {
    mailbox_setup(state);
    stores_checkpoint(&p);
    return 0;
}

static void set_mtime(struct node *n, const char *rel) {
    fs_set_mtime(n, rel, 1000);
}

static void drop(Mfp__Txn *txn) {
    mfp__txn__free_unpacked(txn, NULL);
}

/* A message of a, journalled by b, and not applied. */
static uint64_t receive(const char *base, Mfp__Txn **got) {
    struct acts a = {.n = 0};
    char rel[300];
    uint64_t id;
    Mfp__Txn *txn;

    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_write(&p.a, rel, "text\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, base, 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    assert_non_null(txn);
    id = node_receive(&p.a, &p.b, txn, got);
    drop(txn);
    return id;
}

static void staged_name(const char *base, char key[STAGE_NAME_MAX], char rel[400]) {
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    snprintf(rel, 400, ".mailfs/stage/%.250s", key);
}

/* An entry whose content is missing at a start gives up, when it is done, only what it held: not
 * what a later one of the same name holds. */
static void test_refs_of_another(void **state) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], rel[400];
    Mfp__Txn *one, *two;
    uint64_t first = receive("1.M1.a", &one);

    staged_name("1.M1.a", key, rel);
    fs_unlink(&p.b, rel);
    node_reopen(&p.b);
    assert_int_equal(stage_lookup(p.b.st, key, file), -ENOENT);
    fs_unlink(&p.a, "u/new/1.M1.a");
    node_reopen(&p.a); /* it knows nothing of it */
    receive("1.M1.a", &two);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    journal_applied(p.b.st, first);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    assert_true(fs_there(&p.b, rel));
    drop(one);
    drop(two);
}

/* Published, and both names exist on one node: two messages, on both, and the merge ends. */
static void test_published_and_named(void **state) {
    struct stage_prep prep = {77, 9};
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/tmp/9.tmp", "nine\n");
    set_mtime(&p.a, "u/tmp/9.tmp");
    stores_prepare(&p.a, &p.b, "u", "9.tmp", "u/tmp/9.tmp", 9);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
    fs_write(&p.b, "u/new/9.M9.a", "nine\n"); /* a restored copy, say */
    set_mtime(&p.b, "u/new/9.M9.a");
    contact_mark(&p.b, &inbox);
    fs_rename(&p.a, "u/tmp/9.tmp", "u/new/9.M9.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "9.M9.a", 9);
    drop(node_collect(&p.a, &inbox, &a, false));
    base_forget_sent(p.a.st);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/new/9.M9.a"));
    assert_true(fs_there(&p.b, "u/new/9.M9.a"));
    assert_true(fs_there(&p.a, "u/new/9.tmp"));
    assert_true(fs_there(&p.b, "u/new/9.tmp"));
}

/* A copy of a delivery that was published under another name, and removed there: it is a message of
 * its own, and comes. */
static void test_copy_of_published(void **state) {
    struct stage_prep prep = {77, 6};
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/tmp/6.tmp", "six\n");
    set_mtime(&p.a, "u/tmp/6.tmp");
    stores_prepare(&p.a, &p.b, "u", "6.tmp", "u/tmp/6.tmp", 6);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    fs_unlink(&p.b, "u/new/6.tmp");
    fs_rename(&p.a, "u/tmp/6.tmp", "u/.Work/new/6.M6.a");
    act_add(&p.a, &a, "u/.Work", MFL__SUB__NEW, "6.M6.a", 6);
    stores_send(&p.a, &p.b, &work, &a, false);
    assert_true(fs_there(&p.b, "u/.Work/new/6.M6.a"));
}

/* Acknowledged, and its mailbox not there yet when the origin went: it is published when the trees
 * have been merged. */
static void test_publish_homeless(void **state) {
    struct stage_prep prep = {77, 5};
    struct mailfs_id box;

    fs_mkdir(&p.a, "w");
    fs_mkdir(&p.a, "w/new");
    fs_mkdir(&p.a, "w/cur");
    fs_mkdir(&p.a, "w/tmp");
    box = fs_id(&p.a, "w");
    fs_write(&p.a, "w/tmp/5.tmp", "five\n");
    stores_prepare(&p.a, &p.b, "w", "5.tmp", "w/tmp/5.tmp", 5);
    fs_unlink(&p.a, "w/tmp/5.tmp");
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -ENOENT);
    contact_mark(&p.a, &mailfs_id_root);
    contact_mark(&p.a, &box);
    contact_all(&p);
    assert_true(fs_there(&p.b, "w/new/5.tmp"));
    assert_true(fs_there(&p.a, "w/new/5.tmp"));
}

static size_t count_in(struct node *n, const char *rel, const char *prefix) {
    char path[512];
    struct dirent *de;
    size_t k = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d)))
        k += strncmp(de->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return k;
}

/* ... and its mailbox was removed here, and is on no node any more: the one above it gets it, at
 * once, since the origin may never come back. */
static void test_publish_above(void **state) {
    struct stage_prep prep = {77, 5};
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/.Work/tmp/5.tmp", "five\n");
    stores_prepare(&p.a, &p.b, "u/.Work", "5.tmp", "u/.Work/tmp/5.tmp", 5);
    fs_rename(&p.a, "u/.Work", "u/..DOVECOT-TRASHED");
    act_dir_remove(&a, &work, ".Work", NULL, 0);
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    assert_false(fs_there(&p.b, "u/.Work"));
    node_reopen(&p.b); /* its base knows nothing of that mailbox, whatever the journal says */
    node_replay(&p.b);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/5.tmp"));
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 0);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/new/5.tmp"));
}

/* ... and nothing above it is there: not in the way for ever, but not lost. */
static void test_nobody_to_publish_to(void **state) {
    struct stage_prep prep = {77, 5};

    fs_mkdir(&p.a, "w");
    fs_mkdir(&p.a, "w/tmp");
    fs_id(&p.a, "w");
    fs_write(&p.a, "w/tmp/5.tmp", "five\n");
    stores_prepare(&p.a, &p.b, "w", "5.tmp", "w/tmp/5.tmp", 5);
    fs_unlink(&p.a, "w/tmp/5.tmp");
    fs_rename(&p.a, "w", "..DOVECOT-TRASHED");
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -ENOENT);
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 1);
    contact_mark(&p.a, &mailfs_id_root);
    contact_all(&p);
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 0);
    assert_int_equal(count_in(&p.b, ".mailfs/kept", "l-"), 1);
}

static void prepare_as(const char *name, const char *text, uint64_t seq) {
    char rel[300];

    snprintf(rel, sizeof(rel), "u/tmp/%s", name);
    fs_write(&p.a, rel, text);
    stores_prepare(&p.a, &p.b, "u", name, rel, seq);
    fs_unlink(&p.a, rel);
}

static void assert_text(const char *rel, const char *text) {
    char *is = fs_read(&p.b, rel);

    assert_string_equal(is, text);
    free(is);
}

/* Postfix calls what one process delivers within a second by one name in tmp/. They are messages of
 * their own, also when a mail client has seen the first. */
static void test_publish_same_name(void **state) {
    struct stage_prep prep = {77, 5};

    prepare_as("5.P1.a", "five\n", 5);
    prepare_as("5.P1.a", "six\n", 6);
    prepare_as("5.P1.a", "seven\n", 7);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    prep.seq = 6;
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_text("u/new/5.P1.a", "five\n");
    assert_text("u/new/5.P1.a.6", "six\n");
    fs_rename(&p.b, "u/new/5.P1.a", "u/cur/5.P1.a:2,S");
    prep.seq = 7;
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_text("u/cur/5.P1.a:2,S", "five\n");
    assert_text("u/new/5.P1.a.7", "seven\n");
    assert_int_equal(count_in(&p.b, "u/new", "5."), 2);
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 0);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_int_equal(count_in(&p.a, "u/new", "5."), 2);
    assert_int_equal(count_in(&p.a, "u/cur", "5."), 1);
}

/* Killed between the name and the record that it has it: once, and under the same name. */
static void test_publish_again(void **state) {
    struct stage_prep prep = {77, 6};
    char file[300] = "", path[600], rel[400];
    struct dirent *de;
    DIR *d;

    fs_write(&p.b, "u/new/5.P1.a", "five\n");
    prepare_as("5.P1.a", "six\n", 6);
    snprintf(path, sizeof(path), "%s/.mailfs/stage", p.b.store);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d)))
        if (de->d_name[0] == 'p')
            snprintf(file, sizeof(file), "%s", de->d_name);
    closedir(d);
    snprintf(path, sizeof(path), "%s/u/new/5.P1.a.6", p.b.store);
    snprintf(rel, sizeof(rel), ".mailfs/stage/%s", file);
    assert_int_equal(linkat(p.b.st->stage, file, AT_FDCWD, path, 0), 0);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_false(fs_there(&p.b, rel));
    assert_int_equal(count_in(&p.b, "u/new", "5."), 2);
    assert_text("u/new/5.P1.a.6", "six\n");
}

/* A power cut between the name of a prepared content and its fsync: it is not mail. */
static void test_cut_short(void **state) {
    char path[512], file[300] = "";
    struct dirent *de;
    DIR *d;

    fs_write(&p.a, "u/tmp/5.tmp", "five\n");
    stores_prepare(&p.a, &p.b, "u", "5.tmp", "u/tmp/5.tmp", 5);
    node_reopen(&p.b);
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 1);
    snprintf(path, sizeof(path), "%s/.mailfs/stage", p.b.store);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d)))
        if (strncmp(de->d_name, "p-", 2) == 0)
            snprintf(file, sizeof(file), "%s", de->d_name);
    closedir(d);
    snprintf(path, sizeof(path), "%s/.mailfs/stage/%s", p.b.store, file);
    assert_int_equal(truncate(path, 3), 0);
    node_reopen(&p.b);
    assert_int_equal(count_in(&p.b, ".mailfs/stage", "p-"), 0);
}

/* Of a round that was put off: another message of that name is not taken for it. */
static void test_stale_stage(void **state) {
    struct content_wants wants;
    Mfp__Listing *l;

    fs_write(&p.a, "u/new/1.M1.a", "text\n");
    contact_mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &l), 0);
    stores_stage(&p.a, &p.b, l);
    assert_int_equal(content_lacks(p.b.st, l, &wants), 0);
    assert_int_equal(wants.n, 0);
    mfp__listing__free_unpacked(l, NULL);
    fs_write(&p.a, "u/new/1.M1.a", "another text\n");
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &l), 0);
    assert_int_equal(content_lacks(p.b.st, l, &wants), 0);
    assert_int_equal(wants.n, 1);
    content_wants_free(&wants);
    mfp__listing__free_unpacked(l, NULL);
    contact_all(&p);
}

/* Of a mailbox that comes over, the newest message is asked for first, and before all a script. */
static void test_newest_first(void **state) {
    static const char *const names[] = {"3.M1.a", "1.M1.a", "4.M1.a", "2.M1.a"};
    static const char *const want[] = {"script", "4.M1.a", "3.M1.a", "2.M1.a", "1.M1.a"};
    struct content_wants wants;
    Mfp__Listing *l;
    char rel[64];

    fs_write(&p.a, "u/script", "keep;\n");
    for (size_t i = 0; i < 4; i++) {
        snprintf(rel, sizeof(rel), "u/new/%s", names[i]);
        fs_write(&p.a, rel, "text\n");
        fs_set_mtime(&p.a, rel, 1000 + names[i][0]);
    }
    contact_mark(&p.a, &inbox);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, false, &l), 0);
    assert_int_equal(content_lacks(p.b.st, l, &wants), 0);
    assert_true(wants.n == 4 || wants.n == 5); /* a small file comes with the listing */
    for (size_t i = 0; i < wants.n; i++)
        assert_string_equal(wants.v[i].name, want[i + 5 - wants.n]);
    content_wants_free(&wants);
    mfp__listing__free_unpacked(l, NULL);
    contact_all(&p);
}

/* ---- store and state of one time --------------------------------------------------- */

static void copy(const char *from, const char *to) {
    char cmd[1200];

    snprintf(cmd, sizeof(cmd), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    assert_int_equal(system(cmd), 0);
}

static void send_one(const char *base) {
    struct acts a = {.n = 0};
    char rel[300];

    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_write(&p.a, rel, "text\n");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, base, 0);
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    stores_checkpoint(&p);
}

/* The store comes back from a backup: what came since was not removed. */
static void test_store_of_a_backup(void **state) {
    char backup[120];

    snprintf(backup, sizeof(backup), "%s/backup", p.b.root);
    send_one("1.M1.a");
    copy(p.b.store, backup);
    send_one("2.M1.a");
    copy(backup, p.b.store);
    node_reopen(&p.b);
    assert_true(p.b.start.lost);
    contact_mark(&p.a, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/new/2.M1.a"));
    assert_true(fs_there(&p.b, "u/new/2.M1.a"));
    node_reopen(&p.b);
    assert_false(p.b.start.lost);
}

/* The state does. */
static void test_state_of_a_backup(void **state) {
    char backup[120];

    snprintf(backup, sizeof(backup), "%s/backup", p.b.root);
    send_one("1.M1.a");
    copy(p.b.state, backup);
    send_one("2.M1.a");
    send_one("3.M1.a");
    copy(backup, p.b.state);
    node_reopen(&p.b);
    assert_true(p.b.start.lost);
}

/* A crash between the two writes of a checkpoint is none of that. */
static void test_store_ahead_by_one(void **state) {
    char backup[120];

    snprintf(backup, sizeof(backup), "%s/backup", p.b.root);
    send_one("1.M1.a");
    copy(p.b.state, backup);
    send_one("2.M1.a");
    copy(backup, p.b.state);
    node_reopen(&p.b);
    assert_false(p.b.start.lost);
    node_reopen(&p.b);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    node_reopen(&p.b);
    assert_false(p.b.start.lost);
}

/* Who asks for it says how it was listed; it is found also where it has been renamed since. */
static void test_asked_for_as_listed(void **state) {
    struct content_wants wants;
    Mfp__Listing *l;
    struct stat sb;
    char *link;
    int fd;

    fs_write(&p.a, "u/cur/1.M1.a:2,S", "text\n");
    fs_write(&p.a, "u/new/2.M1.a", "text\n");
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &l), 0);
    assert_int_equal(content_lacks(p.b.st, l, &wants), 0);
    mfp__listing__free_unpacked(l, NULL);
    assert_int_equal(wants.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(wants.v[i].info, *wants.v[i].name == '1' ? "2,S" : "");
        assert_int_equal(content_open(p.a.st, &wants.v[i], &fd, &sb, &link), 0);
        close(fd);
    }
    fs_rename(&p.a, "u/cur/1.M1.a:2,S", "u/cur/1.M1.a:2,FS");
    fs_rename(&p.a, "u/new/2.M1.a", "u/cur/2.M1.a:2,");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(content_open(p.a.st, &wants.v[i], &fd, &sb, &link), 0);
        close(fd);
    }
    fs_unlink(&p.a, "u/cur/2.M1.a:2,");
    fs_unlink(&p.a, "u/cur/1.M1.a:2,FS");
    assert_int_equal(content_open(p.a.st, &wants.v[0], &fd, &sb, &link), -ENOENT);
    content_wants_free(&wants);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_refs_of_another),   T(test_published_and_named), T(test_copy_of_published),
        T(test_store_of_a_backup), T(test_state_of_a_backup),   T(test_store_ahead_by_one),
        T(test_publish_homeless),  T(test_publish_above),       T(test_nobody_to_publish_to),
        T(test_cut_short),         T(test_stale_stage),         T(test_newest_first),
        T(test_publish_same_name), T(test_publish_again),       T(test_asked_for_as_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
