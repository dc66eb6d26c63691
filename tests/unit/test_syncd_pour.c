/* Two directories of one node become one: what is in the one goes into the other. */
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

#include <cmocka.h>

#include "io/io.h"
#include "io_fault.h"
#include "maildir/keywords.h"
#include "maildir/name.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "tree_pair.h"

/* a has renamed the folder to .Done, and at b there is another one of that name, an empty one. */
static void made_apart(void) {
    fs_rename(&p.a, "u/.Work", "u/.Done");
    contact_mark(&p.a, &inbox);
    fs_mkdir(&p.b, "u/.Done");
    fs_mkdir(&p.b, "u/.Done/cur");
    fs_mkdir(&p.b, "u/.Done/new");
    contact_mark(&p.b, &inbox);
}

/* The merge of the trees, at one node alone; `begin` and `end` around what it does to the store. */
static int trees_at(struct node *n, void (*begin)(void), void (*end)(void)) {
    struct node *peer = n == &p.a ? &p.b : &p.a;
    Mfp__Tree *mine, *theirs, *wire;
    uint8_t d[STATE_DIGEST];
    int r;

    assert_int_equal(tree_scan(n->st, false, &mine, d, NULL), 0);
    assert_int_equal(tree_scan(peer->st, false, &theirs, d, NULL), 0);
    wire = tree_over_wire(theirs);
    begin();
    r = tree_merge_run(n->st, mine, wire, false, d, NULL);
    end();
    mfp__tree__free_unpacked(mine, NULL);
    mfp__tree__free_unpacked(theirs, NULL);
    mfp__tree__free_unpacked(wire, NULL);
    return r;
}

/* A rename by the peer, and a folder of the new name made here while apart: of the two under the
 * new name the renamed one's id stays, and what is in both is in it. */
static void test_onto_made(void **state) {
    made_apart();
    fs_write(&p.b, "u/.Done/new/2.M1.b", "two\n");
    fs_write(&p.b, "u/.Done/rules", "keep;\n");
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Done/rules"));
    assert_true(fs_there(&p.a, "u/.Done/new/2.M1.b"));
    assert_false(fs_there(&p.b, "u/.Work"));
}

/* ... and what is in the one is a copy of what is in the other, `cp -a` of a mailbox, say. */
static void onto_a_copy(const char *name, const char *text) {
    char rel[500];

    made_apart();
    snprintf(rel, sizeof(rel), "u/.Done/%s", name);
    fs_write(&p.b, rel, text);
    contact_all(&p);
}

static void test_onto_copy(void **state) {
    onto_a_copy("new/1.M1.a", "one\n");
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a"));
    mailbox_teardown(state);
    tree_setup(state);
    onto_a_copy("cur/1.M1.a:2,S", "one\n"); /* read in the one: read */
    assert_true(fs_there(&p.a, "u/.Done/cur/1.M1.a:2,S"));
    assert_true(fs_there(&p.b, "u/.Done/cur/1.M1.a:2,S"));
    assert_false(fs_there(&p.b, "u/.Done/new/1.M1.a"));
    mailbox_teardown(state);
    tree_setup(state);
    onto_a_copy("cur/1.M1.a:2,S", "another\n"); /* and another that has its name */
    assert_true(fs_there(&p.b, "u/.Done/new/1.M1.a"));
    assert_true(fs_there(&p.a, "u/.Done/cur/1.M1.a.mf0000000000000008:2,S"));
    assert_true(fs_there(&p.b, "u/.Done/cur/1.M1.a.mf0000000000000008:2,S"));
}

static void old_rules(struct node *n) {
    struct timespec ts[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    char path[512];

    fs_write(n, "u/.Work/rules", "older\n");
    snprintf(path, sizeof(path), "%s/u/.Work/rules", n->store);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
}

/* ... and both have a file of their own under one name. */
static void test_onto_file(void **state) {
    char *text;

    old_rules(&p.a);
    old_rules(&p.b);
    onto_a_copy("rules", "newer\n");
    text = fs_read(&p.b, "u/.Done/rules");
    assert_string_equal(text, "newer\n");
    free(text);
    assert_int_equal(merge_kept(p.b.st), 1);
}

/* ... and a file has the name of a directory there: that stays, and nothing in it is lost. */
static void test_onto_a_directory(void **state) {
    struct timespec ts[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    struct mailfs_id rules;
    char path[512];

    rules = stores_mailbox(&p.a, &p.b, "u/.Work", "rules");
    fs_write(&p.a, "u/.Work/rules/new/7.M1.a", "seven\n");
    contact_mark(&p.a, &rules);
    contact_all(&p);
    snprintf(path, sizeof(path), "%s/u/.Work/rules", p.b.store);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0);
    onto_a_copy("rules", "newer\n");
    assert_true(fs_there(&p.a, "u/.Done/rules/new/7.M1.a"));
    assert_true(fs_there(&p.b, "u/.Done/rules/new/7.M1.a"));
    assert_int_equal(merge_kept(p.b.st), 1);
}

static void subs_are(struct node *n, const char *text) {
    char *have = fs_read(n, "u/.Done/subscriptions");

    assert_non_null(have);
    assert_string_equal(have, text);
    free(have);
}

/* ... and both have subscriptions: a user's own directory, say. */
static void test_onto_subscriptions(void **state) {
    fs_write(&p.a, "u/.Work/subscriptions", "Drafts\nSent\n");
    contact_mark(&p.a, &work);
    contact_all(&p);
    onto_a_copy("subscriptions", "Lists\nSent\n");
    subs_are(&p.a, "Drafts\nSent\nLists\n");
    subs_are(&p.b, "Drafts\nSent\nLists\n");
    mailbox_teardown(state);
    tree_setup(state);
    onto_a_copy("subscriptions", "Lists\n");
    subs_are(&p.a, "Lists\n");
}

/* Another message of a name that is as long as a name can be, and of its size. */
static void test_onto_a_long_name(void **state) {
    char base[252], rel[400];
    const char *infos[] = {":2,", ":2,S"};

    memset(base, 'n', sizeof(base) - 1);
    base[sizeof(base) - 1] = '\0';
    for (size_t i = 0; i < 2; i++) {
        if (i > 0) {
            mailbox_teardown(state);
            tree_setup(state);
        }
        snprintf(rel, sizeof(rel), "u/.Work/cur/%s:2,S", base);
        fs_write(&p.a, rel, "its own\n");
        contact_mark(&p.a, &work);
        contact_all(&p);
        snprintf(rel, sizeof(rel), "cur/%s%s", base, infos[i]);
        onto_a_copy(rel, "another one\n");
    }
}

/* ---- keywords ---------------------------------------------------------------------- */

struct found {
    const char *base;
    char name[300];
    unsigned n;
};

static void find_in(struct node *n, const char *sub, struct found *f) {
    char path[300];
    struct dirent *e;
    DIR *d;

    snprintf(path, sizeof(path), "%s/u/.Done/%s", n->store, sub);
    d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d))) {
        if (maildir_name_same_base(e->d_name, f->base)) {
            snprintf(f->name, sizeof(f->name), "%.255s", e->d_name);
            f->n++;
        }
    }
    closedir(d);
}

/* The message is in .Done of this node, once, with these keywords (in ascending order of names, a
 * space behind each). */
static void has_keywords(struct node *n, const char *base, const char *names) {
    struct found f = {.base = base};
    struct maildir_keywords *kw;
    struct maildir_name parsed;
    char have[200] = "", *text = fs_read(n, "u/.Done/dovecot-keywords");
    static const char *const all[] = {"Junk", "Later", "Work", "unknown-3"};

    find_in(n, "new", &f);
    find_in(n, "cur", &f);
    assert_int_equal(f.n, 1);
    assert_int_equal(maildir_name_parse(f.name, strlen(f.name), &parsed), 0);
    assert_non_null(text);
    assert_int_equal(maildir_keywords_parse(text, strlen(text), &kw, NULL), 0);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        int k = maildir_keywords_find(kw, all[i]);
        if (k >= 0 && (parsed.keywords >> k & 1)) {
            strcat(have, all[i]);
            strcat(have, " ");
        }
    }
    assert_string_equal(have, names);
    maildir_keywords_free(kw);
    free(text);
}

/* Letters that mean one thing in the one and another in the other; b has a copy of a's message that
 * is in .Work, with other flags, one of its own, and one with a letter that no table names. */
static void letters_apart(void) {
    fs_write(&p.a, "u/.Work/dovecot-keywords", "0 Junk\n1 Work\n");
    fs_write(&p.a, "u/.Work/cur/2.M1.a:2,Fb", "two\n");
    contact_mark(&p.a, &work);
    contact_all(&p);
    made_apart();
    fs_write(&p.b, "u/.Done/dovecot-keywords", "0 Later\n1 Junk\n");
    fs_write(&p.b, "u/.Done/cur/1.M1.a:2,a", "one\n");
    fs_write(&p.b, "u/.Done/cur/2.M1.a:2,Sb", "two\n");
    fs_write(&p.b, "u/.Done/cur/3.M1.b:2,Sab", "three\n");
    fs_write(&p.b, "u/.Done/cur/4.M1.b:2,d", "four\n");
    fs_write(&p.b, "u/.Done/new/5.M1.b", "five\n");
}

static void letters_are_right(struct node *n) {
    has_keywords(n, "1.M1.a", "Later ");
    has_keywords(n, "2.M1.a", "Junk Work ");
    has_keywords(n, "3.M1.b", "Junk Later ");
    has_keywords(n, "4.M1.b", "unknown-3 ");
    has_keywords(n, "5.M1.b", "");
}

static void test_keywords(void **state) {
    letters_apart();
    contact_all(&p);
    letters_are_right(&p.a);
    letters_are_right(&p.b);
    assert_true(fs_there(&p.b, "u/.Done/cur/1.M1.a:2,c")); /* .Work's letters stay what they are */
    assert_true(fs_there(&p.b, "u/.Done/cur/2.M1.a:2,FSab"));
    assert_true(fs_there(&p.b, "u/.Done/cur/3.M1.b:2,Sac"));
}

/* A client of b's gives a new letter in .Done when its table has been read already. */
static bool gives_a_letter;

static int rename_and_give(int fromdir, const char *from, int todir, const char *to,
                           unsigned flags) {
    if (gives_a_letter && strcmp(to, "dovecot-keywords") == 0) {
        gives_a_letter = false;
        fs_write(&p.b, "u/.Done/dovecot-keywords", "0 Later\n1 Junk\n3 Work\n");
        fs_rename(&p.b, "u/.Done/cur/3.M1.b:2,Sab", "u/.Done/cur/3.M1.b:2,Sabd");
    }
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static struct io_ops ops;

static void ops_begin(void) {
    io_ops_set(&ops);
}

static void ops_end(void) {
    io_ops_set(&io_ops_real);
}

static void test_keyword_given_meanwhile(void **state) {
    letters_apart();
    fs_unlink(&p.b, "u/.Done/cur/4.M1.b:2,d");
    fs_write(&p.b, "u/.Done/new/6.M1.b:2,a", "six\n");
    ops = io_ops_real;
    ops.rename = rename_and_give;
    gives_a_letter = true;
    assert_int_equal(trees_at(&p.b, ops_begin, ops_end), 0);
    assert_false(gives_a_letter);
    has_keywords(&p.b, "3.M1.b", "Junk Later Work ");
    has_keywords(&p.b, "6.M1.b", "Later ");
    contact_all(&p);
    has_keywords(&p.a, "3.M1.b", "Junk Later Work ");
}

/* ---- both agreed on ---------------------------------------------------------------- */

/* What of .Work and .Sent, which both nodes have with a message and keywords each, is `into`, and
 * has been renamed to .Done at b; a has renamed the other. */
static const char *into, *other;

static void two_renamed(void) {
    struct mailfs_id sent = stores_mailbox(&p.a, &p.b, "u", ".Sent");
    char rel[100];
    bool works = mailfs_id_cmp(&work, &sent) < 0;

    into = works ? "u/.Work" : "u/.Sent"; /* the lower id stays */
    other = works ? "u/.Sent" : "u/.Work";
    snprintf(rel, sizeof(rel), "%s/cur/2.M1.a:2,S", into);
    fs_write(&p.a, rel, "two\n");
    snprintf(rel, sizeof(rel), "%s/dovecot-keywords", other);
    fs_write(&p.a, rel, "0 Later\n1 Junk\n");
    snprintf(rel, sizeof(rel), "%s/cur/3.M1.a:2,Sab", other);
    fs_write(&p.a, rel, "three\n");
    contact_mark(&p.a, &work);
    contact_mark(&p.a, &sent);
    contact_all(&p);
    fs_rename(&p.a, other, "u/.Done");
    fs_rename(&p.b, into, "u/.Done");
    contact_mark(&p.a, &inbox);
    contact_mark(&p.b, &inbox);
}

static void both_are_there(struct node *n) {
    has_keywords(n, "3.M1.a", "Junk Later ");
    has_keywords(n, "2.M1.a", "");
    has_keywords(n, "1.M1.a", "");
}

/* A client of b's flags a message when that is to be poured. */
static int rename_and_flag(int fromdir, const char *from, int todir, const char *to,
                           unsigned flags) {
    char rel[100], flagged[100];

    if (strcmp(from, "3.M1.a:2,Sab") == 0) {
        snprintf(rel, sizeof(rel), "%s/cur/3.M1.a:2,Sab", other);
        snprintf(flagged, sizeof(flagged), "%s/cur/3.M1.a:2,FSab", other);
        fs_rename(&p.b, rel, flagged);
    }
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static void test_flagged_meanwhile(void **state) {
    two_renamed();
    ops = io_ops_real;
    ops.rename = rename_and_flag;
    assert_int_equal(trees_at(&p.b, ops_begin, ops_end), -ESTALE);
    contact_all(&p);
    both_are_there(&p.a);
    both_are_there(&p.b);
}

static unsigned written;

static int rename_and_count(int fromdir, const char *from, int todir, const char *to,
                            unsigned flags) {
    written += strcmp(to, "dovecot-keywords") == 0;
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

/* Somebody has L, and knows the table as it was. */
static void test_while_locked(void **state) {
    struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
    char path[300];

    written = 0;
    two_renamed();
    fs_write(&p.b, "u/.Done/dovecot-uidlist.lock", "1:b");
    ops = io_ops_real;
    ops.rename = rename_and_count;
    assert_int_equal(trees_at(&p.b, ops_begin, ops_end), -ESTALE);
    assert_int_equal(written, 0);
    assert_true(fs_there(&p.b, "u/.Done/cur/2.M1.a:2,S"));
    snprintf(path, sizeof(path), "%s/u/.Done/dovecot-uidlist.lock", p.b.store);
    assert_int_equal(utimensat(AT_FDCWD, path, ts, 0), 0); /* left behind: nobody's */
    contact_trees(&p, true);
    fs_unlink(&p.b, "u/.Done/dovecot-uidlist.lock");
    contact_all(&p);
    both_are_there(&p.a);
    both_are_there(&p.b);
}

/* It is cut short when the one is empty, and they are two again before it is done once more. */
static int rename_no_trash(int fromdir, const char *from, int todir, const char *to,
                           unsigned flags) {
    if (strncmp(to, "move-", 5) == 0)
        return -EIO;
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static void test_two_again(void **state) {
    two_renamed();
    ops = io_ops_real;
    ops.rename = rename_no_trash;
    assert_int_equal(trees_at(&p.b, ops_begin, ops_end), -EIO);
    fs_rename(&p.b, "u/.Done", into);
    contact_all(&p);
}

/* ---- errors, and ends in the midst ------------------------------------------------- */

static struct {
    struct node *node;
    enum fault_kind kind;
    unsigned at;
} fault;

static void fault_begin(void) {
    fault_start(fault.node->root, fault.kind, fault.at, -EIO);
}

static void each_step_of_two(void **state, struct node *n, enum fault_kind kind) {
    bool more = true;

    fault.node = n;
    fault.kind = kind;
    for (fault.at = 0; more; fault.at++) {
        if (fault.at > 0) {
            mailbox_teardown(state);
            tree_setup(state);
        }
        two_renamed();
        trees_at(n, fault_begin, fault_power_on);
        more = fault_happened();
        if (kind == FAULT_KILL)
            node_killed(n);
        contact_all(&p);
        both_are_there(&p.a);
        both_are_there(&p.b);
    }
    assert_true(fault.at > 10);
}

/* Each step fails once, and the process lives on; or it is killed there. */
static void each_step(void **state, enum fault_kind kind) {
    bool more = true;
    char *text;

    fault.node = &p.b;
    fault.kind = kind;
    for (fault.at = 0; more; fault.at++) {
        if (fault.at > 0) {
            mailbox_teardown(state);
            tree_setup(state);
        }
        letters_apart();
        fs_write(&p.b, "u/.Done/rules", "keep;\n");
        old_rules(&p.b);
        trees_at(&p.b, fault_begin, fault_power_on);
        more = fault_happened();
        if (kind == FAULT_KILL)
            node_killed(&p.b);
        contact_all(&p);
        letters_are_right(&p.a);
        letters_are_right(&p.b);
        text = fs_read(&p.a, "u/.Done/rules");
        assert_string_equal(text, "keep;\n");
        free(text);
    }
    assert_true(fault.at > 20);
}

static void test_each_step_fails(void **state) {
    each_step(state, FAULT_FAIL);
}

static void test_killed_at_each_step(void **state) {
    each_step(state, FAULT_KILL);
}

/* b has the one that stays in its place, a moves it there. */
static void test_each_step_of_two_fails(void **state) {
    each_step_of_two(state, &p.b, FAULT_FAIL);
    mailbox_teardown(state);
    tree_setup(state);
    each_step_of_two(state, &p.a, FAULT_FAIL);
}

static void test_killed_at_each_step_of_two(void **state) {
    each_step_of_two(state, &p.b, FAULT_KILL);
    mailbox_teardown(state);
    tree_setup(state);
    each_step_of_two(state, &p.a, FAULT_KILL);
}

/* new/ of what becomes part of the other cannot be opened, once: that is no empty one. */
static ino_t unread;

static int open_or_fail(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    struct stat sb;

    if (unread && strcmp(path, "new") == 0 && fstat(dirfd, &sb) == 0 && sb.st_ino == unread) {
        unread = 0;
        return -EMFILE;
    }
    return io_ops_real.open(dirfd, path, flags, mode, resolve);
}

static void test_cannot_be_read(void **state) {
    char path[300];
    struct stat sb;

    letters_apart();
    snprintf(path, sizeof(path), "%s/u/.Done", p.b.store);
    assert_int_equal(stat(path, &sb), 0);
    ops = io_ops_real;
    ops.open = open_or_fail;
    unread = sb.st_ino;
    assert_int_equal(trees_at(&p.b, ops_begin, ops_end), -EMFILE);
    assert_int_equal(unread, 0);
    contact_all(&p);
    letters_are_right(&p.b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, tree_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_onto_made),
        T(test_onto_copy),
        T(test_onto_file),
        T(test_onto_a_directory),
        T(test_onto_a_long_name),
        T(test_onto_subscriptions),
        T(test_keywords),
        T(test_keyword_given_meanwhile),
        T(test_each_step_fails),
        T(test_killed_at_each_step),
        T(test_cannot_be_read),
        T(test_flagged_meanwhile),
        T(test_while_locked),
        T(test_two_again),
        T(test_each_step_of_two_fails),
        T(test_killed_at_each_step_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
