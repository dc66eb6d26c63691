/*
 * tree_run: carries out the merge of the directory tree on this node.
 *
 * Directories that move are first taken out of the tree, all of them, and then put where they
 * belong, parents first: so a swap of two names needs no special care. One that goes leaves its
 * messages in .mailfs/kept/ until merge_caught_up() (retire.h). The listings are seconds old when
 * this runs, and the store is in use: what is not as listed ends the run with -ESTALE, and what was
 * moved goes back.
 *
 * Diagnostics: a merge that failed; at level info what it did.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alias.h"
#include "apply_int.h"
#include "hold.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "merge_int.h"
#include "pour.h"
#include "recent.h"
#include "replica/base_age.h"
#include "replica/tree_merge.h"
#include "renumber.h"
#include "retire.h"
#include "stage.h"
#include "util/log.h"
#include "util/str.h"
#include "validity.h"
#include "wire/check.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

struct tree_run {
    struct state *st;
    struct tree_result *result;
    const struct tree_item **order; /* by depth */
    struct invals *inval;
    bool full;    /* both listed everything */
    bool standby; /* no client is shown anything here */
};

/* ---- input ------------------------------------------------------------------------- */

static int entry_of(const Mfp__TreeDir *d, struct tree_entry *e) {
    memset(e, 0, sizeof(*e));
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
    return 0;
}

static int side_of(const Mfp__Tree *t, struct tree_side *side) {
    struct tree_entry *e = calloc(t->n_dirs + 1, sizeof(*e));
    size_t i;
    int r = e ? 0 : -ENOMEM;

    for (i = 0; r == 0 && i < t->n_dirs; i++)
        r = entry_of(t->dirs[i], &e[i]);
    side->base_valid = t->base_valid;
    side->full = t->full;
    side->base_version = t->base_version;
    side->entries = e;
    side->count = t->n_dirs;
    return r;
}

/* ---- the store --------------------------------------------------------------------- */

static void away_name(const struct mailfs_id *id, char out[MAILFS_ID_HEX + 8]) {
    char hex[MAILFS_ID_HEX];
    snprintf(out, MAILFS_ID_HEX + 8, "move-%s", mailfs_id_format(id, hex));
}

/*
 * Two ids were one directory to their users, and the one that this node has it under goes: then it
 * gets the other one where it is (join()), and what is in it is there all the while. NULL: it goes,
 * and what is in it moves.
 */
static const struct mailfs_id *renumbered(const struct tree_run *t, const struct mailfs_id *id) {
    const struct tree_item *it = tree_result_find(t->result, id), *now;

    if (!it || !it->aliased || !it->at_a)
        return NULL;
    now = tree_result_find(t->result, &it->alias_of);
    return now && !now->at_a ? &now->id : NULL;
}

/* It stays as it is here, whatever becomes of the base. */
static bool is_left(const struct tree_item *it) {
    return (it->what & TREE_LEFT) != 0;
}

static bool is_borrowed(const struct tree_item *it) {
    return it->a && it->a->borrowed;
}

/* Is it elsewhere, or called something else, afterwards? */
static bool moves(const struct tree_run *t, const struct tree_item *it) {
    const struct mailfs_id *parent;

    if (!it->present || !it->at_a || is_left(it))
        return false;
    parent = renumbered(t, &it->now_a.parent);
    if (!parent)
        parent = &it->now_a.parent;
    return !(mailfs_id_equal(&it->place.parent, parent) &&
             strcmp(it->place.name, it->now_a.name) == 0);
}

/* Out of the tree, to where nobody looks. -ESTALE: it is not where the listing has it any more. */
static int take_away(struct tree_run *t, const struct tree_item *it) {
    char name[MAILDIR_NAME_MAX + 1], to[MAILFS_ID_HEX + 8];
    struct mailfs_id parent;
    struct store_dir d;
    /* It may lie in one that was taken away before it. */
    int from = -1, r = store_dir_open_anywhere(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    away_name(&it->id, to);
    r = apply_place_of(t->st, d.fd[0], &parent, &from, name);
    if (r == 0 && !(mailfs_id_equal(&parent, &it->now_a.parent) && !strcmp(name, it->now_a.name)))
        r = -ESTALE;
    if (r == 0)
        r = io_rename(from, name, t->st->trash, to, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(t->inval, &parent, &it->id, name, NULL);
    if (from >= 0)
        close(from);
    store_dir_close(&d);
    return r;
}

static int put_at(struct tree_run *t, const struct mailfs_id *id, const struct tree_place *at) {
    char from[MAILFS_ID_HEX + 8];
    struct store_dir parent;
    int r = store_dir_open(t->st, &at->parent, &parent);

    away_name(id, from);
    if (r == 0)
        r = io_rename(t->st->trash, from, parent.fd[0], at->name, RENAME_NOREPLACE);
    if (r == 0)
        inval_moved(t->inval, &at->parent, id, NULL, at->name);
    store_dir_close(&parent);
    return r;
}

/* A name that was taken meanwhile, a parent that is gone: what was listed is old. */
static int put_back(struct tree_run *t, const struct tree_item *it) {
    int r = put_at(t, &it->id, &it->place);

    return r == -EEXIST || r == -ENOENT || r == -ENOTEMPTY ? -ESTALE : r;
}

/* Its parent may have another id by now. */
static int put_where_it_was(struct tree_run *t, const struct tree_item *it) {
    const struct mailfs_id *parent = renumbered(t, &it->now_a.parent);
    struct tree_place at = it->now_a;
    int r = put_at(t, &it->id, &at);

    if (r == -ENOENT && parent) {
        at.parent = *parent;
        r = put_at(t, &it->id, &at);
    }
    return r;
}

/* The merge failed: what is still out of the tree goes back to where it was, parents first (those
 * whose parent is away itself succeed when that one is back). What cannot is for tree_recover(). */
static void undo(struct tree_run *t) {
    bool again = t->order != NULL;
    size_t i;

    while (again) {
        again = false;
        for (i = 0; i < t->result->count; i++) {
            const struct tree_item *it = t->order[i];
            if (moves(t, it) && put_where_it_was(t, it) == 0)
                again = true;
        }
    }
}

/* So that what is to be made in it finds it: by its handle, as if a scan had found it. */
static int note_made(struct tree_run *t, const struct tree_item *it, int parent) {
    struct base_dir rec;
    int r = base_dir_get(t->st, &it->id, &rec), fd;

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT) {
        rec = (struct base_dir){.parent = it->place.parent,
                                .mode = it->attr.mode,
                                .owner = it->attr.uid,
                                .group = it->attr.gid};
        if (str_copy(rec.name, sizeof(rec.name), it->place.name) < 0)
            return -EINVAL;
    }
    fd = io_open_beneath(parent, it->place.name, O_RDONLY | O_DIRECTORY, 0);
    r = fd < 0 ? fd : io_handle_get_fd(fd, &rec.handle);
    if (fd >= 0)
        close(fd);
    return r == 0 ? base_dir_put(t->st, &it->id, &rec) : r;
}

/*
 * A mailbox that this node had removed, and that lives on since the other put something into it.
 * Its clients may have been shown UIDs in it that the other's list will give to other messages: T7.
 * So it is there from its first moment with a list under another UIDVALIDITY, and the mailbox's
 * merge takes that. Until this node has it there, the trees differ, and it is still one that was
 * removed.
 */
static int first_validity(struct tree_run *t, const struct tree_item *it, uint32_t *v) {
    char path[256];
    int r;

    *v = 0;
    if (!it->anew_a || it->old_validity == 0 || t->standby)
        return 0;
    r = validity_take(t->st, &it->place.parent, it->old_validity, v, t->inval);
    if (r == 0)
        log_info("%s/%s: removed here, lives on: it has another UIDVALIDITY, %u",
                 state_path(t->st, &it->place.parent, path, sizeof(path)), it->place.name, *v);
    return r;
}

/* Another link's merge has made it since it was listed. */
static bool is_made(int parent, const struct tree_item *it) {
    struct mailfs_id id;
    int fd = io_open_beneath(parent, it->place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool is = fd >= 0 && io_dirid_get(fd, &id) == 0 && mailfs_id_equal(&id, &it->id);

    if (fd >= 0)
        close(fd);
    return is;
}

static int make(struct tree_run *t, const struct tree_item *it) {
    struct new_container c = {.name = it->place.name,
                              .id = &it->id,
                              .has_meta = true,
                              .mode = it->attr.mode,
                              .uid = it->attr.uid,
                              .gid = it->attr.gid};
    struct store_dir parent;
    int r = store_dir_open(t->st, &it->place.parent, &parent);
    bool made = r == 0 && is_made(parent.fd[0], it);

    if (r == 0 && !made)
        r = first_validity(t, it, &c.validity);
    if (r == 0 && !made)
        r = apply_make_container(t->st, parent.fd[0], &c);
    if (r == 0)
        r = note_made(t, it, parent.fd[0]);
    if (r == 0 && !made)
        inval_moved(t->inval, &it->place.parent, &it->id, NULL, it->place.name);
    store_dir_close(&parent);
    return r;
}

struct agreed {
    struct state *st;
    const struct mailfs_id *id;
};

static int is_agreed(void *arg, const char *base) {
    const struct agreed *a = arg;
    struct base_msg rec;
    int r = base_msg_get(a->st, BASE_AGREED, a->id, base, &rec);

    return r == -ENOENT ? 0 : r == 0 ? 1 : r;
}

/* The listing its removal was decided on is seconds old. The next round lets it live. */
static int lives_on(struct state *st, const struct mailfs_id *id) {
    char path[256];
    uint64_t gen;
    int r = state_mark_gen(st, &gen);

    log_info("%s: removed on the other node, but changed since: it is looked at again",
             state_path(st, id, path, sizeof(path)));
    if (r == 0)
        r = state_mark(st, id, gen);
    return r == 0 ? -ESTALE : r;
}

/* It goes; its messages are kept until everything is merged. */
static int take_out(struct tree_run *t, const struct tree_item *it) {
    struct agreed agreed = {t->st, &it->id};
    const char *what;
    struct store_dir d;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = retire_dir(t->st, &d, is_agreed, &agreed, &what, t->inval);
    store_dir_close(&d);
    /* With something in it that whom it is borrowed from has, and has not removed, it stays. */
    if (r == RETIRE_LIVES && is_borrowed(it))
        return 0;
    return r > 0 ? lives_on(t->st, &it->id) : r;
}

/* This node has both: what is in the one goes into the other, which may be out of the tree at this
 * moment, and is compared. */
static int pour_into(struct tree_run *t, const struct tree_item *it, struct store_dir *d,
                     struct store_dir *other) {
    uint64_t gen;
    int r = state_mark_gen(t->st, &gen);

    if (r == 0)
        r = state_mark(t->st, &it->alias_of, gen);
    if (r == 0)
        r = pour_dir(t->st, d, other);
    inval_poke(t->inval, &it->alias_of, MFP__SUB__NEW);
    inval_poke(t->inval, &it->alias_of, MFP__SUB__CUR);
    if (r == 0)
        r = take_out(t, it);
    return r == 0 ? alias_note(t->st, &it->id, &it->alias_of) : r;
}

static int take_id(struct tree_run *t, const struct tree_item *it, int fd) {
    struct base_dir rec;
    int r = renumber_dir(t->st, fd, &it->id, &it->alias_of);

    if (r < 0)
        return r;
    memset(&rec, 0, sizeof(rec));
    rec.parent = it->now_a.parent;
    str_copy(rec.name, sizeof(rec.name), it->now_a.name);
    r = io_handle_get_fd(fd, &rec.handle);
    if (r == 0)
        r = base_dir_put(t->st, &it->alias_of, &rec);
    inval_renumbered(t->inval, &it->now_a.parent, &it->id, &it->alias_of, it->now_a.name);
    return r;
}

/* Two ids were one directory to their users: this one gets the id that remains. */
static int join(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d, other;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = store_dir_open_anywhere(t->st, &it->alias_of, &other);
    if (r == 0) {
        r = pour_into(t, it, &d, &other);
        store_dir_close(&other);
    } else if (r == -ENOENT) {
        r = take_id(t, it, d.fd[0]);
    }
    store_dir_close(&d);
    return r;
}

static int set_attr(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d;
    struct stat sb;
    int r = store_dir_open(t->st, &it->id, &d);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (fstat(d.fd[0], &sb) < 0)
        r = -errno;
    if (r == 0 && geteuid() == 0 && (sb.st_uid != it->attr.uid || sb.st_gid != it->attr.gid))
        r = io_fchown(d.fd[0], it->attr.uid, it->attr.gid);
    if (r == 0 && (sb.st_mode & 07777) != it->attr.mode)
        r = io_fchmod(d.fd[0], it->attr.mode & 02777);
    store_dir_close(&d);
    return r;
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
        return r == -ENOENT || (is_left(it) && r == 0 && !rec.agreed)
                   ? 0
                   : base_gone_note(t->st, &it->id);
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
    return !it->present && !it->aliased && it->at_a && !is_left(it);
}

static bool wants_place(const struct tree_run *t, const struct tree_item *it) {
    return it->present && !is_left(it) && (moves(t, it) || !it->at_a);
}

static bool wants_attr(const struct tree_run *t, const struct tree_item *it) {
    return it->present && it->at_a &&
           (it->attr.mode != it->attr_a.mode || it->attr.uid != it->attr_a.uid ||
            it->attr.gid != it->attr_a.gid);
}

static bool always(const struct tree_run *t, const struct tree_item *it) {
    return true;
}

/* One that came by the joining of ids is there already; otherwise it is made or put back. */
static int place(struct tree_run *t, const struct tree_item *it) {
    struct store_dir d;
    int r;

    if (moves(t, it))
        return put_back(t, it);
    r = store_dir_open(t->st, &it->id, &d);
    if (r == 0)
        store_dir_close(&d);
    return r == -ENOENT ? make(t, it) : r;
}

typedef bool wants_fn(const struct tree_run *t, const struct tree_item *it);

static int each(struct tree_run *t, wants_fn *wants, step_fn *fn, bool deepest_first) {
    size_t i, n = t->result->count;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        const struct tree_item *it = t->order[deepest_first ? n - 1 - i : i];
        if (wants(t, it)) /* ids and the base are ours also where the mail is not */
            r = t->st->read_only && fn != join && fn != agree ? -EROFS : fn(t, it);
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
        r = each(t, moves, take_away, true);
    if (r == 0)
        r = each(t, wants_out, take_out, true);
    if (r == 0)
        r = each(t, gone_and_joined, note_joined, false);
    if (r == 0)
        r = each(t, wants_join, join, false);
    if (r == 0)
        r = each(t, wants_place, place, false);
    if (r == 0)
        r = each(t, wants_attr, set_attr, false);
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
    unsigned errors = state_sync_errors(st);
    int r;

    memset(digest, 0, STATE_DIGEST);
    if (inval)
        memset(inval, 0, sizeof(*inval));
    recent_begin(st);
    r = side_of(mine, &a);
    if (r == 0)
        r = side_of(theirs, &b);
    if (r == 0)
        r = tree_merge(&a, &b, &t.result);
    if (r == 0) {
        r = carry_out(&t);
        if (r < 0)
            undo(&t);
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
    free((void *)a.entries);
    free((void *)b.entries);
    if (r == -ESTALE)
        log_info("the directories changed while their trees were merged: once more");
    return r < 0 && r != -ESTALE ? state_fail(st, r, NULL, "cannot merge the directory trees") : r;
}
