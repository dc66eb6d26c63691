/*
 * The merge of the directory tree, in a world of its own.
 *
 * Two nodes have a tree each, with mail in it, and the base that both agreed on. They make, rename,
 * move and remove directories (a user removes only what is empty or whose mail was known), deliver,
 * and meet now and then. A meeting may be cut off when one of them has the result; a node may come
 * back with an older base and what was in its store then. Checked:
 *
 *   T1  both compute the same, whichever is called a
 *   T2  the result is a tree: no circle, every parent there, no two in one place
 *   T3  nothing with mail in it that a side does not know to be removed is lost: it is there under
 *       its id, or its mail is in the directory that took its place
 *   T4  a directory that one side alone moved is where it was moved to, unless its place was taken
 *   T5  after a merge that both have, another one changes nothing
 *   T6  a UID that was given names one message for ever, also in a folder that was removed and
 * lives
 */
#include "sim.h"

#include "replica/base_age.h"
#include "replica/tree_merge.h"

#include <stdio.h>
#include <string.h>

enum { DIRS = 10, NAMES = 5, ROUNDS = 8, MAILS = 32, VALIDITIES = 160, UIDS = 96 };

struct folder {
    bool is;
    unsigned parent, name;
    uint32_t mail;      /* bits: messages it holds */
    unsigned v, n;      /* UIDVALIDITY, 0: there is no list; the next UID */
    uint8_t uid[MAILS]; /* of those that it holds */
};

struct tree_node {
    struct folder now[DIRS + 1], base[DIRS + 1]; /* by id; 0 is the root */
    uint64_t age;
    bool lacks;
    unsigned top;               /* the last UIDVALIDITY it knows of */
    uint8_t synced[VALIDITIES]; /* next UIDs: a list is on the disk before a UID is shown */
};

static struct tree_node side[NODES];
static uint32_t alive; /* messages that were delivered and that nobody removed knowing them */
static unsigned mails;
static uint8_t named[DIRS + 1][VALIDITIES][UIDS]; /* message number + 1 */
static bool unsure[DIRS + 1]; /* whether the node that gets it had it: forgotten by a power cut, or
                               * joined with another in a merge that the other did not hear of. See
                               * docs/RELIABILITY.md, "What is not covered" */
static const char *const folder_names[NAMES] = {".A", ".B", ".C", ".D", ".E"};

static struct mailfs_id id_of(unsigned i) {
    struct mailfs_id id = {{0}};
    id.b[15] = (uint8_t)i;
    return id;
}

static bool below(const struct tree_node *t, unsigned i, unsigned above) {
    for (unsigned n = 0; i != 0 && n <= DIRS; n++, i = t->now[i].parent)
        if (i == above)
            return true;
    return false;
}

static bool place_taken(const struct tree_node *t, unsigned parent, unsigned name) {
    for (unsigned i = 1; i <= DIRS; i++)
        if (t->now[i].is && t->now[i].parent == parent && t->now[i].name == name)
            return true;
    return false;
}

static bool has_folders(const struct tree_node *t, unsigned i) {
    for (unsigned k = 1; k <= DIRS; k++)
        if (t->now[k].is && t->now[k].parent == i)
            return true;
    return false;
}

/* ---- UIDs ---- */

/* Each node hands out its own. */
static unsigned new_validity(struct tree_node *t, unsigned above) {
    unsigned v = (t->top > above ? t->top : above) + 1;
    if (v % 2 != (unsigned)(t - side))
        v++;
    if (v >= VALIDITIES)
        fail("no UIDVALIDITY is left");
    return t->top = v < VALIDITIES ? v : VALIDITIES - 1;
}

static void show(unsigned i, const struct folder *f, unsigned mail) {
    if (f->uid[mail] >= UIDS) {
        fail("no UID is left");
        return;
    }
    uint8_t *was = &named[i][f->v][f->uid[mail]];
    if (*was != 0 && *was != mail + 1 && !unsure[i])
        fail("T6: UID %u of %u named message %u, and now %u", f->uid[mail], i, *was - 1u, mail);
    *was = (uint8_t)(mail + 1);
}

static bool holds(const struct folder *f, unsigned mail) {
    return (f->mail >> mail & 1) != 0;
}

/* Nodes that are apart leave gaps which never meet. `of`: who numbers, bits. */
static void number(struct folder *f, unsigned mail, unsigned of) {
    if (of == 1 || of == 2)
        f->n += f->n % 2 != of / 2;
    f->uid[mail] = (uint8_t)f->n++;
}

static void deliver(struct tree_node *t, struct folder *f, unsigned mail) {
    unsigned node = (unsigned)(t - side);
    f->mail |= UINT32_C(1) << mail;
    if (f->v == 0) {
        f->v = new_validity(t, 0);
        f->n = 1;
    }
    number(f, mail, 1u << node);
    t->synced[f->v] = (uint8_t)f->n;
    show((unsigned)(f - t->now), f, mail);
}

/* M4 of lib/replica/merge_number.c. */
static uint8_t kept_uid(const struct folder *const *lists, size_t n, unsigned v, unsigned mail) {
    for (size_t i = 0; i < n; i++) {
        const struct folder *f = lists[i];
        bool keep = f->v == v && holds(f, mail);
        for (size_t j = 0; keep && j < n; j++)
            keep = lists[j]->v != v || f->uid[mail] >= lists[j]->n ||
                   (holds(lists[j], mail) && lists[j]->uid[mail] == f->uid[mail]);
        if (keep)
            return f->uid[mail];
    }
    return 0;
}

/* The lists that become one: the higher UIDVALIDITY, and above all that was given under it. */
static void join_lists(const struct folder *const *lists, size_t n, unsigned of,
                       struct folder *to) {
    for (size_t i = 0; i < n; i++)
        to->v = lists[i]->v > to->v ? lists[i]->v : to->v;
    for (size_t i = 0; i < n; i++)
        if (lists[i]->v == to->v && lists[i]->n > to->n)
            to->n = lists[i]->n;
    for (unsigned m = 0; m < MAILS; m++)
        if (holds(to, m) && (to->uid[m] = kept_uid(lists, n, to->v, m)) == 0)
            number(to, m, of);
}

/* ---- what users do ---- */

/* Ids are made by one node only: odd ones by a. */
static void make_folder(unsigned node, unsigned i, unsigned parent, unsigned name) {
    struct tree_node *t = &side[node];
    if (i % 2 != node && !t->base[i].is && !side[1 - node].now[i].is &&
        !place_taken(t, parent, name))
        t->now[i] = (struct folder){.is = true, .parent = parent, .name = name};
}

static void remove_folder(unsigned node, unsigned i) {
    struct tree_node *t = &side[node];
    /* A node that has lost mail in a power cut does not know what it removes: see
     * docs/RELIABILITY.md, "What is not covered". */
    if (has_folders(t, i) || t->lacks)
        return;
    alive &= ~t->now[i].mail;
    t->now[i] = (struct folder){0};
}

static void act(unsigned node) {
    struct tree_node *t = &side[node];
    unsigned i = 1 + (unsigned)rnd(DIRS), parent = (unsigned)rnd(DIRS + 1);
    unsigned name = (unsigned)rnd(NAMES);
    if (parent != 0 && !t->now[parent].is)
        parent = 0;
    if (!t->now[i].is) {
        make_folder(node, i, parent, name);
        return;
    }
    switch (rnd(4)) {
    case 0:
        remove_folder(node, i);
        break;
    case 1:
    case 2:
        if (!below(t, parent, i) && !place_taken(t, parent, name)) {
            t->now[i].parent = parent;
            t->now[i].name = name;
        }
        break;
    default:
        if (mails < MAILS) {
            alive |= UINT32_C(1) << mails;
            deliver(t, &t->now[i], mails++);
        }
    }
}

/* ---- merging ---- */

static struct tree_place place_of(const struct folder *f) {
    return (struct tree_place){id_of(f->parent), folder_names[f->name]};
}

static void list(const struct tree_node *t, struct tree_entry *e, struct tree_side *s) {
    size_t n = 0;
    for (unsigned i = 1; i <= DIRS; i++) {
        if (!t->now[i].is && !t->base[i].is)
            continue;
        e[n++] = (struct tree_entry){.id = id_of(i),
                                     .was = t->base[i].is,
                                     .is = t->now[i].is,
                                     .old = place_of(&t->base[i]),
                                     .now = place_of(&t->now[i]),
                                     .changed_inside = t->now[i].mail != t->base[i].mail};
    }
    *s = (struct tree_side){.base_valid = true,
                            .full = true,
                            .base_version = (t->age + 1) | (t->lacks ? BASE_AGE_LACKS : 0),
                            .entries = e,
                            .count = n};
}

static unsigned number_of(const struct mailfs_id *id) {
    return id->b[15];
}

static unsigned name_number(const char *name) {
    unsigned i = 0;
    while (i < NAMES - 1 && strcmp(folder_names[i], name) != 0)
        i++;
    return i;
}

static bool equal_place(const struct tree_place *x, const struct tree_place *y) {
    return mailfs_id_equal(&x->parent, &y->parent) && strcmp(x->name, y->name) == 0;
}

static void check_shape(const struct tree_result *r) {
    for (size_t i = 0; i < r->count; i++) {
        const struct tree_item *it = &r->items[i], *p = it;
        unsigned depth = 0;
        if (!it->present)
            continue;
        while (p != NULL && !mailfs_id_is_root(&p->place.parent) && depth++ <= DIRS) {
            p = tree_result_find(r, &p->place.parent);
            if (p == NULL || !p->present)
                fail("T2: %u lies in what is not there", number_of(&it->id));
        }
        if (depth > DIRS)
            fail("T2: %u lies below itself", number_of(&it->id));
        for (size_t j = 0; j < i; j++)
            if (r->items[j].present && equal_place(&r->items[j].place, &it->place))
                fail("T2: %u and %u in one place", number_of(&it->id), number_of(&r->items[j].id));
    }
}

static void check_same(const struct tree_result *r, const struct tree_result *s) {
    if (r->count != s->count)
        fail("T1: %zu directories, and %zu", r->count, s->count);
    for (size_t i = 0; i < r->count && i < s->count; i++) {
        const struct tree_item *x = &r->items[i], *y = &s->items[i];
        if (x->present != y->present || x->aliased != y->aliased ||
            (x->present && !equal_place(&x->place, &y->place)) ||
            (x->aliased && !mailfs_id_equal(&x->alias_of, &y->alias_of)))
            fail("T1: %u is not the same from both sides", number_of(&x->id));
    }
}

static void check_moves(const struct tree_result *r) {
    for (size_t k = 0; k < r->count; k++) {
        const struct tree_item *it = &r->items[k];
        unsigned i = number_of(&it->id);
        const struct folder *a = &side[0].now[i], *b = &side[1].now[i], *base = &side[0].base[i];
        bool same_base = base->is && side[1].base[i].is && base->parent == side[1].base[i].parent &&
                         base->name == side[1].base[i].name;
        bool plain = it->present && (it->what & (TREE_CONFLICT | TREE_UNDONE)) == 0;
        if (!plain || !same_base || !a->is || !b->is)
            continue;
        bool moved_b = b->parent != base->parent || b->name != base->name;
        struct tree_place want = place_of(moved_b ? b : a);
        if (strcmp(it->place.name, want.name) != 0)
            fail("T4: %u is called %s, not %s", i, it->place.name, want.name);
    }
}

/* Lists that begin at a node, in folders that it had removed and gets again. */
static struct folder begun[NODES][DIRS + 1];

static void begin_lists(const struct tree_result *r) {
    memset(begun, 0, sizeof begun);
    for (size_t k = 0; k < r->count; k++) {
        const struct tree_item *it = &r->items[k];
        unsigned i = number_of(&it->id);
        for (unsigned node = 0; node < NODES && it->present; node++) {
            struct tree_node *t = &side[node];
            if (node == 0 ? it->anew_a : it->anew_b)
                begun[node][i] = (struct folder){.v = new_validity(t, t->base[i].v), .n = 1};
            else if (!t->now[i].is && !t->base[i].is &&
                     (side[0].lacks || side[1].lacks || side[1 - node].base[i].is))
                unsure[i] = true;
        }
    }
}

/* The UIDs of a result's folder, from the lists of these nodes (bits). */
static void number_result(const struct tree_result *r, unsigned of, unsigned to,
                          struct folder *out) {
    const struct folder *lists[NODES * DIRS];
    size_t n = 0;
    for (size_t k = 0; k < r->count; k++) {
        const struct tree_item *it = &r->items[k];
        unsigned i = number_of(&it->id);
        if (!(it->present && i == to) && !(it->aliased && number_of(&it->alias_of) == to))
            continue;
        for (unsigned node = 0; node < NODES; node++) {
            const struct folder *f = &side[node].now[i];
            if (of & (1u << node))
                lists[n++] = f->is ? f : &begun[node][i];
        }
    }
    join_lists(lists, n, of, out);
}

/* The result, with the mail of these nodes (bits); an alias's mail goes to what took its place. */
static void result_into(const struct tree_result *r, unsigned of, struct folder out[DIRS + 1]) {
    memset(out, 0, sizeof *out * (DIRS + 1));
    for (size_t k = 0; k < r->count; k++) {
        const struct tree_item *it = &r->items[k];
        unsigned i = number_of(&it->id);
        unsigned to = it->aliased ? number_of(&it->alias_of) : i;
        if (it->present) {
            out[i].is = true;
            out[i].parent = number_of(&it->place.parent);
            out[i].name = name_number(it->place.name);
        }
        if (it->present || it->aliased)
            for (unsigned k2 = 0; k2 < NODES; k2++)
                out[to].mail |= of & (1u << k2) ? side[k2].now[i].mail : 0;
    }
    for (unsigned i = 1; i <= DIRS; i++)
        if (out[i].is)
            number_result(r, of, i, &out[i]);
}

static void check_mail(const struct folder out[DIRS + 1]) {
    uint32_t there = 0;
    for (unsigned i = 1; i <= DIRS; i++)
        if (out[i].is)
            there |= out[i].mail;
    if ((alive & ~there) != 0)
        fail("T3: mail is lost with its directory: %x", alive & ~there);
}

static struct tree_result *merge(unsigned first) {
    static struct tree_entry e[NODES][DIRS];
    struct tree_side s[NODES];
    struct tree_result *r = NULL;
    list(&side[0], e[0], &s[0]);
    list(&side[1], e[1], &s[1]);
    int err = tree_merge(&s[first], &s[1 - first], &r);
    if (err != 0)
        fail("T1: merge: %d", err);
    return r;
}

/* Mailboxes merge after the tree, and what they hold is agreed on when both have it. */
static void take(unsigned node, const struct tree_result *r, const struct folder out[DIRS + 1],
                 uint64_t age, bool mail) {
    struct tree_node *t = &side[node];
    for (unsigned i = 1; i <= DIRS; i++) {
        uint32_t agreed = mail ? out[i].mail : t->base[i].mail;
        t->now[i] = out[i];
        struct mailfs_id id = id_of(i);
        const struct tree_item *it = tree_result_find(r, &id);
        if (!mail && it != NULL && !it->present && !it->aliased)
            continue; /* gone, and the other does not know it yet: syncd/base_gone.c */
        t->base[i] = out[i];
        t->base[i].mail = out[i].is ? agreed : 0;
        t->synced[out[i].v] = (uint8_t)out[i].n;
        for (unsigned m = 0; m < MAILS; m++)
            if (out[i].is && holds(&out[i], m))
                show(i, &out[i], m);
    }
    t->age = age;
    t->lacks = false;
}

static void settle_again(void) {
    struct tree_result *r = merge(0);
    if (r != NULL && r->stats.made + r->stats.moved + r->stats.removed + r->stats.aliased > 0)
        fail("T5: merged again, something changes");
    tree_result_free(r);
}

static bool left_out(enum fault f) {
    return (options.without & 1u << f) != 0;
}

/* Both compute; each takes the result unless the link or the node ends before. */
static void meet(void) {
    struct folder out[DIRS + 1];
    uint64_t age = base_age_merged(side[0].age, side[1].age);
    struct tree_result *r = merge(0), *s = merge(1);
    if (r == NULL || s == NULL)
        return;
    check_same(r, s);
    check_shape(r);
    check_moves(r);
    begin_lists(r);
    result_into(r, 3, out);
    check_mail(out);
    unsigned cut = (unsigned)rnd(6); /* 0, 1: that node does not get so far */
    if (left_out(F_CUT))
        cut = NODES;
    struct folder both[NODES][DIRS + 1];
    for (unsigned i = 0; i < NODES; i++)
        result_into(r, cut >= NODES ? 3 : 1u << i, both[i]);
    for (unsigned i = 0; i < NODES; i++)
        if (i != cut)
            take(i, r, both[i], age, cut >= NODES);
    tree_result_free(r);
    tree_result_free(s);
    if (cut >= NODES)
        side[0].top = side[1].top = side[0].top > side[1].top ? side[0].top : side[1].top;
    trace("met, and cut at %u", cut);
    if (cut >= NODES && world.failed == NULL)
        settle_again();
}

/* What it did since the last meeting is gone; what it was told then is not: that was synced. */
static void power_cut(unsigned node, const struct tree_node *old) {
    struct tree_node cut = side[node];
    for (unsigned i = 1; i <= DIRS; i++)
        alive &= ~(cut.now[i].mail & ~old->now[i].mail);
    side[node] = *old;
    side[node].lacks = true;
    side[node].top = cut.top;
    memcpy(side[node].synced, cut.synced, sizeof cut.synced);
    for (unsigned i = 1; i <= DIRS; i++)
        side[node].now[i].n = cut.synced[old->now[i].v];
    trace("%c: POWER CUT", 'a' + (int)node);
}

/* No checkpoint since the meeting: the base is what it was before. */
static void forget(unsigned node, const struct tree_node *old) {
    memcpy(side[node].base, old->base, sizeof old->base);
    side[node].age = old->age;
    side[node].lacks = true;
    trace("%c: syncd killed", 'a' + (int)node);
}

static void show_all(void) {
    for (unsigned k = 0; k < NODES; k++)
        for (unsigned i = 1; i <= DIRS; i++)
            if (side[k].now[i].is || side[k].base[i].is)
                trace("%c: %u was %d (%u, %u, %x) is %d (%u, %u, %x)", 'a' + (int)k, i,
                      side[k].base[i].is, side[k].base[i].parent, side[k].base[i].name,
                      side[k].base[i].mail, side[k].now[i].is, side[k].now[i].parent,
                      side[k].now[i].name, side[k].now[i].mail);
}

/* A step is a round: both do something, and meet. */
static bool run(uint64_t seed, uint64_t rounds) {
    struct tree_node old[NODES];
    memset(&world, 0, sizeof world);
    world.trace = options.trace;
    memset(side, 0, sizeof side);
    memset(named, 0, sizeof named);
    memset(unsure, 0, sizeof unsure);
    world.rng = seed * 7919u + 3;
    alive = 0;
    mails = 0;
    for (unsigned round = 0; round < ROUNDS && round < rounds && world.failed == NULL; round++) {
        memcpy(old, side, sizeof old);
        for (unsigned node = 0; node < NODES; node++)
            for (uint64_t n = rnd(12); n > 0; n--)
                act(node);
        world.steps++;
        show_all();
        unsigned node = (unsigned)rnd(NODES);
        if (chance(15) && !left_out(F_POWER))
            power_cut(node, &old[node]);
        meet();
        if (chance(15) && !left_out(F_SYNCD))
            forget(node, &old[node]);
    }
    return world.failed == NULL;
}

const struct sort sort_trees = {
    .name = "trees",
    .option = "tree",
    .group = 20000,
    .run = run,
    .faults = 1u << F_CUT | 1u << F_POWER | 1u << F_SYNCD,
};
