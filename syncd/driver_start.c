/*
 * driver_start - what is done before a node meets its peer: the journal is applied, what an earlier
 * life had prepared is published, and a mailfs that will come is waited for
 *
 * Diagnostics: how much there was.
 */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "contact.h"
#include "driver_apply.h"
#include "driver_raise.h"
#include "front.h"
#include "journal.h"
#include "load.h"
#include "mem.h"
#include "merge_run.h"
#include "pending.h"
#include "role.h"
#include "stage.h"
#include "state.h"
#include "util/log.h"
#include "volume.h"

#define MAILFS_MS 2000 /* in which one that runs has come */
#define LOCKS_MS  20   /* between two looks at which L there are */

static void meet_peer(struct volume *v) {
    if (v->ready || v->stopping)
        return;
    v->ready = true;
    contact_start(v);
    driver_pump(v);
}

static void mailfs_overdue(evutil_socket_t fd, short what, void *arg) {
    meet_peer(arg);
}

void driver_mailfs_here(struct volume *v) {
    if (v->ready && !v->stopping)
        contact_start(v); /* without it the peer was not met */
    else if (v->replayed)
        meet_peer(v);
}

/* What it named while no syncd was there comes with its Hello: without that the first merge would
 * take the name that the peer published it under for another message. And a node that is to be
 * filled: a mailfs that comes when that has begun ends the connection, since what it may have done
 * is to be listed, and who opens a mailbox in that moment is shown an empty one. */
static bool mailfs_will_come(const struct volume *v) {
    return front_is_apart(v->front) ||
           (v->cv->peer != NULL && !v->had_contact && !volume_is_watched(v) && !role_of(v).standby);
}

static void wait_for_mailfs(struct volume *v) {
    struct timeval tv = {.tv_sec = MAILFS_MS / 1000};
    if (v->main != NULL || front_is_connected(v->front) || !mailfs_will_come(v) ||
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, mailfs_overdue, v, &tv) != 0)
        meet_peer(v);
}

struct leftovers {
    struct volume *v;
    struct stage_prep *preps;
    size_t n;
};

static void leftovers_run(void *arg) {
    struct leftovers *l = arg;
    if (stage_leftovers(l->v->state, &l->preps, &l->n) != 0)
        l->n = 0;
    else
        state_start_over(l->v->state); /* an error is logged there */
}

static void leftovers_done(void *arg) {
    struct leftovers *l = arg;
    struct volume *v = l->v;
    for (size_t i = 0; i < l->n; i++)
        driver_publish_prep(v, (struct replica_prep){l->preps[i].incarnation, l->preps[i].seq});
    if (l->n > 0)
        log_info("volume %s: %zu prepared messages of an earlier life", v->cv->name, l->n);
    free(l->preps);
    free(l);
    v->replayed = true;
    wait_for_mailfs(v);
}

static int replay_one(void *arg, uint64_t id, Mfp__Txn *txn) {
    struct mailfs_id dir;
    if (txn->dir.len != sizeof dir) {
        mfp__txn__free_unpacked(txn, NULL);
        return -EUCLEAN;
    }
    memcpy(dir.b, txn->dir.data, sizeof dir);
    driver_apply_replayed(arg, &dir, id, load_txn(txn));
    return 0;
}

static void leftovers_begin(struct volume *v) {
    struct leftovers *l = mem_new(sizeof *l);
    l->v = v;
    jobs_barrier(v->jobs, leftovers_run, leftovers_done, l);
}

/* How much the peer lacks of what was done in an earlier life, for status. What the journal puts
 * into the store it does not lack. */
struct recount {
    struct volume *v;
    struct mailfs_id dir;
};

static void recount_run(void *arg) {
    struct recount *rc = arg;
    pending_rescan(rc->v->state, &rc->dir);
}

static void recount_done(void *arg) {
    free(arg);
}

static void recount_begin(struct volume *v) {
    struct state_mark *marks = NULL;
    size_t n = 0;
    if (v->cv->peer == NULL || state_marks(v->state, UINT64_MAX, &marks, &n) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct recount *rc = mem_new(sizeof *rc);
        *rc = (struct recount){v, marks[i].dir};
        jobs_run(v->jobs, &rc->dir, recount_run, recount_done, rc);
    }
    free(marks);
}

/*
 * A mailfs that has served without syncd has given L by itself, and who has it writes to the files
 * that the journal changes: Dovecot appends to the list that it has open, which is no more when
 * another has got its name. So these are waited for; but a process that hangs under L does not keep
 * the peer away.
 */
static void replay_begin(evutil_socket_t fd, short what, void *arg) {
    struct volume *v = arg;
    struct timeval tv = {.tv_usec = LOCKS_MS * 1000};
    if (v->stopping)
        return;
    if (what != 0 && v->replay_until == 0) /* from when mailfs is heard: other volumes are opened */
        v->replay_until = volume_now() + MAILFS_MS;
    bool may_wait = v->replay_until == 0 || volume_now() < v->replay_until;
    if (v->replays != NULL && may_wait &&
        (front_is_apart(v->front) || driver_replay_is_locked(v)) &&
        event_base_once(v->engine->evb, -1, EV_TIMEOUT, replay_begin, v, &tv) == 0)
        return;
    driver_replay_go_on(v);
    recount_begin(v);
    leftovers_begin(v);
}

/* What the journal removes is kept back as at a contact: it may be of a time when not all had been
 * merged, and the message moved to a mailbox that is not here yet. */
int driver_replay(struct volume *v) {
    if (v->start.journal > 0)
        merge_keep_back(v->state);
    int r = driver_raise_left(v);
    if (r == 0)
        r = journal_replay(v->state, replay_one, v);
    if (r != 0)
        return r;
    if (v->start.journal > 0)
        log_info("volume %s: %zu transactions to apply from the journal", v->cv->name,
                 v->start.journal);
    replay_begin(-1, 0, v);
    return 0;
}
