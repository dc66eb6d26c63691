/*
 * kv: the base's tables, with layers in memory over LMDB.
 *
 *   sent     own transactions on their way (only the view KV_SENT sees it)
 *   proposed result of a merge that the peer has not confirmed (only KV_PROPOSED sees it)
 *   agreed   since the last checkpoint
 *   frozen   being written by a checkpoint
 *   LMDB
 *
 * Each layer is read through to the one below. A layer holds a hash of containers, each with a hash
 * of entries. The mutex of the state guards all three; frozen is read without it by the checkpoint
 * alone, which is also the only one to change it. Nothing is logged here.
 */
#include "state_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recent.h"
#include "util/array.h"

#define ENTRY_OVERHEAD (sizeof(struct kv_entry) + 32)

static struct kv_cont *cont_find(const struct kv_layer *l, const void *key) {
    struct kv_cont *c;

    HASH_FIND(hh, l->conts, key, MAILFS_ID_BYTES, c);
    return c;
}

static struct kv_entry *entry_find(const struct kv_layer *l, enum table t, const void *key,
                                   size_t nkey) {
    uint8_t full[DB_KEY_MAX + 1];
    struct kv_cont *c = cont_find(l, key);
    struct kv_entry *e = NULL;

    if (!c || nkey > DB_KEY_MAX)
        return NULL;
    full[0] = (uint8_t)t;
    memcpy(full + 1, key, nkey);
    HASH_FIND(hh, c->entries, full, nkey + 1, e);
    return e;
}

static struct kv_cont *cont_make(struct kv_layer *l, const void *key) {
    struct kv_cont *c = cont_find(l, key);

    if (c)
        return c;
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    memcpy(c->id.b, key, MAILFS_ID_BYTES);
    HASH_ADD(hh, l->conts, id, sizeof(c->id), c);
    l->bytes += sizeof(*c);
    return c;
}

static struct kv_entry *entry_make(struct kv_layer *l, enum table t, const void *key, size_t nkey) {
    struct kv_entry *e = entry_find(l, t, key, nkey);
    struct kv_cont *c;

    if (e)
        return e;
    c = cont_make(l, key);
    e = c ? calloc(1, sizeof(*e) + nkey + 1) : NULL;
    if (!e)
        return NULL;
    e->transparent = true;
    e->nkey = nkey + 1;
    e->key[0] = (uint8_t)t;
    memcpy(e->key + 1, key, nkey);
    HASH_ADD_KEYPTR(hh, c->entries, e->key, e->nkey, e);
    l->bytes += ENTRY_OVERHEAD + nkey;
    return e;
}

static void entry_drop(struct kv_layer *l, struct kv_entry *e) {
    struct kv_cont *c = cont_find(l, e->key + 1);

    l->bytes -= ENTRY_OVERHEAD + e->nkey - 1 + e->nval;
    HASH_DEL(c->entries, e);
    free(e->val);
    free(e);
    if (!c->entries) {
        HASH_DEL(l->conts, c);
        l->bytes -= sizeof(*c);
        free(c);
    }
}

static void *copy_nul(const void *p, size_t n) {
    char *c = malloc(n + 1);

    if (c) {
        if (n)
            memcpy(c, p, n);
        c[n] = '\0';
    }
    return c;
}

static int entry_set(struct kv_layer *l, struct kv_entry *e, const void *val, size_t nval) {
    void *c = NULL;

    if (val && !(c = copy_nul(val, nval)))
        return -ENOMEM;
    free(e->val);
    l->bytes += (val ? nval : 0);
    l->bytes -= e->nval;
    e->val = c;
    e->nval = val ? nval : 0;
    e->transparent = false;
    return 0;
}

/* The layer a view writes to; below it are agreed, frozen and the disk. */
static struct kv_layer *top_layer(struct state *st, enum kv_view view) {
    return view == KV_SENT ? &st->sent : view == KV_PROPOSED ? &st->proposed : &st->agreed;
}

static int put_one(struct kv_layer *l, const struct kv_item *item) {
    struct kv_entry *e = entry_make(l, item->t, item->key, item->nkey);

    return e ? entry_set(l, e, item->val, item->nval) : -ENOMEM;
}

int kv_put_all(struct state *st, enum kv_view view, const struct kv_item *items, size_t n) {
    size_t i;
    int r = 0;

    state_lock(st);
    for (i = 0; r == 0 && i < n; i++)
        r = put_one(top_layer(st, view), &items[i]);
    state_unlock(st);
    for (i = 0; r == 0 && view == KV_AGREED && i < n; i++)
        recent_put(st, items[i].t, items[i].key, items[i].nkey, items[i].val, items[i].nval);
    return r;
}

int kv_put(struct state *st, enum kv_view view, enum table t, const void *key, size_t nkey,
           const void *val, size_t nval) {
    struct kv_item item = {t, key, nkey, val, nval};

    return kv_put_all(st, view, &item, 1);
}

int kv_touch(struct state *st, enum table t, const void *key, size_t nkey) {
    struct kv_entry *e;

    state_lock(st);
    e = entry_make(&st->sent, t, key, nkey);
    if (e)
        e->refs++;
    state_unlock(st);
    return e ? 0 : -ENOMEM;
}

void kv_untouch(struct state *st, enum table t, const void *key, size_t nkey) {
    struct kv_entry *e;

    state_lock(st);
    e = entry_find(&st->sent, t, key, nkey);
    if (e && (e->refs == 0 || --e->refs == 0))
        entry_drop(&st->sent, e);
    state_unlock(st);
}

struct get {
    enum table t;
    const void *key;
    size_t nkey;
    void *val;
    size_t nval;
};

static int get_disk(struct db_txn *txn, void *arg) {
    struct get *g = arg;
    struct db_val v;
    int r = db_get(txn, g->t, g->key, g->nkey, &v);

    if (r < 0)
        return r;
    g->val = copy_nul(v.p, v.n);
    g->nval = v.n;
    return g->val ? 0 : -ENOMEM;
}

/* The topmost entry that says something of this key; NULL: none. Under the mutex. */
static struct kv_entry *top_entry(struct state *st, enum kv_view view, enum table t,
                                  const void *key, size_t nkey) {
    const struct kv_layer *layers[] = {top_layer(st, view), &st->agreed, &st->frozen};
    size_t i;

    for (i = 0; i < 3; i++) {
        struct kv_entry *e = entry_find(layers[i], t, key, nkey);
        if (e && !e->transparent)
            return e;
    }
    return NULL;
}

int kv_get(struct state *st, enum kv_view view, enum table t, const void *key, size_t nkey,
           void **val, size_t *nval) {
    struct get g = {t, key, nkey, NULL, 0};
    struct kv_entry *e;
    int r = 0;

    state_lock(st);
    e = top_entry(st, view, t, key, nkey);
    if (e && !e->val) {
        r = -ENOENT;
    } else if (e) {
        g.val = copy_nul(e->val, e->nval);
        g.nval = e->nval;
        r = g.val ? 0 : -ENOMEM;
    }
    state_unlock(st);
    if (!e)
        r = db_view(st->db, get_disk, &g);
    *val = g.val;
    *nval = g.nval;
    return r;
}

/* ---- iterating --------------------------------------------------------------------- */

struct pair {
    uint8_t *key; /* without the table */
    size_t nkey;
    void *val; /* NULL: deleted */
    size_t nval;
    unsigned order; /* of two with one key the lower one counts */
};

struct pairs {
    struct pair *v;
    size_t n;
    enum table t;
    const struct mailfs_id *id;
};

static int pairs_add(struct pairs *ps, const void *key, size_t nkey, const void *val, size_t nval,
                     unsigned order) {
    struct pair *p = array_room(ps->v, ps->n, sizeof(*p));

    if (!p)
        return -ENOMEM;
    ps->v = p;
    p += ps->n;
    p->key = copy_nul(key, nkey);
    p->val = val ? copy_nul(val, nval) : NULL;
    p->nkey = nkey;
    p->nval = nval;
    p->order = order;
    if (!p->key || (val && !p->val)) {
        free(p->key);
        free(p->val);
        return -ENOMEM;
    }
    ps->n++;
    return 0;
}

static void pairs_free(struct pairs *ps) {
    size_t i;

    for (i = 0; i < ps->n; i++) {
        free(ps->v[i].key);
        free(ps->v[i].val);
    }
    free(ps->v);
}

static int pairs_cont(struct pairs *ps, const struct kv_cont *c, unsigned order) {
    struct kv_entry *e, *tmp;
    int r = 0;

    if (!c)
        return 0;
    HASH_ITER(hh, c->entries, e, tmp) {
        if (e->transparent || e->key[0] != (uint8_t)ps->t)
            continue;
        r = pairs_add(ps, e->key + 1, e->nkey - 1, e->val, e->nval, order);
        if (r < 0)
            break;
    }
    return r;
}

static int pairs_layer(struct pairs *ps, const struct kv_layer *l, unsigned order) {
    struct kv_cont *c, *tmp;
    int r = 0;

    if (ps->id)
        return pairs_cont(ps, cont_find(l, ps->id), order);
    HASH_ITER(hh, l->conts, c, tmp) {
        r = pairs_cont(ps, c, order);
        if (r < 0)
            break;
    }
    return r;
}

static int pairs_disk(struct db_txn *txn, void *arg) {
    struct pairs *ps = arg;
    struct db_iter it;
    int r;

    r = db_iter_first(txn, ps->t, ps->id ? ps->id->b : NULL, ps->id ? MAILFS_ID_BYTES : 0, &it);
    for (; r == 0; r = db_iter_next(&it)) {
        r = pairs_add(ps, it.key.p, it.key.n, it.val.p, it.val.n, 3);
        if (r < 0)
            break;
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

static int pair_cmp(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    size_t n = x->nkey < y->nkey ? x->nkey : y->nkey;
    int r = memcmp(x->key, y->key, n);

    if (r == 0)
        r = x->nkey < y->nkey ? -1 : x->nkey > y->nkey;
    if (r == 0)
        r = x->order < y->order ? -1 : x->order > y->order;
    return r;
}

static bool same_key(const struct pair *x, const struct pair *y) {
    return x->nkey == y->nkey && memcmp(x->key, y->key, x->nkey) == 0;
}

int kv_each(struct state *st, enum kv_view view, enum table t, const struct mailfs_id *id,
            kv_fn *fn, void *arg) {
    struct pairs ps = {.t = t, .id = id};
    size_t i;
    int r = 0;

    /* The layers first: what a checkpoint moves to disk meanwhile is then seen twice, not missed.
     */
    state_lock(st);
    if (view != KV_AGREED)
        r = pairs_layer(&ps, top_layer(st, view), 0);
    if (r == 0)
        r = pairs_layer(&ps, &st->agreed, 1);
    if (r == 0)
        r = pairs_layer(&ps, &st->frozen, 2);
    state_unlock(st);
    if (r == 0)
        r = db_view(st->db, pairs_disk, &ps);
    if (r == 0 && ps.n)
        qsort(ps.v, ps.n, sizeof(*ps.v), pair_cmp);
    for (i = 0; r == 0 && i < ps.n; i++) {
        const struct pair *p = &ps.v[i];
        if (p->val && (i == 0 || !same_key(p, p - 1)))
            r = fn(arg, p->key, p->nkey, p->val, p->nval);
    }
    pairs_free(&ps);
    return r;
}

/* ---- layers ------------------------------------------------------------------------ */

static void cont_free(struct kv_layer *l, struct kv_cont *c) {
    struct kv_entry *e, *tmp;

    HASH_ITER(hh, c->entries, e, tmp) {
        HASH_DEL(c->entries, e);
        free(e->val);
        free(e);
    }
    HASH_DEL(l->conts, c);
    free(c);
}

bool kv_has_unwritten(struct state *st, enum table t) {
    struct kv_cont *c, *next;
    struct kv_entry *e, *tmp;
    bool found = false;

    state_lock(st);
    HASH_ITER(hh, st->agreed.conts, c, next) {
        HASH_ITER(hh, c->entries, e, tmp) {
            found = found || (e->key[0] == (uint8_t)t && e->val);
        }
    }
    state_unlock(st);
    return found;
}

void kv_layer_clear(struct kv_layer *l) {
    struct kv_cont *c, *tmp;

    HASH_ITER(hh, l->conts, c, tmp) {
        cont_free(l, c);
    }
    l->bytes = 0;
}

static int move_cont(struct kv_layer *to, const struct kv_cont *from) {
    struct kv_entry *e, *tmp, *n;

    HASH_ITER(hh, from->entries, e, tmp) {
        n = entry_make(to, (enum table)e->key[0], e->key + 1, e->nkey - 1);
        if (!n || entry_set(to, n, e->val, e->nval) < 0)
            return -ENOMEM;
    }
    return 0;
}

int kv_layer_move(struct kv_layer *to, struct kv_layer *from) {
    struct kv_cont *c, *tmp;

    if (!to->conts) {
        *to = *from;
        from->conts = NULL;
        from->bytes = 0;
        return 0;
    }
    HASH_ITER(hh, from->conts, c, tmp) {
        if (move_cont(to, c) < 0)
            return -ENOMEM; /* from is complete still: doing it again is harmless */
    }
    kv_layer_clear(from);
    return 0;
}

static void note_cont(struct state *st, const struct kv_cont *c) {
    struct kv_entry *e, *tmp;

    HASH_ITER(hh, c->entries, e, tmp) {
        recent_put(st, (enum table)e->key[0], e->key + 1, e->nkey - 1, e->val, e->nval);
    }
}

int kv_accept(struct state *st, const struct mailfs_id *id) {
    struct kv_cont *c;
    int r = 0;

    recent_begin(st);
    state_lock(st);
    c = cont_find(&st->proposed, id);
    if (c)
        r = move_cont(&st->agreed, c);
    if (c && r == 0)
        note_cont(st, c);
    if (c && r == 0)
        cont_free(&st->proposed, c);
    state_unlock(st);
    recent_end(st);
    return r;
}

bool kv_proposes(struct state *st, const struct mailfs_id *id) {
    bool some;

    state_lock(st);
    some = cont_find(&st->proposed, id) != NULL;
    state_unlock(st);
    return some;
}

static void forget(struct state *st, struct kv_layer *l, const struct mailfs_id *id) {
    struct kv_cont *c;

    state_lock(st);
    c = cont_find(l, id);
    if (c)
        cont_free(l, c);
    state_unlock(st);
}

void kv_refuse(struct state *st, const struct mailfs_id *id) {
    forget(st, &st->proposed, id);
}

void kv_forget_sent(struct state *st, const struct mailfs_id *id) {
    forget(st, &st->sent, id);
}

int kv_layer_write(const struct kv_layer *l, struct db_txn *txn) {
    struct kv_cont *c, *ctmp;
    struct kv_entry *e, *etmp;
    int r;

    HASH_ITER(hh, l->conts, c, ctmp) {
        HASH_ITER(hh, c->entries, e, etmp) {
            if (e->val)
                r = db_put(txn, e->key[0], e->key + 1, e->nkey - 1, e->val, e->nval);
            else
                r = db_del(txn, e->key[0], e->key + 1, e->nkey - 1);
            if (r < 0 && r != -ENOENT)
                return r;
        }
    }
    return 0;
}
