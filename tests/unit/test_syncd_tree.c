/* The merge of the directory tree while the store is in use, and after it was cut short. */
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
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "syncd_contact.h"
#include "wire/check.h"

static struct pair p;
static struct mailfs_id inbox, work; /* containers "u" and "u/.Work", the same on both */

static int setup(void **state) {
    contact_with_folder(&p, &inbox, &work);
    return 0;
}

static int teardown(void **state) {
    stores_close(&p);
    return 0;
}

/* The name in a directory of .mailfs/ that begins so, or "" */
static void name_in(struct node *n, const char *dir, const char *prefix, char out[300]) {
    char path[512];
    struct dirent *de;
    DIR *d;

    *out = '\0';
    snprintf(path, sizeof(path), "%s/.mailfs/%s", n->store, dir);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strncmp(de->d_name, prefix, strlen(prefix)) == 0)
            snprintf(out, 300, ".mailfs/%s/%.250s", dir, de->d_name);
    }
    closedir(d);
}

struct trees {
    Mfp__Tree *a, *b, *wa, *wb;
};

/* What both would send each other now. */
static void scan_both(struct trees *t, bool full) {
    uint8_t d[STATE_DIGEST];

    assert_int_equal(tree_scan(p.a.st, full, &t->a, d, NULL), 0);
    assert_int_equal(tree_scan(p.b.st, full, &t->b, d, NULL), 0);
    t->wa = tree_over_wire(t->a);
    t->wb = tree_over_wire(t->b);
}

/* Both carry it out; what b says. */
static int run_both(struct trees *t) {
    uint8_t d[STATE_DIGEST];
    int r;

    assert_int_equal(tree_merge_run(p.a.st, t->a, t->wb, false, d, NULL), 0);
    r = tree_merge_run(p.b.st, t->b, t->wa, false, d, NULL);
    mfp__tree__free_unpacked(t->a, NULL);
    mfp__tree__free_unpacked(t->b, NULL);
    mfp__tree__free_unpacked(t->wa, NULL);
    mfp__tree__free_unpacked(t->wb, NULL);
    return r;
}

static void move_aside(struct node *n, const char *rel, const struct mailfs_id *id) {
    char to[100], hex[MAILFS_ID_HEX];

    snprintf(to, sizeof(to), ".mailfs/trash/move-%s", mailfs_id_format(id, hex));
    fs_rename(n, rel, to);
}

/* Cut short, and the process lives on: the next comparison finds it in its place. */
static void test_left_in_trash(void **state) {
    move_aside(&p.b, "u/.Work", &work);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* With a folder in a folder, both on their way; a start finds them. */
static void test_left_in_trash_nested(void **state) {
    struct mailfs_id below = stores_mailbox(&p.a, &p.b, "u/.Work", "below");

    fs_write(&p.a, "u/.Work/below/new/2.M1.a", "two\n");
    contact_mark(&p.a, &below);
    contact_all(&p);
    move_aside(&p.b, "u/.Work/below", &below);
    move_aside(&p.b, "u/.Work", &work);
    contact_mark(&p.b, &inbox);
    contact_mark(&p.b, &work);
    node_reopen(&p.b);
    assert_true(fs_there(&p.b, "u/.Work/below/new/2.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Work/below/new/2.M1.a"));
}

/* Somebody has made a folder of that name meanwhile. */
static void test_left_in_trash_name_taken(void **state) {
    char rel[200], hex[MAILFS_ID_HEX];

    move_aside(&p.b, "u/.Work", &work);
    fs_mkdir(&p.b, "u/.Work");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    snprintf(rel, sizeof(rel), "u/.Work.recovered-%s/new/1.M1.a", mailfs_id_format(&work, hex));
    assert_true(fs_there(&p.a, rel));
    assert_true(fs_there(&p.b, rel));
}

static void set_id(struct node *n, const char *rel, const struct mailfs_id *id) {
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    assert_int_equal(setxattr(path, IO_DIRID_XATTR, id->b, sizeof(id->b), 0), 0);
}

/* Both have made u/.Sent; the id of a's stays. Ids that are below all others: of two moves of one
 * directory the one into it is not the one that stands. */
static void make_on_both(void) {
    static const struct mailfs_id of_a = {{0, 1}}, of_b = {{0, 2}};

    fs_mkdir(&p.a, "u/.Sent");
    fs_mkdir(&p.b, "u/.Sent");
    set_id(&p.a, "u/.Sent", &of_a);
    set_id(&p.b, "u/.Sent", &of_b);
    contact_mark(&p.a, &inbox);
    contact_mark(&p.b, &inbox);
}

/* What is in a directory that gets the other node's id is there all the while. */
static void test_made_on_both_stays(void **state) {
    uint8_t d[STATE_DIGEST];
    struct invals iv;
    struct trees t;
    size_t i;

    make_on_both();
    fs_mkdir(&p.b, "u/.Sent/below");
    fs_id(&p.b, "u/.Sent/below");
    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.b.st, t.b, t.wa, false, d, &iv), 0);
    for (i = 0; i < iv.n; i++) /* taken away, and put back under the same name */
        assert_false(iv.v[i].moved && iv.v[i].n_names && !iv.v[i].names->name);
    assert_true(fs_there(&p.b, "u/.Sent/below"));
    invals_free(&iv);
    mfp__tree__free_unpacked(t.a, NULL);
    mfp__tree__free_unpacked(t.b, NULL);
    mfp__tree__free_unpacked(t.wa, NULL);
    mfp__tree__free_unpacked(t.wb, NULL);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Sent/below"));
}

/* The power of b went while somebody numbered a message in it: that word goes with the directory.
 */
static void test_made_on_both_after_a_cut(void **state) {
    static const struct mailfs_id stays = {{0, 1}}, former = {{0, 2}};

    make_on_both();
    contact_mark(&p.b, &former);
    node_reopen(&p.b);
    assert_true(base_lost_uids(p.b.st, &former));
    contact_trees(&p, false);
    assert_true(base_lost_uids(p.b.st, &stays));
    assert_false(base_lost_uids(p.b.st, &former));
}

/* A folder is moved out of one that gets another id, to a name that is taken by then: it goes back
 * to where it was, and that has the new id already. */
static void test_made_on_both_undone(void **state) {
    char name[300];
    struct trees t;

    make_on_both();
    fs_rename(&p.b, "u/.Work", "u/.Sent/w");
    fs_rename(&p.a, "u/.Work", "u/.Zzz");
    scan_both(&t, false);
    fs_mkdir(&p.b, "u/.Zzz");
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Sent/w/new/1.M1.a"));
    name_in(&p.b, "trash", "move-", name);
    assert_string_equal(name, "");
    contact_all(&p);
}

/* An empty node is filled: all that is new comes in one run, however deep. */
static void test_made_nested(void **state) {
    struct trees t;

    fs_mkdir(&p.a, "v");
    fs_mkdir(&p.a, "v/w");
    fs_mkdir(&p.a, "v/w/x");
    scan_both(&t, true);
    assert_int_equal(run_both(&t), 0);
    assert_true(fs_there(&p.b, "v/w/x"));
}

/* A rename by the peer, while a local user makes a folder of the new name. */
static void test_move_onto_new(void **state) {
    struct trees t;

    fs_rename(&p.a, "u/.Work", "u/.Done");
    contact_mark(&p.a, &inbox);
    scan_both(&t, false);
    fs_mkdir(&p.b, "u/.Done");
    contact_mark(&p.b, &inbox);
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a") || fs_there(&p.b, "u/.Work/new/1.M1.a"));
}

/* A folder made at b, and a file of that name at a, which has no other place: the folder is on
 * both, and the file is kept. */
static void test_made_where_a_file_is(void **state) {
    fs_write(&p.a, "u/.Done", "a file\n");
    contact_mark(&p.a, &inbox);
    fs_mkdir(&p.b, "u/.Done");
    fs_mkdir(&p.b, "u/.Done/new");
    fs_write(&p.b, "u/.Done/new/2.M1.b", "two\n");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Done/new/2.M1.b"));
    assert_int_equal(merge_kept(p.a.st), 1);
}

/* ... and one that is renamed at b. */
static void test_moved_where_a_file_is(void **state) {
    fs_write(&p.a, "u/.Done", "a file\n");
    contact_mark(&p.a, &inbox);
    fs_rename(&p.b, "u/.Work", "u/.Done");
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.Done/new/1.M1.a"));
    assert_int_equal(merge_kept(p.a.st), 1);
}

/* ... and both hear of the other's while they are connected. */
static void test_told_where_a_file_is(void **state) {
    struct acts a = {.n = 0}, b = {.n = 0};

    fs_mkdir(&p.a, "u/.Done");
    fs_mkdir(&p.a, "u/.Done/new");
    fs_write(&p.a, "u/.Done/new/2.M1.a", "two\n");
    fs_write(&p.b, "u/.Done", "a file\n");
    act_dir_make(&p.a, &a, "u", ".Done");
    act_file(&b, ".Done");
    assert_true(stores_send(&p.b, &p.a, &inbox, &b, false));
    assert_true(stores_send(&p.a, &p.b, &inbox, &a, false));
    contact_mark(&p.a, &inbox);
    contact_mark(&p.b, &inbox);
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/2.M1.a"));
    assert_int_equal(merge_kept(p.b.st), 1);
}

/* ... and while a local user renames it too: that stays, until it is compared. */
static void test_move_of_moved(void **state) {
    struct trees t;

    fs_rename(&p.a, "u/.Work", "u/.Done");
    contact_mark(&p.a, &inbox);
    scan_both(&t, false);
    fs_rename(&p.b, "u/.Work", "u/.Mine");
    contact_mark(&p.b, &inbox);
    assert_int_equal(run_both(&t), -ESTALE);
    assert_true(fs_there(&p.b, "u/.Mine/new/1.M1.a"));
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a") || fs_there(&p.b, "u/.Mine/new/1.M1.a"));
}

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

static void merge_at_a_only(void) {
    uint8_t d[STATE_DIGEST];
    struct trees t;

    scan_both(&t, false);
    assert_int_equal(tree_merge_run(p.a.st, t.a, t.wb, false, d, NULL), 0);
    mfp__tree__free_unpacked(t.a, NULL);
    mfp__tree__free_unpacked(t.b, NULL);
    mfp__tree__free_unpacked(t.wa, NULL);
    mfp__tree__free_unpacked(t.wb, NULL);
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

/*
 * a has renamed .Work, and has the merge of that; b could not carry it out, while transactions of
 * its own went on moving its base: its count is `more` above what it was.
 */
static void moved_at_a_only(unsigned more) {
    uint64_t version;

    fs_rename(&p.a, "u/.Work", "u/.New");
    contact_mark(&p.a, &inbox);
    merge_at_a_only();
    assert_int_equal(base_version_get(p.b.st, BASE_OF_TREE, &mailfs_id_root, &version), 0);
    assert_int_equal(
        base_version_put(p.b.st, BASE_AGREED, BASE_OF_TREE, &mailfs_id_root, version + more), 0);
    contact_all(&p);
    assert_true(fs_there(&p.a, "u/.New/new/1.M1.a"));
    assert_true(fs_there(&p.b, "u/.New/new/1.M1.a"));
    assert_false(fs_there(&p.a, "u/.Work"));
    assert_false(fs_there(&p.b, "u/.Work"));
}

/* Its former name does not come back. */
static void test_moved_at_one(void **state) {
    for (unsigned more = 0; more < 4; more++) {
        moved_at_a_only(more);
        teardown(state);
        setup(state);
    }
}

/* a has the merge of a rename, and b not; then a told b of another one. Back at its first name by b
 * alone, that is where it is: what half a merge found is of no account any more. */
static void test_moved_and_told(void **state) {
    struct acts a = {.n = 0};

    fs_rename(&p.a, "u/.Work", "u/.New");
    contact_mark(&p.a, &inbox);
    merge_at_a_only();
    fs_rename(&p.b, "u/.Work", "u/.New"); /* what it had been doing */
    fs_rename(&p.a, "u/.New", "u/.Zoo");
    act_dir_move(&a, &work, ".New", &inbox, ".Zoo");
    stores_send(&p.a, &p.b, &inbox, &a, false);
    fs_rename(&p.b, "u/.Zoo", "u/.Work");
    contact_mark(&p.b, &inbox);
    contact_trees(&p, true);
    assert_true(fs_there(&p.a, "u/.Work"));
    assert_true(fs_there(&p.b, "u/.Work"));
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

/* A folder of this name on both, a's with the lower id. */
static void folder_on_both(char *rel, size_t cap, const char **name) {
    struct mailfs_id a, b;

    for (int i = 0; i < 64; i++) {
        snprintf(rel, cap, "u/.S%d", i);
        *name = rel + 2;
        fs_mkdir(&p.a, rel);
        fs_mkdir(&p.b, rel);
        a = fs_id(&p.a, rel);
        b = fs_id(&p.b, rel);
        if (mailfs_id_cmp(&a, &b) < 0)
            return;
    }
    fail();
}

static void fs_message(struct node *n, const char *folder, const char *name, uint32_t uid) {
    char rel[100], line[100];

    snprintf(rel, sizeof(rel), "%s/cur", folder);
    if (!fs_there(n, rel))
        fs_mkdir(n, rel);
    snprintf(rel, sizeof(rel), "%s/cur/%s:2,S", folder, name);
    fs_write(n, rel, name);
    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", folder);
    snprintf(line, sizeof(line), "%u :%s\n", uid, name);
    fs_append(n, rel, line);
}

/* What a does goes to b, which has it in its journal only. */
static uint64_t tell_b(const struct mailfs_id *dir, struct acts *acts, bool locked,
                       Mfp__Txn **got) {
    Mfp__Txn *txn = node_collect(&p.a, dir, acts, locked);
    uint64_t id = node_receive(&p.a, &p.b, txn, got);

    assert_int_equal(base_acked(p.a.st, txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    return id;
}

static void apply_at_b(Mfp__Txn *txn, uint64_t id) {
    struct apply_result res;

    assert_int_equal(apply_txn(p.b.st, txn, id, false, &res), 0);
    assert_true(res.suspect || res.n_also > 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
}

/* b was killed when its own folder had just got the id: what is in that goes to a nonetheless. */
static void test_joined_and_killed(void **state) {
    struct acts acts = {.n = 0};
    struct mailfs_id id;
    char rel[100], path[120];
    const char *name;
    Mfp__Txn *made;
    uint64_t j;

    folder_on_both(rel, sizeof(rel), &name);
    snprintf(path, sizeof(path), "%s/new", rel);
    fs_mkdir(&p.b, path);
    snprintf(path, sizeof(path), "%s/new/1.M1.b", rel);
    fs_write(&p.b, path, "one\n");
    act_dir_make(&p.a, &acts, "u", name);
    j = tell_b(&inbox, &acts, false, &made);
    id = fs_id(&p.a, rel);
    set_id(&p.b, rel, &id);
    node_killed(&p.b);
    apply_at_b(made, j);
    contact_all(&p);
    assert_true(fs_there(&p.a, path));
}

static void assert_list_begins(struct node *n, const char *folder, const char *with) {
    char rel[100], *text;

    snprintf(rel, sizeof(rel), "%s/dovecot-uidlist", folder);
    text = fs_read(n, rel);
    assert_non_null(text);
    assert_memory_equal(text, with, strlen(with));
    free(text);
}

/* a is being filled, and a client was in the folder before it came. b hears of that when its own
 * folder has got the id of a's already: what is in it is no less b's. */
static void test_made_where_mail_is(void **state) {
    struct mailfs_id folder;
    struct acts acts = {.n = 0};
    char rel[100], list[120];
    const char *name;
    Mfp__Txn *made, *listed;
    uint64_t j_made, j_listed;

    folder_on_both(rel, sizeof(rel), &name);
    snprintf(list, sizeof(list), "%s/dovecot-uidlist", rel);
    fs_write(&p.b, list, "3 V1600000000 N3 G0123456789abcdef0123456789abcdef\n");
    fs_message(&p.b, rel, "1.M1.b", 1);
    fs_message(&p.b, rel, "2.M1.b", 2);
    fs_write(&p.a, list, "3 V1700000000 N2 Gfedcba9876543210fedcba9876543210\n");
    fs_message(&p.a, rel, "3.M1.a", 1);
    folder = fs_id(&p.a, rel);
    act_dir_make(&p.a, &acts, "u", name);
    j_made = tell_b(&inbox, &acts, false, &made);
    act_add(&p.a, &acts, rel, MFL__SUB__CUR, "3.M1.a:2,S", 0);
    act_file(&acts, "dovecot-uidlist");
    j_listed = tell_b(&folder, &acts, true, &listed);
    contact_mark(&p.b, &inbox);
    contact_trees(&p, false);
    apply_at_b(made, j_made);
    apply_at_b(listed, j_listed);
    assert_list_begins(&p.b, rel, "3 V1600000000 ");
    contact_all(&p);
    assert_list_begins(&p.a, rel, "3 V1600000000 ");
    assert_list_begins(&p.b, rel, "3 V1600000000 ");
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
    mfp__tree__free_unpacked(t.a, NULL);
    mfp__tree__free_unpacked(t.b, NULL);
    mfp__tree__free_unpacked(t.wa, NULL);
    mfp__tree__free_unpacked(t.wb, NULL);
    node_reopen(&p.a);
    contact_all(&p);
    assert_list_begins(&p.a, "u/.Work", TAKEN);
    assert_list_begins(&p.b, "u/.Work", TAKEN);
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
    mfp__tree__free_unpacked(t.a, NULL);
    mfp__tree__free_unpacked(t.b, NULL);
    mfp__tree__free_unpacked(t.wa, NULL);
    mfp__tree__free_unpacked(t.wb, NULL);
}

/* Does the listing of b say that something in the folder may be this node's own? */
static bool counts_as_changed(struct state *const *lenders, size_t n_lenders, unsigned ms) {
    uint8_t digest[STATE_DIGEST];
    bool found = false, changed = false;
    struct mailfs_id id;
    Mfp__Tree *t;

    p.b.st->look_ms = ms;
    assert_int_equal(tree_scan_for(p.b.st, false, lenders, n_lenders, &t, digest, NULL), 0);
    for (size_t i = 0; i < t->n_dirs; i++) {
        if (wire_id(&t->dirs[i]->id, &id) == 0 && mailfs_id_equal(&id, &work)) {
            found = true;
            changed = t->dirs[i]->changed_inside;
        }
    }
    assert_true(found);
    mfp__tree__free_unpacked(t, NULL);
    return changed;
}

/* Where there is no time to look into it, it is for this node to bring, but if it is borrowed. */
static void test_no_time_to_look(void **state) {
    struct state *const lenders[] = {p.a.st};

    contact_mark(&p.b, &work);
    assert_false(counts_as_changed(NULL, 0, LOOK_INSIDE_MS));
    assert_true(counts_as_changed(NULL, 0, 0));
    assert_false(counts_as_changed(lenders, 1, 0));
    fs_write(&p.b, "u/.Work/new/2.M1.b", "its own\n");
    assert_true(counts_as_changed(lenders, 1, LOOK_INSIDE_MS));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_left_in_trash),
        T(test_left_in_trash_nested),
        T(test_left_in_trash_name_taken),
        T(test_made_nested),
        T(test_made_on_both_stays),
        T(test_made_on_both_undone),
        T(test_made_on_both_after_a_cut),
        T(test_made_where_mail_is),
        T(test_joined_and_killed),
        T(test_move_onto_new),
        T(test_made_where_a_file_is),
        T(test_moved_where_a_file_is),
        T(test_told_where_a_file_is),
        T(test_move_of_moved),
        T(test_moved_at_one),
        T(test_moved_and_told),
        T(test_removed_with_news),
        T(test_removed_with_new_folder),
        T(test_removed_is_kept_back),
        T(test_removed_before_its_turn),
        T(test_removed_in_part),
        T(test_removed_and_both_killed),
        T(test_removed_while_fetched),
        T(test_removed_lives_renumbered),
        T(test_removed_lives_cut_short),
        T(test_removed_lives_at_standby),
        T(test_no_time_to_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
