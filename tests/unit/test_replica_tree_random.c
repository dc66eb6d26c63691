/*
 * The merge of the directory tree at random: two copies of one tree go apart by random acts and are
 * merged, and the result must be a tree, the same both ways, that merging again leaves alone and
 * that keeps what nobody removed. A failure prints its seed; TREE_SEED=n runs it alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/tree_merge.h"
#include "tree_lines.h"

#define DIRS  8
#define NAMES 5
#define RUNS  20000

static const char *const names[NAMES] = {"A", "B", "C", "D", "E"};
static uint64_t rng;
static unsigned seed;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("seed %u: %s", seed, #cond);                                                  \
    } while (0)

static unsigned rnd(unsigned n) {
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

struct dir {
    bool is;
    int parent; /* id; 0: root */
    int name;
    bool inside;
};

struct tree {
    struct dir now[DIRS + 1], base[DIRS + 1]; /* by id, 1..DIRS */
};

static bool below(const struct tree *t, int id, int above) {
    int guard;

    for (guard = 0; id && guard <= DIRS; guard++, id = t->now[id].parent)
        if (id == above)
            return true;
    return false;
}

static bool taken(const struct tree *t, int parent, int name) {
    int i;

    for (i = 1; i <= DIRS; i++)
        if (t->now[i].is && t->now[i].parent == parent && t->now[i].name == name)
            return true;
    return false;
}

static bool has_children(const struct tree *t, int id) {
    int i;

    for (i = 1; i <= DIRS; i++)
        if (t->now[i].is && t->now[i].parent == id)
            return true;
    return false;
}

/* Ids from..to are for this side to make, so that two sides never make one id. */
static void act(struct tree *t, int from, int to) {
    int id = 1 + (int)rnd(DIRS), parent = (int)rnd(DIRS + 1), name = (int)rnd(NAMES);

    if (parent && !t->now[parent].is)
        parent = 0;
    if (!t->now[id].is) {
        if (id >= from && id <= to && !t->base[id].is && !taken(t, parent, name))
            t->now[id] = (struct dir){.is = true, .parent = parent, .name = name};
        return;
    }
    switch (rnd(3)) {
    case 0:
        if (!has_children(t, id))
            t->now[id].is = false;
        break;
    case 1:
        if (!below(t, parent, id) && !taken(t, parent, name)) {
            t->now[id].parent = parent;
            t->now[id].name = name;
        }
        break;
    default:
        t->now[id].inside = true;
    }
}

static struct tree_place place(const struct dir *d) {
    return (struct tree_place){tree_id(d->parent), names[d->name]};
}

static void list(const struct tree *t, struct tree_entry *e, struct tree_side *s) {
    size_t n = 0;
    int i;

    for (i = 1; i <= DIRS; i++) {
        if (!t->now[i].is && !t->base[i].is)
            continue;
        e[n++] = (struct tree_entry){.id = tree_id(i),
                                     .was = t->base[i].is,
                                     .is = t->now[i].is,
                                     .old = place(&t->base[i]),
                                     .now = place(&t->now[i]),
                                     .changed_inside = t->now[i].inside};
    }
    *s = (struct tree_side){.base_valid = true, .full = true, .entries = e, .count = n};
}

static struct tree_result *merge(const struct tree *a, const struct tree *b) {
    struct tree_entry ea[DIRS], eb[DIRS];
    struct tree_side sa, sb;
    struct tree_result *r;
    size_t i;

    list(a, ea, &sa);
    list(b, eb, &sb);
    CHECK(tree_merge(&sa, &sb, &r) == 0);
    for (i = 0; i < r->count; i++) /* the listings are gone when we return */
        r->items[i].a = r->items[i].b = NULL;
    return r;
}

/* One that goes comes before the one it lies in, when those that go are taken by depth. */
static void assert_emptied_first(const struct tree_result *r, const struct tree_item *it) {
    const struct tree_place *at = it->at_a ? &it->now_a : &it->now_b;
    const struct tree_item *p;

    if (it->at_a == it->at_b || it->depth > r->count) /* or in a circle, as it was listed */
        return;
    p = tree_result_find(r, &at->parent);
    if (p && !p->present && p->at_a == it->at_a && p->at_b == it->at_b)
        CHECK(p->depth < it->depth);
}

static void assert_is_tree(const struct tree_result *r) {
    size_t i, j;

    for (i = 0; i < r->count; i++) {
        const struct tree_item *it = &r->items[i], *p = it;
        unsigned depth = 1;

        CHECK(!(it->present && it->aliased));
        if (it->aliased)
            CHECK(tree_result_find(r, &it->alias_of)->present);
        if (!it->present) {
            assert_emptied_first(r, it);
            continue;
        }
        while (!mailfs_id_is_root(&p->place.parent)) {
            p = tree_result_find(r, &p->place.parent);
            CHECK(p && p->present && depth <= DIRS);
            depth++;
        }
        CHECK(it->depth == depth);
        for (j = 0; j < i; j++)
            CHECK(!r->items[j].present || strcmp(r->items[j].place.name, it->place.name) != 0 ||
                  !mailfs_id_equal(&r->items[j].place.parent, &it->place.parent));
    }
}

static void assert_same(const struct tree_result *r, const struct tree_result *s) {
    size_t i;

    CHECK(r->count == s->count);
    for (i = 0; i < r->count; i++) {
        const struct tree_item *x = &r->items[i], *y = &s->items[i];

        CHECK(mailfs_id_equal(&x->id, &y->id) && x->present == y->present);
        CHECK(x->aliased == y->aliased && x->what == y->what && x->depth == y->depth);
        CHECK(!x->aliased || mailfs_id_equal(&x->alias_of, &y->alias_of));
        CHECK(!x->present || (mailfs_id_equal(&x->place.parent, &y->place.parent) &&
                              strcmp(x->place.name, y->place.name) == 0));
    }
}

/* What was there or made stays, unless a side removed it and nothing was done to it. */
static void assert_kept(const struct tree *a, const struct tree *b, const struct tree_result *r) {
    int i;

    for (i = 1; i <= DIRS; i++) {
        struct mailfs_id id = tree_id(i);
        const struct tree_item *it = tree_result_find(r, &id);
        bool here = it && (it->present || it->aliased);
        bool both = a->now[i].is && b->now[i].is;
        bool made = (a->now[i].is || b->now[i].is) && !a->base[i].is;
        bool inside = (a->now[i].is && a->now[i].inside) || (b->now[i].is && b->now[i].inside);

        CHECK(here || !(both || made || inside));
        if (it && it->present && it->what == 0 && both) {
            struct tree_place p = place(&a->now[i]);

            CHECK(strcmp(p.name, it->place.name) == 0);
        }
    }
}

static int name_index(const char *name) {
    int i;

    for (i = 0; i < NAMES && strcmp(names[i], name) != 0; i++)
        ;
    return i;
}

static void apply(const struct tree_result *r, struct tree *t) {
    size_t i;

    memset(t, 0, sizeof *t);
    for (i = 0; i < r->count; i++) {
        const struct tree_item *it = &r->items[i];

        if (it->present)
            t->now[it->id.b[15]] = (struct dir){
                .is = true, .parent = it->place.parent.b[15], .name = name_index(it->place.name)};
    }
    memcpy(t->base, t->now, sizeof t->base);
}

static void one_round(struct tree *a, struct tree *b) {
    struct tree_result *r, *s;
    unsigned n;

    for (n = rnd(10); n; n--)
        act(a, 1, DIRS / 2);
    for (n = rnd(10); n; n--)
        act(b, DIRS / 2 + 1, DIRS);
    r = merge(a, b);
    s = merge(b, a);
    assert_same(r, s);
    tree_result_free(s);
    assert_is_tree(r);
    assert_kept(a, b, r);
    apply(r, a);
    apply(r, b);
    s = merge(a, b);
    CHECK(s->stats.made + s->stats.moved + s->stats.removed + s->stats.aliased == 0);
    tree_result_free(s);
    tree_result_free(r);
}

static void test_random(void **state) {
    const char *only = getenv("TREE_SEED");
    unsigned from = only ? (unsigned)atoi(only) : 1, to = only ? from : RUNS;

    for (seed = from; seed <= to; seed++) {
        struct tree a, b;
        int i;

        rng = seed * 7919u + 1;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        for (i = 0; i < 4; i++)
            one_round(&a, &b);
    }
}

/* Whatever two peers say, the result is a tree, and the same both ways. */
static void test_nonsense(void **state) {
    const char *only = getenv("TREE_SEED");
    unsigned from = only ? (unsigned)atoi(only) : 1, to = only ? from : RUNS;

    for (seed = from; seed <= to; seed++) {
        struct tree t[2];
        struct tree_result *r, *s;
        int i, k;

        rng = seed * 104729u + 5;
        memset(t, 0, sizeof t);
        for (k = 0; k < 2; k++)
            for (i = 1; i <= DIRS; i++) {
                t[k].now[i] =
                    (struct dir){rnd(3) != 0, (int)rnd(DIRS + 1), (int)rnd(NAMES), rnd(2)};
                t[k].base[i] = (struct dir){rnd(3) != 0, (int)rnd(DIRS + 1), (int)rnd(NAMES), 0};
            }
        r = merge(&t[0], &t[1]);
        s = merge(&t[1], &t[0]);
        assert_same(r, s);
        if (r->count == DIRS) /* otherwise some parents are not listed */
            assert_is_tree(r);
        tree_result_free(r);
        tree_result_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
