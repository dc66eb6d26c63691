/*
 * journal: received transactions, acknowledged, not yet applied and synced.
 *
 * Table `journal` of the base's environment: number 8 (big-endian) -> packed Txn. In memory a
 * record of each, with the contents it holds in the stage: about 100 bytes.
 *
 * Diagnostics: errors of writing; an entry that cannot be read at the start is left out, loudly.
 */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "io/io.h"
#include "recent.h"
#include "state_int.h"
#include "util/array.h"
#include "util/bytes.h"
#include "util/log.h"
#include "wire/check.h"

/* ---- the table in memory ----------------------------------------------------------- */

static void entry_free(struct state *st, struct jentry *e) {
    HASH_DEL(st->journal, e);
    content_keys_free(e->names, e->n_names);
    free(e->published);
    free(e);
}

void journal_free(struct state *st) {
    struct jentry *e, *tmp;

    HASH_ITER(hh, st->journal, e, tmp) {
        entry_free(st, e);
    }
}

void journal_forget(struct state *st, struct jentry *e) {
    entry_free(st, e);
}

/* Takes references of what there is. What there is not is not noted either: a content that comes
 * later under the same key belongs to another entry, which this one must not take it from. */
static void entry_refs(struct state *st, struct jentry *e) {
    struct stage_item *it;
    size_t i, k = 0;

    for (i = 0; i < e->n_names; i++) {
        it = stage_find(st, e->names[i]);
        if (!it) {
            free(e->names[i]);
            continue;
        }
        it->refs++;
        it->used = true;
        e->names[k++] = e->names[i];
    }
    e->n_names = k;
}

/* Notes an entry and takes references of its contents. *lacks: not of all. */
static int entry_note(struct state *st, uint64_t id, const Mfp__Txn *txn, bool *lacks) {
    struct jentry *e = calloc(1, sizeof(*e));
    size_t n;
    int r;

    if (!e)
        return -ENOMEM;
    e->id = id;
    memcpy(e->dir.b, txn->dir.data, txn->dir.len == MAILFS_ID_BYTES ? MAILFS_ID_BYTES : 0);
    r = content_keys(st, txn, &e->names, &e->n_names);
    if (r == 0)
        r = content_published_of(st, txn, &e->published, &e->n_published);
    if (r < 0) {
        content_keys_free(e->names, e->n_names);
        free(e->published);
        free(e);
        return r;
    }
    n = e->n_names;
    state_lock(st);
    entry_refs(st, e);
    *lacks = e->n_names < n;
    HASH_ADD(hh, st->journal, id, sizeof(e->id), e);
    if (id >= st->journal_next)
        st->journal_next = id + 1;
    state_unlock(st);
    return 0;
}

/* Under the mutex. */
static struct jentry *find(struct state *st, uint64_t id) {
    struct jentry *e;

    HASH_FIND(hh, st->journal, &id, sizeof(id), e);
    return e;
}

static void entry_undo(struct state *st, uint64_t id) {
    struct jentry *e;
    size_t i;

    state_lock(st);
    e = find(st, id);
    for (i = 0; e && i < e->n_names; i++) {
        struct stage_item *it = stage_find(st, e->names[i]);
        if (it && it->refs)
            it->refs--;
        if (it && it->refs == 0)
            it->used = false;
    }
    if (e)
        entry_free(st, e);
    state_unlock(st);
}

static void note_applied(struct state *st, uint64_t id) {
    uint8_t key[8];

    bytes_put_u64(key, id);
    recent_put(st, T_JOURNAL, key, sizeof(key), NULL, 0);
}

void journal_applied(struct state *st, uint64_t id) {
    struct jentry *e;

    state_lock(st);
    e = find(st, id);
    if (e)
        e->applied = true;
    state_unlock(st);
    if (e)
        note_applied(st, id);
}

/* Its number is not given again: that would be taken for applied, too. */
void journal_was_applied(struct state *st, uint64_t id) {
    struct jentry *e;

    state_lock(st);
    e = find(st, id);
    if (e)
        e->applied = true;
    if (id >= st->journal_next)
        st->journal_next = id + 1;
    state_unlock(st);
}

void journal_tried(struct state *st, uint64_t id) {
    struct jentry *e;

    state_lock(st);
    e = find(st, id);
    if (e)
        e->tried = true;
    state_unlock(st);
}

/* What came during the merge and is not applied yet was not part of it. */
void journal_settled(struct state *st, const struct mailfs_id *dir) {
    struct jentry *e, *tmp;

    recent_begin(st);
    state_lock(st);
    HASH_ITER(hh, st->journal, e, tmp) {
        if (!e->applied && e->tried && mailfs_id_equal(&e->dir, dir)) {
            e->applied = true;
            note_applied(st, e->id);
        }
    }
    state_unlock(st);
    recent_end(st);
}

bool journal_waits_for(struct state *st, const struct mailfs_id *dir) {
    struct jentry *e, *tmp;
    bool waits = false;

    state_lock(st);
    HASH_ITER(hh, st->journal, e, tmp) {
        waits = waits || (!e->applied && mailfs_id_equal(&e->dir, dir));
    }
    state_unlock(st);
    return waits;
}

size_t journal_waiting(struct state *st) {
    struct jentry *e, *tmp;
    size_t n = 0;

    state_lock(st);
    HASH_ITER(hh, st->journal, e, tmp) {
        n += !e->applied;
    }
    state_unlock(st);
    return n;
}

bool journal_has_applied(const struct state *st) {
    const struct jentry *e;

    for (e = st->journal; e; e = e->hh.next) {
        if (e->applied)
            return true;
    }
    return false;
}

int journal_take_applied(struct state *st, struct jentry ***v, size_t *n) {
    struct jentry *e, *tmp;

    *n = 0;
    *v = calloc(HASH_COUNT(st->journal) + 1, sizeof(**v));
    if (!*v)
        return -ENOMEM;
    HASH_ITER(hh, st->journal, e, tmp) {
        if (e->applied)
            (*v)[(*n)++] = e;
    }
    return 0;
}

int journal_delete(struct db_txn *txn, uint64_t id) {
    uint8_t key[8];
    int r;

    bytes_put_u64(key, id);
    r = db_del(txn, T_JOURNAL, key, sizeof(key));
    return r == -ENOENT ? 0 : r;
}

/* ---- appending --------------------------------------------------------------------- */

struct packed {
    uint64_t id;
    uint8_t *p;
    size_t n;
};

struct batch {
    struct packed *v;
    size_t n;
};

static int write_batch(struct db_txn *txn, void *arg) {
    struct batch *b = arg;
    uint8_t key[8];
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < b->n; i++) {
        bytes_put_u64(key, b->v[i].id);
        r = db_put(txn, T_JOURNAL, key, sizeof(key), b->v[i].p, b->v[i].n);
    }
    return r;
}

/* Everything it refers to must be in the stage: linked there by content_missing(), or fetched; and
 * under its name. */
static int contents_there(struct state *st, const Mfp__Txn *txn) {
    char **keys;
    size_t n, i;
    int r = content_keys(st, txn, &keys, &n);

    if (r < 0)
        return r;
    state_lock(st);
    for (i = 0; r == 0 && i < n; i++) {
        if (!stage_find(st, keys[i]))
            r = -ENODATA;
    }
    state_unlock(st);
    for (i = 0; r == 0 && i < n; i++)
        r = stage_settle(st, keys[i]);
    content_keys_free(keys, n);
    return r;
}

static int prepare(struct state *st, struct journal_entry *entries, struct packed *v, size_t n) {
    bool lacks;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        r = contents_there(st, entries[i].txn);
        if (r < 0)
            break;
        v[i].n = mfp__txn__get_packed_size(entries[i].txn);
        v[i].p = malloc(v[i].n ? v[i].n : 1);
        if (!v[i].p)
            return -ENOMEM;
        mfp__txn__pack(entries[i].txn, v[i].p);
        state_lock(st);
        v[i].id = entries[i].id = st->journal_next++;
        state_unlock(st);
        r = entry_note(st, v[i].id, entries[i].txn, &lacks);
        if (r == 0 && lacks) /* by now: a merge has used it, or it was cleared away */
            r = -ENODATA;
    }
    return r;
}

static uint64_t doubts(struct state *st) {
    uint64_t n;

    state_lock(st);
    n = st->stage_doubts;
    state_unlock(st);
    return n;
}

/* Any of them: none is in it. */
static int failed(struct state *st, const struct journal_entry *entries, size_t n, int err) {
    struct mailfs_id id;
    bool one = n > 0 && wire_id(&entries[0].txn->dir, &id) == 0;

    return state_fail(st, err, one ? &id : NULL, "cannot write the journal");
}

int journal_append(struct state *st, struct journal_entry *entries, size_t n) {
    struct batch b = {calloc(n ? n : 1, sizeof(*b.v)), n};
    struct stage_item *dropped = NULL;
    uint64_t before = doubts(st);
    bool in_doubt;
    size_t i;
    int r = b.v ? prepare(st, entries, b.v, n) : -ENOMEM;

    if (r == 0)
        r = stage_sync(st);
    /* An fsync of another thread's may have heard of the error that was about ours: and what an
     * entry refers to, if it is not written yet, is not dropped then. */
    in_doubt = doubts(st) != before;
    if (r == 0)
        r = in_doubt ? -EIO : db_update(st->db, write_batch, &b);
    for (i = 0; b.v && i < n; i++) {
        if (r < 0 && b.v[i].id)
            entry_undo(st, b.v[i].id);
        free(b.v[i].p);
    }
    free(b.v);
    if (r < 0 && in_doubt) { /* now that no entry refers to these */
        state_lock(st);
        dropped = stage_drop_unsure(st);
        state_unlock(st);
    }
    stage_unlink(st, dropped);
    return r < 0 && r != -ENODATA ? failed(st, entries, n, r) : r;
}

/* ---- start ------------------------------------------------------------------------- */

struct list {
    struct packed *v;
    size_t n;
};

static int list_add(struct list *l, const struct db_val *key, const struct db_val *val) {
    struct packed *v = array_room(l->v, l->n, sizeof(*v));

    if (!v)
        return -ENOMEM;
    l->v = v;
    v += l->n;
    v->id = key->n == 8 ? bytes_get_u64(key->p) : 0;
    v->n = val->n;
    v->p = malloc(val->n ? val->n : 1);
    if (!v->p)
        return -ENOMEM;
    memcpy(v->p, val->p, val->n);
    l->n++;
    return 0;
}

static int read_all(struct db_txn *txn, void *arg) {
    struct db_iter it;
    int r;

    for (r = db_iter_first(txn, T_JOURNAL, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        r = list_add(arg, &it.key, &it.val);
        if (r < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

/* Each entry unpacked, in order. Memory: the whole journal. */
static int each_entry(struct state *st, journal_fn *fn, void *arg) {
    struct list l = {0};
    size_t i;
    int r = db_view(st->db, read_all, &l);

    for (i = 0; r == 0 && i < l.n; i++) {
        Mfp__Txn *txn = mfp__txn__unpack(NULL, l.v[i].n, l.v[i].p);
        if (!txn) {
            log_error("journal: entry %llu cannot be read and is left out",
                      (unsigned long long)l.v[i].id);
            continue;
        }
        r = fn(arg, l.v[i].id, txn);
    }
    for (i = 0; i < l.n; i++)
        free(l.v[i].p);
    free(l.v);
    return r;
}

static int load_one(void *arg, uint64_t id, Mfp__Txn *txn) {
    bool lacks; /* what had been applied */
    int r;

    (void)content_pin_copies(arg, txn); /* which tells of errors: a merge brings it then */
    r = entry_note(arg, id, txn, &lacks);

    mfp__txn__free_unpacked(txn, NULL);
    return r;
}

int journal_load(struct state *st) {
    st->journal_next = 1;
    return each_entry(st, load_one, st);
}

struct replay {
    struct state *st;
    journal_fn *fn;
    void *arg;
};

/* What was applied before is in the base, and what became of it here is not undone. */
static int replay_one(void *arg, uint64_t id, Mfp__Txn *txn) {
    const struct replay *p = arg;
    struct jentry *e;
    bool applied;

    state_lock(p->st);
    HASH_FIND(hh, p->st->journal, &id, sizeof(id), e);
    applied = e && e->applied;
    state_unlock(p->st);
    if (!applied)
        return p->fn(p->arg, id, txn);
    mfp__txn__free_unpacked(txn, NULL);
    return 0;
}

int journal_replay(struct state *st, journal_fn *fn, void *arg) {
    struct replay p = {st, fn, arg};
    int r = each_entry(st, replay_one, &p);

    return r < 0 ? state_fail(st, r, NULL, "cannot read the journal") : r;
}
