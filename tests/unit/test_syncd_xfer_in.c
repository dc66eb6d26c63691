/* xfer_in: a content that is aborted while it is being staged, and prepared once more under the
 * same number: the first is gone before the second begins, and says nothing of it. And one that is
 * staged when the connection that it was fetched in has ended. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/driver_journal.h"
#include "syncd/volume.h"
#include "syncd/xfer_private.h"

/* ---- in place of the stage and of the machine -------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char did[256];
static sem_t synced; /* a commit waits for it */

static void note(const char *what) {
    pthread_mutex_lock(&mutex);
    strcat(did, what);
    strcat(did, " ");
    pthread_mutex_unlock(&mutex);
}

int stage_begin_prep(struct state *st, const struct stage_prep *prep, const struct mailfs_id *dir,
                     const char *tmp_name, const Mfp__Meta *meta, struct stage_file **f) {
    *f = (struct stage_file *)did;
    note("begin");
    return 0;
}

int stage_write(struct stage_file *f, uint64_t offset, const void *p, size_t n) {
    return 0;
}

int stage_commit(struct stage_file *f, enum stage_how how) {
    sem_wait(&synced);
    note("commit");
    return 0;
}

void stage_abandon(struct stage_file *f) {
    if (f != NULL)
        note("abandon");
}

void stage_keep_part(struct stage_file *f) {
}

int stage_begin_fetch(struct state *st, const struct mailfs_id *dir, int sub, const char *name,
                      const Mfp__Meta *meta, const char *symlink, struct stage_file **f) {
    *f = (struct stage_file *)did;
    note("begin");
    return 0;
}

void stage_came_late(struct state *st, const struct mailfs_id *dir, int sub, const char *name) {
    assert_string_equal(name, "1.M1.a");
    note("late");
}

void driver_drop_late(struct volume *of) {
    note("cleared");
}

int stage_resume_as(struct stage_file *f, const Mfp__Meta *meta) {
    return -1;
}

int stage_scratch(struct state *st) {
    return -1;
}

static struct engine engine;

static void drop_run(void *arg) {
    note("drop");
}

void driver_drop_prep(struct volume *v, struct replica_prep prep) {
    assert_int_equal(workq_submit(engine.io, xfer_prep_lane(&prep), drop_run, NULL, NULL), 0);
}

void driver_pump(struct volume *v) {
}

void contact_read(struct volume *v, bool on) {
}

void journaler_wake(struct journaler *j) {
}

void replica_content_durable(struct replica *r, uint64_t now, struct replica_prep prep, int err) {
    note(err == 0 ? "durable" : "failed");
}

uint64_t volume_now(void) {
    return 1000;
}

int xfer_delta_end(struct xfer_in *in) {
    return -1;
}

int xfer_delta_write(struct xfer_in *in, const struct xfer_chunk *c) {
    return -1;
}

static char name[] = "1.M1.a";
static struct fetch fetched = {.want = {.name = name, .sub = MFP__SUB__CUR, .by_base = true}};

void xfer_fetch_done(struct xfers *x, struct fetch *f, int err) {
    note(err == 0 ? "fetched" : "failed");
}

struct fetch *xfer_fetch_find(struct xfers *x, uint64_t id) {
    return &fetched;
}

void xfer_fetch_whole(struct xfers *x, struct fetch *f) {
}

/* ---- tests ------------------------------------------------------------------------- */

static const struct conf_volume cv = {.commit = CONF_COMMIT_DISK};
static struct volume v;
static struct xfers x;
static const struct replica_prep prep = {77, 9};

static int setup(void **state) {
    v = (struct volume){.cv = &cv, .engine = &engine};
    x = (struct xfers){.v = &v};
    did[0] = '\0';
    return sem_init(&synced, 0, 0) == 0 && workq_new(4, 100, &engine.io) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    workq_free(engine.io);
    return sem_destroy(&synced);
}

static void prepare(void) {
    Mfp__Prepare p = MFP__PREPARE__INIT;
    Mfp__PrepId id = MFP__PREP_ID__INIT;
    struct mailfs_id dir = mailfs_id_root;

    id.incarnation = prep.incarnation;
    id.seq = prep.seq;
    p.id = &id;
    p.dir = (ProtobufCBinaryData){sizeof dir.b, dir.b};
    p.tmp_name = (char[]){"1.tmp"};
    xfer_receive_prepare(&x, &p);
}

static void body_of(Mfp__Body__Kind kind, bool end) {
    Mfp__Body b = MFP__BODY__INIT;

    b.kind = kind;
    b.id = prep.seq;
    b.data = (ProtobufCBinaryData){4, (uint8_t *)strdup("text")};
    b.end = end;
    assert_int_equal(xfer_receive_body(&x, &b), 0);
    free(b.data.data);
}

static void body(bool end) {
    body_of(MFP__BODY__KIND__PREPARE, end);
}

static void until(const char *what) {
    const struct timespec moment = {.tv_nsec = 1000000};
    bool done = false;

    while (!done) {
        workq_poll(engine.io);
        pthread_mutex_lock(&mutex);
        done = strstr(did, what) != NULL;
        pthread_mutex_unlock(&mutex);
        nanosleep(&moment, NULL);
    }
}

/* As the driver does it with what the machine no longer wants. */
static void aborted(void) {
    if (!xfer_cancel(&x, &prep))
        driver_drop_prep(&v, prep);
}

static void test_prepared_again_while_it_is_synced(void **state) {
    prepare();
    body(true);
    until("begin");
    aborted();
    prepare();
    body(true);
    sem_post(&synced);
    sem_post(&synced);
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit drop begin commit durable ");
    assert_null(x.in);
}

/* Nothing of the second is reported by the first, which is late. */
static void test_late_and_aborted(void **state) {
    prepare();
    body(true);
    until("begin");
    aborted();
    prepare();
    body(false);
    sem_post(&synced);
    until("drop");
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit drop begin ");
    body(true);
    sem_post(&synced);
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit drop begin commit durable ");
}

/* The drop of what is staged already comes before the second, too. */
static void test_prepared_again_when_it_was_staged(void **state) {
    prepare();
    body(true);
    sem_post(&synced);
    until("durable");
    aborted();
    prepare();
    body(true);
    sem_post(&synced);
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit durable drop begin commit durable ");
}

/* Whoever wanted it is told that the connection has ended; nobody else looks for it. */
static void test_staged_when_the_link_has_ended(void **state) {
    body_of(MFP__BODY__KIND__FETCH, true);
    until("begin");
    xfer_in_disconnected(&x);
    sem_post(&synced);
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit late cleared ");
    assert_null(x.in);
}

static void test_fetched(void **state) {
    body_of(MFP__BODY__KIND__FETCH, true);
    sem_post(&synced);
    workq_drain(engine.io);
    assert_string_equal(did, "begin commit fetched ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_prepared_again_while_it_is_synced),
        T(test_late_and_aborted),
        T(test_prepared_again_when_it_was_staged),
        T(test_staged_when_the_link_has_ended),
        T(test_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
