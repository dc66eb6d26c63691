/*
 * test_syncd_reread - when what could not be read is tried again: the test is the disk, which takes
 * its time, and the clock
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/base.h"
#include "syncd/driver.h"
#include "syncd/driver_merge.h"
#include "syncd/oneway.h"
#include "syncd/reread.h"
#include "syncd/unread.h"
#include "syncd/volume.h"
#include "util/clock.h"
#include "util/workq.h"

#define MSGS 3

static struct engine engine;
static struct conf_volume conf;
static struct conf_peer peer = {.name = (char *)"mx-b"};
static struct volume volume = {.engine = &engine, .cv = &conf};
static struct reread *reread;

static uint64_t now_ms;
static unsigned takes_ms; /* to read one, */
static unsigned look_ms;  /* to look for one only */
static bool stops;        /* syncd, while the first is read */
static unsigned looked[MSGS], was_read[MSGS];

/* ---- in place of the disk side, the machine and the clock -------------------------- */

uint64_t clock_ms(void) {
    return now_ms;
}

int unread_list(struct state *st, struct unread_msg **v, size_t *n) {
    *v = calloc(MSGS, sizeof(**v));
    *n = MSGS;
    for (size_t i = 0; i < MSGS; i++)
        (*v)[i].base[0] = (char)('0' + i);
    return 0;
}

int unread_try(struct state *st, const struct unread_msg *m, bool read) {
    size_t i = (size_t)(m->base[0] - '0');

    looked[i]++;
    was_read[i] += read;
    now_ms += read ? takes_ms : look_ms;
    if (stops)
        reread_quiet(reread);
    return 0;
}

bool unread_in(struct state *st, const struct mailfs_id *dir) {
    return true;
}

bool unread_untold(struct state *st, struct unread_msg *msg) {
    return false;
}

void unread_note(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                 const char *base, int err, const struct stat *sb) {
}

void unread_forget(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                   const char *base) {
}

void unread_forget_all(struct state *st) {
}

bool unread_is_error(int err) {
    return true;
}

const char *unread_words(int err) {
    return "";
}

bool merges_under_way(const struct merges *m, const struct mailfs_id *dir) {
    return false;
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir) {
}

void driver_pump(struct volume *v) {
}

uint64_t volume_now(void) {
    return now_ms;
}

void volume_error(struct volume *v, const char *fmt, ...) {
}

const char *state_path(struct state *st, const struct mailfs_id *id, char *buf, size_t size) {
    return "";
}

int base_msg_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                 const char *base, struct base_msg *out) {
    return 0;
}

int base_file_get(struct state *st, enum base_view view, const struct mailfs_id *dir,
                  const char *name, struct base_file *out) {
    return 0;
}

void base_file_clear(struct base_file *file) {
}

/* ---- cases ------------------------------------------------------------------------- */

static int setup(void **state) {
    engine.evb = event_base_new();
    assert_int_equal(workq_new(1, 10, &engine.slow), 0);
    conf.peer = &peer;
    now_ms = 1000;
    takes_ms = look_ms = 0;
    stops = false;
    memset(looked, 0, sizeof(looked));
    memset(was_read, 0, sizeof(was_read));
    reread = reread_new(&volume);
    return 0;
}

static int teardown(void **state) {
    reread_quiet(reread);
    workq_free(engine.slow);
    reread_free(reread);
    event_base_free(engine.evb);
    return 0;
}

/* The timer that is due at once, and the job. */
static void step(void) {
    event_base_loop(engine.evb, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    workq_drain(engine.slow);
}

static void counts_are(const unsigned found[MSGS], unsigned a, unsigned b, unsigned c) {
    assert_int_equal(found[0], a);
    assert_int_equal(found[1], b);
    assert_int_equal(found[2], c);
}

/* At a contact all are read, once. */
static void test_contact(void **state) {
    reread_contact(reread, true);
    step();
    counts_are(was_read, 1, 1, 1);
    step();
    counts_are(was_read, 1, 1, 1);
}

/* A disk that takes long: all are looked for each time, and each is read in turn. */
static void test_slow_disk(void **state) {
    takes_ms = REREAD_LOOK_MS;
    reread_contact(reread, true);
    step();
    counts_are(was_read, 1, 0, 0);
    counts_are(looked, 1, 1, 1);
    step();
    counts_are(was_read, 1, 1, 0);
    counts_are(looked, 2, 2, 2);
    step();
    counts_are(was_read, 1, 1, 1);
    step();
    counts_are(was_read, 1, 1, 1); /* now and then */
}

/* One that takes as long to say of a file that it is there: each is read in turn all the same. */
static void test_slow_look(void **state) {
    takes_ms = look_ms = REREAD_LOOK_MS;
    reread_contact(reread, true);
    for (unsigned i = 0; i < MSGS; i++)
        step();
    counts_are(was_read, 1, 1, 1);
}

static void test_stop(void **state) {
    stops = true;
    reread_contact(reread, true);
    step();
    counts_are(looked, 1, 0, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {CASE(test_contact), CASE(test_slow_disk),
                                       CASE(test_slow_look), CASE(test_stop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
