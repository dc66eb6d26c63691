/*
 * tree_run: carries out the merge of the directory tree on this node.
 *
 * Directories that move are first taken out of the tree, all of them, and then put where they
 * belong, parents first: so a swap of two names needs no special care. The listings are seconds old
 * when this runs, and the store is in use: what is not as listed ends the run with -ESTALE, and
 * what was moved goes back. What is done to a directory is in tree_run_dirs.c.
 *
 * Diagnostics: a merge that failed; at level info what it did.
 */
#include "tree_run_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alias.h"
#include "base.h"
#include "hold.h"
#include "merge_run.h"
#include "recent.h"
#include "replica/base_age.h"
#include "stage.h"
#include "store.h"
#include "util/log.h"
#include "util/str.h"
#include "wire/check.h"

/* ---- input ------------------------------------------------------------------------- */

static int msgs_of(const Mfp__TreeDir *d, struct tree_entry *e) {
    struct tree_msg *m = calloc(d->n_msgs + 1, sizeof(*m));
    size_t i;

    if (!m)
        return -ENOMEM;
    for (i = 0; i < d->n_msgs; i++) {
        m[i] = (struct tree_msg){.name = d->msgs[i]->bname, .uid = d->msgs[i]->uid};
        if (d->msgs[i]->prepared) {
            m[i].prepared[0] = d->msgs[i]->prepared->incarnation;
            m[i].prepared[1] = d->msgs[i]->prepared->seq;
        }
    }
    e->msgs = m;
    e->n_msgs = d->n_msgs;
    e->validity = d->v;
    return 0;
}

static int entry_of(const Mfp__TreeDir *d, bool with_msgs, struct tree_entry *e) {
    if (wire_id(&d->id, &e->id) < 0)
        return -EPROTO;
    e->was = d->had;
    e->is = d->has;
    if ((e->was && wire_id(&d->old_parent, &e->old.parent) < 0) ||
        (e->is && wire_id(&d->parent, &e->now.parent) < 0))
        return -EPROTO;
    e->old.name = d->old_name;
    e->now.name = d->name;
    if (d->meta) {
        e->attr.mode = d->meta->mode;
        e->attr.uid = d->meta->uid;
        e->attr.gid = d->meta->gid;
    }
    e->old_attr = e->attr;
    e->old_validity = d->old_v;
    e->changed_inside = d->changed_inside;
    e->borrowed = d->borrowed;
    return with_msgs && d->n_msgs > 0 ? msgs_of(d, e) : 0;
}

static int side_of(const Mfp__Tree *t, bool with_msgs, struct tree_side *side) {
    struct tree_entry *e = calloc(t->n_dirs + 1, sizeof(*e));
    size_t i;
    int r = e ? 0 : -ENOMEM;

    for (i = 0; r == 0 && i < t->n_dirs; i++)
        r = entry_of(t->dirs[i], with_msgs, &e[i]);
    side->base_valid = t->base_valid;
    side->full = t->full;
    side->base_version = t->base_version;
    side->entries = e;
    side->count = e ? t->n_dirs : 0;
    return r;
}

static void side_free(struct tree_side *side) {
    size_t i;

    for (i = 0; i < side->count; i++)
        free((void *)side->entries[i].msgs);
    free((void *)side->entries);
}

/* ---- the base ---------------------------------------------------------------------- */

static bool is_at(const struct base_dir *rec, const struct tree_place *place) {
    return mailfs_id_equal(&rec->parent, &place->parent) && strcmp(rec->name, place->name) == 0;
}

static int agree(struct tree_run *t, const struct tree_item *it) {
    struct base_dir rec;
    struct store_dir d;
    int r = base_dir_get(t->st, &it->id, &rec);

    if (!it->present) /* of one that is left the record finds it, and was never agreed on */
        return r == -ENOENT || (tree_run_is_left(it) && r == 0 && !rec.agreed)
                   ? 0
                   : base_gone_note(t->st, &it->id, !it->b);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT)
        memset(&rec, 0, sizeof(rec));
    else if (rec.agreed && !is_at(&rec, &it->place) &&
             (r = base_moved_note(t->st, &it->id, &rec)) < 0)
        return r;
    rec.parent = it->place.parent;
    if (str_copy(rec.name, sizeof(rec.name), it->place.name) < 0)
        return -EINVAL;
    rec.mode = it->attr.mode;
    rec.owner = it->attr.uid;
    rec.group = it->attr.gid;
    rec.agreed = true;
    r = base_dir_put(t->st, &it->id, &rec); /* so that the id can be found by name */
    if (r == 0)
        r = store_dir_open(t->st, &it->id, &d); /* which notes the handle */
    if (r == 0)
        store_dir_close(&d);
    return r;
}

/* ---- the run ----------------------------------------------------------------------- */

typedef int step_fn(struct tree_run *t, const struct tree_item *it);

static bool wants_join(const struct tree_run *t, const struct tree_item *it) {
    return it->aliased && it->at_a;
}

static bool gone_and_joined(const struct tree_run *t, const struct tree_item *it) {
    return it->aliased && !it->at_a;
}

static bool wants_out(const struct tree_run *t, const struct tree_item *it) {
    return !it->present && !it->aliased && it->at_a && !tree_run_is_left(it);
}

static bool wants_place(const struct tree_run *t, const struct tree_item *it) {
    return it->present && !tree_run_is_left(it) && (tree_run_moves(t, it) || !it->at_a);
}

static bool wants_attr(const struct tree_run *t, const struct tree_item *it) {
    return it->present && it->at_a &&
           (it->attr.mode != it->attr_a.mode || it->attr.uid != it->attr_a.uid ||
            it->attr.gid != it->attr_a.gid);
}

static bool always(const struct tree_run *t, const struct tree_item *it) {
    return true;
}

typedef bool wants_fn(const struct tree_run *t, const struct tree_item *it);

static int each(struct tree_run *t, wants_fn *wants, step_fn *fn, bool deepest_first) {
    size_t i, n = t->result->count;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        const struct tree_item *it = t->order[deepest_first ? n - 1 - i : i];
        if (wants(t, it)) /* ids and the base are ours also where the mail is not */
            r = t->st->read_only && fn != tree_run_join && fn != agree ? -EROFS : fn(t, it);
    }
    return r;
}

static int by_depth(const void *a, const void *b) {
    const struct tree_item *x = *(const struct tree_item *const *)a;
    const struct tree_item *y = *(const struct tree_item *const *)b;

    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return mailfs_id_cmp(&x->id, &y->id);
}

static int sort_items(struct tree_run *t) {
    size_t i;

    t->order = calloc(t->result->count + 1, sizeof(*t->order));
    if (!t->order)
        return -ENOMEM;
    for (i = 0; i < t->result->count; i++)
        t->order[i] = &t->result->items[i];
    if (t->result->count)
        qsort(t->order, t->result->count, sizeof(*t->order), by_depth);
    return 0;
}

/* Of one that is not there (the peer's, or it was removed, and is held) nobody else says so. */
static int note_joined(struct tree_run *t, const struct tree_item *it) {
    return alias_note(t->st, &it->id, &it->alias_of);
}

static int carry_out(struct tree_run *t) {
    int r = sort_items(t);

    if (r == 0)
        r = each(t, tree_run_moves, tree_run_take_away, true);
    if (r == 0)
        r = each(t, wants_out, tree_run_take_out, true);
    if (r == 0)
        r = each(t, gone_and_joined, note_joined, false);
    if (r == 0)
        r = each(t, wants_join, tree_run_join, false);
    if (r == 0)
        r = each(t, wants_place, tree_run_place, false);
    if (r == 0)
        r = each(t, wants_attr, tree_run_set_attr, false);
    if (r == 0)
        r = each(t, always, agree, false);
    if (r == 0 && t->full)
        r = hold_tree_merged(t->st, t->result);
    return r;
}

int tree_merge_settled(struct state *st) {
    int r = base_gone_settled(st);

    base_moved_settled(st);
    return r < 0 ? state_fail(st, r, NULL, "cannot settle the merge of the directory trees") : 0;
}

static void report(const struct tree_result *res) {
    const struct tree_stats *s = &res->stats;

    if (s->made + s->removed + s->moved + s->aliased + s->conflicts)
        log_info("directory trees merged: %zu made, %zu removed, %zu moved, %zu joined, "
                 "%zu conflicts, %zu live on",
                 s->made, s->removed, s->moved, s->aliased, s->conflicts, s->revived);
}

int tree_merge_run(struct state *st, const Mfp__Tree *mine, const Mfp__Tree *theirs, bool standby,
                   uint8_t digest[STATE_DIGEST], struct invals *inval) {
    struct tree_run t = {
        .st = st, .inval = inval, .full = mine->full && theirs->full, .standby = standby};
    struct tree_side a = {.entries = NULL}, b = {.entries = NULL};
    bool with_msgs = mine->says_msgs && theirs->says_msgs;
    unsigned errors = state_sync_errors(st);
    int r;

    memset(digest, 0, STATE_DIGEST);
    if (inval)
        memset(inval, 0, sizeof(*inval));
    recent_begin(st);
    r = side_of(mine, with_msgs, &a);
    if (r == 0)
        r = side_of(theirs, with_msgs, &b);
    if (r == 0)
        r = tree_merge(&a, &b, &t.result);
    if (r == 0) {
        r = carry_out(&t);
        if (r < 0)
            tree_run_undo(&t);
    }
    if (r == 0)
        r = base_version_put(st, BASE_AGREED, BASE_OF_TREE, &mailfs_id_root,
                             base_age_merged(a.base_version, b.base_version));
    if (r == 0)
        r = base_lacking_tree_merged(st);
    recent_end(st);
    /* The peer settles its base when it hears that this store has the result. */
    if (r == 0 && inval && inval->n)
        r = state_sync(st, errors);
    if (r == 0)
        r = base_tree_digest_now(st, digest);
    if (r == 0) {
        report(t.result);
        stage_publish_homeless(st, inval);
    }
    free(t.order);
    tree_result_free(t.result);
    side_free(&a);
    side_free(&b);
    if (r == -ESTALE)
        log_info("the directories changed while their trees were merged: once more");
    return r < 0 && r != -ESTALE && r != -EOWNERDEAD
               ? state_fail(st, r, NULL, "cannot merge the directory trees")
               : r;
}
