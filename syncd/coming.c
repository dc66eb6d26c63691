/*
 * coming: what a merge of a one-way link brings here, see coming.h.
 *
 * Noted as a listing of the other end that has only what this end is to get, in the record 'C' of
 * the container (base.c). Next UID and table of keywords are not: they only grow. Nor are lines of
 * subscriptions: where the bases differ those of both stay (merge_files.c).
 *
 * Diagnostics: that it cannot be taken over; it will be brought then, as this node's own.
 */
#include "coming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "build.h"
#include "files.h"
#include "recent.h"
#include "replica/base_age.h"
#include "scan.h"
#include "state_int.h"
#include "util/str.h"

enum { KIND = 'C' };

static int put(struct state *st, const struct mailfs_id *dir, const void *val, size_t n) {
    uint8_t key[MAILFS_ID_BYTES + 1];

    memcpy(key, dir->b, MAILFS_ID_BYTES);
    key[MAILFS_ID_BYTES] = KIND;
    return kv_put(st, KV_AGREED, T_CONT, key, sizeof(key), val, n);
}

/* -ENOENT: nothing is coming. */
static int get(struct state *st, const struct mailfs_id *dir, void **val, size_t *n) {
    uint8_t key[MAILFS_ID_BYTES + 1];

    memcpy(key, dir->b, MAILFS_ID_BYTES);
    key[MAILFS_ID_BYTES] = KIND;
    return kv_get(st, KV_AGREED, T_CONT, key, sizeof(key), val, n);
}

/* ---- noting ------------------------------------------------------------------------ */

/* Is the result what the other end has of it, and not what is here? Not where there are two
 * contents of one name: what has it could be either. */
static bool comes(const struct merge_item *it) {
    if ((it->what & (MERGE_LEFT | MERGE_SPLIT | MERGE_UNREAD)) || it->split_from)
        return false;
    if (!it->present)
        return it->at_a && !it->at_b;
    return it->at_b && merge_state_equal(&it->state, &it->now_b) &&
           !(it->at_a && merge_state_equal(&it->state, &it->now_a));
}

static int state_now(const struct merge_item *it, Mfp__MsgState **out) {
    char name[MAILDIR_NAME_MAX + 1];
    struct base_msg b = {.sub = it->state.in_cur ? MFP__SUB__CUR : MFP__SUB__NEW,
                         .uid = it->state.uid};
    const char *colon;
    int r = merge_name_of(it->name, &it->state, name);

    if (r < 0)
        return r;
    colon = name + strlen(it->name);
    str_copy(b.info, sizeof(b.info), *colon ? colon + 1 : "");
    *out = build_msg_state(&b, &r);
    return r;
}

static int add_msg(Mfp__Listing *l, const struct merge_item *it) {
    Mfp__BaseMsg *m = malloc(sizeof(*m));
    int r = 0;

    if (!m)
        return -ENOMEM;
    mfp__base_msg__init(m);
    m->bname = build_str(it->name);
    if (!m->bname)
        r = -ENOMEM;
    if (r == 0 && it->present)
        r = state_now(it, &m->is);
    if (r == 0)
        r = build_push(&l->msgs, &l->n_msgs, m);
    if (r < 0)
        mfp__base_msg__free_unpacked(m, NULL);
    return r;
}

static int by_name(const void *a, const void *b) {
    const Mfp__BaseFile *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int add_file(Mfp__Listing *l, const Mfp__BaseFile *theirs) {
    Mfp__BaseFile *f = malloc(sizeof(*f));
    struct base_file is;
    int r = 0;

    if (!f)
        return -ENOMEM;
    mfp__base_file__init(f);
    files_from_state(theirs->is, &is);
    f->name = build_str(theirs->name);
    f->is = f->name ? build_file_state(&is, &r) : NULL;
    r = f->name ? r : -ENOMEM;
    if (r == 0)
        r = build_push(&l->files, &l->n_files, f);
    if (r < 0)
        mfp__base_file__free_unpacked(f, NULL);
    return r;
}

/* Whichever is the newer: where that is this end's, it is not the other's that is here then. */
static int note_files(Mfp__Listing *l, const struct merge_run *m) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->theirs->n_files; i++)
        r = m->theirs->files[i]->unread ? 0 : add_file(l, m->theirs->files[i]);
    if (l->n_files)
        qsort(l->files, l->n_files, sizeof(*l->files), by_name);
    return r;
}

static int note_listing(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *l) {
    size_t n = mfp__listing__get_packed_size(l);
    uint8_t *text = malloc(n + 1);
    int r = text ? 0 : -ENOMEM;

    if (r == 0) {
        mfp__listing__pack(l, text);
        r = put(st, dir, text, n);
    }
    free(text);
    return r;
}

/* Something is lost here, so the base counts as another than it is: scan_base(). */
static bool has_lost(const Mfp__Listing *l) {
    size_t i = 0;

    while (i < l->base_digest.len && l->base_digest.data[i] == 0)
        i++;
    return i == l->base_digest.len;
}

/*
 * Is the base here the later one, or another that is as late? Where the disk of the other end was
 * put back to an earlier time that alone says that what is missing there was not removed. A base
 * that has taken over what came is the earlier one for it (BASE_AGE_LACKS).
 */
static bool is_later(const Mfp__Listing *mine, const Mfp__Listing *theirs) {
    int age = base_age_cmp(mine->base_version, theirs->base_version);

    return mine->base_valid && theirs->base_valid && !base_age_lacks(theirs->base_version) &&
           (age > 0 || (age == 0 && !has_lost(mine)));
}

/* The items are in the order of their names. */
int coming_note(struct merge_run *m) {
    Mfp__Listing *l;
    size_t i;
    int r = 0;

    if (!m->same_base && is_later(m->mine, m->theirs))
        return 0;
    l = malloc(sizeof(*l));
    if (!l)
        return -ENOMEM;
    mfp__listing__init(l);
    for (i = 0; r == 0 && i < m->result->count; i++) {
        if (comes(&m->result->items[i]))
            r = add_msg(l, &m->result->items[i]);
    }
    if (r == 0)
        r = note_files(l, m);
    if (r == 0 && (l->n_msgs || l->n_files))
        r = note_listing(m->a.st, &m->a.dir, l);
    mfp__listing__free_unpacked(l, NULL);
    return r;
}

/* ---- taking over ------------------------------------------------------------------- */

struct take {
    struct state *st;
    const struct mailfs_id *dir;
    const Mfp__Listing *noted, *here;
    size_t n; /* what it has become more */
};

static int msg_cmp(const void *key, const void *el) {
    return strcmp(key, (*(Mfp__BaseMsg *const *)el)->bname);
}

static int file_cmp(const void *key, const void *el) {
    return strcmp(key, (*(Mfp__BaseFile *const *)el)->name);
}

/* Without a number here it is as the other end had it, the list not being written yet. */
static bool is_here_so(const Mfp__MsgState *here, const Mfp__MsgState *there) {
    if (!here || !there)
        return !here && !there;
    return here->sub == there->sub && strcmp(here->info, there->info) == 0 &&
           (here->uid == there->uid || here->uid == 0);
}

static int take_msg(struct take *t, const Mfp__BaseMsg *m) {
    Mfp__BaseMsg *const *found =
        bsearch(m->bname, t->noted->msgs, t->noted->n_msgs, sizeof(*t->noted->msgs), msg_cmp);
    struct base_msg b = {.sub = MFP__SUB__SELF};

    if (!found || !is_here_so(m->is, (*found)->is))
        return 0;
    if (m->is) {
        b.sub = (uint8_t)m->is->sub;
        b.uid = m->is->uid;
        str_copy(b.info, sizeof(b.info), m->is->info);
    }
    if (m->is && m->meta) {
        b.mode = m->meta->mode;
        b.owner = m->meta->uid;
        b.group = m->meta->gid;
        b.mtime_ns = m->meta->mtime_ns;
        b.size = m->meta->size;
    }
    t->n++;
    return base_msg_put(t->st, BASE_AGREED, t->dir, m->bname, &b);
}

static int take_file(struct take *t, const Mfp__BaseFile *f) {
    Mfp__BaseFile *const *found =
        bsearch(f->name, t->noted->files, t->noted->n_files, sizeof(*t->noted->files), file_cmp);
    struct base_file here, there;

    if (!found)
        return 0;
    files_from_state(f->is, &here);
    files_from_state((*found)->is, &there);
    if (!files_same(&here, &there))
        return 0;
    t->n++;
    return base_file_put(t->st, BASE_AGREED, t->dir, f->name, &here);
}

/* Of what was never merged nothing would count as gone. */
static int count_as_merged(struct take *t) {
    struct base_dir rec;
    int r = base_dir_get(t->st, t->dir, &rec);

    if (r < 0 || rec.merged)
        return r;
    rec.agreed = rec.merged = true;
    return base_dir_put(t->st, t->dir, &rec);
}

static int take_all(struct take *t) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < t->here->n_msgs; i++)
        r = take_msg(t, t->here->msgs[i]);
    for (i = 0; r == 0 && i < t->here->n_files; i++)
        r = take_file(t, t->here->files[i]);
    if (r == 0 && t->n)
        r = count_as_merged(t);
    return r == 0 && t->n ? base_lacking_note(t->st, t->dir, false) : r;
}

static int take(struct state *st, const struct mailfs_id *dir, const Mfp__Listing *noted) {
    struct take t = {.st = st, .dir = dir, .noted = noted};
    struct base_dir rec;
    Mfp__Listing *here;
    int r = base_dir_get(st, dir, &rec);

    if (r < 0) /* it has no place: nothing of it can be in the base */
        return r == -ENOENT ? coming_forget(st, dir) : r;
    r = scan_mailbox(st, dir, false, &here);
    if (r < 0)
        return r;
    t.here = here;
    recent_begin(st);
    r = here->gone ? 0 : take_all(&t);
    if (r == 0)
        r = coming_forget(st, dir);
    recent_end(st);
    mfp__listing__free_unpacked(here, NULL);
    return r;
}

int coming_take(struct state *st, const struct mailfs_id *dir) {
    Mfp__Listing *noted;
    void *val;
    size_t n;
    int r = get(st, dir, &val, &n);

    if (r == -ENOENT)
        return 0;
    noted = r == 0 ? mfp__listing__unpack(NULL, n, val) : NULL;
    free(val);
    if (r == 0)
        r = noted ? take(st, dir, noted) : -EUCLEAN;
    if (noted)
        mfp__listing__free_unpacked(noted, NULL);
    return r < 0 ? state_fail(st, r, dir, "cannot take over what the other end brought") : 0;
}

int coming_forget(struct state *st, const struct mailfs_id *dir) {
    void *val;
    size_t n;
    int r = get(st, dir, &val, &n);

    free(val);
    return r == 0 ? put(st, dir, NULL, 0) : r == -ENOENT ? 0 : r;
}

/* ---- the start --------------------------------------------------------------------- */

struct load {
    struct state *st;
    bool take;
};

static int load_one(void *arg, const uint8_t *key, size_t nkey, const void *val, size_t n) {
    const struct load *l = arg;
    struct mailfs_id dir;

    if (nkey != MAILFS_ID_BYTES + 1 || key[MAILFS_ID_BYTES] != KIND)
        return 0;
    memcpy(dir.b, key, MAILFS_ID_BYTES);
    if (l->take)
        coming_take(l->st, &dir); /* one that fails is said there, and keeps no other */
    else
        coming_forget(l->st, &dir);
    return 0;
}

int coming_load(struct state *st, bool take) {
    struct load l = {st, take};

    return kv_each(st, KV_AGREED, T_CONT, NULL, load_one, &l);
}
