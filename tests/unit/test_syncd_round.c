/* driver_merge: when a round of a one-way link has L, and that it is given back. The test is the
 * machine; the disk side says what it was asked for. */
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
#include "syncd/treeless.h"
#include "syncd/txn.h"
#include "syncd/unread.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"

/* ---- in place of the machine, of L and of the disk side ---------------------------- */

static char did[1024];

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

static bool apart; /* mailfs, from syncd */

static bool taken; /* by a process, in a mailfs that served without syncd */

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

static bool gone; /* the mailbox */

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

static bool follows;

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

static int fits; /* 0, or what a merge says */

static struct asks *asks;

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

static bool standby;

struct conf_role role_of(const struct volume *v) {
    return (struct conf_role){.standby = standby};
}

uint64_t merge_keep_turn(struct state *st) {
    return 0;
}

int merge_caught_up(struct state *st, uint64_t turn) {
    return 0;
}

static bool unsynced;

int content_lacks(struct state *st, const Mfp__Listing *theirs, struct content_wants *out) {
    out->unsynced = unsynced;
    return 0;
}

void content_wants_free(struct content_wants *w) {
}

static bool over; /* the round, when the listing has been made */

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

static int room;

int tree_merge_room(struct state *st) {
    return room;
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

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

struct fixture {
    struct engine engine;
    struct volume root, link;
    struct workq *wq;
};

static struct fixture *f;

static int setup(void **state) {
    f = calloc(1, sizeof *f);
    if (f == NULL || workq_new(1, 100, &f->wq) != 0)
        return -1;
    f->root.jobs = f->link.jobs = jobs_new(f->wq, 1);
    f->link.main = &f->root;
    f->link.merges = merges_new(&f->link);
    f->engine.io = f->wq;
    f->link.engine = &f->engine;
    did[0] = '\0';
    unsynced = false;
    lock_fn = NULL;
    standby = follows = false;
    fits = 0;
    taken = over = apart = false;
    room = 0;
    gone = false;
    asks = asks_new(mailfs_runs, NULL);
    return 0;
}

static int teardown(void **state) {
    merges_free(f->link.merges);
    jobs_free(f->link.jobs);
    asks_free(asks);
    workq_free(f->wq);
    free(f);
    return 0;
}

static void settle(void) {
    while (jobs_pending(f->link.jobs) > 0)
        workq_drain(f->wq);
}

/* theirs: with so many messages. */
static void act(enum replica_action_kind kind, bool full, bool frozen, int theirs) {
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
    assert_true(merges_action(f->link.merges, &a));
    replica_payload_unref(a.payload);
    settle();
}

static void lock_answers(int err) {
    assert_non_null(lock_fn);
    lock_fn(lock_arg, err);
    settle();
}

/* To where the mailbox is to be listed for the result. */
static void until_frozen(bool full, int theirs) {
    act(RACT_SCAN, full, false, 0);
    act(RACT_STAGE, full, false, theirs);
    assert_string_equal(did, "scan listed staged ");
    did[0] = '\0';
    act(RACT_SCAN, full, true, 0);
}

/* ---- tests ------------------------------------------------------------------------- */

/* The link ends while a mailbox is listed: that listing is not held until the next one is made. */
static void test_listed_in_vain(void **state) {
    over = true;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    assert_null(f->link.merges->own);
    over = false;
    act(RACT_SCAN, true, false, 0);
    assert_non_null(f->link.merges->own);
}

/* Differences: L is for the result. */
static void test_differences(void **state) {
    until_frozen(false, 1);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

/* What was done between the listing and L for the result does not fit that. */
static void misfit(void) {
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    fits = -ESTALE;
    lock_answers(0);
    fits = 0;
    assert_string_equal(did, "scan listed lock merge unlock unmerged ");
    act(RACT_MERGE_PUT_OFF, false, false, 0);
    did[0] = '\0';
}

/* The bases differ. Nobody at this end waits for the other end's listing. */
static void test_in_full(void **state) {
    until_frozen(true, 1);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

/* It did not fit: nobody gives a UID from the listing to the result; that once. */
static void test_misfit(void **state) {
    misfit();
    until_frozen(true, 1);
    assert_string_equal(did, "lock ");
    lock_answers(0);
    assert_string_equal(did, "lock scan listed ");
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "lock scan listed merge unlock merged ");
    act(RACT_MERGE_DONE, true, false, 0);
    did[0] = '\0';
    until_frozen(true, 1);
    assert_string_equal(did, "scan listed ");
}

/* A standby that is being filled has nothing that could be in the way. */
static void test_filled(void **state) {
    misfit();
    until_frozen(true, 0);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, true, false, 0);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

static void test_lock_in_use(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(-EAGAIN);
    assert_string_equal(did, "lock unlisted ");
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    assert_string_equal(did, "lock unlisted ");
}

/* A process may be at numbering what has come. */
static void test_lock_taken(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(0);
    taken = true;
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "lock scan listed unlock unmerged ");
    did[0] = '\0';
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    taken = false;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    taken = true; /* between the grant and the word of it */
    lock_answers(0);
    assert_string_equal(did, "scan listed lock unlock unmerged ");
}

/* The other end gave up, or went away, when L was here, */
static void test_put_off_with_lock(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(0);
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    assert_string_equal(did, "lock scan listed unlock ");
}

/* or while it was waited for. */
static void test_put_off_before_lock(void **state) {
    misfit();
    until_frozen(true, 1);
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    over = true;
    lock_answers(0);
    assert_string_equal(did, "lock scan listed unlock ");
    did[0] = '\0';
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
}

/* What is here already, of a round that was put off, is synced before the mailbox is frozen. */
static void test_here_and_unsynced(void **state) {
    unsynced = true;
    act(RACT_SCAN, false, false, 0);
    act(RACT_STAGE, false, false, 1);
    while (strstr(did, "staged") == NULL)
        workq_drain(f->wq);
    assert_string_equal(did, "scan listed settled staged ");
}

/* Nothing is carried out any more when the round is over. */
static void test_over_before_lock(void **state) {
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    act(RACT_MERGE_PUT_OFF, false, false, 0);
    lock_answers(0);
    assert_string_equal(did, "scan listed lock unlock unmerged ");
}

/* What a standby has carried out by then is half of a merge, and an active end's is not taken for
 * what both have. */
static void test_half(void **state) {
    for (int i = 0; i < 2; i++) {
        standby = i > 0;
        did[0] = '\0';
        until_frozen(false, 1);
        act(RACT_MERGE, false, false, 1);
        lock_answers(0);
        act(RACT_MERGE_PUT_OFF, false, false, 0);
        assert_string_equal(did, standby ? "scan listed lock merge unlock merged half "
                                         : "scan listed lock merge unlock merged ");
    }
}

/* A pair's, whose mailfs gives L by itself: its list is not to be replaced. */
static void test_apart(void **state) {
    f->link.main = NULL;
    until_frozen(false, 1);
    apart = true;
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed unmerged ");
    did[0] = '\0';
    apart = false;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed merge merged ");
}

/* It is started between the look for one and the beginning of the job, of a pair or of a link that
 * has L. One without writes to no list of anybody's. */
static void test_started(void **state) {
    jobs_ask(f->link.jobs, asks);
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    lock_answers(0);
    assert_string_equal(did, "scan listed lock given-up unlock merged ");
    did[0] = '\0';
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 0);
    assert_string_equal(did, "scan listed merge merged ");
    did[0] = '\0';
    f->link.main = NULL;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed given-up merged ");
}

/* Whose standby has nothing of its own has lost what is not there. */
static void test_follows(void **state) {
    follows = true;
    act(RACT_SCAN, false, false, 0);
    assert_string_equal(did, "follow scan listed ");
}

/* It is one when it has caught up as a standby. */
static void test_followed(void **state) {
    act(RACT_CAUGHT_UP, false, false, 0);
    assert_string_equal(did, "");
    standby = true;
    act(RACT_CAUGHT_UP, false, false, 0);
    assert_string_equal(did, "followed ");
}

/* The tree lacks what a full disk kept out: the mailbox is not merged before the trees are, and
 * these not before there is room. */
static void test_treeless(void **state) {
    struct mailfs_id other = {{1}};
    f->link.main = NULL;
    merges_await_trees(f->link.merges, &other, 0);
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    did[0] = '\0';
    merges_await_trees(f->link.merges, &mailfs_id_root, -ENOSPC);
    room = -ENOSPC;
    for (unsigned i = 0; i < 2; i++)
        act(RACT_SCAN, true, i > 0, 0);
    assert_string_equal(did, "unlisted unlisted ");
    room = 0;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "unlisted unlisted unlisted compare ");
}

/* Nor is one listed as gone that may be in what is lacking: the other node would compare the trees,
 * whatever room there is here. */
static void test_gone_while_treeless(void **state) {
    struct mailfs_id other = {{1}};
    f->link.main = NULL;
    gone = true;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    did[0] = '\0';
    merges_await_trees(f->link.merges, &other, -ENOSPC);
    room = -ENOSPC;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan unlisted ");
    room = 0;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan unlisted scan unlisted compare ");
}

/* The trees are not compared for what a merge of them could not do either, or one folder would stop
 * all: neither for that one, nor for what cannot be there without it. */
static void test_treeless_for_good(void **state) {
    static const int lasting[] = {-EIO, -EPERM, -EMLINK};
    struct mailfs_id other = {{1}};
    f->link.main = NULL;
    for (unsigned i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        struct treeless **set = &f->link.merges->treeless;
        merges_await_trees(f->link.merges, &mailfs_id_root, -ENOENT);
        merges_await_trees(f->link.merges, &other, lasting[i]);
        merges_await_trees(f->link.merges, &other, -ENOSPC);
        act(RACT_SCAN, true, false, 0);
        assert_string_equal(did, "unlisted ");
        assert_int_equal(treeless_lasting(*set, &mailfs_id_root, volume_now()), lasting[i]);
        assert_int_equal(
            treeless_lasting(*set, &mailfs_id_root, volume_now() + TREELESS_EIO_MS + 1000),
            lasting[i] == -EIO ? 0 : lasting[i]);
        treeless_free(set);
        did[0] = '\0';
    }
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_listed_in_vain),
        T(test_differences),
        T(test_in_full),
        T(test_misfit),
        T(test_filled),
        T(test_lock_in_use),
        T(test_put_off_with_lock),
        T(test_put_off_before_lock),
        T(test_here_and_unsynced),
        T(test_over_before_lock),
        T(test_half),
        T(test_lock_taken),
        T(test_apart),
        T(test_started),
        T(test_follows),
        T(test_followed),
        T(test_treeless),
        T(test_gone_while_treeless),
        T(test_treeless_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
