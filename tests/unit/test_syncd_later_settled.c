/* What was fetched for a mailbox is synced before it gets a name in it (syncd/stage_later.c): once,
 * before the mailbox is frozen where that is possible, and alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/content.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "unsynced.h"
#include "later_pair.h"

static void synced_before_named(unsigned n) {
    n_unsynced = 0;
    fill(n);
    merge_watched();
    assert_int_equal(whole("u/cur", "", true), n);
}

static void test_synced_before_named(void **state) {
    synced_before_named(3);
}

static void test_many_synced_before_named(void **state) {
    synced_before_named(MANY);
}

/* Asked for by a transaction and by a merge: the second does not take the place of the one that is
 * counted on before it is durable itself. */
static void test_counted_on_stays_durable(void **state) {
    char name[] = "0.M1.a", key[STAGE_NAME_MAX];
    struct content_want want = {.dir = inbox, .sub = MFP__SUB__CUR, .name = name};

    stage_fetch_name(&want.dir, want.sub, want.name, key);
    assert_int_equal(fetch(&want), 0);
    assert_int_equal(stage_settle(p.b.st, key), 0);
    assert_int_equal(stage_sync(p.b.st), 0);
    n_unsynced = 0;
    watch();
    assert_int_equal(fetch(&want), 0);
    is_synced(p.b.st->stage, key);
    io_ops_set(&io_ops_real);
}

/* ---- made durable before the merge ---------------------------------------------------- */

static unsigned syncs;

static int counted_fsync(int fd) {
    syncs++;
    return watched_fsync(fd);
}

static int counted_syncfs(int fd) {
    syncs++;
    return watched_syncfs(fd);
}

static void watch_and_count(struct io_ops *ops) {
    *ops = io_ops_real;
    ops->pwrite = watched_pwrite;
    ops->fsync = counted_fsync;
    ops->syncfs = counted_syncfs;
    io_ops_set(ops);
    n_unsynced = syncs = 0;
}

/* A frozen mailbox does not wait for what was synced while it was in use. */
static void settled_once(unsigned n) {
    struct io_ops counted;

    watch_and_count(&counted);
    fetch_some(n);
    assert_int_equal(syncs, 0);
    assert_int_equal(stage_settle_all(p.b.st), 0);
    assert_int_equal(n_unsynced, 0);
    assert_int_equal(syncs, n > 16 ? 1 : n);
    assert_int_equal(stage_settle_all(p.b.st), 0);
    assert_int_equal(syncs, n > 16 ? 1 : n);
    io_ops_set(&io_ops_real);
}

static void test_settled_once(void **state) {
    settled_once(3);
}

static void test_many_settled_once(void **state) {
    settled_once(MANY);
}

/* After the file system has written what there was, and before syncfs returns. */
static int syncfs_and_fetch(int fd) {
    int r = counted_syncfs(fd);

    fetch_some(1);
    return r;
}

static void test_not_settled_by_a_sync_before_it(void **state) {
    struct io_ops counted;

    watch_and_count(&counted);
    counted.syncfs = syncfs_and_fetch;
    fetch_some(MANY);
    assert_int_equal(stage_settle_all(p.b.st), 0);
    assert_int_equal(n_unsynced, 1);
    assert_int_equal(stage_settle_all(p.b.st), 0);
    assert_int_equal(n_unsynced, 0);
    io_ops_set(&io_ops_real);
}

/* ---- what others have staged ---------------------------------------------------------- */

/* How much was not synced when the first message got its name in the mailbox. */
static unsigned unsynced_then;

static int noting_rename(int fromdir, const char *from, int todir, const char *to, unsigned flags) {
    if (is_named(to) && unsynced_then == MANY)
        unsynced_then = n_unsynced;
    return watched_rename(fromdir, from, todir, to, flags);
}

static struct io_ops noting;

static void watch_and_note(void) {
    watch();
    noting = *io_ops_set(&io_ops_real);
    noting.rename = noting_rename;
    io_ops_set(&noting);
    unsynced_then = MANY;
}

static void fetch_of_another(void) {
    struct content_want other = {.sub = MFP__SUB__CUR, .name = (char[]){"0.M1.b"}};

    assert_int_equal(mailfs_id_new(&other.dir), 0);
    assert_int_equal(fetch(&other), 0);
}

/* Two messages: settled, or not, before the mailbox is frozen; beside what another one is going to
 * use. */
static void merged_beside_another(bool settled) {
    Mfp__Listing *mine, *theirs;
    uint8_t digest[STATE_DIGEST];
    struct content_wants wants;

    n_unsynced = 0;
    fill(2);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    watch_and_note();
    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    assert_false(wants.unsynced);
    assert_int_equal(fetch_all(&wants), 0);
    if (settled)
        assert_int_equal(stage_make_durable(p.b.st), 0);
    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    assert_int_equal(wants.n, 0);
    assert_int_equal(wants.unsynced, !settled);
    content_wants_free(&wants);
    fetch_of_another();
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, mine, theirs, digest, NULL), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole("u/cur", "", true), 2);
    assert_int_equal(unsynced_then, 1);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* A mailbox that is frozen does not wait for the disk work of others. */
static void test_settled_beside_another(void **state) {
    merged_beside_another(true);
}

/* What is its own is synced all the same, and alone. */
static void test_unsettled_beside_another(void **state) {
    merged_beside_another(false);
}

/* A transaction gives the second its own name while the first is synced. */
static char wanted_key[STAGE_NAME_MAX];

static int fsync_and_settle(int fd) {
    if (*wanted_key != '\0') {
        assert_int_equal(stage_settle(p.b.st, wanted_key), 0);
        *wanted_key = '\0';
    }
    return watched_fsync(fd);
}

static void test_settled_by_a_transaction_meanwhile(void **state) {
    struct stage_keys k = {NULL, 0};
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    struct io_ops ops;

    n_unsynced = 0;
    watch();
    fetch_some(2);
    stage_fetch_name(&inbox, MFP__SUB__CUR, "0.M1.a", key);
    assert_int_equal(stage_keys_add_unsynced(p.b.st, &k, key), 0);
    stage_fetch_name(&inbox, MFP__SUB__CUR, "1.M1.a", wanted_key);
    assert_int_equal(stage_keys_add_unsynced(p.b.st, &k, wanted_key), 0);
    assert_int_equal(k.n, 2);
    ops = io_ops_real;
    ops.fsync = fsync_and_settle;
    io_ops_set(&ops);
    assert_int_equal(stage_settle_keys(p.b.st, &k), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(n_unsynced, 0);
    assert_int_equal(stage_lookup(p.b.st, k.v[1], file), 0);
    assert_string_equal(file, k.v[1]);
    stage_keys_free(&k);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_synced_before_named),
        T(test_many_synced_before_named),
        T(test_counted_on_stays_durable),
        T(test_settled_once),
        T(test_many_settled_once),
        T(test_not_settled_by_a_sync_before_it),
        T(test_settled_beside_another),
        T(test_unsettled_beside_another),
        T(test_settled_by_a_transaction_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
