/*
 * What the brake holds back, on the disk side of two nodes: from where on; that everything else of
 * such a mailbox goes on, by transactions and by merges; and its end, either way.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/undo.h"
#include "replica/brake.h"
#include "syncd/base.h"
#include "syncd/hold.h"
#include "syncd/merge_run.h"
#include "syncd/state_int.h"
#include "syncd/unread.h"
#include "syncd_contact.h"

static struct pair p;
static struct mailfs_id user, box, work;

static void fill(const char *rel, unsigned n, struct acts *acts, const char *mbox) {
    char path[128], name[32];

    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%u.M1.a", 100 + i);
        snprintf(path, sizeof path, "%s/new/%s", rel, name);
        fs_write(&p.a, path, "text\n");
        act_add(&p.a, acts, mbox, MFL__SUB__NEW, name, 0);
    }
}

/* A user with a folder, n messages in his INBOX and five in the other. */
static void start(unsigned n) {
    struct acts made = {.n = 0}, in_box = {.n = 0}, in_work = {.n = 0};

    stores_open(&p);
    p.a.st->undo = io_undo_open(p.a.st->home);
    p.a.st->undo_keeps = true;
    assert_int_equal(hold_open(p.a.st, 30), 0);
    fs_mkdir(&p.a, "u");
    user = fs_id(&p.a, "u");
    act_dir_make(&p.a, &made, "", "u");
    stores_send(&p.a, &p.b, &mailfs_id_root, &made, false);
    box = stores_mailbox(&p.a, &p.b, "u", "Maildir");
    work = stores_mailbox(&p.a, &p.b, "u/Maildir", ".Work");
    fill("u/Maildir", n, &in_box, "u/Maildir");
    stores_send(&p.a, &p.b, &box, &in_box, false);
    fill("u/Maildir/.Work", 5, &in_work, "u/Maildir/.Work");
    stores_send(&p.a, &p.b, &work, &in_work, false);
    stores_assert_equal(&p);
}

/* As mailfs does it. */
static void keep(const char *rel, const struct mailfs_id *dir, unsigned i) {
    char path[512], name[32];
    int fd;

    snprintf(path, sizeof path, "%s/%s/new", p.a.store, rel);
    snprintf(name, sizeof name, "%u.M1.a", 100 + i);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(io_undo_keep(p.a.st->undo, dir, rel, fd, name), 0);
    close(fd);
}

static void removed(struct acts *acts, unsigned i) {
    char name[32];

    snprintf(name, sizeof name, "%u.M1.a", 100 + i);
    act_remove(acts, MFL__SUB__NEW, name);
}

/* True: the other node is told. */
static bool remove_one(const char *rel, const struct mailfs_id *dir, unsigned i) {
    struct acts acts = {.n = 0};
    Mfp__Txn *txn;
    bool told;

    keep(rel, dir, i);
    removed(&acts, i);
    txn = node_collect(&p.a, dir, &acts, false);
    told = txn != NULL;
    if (txn)
        mfp__txn__free_unpacked(txn, NULL);
    acts_free(&acts);
    return told;
}

static bool there(struct node *n, unsigned i) {
    char rel[64];

    snprintf(rel, sizeof rel, "u/Maildir/new/%u.M1.a", 100 + i);
    return fs_there(n, rel);
}

static unsigned trips(struct mailfs_id *tree) {
    struct hold_trip *v;
    size_t n = hold_trips(p.a.st, &v);

    for (size_t i = 0; i < n; i++) {
        *tree = v[i].tree;
        free(v[i].path);
    }
    free(v);
    return (unsigned)n;
}

/* One after the other: as many as nobody asks about are told, and no more, also of a folder. */
static void from_the_hundredth_on(void **state) {
    struct mailfs_id tree;
    unsigned told = 0;

    start(150);
    for (unsigned i = 0; i < 120; i++)
        told += remove_one("u/Maildir", &box, i);
    assert_int_equal(told, BRAKE_FLOOR - 1);
    assert_int_equal(trips(&tree), 1);
    assert_true(mailfs_id_equal(&tree, &box));
    assert_false(remove_one("u/Maildir/.Work", &work, 0));
    assert_true(hold_covers(p.a.st, &work));
    assert_false(hold_covers(p.a.st, &user));
    assert_true(hold_keeps_dir(p.a.st, &user));
    assert_int_equal(trips(&tree), 0);
    stores_close(&p);
}

/* A message of u's INBOX is in Work under another name, and gone from INBOX. */
static void moved_to_work(struct acts *acts, unsigned i) {
    char from[64], to[64];
    snprintf(from, sizeof from, "u/Maildir/new/%u.M1.a", 100 + i);
    snprintf(to, sizeof to, "u/Maildir/.Work/cur/%u.M2.a:2,", 100 + i);
    fs_link(&p.a, from, to);
    keep("u/Maildir", &box, i);
    removed(acts, i);
}

/* All at once: none is told. What is in another mailbox still has not gone. */
static void in_one_transaction(void **state) {
    struct acts acts = {.n = 0}, moved = {.n = 0};
    struct mailfs_id tree;
    Mfp__Txn *txn;

    start(260);
    for (unsigned i = 0; i < 110; i++)
        moved_to_work(&moved, i);
    txn = node_collect(&p.a, &box, &moved, true);
    assert_int_equal(txn->n_ops, 110);
    assert_int_equal(trips(&tree), 0);
    mfp__txn__free_unpacked(txn, NULL);
    for (unsigned i = 110; i < 230; i++) {
        keep("u/Maildir", &box, i);
        removed(&acts, i);
    }
    txn = node_collect(&p.a, &box, &acts, true);
    assert_null(txn);
    assert_int_equal(trips(&tree), 1);
    acts_free(&acts);
    acts_free(&moved);
    stores_close(&p);
}

/* Of thousands of users: one question more, and nothing is told. */
static void of_too_many(void **state) {
    struct hold_trip *v;
    unsigned told = 0;

    start(150);
    for (unsigned i = 0; i < HOLD_TREES_MAX; i++) {
        struct mailfs_id id = {{9, (uint8_t)(i >> 8), (uint8_t)i}};
        hold_set(p.a.st, &id, true);
    }
    for (unsigned i = 0; i < 120; i++)
        told += remove_one("u/Maildir", &box, i);
    assert_int_equal(told, BRAKE_FLOOR - 1);
    assert_int_equal(hold_trips(p.a.st, &v), 1);
    assert_true(mailfs_id_is_root(&v[0].tree));
    assert_string_equal(v[0].path, "");
    assert_int_equal(v[0].removed, BRAKE_FLOOR);
    assert_int_equal(v[0].present, 150 + 5 - BRAKE_FLOOR);
    assert_true(hold_covers(p.a.st, &user));
    free(v[0].path);
    free(v);
    stores_close(&p);
}

/* As mailfsctl snapshot makes it, of the INBOX. */
static void snapshot(const char *name, unsigned n) {
    static const char *const below[] = {"", "/u", "/u/Maildir", "/u/Maildir/new", "/u/Maildir/cur"};
    char from[64], to[128];

    if (!fs_there(&p.a, ".mailfs/snapshots"))
        fs_mkdir(&p.a, ".mailfs/snapshots");
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        snprintf(to, sizeof to, ".mailfs/snapshots/%s%s", name, below[i]);
        fs_mkdir(&p.a, to);
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(from, sizeof from, "u/Maildir/new/%u.M1.a", 100 + i);
        snprintf(to, sizeof to, ".mailfs/snapshots/%s/%s", name, from);
        fs_link(&p.a, from, to);
    }
}

/* A snapshot's names are no other place: what is in two of them has gone; what was moved has not.
 */
static void in_snapshots(void **state) {
    struct acts moved = {.n = 0};
    struct mailfs_id tree;
    unsigned told = 0;

    start(400);
    snapshot("one", 400);
    snapshot("two", 400);
    for (unsigned i = 0; i < 200; i++)
        moved_to_work(&moved, i);
    mfp__txn__free_unpacked(node_collect(&p.a, &box, &moved, true), NULL);
    assert_int_equal(trips(&tree), 0);
    for (unsigned i = 200; i < 390; i++)
        told += remove_one("u/Maildir", &box, i);
    assert_int_equal(trips(&tree), 1);
    assert_true(mailfs_id_equal(&tree, &box));
    assert_in_range(told, BRAKE_FLOOR - 1, 189);
    acts_free(&moved);
    stores_close(&p);
}

/* Picked up, seen and marked \Deleted since. */
static void in_a_snapshot_by_another_name(void **state) {
    char from[64], to[64], cur[512];
    struct mailfs_id tree;

    start(150);
    snapshot("one", 150);
    snprintf(cur, sizeof cur, "%s/u/Maildir/cur", p.a.store);
    for (unsigned i = 0; i < 110; i++) {
        int fd = open(cur, O_RDONLY | O_DIRECTORY);
        snprintf(from, sizeof from, "u/Maildir/new/%u.M1.a", 100 + i);
        snprintf(to, sizeof to, "u/Maildir/cur/%u.M1.a:2,ST", 100 + i);
        fs_rename(&p.a, from, to);
        assert_int_equal(io_undo_keep(p.a.st->undo, &box, "u/Maildir", fd, to + 14), 0);
        close(fd);
    }
    contact_mark(&p.a, &box);
    assert_int_equal(hold_look(p.a.st), 0);
    assert_int_equal(trips(&tree), 1);
    stores_close(&p);
}

/* What was done while there was no syncd. */
static void before_a_contact(void **state) {
    struct mailfs_id tree;

    start(150);
    for (unsigned i = 0; i < 110; i++)
        keep("u/Maildir", &box, i);
    contact_mark(&p.a, &box);
    assert_int_equal(hold_look(p.a.st), 0);
    assert_int_equal(trips(&tree), 1);
    contact_trees(&p, false);
    assert_int_equal(contact_merge_once(&p, &box, false), 0);
    assert_true(there(&p.b, 0));
    hold_meant(p.a.st, &box, (int64_t)time(NULL));
    assert_int_equal(hold_look(p.a.st), 0); /* it is not asked again */
    assert_int_equal(trips(&tree), 0);
    contact_all(&p);
    assert_false(there(&p.b, 0));
    assert_true(there(&p.b, 149));
    stores_close(&p);
}

/* ---- a held mailbox ---------------------------------------------------------------- */

static void hold_two(void) {
    start(4);
    hold_set(p.a.st, &box, true);
    assert_false(remove_one("u/Maildir", &box, 0));
    assert_false(remove_one("u/Maildir", &box, 1));
}

/* Flags, removals and new mail of the other node; new mail of this one. */
static void goes_on(void) {
    struct acts flag = {.n = 0}, expunge = {.n = 0}, mail_b = {.n = 0}, mail_a = {.n = 0};

    fs_rename(&p.b, "u/Maildir/new/100.M1.a", "u/Maildir/cur/100.M1.a:2,F");
    act_move(&flag, MFL__SUB__NEW, "100.M1.a", MFL__SUB__CUR, "100.M1.a:2,F");
    assert_false(stores_send(&p.b, &p.a, &box, &flag, false));
    fs_unlink(&p.b, "u/Maildir/new/102.M1.a");
    act_remove(&expunge, MFL__SUB__NEW, "102.M1.a");
    assert_false(stores_send(&p.b, &p.a, &box, &expunge, false));
    fs_write(&p.b, "u/Maildir/new/500.M1.b", "new\n");
    act_add(&p.b, &mail_b, "u/Maildir", MFL__SUB__NEW, "500.M1.b", 0);
    assert_false(stores_send(&p.b, &p.a, &box, &mail_b, false));
    fs_write(&p.a, "u/Maildir/new/600.M1.a", "new\n");
    act_add(&p.a, &mail_a, "u/Maildir", MFL__SUB__NEW, "600.M1.a", 0);
    assert_false(stores_send(&p.a, &p.b, &box, &mail_a, false));
    for (int i = 0; i < 2; i++) {
        struct node *n = i ? &p.a : &p.b;
        assert_true(fs_there(n, "u/Maildir/new/500.M1.b"));
        assert_true(fs_there(n, "u/Maildir/new/600.M1.a"));
        assert_false(there(n, 2));
    }
    assert_false(fs_there(&p.a, "u/Maildir/cur/100.M1.a:2,F"));
}

/* In sync, by merges, after a lost uidlist, after a kill: the bases stay equal, nothing goes. */
static void works_on(void **state) {
    hold_two();
    goes_on();
    assert_int_equal(contact_merge_once(&p, &box, false), 0);
    assert_int_equal(contact_merge_once(&p, &box, true), 0);
    fs_write(&p.b, "u/Maildir/dovecot-uidlist", "3 V77 N4\n2 :100.M1.a\n3 :101.M1.a\n");
    assert_int_equal(contact_merge_once(&p, &box, true), 0);
    node_killed(&p.a);
    assert_int_equal(hold_open(p.a.st, 30), 0);
    hold_set(p.a.st, &box, true);
    assert_int_equal(contact_merge_once(&p, &box, false), 0);
    assert_true(fs_there(&p.b, "u/Maildir/cur/100.M1.a:2,F"));
    assert_true(there(&p.b, 1));
    assert_false(there(&p.a, 1));
    stores_close(&p);
}

/*
 * The other node is lost, and a new one in its place: it gets what is held back, with the flags and
 * in the place that it had. What is not kept any more, or cannot be read, is nowhere.
 */
static void on_a_new_node(void **state) {
    char path[512], hex[MAILFS_ID_HEX], *text;
    struct unread_msg *unread;
    struct stat sb;
    size_t n;

    hold_two();
    assert_false(remove_one("u/Maildir", &box, 3));
    goes_on();
    snprintf(path, sizeof path, ".mailfs/undo/%s/101.M1.a", mailfs_id_format(&box, hex));
    fs_unlink(&p.a, path);
    snprintf(path, sizeof path, "%s/.mailfs/undo/%s/103.M1.a", p.a.store, hex);
    assert_int_equal(stat(path, &sb), 0);
    unread_note(p.a.st, &box, UNREAD_MSG, "103.M1.a", -EIO, &sb);
    assert_int_equal(unread_list(p.a.st, &unread, &n), 0);
    assert_int_equal(unread_try(p.a.st, &unread[0], true), 0); /* it has not gone */
    free(unread);
    node_replaced(&p.b);
    assert_int_equal(base_unmerge(p.a.st), 0);
    contact_trees(&p, true);
    box = fs_id(&p.a, "u/Maildir");
    assert_int_equal(contact_merge_once(&p, &box, true), 0);
    text = fs_read(&p.b, "u/Maildir/cur/100.M1.a:2,F");
    assert_string_equal(text, "text\n");
    free(text);
    snprintf(path, sizeof path, "%s/u/Maildir/cur/100.M1.a:2,F", p.b.store);
    assert_int_equal(stat(path, &sb), 0);
    assert_true((sb.st_mode & 0600) == 0600 && sb.st_mtim.tv_sec > 0);
    assert_false(there(&p.b, 1) || there(&p.b, 2) || there(&p.b, 3));
    assert_true(fs_there(&p.b, "u/Maildir/new/600.M1.a"));
    assert_int_equal(contact_merge_once(&p, &box, false), 0);
    hold_meant(p.a.st, &box, (int64_t)time(NULL));
    contact_mark(&p.a, &box);
    contact_all(&p);
    assert_false(fs_there(&p.b, "u/Maildir/cur/100.M1.a:2,F"));
    stores_close(&p);
}

/* The power was cut: the base is an earlier one, what the other node did is applied once more. */
static void after_a_power_cut(void **state) {
    int r;

    hold_two();
    assert_int_equal(state_checkpoint(p.a.st, 100, NULL, 0), 0);
    goes_on();
    node_reopen(&p.a);
    assert_int_equal(hold_open(p.a.st, 30), 0);
    hold_set(p.a.st, &box, true);
    node_replay(&p.a);
    contact_mark(&p.a, &box);
    contact_trees(&p, false);
    r = contact_merge_once(&p, &box, false);
    if (r == -ESTALE)
        r = contact_merge_once(&p, &box, true);
    assert_int_equal(r, 0);
    assert_true(fs_there(&p.b, "u/Maildir/cur/100.M1.a:2,F"));
    assert_true(there(&p.b, 1));
    assert_false(there(&p.a, 1));
    assert_true(fs_there(&p.a, "u/Maildir/new/500.M1.b"));
    assert_true(fs_there(&p.b, "u/Maildir/new/600.M1.a"));
    stores_close(&p);
}

static void it_was_meant(void **state) {
    hold_two();
    goes_on();
    hold_meant(p.a.st, &box, (int64_t)time(NULL));
    contact_mark(&p.a, &box);
    contact_all(&p);
    assert_false(fs_there(&p.b, "u/Maildir/cur/100.M1.a:2,F"));
    assert_false(there(&p.b, 1));
    assert_true(fs_there(&p.b, "u/Maildir/new/500.M1.b"));
    stores_close(&p);
}

static int count_box(void *arg, size_t tree, const struct mailfs_id *id) {
    unsigned *in = arg;

    assert_true(mailfs_id_equal(id, &box));
    in[tree]++;
    return 0;
}

/* Under its old name, with the flags that it was given meanwhile. With it comes what went there by
 * the way: nobody knows of that what was meant. */
static void it_was_not(void **state) {
    struct invals iv = {0};
    struct mailfs_id trees[4];
    unsigned in[4] = {0};
    uint64_t n;

    hold_two();
    goes_on();
    trees[0] = work;
    trees[1] = user;
    trees[2] = box;
    trees[3] = mailfs_id_root;
    assert_int_equal(hold_boxes(p.a.st, trees, 4, count_box, in), 0);
    assert_int_equal(in[0], 0);
    for (int i = 1; i < 4; i++)
        assert_int_equal(in[i], 1); /* of each tree that it is in, once */
    assert_int_equal(hold_put_back(p.a.st, &box, 0, &iv, &n), 0);
    assert_int_equal(n, 3);
    invals_free(&iv);
    hold_set(p.a.st, &box, false);
    assert_true(fs_there(&p.a, "u/Maildir/cur/100.M1.a:2,F"));
    assert_true(there(&p.a, 1));
    contact_all(&p);
    assert_true(there(&p.b, 2));
    stores_close(&p);
}

/* What is not kept here any more comes from the other node; what has another name in undo still, as
 * it was moved before, is put back as well. */
static void not_all_is_kept(void **state) {
    struct invals iv = {0};
    char path[512], other[512], hex[MAILFS_ID_HEX];
    uint64_t n;

    hold_two();
    snprintf(path, sizeof path, ".mailfs/undo/%s/100.M1.a", mailfs_id_format(&box, hex));
    fs_unlink(&p.a, path);
    snprintf(path, sizeof path, ".mailfs/undo/%s/101.M1.a", mailfs_id_format(&box, hex));
    snprintf(other, sizeof other, ".mailfs/undo/%s/99.M1.a", mailfs_id_format(&box, hex));
    fs_link(&p.a, path, other);
    assert_int_equal(hold_put_back(p.a.st, &box, 0, &iv, &n), 0);
    assert_int_equal(n, 1);
    invals_free(&iv);
    hold_set(p.a.st, &box, false);
    contact_all(&p);
    assert_true(there(&p.a, 0) && there(&p.b, 0) && there(&p.a, 1) && there(&p.b, 1));
    stores_close(&p);
}

/* ---- directories ------------------------------------------------------------------- */

static void fs_rmdirs(const char *rel) {
    static const char *const parts[] = {"/new", "/cur", "/tmp", ""};
    char path[512];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s%s", p.a.store, rel, parts[i]);
        assert_int_equal(rmdir(path), 0);
    }
}

static bool told_of_removal(const struct mailfs_id *parent, const struct mailfs_id *dir,
                            const char *name) {
    struct acts acts = {.n = 0};
    Mfp__Txn *txn;

    act_dir_remove(&acts, dir, name, NULL, 0);
    txn = node_collect(&p.a, parent, &acts, false);
    if (txn)
        mfp__txn__free_unpacked(txn, NULL);
    acts_free(&acts);
    return txn != NULL;
}

static void remove_all(void) {
    for (unsigned i = 0; i < 5; i++)
        assert_false(remove_one("u/Maildir/.Work", &work, i));
    for (unsigned i = 2; i < 4; i++)
        assert_false(remove_one("u/Maildir", &box, i));
    fs_rmdirs("u/Maildir/.Work");
    fs_rmdirs("u/Maildir");
    assert_false(told_of_removal(&box, &work, ".Work"));
    assert_false(told_of_removal(&user, &box, "Maildir"));
}

/* Made again, with the ids they had: at once, or by a contact. */
static void directories_stay(void **state) {
    struct invals iv = {0};
    struct mailfs_id *made, id;
    size_t n;

    hold_two();
    remove_all();
    assert_true(hold_dirs_due(p.a.st));
    assert_int_equal(hold_make_dirs(p.a.st, &iv, &made, &n), 0);
    assert_true(n >= 1 && iv.n >= 2);
    assert_false(hold_dirs_due(p.a.st));
    id = fs_id(&p.a, "u/Maildir/.Work");
    assert_true(mailfs_id_equal(&id, &work));
    assert_true(fs_there(&p.a, "u/Maildir/.Work/cur"));
    invals_free(&iv);
    free(made);
    fs_rmdirs("u/Maildir/.Work");
    fs_rmdirs("u/Maildir");
    contact_mark(&p.a, &user);
    contact_mark(&p.a, &box);
    contact_trees(&p, false);
    id = fs_id(&p.a, "u/Maildir");
    assert_true(mailfs_id_equal(&id, &box));
    assert_true(there(&p.b, 0));
    assert_true(fs_there(&p.b, "u/Maildir/.Work/new/104.M1.a"));
    stores_close(&p);
}

/* The user's mailbox is made anew by a delivery before the old one could be: whichever id remains,
 * what was held stays on the other node. */
static void made_anew(void **state) {
    struct mailfs_id tree, now;

    for (int run = 0; run < 12; run++) { /* the lower id remains: either */
        hold_two();
        remove_all();
        fs_mkdir(&p.a, "u/Maildir");
        fs_mkdir(&p.a, "u/Maildir/new");
        fs_mkdir(&p.a, "u/Maildir/cur");
        fs_mkdir(&p.a, "u/Maildir/tmp");
        fs_write(&p.a, "u/Maildir/new/700.M1.a", "new\n");
        if (run & 2) { /* the other node has been told already */
            struct acts acts = {.n = 0};
            act_dir_make(&p.a, &acts, "u", "Maildir");
            stores_send(&p.a, &p.b, &user, &acts, false);
        }
        contact_mark(&p.a, &user);
        contact_mark(&p.a, &box);
        contact_mark(&p.a, &work);
        contact_trees(&p, run % 2 == 0);
        contact_trees(&p, false);
        now = fs_id(&p.a, "u/Maildir");
        assert_true(hold_covers(p.a.st, &now));
        if (trips(&tree) > 0)
            assert_true(mailfs_id_equal(&tree, &now));
        contact_merge_once(&p, &now, true);
        contact_merge_once(&p, &work, true);
        assert_true(there(&p.b, 0));
        assert_true(fs_there(&p.b, "u/Maildir/new/700.M1.a"));
        assert_true(fs_there(&p.b, "u/Maildir/.Work/new/104.M1.a"));
        stores_close(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_hundredth_on),
        cmocka_unit_test(in_one_transaction),
        cmocka_unit_test(of_too_many),
        cmocka_unit_test(in_snapshots),
        cmocka_unit_test(in_a_snapshot_by_another_name),
        cmocka_unit_test(before_a_contact),
        cmocka_unit_test(works_on),
        cmocka_unit_test(on_a_new_node),
        cmocka_unit_test(after_a_power_cut),
        cmocka_unit_test(it_was_meant),
        cmocka_unit_test(it_was_not),
        cmocka_unit_test(not_all_is_kept),
        cmocka_unit_test(directories_stay),
        cmocka_unit_test(made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
