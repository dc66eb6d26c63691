/* stubs_syncd_applier - see stubs_syncd_applier.h */
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

#include "stubs_syncd_applier.h"
#include "syncd/alias.h"
#include "syncd/apply.h"
#include "syncd/asks.h"
#include "syncd/brake.h"
#include "syncd/build.h"
#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/driver_apply.h"
#include "syncd/driver_merge.h"
#include "syncd/front.h"
#include "syncd/jobs.h"
#include "syncd/load.h"
#include "syncd/oneway.h"
#include "syncd/owed.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/workq.h"

unsigned fails, left;
int failing, note_err, awaited_err;
bool unnoted, locked, apart, down, awaits, former;
struct apply_result result;
enum replica_state at;
struct replica_payload *received[3];
struct mailfs_id id = {{1}};
struct mailfs_id held = {{1}};
struct mailfs_id recorded;
_Atomic unsigned tries, alone, raises, noted, noted_raised;
unsigned applied, suspected, in_time;
unsigned replaying, compared, awaited;
unsigned replaced, to_raise;
struct engine engine;
struct volume volume;

/* ---- stubs ------------------------------------------------------------------------- */

int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id,
              const struct apply_how *how, struct apply_result *out) {
    *out = result;
    alone += !how->beside;
    raises += how->raise == REPLICA_RAISE_ODD;
    out->unnoted = unnoted && tries < fails;
    return tries++ < fails ? failing : asks_still();
}

void apply_result_free(struct apply_result *r) {
}

void replica_applied(struct replica *r, uint64_t now, uint64_t seq) {
    applied++;
    in_time = suspected;
}

void replica_left(struct replica *r, uint64_t seq) {
    left++;
}

int owed_note(struct state *st, const struct mailfs_id *dir) {
    noted++;
    recorded = *dir;
    return note_err;
}

int owed_raised(struct state *st, const struct mailfs_id *dir) {
    assert_true(mailfs_id_equal(dir, &recorded));
    noted_raised++;
    return 0;
}

void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir) {
    suspected++;
}

/* Before it is suspected, or its merge would come to its end. */
void merges_await_trees(struct merges *m, const struct mailfs_id *dir, int err) {
    assert_int_equal(suspected, awaited);
    awaited_err = err;
    awaited++;
}

bool merges_awaits_trees(const struct merges *m, const struct mailfs_id *dir) {
    return awaits;
}

void replica_replaying(struct replica *r, struct mailfs_id dir) {
    replaying++;
}

void replica_list_replaced(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised) {
    assert_true(mailfs_id_equal(&dir, &id) || mailfs_id_equal(&dir, &held));
    replaced += raised;
    to_raise += !raised;
}

bool replica_is_raise_due(const struct replica *r, struct mailfs_id dir) {
    return replaced > 0 && mailfs_id_equal(&dir, &held);
}

enum replica_raise replica_raise_rule(const struct replica *r) {
    return REPLICA_RAISE_ODD;
}

void replica_replayed(struct replica *r, uint64_t now, struct mailfs_id dir) {
    applied++;
}

bool txns_locked(const struct txns *t, const struct mailfs_id *dir) {
    return locked && mailfs_id_equal(dir, &held);
}

struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *dir) {
    return locked ? held : *dir;
}

void replica_count(const struct replica *r, struct replica_counts *out) {
    memset(out, 0, sizeof(*out));
}

void replica_each_unapplied(const struct replica *r, replica_unapplied_fn *fn, void *arg) {
    for (size_t i = 0; i < sizeof(received) / sizeof(*received); i++)
        if (received[i] != NULL)
            fn(arg, &id, received[i]);
}

bool replica_has_received(const struct replica *r, struct mailfs_id dir) {
    return false;
}

enum replica_state replica_state(const struct replica *r) {
    return at;
}

void driver_pump(struct volume *v) {
}

void driver_compare_trees(struct volume *v, const char *why) {
    compared++;
}

bool contact_is_up(const struct volume *v) {
    return !down;
}

bool alias_now(struct state *st, const struct mailfs_id *asked, struct mailfs_id *now) {
    *now = (struct mailfs_id){{3}};
    return former;
}

void brake_noticed(struct brake *b) {
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

bool front_is_apart(const struct front *f) {
    return apart;
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

int oneway_mark(struct volume *v, const struct mailfs_id *dir) {
    return 0;
}

void volume_error(struct volume *v, const char *fmt, ...) {
}

const char *state_path(struct state *st, const struct mailfs_id *dir, char *buf, size_t size) {
    return "/user/Maildir";
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a volume ---------------------------------------------------------------------- */

int applier_setup(void **state) {
    applied = suspected = replaying = replaced = to_raise = compared = left = awaited = 0;
    awaits = false;
    result = (struct apply_result){0};
    noted = noted_raised = raises = 0;
    note_err = 0;
    unnoted = false;
    at = REPLICA_IN_SYNC;
    locked = apart = down = former = false;
    held = id;
    tries = alone = 0;
    fails = 1;
    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.io) != 0)
        return -1;
    volume = (struct volume){.engine = &engine, .jobs = jobs_new(engine.io, 0)};
    return 0;
}

int applier_teardown(void **state) {
    jobs_free(volume.jobs);
    workq_free(engine.io);
    event_base_free(engine.evb);
    return 0;
}

struct replica_payload *payload(void) {
    Mfp__Txn txn = MFP__TXN__INIT;
    uint8_t packed[64];

    txn.dir = (ProtobufCBinaryData){sizeof(id.b), id.b};
    txn.locked = true;
    return load_txn(mfp__txn__unpack(NULL, mfp__txn__pack(&txn, packed), packed));
}

void begin(int err) {
    struct replica_action a = {.seq = 1, .dir = id, .payload = payload()};

    failing = err;
    driver_apply(&volume, &a);
    replica_payload_unref(a.payload);
}

void apply(int err) {
    begin(err);
    workq_drain(engine.io);
}

struct replica_payload *of_folder(Mfp__Op__OpCase what) {
    Mfp__Txn *txn = build_txn(&id, false);

    assert_non_null(build_op(txn, what));
    return load_txn(txn);
}

void look(void) {
    assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
    workq_drain(engine.io);
}

void done_alone(void) {
    look();
    assert_int_equal(tries, 1);
    for (unsigned n = 0; n < 1000 && tries == 1; n++)
        look();
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    assert_int_equal(noted, 1);
}
