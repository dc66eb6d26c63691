/*
 * driver_merge - the actions of contact: SCAN, STAGE, MERGE, CAUGHT_UP; dispatch of these and of
 * those of driver_trees.c. What waits for the trees is driver_treeless.c's.
 *
 * Each is one job whose arguments are kept in a struct step, and is answered exactly once.
 *
 * Diagnostics: a merge that fails is tried again by the machine; what fails three times in a row is
 * an error of the volume, with its reason (unmerged.h).
 */
#include "driver_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "asks.h"
#include "checkpoint.h"
#include "contact.h"
#include "driver.h"
#include "driver_merge_int.h"
#include "front.h"
#include "idset.h"
#include "load.h"
#include "mem.h"
#include "merge_own.h"
#include "oneway.h"
#include "oneway_lock.h"
#include "reread.h"
#include "role.h"
#include "stage.h"
#include "treeless.h"
#include "txn.h"
#include "unread.h"
#include "util/log.h"
#include "xfer.h"

#define FORMER_LOCK_MS 20

struct step *merges_step_new(struct merges *m, const struct replica_action *a) {
    struct step *s = mem_new(sizeof *s);
    s->v = m->v;
    s->dir = a->dir;
    s->round = a->round;
    s->full = a->full;
    s->frozen = a->frozen;
    if (a->payload != NULL)
        s->theirs = replica_payload_ref(a->payload);
    return s;
}

void merges_step_free(struct step *s) {
    struct volume *v = s->v;
    replica_payload_unref(s->mine);
    replica_payload_unref(s->theirs);
    content_wants_free(&s->wants);
    invals_free(&s->inval);
    free(s->marks);
    free(s->lacking);
    free(s);
    driver_pump(v);
}

/* ---- listings ---------------------------------------------------------------------- */

/* Listings of differences can be compared only if they are to the same base. */
static bool bases_differ(const struct step *s) {
    if (s->mine == NULL || s->theirs == NULL)
        return false;
    const Mfp__Listing *a = load_of(s->mine)->listing, *b = load_of(s->theirs)->listing;
    if (a->full && b->full)
        return false;
    if (a->full != b->full || a->base_digest.len != b->base_digest.len)
        return true;
    return a->base_digest.len > 0 &&
           memcmp(a->base_digest.data, b->base_digest.data, a->base_digest.len) != 0;
}

/* ---- mailboxes --------------------------------------------------------------------- */

static void failed_here(const struct step *s, enum unmerged_at at) {
    char why[UNMERGED_WHY] = UNMERGED_LONE;
    if (s->err == 0)
        return;
    if (s->err != -EAGAIN || !merges_one_is_gone(s))
        unmerged_words(at, s->err, why);
    unmerged_failed(&s->v->merges->unmerged, &s->dir, why);
}

static void scan_run(void *arg) {
    struct step *s = arg;
    s->err = s->treeless ? merges_look_for_room(s) : 0;
    if (s->err != 0)
        return;
    unread_listing_begins(s->v->state, &s->dir);
    s->err = (s->follows ? scan_mailbox_following : scan_mailbox_for)(
        s->v->state, &s->dir, s->full, s->lenders, s->n_lenders, &s->listing);
    if (s->err == 0 && s->n_lacking > 0 && s->listing->gone) {
        mfp__listing__free_unpacked(s->listing, NULL);
        s->listing = NULL;
        s->err = merges_look_for_room(s);
    }
}

/*
 * What is not in the store under this id has no L either. One that was granted under an id that a
 * directory has lost since (made on both nodes at once) would be waited for for ever.
 */
static void no_lock_there(const struct step *s) {
    if (!txns_locked(s->v->txns, &s->dir))
        return;
    txns_lock_forget(s->v->txns, &s->dir);
    replica_unlock(s->v->machine, volume_now(), 0, s->dir, NULL, NULL, 0);
    driver_pump(s->v);
}

static void scan_done(void *arg) {
    struct step *s = arg;
    struct replica_payload *p = NULL;
    failed_here(s, UNMERGED_LIST);
    reread_noticed(s->v->reread);
    if (s->err == 0) {
        if (s->listing->gone)
            no_lock_there(s);
        s->listing->round = s->round;
        s->listing->frozen = s->frozen;
        p = load_listing(s->listing);
    }
    bool wanted = replica_scanned(s->v->machine, volume_now(), s->dir, s->round, p);
    if (wanted && p != NULL)
        own_keep(&s->v->merges->own, &s->dir, s->round, p, s->locked);
    else if (s->locked) /* nobody else gives it up */
        oneway_unlock(s->v, &s->dir, false);
    replica_payload_unref(p);
    if (s->may_compare)
        driver_compare_trees(s->v, "there is room for what could not be done to directories");
    merges_step_free(s);
}

/* L of the same directory, granted under an id that it had before: the machine knows of none. */
static void scan_when_free(evutil_socket_t fd, short what, void *arg) {
    struct step *s = arg;
    struct timeval tv = {.tv_usec = FORMER_LOCK_MS * 1000};
    if (s->frozen && txns_former_locked(s->v->txns, &s->dir) && !s->v->stopping &&
        event_base_once(s->v->engine->evb, -1, EV_TIMEOUT, scan_when_free, s, &tv) == 0)
        return;
    merges_look_for_treeless(s);
    jobs_run(s->v->jobs, &s->dir, scan_run, scan_done, s);
}

static void scan_locked(void *arg, int err) {
    struct step *s = arg;
    s->err = err;
    s->locked = err == 0;
    if (err == 0)
        scan_when_free(-1, 0, s);
    else
        jobs_run(s->v->jobs, &s->dir, NULL, scan_done, s);
}

static bool writes_with_lock(const struct volume *v) {
    return v->main != NULL && !volume_is_watched(v); /* nothing is written there */
}

/* Did it fit? What failed otherwise, or was not tried, says nothing of that. */
static void misfit_look(const struct step *s) {
    struct merges *m = s->v->merges;
    if (s->tried && s->v->main != NULL && (s->err == -ESTALE || s->err == -ENODATA))
        idset_put(&m->misfits, &s->dir, true);
    else if (s->err == 0)
        idset_put(&m->misfits, &s->dir, false);
}

/*
 * The machine of a link does not freeze what the volume's own works on. Mostly L for the result is
 * enough, and the other end, which may be slow to list, holds nobody up. Where something was done
 * between the two that the result does not fit (merge_still_fits()), it is listed again, in full,
 * under L: so a mailbox that is never quiet is merged all the same.
 */
static void scan_start(struct step *s) {
    struct merges *m = s->v->merges;
    if (s->frozen && s->full && writes_with_lock(s->v) && own_theirs_some(m->own, &s->dir) &&
        idset_has(m->misfits, &s->dir))
        oneway_lock(s->v, &s->dir, scan_locked, s);
    else
        scan_when_free(-1, 0, s);
}

static void stage_answer(void *arg, int err) {
    struct step *s = arg;
    s->err = err;
    failed_here(s, UNMERGED_FETCH);
    replica_staged(s->v->machine, volume_now(), s->dir, s->round, err);
    merges_step_free(s);
}

static void stage_run(void *arg) {
    struct step *s = arg;
    if (bases_differ(s))
        s->err = -ESTALE;
    else
        s->err = content_lacks(s->v->state, load_of(s->theirs)->listing, &s->wants);
}

static void settle_more(struct merges *m);

static void settle_run(void *arg) {
    struct merges *m = arg;
    m->settle_err = stage_make_durable(m->v->state);
}

static void settle_done(void *arg) {
    struct merges *m = arg;
    struct step *s, *list = m->settling;
    m->settling = NULL;
    while ((s = list) != NULL) {
        LL_DELETE(list, s);
        stage_answer(s, m->settle_err);
    }
    settle_more(m);
}

/* One sync for all that have come while the one before was under way. */
static void settle_more(struct merges *m) {
    if (m->settling != NULL || m->fetched == NULL)
        return;
    m->settling = m->fetched;
    m->fetched = NULL;
    if (workq_submit(m->v->engine->io, WORKQ_NO_LANE, settle_run, settle_done, m) != 0)
        mem_out("work queue");
}

/* It is made durable while the mailbox is in use, not when it is frozen. */
static void stage_fetched(void *arg, int err) {
    struct step *s = arg;
    struct merges *m = s->v->merges;
    if (err != 0) {
        stage_answer(s, err);
        return;
    }
    LL_PREPEND(m->fetched, s);
    settle_more(m);
}

/* What is to be fetched is known, and takes its time. */
static void listings_release(struct step *s) {
    replica_payload_unref(s->mine);
    replica_payload_unref(s->theirs);
    s->mine = s->theirs = NULL;
}

static void stage_fetch(struct step *s) {
    replica_fetching(s->v->machine, volume_now(), s->dir, s->round);
    driver_pump(s->v);
    xfer_fetch(s->v->xfers, &s->wants, stage_fetched, s);
}

static void stage_done(void *arg) {
    struct step *s = arg;
    if (s->err == 0 && !merges_one_is_gone(s)) /* failed_here() looks for that */
        listings_release(s);
    if (s->err != 0 || (s->wants.n == 0 && !s->wants.unsynced))
        stage_answer(s, s->err);
    else if (s->wants.n == 0)
        stage_fetched(s, 0); /* for a round that was put off, or it was prepared */
    else
        stage_fetch(s);
}

static int merge_try(struct step *s) {
    s->tried = true;
    return merge_mailbox_run(s->v->state, &s->dir, load_of(s->mine)->listing,
                             load_of(s->theirs)->listing, s->digest, &s->inval);
}

static void merge_run(void *arg) {
    struct step *s = arg;
    if (s->locked || s->v->main == NULL)
        asks_saw(false); /* merge_go() has looked */
    if (s->mine == NULL || s->theirs == NULL)
        s->err = -EAGAIN;
    else if (bases_differ(s))
        s->err = -ESTALE;
    else
        s->err = merge_try(s);
}

/* What the peer had prepared here and lists by name is not to be published under another. (What is
 * a message of this mailbox is out of the stage by now: merge_release_staged().) */
static void preps_used(struct step *s) {
    const Mfp__Listing *l = load_of(s->theirs)->listing;
    for (size_t i = 0; i < l->n_msgs; i++) {
        const Mfp__PrepId *id = l->msgs[i]->prepared;
        if (id != NULL && !l->msgs[i]->unread &&
            stage_prep_is_of(s->v->state, &(struct stage_prep){id->incarnation, id->seq}, &s->dir))
            replica_prep_used(s->v->machine, (struct replica_prep){id->incarnation, id->seq});
    }
}

static bool both_changed(const struct step *s) {
    const Mfp__Listing *a = load_of(s->mine)->listing, *b = load_of(s->theirs)->listing;
    return !a->full && !b->full && a->n_msgs + a->n_files > 0 && b->n_msgs + b->n_files > 0;
}

/* Has this node listed something as borrowed? */
static bool some_borrowed(const struct step *s) {
    const Mfp__Listing *l = load_of(s->mine)->listing;
    size_t i = 0, k = 0;
    while (i < l->n_msgs && !l->msgs[i]->borrowed)
        i++;
    while (k < l->n_files && !l->files[k]->borrowed)
        k++;
    return i < l->n_msgs || k < l->n_files || l->n_subs_borrowed > 0;
}

static void merge_done(void *arg) {
    struct step *s = arg;
    bool lone = merges_lone_still(s);
    bool changed = s->inval.n > 0;
    failed_here(s, UNMERGED_MERGE);
    misfit_look(s);
    char hex[MAILFS_ID_HEX];
    log_debug("merge of %s, round %u%s: %s, digest %02x%02x", mailfs_id_format(&s->dir, hex),
              s->round, s->mine != NULL && load_of(s->mine)->listing->full ? ", full" : "",
              s->err == 0 ? "done" : log_strerror(s->err), s->digest[0], s->digest[1]);
    if (s->err == 0) {
        s->v->merged++;
        s->v->conflicts += both_changed(s) ? 1 : 0;
        s->v->changes++;
        preps_used(s);
        if (s->v->main != NULL)
            oneway_left(s->v, &s->dir, some_borrowed(s));
    }
    front_invalidate(s->v->front, &s->inval);
    if (s->locked)
        oneway_unlock(s->v, &s->dir, changed);
    if (changed)
        oneway_changed(s->v, &s->dir, false);
    (void)own_forget(&s->v->merges->own, &s->dir); /* L was the step's */
    replica_merged(s->v->machine, volume_now(), s->dir, s->round, s->digest, s->err);
    driver_pump(s->v);
    if (lone)
        driver_compare_trees(s->v, "a directory is on one node only");
    merges_step_free(s);
}

/* L that the step has may be a process's by now, which is at numbering what has come. */
static void merge_go(struct step *s) {
    if (s->locked && !oneway_holds(s->v, &s->dir))
        s->err = -EAGAIN;
    if (s->v->main == NULL && front_is_apart(s->v->front))
        s->err = -EOWNERDEAD; /* it gives L by itself: the connection ends soon (front.c) */
    jobs_run(s->v->jobs, &s->dir, s->err == 0 ? merge_run : NULL, merge_done, s);
}

/* L of the volume's own machine is here, or not. */
static void merge_locked(void *arg, int err) {
    struct step *s = arg;
    s->locked = err == 0;
    s->err = err;
    if (err == 0 && !own_is_of(s->v->merges->own, &s->dir, s->round))
        s->err = -ENOTCONN; /* the round is over */
    merge_go(s);
}

static void merge_start(struct step *s) {
    struct volume *v = s->v;
    bool quiet = s->theirs != NULL && merge_listing_is_base(load_of(s->theirs)->listing);
    s->locked = own_take_lock(v->merges->own, &s->dir);
    if (writes_with_lock(v) && !quiet && !s->locked)
        oneway_lock(v, &s->dir, merge_locked, s);
    else
        merge_go(s);
}

/* ---- both have the result, or not -------------------------------------------------- */

static void merged_everywhere_run(void *arg) {
    struct step *s = arg;
    if (s->tells)
        state_path(s->v->state, &s->dir, s->path, sizeof s->path);
    merge_mailbox_done(s->v->state, &s->dir); /* an error is logged there */
}

static void put_off_run(void *arg) {
    struct step *s = arg;
    if (s->tells)
        state_path(s->v->state, &s->dir, s->path, sizeof s->path);
    if (s->standby && s->v->main != NULL)
        merge_mailbox_half(s->v->state, &s->dir);
    else
        merge_mailbox_forget(s->v->state, &s->dir);
}

static void tell(const struct step *s) {
    const char *peer = s->v->cv->peer->name;
    if (*s->why != '\0')
        volume_error(s->v, "%s: the merge with %s has failed three times in a row: %s", s->path,
                     peer, s->why);
    else
        log_info("volume %s: %s: merged with %s at last", s->v->cv->name, s->path, peer);
}

static void round_over_done(void *arg) {
    struct step *s = arg;
    s->v->changes++;
    if (s->tells)
        tell(s);
    checkpoint_look(s->v->checkpoint);
    merges_step_free(s);
}

/* ---- in sync ----------------------------------------------------------------------- */

static void caught_up_run(void *arg) {
    struct step *s = arg;
    s->err = merge_caught_up(s->v->state, s->turn);
    if (s->err == 0 && !s->v->had_contact)
        s->err = state_set_contact(s->v->state, true);
    if (s->err == 0 && s->standby)
        s->err = state_set_followed(s->v->state, s->term);
}

static void caught_up_done(void *arg) {
    struct step *s = arg;
    if (s->err == 0)
        s->v->had_contact = true;
    s->v->changes++;
    if (s->first && s->v->main == NULL) /* a link is merged at every change */
        checkpoint_merged(s->v->checkpoint);
    merges_step_free(s);
}

/* ---- dispatch ---------------------------------------------------------------------- */

static void on_mailbox(struct merges *m, const struct replica_action *a) {
    struct step *s = merges_step_new(m, a);
    if (a->kind == RACT_SCAN) {
        s->n_lenders = oneway_lenders(m->v, s->lenders);
        s->follows = oneway_only_follows(m->v);
        scan_start(s);
        return;
    }
    s->mine = own_take(m->own, &a->dir);
    if (a->kind == RACT_STAGE) {
        const Mfp__Listing *l = load_of(s->theirs)->listing;
        own_note_theirs(m->own, &a->dir, l->n_msgs > 0 || l->v != 0);
        jobs_run(m->v->jobs, &a->dir, stage_run, stage_done, s);
    } else {
        merge_start(s);
    }
}

static void on_round_over(struct merges *m, const struct replica_action *a) {
    struct step *s = merges_step_new(m, a);
    if (a->kind == RACT_MERGE_DONE) {
        s->tells = unmerged_over(&m->unmerged, &a->dir);
        jobs_run(m->v->jobs, &a->dir, merged_everywhere_run, round_over_done, s);
        return;
    }
    if (own_forget(&m->own, &a->dir))
        oneway_unlock(m->v, &a->dir, false);
    s->standby = role_of(m->v).standby;
    if (contact_is_up(m->v)) /* else it has ended with the connection */
        s->tells = unmerged_put_off(&m->unmerged, &a->dir, s->why);
    jobs_run(m->v->jobs, &a->dir, put_off_run, round_over_done, s);
}

/* What a standby lacks it did not remove, from now on. But as long as there is an L of when it was
 * active mailfs refuses nothing (mailfs/role.h). */
static bool follows_from_now(const struct volume *link) {
    return link->main != NULL && role_of(link).standby && !link->other_standby &&
           !txns_locked_any(link->main->txns);
}

static void on_caught_up(struct merges *m, const struct replica_action *a) {
    struct step *s = merges_step_new(m, a);
    s->turn = merge_keep_turn(m->v->state);
    s->first = a->first;
    s->term = role_of(m->v).term;
    s->standby = follows_from_now(m->v);
    jobs_barrier(m->v->jobs, caught_up_run, caught_up_done, s);
}

bool merges_under_way(const struct merges *m, const struct mailfs_id *dir) {
    return own_is(m->own, dir);
}

bool merges_action(struct merges *m, const struct replica_action *a) {
    switch (a->kind) {
    case RACT_TREE_SCAN:
    case RACT_TREE_RESCAN:
    case RACT_TREE_MERGE:
        merges_on_tree(m, a);
        return true;
    case RACT_TREE_DONE:
        merges_on_tree_done(m, a);
        return true;
    case RACT_LIST_MARKS:
        merges_on_list_marks(m, a);
        return true;
    case RACT_SCAN:
    case RACT_STAGE:
    case RACT_MERGE:
        on_mailbox(m, a);
        return true;
    case RACT_MERGE_PUT_OFF:
    case RACT_MERGE_DONE:
        on_round_over(m, a);
        return true;
    case RACT_CAUGHT_UP:
        on_caught_up(m, a);
        return true;
    default:
        return false;
    }
}

struct merges *merges_new(struct volume *v) {
    struct merges *m = mem_new(sizeof *m);
    m->v = v;
    return m;
}

void merges_free(struct merges *m) {
    if (m == NULL)
        return;
    own_free(&m->own);
    idset_free(&m->misfits);
    treeless_free(&m->treeless);
    merges_lone_free(m);
    unmerged_free(&m->unmerged);
    replica_payload_unref(m->tree);
    free(m);
}
