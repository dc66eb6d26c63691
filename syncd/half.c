/*
 * half: what half of a merge has done, see half.h.
 *
 * No diagnostics of its own.
 */
#include "half.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replica/base_age.h"
#include "stage.h"
#include "state_int.h"

struct half {
    UT_hash_handle hh;
    struct mailfs_id dir;
    uint64_t age, with;
    struct half_msg *msgs;
    struct stage_prep *named; /* published here, and its origin has told its name of it */
    size_t n_named;
};

static void free_one(struct half *h) {
    struct half_msg *m, *tmp;

    if (!h)
        return;
    HASH_ITER(hh, h->msgs, m, tmp) {
        HASH_DEL(h->msgs, m);
        free(m);
    }
    free(h->named);
    free(h);
}

static struct half *find(const struct state *st, const struct mailfs_id *dir) {
    struct half *h;

    HASH_FIND(hh, st->halves, dir, sizeof(*dir), h);
    return h;
}

static bool same_flags(const struct merge_state *x, const struct merge_state *y) {
    return !x->info && !y->info && maildir_set_equal(x->flags, y->flags) &&
           maildir_set_equal(x->keywords, y->keywords);
}

/* Where the peer's letters have to change, it may have been killed with the new table and the old
 * letters: what it has then is no one's doing. */
static bool letters_move(const struct merge_run *m, const struct merge_item *it) {
    static const struct maildir_set none;

    return !maildir_keywords_remap_is_identity(&m->rt) &&
           !(maildir_set_equal(it->state.keywords, none) &&
             maildir_set_equal(it->now_b.keywords, none));
}

/* An earlier half told of it; if this one did not, that would count no more (Listing.half_age). */
static bool was_told(const struct merge_item *it) {
    return (it->a && it->a->half) || (it->b && it->b->half);
}

/* In this node's base, so what becomes of it is told by that. */
static bool in_base(const struct merge_run *m, const struct merge_item *it) {
    return m->mine->base_valid && it->a && it->a->was;
}

/*
 * The base says the same (and so does the peer's listing of it, if this node's leaves it out), or
 * nothing can be said of flags. Where no base says anything, and both had the same already, nothing
 * came to this node by the merge: a mailbox that was copied there beforehand.
 */
static bool is_plain(const struct merge_run *m, const struct merge_item *it) {
    const struct merge_entry *e = it->a ? it->a : it->b;

    if ((it->what & (MERGE_LEFT | MERGE_UNREAD | MERGE_SPLIT)) || !e)
        return true;
    if (!it->present)
        return !it->at_b || in_base(m, it) || it->b->lost;
    if (!it->at_a || !it->at_b)
        return !it->at_a && !it->at_b;
    return !was_told(it) && same_flags(&it->state, &it->now_b) &&
           same_flags(&it->state, e->was ? &e->old : &it->now_a);
}

static int info_of(const char *name, const struct merge_state *s, char out[MAILDIR_NAME_MAX + 1]) {
    int r = merge_name_of(name, s, out);
    const char *colon = out + strlen(name);

    if (r == 0)
        memmove(out, *colon ? colon + 1 : "", *colon ? strlen(colon) : 1);
    return r;
}

static int add(struct half *h, const struct merge_item *it) {
    char mine[MAILDIR_NAME_MAX + 1] = "", theirs[MAILDIR_NAME_MAX + 1] = "";
    size_t n = strlen(it->name) + 1, nm, nt;
    struct half_msg *m;
    int r = it->present ? info_of(it->name, &it->state, mine) : 0;

    if (r == 0 && it->at_b)
        r = info_of(it->name, &it->now_b, theirs);
    if (r < 0)
        return r;
    nm = strlen(mine) + 1;
    nt = strlen(theirs) + 1;
    m = calloc(1, sizeof(*m) + n + nm + nt);
    if (!m)
        return -ENOMEM;
    memcpy(m->name, it->name, n);
    memcpy(m->name + n, mine, nm);
    memcpy(m->name + n + nm, theirs, nt);
    m->mine = it->present ? m->name + n : NULL;
    m->theirs = it->at_b ? m->name + n + nm : NULL;
    m->uid_mine = it->present ? it->state.uid : 0;
    m->uid_theirs = it->at_b ? it->now_b.uid : 0;
    HASH_ADD_KEYPTR(hh, h->msgs, m->name, n - 1, m);
    return 0;
}

static bool same_number(const Mfp__PrepId *x, const Mfp__PrepId *y) {
    return x && y && x->incarnation == y->incarnation && x->seq == y->seq;
}

/* The number by which its origin lists it, under the name it was published with here (a copy has
 * that from the beginning), or under one that is to go here: such second names (merge_published())
 * are what this side has no message of. */
static const Mfp__PrepId *named_by_origin(const struct merge_run *m, const struct merge_item *it) {
    size_t mine = it->a ? (size_t)(it->a - m->em) : m->n_em;
    size_t theirs = it->b ? (size_t)(it->b - m->et) : m->n_et;
    const Mfp__PrepId *id = theirs < m->theirs->n_msgs ? m->theirs->msgs[theirs]->prepared : NULL;

    if (mine < m->mine->n_msgs)
        return !(it->what & (MERGE_LEFT | MERGE_UNREAD | MERGE_SPLIT)) &&
                       same_number(m->mine->msgs[mine]->prepared, id)
                   ? id
                   : NULL;
    return mine < m->n_em ? id : NULL;
}

static int add_named(struct half *h, const struct merge_run *m) {
    size_t i;

    for (i = 0; i < m->result->count; i++) {
        const Mfp__PrepId *id = named_by_origin(m, &m->result->items[i]);
        struct stage_prep *v;
        if (!id)
            continue;
        v = realloc(h->named, (h->n_named + 1) * sizeof(*v));
        if (!v)
            return -ENOMEM;
        h->named = v;
        v[h->n_named++] = (struct stage_prep){id->incarnation, id->seq};
    }
    return 0;
}

/* A peer of a version that lists no life counts one further, as for a transaction: both have to
 * come to the same. */
uint64_t merge_age(const struct merge_run *m) {
    uint64_t a = base_age_higher(m->mine->base_version, m->mine->half_age);
    uint64_t b = base_age_higher(m->theirs->base_version, m->theirs->half_age);
    bool known = m->mine->life != 0 && m->theirs->life != 0;

    return known ? base_age_of_merge(a, b) : base_age_merged(a, b);
}

int half_keep(struct merge_run *m) {
    struct half *h = calloc(1, sizeof(*h));
    size_t i;
    int r = h ? add_named(h, m) : -ENOMEM;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        if (!is_plain(m, &m->result->items[i]) && !letters_move(m, &m->result->items[i]))
            r = add(h, &m->result->items[i]);
    }
    if (r < 0) {
        free_one(h);
        return r;
    }
    h->dir = m->a.dir;
    h->age = merge_age(m) + 1; /* as it is listed, base_version_list() */
    h->with = m->theirs->life;
    half_forget(m->a.st, &h->dir);
    state_lock(m->a.st);
    HASH_ADD(hh, m->a.st->halves, dir, sizeof(h->dir), h);
    state_unlock(m->a.st);
    return 0;
}

void half_forget(struct state *st, const struct mailfs_id *dir) {
    struct half *h;

    state_lock(st);
    h = find(st, dir);
    if (h)
        HASH_DEL(st->halves, h);
    state_unlock(st);
    free_one(h);
}

int half_settled(struct state *st, const struct mailfs_id *dir) {
    const struct half *h;
    size_t i;
    int r = 0;

    state_lock(st);
    h = find(st, dir);
    state_unlock(st);
    for (i = 0; h && r == 0 && i < h->n_named; i++)
        r = stage_unpublish(st, h->named[i].incarnation, h->named[i].seq);
    half_forget(st, dir);
    return r;
}

/* Under the mutex. */
static struct half_msg *msg_of(struct half *h, const char *name) {
    struct half_msg *m = NULL;

    if (h)
        HASH_FIND_STR(h->msgs, name, m);
    return m;
}

void half_forget_msg(struct state *st, const struct mailfs_id *dir, const char *name) {
    struct half_msg *m;
    struct half *h;

    state_lock(st);
    h = find(st, dir);
    m = msg_of(h, name);
    if (m)
        HASH_DEL(h->msgs, m);
    state_unlock(st);
    free(m);
}

void half_free(struct state *st) {
    struct half *h, *tmp;

    HASH_ITER(hh, st->halves, h, tmp) {
        HASH_DEL(st->halves, h);
        free_one(h);
    }
}

const struct half_msg *half_find(struct state *st, const struct mailfs_id *dir, const char *name) {
    struct half_msg *m;

    state_lock(st);
    m = msg_of(find(st, dir), name);
    state_unlock(st);
    return m;
}

int half_each(struct state *st, const struct mailfs_id *dir, int (*fn)(void *arg, const char *name),
              void *arg) {
    struct half_msg *m, *tmp;
    struct half *h;
    int r = 0;

    state_lock(st);
    h = find(st, dir);
    state_unlock(st);
    if (!h)
        return 0;
    HASH_ITER(hh, h->msgs, m, tmp) {
        if (r == 0)
            r = fn(arg, m->name);
    }
    return r;
}

uint64_t half_age(struct state *st, const struct mailfs_id *dir, uint64_t *with) {
    const struct half *h;
    uint64_t age;

    state_lock(st);
    h = find(st, dir);
    age = h ? h->age : 0;
    *with = h ? h->with : 0;
    state_unlock(st);
    return age;
}
