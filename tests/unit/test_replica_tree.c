/*
 * test_replica_tree - the three-way merge of the directory tree
 *
 * Cases first, each merged both ways round; then random trees: two copies of one tree go apart by
 * random acts and are merged, and the result must be a tree, the same both ways, that merging again
 * leaves alone and that keeps what nobody removed. A failure prints its seed; TREE_SEED=n runs it
 * alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replica/base_age.h"
#include "replica/tree_merge.h"

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

/* Directory i has id i + 1, so that 0 is the root. */
static struct mailfs_id id_of(int n) {
    struct mailfs_id id = {{0}};

    id.b[15] = (uint8_t)n;
    return id;
}

/* ---- cases ----------------------------------------------------------------------------- */

/* One directory as text: "id parent name mode", e.g. "1 0 Sent"; "" is not there. */
struct line {
    int id;
    const char *was, *is;
    bool inside;
    uint64_t version;
};

static bool place_of(const char *text, struct tree_place *place) {
    int parent;
    static char pool[64][8];
    static unsigned next;
    char *name = pool[next++ % 64];

    if (!text || !*text)
        return false;
    assert_int_equal(sscanf(text, "%d %7s", &parent, name), 2);
    place->parent = id_of(parent);
    place->name = name;
    return true;
}

static void make_side(const struct line *lines, bool valid, struct tree_entry *entries,
                      struct tree_side *side) {
    size_t n;

    for (n = 0; lines[n].id; n++) {
        entries[n] = (struct tree_entry){.id = id_of(lines[n].id),
                                         .changed_inside = lines[n].inside,
                                         .version = lines[n].version,
                                         .attr = {0700, 1, 1},
                                         .old_attr = {0700, 1, 1}};
        entries[n].was = place_of(lines[n].was, &entries[n].old);
        entries[n].is = place_of(lines[n].is, &entries[n].now);
    }
    *side = (struct tree_side){.base_valid = valid, .full = true, .entries = entries, .count = n};
}

static const struct {
    const char *why;
    struct line a[4], b[4];
    bool no_base_b;
    const char *want; /* "id:parent/name" of what is there, "id=id" of aliases, by id */
} cases[] = {
    {"nothing", {{1, "0 x", "0 x", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, "1:0/x "},
    {"made", {{1, "", "0 x", 0, 0}}, {{0}}, false, "1:0/x "},
    {"made on both", {{1, "", "0 x", 0, 0}}, {{2, "", "0 y", 0, 0}}, false, "1:0/x 2:0/y "},
    {"made twice", {{2, "", "0 x", 0, 0}}, {{1, "", "0 x", 0, 0}}, false, "1:0/x 2=1 "},
    {"made twice, one known",
     {{2, "0 y", "0 x", 0, 0}},
     {{1, "", "0 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     false,
     "1=2 2:0/x "},
    {"children of what was made twice",
     {{3, "", "0 x", 0, 0}, {4, "", "3 s", 0, 0}},
     {{1, "", "0 x", 0, 0}, {2, "", "1 s", 0, 0}},
     false,
     "1:0/x 2:1/s 3=1 4=2 "},
    {"moved", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, "1:0/y "},
    {"moved on both, version",
     {{1, "0 x", "0 y", 0, 2}},
     {{1, "0 x", "0 z", 0, 1}},
     false,
     "1:0/y "},
    {"moved on both, name", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 z", 0, 0}}, false, "1:0/z "},
    {"removed", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, false, ""},
    {"removed, but moved there",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 y", 0, 0}},
     false,
     "1:0/y "},
    {"removed, but delivered to",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 x", 1, 0}},
     false,
     "1:0/x "},
    {"removed, no base there", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, true, "1:0/x "},
    {"only in one base", {{1, "0 x", "0 x", 0, 0}}, {{0}}, false, "1:0/x "},
    {"removed, and a child made below",
     {{1, "0 x", "", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "", "1 y", 0, 0}},
     false,
     "1:0/x 2:1/y "},
    {"removed on both, and a child moved below",
     {{1, "0 x", "", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "1 y", 0, 0}},
     false,
     "1:0/x 2:1/y "},
    {"circle",
     {{1, "0 x", "2 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "1 y", 0, 0}},
     false,
     "1:2/x 2:0/y "},
    {"circle of three",
     {{1, "0 x", "2 x", 0, 0}, {2, "0 y", "0 y", 0, 0}, {3, "0 z", "1 z", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "3 y", 0, 0}, {3, "0 z", "0 z", 0, 0}},
     false,
     "1:2/x 2:3/y 3:0/z "},
    {"swapped names",
     {{1, "0 x", "0 y", 0, 0}, {2, "0 y", "0 x", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "0 y", "0 y", 0, 0}},
     false,
     "1:0/y 2:0/x "},
    {"removed here, a new one of that name; delivered to there",
     {{1, "0 x", "", 0, 0}, {2, "", "0 x", 0, 0}},
     {{1, "0 x", "0 x", 1, 0}},
     false,
     "1:0/x 2=1 "},
};

static void describe(const struct tree_result *r, char *out) {
    size_t i;

    *out = '\0';
    for (i = 0; i < r->count; i++) {
        const struct tree_item *it = &r->items[i];

        if (it->present)
            out += sprintf(out, "%d:%d/%s ", it->id.b[15], it->place.parent.b[15], it->place.name);
        else if (it->aliased)
            out += sprintf(out, "%d=%d ", it->id.b[15], it->alias_of.b[15]);
    }
}

static void check_case(const struct tree_side *a, const struct tree_side *b, const char *want,
                       const char *why) {
    struct tree_result *r;
    char got[256];

    assert_int_equal(tree_merge(a, b, &r), 0);
    describe(r, got);
    if (strcmp(got, want) != 0)
        fail_msg("%s: \"%s\", should be \"%s\"", why, got, want);
    tree_result_free(r);
}

static void test_cases(void **state) {
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tree_entry ea[4], eb[4];
        struct tree_side a, b;

        make_side(cases[i].a, true, ea, &a);
        make_side(cases[i].b, !cases[i].no_base_b, eb, &b);
        check_case(&a, &b, cases[i].want, cases[i].why);
        check_case(&b, &a, cases[i].want, cases[i].why);
    }
}

/* a has borrowed all it lists. "id!" stays at a as it is there. */
static const struct {
    const char *why;
    struct line a[4], b[4];
    const char *want;
} borrowed[] = {
    {"made elsewhere, or removed at b", {{1, "", "0 x", 0, 0}}, {{0}}, "1! "},
    {"with what is below it", {{1, "", "0 x", 0, 0}, {2, "", "1 y", 0, 0}}, {{0}}, "1! 2! "},
    {"with something of a's own in it", {{1, "", "0 x", 1, 0}}, {{0}}, "1:0/x "},
    {"below it something of a's own",
     {{1, "", "0 x", 0, 0}, {2, "", "1 y", 1, 0}},
     {{0}},
     "1:0/x 2:1/y "},
    {"removed at b", {{1, "0 x", "0 x", 0, 0}}, {{1, "0 x", "", 0, 0}}, ""},
    {"moved elsewhere, or back at b",
     {{1, "0 x", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}},
     "1:0/x 1! "},
    {"moved at b, too", {{1, "0 x", "0 y", 0, 0}}, {{1, "0 x", "0 a", 0, 0}}, "1:0/a "},
    {"made, and called otherwise at b", {{1, "", "0 y", 0, 0}}, {{1, "", "0 a", 0, 0}}, "1:0/a "},
    {"removed elsewhere", {{1, "0 x", "", 0, 0}}, {{1, "0 x", "0 x", 0, 0}}, "1:0/x "},
    {"b has made another one of that name",
     {{2, "", "0 x", 0, 0}},
     {{1, "", "0 x", 0, 0}},
     "1:0/x 2=1 "},
    {"b has moved another one to that name",
     {{2, "", "0 x", 0, 0}},
     {{1, "0 y", "0 x", 0, 0}},
     "1:0/x 2=1 "},
    {"moved to where b has made one",
     {{1, "0 x", "0 y", 0, 0}},
     {{1, "0 x", "0 x", 0, 0}, {2, "", "0 y", 0, 0}},
     "1:0/x 2:0/y "},
    {"below one that is another's",
     {{2, "", "0 x", 0, 0}, {3, "", "2 s", 0, 0}},
     {{1, "", "0 x", 0, 0}},
     "1:0/x 2=1 3:1/s "},
};

static void describe_left(const struct tree_result *r, char *out) {
    size_t i;

    describe(r, out);
    for (i = 0; i < r->count; i++)
        if (r->items[i].what & TREE_LEFT)
            sprintf(out + strlen(out), "%d! ", r->items[i].id.b[15]);
}

static void check_borrowed(const struct tree_side *a, const struct tree_side *b, size_t i) {
    struct tree_result *r;
    char got[256];

    assert_int_equal(tree_merge(a, b, &r), 0);
    describe_left(r, got);
    if (strcmp(got, borrowed[i].want) != 0)
        fail_msg("%s: \"%s\", should be \"%s\"", borrowed[i].why, got, borrowed[i].want);
    tree_result_free(r);
}

static void test_borrowed(void **state) {
    size_t i, k;

    for (i = 0; i < sizeof borrowed / sizeof borrowed[0]; i++) {
        struct tree_entry ea[4], eb[4];
        struct tree_side a, b;

        make_side(borrowed[i].a, true, ea, &a);
        make_side(borrowed[i].b, true, eb, &b);
        for (k = 0; k < a.count; k++)
            ea[k].borrowed = true;
        check_borrowed(&a, &b, i);
        check_borrowed(&b, &a, i);
    }
}

/* a has not borrowed 1, which b has removed, but what is in it. */
static void test_borrowed_in_removed(void **state) {
    struct line at_a[] = {
        {1, "0 x", "0 x", 0, 0}, {2, "1 y", "1 y", 0, 0}, {3, "", "2 z", 0, 0}, {0}};
    struct line at_b[] = {{1, "0 x", "", 0, 0}, {2, "1 y", "", 0, 0}, {0}};
    struct tree_entry ea[4], eb[3];
    struct tree_result *r;
    struct tree_side a, b;
    char got[256];
    int turn;

    make_side(at_a, true, ea, &a);
    make_side(at_b, true, eb, &b);
    ea[1].borrowed = ea[2].borrowed = true;
    for (turn = 0; turn < 2; turn++) {
        assert_int_equal(turn ? tree_merge(&b, &a, &r) : tree_merge(&a, &b, &r), 0);
        describe_left(r, got);
        assert_string_equal(got, "1:0/x 3! ");
        tree_result_free(r);
    }
}

/* One that has no base has undone nothing. */
static void test_borrowed_filling(void **state) {
    struct line made[] = {{1, "", "0 x", 0, 0}, {0}}, none[] = {{0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    make_side(made, true, ea, &a);
    make_side(none, false, eb, &b);
    ea[0].borrowed = true;
    check_case(&a, &b, "1:0/x ", "b is new");
    check_case(&b, &a, "1:0/x ", "b is new");
}

static void test_later_base(void **state) {
    struct line moved[] = {{1, "0 a", "0 a", 0, 0}, {0}}, still[] = {{1, "0 x", "0 x", 0, 0}, {0}};
    struct line gone[] = {{0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;

    make_side(moved, true, ea, &a); /* x became a, agreed; b came back as before */
    make_side(still, true, eb, &b);
    a.base_version = 2;
    b.base_version = 1;
    check_case(&a, &b, "1:0/a ", "the later base is right");
    check_case(&b, &a, "1:0/a ", "the later base is right");
    make_side(gone, true, ea, &a); /* x was removed, agreed; b came back as before */
    a.base_version = 2;
    /* ... or a has counted acts of its own, and not got yet what b made: both go on at once */
    check_case(&a, &b, "1:0/x ", "made, or removed: not known");
    b.base_version = 1 | BASE_AGE_LACKS;
    check_case(&a, &b, "", "removed by agreement");
    a.base_version = 1;
    b.base_version = 2;
    check_case(&a, &b, "1:0/x ", "made by agreement");
}

static void test_attributes(void **state) {
    struct line one[] = {{1, "0 x", "0 x", 0, 0}, {0}};
    struct tree_entry ea[2], eb[2];
    struct tree_side a, b;
    struct tree_result *r;

    make_side(one, true, ea, &a);
    make_side(one, true, eb, &b);
    ea[0].attr.mode = 0750;
    eb[0].attr.gid = 7;
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_int_equal(r->items[0].attr.mode, 0750);
    assert_int_equal(r->items[0].attr.gid, 7);
    assert_int_equal(r->items[0].attr.uid, 1);
    assert_true(r->items[0].what & TREE_ATTR);
    assert_int_equal(r->items[0].what & (TREE_MOVED | TREE_MADE | TREE_CONFLICT), 0);
    tree_result_free(r);
}

static void test_diff_listing(void **state) {
    struct line moved[] = {{1, "0 x", "0 y", 0, 0}, {0}}, gone[] = {{1, "0 x", "", 0, 0}, {0}};
    struct tree_entry ea[2];
    struct tree_side a, b = {.base_valid = true, .full = false};

    make_side(moved, true, ea, &a);
    a.full = false;
    check_case(&a, &b, "1:0/y ", "unlisted is unchanged");
    check_case(&b, &a, "1:0/y ", "unlisted is unchanged");
    make_side(gone, true, ea, &a);
    a.full = false;
    check_case(&a, &b, "", "unlisted is unchanged, so it goes");
}

/* Who removed what lives on is told so, whichever side it is, and what it was numbered under. */
static void test_anew(void **state) {
    struct line gone[] = {{1, "0 x", "", 0, 0}, {2, "1 y", "", 0, 0}, {0}};
    struct line kept[] = {
        {1, "0 x", "0 x", 0, 0}, {2, "1 y", "1 y", 1, 0}, {3, "", "0 z", 0, 0}, {0}};
    struct tree_entry ea[3], eb[4];
    struct tree_side a, b;
    struct tree_result *r;

    make_side(gone, true, ea, &a);
    make_side(kept, true, eb, &b);
    ea[1].old_validity = 5;
    eb[1].old_validity = 7;
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_int_equal(r->count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(r->items[i].present);
        assert_int_equal(r->items[i].anew_a, i < 2); /* the parent, too; not what b has made */
        assert_false(r->items[i].anew_b);
    }
    assert_int_equal(r->items[1].old_validity, 7);
    assert_int_equal(r->items[2].old_validity, 0);
    tree_result_free(r);
    assert_int_equal(tree_merge(&b, &a, &r), 0);
    assert_true(r->items[1].anew_b && !r->items[1].anew_a);
    tree_result_free(r);
    a.base_valid = false; /* that it was there is not known */
    assert_int_equal(tree_merge(&a, &b, &r), 0);
    assert_false(r->items[1].anew_a);
    tree_result_free(r);
}

static void test_refused(void **state) {
    struct line twice[] = {{1, "0 x", "0 x", 0, 0}, {1, "0 x", "0 y", 0, 0}, {0}};
    struct tree_entry e[3];
    struct tree_side s, empty = {.full = true}, bad = {.full = false};
    struct tree_result *r;

    make_side(twice, true, e, &s);
    assert_int_equal(tree_merge(&s, &empty, &r), -EINVAL);
    assert_int_equal(tree_merge(&bad, &empty, &r), -EINVAL);
    s.count = 1;
    e[0].id = id_of(0);
    assert_int_equal(tree_merge(&s, &empty, &r), -EINVAL);
    e[0].id = id_of(1);
    e[0].was = e[0].is = false;
    assert_int_equal(tree_merge(&empty, &s, &r), -EINVAL);
    assert_int_equal(tree_merge(&empty, &empty, &r), 0);
    assert_int_equal(r->count, 0);
    tree_result_free(r);
}

/* ---- random trees ------------------------------------------------------------------------ */

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
    return (struct tree_place){id_of(d->parent), names[d->name]};
}

static void list(const struct tree *t, struct tree_entry *e, struct tree_side *s) {
    size_t n = 0;
    int i;

    for (i = 1; i <= DIRS; i++) {
        if (!t->now[i].is && !t->base[i].is)
            continue;
        e[n++] = (struct tree_entry){.id = id_of(i),
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
        struct mailfs_id id = id_of(i);
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
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_borrowed),
        cmocka_unit_test(test_borrowed_in_removed),
        cmocka_unit_test(test_borrowed_filling),
        cmocka_unit_test(test_later_base),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_diff_listing),
        cmocka_unit_test(test_anew),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
