/*
 * What the kernel tells once, that something could not be written, is heard by all whom it may be
 * about (syncd/state_sync.c); and what is staged without a sync is never found by who could take it
 * for synced.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/content_int.h"
#include "syncd/stage_private.h"
#include "syncd/state_int.h"
#include "mailbox_pair.h"

#define TEXT  "a message\n"
#define TIMES 3000 /* the step between the two was hit once in a thousand */

static struct io_ops ops;

static int setup(void **state) {
    mailbox_setup(state);
    ops = io_ops_real;
    io_ops_set(&ops);
    return 0;
}

static int teardown(void **state) {
    io_ops_set(&io_ops_real);
    return mailbox_teardown(state);
}

/* As the kernel does: of several who ask by the same descriptor the first is told. */
static atomic_bool broken;
static atomic_int asked;
static int error = -EIO;

static int syncfs_told_once(int fd) {
    atomic_fetch_add(&asked, 1);
    return atomic_exchange(&broken, false) ? error : 0;
}

static void disk_fails(void) {
    ops.syncfs = syncfs_told_once;
    atomic_store(&asked, 0);
    atomic_store(&broken, true);
}

static struct stage_file *begin_prep(uint64_t seq) {
    struct stage_prep id = {77, seq};
    Mfp__Meta meta = MFP__META__INIT;
    struct stage_file *f;
    char tmp[32];

    snprintf(tmp, sizeof(tmp), "%llu.tmp", (unsigned long long)seq);
    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    meta.size = strlen(TEXT);
    assert_int_equal(stage_begin_prep(p.b.st, &id, &inbox, tmp, &meta, &f), 0);
    assert_int_equal(stage_write(f, 0, TEXT, strlen(TEXT)), 0);
    return f;
}

static bool prep_counts(uint64_t seq) {
    char key[STAGE_NAME_MAX];

    stage_prep_key(77, seq, key);
    return content_staged(p.b.st, key);
}

/* ---- an error ---------------------------------------------------------------------- */

/* Whoever began to write before it hears of it, in whatever order they ask; who began later does
 * not, but nothing becomes the base on disk until syncd is started anew. */
static void test_everybody_hears(void **state) {
    unsigned before = state_sync_errors(p.b.st);

    disk_fails();
    assert_int_equal(state_sync(p.b.st, before), -EIO);
    assert_int_equal(state_sync(p.b.st, before), -EIO);
    assert_int_equal(state_sync(p.b.st, state_sync_errors(p.b.st)), 0);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), -EIO);
    node_reopen(&p.b);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
}

static fsblkcnt_t blocks_free;

static int free_as_said(int fd, struct statvfs *fs) {
    int r = io_ops_real.fstatvfs(fd, fs);

    fs->f_bfree = blocks_free;
    return r;
}

/* The disk was full for a while. */
static void test_no_room(void **state) {
    error = -ENOSPC;
    ops.fstatvfs = free_as_said;
    blocks_free = 0;
    disk_fails();
    assert_int_equal(state_sync(p.b.st, state_sync_errors(p.b.st)), -ENOSPC);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    disk_fails();
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), -ENOSPC);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), 0);
    error = -EIO;
}

/* Not the file system was full, but what it lies on: what had been written is lost. */
static void test_no_room_below(void **state) {
    error = -ENOSPC;
    ops.fstatvfs = free_as_said;
    blocks_free = 1 << 20;
    disk_fails();
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), -ENOSPC);
    assert_int_equal(state_checkpoint(p.b.st, 0, NULL, 0), -EIO);
    error = -EIO;
}

struct caller {
    pthread_t thread;
    unsigned since;
    int result;
};

static void *sync_for(void *arg) {
    struct caller *c = arg;

    c->result = state_sync(p.b.st, c->since);
    return NULL;
}

/* At once, too: many are in it when one of them is told. */
static void test_all_at_once(void **state) {
    struct caller c[8] = {{.since = state_sync_errors(p.b.st)}};
    size_t i, n = sizeof(c) / sizeof(*c);

    disk_fails();
    for (i = 0; i < n; i++) {
        c[i].since = c[0].since;
        assert_int_equal(pthread_create(&c[i].thread, NULL, sync_for, &c[i]), 0);
    }
    for (i = 0; i < n; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].result, -EIO);
    }
    assert_true(atomic_load(&asked) <= (int)n);
}

/* What lay in the stage then may be cut short. A prepared content is kept, to be published if need
 * be; a transaction has it fetched again. */
static void test_staged_before(void **state) {
    struct stage_file *under_way, *fetched;
    char key[STAGE_NAME_MAX];

    assert_int_equal(stage_commit(begin_prep(1), STAGE_LOOSE), 0);
    under_way = begin_prep(2);
    assert_int_equal(
        stage_begin_fetch(p.b.st, &inbox, MFP__SUB__CUR, "1.M1.a", NULL, NULL, &fetched), 0);
    assert_true(prep_counts(1));
    disk_fails();
    assert_int_equal(state_sync(p.b.st, state_sync_errors(p.b.st)), -EIO); /* another's */
    assert_int_equal(stage_commit(under_way, STAGE_LOOSE), 0);
    assert_int_equal(stage_commit(fetched, STAGE_LATER), -EIO);
    assert_false(prep_counts(1));
    assert_false(prep_counts(2));
    assert_true(stage_has_prep(p.b.st, &(struct stage_prep){77, 1}));
    stage_fetch_name(&inbox, MFP__SUB__CUR, "1.M1.a", key);
    assert_false(content_staged(p.b.st, key));
    assert_int_equal(stage_commit(begin_prep(3), STAGE_LOOSE), 0);
    assert_true(prep_counts(3));
}

/* ---- found before it is loose ------------------------------------------------------ */

static _Atomic ino_t synced; /* the last file */
static _Atomic uint64_t seen;

static int noted_fsync(int fd) {
    struct stat sb;

    if (fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode))
        atomic_store(&synced, sb.st_ino);
    return 0;
}

/* One that counts on each content as soon as it is there. */
static void *count_on(void *arg) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    size_t *missed = arg;
    struct stat sb;

    for (uint64_t seq = 1; seq <= TIMES; seq++) {
        stage_prep_key(77, seq, key);
        while (stage_lookup(p.b.st, key, file) != 0)
            sched_yield();
        stage_sync(p.b.st);
        *missed += fstatat(p.b.st->stage, file, &sb, 0) != 0 || atomic_load(&synced) != sb.st_ino;
        atomic_store(&seen, seq);
    }
    return NULL;
}

static void test_loose_at_once(void **state) {
    pthread_t other;
    size_t missed = 0;

    ops.fsync = noted_fsync;
    assert_int_equal(pthread_create(&other, NULL, count_on, &missed), 0);
    for (uint64_t seq = 1; seq <= TIMES; seq++) {
        assert_int_equal(stage_commit(begin_prep(seq), STAGE_LOOSE), 0);
        while (atomic_load(&seen) < seq)
            sched_yield();
    }
    pthread_join(other, NULL);
    assert_int_equal(missed, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_everybody_hears), T(test_no_room),       T(test_no_room_below),
        T(test_all_at_once),     T(test_staged_before), T(test_loose_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
