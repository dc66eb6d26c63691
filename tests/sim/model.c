/*
 * Transactions and listings, and what syncd would do with them.
 *
 * A message is its name; a name never comes back with another content. A mailbox is its messages
 * with flags and UIDs, its UIDVALIDITY and its next UID.
 */
#include "sim.h"

#include "replica/base_age.h"
#include "replica/merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name names[NAMES_MAX];
static uint32_t names_n;

uint32_t name_new(uint32_t content, unsigned box, struct replica_prep prep) {
    if (names_n + 1 >= NAMES_MAX)
        abort();
    names[++names_n] = (struct name){.content = content, .prep = prep, .box = box};
    return names_n;
}

/* The first name of a content is its origin's. */
uint32_t names_of_content(uint32_t content) {
    for (uint32_t i = content; i <= names_n; i++)
        if (names[i].content == content)
            return i;
    return 0;
}

void names_reset(void) {
    names_n = 0;
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

/* Published here when its origin was gone: it gets the name that its origin gave it. False:
 * suspect. */
static bool take_published(struct box *store, const struct box *base, unsigned box, uint32_t name) {
    struct replica_prep prep = names[name].prep;
    if (prep.incarnation == 0 || names[name].box != box || list_get(&store->msgs, name).is)
        return true;
    for (size_t i = 0; i < store->msgs.n; i++) {
        struct entry e = store->msgs.e[i];
        if (!names[e.name].published || names[e.name].prep.incarnation != prep.incarnation ||
            names[e.name].prep.seq != prep.seq)
            continue;
        list_set(&store->msgs, e.name, (struct state){0});
        list_set(&store->msgs, name, e.s);
        return !list_get(&base->msgs, e.name).is; /* both have it by the other name: to be merged */
    }
    return true;
}

/* An act without L (locked false) never gives a UID: what it carries is of the other's numbering.
 */
static bool op_apply(struct node *n, unsigned box, struct box *base, const struct op *op,
                     uint32_t next, bool locked) {
    struct box *store = &n->store[box];
    bool taken = op->is.is && !op->was.is && !take_published(store, base, box, op->name);
    struct state s = list_get(&store->msgs, op->name);
    trace("   apply %u to %d cur %d flags %x uid %u, where %d cur %d flags %x uid %u", op->name,
          op->is.is, op->is.cur, op->is.flags, op->is.uid, s.is, s.cur, s.flags, s.uid);
    if (op->is.is && state_equal(list_get(&base->msgs, op->name), op->is) &&
        !state_equal(s, op->was))
        return !taken; /* agreed upon before: what it is now it has become since */
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
    if (!to.is && s.is)
        node_keep(n, names[op->name].content);
    list_set(&store->msgs, op->name, to);
    if (to.is && to.uid >= store->next)
        store->next = to.uid + 1;
    if (fits && (!op->is.is || state_equal(list_get(&base->msgs, op->name), op->was)))
        list_set(&base->msgs, op->name, op->is);
    return !taken && fits && state_equal(list_get(&base->msgs, op->name), op->is);
}

/* A transaction has moved its base: that is where both go on from. */
static void half_forget(struct halves *h, uint32_t name) {
    for (size_t i = 0; i < h->n && !MUTANT(MUTANT_STALE_HALF); i++)
        if (h->e[i].name == name)
            h->e[i] = h->e[--h->n];
}

/* Half of it: the header of the uidlist comes last. */
bool txn_apply(struct node *n, struct box *base, const struct txn *t, size_t most) {
    struct box *store = &n->store[t->box];
    bool fits = true;
    uint32_t next = store->next;
    if (t->v != 0 && store->v == 0) {
        store->v = t->v;
    } else if (t->v != 0 && t->v != store->v) {
        return true; /* numbers of another validity */
    }
    if (t->v != 0 && base->v == 0)
        base->v = t->v;
    for (size_t i = 0; i < most; i++)
        fits = op_apply(n, t->box, base, &t->ops[i], next, t->v != 0) && fits;
    if (most < t->n)
        return true;
    base->version++;
    if (t->next > store->next)
        store->next = t->next;
    if (t->next > base->next)
        base->next = t->next;
    return !fits;
}

void txn_applied(struct node *n, const struct txn *t) {
    for (size_t i = 0; i < t->n; i++)
        if (state_equal(list_get(&n->base[t->box].msgs, t->ops[i].name), t->ops[i].is))
            half_forget(&n->half[t->box], t->ops[i].name);
}

void txn_acked(struct node *n, const struct txn *t) {
    struct box *base = &n->base[t->box];
    base->version++;
    if (base->v == 0)
        base->v = t->v;
    for (size_t i = 0; i < t->n; i++)
        if (!t->ops[i].is.is || state_equal(list_get(&base->msgs, t->ops[i].name), t->ops[i].was))
            list_set(&base->msgs, t->ops[i].name, t->ops[i].is);
    if (t->next > base->next)
        base->next = t->next;
    for (size_t i = 0; i < t->n; i++)
        half_forget(&n->half[t->box], t->ops[i].name);
}

/* ---- listings ---- */

static void listing_free(struct replica_payload *p) {
    struct listing *l = p->data;
    free(l->e);
    free(l);
}

void halves_forget(struct halves *h) {
    free(h->e);
    *h = (struct halves){.age = h->age};
}

static const struct half *half_find(const struct halves *h, uint32_t name) {
    for (size_t i = 0; i < h->n; i++)
        if (h->e[i].name == name)
            return &h->e[i];
    return NULL;
}

static void listing_add(struct listing *l, const struct node *n, uint32_t name, struct state was,
                        struct state is) {
    const struct half *h = half_find(&n->half[l->box], name);
    if (!l->full && h == NULL && state_equal(was, is))
        return;
    struct listed *e = &l->e[l->n++];
    *e = (struct listed){.name = name, .was = was, .is = is, .half = h != NULL};
    e->put_back = is.is && list_get(&n->put_back[l->box], name).is;
    if (h != NULL)
        e->h = *h;
}

struct replica_payload *listing_make(const struct node *n, unsigned box, bool full) {
    struct listing *l = calloc(1, sizeof *l);
    const struct box *store = &n->store[box], *base = &n->base[box];
    const struct list *s = &store->msgs, *b = &base->msgs;
    const struct halves *h = &n->half[box];
    if (l == NULL || (l->e = calloc(s->n + b->n + h->n + 1, sizeof *l->e)) == NULL)
        abort();
    l->box = box;
    l->full = full || !base->valid;
    l->base_valid = base->valid || n->was_cut[box];
    l->base_digest = box_digest(base);
    l->base_version = base->version + 1; /* 0: not known */
    if (n->lacks[box])
        l->base_version |= BASE_AGE_LACKS;
    l->cut = n->cut[box];
    l->half_age = n->half[box].kept ? n->half[box].age : 0;
    l->half_with = n->half[box].kept ? n->half[box].with : 0;
    l->life = n->life + 1;
    l->v = store->v;
    l->next = store->next;
    l->base_v = base->v;
    l->base_next = base->next;
    size_t i = 0, j = 0;
    while (i < s->n || j < b->n) {
        bool in_s = i < s->n && (j == b->n || s->e[i].name <= b->e[j].name);
        bool in_b = j < b->n && (i == s->n || b->e[j].name <= s->e[i].name);
        uint32_t name = in_s ? s->e[i].name : b->e[j].name;
        listing_add(l, n, name, in_b ? b->e[j].s : (struct state){0},
                    in_s ? s->e[i].s : (struct state){0});
        i += in_s;
        j += in_b;
    }
    for (i = 0; i < h->n; i++)
        if (!list_get(s, h->e[i].name).is && !list_get(b, h->e[i].name).is)
            listing_add(l, n, h->e[i].name, (struct state){0}, (struct state){0});
    return replica_payload_new(l, sizeof *l + l->n * sizeof *l->e, listing_free);
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
    memset(s, 0, sizeof *s);
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
            .half = e->half,
            .half_here = e->h.mine.is,
            .half_there = e->h.theirs.is,
            .put_back = e->put_back,
            .half_mine = to_merge_state(e->name, e->h.mine),
            .half_theirs = to_merge_state(e->name, e->h.theirs),
        };
    }
    s->side = (struct merge_side){
        .base_valid = l->base_valid,
        .full = l->full,
        .cut = l->cut,
        .validity = l->v,
        .next = l->next,
        .base_validity = l->base_v,
        .base_next = l->base_next,
        .base_version = l->base_version,
        .half_age = l->half_age,
        .half_with = l->half_with,
        .life = l->life,
        .entries = s->entries,
        .count = l->n,
    };
}

static void side_free(struct side *s) {
    free(s->entries);
    free(s->text);
}

/* One message to its merged state; what was changed since it was listed stays, and is told. */
static void item_apply(struct box *store, uint32_t name, struct state listed, struct state to,
                       bool *suspect) {
    struct state s = list_get(&store->msgs, name);
    if (state_equal(s, to))
        return;
    bool as_listed = state_equal(s, listed);
    if (!as_listed && s.is && to.is) {
        uint32_t set = s.flags & ~listed.flags, cleared = listed.flags & ~s.flags;
        to.flags = (to.flags | set) & ~cleared;
    }
    list_set(&store->msgs, name, to);
    *suspect = *suspect || !as_listed;
}

static struct state listed_now(const struct merge_item *it, bool lower) {
    if (!(lower ? it->at_a : it->at_b))
        return (struct state){0};
    return from_merge_state(lower ? &it->now_a : &it->now_b);
}

static uint32_t item_name(const struct merge_item *it) {
    return (uint32_t)strtoul(it->name + 1, NULL, 10);
}

static struct state item_state(const struct merge_item *it) {
    return it->present ? from_merge_state(&it->state) : (struct state){0};
}

static void item_trace(const struct merge_item *it) {
    struct state to = item_state(it);
    trace("   merge gives %u: %d cur %d flags %x uid %u (a %d was %d %u uid %u, b %d was %d %u "
          "uid %u)",
          item_name(it), to.is, to.cur, to.flags, to.uid, it->at_a, it->a ? it->a->was : -1,
          it->a ? it->a->old.uid : 0, it->now_a.uid, it->at_b, it->b ? it->b->was : -1,
          it->b ? it->b->old.uid : 0, it->now_b.uid);
}

/* The uidlist is replaced as a whole. */
static void number_apply(struct box *store, const struct merge_result *m) {
    if (store->v != m->validity || store->next < m->next)
        store->next = m->next;
    store->v = m->validity;
}

/* A list of another validity has no records of those that are to go. */
static void drop_records(struct box *store, const struct merge_result *m) {
    for (size_t i = 0; i < m->count; i++) {
        struct state s = list_get(&store->msgs, item_name(&m->items[i]));
        if (s.is && !m->items[i].present) {
            s.uid = 0;
            list_set(&store->msgs, item_name(&m->items[i]), s);
        }
    }
}

/* Cut short, as by a kill: files that come, then the uidlist, then files that go. */
static void result_apply_half(struct node *n, struct box *store, const struct merge_result *m) {
    bool lower = n->index == 0, numbered = chance(50), misfit = false;
    for (size_t i = 0; i < m->count; i++) {
        const struct merge_item *it = &m->items[i];
        struct state to = item_state(it), s = list_get(&store->msgs, item_name(it));
        if (!numbered)
            to.uid = s.uid;
        if (to.is ? numbered || chance(50) : numbered && chance(50)) {
            if (!to.is && s.is)
                node_keep(n, names[item_name(it)].content);
            item_apply(store, item_name(it), listed_now(it, lower), to, &misfit);
        }
    }
    if (numbered && store->v != m->validity)
        drop_records(store, m);
    if (numbered)
        number_apply(store, m);
}

static uint64_t result_apply(struct node *n, struct box *store, struct box *base,
                             const struct merge_result *m, bool *suspect) {
    bool lower = n->index == 0;
    uint64_t h = mix(mix(11, m->validity), m->next);
    for (size_t i = 0; i < m->count; i++) {
        const struct merge_item *it = &m->items[i];
        uint32_t name = item_name(it);
        struct state to = item_state(it);
        item_trace(it);
        if (!to.is && list_get(&store->msgs, name).is)
            node_keep(n, names[name].content);
        item_apply(store, name, listed_now(it, lower), to, suspect);
        list_set(&base->msgs, name, to);
        h = digest_entry(h, name, to);
    }
    number_apply(store, m);
    base->v = m->validity;
    base->next = m->next;
    base->valid = true;
    return h;
}

/* Later than both bases, and than what one of the two alone has carried out. */
static uint64_t merged_version(const struct listing *own, const struct listing *peer) {
    return base_age_of_merge(base_age_higher(own->base_version, own->half_age),
                             base_age_higher(peer->base_version, peer->half_age));
}

/* syncd/half.c: nothing that came by this merge, or that the base would say otherwise. */
static bool is_plain(const struct merge_item *it, bool lower, bool base_valid) {
    const struct merge_entry *mine = lower ? it->a : it->b, *theirs = lower ? it->b : it->a;
    const struct merge_entry *e = mine != NULL ? mine : theirs;
    bool here = lower ? it->at_a : it->at_b, there = lower ? it->at_b : it->at_a;
    bool told = (mine != NULL && mine->half) || (theirs != NULL && theirs->half);
    uint32_t to = item_state(it).flags;
    if (e == NULL)
        return true;
    if (!it->present)
        return !there || (base_valid && mine != NULL && mine->was);
    if (!here || !there)
        return !here && !there;
    return !told && to == listed_now(it, !lower).flags &&
           to == (e->was ? from_merge_state(&e->old) : listed_now(it, lower)).flags;
}

/* Until the other is known to have the same. */
static void halves_keep(struct node *n, const struct listing *own, const struct listing *peer,
                        const struct merge_result *m) {
    struct halves *h = &n->half[own->box];
    bool lower = n->index == 0;
    halves_forget(h);
    h->kept = true;
    h->age = merged_version(own, peer) + 1; /* as it is listed */
    h->with = peer->life;
    h->e = calloc(m->count + 1, sizeof *h->e);
    if (h->e == NULL)
        abort();
    for (size_t i = 0; i < m->count; i++) {
        const struct merge_item *it = &m->items[i];
        if (!is_plain(it, lower, own->base_valid))
            h->e[h->n++] = (struct half){item_name(it), item_state(it), listed_now(it, !lower)};
    }
}

/* ---- one message, two names ---- */

static bool is_added(const struct listed *e, unsigned box) {
    return names[e->name].box == box && e->is.is && !e->was.is &&
           names[e->name].prep.incarnation != 0;
}

static bool is_listed(const struct listing *l, uint32_t name) {
    for (size_t i = 0; i < l->n; i++)
        if (l->e[i].name == name)
            return true;
    return false;
}

/* What was published has been named by its origin, too: that name is the one. */
static void rename_listed(struct side *s, const struct listing *l, size_t at, uint32_t name) {
    snprintf(s->text[at], sizeof s->text[at], "m%08u", name);
    s->entries[at].now = to_merge_state(name, l->e[at].is);
}

static void join_names(struct node *n, struct box *store, struct side *mine,
                       const struct listing *own, struct side *theirs, const struct listing *peer) {
    for (size_t i = 0; i < own->n; i++) {
        for (size_t j = 0; j < peer->n; j++) {
            uint32_t x = own->e[i].name, y = peer->e[j].name;
            if (x == y || !is_added(&own->e[i], own->box) || !is_added(&peer->e[j], own->box) ||
                names[x].prep.seq != names[y].prep.seq ||
                names[x].prep.incarnation != names[y].prep.incarnation || is_listed(own, y) ||
                is_listed(peer, x) || names[x].published == names[y].published)
                continue;
            trace("%s: %u and %u are one message", n->name, x, y);
            if (names[x].published) {
                struct state s = list_get(&store->msgs, x);
                list_set(&store->msgs, x, (struct state){0});
                if (s.is)
                    list_set(&store->msgs, y, s);
                rename_listed(mine, own, i, y);
            } else {
                rename_listed(theirs, peer, j, x);
            }
        }
    }
}

int listing_merge(struct node *n, struct box *base, const struct listing *own,
                  const struct listing *peer, uint8_t digest[REPLICA_DIGEST], bool *suspect) {
    if ((!own->full || !peer->full) && own->base_digest != peer->base_digest)
        return -ESTALE;
    struct box *store = &n->store[own->box];
    struct side mine, theirs;
    struct merge_result *m = NULL;
    side_make(&mine, own);
    side_make(&theirs, peer);
    join_names(n, store, &mine, own, &theirs, peer);
    bool lower = n->index == 0;
    trace("%s: merging bases of age %llx (own) and %llx", n->name,
          (unsigned long long)own->base_version, (unsigned long long)peer->base_version);
    int err =
        merge_mailbox(lower ? &mine.side : &theirs.side, lower ? &theirs.side : &mine.side, 0, &m);
    /* Without a base the node that was being filled gives up its own. */
    if (err == 0 && (own->base_valid || peer->base_valid) && m->validity < own->v)
        fail("C3: UIDVALIDITY goes down from %u to %u", own->v, m->validity);
    if (err == 0 && base == NULL) {
        result_apply_half(n, store, m);
    } else if (err == 0) {
        uint64_t h = result_apply(n, store, base, m, suspect);
        memcpy(digest, &h, sizeof h);
        halves_keep(n, own, peer, m);
        base->version = merged_version(own, peer);
    }
    merge_result_free(m);
    side_free(&mine);
    side_free(&theirs);
    return err;
}
