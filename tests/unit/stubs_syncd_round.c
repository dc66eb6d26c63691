/* stubs_syncd_round - see stubs_syncd_round.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stubs_syncd_round.h"
#include "syncd/asks.h"
#include "syncd/checkpoint.h"
#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/driver_merge.h"
#include "syncd/driver_merge_int.h"
#include "syncd/front.h"
#include "syncd/load.h"
#include "syncd/oneway.h"
#include "syncd/oneway_lock.h"
#include "syncd/reread.h"
#include "syncd/role.h"
#include "syncd/stage.h"
#include "syncd/txn.h"
#include "syncd/unread.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"

/* ---- in place of the machine, of L and of the disk side ---------------------------- */

char did[1024];

static void note(const char *what) {
    strcat(did, what);
    strcat(did, " ");
}

static oneway_lock_fn *lock_fn;
static void *lock_arg;

void oneway_lock(struct volume *link, const struct mailfs_id *dir, oneway_lock_fn *fn, void *arg) {
    note("lock");
    lock_fn = fn;
    lock_arg = arg;
}

bool taken;

bool oneway_holds(struct volume *link, const struct mailfs_id *dir) {
    return !taken;
}

void oneway_unlock(struct volume *link, const struct mailfs_id *dir, bool changed) {
    note("unlock");
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

void reread_noticed(struct reread *r) {
}

void oneway_left(struct volume *link, const struct mailfs_id *dir, bool some) {
}

size_t oneway_lenders(const struct volume *link, struct state **out) {
    return 0;
}

static bool begun; /* what cannot be read is noted from then on (unread.h) */

void unread_listing_begins(struct state *st, const struct mailfs_id *dir) {
    begun = true;
}

bool gone;

int scan_mailbox_for(struct state *st, const struct mailfs_id *dir, bool full,
                     struct state *const *lenders, size_t n_lenders, Mfp__Listing **out) {
    note(begun ? "scan" : "scan-too-early");
    begun = false;
    *out = malloc(sizeof **out);
    mfp__listing__init(*out);
    (*out)->full = full;
    (*out)->gone = gone;
    return 0;
}

bool follows;

bool oneway_only_follows(const struct volume *link) {
    return follows;
}

int scan_mailbox_following(struct state *st, const struct mailfs_id *dir, bool full,
                           struct state *const *lenders, size_t n_lenders, Mfp__Listing **out) {
    note("follow");
    return scan_mailbox_for(st, dir, full, lenders, n_lenders, out);
}

int state_set_followed(struct state *st, uint64_t term) {
    note("followed");
    return 0;
}

bool merge_listing_is_base(const Mfp__Listing *l) {
    return !l->full && l->n_msgs == 0 && l->v == 0;
}

int fits;

struct asks *asks;

static bool mailfs_runs(const void *arg) {
    return true;
}

int merge_mailbox_run(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *mine,
                      const Mfp__Listing *theirs, uint8_t digest[STATE_DIGEST],
                      struct invals *inval) {
    note(asks_still() == 0 ? "merge" : "given-up");
    return fits;
}

int merge_mailbox_done(struct state *st, const struct mailfs_id *dir) {
    return 0;
}

void merge_mailbox_forget(struct state *st, const struct mailfs_id *dir) {
}

void merge_mailbox_half(struct state *st, const struct mailfs_id *dir) {
    note("half");
}

bool standby;

struct conf_role role_of(const struct volume *v) {
    return (struct conf_role){.standby = standby};
}

uint64_t merge_keep_turn(struct state *st) {
    return 0;
}

int merge_caught_up(struct state *st, uint64_t turn) {
    return 0;
}

bool unsynced;

int content_lacks(struct state *st, const Mfp__Listing *theirs, struct content_wants *out) {
    out->unsynced = unsynced;
    return 0;
}

void content_wants_free(struct content_wants *w) {
}

bool over;

bool replica_scanned(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                     struct replica_payload *listing) {
    note(listing != NULL ? "listed" : "unlisted");
    return !over;
}

void replica_fetching(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round) {
}

void replica_staged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                    int err) {
    note("staged");
}

void replica_merged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                    const uint8_t digest[REPLICA_DIGEST], int err) {
    note(err == 0 ? "merged" : "unmerged");
}

void replica_unlock(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir,
                    struct replica_payload *payload, const struct replica_prep *preps, size_t n) {
}

void replica_prep_used(struct replica *r, struct replica_prep prep) {
}

bool stage_prep_is_of(struct state *st, const struct stage_prep *prep,
                      const struct mailfs_id *dir) {
    return false;
}

int stage_make_durable(struct state *st) {
    note("settled");
    return 0;
}

const char *state_path(struct state *st, const struct mailfs_id *dir, char *buf, size_t size) {
    snprintf(buf, size, "/u");
    return buf;
}

int state_set_contact(struct state *st, bool had) {
    return 0;
}

bool txns_locked(const struct txns *t, const struct mailfs_id *dir) {
    return false;
}

bool txns_locked_any(const struct txns *t) {
    return false;
}

void txns_lock_forget(struct txns *t, const struct mailfs_id *dir) {
}

bool txns_former_locked(const struct txns *t, const struct mailfs_id *dir) {
    return false;
}

void xfer_fetch(struct xfers *x, struct content_wants *wants, xfer_fetched_fn *fn, void *arg) {
}

void checkpoint_look(struct checkpoint *c) {
}

void checkpoint_merged(struct checkpoint *c) {
}

bool contact_is_up(const struct volume *v) {
    return true;
}

void driver_pump(struct volume *v) {
}

void driver_compare_trees(struct volume *v, const char *why) {
    note("compare");
}

int room;
struct mailfs_id over_quota;

int tree_merge_room(struct state *st, const struct mailfs_id *in, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (mailfs_id_equal(&in[i], &over_quota))
            return -EDQUOT;
    }
    return room;
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

bool apart;

bool front_is_apart(const struct front *f) {
    return apart;
}

void invals_free(struct invals *iv) {
}

void merges_on_tree(struct merges *m, const struct replica_action *a) {
}

void merges_on_tree_done(struct merges *m, const struct replica_action *a) {
}

void merges_on_list_marks(struct merges *m, const struct replica_action *a) {
}

void volume_error(struct volume *v, const char *fmt, ...) {
}

bool volume_is_watched(const struct volume *v) {
    return false;
}

uint64_t volume_now(void) {
    return 1000;
}

/* ---- a link ------------------------------------------------------------------------ */

struct round *here;

int round_setup(void **state) {
    here = calloc(1, sizeof *here);
    if (here == NULL || workq_new(1, 100, &here->wq) != 0)
        return -1;
    here->root.jobs = here->link.jobs = jobs_new(here->wq, 1);
    here->link.main = &here->root;
    here->link.merges = merges_new(&here->link);
    here->engine.io = here->wq;
    here->link.engine = &here->engine;
    did[0] = '\0';
    unsynced = false;
    lock_fn = NULL;
    standby = follows = false;
    fits = 0;
    taken = over = apart = false;
    room = 0;
    over_quota = (struct mailfs_id){{0xff}};
    gone = false;
    asks = asks_new(mailfs_runs, NULL);
    return 0;
}

int round_teardown(void **state) {
    merges_free(here->link.merges);
    jobs_free(here->link.jobs);
    asks_free(asks);
    workq_free(here->wq);
    free(here);
    return 0;
}

static void settle(void) {
    while (jobs_pending(here->link.jobs) > 0)
        workq_drain(here->wq);
}

void act(enum replica_action_kind kind, bool full, bool frozen, int theirs) {
    struct replica_action a = {.kind = kind, .round = 7, .full = full, .frozen = frozen};
    Mfp__BaseMsg none = MFP__BASE_MSG__INIT;
    Mfp__Listing *l;
    if (kind == RACT_STAGE || kind == RACT_MERGE) {
        l = malloc(sizeof *l);
        assert_non_null(l);
        mfp__listing__init(l);
        l->full = full;
        l->v = theirs > 0 ? 1 : 0;
        for (; theirs > 0; theirs--) {
            l->msgs = realloc(l->msgs, (l->n_msgs + 1) * sizeof *l->msgs);
            l->msgs[l->n_msgs] = malloc(sizeof none);
            *l->msgs[l->n_msgs++] = none;
        }
        a.payload = load_listing(l);
    }
    assert_true(merges_action(here->link.merges, &a));
    replica_payload_unref(a.payload);
    settle();
}

void lock_answers(int err) {
    assert_non_null(lock_fn);
    lock_fn(lock_arg, err);
    settle();
}

void until_frozen(bool full, int theirs) {
    act(RACT_SCAN, full, false, 0);
    act(RACT_STAGE, full, false, theirs);
    assert_string_equal(did, "scan listed staged ");
    did[0] = '\0';
    act(RACT_SCAN, full, true, 0);
}
