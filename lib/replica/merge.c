/*
 * merge.c: the three-way merge of a mailbox
 *
 * Puts the two listings beside each other by name, has each message decided (merge_decide.c) and
 * then all of them numbered (merge_number.c). The invariants M1 to M7 stand in those two files.
 *
 * Diagnostics: -EINVAL for listings that contradict themselves; they come from the peer and are not
 * to be believed.
 */
#include "replica/merge.h"

#include "maildir/name.h"
#include "maildir/pool.h"
#include "maildir/uidlist.h"
#include "replica/merge_priv.h"
#include "replica/positions.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    struct maildir_pool pool; /* names of the second halves of splits */
    struct merge_slot *slots;
};

static int compare_names(const void *x, const void *y) {
    const struct merge_entry *e = x, *f = y;

    return strcmp(e->base, f->base);
}

static bool uids_possible(const struct merge_entry *e) {
    return (!e->is || e->now.uid <= MAILDIR_UID_MAX) && (!e->was || e->old.uid <= MAILDIR_UID_MAX);
}

/* The positions of a side's entries by name; -EINVAL for a name that is there twice. */
static int sort_side(const struct merge_side *s, size_t **out) {
    if (!s->full && !s->base_valid)
        return -EINVAL;
    for (size_t i = 0; i < s->count; i++)
        if (!uids_possible(&s->entries[i]))
            return -EINVAL;
    return positions_sort(s->entries, s->count, sizeof *s->entries, compare_names, out);
}

static void start_view(const struct merge_side *s, struct merge_view *v) {
    memset(v, 0, sizeof *v);
    v->side = s;
    v->v_now = s->validity;
    v->v_old = s->base_validity ? s->base_validity : s->validity;
}

/* Does it count? The other one has to take it for the same. */
static bool is_half(const struct merge_side *s, const struct merge_entry *own,
                    const struct merge_side *o) {
    bool known = (s->life != 0 && o->life != 0) || (own->half_here && own->half_there);

    return own->half && known && s->half_age >= o->half_age && !MUTANT(MUTANT_FORGET_HALF);
}

/* What a side s knows of a message: by its own entry, or, where its listing leaves out what is as
 * in the common base, by what the other, o, says of that base (in `any`, an entry that there is).
 */
static void make_view(const struct merge_side *s, const struct merge_entry *own,
                      const struct merge_side *o, const struct merge_entry *any,
                      struct merge_view *v) {
    start_view(s, v);
    if (own) {
        v->was = own->was && s->base_valid;
        v->is = own->is;
        v->borrowed = own->borrowed;
        v->half = is_half(s, own, o);
        v->put_back = own->put_back;
        v->lost = own->lost;
        v->unread = own->unread;
        v->half_here = own->half_here;
        v->half_there = own->half_there;
        v->half_mine = own->half_mine;
        v->half_theirs = own->half_theirs;
        if (v->was)
            v->old = own->old;
        if (v->is)
            v->now = own->now;
    } else if (!s->full && any->was && o->base_valid) {
        v->was = v->is = true;
        v->old = v->now = any->old;
    }
}

static void join_sides(const struct merge_side *a, const size_t *pa, const struct merge_side *b,
                       const size_t *pb, struct merge_result *r, struct merge_slot *slots) {
    size_t i = 0, j = 0;

    for (;;) {
        const struct merge_entry *ea = i < a->count ? &a->entries[pa[i]] : NULL;
        const struct merge_entry *eb = j < b->count ? &b->entries[pb[j]] : NULL;
        int c = !ea ? 1 : !eb ? -1 : strcmp(ea->base, eb->base);
        const struct merge_entry *any = c <= 0 ? ea : eb;
        struct merge_item *item = &r->items[r->count];
        struct merge_view va, vb;

        if (!any)
            return;
        item->name = any->base;
        item->a = c <= 0 ? ea : NULL;
        item->b = c >= 0 ? eb : NULL;
        make_view(a, item->a, b, any, &va);
        make_view(b, item->b, a, any, &vb);
        merge_decide(&va, &vb, item, &slots[r->count++]);
        i += c <= 0;
        j += c >= 0;
    }
}

static int compare_items(const void *x, const void *y) {
    const struct merge_item *a = x, *b = y;

    return strcmp(a->name, b->name);
}

const struct merge_item *merge_result_find(const struct merge_result *r, const char *base) {
    struct merge_item key = {.name = base};

    if (r->count == 0)
        return NULL;
    return bsearch(&key, r->items, r->count, sizeof *r->items, compare_items);
}

/* FNV-1a. */
static uint64_t hash_name(const char *name) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

/* "1700.M1.host,S=5" -> "1700.M1.host.mf0123456789abcdef,S=5". A long one is cut, and says what it
 * was cut from. */
void merge_split_name(const char *name, uint64_t content, char buf[MAILDIR_NAME_MAX + 1]) {
    char mark[2 * (3 + 16) + 1];
    size_t len = strlen(name), head = strcspn(name, ","), tail = len - head, extra;

    if (tail > 100) {
        tail = 0;
        head = len;
    }
    snprintf(mark, sizeof mark, ".mf%016" PRIx64, content);
    if (head + strlen(mark) + tail > MERGE_SPLIT_MAX)
        snprintf(mark, sizeof mark, ".mf%016" PRIx64 ".%016" PRIx64, content, hash_name(name));
    extra = strlen(mark) + tail;
    if (head + extra > MERGE_SPLIT_MAX)
        head = MERGE_SPLIT_MAX - extra;
    snprintf(buf, MAILDIR_NAME_MAX + 1, "%.*s%s%.*s", (int)head, name, mark, (int)tail,
             name + len - tail);
}

/* It goes to both sides, or stays where it is. */
static void half_goes(const struct merge_item *it, bool from_a, struct merge_item *half) {
    const struct merge_entry *e = from_a ? it->a : it->b;

    half->what = MERGE_SPLIT | MERGE_ADDED;
    if (!e || !e->unread)
        return;
    half->what = MERGE_SPLIT | MERGE_UNREAD;
    half->at_a = from_a;
    half->at_b = !from_a;
    *(from_a ? &half->now_a : &half->now_b) = half->state;
}

/* The message that loses its name: it is at one side only. */
static int add_half(const struct merge_item *it, const struct merge_slot *slot,
                    struct merge_result *r, struct memory *mem, size_t at) {
    bool from_a = it->content == 'b';
    struct merge_item *half = &r->items[at];
    char name[MAILDIR_NAME_MAX + 1];

    memset(half, 0, sizeof *half);
    half->state = from_a ? it->now_a : it->now_b;
    merge_split_name(it->name, half->state.content, name);
    half->name = maildir_pool_strndup(&mem->pool, name, strlen(name));
    if (!half->name)
        return -ENOMEM;
    if (half->state.info && strlen(name) + 1 + strlen(half->state.info) > MAILDIR_NAME_MAX)
        half->state.info = NULL; /* nobody understands it */
    half->split_from = it->name;
    half->present = true;
    half->content = from_a ? 'a' : 'b';
    half_goes(it, from_a, half);
    mem->slots[at] = *slot;
    mem->slots[at].renumber = true;
    mem->slots[at].from_a = mem->slots[at].from_b = false;
    mem->slots[at].old_uid = half->state.uid;
    half->state.uid = 0;
    return 0;
}

struct pair {
    struct merge_item item;
    struct merge_slot slot;
};

static int compare_pairs(const void *x, const void *y) {
    const struct pair *a = x, *b = y;

    return strcmp(a->item.name, b->item.name);
}

/* Items and slots, which lie side by side, into the order of names. */
static int resort(struct merge_result *r, struct merge_slot *slots) {
    struct pair *p = calloc(r->count, sizeof *p);
    size_t i;

    if (!p)
        return -ENOMEM;
    for (i = 0; i < r->count; i++)
        p[i] = (struct pair){r->items[i], slots[i]};
    qsort(p, r->count, sizeof *p, compare_pairs);
    for (i = 0; i < r->count; i++) {
        r->items[i] = p[i].item;
        slots[i] = p[i].slot;
    }
    free(p);
    return 0;
}

static int split_items(struct merge_result *r, struct memory *mem) {
    size_t i, n = r->count, at = r->count;

    for (i = 0; i < n; i++) {
        int err;

        if (!(r->items[i].what & MERGE_SPLIT))
            continue;
        err = add_half(&r->items[i], &mem->slots[i], r, mem, at);
        if (err)
            return err;
        /* a merge broken off half-way has left this name on a side: it is that message */
        if (!merge_result_find(r, r->items[at].name))
            at++;
    }
    if (at == n)
        return 0;
    r->count = at;
    return resort(r, mem->slots);
}

static void count_side(bool at, const struct merge_state *now, const struct merge_item *it,
                       size_t *added, size_t *removed, size_t *changed) {
    *added += it->present && !at;
    *removed += !it->present && at;
    *changed += it->present && at && !merge_state_equal(now, &it->state);
}

static void count_stats(struct merge_result *r) {
    struct merge_stats *s = &r->stats;
    size_t i;

    for (i = 0; i < r->count; i++) {
        const struct merge_item *it = &r->items[i];

        if (it->what & MERGE_LEFT)
            continue;
        if (it->at_a || !(it->what & MERGE_UNREAD))
            count_side(it->at_a, &it->now_a, it, &s->added_a, &s->removed_a, &s->changed_a);
        if (it->at_b || !(it->what & MERGE_UNREAD))
            count_side(it->at_b, &it->now_b, it, &s->added_b, &s->removed_b, &s->changed_b);
        s->conflicts += (it->what & MERGE_CONFLICT) != 0;
        s->renumbered += (it->what & MERGE_RENUMBERED) != 0;
        s->split += it->split_from != NULL;
    }
}

static int merge_sorted(const struct merge_side *a, const size_t *pa, const struct merge_side *b,
                        const size_t *pb, uint32_t gap, struct merge_result *r) {
    struct memory *mem = r->memory;
    size_t most = a->count + b->count + (a->count < b->count ? a->count : b->count) + 1;
    int err;

    r->items = calloc(most, sizeof *r->items); /* each pair of a name may become two */
    mem->slots = calloc(most, sizeof *mem->slots);
    if (!r->items || !mem->slots)
        return -ENOMEM;
    join_sides(a, pa, b, pb, r, mem->slots);
    err = split_items(r, mem);
    if (!err)
        err = merge_number(a, b, gap, r, mem->slots);
    free(mem->slots);
    mem->slots = NULL;
    if (!err)
        count_stats(r);
    return err;
}

int merge_mailbox(const struct merge_side *a, const struct merge_side *b, uint32_t gap,
                  struct merge_result **out) {
    size_t *pa = NULL, *pb = NULL;
    struct merge_result *r = calloc(1, sizeof *r);
    int err;

    *out = NULL;
    if (r)
        r->memory = calloc(1, sizeof(struct memory));
    err = r && r->memory ? sort_side(a, &pa) : -ENOMEM;
    if (!err)
        err = sort_side(b, &pb);
    if (!err)
        err = merge_sorted(a, pa, b, pb, gap, r);
    free(pa);
    free(pb);
    if (err)
        merge_result_free(r);
    else
        *out = r;
    return err;
}

void merge_result_free(struct merge_result *r) {
    struct memory *mem;

    if (!r)
        return;
    mem = r->memory;
    if (mem) {
        maildir_pool_free(&mem->pool);
        free(mem->slots);
        free(mem);
    }
    free(r->items);
    free(r);
}
