/*
 * What is fetched is not durable until somebody counts on it (syncd/stage_later.c): the power is
 * cut at each step, and what has a name in a mailbox, or was acknowledged, is whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
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
#include "io_fault.h"
#include "syncd/base.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "syncd_pair.h"

#define MANY 20 /* more than are synced one by one */

static struct pair p;
static struct mailfs_id inbox;
static char grave[300];

static int setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    snprintf(grave, sizeof(grave), "%s/grave", p.b.root);
    assert_int_equal(mkdir(grave, 0700), 0);
    return 0;
}

static int teardown(void **state) {
    stores_close(&p);
    return 0;
}

static void text_of(const char *base, char text[64]) {
    snprintf(text, 64, "message %.40s\n", base);
}

static void fill(unsigned n) {
    char rel[64], base[32], text[64];

    for (unsigned i = 0; i < n; i++) {
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(rel, sizeof(rel), "u/cur/%s:2,S", base);
        text_of(base, text);
        fs_write(&p.a, rel, text);
    }
}

/* As the driver does it, until something fails. */
static int fetch(const struct content_want *w) {
    Mfp__Meta meta = MFP__META__INIT;
    char text[64];
    struct stage_file *f;
    int r;

    text_of(w->name, text);
    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    meta.size = strlen(text);
    r = stage_begin_fetch(p.b.st, &w->dir, w->sub, w->name, &meta, NULL, &f);
    if (r < 0)
        return r;
    r = stage_write(f, 0, text, strlen(text));
    if (r == 0)
        return stage_commit(f, STAGE_LATER);
    stage_abandon(f);
    return r;
}

static int fetch_all(struct content_wants *wants) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < wants->n; i++)
        r = fetch(&wants->v[i]);
    content_wants_free(wants);
    return r;
}

/* How many there are in this directory of b, whose names begin so; fails at one that is not whole.
 */
static unsigned whole(const char *dir, const char *begin, bool named_by_base) {
    char path[512], rel[512], expected[64], *text;
    struct dirent *de;
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s/%s", p.b.store, dir);
    d = opendir(path);
    assert_non_null(d);
    while ((de = readdir(d))) {
        if (de->d_name[0] == '.' || strncmp(de->d_name, begin, strlen(begin)) != 0)
            continue;
        snprintf(rel, sizeof(rel), "%s/%.300s", dir, de->d_name);
        text = fs_read(&p.b, rel);
        snprintf(path, sizeof(path), "%.*s", (int)strcspn(de->d_name, ":"), de->d_name);
        text_of(path, expected);
        if (named_by_base)
            assert_string_equal(text, expected);
        else
            assert_int_equal(strncmp(text, "message ", 8), 0);
        free(text);
        n++;
    }
    closedir(d);
    return n;
}

/* ---- a merge ----------------------------------------------------------------------- */

static int merge(const Mfp__Listing *mine, const Mfp__Listing *theirs) {
    uint8_t digest[STATE_DIGEST];
    struct content_wants wants;
    int r = content_lacks(p.b.st, theirs, &wants);

    if (r == 0)
        r = fetch_all(&wants);
    return r == 0 ? merge_mailbox_run(p.b.st, &inbox, mine, theirs, digest, NULL) : r;
}

/* The digest that tells the peer that it is merged is not said before all of it is durable. */
static int merge_with_fault(unsigned n, enum fault_kind kind, unsigned at) {
    Mfp__Listing *mine, *theirs;
    int r;

    fill(n);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    fault_start(grave, kind, at, -EIO);
    r = merge(mine, theirs);
    io_barrier("said to be merged");
    fault_power_on();
    if (kind != FAULT_FAIL)
        node_reopen(&p.b);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
    return r;
}

static void merged_at_each_step(unsigned n, enum fault_kind kind) {
    unsigned at = 0, there;
    int r;

    do {
        r = merge_with_fault(n, kind, at++);
        there = whole("u/cur", "", true);
        assert_true(there <= n && (r != 0 || there == n));
        teardown(NULL);
        setup(NULL);
    } while (r != 0);
    assert_true(at > n);
}

static void test_power_cut_in_a_merge(void **state) {
    merged_at_each_step(3, FAULT_CUT);
}

static void test_power_cut_in_a_merge_of_many(void **state) {
    merged_at_each_step(MANY, FAULT_CUT);
}

static void test_killed_in_a_merge(void **state) {
    merged_at_each_step(3, FAULT_KILL);
}

/* After an error the next attempt has all of it, and the stage is empty. */
static void test_failing_in_a_merge(void **state) {
    unsigned at = 0;
    int r;

    do {
        r = merge_with_fault(3, FAULT_FAIL, at++);
        if (r != 0)
            assert_int_equal(merge_with_fault(3, FAULT_NONE, 0), 0);
        assert_int_equal(whole("u/cur", "", true), 3);
        assert_int_equal(whole(".mailfs/stage", "", false), 0);
        teardown(NULL);
        setup(NULL);
    } while (r != 0);
}

/*
 * The power cuts above take back a name that was not synced. A file system may as well keep it, and
 * lose what is in the file. So: what gets a name in the mailbox was synced before.
 */
static ino_t unsynced[MANY];
static unsigned n_unsynced;

static void forget(ino_t ino) {
    for (unsigned i = 0; i < n_unsynced; i++) {
        if (unsynced[i] == ino)
            unsynced[i] = unsynced[--n_unsynced];
    }
}

static ssize_t watched_pwrite(int fd, const void *data, size_t n, off_t off) {
    struct stat sb;

    assert_int_equal(fstat(fd, &sb), 0);
    forget(sb.st_ino);
    assert_true(n_unsynced < MANY);
    unsynced[n_unsynced++] = sb.st_ino;
    return io_ops_real.pwrite(fd, data, n, off);
}

static int watched_fsync(int fd) {
    struct stat sb;

    assert_int_equal(fstat(fd, &sb), 0);
    forget(sb.st_ino);
    return io_ops_real.fsync(fd);
}

static int watched_syncfs(int fd) {
    n_unsynced = 0;
    return io_ops_real.syncfs(fd);
}

static void is_synced(int dirfd, const char *name) {
    struct stat sb;

    assert_int_equal(fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW), 0);
    for (unsigned i = 0; i < n_unsynced; i++)
        assert_int_not_equal(unsynced[i], sb.st_ino);
}

/* In a mailbox, or in kept/. */
static bool is_named(const char *to) {
    return strstr(to, ".M1.a") || strncmp(to, "l-", 2) == 0;
}

static int watched_rename(int fromdir, const char *from, int todir, const char *to,
                          unsigned flags) {
    if (is_named(to))
        is_synced(fromdir, from);
    return io_ops_real.rename(fromdir, from, todir, to, flags);
}

static int watched_link(int fromdir, const char *from, int todir, const char *to, int flags) {
    if (is_named(to))
        is_synced(fromdir, from);
    return io_ops_real.link(fromdir, from, todir, to, flags);
}

static void watch(void) {
    static struct io_ops watched;

    watched = io_ops_real;
    watched.pwrite = watched_pwrite;
    watched.fsync = watched_fsync;
    watched.syncfs = watched_syncfs;
    watched.rename = watched_rename;
    watched.link = watched_link;
    io_ops_set(&watched);
}

static void synced_before_named(unsigned n) {
    Mfp__Listing *mine, *theirs;
    int r;

    n_unsynced = 0;
    fill(n);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    watch();
    r = merge(mine, theirs);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, 0);
    assert_int_equal(whole("u/cur", "", true), n);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
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

/* ---- made durable before the merge ------------------------------------------------- */

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

static int try_fetch_some(unsigned n) {
    char name[32];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n; i++) {
        snprintf(name, sizeof(name), "%u.M1.a", i);
        r = fetch(&(struct content_want){.dir = inbox, .sub = MFP__SUB__CUR, .name = name});
    }
    return r;
}

static void fetch_some(unsigned n) {
    assert_int_equal(try_fetch_some(n), 0);
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

/* ---- what others have staged ------------------------------------------------------- */

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

/* ---- an orderly stop --------------------------------------------------------------- */

static unsigned lacking(const Mfp__Listing *theirs) {
    struct content_wants wants;
    unsigned n;

    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    n = (unsigned)wants.n;
    content_wants_free(&wants);
    return n;
}

/* The start, when the journal has been replayed. */
static void sweep(void) {
    struct stage_prep *preps;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &preps, &n), 0);
    free(preps);
}

/* The filling goes on from what has come; nobody keeps for ever what is not wanted any more. */
static void test_kept_over_a_stop(void **state) {
    Mfp__Listing *theirs;

    fill(3);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_killed(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 1);
    stage_drop_idle(p.b.st);
    assert_int_equal(lacking(theirs), 3);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* The machine was switched off after that, and on again; and once more, without an orderly stop in
 * between, or with one that came before anything was looked at. */
static void test_kept_over_a_reboot(void **state) {
    Mfp__Listing *theirs;

    fill(3);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 1);
    node_reopen(&p.b);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    node_reopen(&p.b);
    sweep();
    assert_int_equal(lacking(theirs), 3);
    mfp__listing__free_unpacked(theirs, NULL);
}

/* The power is cut when the next life has begun: what that stages is not vouched for. */
static void test_vouched_for_once(void **state) {
    unsigned steps;

    fetch_some(2);
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    fault_start(grave, FAULT_NONE, 0, 0);
    node_killed(&p.b);
    steps = fault_steps();
    fault_power_on();
    assert_int_equal(stage_keep_fetched(p.b.st), 0);
    assert_true(fs_there(&p.b, ".mailfs/stage/whole"));
    fault_start(grave, FAULT_CUT, steps, 0);
    node_killed(&p.b);
    assert_false(fault_happened());
    io_barrier("started");
    assert_true(fault_happened());
    fault_power_on();
    assert_false(fs_there(&p.b, ".mailfs/stage/whole"));
}

static void test_power_cut_at_a_stop(void **state) {
    unsigned at = 0, there;
    int r;

    do {
        fault_start(grave, FAULT_CUT, at++, -EIO);
        r = try_fetch_some(3);
        if (r == 0)
            r = stage_keep_fetched(p.b.st);
        io_barrier("stopped"); /* the power is cut here at the latest */
        fault_power_on();
        node_reopen(&p.b);
        sweep();
        there = whole(".mailfs/stage", "", false);
        assert_true(there <= 3 && (r != 0 || there == 3));
        teardown(NULL);
        setup(NULL);
    } while (r != 0);
    assert_true(at > 3);
}

/* ---- what was prepared ------------------------------------------------------------- */

/* With commit = memory: n are on b, not synced, and the names that a gives them are not told. */
static void prepare(const struct mailfs_id *dir, unsigned n) {
    char base[32], tmp[32], text[64];
    Mfp__Meta meta = MFP__META__INIT;
    struct stage_file *f;

    n_unsynced = 0;
    watch();
    for (unsigned i = 0; i < n; i++) {
        struct stage_prep id = {77, i + 1};
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(tmp, sizeof(tmp), "%u.tmp", i);
        text_of(base, text);
        meta.mode = 0600;
        meta.uid = geteuid();
        meta.gid = getegid();
        meta.size = strlen(text);
        assert_int_equal(stage_begin_prep(p.b.st, &id, dir, tmp, &meta, &f), 0);
        assert_int_equal(stage_write(f, 0, text, strlen(text)), 0);
        assert_int_equal(stage_commit(f, STAGE_LOOSE), 0);
    }
    io_ops_set(&io_ops_real);
    assert_int_equal(n_unsynced, n);
}

static Mfp__Txn *name_prepared(unsigned n) {
    struct acts a = {.n = 0};
    char base[32], rel[64], text[64];

    for (unsigned i = 0; i < n; i++) {
        snprintf(base, sizeof(base), "%u.M1.a", i);
        snprintf(rel, sizeof(rel), "u/new/%s", base);
        text_of(base, text);
        fs_write(&p.a, rel, text);
        act_add(&p.a, &a, "u", MFL__SUB__NEW, base, i + 1);
    }
    return node_collect(&p.a, &inbox, &a, false);
}

static void name_prepared_untold(unsigned n) {
    mfp__txn__free_unpacked(name_prepared(n), NULL);
    base_forget_sent(p.a.st);
}

static void prepared_synced_before_named(unsigned n, bool killed) {
    Mfp__Listing *mine, *theirs;
    int r;

    n_unsynced = 0;
    prepare(&inbox, n);
    if (killed)
        node_killed(&p.b);
    name_prepared_untold(n);
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    watch();
    r = merge(mine, theirs);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, 0);
    assert_int_equal(whole("u/new", "", true), n);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
}

static void test_prepared_synced_before_named(void **state) {
    prepared_synced_before_named(3, false);
}

static void test_many_prepared_synced_before_named(void **state) {
    prepared_synced_before_named(MANY, false);
}

/* The syncd that had not synced it is killed: the next one does not know whether it had. */
static void test_killed_and_synced_before_named(void **state) {
    prepared_synced_before_named(3, true);
}

/* While a sync is under way what it is about is not taken for durable by another thread. */
static char loose_key[STAGE_NAME_MAX];
static bool unsynced_meanwhile;

static int fsync_and_look(int fd) {
    unsynced_meanwhile = stage_is_unsynced(p.b.st, loose_key);
    return watched_fsync(fd);
}

static void test_unsynced_while_it_is_synced(void **state) {
    struct io_ops ops = io_ops_real;

    prepare(&inbox, 1);
    stage_prep_key(77, 1, loose_key);
    assert_true(stage_is_unsynced(p.b.st, loose_key));
    unsynced_meanwhile = false;
    ops.fsync = fsync_and_look;
    io_ops_set(&ops);
    assert_int_equal(stage_sync(p.b.st), 0);
    io_ops_set(&io_ops_real);
    assert_true(unsynced_meanwhile);
    assert_false(stage_is_unsynced(p.b.st, loose_key));
}

/* Its mailbox is gone on both nodes: it is whole in kept/. */
static void test_homeless_synced_before_kept(void **state) {
    struct mailfs_id nowhere;

    n_unsynced = 0;
    assert_int_equal(mailfs_id_new(&nowhere), 0);
    prepare(&nowhere, 1);
    watch();
    assert_true(stage_publish(p.b.st, &(struct stage_prep){77, 1}, 1, NULL) < 0);
    stage_keep_homeless(p.b.st);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 1);
}

/* ---- a transaction ----------------------------------------------------------------- */

/* b has it in its journal, with the contents it asked for. */
static int receive(const Mfp__Txn *txn) {
    struct content_wants wants;
    struct journal_entry e = {.txn = txn};
    int r = content_missing(p.b.st, txn, &wants);

    if (r == 0)
        r = fetch_all(&wants);
    return r == 0 ? journal_append(p.b.st, &e, 1) : r;
}

static int receive_with_fault(unsigned n, enum fault_kind kind, unsigned at) {
    struct acts a = {.n = 0};
    char name[64];
    Mfp__Txn *txn;
    int r;

    fill(n);
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%u.M1.a:2,S", i);
        act_add(&p.a, &a, "u", MFL__SUB__CUR, name, 0);
    }
    txn = node_collect(&p.a, &inbox, &a, false);
    fault_start(grave, kind, at, -EIO);
    r = receive(txn);
    io_barrier("acknowledged");
    fault_power_on();
    node_reopen(&p.b);
    mfp__txn__free_unpacked(txn, NULL);
    return r;
}

/* A start finds them under the names by which the journal knows them. */
static void acknowledged_at_each_step(unsigned n) {
    unsigned at = 0;
    int r;

    do {
        r = receive_with_fault(n, FAULT_CUT, at++);
        if (r == 0)
            assert_int_equal(whole(".mailfs/stage", "f-", false), n);
        teardown(NULL);
        setup(NULL);
    } while (r != 0);
    assert_true(at > n);
}

static void test_power_cut_before_an_acknowledgement(void **state) {
    acknowledged_at_each_step(2);
}

static void test_power_cut_before_one_of_many(void **state) {
    acknowledged_at_each_step(MANY);
}

/* ---- and both ---------------------------------------------------------------------- */

/* What is staged anew under the same key replaces what was. */
static void test_staged_twice(void **state) {
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = (char[]){"1.M1.a"}};
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_fetch_name(&inbox, MFP__SUB__CUR, w.name, key);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fetch(&w), 0);
        assert_int_equal(whole(".mailfs/stage", "", false), 1);
    }
    assert_int_equal(stage_settle(p.b.st, key), 0);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    assert_string_equal(file, key);
    assert_int_equal(fetch(&w), 0);
    assert_int_equal(whole(".mailfs/stage", "f-", false), 1);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
}

/* ---- a sync fails ------------------------------------------------------------------ */

/* The first one does, and no other hears of it: that is what the kernel does. */
static int failures;

static int failing_fsync(int fd) {
    return failures-- > 0 ? -EIO : io_ops_real.fsync(fd);
}

static int failing_syncfs(int fd) {
    return failures-- > 0 ? -EIO : io_ops_real.syncfs(fd);
}

static void fail_once(void) {
    static struct io_ops failing;

    failing = io_ops_real;
    failing.fsync = failing_fsync;
    failing.syncfs = failing_syncfs;
    failures = 1;
    io_ops_set(&failing);
}

static int append(const Mfp__Txn *txn) {
    struct journal_entry e = {.txn = txn};

    return journal_append(p.b.st, &e, 1);
}

/* The first that was prepared, by an entry of the journal. */
static bool is_counted(void) {
    char key[STAGE_NAME_MAX];
    struct stage_item *it;
    bool is;

    stage_prep_key(77, 1, key);
    state_lock(p.b.st);
    it = stage_find(p.b.st, key);
    is = it && it->refs > 0;
    state_unlock(p.b.st);
    return is;
}

static void nothing_is_left(void) {
    struct stage_prep *left;
    size_t n;

    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    assert_int_equal(n, 0);
    free(left);
}

/* What was prepared is not acknowledged by a second attempt, but comes again; and is used up. */
static void failing_before_an_acknowledgement(unsigned n) {
    struct content_wants wants;
    Mfp__Txn *txn;

    prepare(&inbox, n);
    txn = name_prepared(n);
    fail_once();
    assert_int_equal(append(txn), -EIO);
    assert_int_equal(append(txn), -ENODATA);
    assert_false(content_at_hand(p.b.st, txn));
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, n);
    assert_int_equal(fetch_all(&wants), 0);
    assert_int_equal(append(txn), 0);
    io_ops_set(&io_ops_real);
    mfp__txn__free_unpacked(txn, NULL);
    assert_true(is_counted()); /* or it were published later on */
    node_reopen(&p.b);
    node_replay(&p.b);
    assert_int_equal(whole("u/new", "", true), n);
    nothing_is_left();
}

static void test_failing_before_an_acknowledgement(void **state) {
    failing_before_an_acknowledgement(2);
}

static void test_failing_before_one_of_many(void **state) {
    failing_before_an_acknowledgement(MANY);
}

/* It comes again as it came first: that is as good. */
static void test_failing_and_prepared_again(void **state) {
    Mfp__Txn *txn;

    prepare(&inbox, 1);
    txn = name_prepared(1);
    fail_once();
    assert_int_equal(append(txn), -EIO);
    prepare(&inbox, 1);
    assert_true(content_at_hand(p.b.st, txn));
    assert_int_equal(append(txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* fetched: one more message was, so that it is the sync of that that fails. */
static void failing_in_a_merge_of_prepared(bool fetched) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Listing *mine, *theirs;
    struct content_wants wants;

    prepare(&inbox, 3);
    name_prepared_untold(3);
    if (fetched)
        fs_write(&p.a, "u/cur/9.M1.a:2,S", "message 9.M1.a\n");
    assert_int_equal(scan_mailbox(p.a.st, &inbox, true, &theirs), 0);
    assert_int_equal(scan_mailbox(p.b.st, &inbox, true, &mine), 0);
    fail_once();
    assert_int_equal(merge(mine, theirs), -EIO);
    assert_int_equal(merge_mailbox_run(p.b.st, &inbox, mine, theirs, digest, NULL), -ENODATA);
    assert_int_equal(whole("u/new", "", true), 0);
    assert_int_equal(content_lacks(p.b.st, theirs, &wants), 0);
    assert_int_equal(wants.n, 3 + fetched);
    content_wants_free(&wants);
    assert_int_equal(merge(mine, theirs), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole("u/new", "", true), 3);
    assert_int_equal(whole("u/cur", "", true), fetched);
    assert_int_equal(whole(".mailfs/stage", "", false), 0);
    mfp__listing__free_unpacked(mine, NULL);
    mfp__listing__free_unpacked(theirs, NULL);
}

static void test_failing_in_a_merge_of_prepared(void **state) {
    failing_in_a_merge_of_prepared(false);
}

static void test_failing_in_a_merge_of_both(void **state) {
    failing_in_a_merge_of_prepared(true);
}

/* Its origin is gone, so it is the only copy. */
static void test_failing_and_published(void **state) {
    const struct stage_prep prep = {77, 1};

    prepare(&inbox, 1);
    fail_once();
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -EIO);
    assert_int_equal(whole("u/new", "", false), 0);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole("u/new", "0.tmp", false), 1);
}

static void test_failing_and_kept(void **state) {
    struct mailfs_id nowhere;

    assert_int_equal(mailfs_id_new(&nowhere), 0);
    prepare(&nowhere, 1);
    assert_int_equal(stage_publish(p.b.st, &(struct stage_prep){77, 1}, 1, NULL), -ENOENT);
    fail_once();
    stage_keep_homeless(p.b.st);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 0);
    stage_keep_homeless(p.b.st);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 1);
}

/* Another thread's sync hears of the error, and the one that begins after it does not. */
static sem_t at_it;
static _Atomic bool doubted;

static int others_fsync(int fd) {
    if (failures-- > 0) {
        sem_post(&at_it);
        while (!is_counted())
            sched_yield();
        return -EIO;
    }
    doubted = p.b.st->stage_doubts > 0;
    return io_ops_real.fsync(fd);
}

static int others_syncfs(int fd) {
    doubted = p.b.st->stage_doubts > 0;
    return io_ops_real.syncfs(fd);
}

static void *other_thread(void *arg) {
    *(int *)arg = stage_sync(p.b.st);
    return NULL;
}

static void test_failing_on_another_thread(void **state) {
    struct io_ops failing = io_ops_real;
    pthread_t other;
    Mfp__Txn *txn;
    int r = 0;

    prepare(&inbox, 1);
    txn = name_prepared(1);
    failing.fsync = others_fsync;
    failing.syncfs = others_syncfs;
    failures = 1;
    doubted = false;
    assert_int_equal(sem_init(&at_it, 0, 0), 0);
    io_ops_set(&failing);
    assert_int_equal(pthread_create(&other, NULL, other_thread, &r), 0);
    assert_int_equal(sem_wait(&at_it), 0);
    assert_int_equal(append(txn), -EIO);
    assert_int_equal(pthread_join(other, NULL), 0);
    io_ops_set(&io_ops_real);
    assert_int_equal(r, -EIO);
    assert_true(doubted);
    assert_int_equal(append(txn), -ENODATA);
    assert_int_equal(sem_destroy(&at_it), 0);
    mfp__txn__free_unpacked(txn, NULL);
}

/* What is dropped is unlinked while others use the state; and one that is staged meanwhile, under
 * the name that one of them had, is not taken for it. */
static unsigned unlinked;
static bool locked, staged_again;

static int watched_unlink(int dirfd, const char *name, int flags) {
    char base[] = "0.M1.a", key[STAGE_NAME_MAX];
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = base};

    unlinked++;
    if (pthread_mutex_trylock(&p.b.st->mutex) != 0) {
        locked = true;
        return io_ops_real.unlink(dirfd, name, flags);
    }
    state_unlock(p.b.st);
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    if (!staged_again) {
        staged_again = true;
        assert_int_equal(fetch(&w), 0);
        assert_int_equal(stage_settle(p.b.st, key), 0);
    }
    return io_ops_real.unlink(dirfd, name, flags);
}

static void test_dropped_beside_others(void **state) {
    struct io_ops watched = io_ops_real;
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];

    stage_fetch_name(&inbox, MFP__SUB__CUR, "0.M1.a", key);
    fetch_some(3);
    assert_int_equal(stage_settle(p.b.st, key), 0);
    watched.unlink = watched_unlink;
    watched.fsync = failing_fsync;
    failures = 1;
    unlinked = 0;
    locked = staged_again = false;
    io_ops_set(&watched);
    assert_int_equal(stage_settle_all(p.b.st), -EIO);
    io_ops_set(&io_ops_real);
    assert_false(locked);
    assert_int_equal(unlinked, 3);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    assert_string_equal(file, key);
    assert_int_equal(whole(".mailfs/stage", key, false), 1);
    assert_int_equal(whole(".mailfs/stage", "", false), 1);
}

/* The power is cut when it has the name by which an entry would find it, and is not synced. */
static void test_cut_short_under_its_name(void **state) {
    char key[STAGE_NAME_MAX], base[] = "0.M1.a", path[512];
    struct content_want w = {.dir = inbox, .sub = MFP__SUB__CUR, .name = base};
    struct content_wants wants;
    struct acts a = {.n = 0};
    Mfp__Txn *txn;

    fill(1);
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "0.M1.a:2,S", 0);
    txn = node_collect(&p.a, &inbox, &a, false);
    stage_fetch_name(&inbox, MFP__SUB__CUR, base, key);
    assert_int_equal(fetch(&w), 0);
    assert_int_equal(stage_settle(p.b.st, key), 0);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, 0);
    snprintf(path, sizeof(path), "%s/.mailfs/stage/%s", p.b.store, key);
    assert_int_equal(truncate(path, 3), 0);
    node_reopen(&p.b);
    assert_int_equal(content_missing(p.b.st, txn, &wants), 0);
    assert_int_equal(wants.n, 1);
    assert_int_equal(fetch_all(&wants), 0);
    assert_int_equal(append(txn), 0);
    mfp__txn__free_unpacked(txn, NULL);
    node_replay(&p.b);
    assert_int_equal(whole("u/cur", "", true), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_power_cut_in_a_merge),
        T(test_power_cut_in_a_merge_of_many),
        T(test_killed_in_a_merge),
        T(test_failing_in_a_merge),
        T(test_synced_before_named),
        T(test_many_synced_before_named),
        T(test_counted_on_stays_durable),
        T(test_settled_once),
        T(test_many_settled_once),
        T(test_not_settled_by_a_sync_before_it),
        T(test_settled_beside_another),
        T(test_unsettled_beside_another),
        T(test_settled_by_a_transaction_meanwhile),
        T(test_kept_over_a_stop),
        T(test_kept_over_a_reboot),
        T(test_vouched_for_once),
        T(test_power_cut_at_a_stop),
        T(test_prepared_synced_before_named),
        T(test_many_prepared_synced_before_named),
        T(test_killed_and_synced_before_named),
        T(test_unsynced_while_it_is_synced),
        T(test_homeless_synced_before_kept),
        T(test_power_cut_before_an_acknowledgement),
        T(test_power_cut_before_one_of_many),
        T(test_staged_twice),
        T(test_failing_before_an_acknowledgement),
        T(test_failing_before_one_of_many),
        T(test_failing_and_prepared_again),
        T(test_failing_in_a_merge_of_prepared),
        T(test_failing_in_a_merge_of_both),
        T(test_failing_and_published),
        T(test_failing_and_kept),
        T(test_failing_on_another_thread),
        T(test_dropped_beside_others),
        T(test_cut_short_under_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
