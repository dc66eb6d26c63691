/*
 * driver_journal - from RACT_JOURNAL to replica_journaled()
 *
 * An entry waits for the contents that are on their way (bulk frames may come after the transaction
 * that names them), asks the disk side what is missing, fetches that, and is then ready. The list
 * is in order of arrival, and an entry leaves it before another one only if they have no container
 * in common (touched.h): what a later transaction builds upon is always in the journal before it.
 *
 * Acts that nobody waits for (outside of L) gather: a commit of these alone begins PACE_MS after
 * the one before. The first one after a pause does so at once.
 *
 * While an entry takes its time, the peer is told whenever it has come further: it waits for an
 * acknowledgement only so long, and a large transaction may take longer. A disk that hangs makes no
 * progress, and the peer goes alone.
 *
 * Diagnostics: a refused transaction (no room) is logged by the journal, and refused to the peer.
 */
#include "driver_journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "content.h"
#include "driver.h"
#include "driver_apply.h"
#include "journal.h"
#include "load.h"
#include "mem.h"
#include "timer.h"
#include "touched.h"
#include "util/bytes.h"
#include "volume.h"
#include "wire/check.h"
#include "xfer.h"

#define LANE_JOURNAL UINT64_C(0x6a6f75726e616c00)
#define LANE_CONTENT UINT64_C(0x636f6e74656e7400)
#define SKIPPED_MAX  32 /* what waits for contents, before all wait with it */
#define BATCH_MAX    256

/*
 * With one delivery after the other, each was a commit (2 flushes, 5 writes), and woke the thread
 * that applies, mailfs and the peer, for itself.
 */
#define PACE_MS 3

enum stage_of { WAITS, CHECKING, FETCHING, READY, REFUSED };

struct entry {
    struct entry *next, *prev;
    struct journaler *j;
    uint64_t seq;
    struct mailfs_id dir;
    struct replica_payload *payload;
    struct touched touched;
    enum stage_of at;
    int err;
    bool tried; /* alone, and its contents have been looked for once more */
    struct content_wants wants;
    uint64_t told; /* how far the peer knows it to be */
};

struct journaler {
    struct volume *v;
    struct entry *list;
    struct entry *batch; /* being committed */
    bool committing, advancing, again;
    size_t one_by_one; /* a batch failed: so many entries go alone */
    struct journal_entry *args;
    size_t n_args;
    int err;
    struct event *progress; /* while there are entries */
    struct event *pace;     /* while a commit is put off */
    uint64_t committed_ms;  /* when the last one began */
};

static void advance(struct journaler *j);
static void progress_arm(struct journaler *j);

static const Mfp__Txn *txn_of(const struct entry *e) {
    return load_of(e->payload)->txn;
}

static void entry_free(struct entry *e) {
    content_wants_free(&e->wants);
    replica_payload_unref(e->payload);
    free(e);
}

/* ---- contents ---------------------------------------------------------------------- */

static bool contents_on_their_way(const struct entry *e) {
    const Mfp__Txn *txn = txn_of(e);
    for (size_t i = 0; i < txn->n_ops; i++) {
        const Mfp__PrepId *id = wire_prepared(txn->ops[i]);
        if (id == NULL)
            continue;
        struct replica_prep prep = {id->incarnation, id->seq};
        if (xfer_receiving(e->j->v->xfers, &prep))
            return true;
    }
    return false;
}

static void fetched(void *arg, int err) {
    struct entry *e = arg;
    e->at = err == 0 ? READY : REFUSED;
    e->err = err;
    advance(e->j);
}

static void check_run(void *arg) {
    struct entry *e = arg;
    e->err = content_missing(e->j->v->state, txn_of(e), &e->wants);
}

static void check_done(void *arg) {
    struct entry *e = arg;
    struct volume *v = e->j->v;
    if (e->err == 0 && e->wants.n > 0) {
        e->at = FETCHING;
        xfer_fetch(v->xfers, &e->wants, fetched, e);
    } else {
        e->at = e->err == 0 ? READY : REFUSED;
        advance(e->j);
    }
    driver_pump(v);
}

static void entry_check(struct entry *e) {
    struct volume *v = e->j->v;
    /* Saves a worker's wake-up for nearly every delivery. */
    if (content_at_hand(v->state, txn_of(e))) {
        e->at = READY;
        return;
    }
    e->at = CHECKING;
    uint64_t lane = bytes_get_u64(e->dir.b) ^ LANE_CONTENT;
    if (workq_submit(v->engine->io, lane, check_run, check_done, e) != 0)
        mem_out("work queue");
}

/* ---- commit ------------------------------------------------------------------------ */

static void commit_run(void *arg) {
    struct journaler *j = arg;
    j->err = journal_append(j->v->state, j->args, j->n_args);
}

/* A sync that fails, anybody's, drops what was fetched and nobody counts on yet: then the peer has
 * it still. Once; a disk that has no room, or fails again, is refused. */
static bool may_mend(struct journaler *j) {
    struct entry *e = j->batch;
    bool first = !e->tried;
    e->tried = true;
    return first && (j->err == -ENODATA || j->err == -EIO);
}

/* The batch back to the head of the list, to go one by one; from the look for their contents on. */
static void commit_again(struct journaler *j) {
    struct entry *all = j->batch, *e;
    DL_FOREACH(all, e) {
        content_wants_free(&e->wants);
        e->at = WAITS;
    }
    j->batch = NULL;
    DL_CONCAT(all, j->list);
    j->list = all;
    j->one_by_one += j->n_args;
    progress_arm(j);
}

static void commit_answer(struct journaler *j) {
    struct volume *v = j->v;
    for (size_t i = 0; j->batch != NULL; i++) {
        struct entry *e = j->batch;
        DL_DELETE(j->batch, e);
        load_of(e->payload)->journal_id = j->args[i].id;
        v->changes++;
        replica_journaled(v->machine, volume_now(), e->seq, j->err);
        driver_pump(v);
        if (j->err == 0)
            driver_apply_early(v, &e->dir, e->payload);
        entry_free(e);
    }
}

static void commit_done(void *arg) {
    struct journaler *j = arg;
    struct volume *v = j->v;
    if (j->err != 0 && (j->n_args > 1 || may_mend(j)))
        commit_again(j);
    else
        commit_answer(j);
    j->committing = false;
    free(j->args);
    j->args = NULL;
    advance(j);
    driver_pump(v);
}

/* Does one before it that it may build upon still wait? */
static bool must_wait(const struct journaler *j, const struct entry *e) {
    const struct entry *before;
    DL_FOREACH(j->list, before) {
        if (before == e)
            return false;
        if (touched_meet(&before->touched, &e->touched))
            return true;
    }
    return false;
}

/* Moves ready ones to the batch. */
static size_t take_batch(struct journaler *j) {
    size_t n = 0, left = 0, max = j->one_by_one > 0 ? 1 : BATCH_MAX;
    struct entry *e, *next;
    for (e = j->list; e != NULL && n < max && left < SKIPPED_MAX; e = next) {
        next = e->next;
        if (e->at != READY || must_wait(j, e)) {
            left++;
            continue;
        }
        DL_DELETE(j->list, e);
        DL_APPEND(j->batch, e);
        n++;
    }
    if (j->one_by_one > 0 && n > 0)
        j->one_by_one--;
    return n;
}

/* Whoever unlocks waits, and with him all that is before. */
static bool somebody_waits(const struct journaler *j) {
    const struct entry *e;
    DL_FOREACH(j->list, e) {
        if (txn_of(e)->locked)
            return true;
    }
    return false;
}

static bool put_off(struct journaler *j) {
    uint64_t since = volume_now() - j->committed_ms;
    if (j->list == NULL || since >= PACE_MS || somebody_waits(j))
        return false;
    struct timeval tv = {.tv_usec = (suseconds_t)(PACE_MS - since) * 1000};
    if (!evtimer_pending(j->pace, NULL))
        evtimer_add(j->pace, &tv);
    return true;
}

static void commit(struct journaler *j) {
    if (put_off(j))
        return;
    size_t n = take_batch(j), i = 0;
    if (n == 0)
        return;
    j->committed_ms = volume_now();
    struct entry *e;
    j->args = mem_new(n * sizeof *j->args);
    j->n_args = n;
    DL_FOREACH(j->batch, e) {
        j->args[i++].txn = txn_of(e);
    }
    j->committing = true;
    if (workq_submit(j->v->engine->io, LANE_JOURNAL ^ (uintptr_t)j, commit_run, commit_done, j) !=
        0)
        mem_out("work queue");
}

static void pace_over(evutil_socket_t fd, short what, void *arg) {
    struct journaler *j = arg;
    advance(j);
    driver_pump(j->v);
}

/* ---- progress ---------------------------------------------------------------------- */

static void progress_arm(struct journaler *j) {
    const struct conf_peer *peer = j->v->cv->peer;
    unsigned ms = peer == NULL ? 1000 : peer->timeout_ms / 4;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    if (j->list != NULL && !evtimer_pending(j->progress, NULL))
        evtimer_add(j->progress, &tv);
}

static uint64_t progress_of(const struct entry *e) {
    if (e->at == CHECKING)
        return e->wants.looked;
    return e->at == FETCHING ? xfer_fetch_progress(e->j->v->xfers) : 0;
}

/* What waits behind one that has come further has come further. */
static void progress_tell(evutil_socket_t fd, short what, void *arg) {
    struct journaler *j = arg;
    bool moved = false;
    struct entry *e;
    DL_FOREACH(j->list, e) {
        uint64_t now = progress_of(e);
        moved = moved || now != e->told;
        if (now != e->told || (moved && e->at != CHECKING && e->at != FETCHING))
            replica_working(j->v->machine, volume_now(), e->seq);
        e->told = now;
    }
    progress_arm(j);
    driver_pump(j->v);
}

/* ---- the list ---------------------------------------------------------------------- */

static void advance_once(struct journaler *j) {
    struct entry *e;
    DL_FOREACH(j->list, e) {
        if (e->at == WAITS && !contents_on_their_way(e))
            entry_check(e);
    }
    while (j->list != NULL && j->list->at == REFUSED) {
        e = j->list;
        DL_DELETE(j->list, e);
        replica_journaled(j->v->machine, volume_now(), e->seq, e->err);
        driver_pump(j->v);
        entry_free(e);
    }
    if (!j->committing)
        commit(j);
}

/* What the machine is told may add entries: not nested, but once more. */
static void advance(struct journaler *j) {
    j->again = true;
    if (j->advancing)
        return;
    j->advancing = true;
    while (j->again) {
        j->again = false;
        advance_once(j);
    }
    j->advancing = false;
}

void journaler_add(struct journaler *j, uint64_t seq, const struct mailfs_id *dir,
                   struct replica_payload *payload) {
    struct entry *e = mem_new(sizeof *e);
    e->j = j;
    e->seq = seq;
    e->dir = *dir;
    e->payload = replica_payload_ref(payload);
    touched_by_txn(txn_of(e), &e->touched);
    DL_APPEND(j->list, e);
    progress_arm(j);
    advance(j);
}

void journaler_wake(struct journaler *j) {
    advance(j);
}

struct journaler *journaler_new(struct volume *v) {
    struct journaler *j = mem_new(sizeof *j);
    j->v = v;
    j->progress = timer_new(v->engine->evb, progress_tell, j);
    j->pace = timer_new(v->engine->evb, pace_over, j);
    return j;
}

void journaler_free(struct journaler *j) {
    if (j == NULL)
        return;
    while (j->list != NULL) {
        struct entry *e = j->list;
        DL_DELETE(j->list, e);
        entry_free(e);
    }
    event_free(j->progress);
    event_free(j->pace);
    free(j);
}
