/*
 * Mail that is delivered into a mailbox while it is removed because the other node removed it:
 * before each single step of the removal, through descriptors as mailfs holds them. Either the
 * delivery is refused, or the message is there afterwards, on both nodes.
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
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd_contact.h"

static struct pair p;
static struct mailfs_id inbox, work;

/* ---- a delivery before the n-th change of the store --------------------------------------------
 */

static struct {
    int tmp, into; /* descriptors that somebody holds: tmp/, and new/ or cur/ */
    unsigned at, steps;
    bool tried, accepted;
    const char *name;
    struct io_ops ops;
} late;

static void step(void) {
    if (late.steps++ != late.at)
        return;
    late.tried = true;
    late.accepted = renameat(late.tmp, "9.M9.b", late.into, late.name) == 0;
    if (!late.accepted)
        assert_int_equal(errno, ENOENT);
}

static int late_rename(int from, const char *a, int to, const char *b, unsigned flags) {
    step();
    return io_ops_real.rename(from, a, to, b, flags);
}

static int late_unlink(int dir, const char *name, int flags) {
    step();
    return io_ops_real.unlink(dir, name, flags);
}

static int open_dir(struct node *n, const char *rel) {
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", n->store, rel);
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static void late_start(unsigned at, const char *sub) {
    char rel[64];

    fs_write(&p.b, "u/.Work/tmp/9.M9.b", "late\n");
    memset(&late, 0, sizeof(late));
    late.at = at;
    late.name = strcmp(sub, "cur") == 0 ? "9.M9.b:2," : "9.M9.b";
    late.tmp = open_dir(&p.b, "u/.Work/tmp");
    snprintf(rel, sizeof(rel), "u/.Work/%s", sub);
    late.into = open_dir(&p.b, rel);
    late.ops = io_ops_real;
    late.ops.rename = late_rename;
    late.ops.unlink = late_unlink;
    io_ops_set(&late.ops);
}

static void late_end(void) {
    io_ops_set(&io_ops_real);
    close(late.tmp);
    close(late.into);
}

/* ---- the removal -------------------------------------------------------------------------------
 */

static const char *const bases[] = {"1.M1.a", "2.M1.a"};

static void start(void) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    fs_write(&p.a, "u/.Work/new/1.M1.a", "one\n");
    fs_write(&p.a, "u/.Work/cur/2.M1.a:2,S", "two\n");
    fs_write(&p.a, "u/.Work/maildirfolder", "");
    contact_mark(&p.a, &work);
    contact_all(&p);
    fs_write(&p.b, "u/.Work/dovecot-uidlist.lock", "1:a"); /* local, and no reason to live */
    fs_rename(&p.a, "u/.Work", "u/..DOVECOT-TRASHED");
}

/* In sync: by the peer's transaction. */
static void removed_in_sync(unsigned at, const char *sub) {
    struct acts acts = {.n = 0};

    act_dir_remove(&acts, &work, ".Work", bases, 2);
    late_start(at, sub);
    stores_send(&p.a, &p.b, &inbox, &acts, false);
}

/* At a contact: by the merge of the trees. */
static void removed_at_contact(unsigned at, const char *sub) {
    uint8_t d[STATE_DIGEST];
    Mfp__Tree *a, *b, *wa, *wb;
    int r;

    contact_mark(&p.a, &inbox);
    contact_mark(&p.a, &work);
    assert_int_equal(tree_scan(p.a.st, false, &a, d, NULL), 0);
    assert_int_equal(tree_scan(p.b.st, false, &b, d, NULL), 0);
    wa = tree_over_wire(a);
    wb = tree_over_wire(b);
    assert_int_equal(tree_merge_run(p.a.st, a, wb, false, d, NULL), 0);
    late_start(at, sub);
    r = tree_merge_run(p.b.st, b, wa, false, d, NULL);
    assert_int_equal(r, late.accepted ? -ESTALE : 0);
    mfp__tree__free_unpacked(a, NULL);
    mfp__tree__free_unpacked(b, NULL);
    mfp__tree__free_unpacked(wa, NULL);
    mfp__tree__free_unpacked(wb, NULL);
}

static void fs_unlink_if(struct node *n, const char *rel) {
    if (fs_there(n, rel))
        fs_unlink(n, rel);
}

typedef void removed_fn(unsigned at, const char *sub);

/* True: there are no so many steps. */
static bool one_run(unsigned at, const char *sub, removed_fn *removed) {
    char rel[100];

    start();
    removed(at, sub);
    late_end();
    fs_unlink_if(&p.b, "u/.Work/dovecot-uidlist.lock");
    snprintf(rel, sizeof(rel), "u/.Work/%s/%s", sub, late.name);
    assert_int_equal(fs_there(&p.b, rel), late.accepted);
    assert_int_equal(fs_there(&p.b, "u/.Work"), late.accepted);
    contact_all(&p);
    assert_int_equal(fs_there(&p.b, rel), late.accepted);
    assert_int_equal(fs_there(&p.a, rel), late.accepted);
    stores_close(&p);
    return !late.tried;
}

static void every_step(const char *sub, removed_fn *removed) {
    unsigned at = 0, accepted = 0, refused = 0;

    while (!one_run(at, sub, removed)) {
        accepted += late.accepted;
        refused += !late.accepted;
        assert_true(++at < 100);
    }
    assert_true(accepted > 0);
    assert_true(refused > 0);
}

static void test_new_in_sync(void **state) {
    every_step("new", removed_in_sync);
}

static void test_cur_in_sync(void **state) {
    every_step("cur", removed_in_sync);
}

static void test_new_at_contact(void **state) {
    every_step("new", removed_at_contact);
}

static void test_cur_at_contact(void **state) {
    every_step("cur", removed_at_contact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_in_sync),
        cmocka_unit_test(test_cur_in_sync),
        cmocka_unit_test(test_new_at_contact),
        cmocka_unit_test(test_cur_at_contact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
