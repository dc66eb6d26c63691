/* The merge of the directory tree while the store is in use, and after it was cut short. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd_contact.h"

static struct pair p;
static struct mailfs_id inbox, work; /* containers "u" and "u/.Work", the same on both */

/* A mailbox "u" with a folder .Work on both, a message in the folder, no marks. */
static int setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    fs_write(&p.a, "u/.Work/new/1.M1.a", "one\n");
    contact_mark(&p.a, &work);
    contact_all(&p);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    return 0;
}

static int teardown(void **state) {
    stores_close(&p);
    return 0;
}

struct trees {
    Mfp__Tree *a, *b, *wa, *wb;
};

/* What both would send each other now. */
static void scan_both(struct trees *t, bool full) {
    uint8_t d[STATE_DIGEST];

    assert_int_equal(tree_scan(p.a.st, full, &t->a, d), 0);
    assert_int_equal(tree_scan(p.b.st, full, &t->b, d), 0);
    t->wa = tree_over_wire(t->a);
    t->wb = tree_over_wire(t->b);
}

/* Both carry it out; what b says. */
static int run_both(struct trees *t) {
    uint8_t d[STATE_DIGEST];
    int r;

    assert_int_equal(tree_merge_run(p.a.st, t->a, t->wb, d, NULL), 0);
    r = tree_merge_run(p.b.st, t->b, t->wa, d, NULL);
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

/* The name in kept/ that begins so, or "" */
static void kept_name(struct node *n, const char *prefix, char out[300]) {
    char path[512];
    struct dirent *de;
    DIR *d;

    *out = '\0';
    snprintf(path, sizeof(path), "%s/.mailfs/kept", n->store);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strncmp(de->d_name, prefix, strlen(prefix)) == 0)
            snprintf(out, 300, ".mailfs/kept/%.250s", de->d_name);
    }
    closedir(d);
}

/* Its messages stay until everything is merged. */
static void test_removed_is_kept_back(void **state) {
    char kept[300], *text;
    struct trees t;

    remove_work_at_a();
    scan_both(&t, false);
    assert_int_equal(run_both(&t), 0);
    assert_false(fs_there(&p.b, "u/.Work"));
    kept_name(&p.b, "r-", kept);
    assert_true(*kept);
    text = fs_read(&p.b, kept);
    assert_string_equal(text, "one\n");
    free(text);
    assert_int_equal(merge_caught_up(p.b.st, merge_keep_turn(p.b.st)), 0);
    kept_name(&p.b, "r-", kept);
    assert_string_equal(kept, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_left_in_trash),
        T(test_left_in_trash_nested),
        T(test_left_in_trash_name_taken),
        T(test_made_nested),
        T(test_move_onto_new),
        T(test_move_of_moved),
        T(test_removed_with_news),
        T(test_removed_with_new_folder),
        T(test_removed_is_kept_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
