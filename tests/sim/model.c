/*
 * Stores, bases, transactions, listings, and what syncd would do with them.
 *
 * A message is its name; a name never comes back with another content. A mailbox is its messages
 * with flags and UIDs, its UIDVALIDITY and its next UID.
 */
#include "sim.h"

#include "replica/merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name names[NAMES_MAX];
static uint32_t names_n;

uint32_t name_new(uint32_t content, struct replica_prep prep) {
    if (names_n + 1 >= NAMES_MAX)
        abort();
    names[++names_n] = (struct name){content, prep};
    return names_n;
}

void names_reset(void) {
    names_n = 0;
}

/* ---- lists ---- */

bool state_equal(struct state a, struct state b) {
    if (!a.is || !b.is)
        return a.is == b.is;
    return a.cur == b.cur && a.flags == b.flags && a.uid == b.uid;
}

static size_t list_place(const struct list *l, uint32_t name) {
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (l->e[mid].name < name)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct state list_get(const struct list *l, uint32_t name) {
    size_t i = list_place(l, name);
    return i < l->n && l->e[i].name == name ? l->e[i].s : (struct state){0};
}

void list_set(struct list *l, uint32_t name, struct state s) {
    size_t i = list_place(l, name);
    bool there = i < l->n && l->e[i].name == name;
    if (!s.is) {
        if (there)
            memmove(&l->e[i], &l->e[i + 1], (--l->n - i) * sizeof *l->e);
        return;
    }
    if (!there) {
        if (l->n == l->room) {
            l->room = l->room ? 2 * l->room : 16;
            l->e = realloc(l->e, l->room * sizeof *l->e);
            if (l->e == NULL)
                abort();
        }
        memmove(&l->e[i + 1], &l->e[i], (l->n++ - i) * sizeof *l->e);
    }
    l->e[i] = (struct entry){name, s};
}

void list_free(struct list *l) {
    free(l->e);
    memset(l, 0, sizeof *l);
}

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x100000001b3u;
    return h ^ (h >> 29);
}

static uint64_t digest_entry(uint64_t h, uint32_t name, struct state s) {
    h = mix(h, name);
    h = mix(h, s.is + 2u * s.cur);
    h = mix(h, s.flags);
    return mix(h, s.uid);
}

uint64_t box_digest(const struct box *b) {
    uint64_t h = mix(mix(7, b->v), b->next);
    if (!b->valid)
        return 0;
    for (size_t i = 0; i < b->msgs.n; i++)
        h = digest_entry(h, b->msgs.e[i].name, b->msgs.e[i].s);
    return h | 1;
}

/* ---- transactions ---- */

void txn_add(struct txn *t, uint32_t name, struct state was, struct state is) {
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 8;
        t->ops = realloc(t->ops, t->room * sizeof *t->ops);
        if (t->ops == NULL)
            abort();
    }
    t->ops[t->n++] = (struct op){name, was, is};
}

void txn_add_prep(struct txn *t, struct replica_prep p) {
    t->preps = realloc(t->preps, (t->npreps + 1) * sizeof *t->preps);
    if (t->preps == NULL)
        abort();
    t->preps[t->npreps++] = p;
}

static void txn_free(struct replica_payload *p) {
    struct txn *t = p->data;
    free(t->ops);
    free(t->preps);
    free(t);
}

struct replica_payload *txn_wrap(struct txn *t) {
    return replica_payload_new(t, sizeof *t, txn_free);
}

/* May `name` have `uid` here: it has it, or nobody can have seen it as another's. */
static bool uid_is_free(const struct box *store, uint32_t name, uint32_t uid, uint32_t next) {
    return uid == 0 || list_get(&store->msgs, name).uid == uid || uid >= next;
}

/* An act without L (locked false) never gives a UID: what it carries is of the other's numbering.
 */
static bool op_apply(struct box *store, struct box *base, const struct op *op, uint32_t next,
                     bool locked) {
    struct state s = list_get(&store->msgs, op->name);
    trace("   apply %u to %d cur %d flags %x uid %u, where %d cur %d flags %x uid %u", op->name,
          op->is.is, op->is.cur, op->is.flags, op->is.uid, s.is, s.cur, s.flags, s.uid);
    if (op->is.is && state_equal(list_get(&base->msgs, op->name), op->is))
        return true; /* agreed upon before: what it is now it has become since */
    bool fits = state_equal(s, op->was) || state_equal(s, op->is);
    if (!op->is.is && s.is && s.uid == op->was.uid)
        fits = true; /* removed there: what only its flags became here does not keep it */
    if (!fits && (!s.is || !op->is.is))
        return false; /* changed here, removed there, or the other way round */
    struct state to = op->is;
    if (!fits) {
        to = s;
        to.flags = (s.flags & ~(op->was.flags & ~op->is.flags)) | (op->is.flags & ~op->was.flags);
        to.cur = s.cur || op->is.cur;
        if (s.uid == 0 && locked)
            to.uid = op->is.uid;
    }
    if (to.is && !uid_is_free(store, op->name, to.uid, next)) {
        to.uid = s.uid;
        fits = false;
    }
    list_set(&store->msgs, op->name, to);
    if (to.is && to.uid >= store->next)
        store->next = to.uid + 1;
    if (fits && (!op->is.is || state_equal(list_get(&base->msgs, op->name), op->was)))
        list_set(&base->msgs, op->name, op->is);
    return fits && state_equal(list_get(&base->msgs, op->name), op->is);
}

bool txn_apply(struct box *store, struct box *base, const struct txn *t) {
    bool fits = true;
    uint32_t next = store->next;
    base->version++;
    if (t->v != 0 && store->v == 0) {
        store->v = t->v;
    } else if (t->v != 0 && t->v != store->v) {
        return true; /* numbers of another validity */
    }
    if (t->v != 0 && base->v == 0)
        base->v = t->v;
    for (size_t i = 0; i < t->n; i++)
        fits = op_apply(store, base, &t->ops[i], next, t->v != 0) && fits;
    if (t->next > store->next)
        store->next = t->next;
    if (t->next > base->next)
        base->next = t->next;
    return !fits;
}

void txn_acked(struct box *base, const struct txn *t) {
    base->version++;
    if (base->v == 0)
        base->v = t->v;
    for (size_t i = 0; i < t->n; i++)
        if (!t->ops[i].is.is || state_equal(list_get(&base->msgs, t->ops[i].name), t->ops[i].was))
            list_set(&base->msgs, t->ops[i].name, t->ops[i].is);
    if (t->next > base->next)
        base->next = t->next;
}

/* ---- listings ---- */

static void listing_free(struct replica_payload *p) {
    struct listing *l = p->data;
    free(l->e);
    free(l);
}

static void listing_add(struct listing *l, uint32_t name, struct state was, struct state is) {
    if (!l->full && state_equal(was, is))
        return;
    l->e[l->n++] = (struct listed){name, was, is};
}

struct replica_payload *listing_make(unsigned box, const struct box *store, const struct box *base,
                                     bool full) {
    struct listing *l = calloc(1, sizeof *l);
    const struct list *s = &store->msgs, *b = &base->msgs;
    if (l == NULL || (l->e = calloc(s->n + b->n + 1, sizeof *l->e)) == NULL)
        abort();
    l->box = box;
    l->full = full || !base->valid;
    l->base_valid = base->valid;
    l->base_digest = box_digest(base);
    l->base_version = base->version;
    l->v = store->v;
    l->next = store->next;
    l->base_v = base->v;
    l->base_next = base->next;
    size_t i = 0, j = 0;
    while (i < s->n || j < b->n) {
        bool in_s = i < s->n && (j == b->n || s->e[i].name <= b->e[j].name);
        bool in_b = j < b->n && (i == s->n || b->e[j].name <= s->e[i].name);
        uint32_t name = in_s ? s->e[i].name : b->e[j].name;
        listing_add(l, name, in_b ? b->e[j].s : (struct state){0},
                    in_s ? s->e[i].s : (struct state){0});
        i += in_s;
        j += in_b;
    }
    return replica_payload_new(l, sizeof *l, listing_free);
}

/* ---- merging, with lib/replica/merge ---- */

struct side {
    struct merge_side side;
    struct merge_entry *entries;
    char (*text)[12];
};

static struct merge_state to_merge_state(uint32_t name, struct state s) {
    struct merge_state m = {.uid = s.uid, .in_cur = s.cur, .content = names[name].content};
    for (unsigned i = 0; i < 32; i++)
        if (s.flags & (UINT32_C(1) << i))
            maildir_set_add(&m.flags, 'a' + i);
    return m;
}

static struct state from_merge_state(const struct merge_state *m) {
    struct state s = {.is = true, .cur = m->in_cur, .uid = m->uid};
    for (unsigned i = 0; i < 32; i++)
        if (maildir_set_has(m->flags, 'a' + i))
            s.flags |= UINT32_C(1) << i;
    return s;
}

static void side_make(struct side *s, const struct listing *l) {
    s->entries = calloc(l->n + 1, sizeof *s->entries);
    s->text = calloc(l->n + 1, sizeof *s->text);
    if (s->entries == NULL || s->text == NULL)
        abort();
    for (size_t i = 0; i < l->n; i++) {
        const struct listed *e = &l->e[i];
        snprintf(s->text[i], sizeof s->text[i], "m%08u", e->name);
        s->entries[i] = (struct merge_entry){
            .base = s->text[i],
            .was = e->was.is,
            .is = e->is.is,
            .old = to_merge_state(e->name, e->was),
            .now = to_merge_state(e->name, e->is),
        };
    }
    s->side = (struct merge_side){
        .base_valid = l->base_valid,
        .full = l->full,
        .validity = l->v,
        .next = l->next,
        .base_validity = l->base_v,
        .base_next = l->base_next,
        .base_version = l->base_version,
        .entries = s->entries,
        .count = l->n,
    };
}

static void side_free(struct side *s) {
    free(s->entries);
    free(s->text);
}

/* One message to its merged state; what was changed since it was listed stays, and is told. */
static bool item_apply(struct box *store, uint32_t name, struct state listed, struct state to) {
    struct state s = list_get(&store->msgs, name);
    if (state_equal(s, to))
        return true;
    bool as_listed = state_equal(s, listed);
    if (!as_listed && s.is && to.is) {
        uint32_t set = s.flags & ~listed.flags, cleared = listed.flags & ~s.flags;
        to.flags = (to.flags | set) & ~cleared;
    }
    list_set(&store->msgs, name, to);
    return as_listed;
}

static struct state listed_now(const struct merge_item *it, bool lower) {
    if (!(lower ? it->at_a : it->at_b))
        return (struct state){0};
    return from_merge_state(lower ? &it->now_a : &it->now_b);
}

static uint64_t result_apply(struct box *store, struct box *base, const struct merge_result *m,
                             bool lower, bool *suspect) {
    uint64_t h = mix(mix(11, m->validity), m->next);
    for (size_t i = 0; i < m->count; i++) {
        const struct merge_item *it = &m->items[i];
        uint32_t name = (uint32_t)strtoul(it->name + 1, NULL, 10);
        struct state to = it->present ? from_merge_state(&it->state) : (struct state){0};
        trace("   merge gives %u: %d cur %d flags %x uid %u (a %d was %d %u uid %u, b %d was %d %u "
              "uid %u)",
              name, to.is, to.cur, to.flags, to.uid, it->at_a, it->a ? it->a->was : -1,
              it->a ? it->a->old.uid : 0, it->now_a.uid, it->at_b, it->b ? it->b->was : -1,
              it->b ? it->b->old.uid : 0, it->now_b.uid);
        if (!item_apply(store, name, listed_now(it, lower), to))
            *suspect = true;
        list_set(&base->msgs, name, to);
        h = digest_entry(h, name, to);
    }
    if (store->v != m->validity || store->next < m->next)
        store->next = m->next;
    store->v = base->v = m->validity;
    base->next = m->next;
    base->valid = true;
    return h;
}

int listing_merge(struct box *store, struct box *base, const struct listing *own,
                  const struct listing *peer, bool lower, uint8_t digest[REPLICA_DIGEST],
                  bool *suspect) {
    if ((!own->full || !peer->full) && own->base_digest != peer->base_digest)
        return -ESTALE;
    struct side a, b;
    struct merge_result *m = NULL;
    side_make(&a, lower ? own : peer);
    side_make(&b, lower ? peer : own);
    int err = merge_mailbox(&a.side, &b.side, 0, &m);
    if (err == 0) {
        uint64_t h = result_apply(store, base, m, lower, suspect);
        memcpy(digest, &h, sizeof h);
        base->version =
            1 + (own->base_version > peer->base_version ? own->base_version : peer->base_version);
        merge_result_free(m);
    }
    side_free(&a);
    side_free(&b);
    return err;
}

void box_copy(struct box *to, const struct box *from) {
    list_free(&to->msgs);
    *to = *from;
    to->msgs.e = calloc(from->msgs.n + 1, sizeof *to->msgs.e);
    if (to->msgs.e == NULL)
        abort();
    if (from->msgs.n > 0)
        memcpy(to->msgs.e, from->msgs.e, from->msgs.n * sizeof *to->msgs.e);
    to->msgs.room = from->msgs.n + 1;
}
