/* The records of prepared contents: which of them go, and who waits for whom while they are read.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "publish_pair.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"

static bool is_noted(void) {
    struct stage_pub pub;
    int r = stage_published(p.b.st, 77, 9, &pub);

    assert_true(r == 0 || r == -ENOENT);
    return r == 0;
}

/* Its origin has ended with it: what it was about to be called is no matter any more, and another
 * message may have that name. */
static void test_note_of_aborted(void **state) {
    publish_no_room();
    assert_int_equal(stage_drop(p.b.st, &(struct stage_prep){77, 9}), 0);
    stores_checkpoint(&p);
    assert_false(is_noted());
}

static void test_note_of_unpublished(void **state) {
    publish_no_room();
    stores_checkpoint(&p);
    assert_true(is_noted());
    assert_int_equal(publish_again(), 0);
    stores_checkpoint(&p);
    assert_true(is_noted());
}

/* ---- who waits --------------------------------------------------------------------- */

static atomic_int filler, sweeper; /* their threads' ids, when they are about to wait */

/* Until the map is full: then it is to grow, and waits for all who read. */
static int fill(struct db_txn *txn, void *arg) {
    static const char block[64u << 10];
    uint64_t key;
    int r = 0;

    if (atomic_load(&filler) != 0)
        return -ECANCELED; /* it has grown */
    for (key = 0; r == 0; key++)
        r = db_put(txn, T_PREPS, &key, sizeof(key), block, sizeof(block));
    atomic_store(&filler, (int)gettid());
    return r;
}

static void *grow(void *arg) {
    assert_int_equal(db_update(p.b.st->db, fill, NULL), -ECANCELED);
    return NULL;
}

static void *sweep(void *arg) {
    struct stage_prep *left;
    size_t n;

    atomic_store(&sweeper, (int)gettid());
    assert_int_equal(stage_leftovers(p.b.st, &left, &n), 0);
    free(left);
    return NULL;
}

static bool sleeps(int tid) {
    char path[64], text[256] = "";
    const char *end;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    f = fopen(path, "re");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
    fclose(f);
    end = strrchr(text, ')');
    return end && end[2] == 'S';
}

static void until_it_waits(atomic_int *tid) {
    while (atomic_load(tid) == 0 || !sleeps(atomic_load(tid)))
        sched_yield();
}

struct threads {
    pthread_t grow, sweep;
    int locked;
};

/* As a checkpoint does in its transaction. */
static int lock_in_transaction(struct db_txn *txn, void *arg) {
    struct threads *t = arg;
    struct timespec at;

    assert_int_equal(pthread_create(&t->grow, NULL, grow, NULL), 0);
    until_it_waits(&filler);
    assert_int_equal(pthread_create(&t->sweep, NULL, sweep, NULL), 0);
    until_it_waits(&sweeper);
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += 5;
    t->locked = pthread_mutex_timedlock(&p.b.st->mutex, &at);
    if (t->locked == 0)
        state_unlock(p.b.st);
    return 0;
}

/* A start looks through the stage, while another thread grows the map, and waits for one that is in
 * a transaction and wants the mutex. */
static void test_sweep_and_growing_map(void **state) {
    struct threads t;

    publish_no_room();
    atomic_store(&filler, 0);
    atomic_store(&sweeper, 0);
    assert_int_equal(db_view(p.b.st->db, lock_in_transaction, &t), 0);
    assert_int_equal(pthread_join(t.grow, NULL), 0);
    assert_int_equal(pthread_join(t.sweep, NULL), 0);
    assert_int_equal(t.locked, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, merge_setup, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_note_of_aborted),
        T(test_note_of_unpublished),
        T(test_sweep_and_growing_map),
    };
    return cmocka_run_group_tests_name("syncd_stage_used", tests, NULL, NULL);
}
