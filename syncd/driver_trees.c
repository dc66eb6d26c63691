/*
 * driver_trees - the actions of contact that are about all of the store: TREE_*, LIST_MARKS
 *
 * Each is one job that nothing else runs beside, and is answered as those of driver_merge.c are.
 *
 * Diagnostics: errors of the volume. When a tree or the marks cannot be read, the contact ends;
 * when the trees cannot be merged, the machine tries again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "brake.h"
#include "contact.h"
#include "driver.h"
#include "driver_merge_int.h"
#include "front.h"
#include "hold.h"
#include "load.h"
#include "mem.h"
#include "oneway.h"
#include "role.h"
#include "treeless.h"
#include "util/log.h"
#include "wire/check.h"

/* ---- the tree ---------------------------------------------------------------------- */

/* Whose base tells what of this node's doing no other has heard of: with a peer the volume's, as a
 * standby may have been away for long. */
static struct volume *teller(struct volume *v) {
    return v->main != NULL && v->main->cv->peer != NULL ? v->main : v;
}

static void tree_scan_run(void *arg) {
    struct step *s = arg;
    s->err = s->v->main != NULL ? oneway_take_marks(s->v) : 0;
    if (s->err == 0 && s->peer_blank)
        s->err = base_unmerge(s->v->state);
    if (s->err == 0 && !s->anew) /* since then removals are counted as they are told */
        s->err = hold_look(teller(s->v)->state);
    if (s->err == 0)
        s->err = (s->follows ? tree_scan_following : tree_scan_for)(
            s->v->state, s->full, s->lenders, s->n_lenders, &s->tree, s->digest, &s->inval);
}

static void tell_brake(const struct step *s) {
    brake_noticed((s->v->main != NULL ? s->v->main : s->v)->brake);
}

static void tree_scan_done(void *arg) {
    struct step *s = arg;
    struct merges *m = s->v->merges;
    replica_payload_unref(m->tree);
    m->tree = NULL;
    tell_brake(s);
    front_invalidate(s->v->front, &s->inval);
    if (s->err != 0) {
        volume_error(s->v, "the directory tree cannot be read: %s", log_strerror(s->err));
    } else {
        m->tree_full = s->full;
        s->tree->full = s->tree->full || s->full; /* without a base it is, whatever was asked */
        m->tree = load_tree(s->tree);
    }
    replica_tree_scanned(s->v->machine, volume_now(), m->tree, s->digest);
    merges_step_free(s);
}

static int mark_tree(struct volume *v, const Mfp__Tree *t) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->n_dirs; i++) {
        const Mfp__TreeDir *d = t->dirs[i];
        const ProtobufCBinaryData *ids[] = {&d->id, &d->old_parent, &d->parent};
        struct mailfs_id id;
        for (size_t k = 0; r == 0 && k < 3; k++)
            r = ids[k]->len > 0 && wire_id(ids[k], &id) == 0 ? oneway_mark(v, &id) : 0;
    }
    return r;
}

/* Before directories move: what the other links have not got is in their marks. */
static int mark_trees(const struct step *s) {
    struct volume *root = s->v->main != NULL ? s->v->main : s->v;
    if (root->n_links == 0)
        return 0;
    int r = mark_tree(s->v, load_of(s->mine)->tree);
    return r == 0 ? mark_tree(s->v, load_of(s->theirs)->tree) : r;
}

static void tree_merge_run_job(void *arg) {
    struct step *s = arg;
    if (s->mine == NULL || s->theirs == NULL)
        s->err = -EPROTO;
    else
        s->err = mark_trees(s);
    if (s->err == 0)
        s->err = state_set_met(s->v->state);
    if (s->err == 0)
        s->err = tree_merge_run(s->v->state, load_of(s->mine)->tree, load_of(s->theirs)->tree,
                                s->standby, s->digest, &s->inval);
}

/* What came into a directory by the joining of two is nobody's act. */
static void tell_links(const struct step *s) {
    if (s->inval.n > 0)
        oneway_changed(s->v, &mailfs_id_root, true);
    for (size_t i = 0; i < s->inval.n; i++) {
        const struct inval *v = &s->inval.v[i];
        if (v->renumbered)
            oneway_changed(s->v, &v->moved_id, false);
        else if (v->poke_new || v->poke_cur)
            oneway_changed(s->v, &v->dir, false);
    }
}

static void trees_are_merged(struct merges *m, const uint8_t digest[STATE_DIGEST]) {
    memcpy(m->trees, digest, sizeof m->trees);
    treeless_free(&m->treeless);
}

static void tree_merge_done(void *arg) {
    struct step *s = arg;
    tell_brake(s);
    front_invalidate(s->v->front, &s->inval);
    s->v->changes++;
    tell_links(s);
    if (s->err == -EOWNERDEAD) /* mailfs came, or went (asks.h) */
        log_info("volume %s: the directory trees are merged once more", s->v->cv->name);
    else if (s->err != 0)
        volume_error(s->v, "the directory trees cannot be merged: %s", log_strerror(s->err));
    else
        trees_are_merged(s->v->merges, s->digest);
    replica_tree_merged(s->v->machine, volume_now(), s->digest, s->err);
    merges_step_free(s);
}

static void tree_settled_run(void *arg) {
    struct step *s = arg;
    s->err = tree_merge_settled(s->v->state);
}

/* In full they can bring what no mark tells of: all is compared, as at a contact. */
static void tree_settled_done(void *arg) {
    struct step *s = arg;
    struct volume *v = s->v;
    bool anew = s->err != 0 || v->merges->tree_full;
    merges_step_free(s);
    if (anew)
        driver_compare_trees(v, "the trees had to be compared in full");
    oneway_trees_compared(v);
}

/* ---- marks ------------------------------------------------------------------------- */

static void marks_run(void *arg) {
    struct step *s = arg;
    s->err = tree_merge_settled(s->v->state);
    if (s->err == 0)
        s->err =
            scan_marks_for(s->v->state, s->full, s->lenders, s->n_lenders, &s->marks, &s->n_marks);
}

static void marks_done(void *arg) {
    struct step *s = arg;
    struct replica_mark *marks = mem_new((s->n_marks + 1) * sizeof *marks);
    size_t n = 0;
    for (size_t i = 0; i < s->n_marks; i++) {
        if (s->marks[i].left) { /* of an earlier connection, or life: it is nobody else's to keep */
            oneway_left(s->v, &s->marks[i].dir, true);
            continue;
        }
        marks[n].dir = s->marks[i].dir;
        marks[n].used = s->marks[i].used;
        memcpy(marks[n++].base_digest, s->marks[i].digest, sizeof marks[n].base_digest);
    }
    if (s->err != 0) { /* an empty list would say that nothing was changed here */
        volume_error(s->v, "the marks cannot be read: %s", log_strerror(s->err));
        contact_drop(s->v, "the marks cannot be read", true);
    }
    replica_marks(s->v->machine, volume_now(), marks, n);
    free(marks);
    merges_step_free(s);
}

/* ---- the actions ------------------------------------------------------------------- */

void merges_on_tree(struct merges *m, const struct replica_action *a) {
    struct step *s = merges_step_new(m, a);
    if (a->kind == RACT_TREE_MERGE) {
        s->mine = m->tree == NULL ? NULL : replica_payload_ref(m->tree);
        s->standby = role_of(m->v).standby;
        m->v->blank = m->v->peer_blank = false; /* from here on things are merged */
        jobs_barrier(m->v->jobs, tree_merge_run_job, tree_merge_done, s);
        return;
    }
    s->full = a->kind == RACT_TREE_RESCAN;
    s->anew = m->v->follows;
    s->peer_blank = m->v->peer_blank;
    s->follows = oneway_trees_only_follow(m->v);
    s->n_lenders = oneway_lenders(m->v, s->lenders);
    jobs_barrier(m->v->jobs, tree_scan_run, tree_scan_done, s);
}

void merges_on_tree_done(struct merges *m, const struct replica_action *a) {
    jobs_barrier(m->v->jobs, tree_settled_run, tree_settled_done, merges_step_new(m, a));
}

void merges_on_list_marks(struct merges *m, const struct replica_action *a) {
    struct step *s = merges_step_new(m, a);
    s->full = m->tree_full || !m->v->had_contact;
    s->n_lenders = oneway_lenders(m->v, s->lenders);
    jobs_barrier(m->v->jobs, marks_run, marks_done, s);
}
