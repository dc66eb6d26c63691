/*
 * test_syncd_journaler - from RACT_JOURNAL to replica_journaled(); the disk is stubbed
 *
 * Contents are here or not, all at once: an error of the journal's takes them away, as a failed
 * sync does, and a fetch brings them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/content.h"
#include "syncd/driver.h"
#include "syncd/driver_apply.h"
#include "syncd/driver_journal.h"
#include "syncd/journal.h"
#include "syncd/load.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"
#include "util/workq.h"

#define ENTRIES 4

static struct engine engine;
static struct volume volume;
static _Atomic bool here; /* what the transactions refer to */
static int failing[8 * ENTRIES];
static unsigned appends, appended, fetches, workings;
static uint64_t progress;
static int answer[ENTRIES];
static bool answered[ENTRIES];

/* ---- stubs ------------------------------------------------------------------------- */

bool content_at_hand(struct state *st, const Mfp__Txn *txn) {
    return here;
}

int content_missing(struct state *st, const Mfp__Txn *txn, struct content_wants *out) {
    memset(out, 0, sizeof(*out));
    out->n = !here;
    return 0;
}

void content_wants_free(struct content_wants *w) {
    w->n = 0;
}

/* As journal_append(): n of them, or none. */
int journal_append(struct state *st, struct journal_entry *entries, size_t n) {
    int r = failing[appends++];

    if (r == 0 && !here)
        r = -ENODATA;
    if (r == -EIO)
        here = false;
    if (r == 0)
        appended += (unsigned)n;
    return r;
}

static struct {
    xfer_fetched_fn *fn;
    void *arg;
} fetching[4 * ENTRIES];

void xfer_fetch(struct xfers *x, struct content_wants *wants, xfer_fetched_fn *fn, void *arg) {
    fetching[fetches].fn = fn;
    fetching[fetches++].arg = arg;
    wants->n = 0;
}

uint64_t xfer_fetch_progress(const struct xfers *x) {
    return progress;
}

bool xfer_receiving(const struct xfers *x, const struct replica_prep *prep) {
    return false;
}

void replica_journaled(struct replica *r, uint64_t now, uint64_t seq, int err) {
    assert_false(answered[seq]);
    answered[seq] = true;
    answer[seq] = err;
}

void replica_working(struct replica *r, uint64_t now, uint64_t seq) {
    workings++;
}

void driver_pump(struct volume *v) {
}

void driver_apply_early(struct volume *v, const struct mailfs_id *dir,
                        struct replica_payload *payload) {
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a volume ---------------------------------------------------------------------- */

static int setup(void **state) {
    static struct conf_peer peer = {.timeout_ms = 40};
    static const struct conf_volume cv = {.name = (char *)"mail", .peer = &peer};

    memset(failing, 0, sizeof(failing));
    memset(answered, 0, sizeof(answered));
    memset(answer, 0, sizeof(answer));
    appends = appended = fetches = workings = 0;
    progress = 0;
    here = true;
    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.io) != 0)
        return -1;
    volume = (struct volume){.engine = &engine, .cv = &cv};
    volume.journaler = journaler_new(&volume);
    return 0;
}

static int teardown(void **state) {
    journaler_free(volume.journaler);
    workq_free(engine.io);
    event_base_free(engine.evb);
    return 0;
}

/* Of a mailbox of its own; somebody waits for it. */
static void add(uint64_t seq) {
    struct mailfs_id id = {{0}};
    Mfp__Txn txn = MFP__TXN__INIT;
    uint8_t packed[64];
    struct replica_payload *p;

    id.b[0] = (uint8_t)(seq + 1);
    txn.dir = (ProtobufCBinaryData){sizeof(id.b), id.b};
    txn.locked = true;
    p = load_txn(mfp__txn__unpack(NULL, mfp__txn__pack(&txn, packed), packed));
    journaler_add(volume.journaler, seq, &id, p);
    replica_payload_unref(p);
}

static void run(void) {
    unsigned done = 0;

    do {
        workq_drain(engine.io);
        for (; done < fetches; done++) {
            here = true;
            fetching[done].fn(fetching[done].arg, 0);
        }
    } while (workq_pending(engine.io) > 0 || done < fetches);
}

/* The first one is being committed, and the others come together. */
static void add_all(void) {
    for (uint64_t seq = 0; seq < ENTRIES; seq++)
        add(seq);
}

static void all_answered(int err) {
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_true(answered[i]);
        assert_int_equal(answer[i], err);
    }
}

/* ---- tests ------------------------------------------------------------------------- */

static void in_batches(void **state) {
    add_all();
    run();
    all_answered(0);
    assert_int_equal(appends, 2);
    assert_int_equal(appended, ENTRIES);
}

/* What a failed sync has dropped is fetched again, and nothing is refused for it. */
static void a_sync_fails(void **state) {
    failing[1] = -EIO;
    add_all();
    run();
    all_answered(0);
    assert_int_equal(appended, ENTRIES);
    assert_true(fetches > 0);
}

static void a_sync_fails_for_one(void **state) {
    failing[0] = -EIO;
    add(0);
    run();
    assert_true(answered[0]);
    assert_int_equal(answer[0], 0);
    assert_int_equal(fetches, 1);
}

/* Anybody's, between the look and the commit. */
static void dropped_meanwhile(void **state) {
    add_all();
    here = false;
    run();
    all_answered(0);
    assert_int_equal(appended, ENTRIES);
}

static void it_fails_again(void **state) {
    failing[0] = failing[1] = -EIO;
    add(0);
    run();
    assert_true(answered[0]);
    assert_int_equal(answer[0], -EIO);
    assert_int_equal(appends, 2);
}

/* While it is fetched again the peer hears that it comes further, also where nothing was waiting
 * when that was to be told last. */
static void fetched_again_slowly(void **state) {
    failing[0] = -EIO;
    add(0);
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
    assert_int_equal(fetches, 1);
    progress++;
    while (workings == 0)
        assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    run();
    assert_true(answered[0]);
    assert_int_equal(answer[0], 0);
}

/* No fetch makes room. */
static void no_room(void **state) {
    failing[0] = -ENOSPC;
    add(0);
    run();
    assert_true(answered[0]);
    assert_int_equal(answer[0], -ENOSPC);
    assert_int_equal(appends, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(in_batches),        T(a_sync_fails),   T(a_sync_fails_for_one),
        T(dropped_meanwhile), T(it_fails_again), T(fetched_again_slowly),
        T(no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
