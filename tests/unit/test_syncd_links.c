/* The disk side of one-way links: several states on one store, each with a base of its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/state_int.h"
#include "syncd/store.h"
#include "oneway_pair.h"

static void mark(struct state *st, const struct mailfs_id *id) {
    assert_int_equal(state_mark(st, id, 1), 0);
}

static Mfp__Tree *scan(struct state *st) {
    uint8_t digest[STATE_DIGEST];
    Mfp__Tree *t;

    assert_int_equal(tree_scan(st, false, &t, digest, NULL), 0);
    return t;
}

static const struct scan_mark *listed(const struct scan_mark *m, size_t n,
                                      const struct mailfs_id *id) {
    for (size_t i = 0; i < n; i++) {
        if (mailfs_id_equal(&m[i].dir, id))
            return &m[i];
    }
    return NULL;
}

/* Made since the first link looked last, which has found it now. */
static struct mailfs_id made_and_found(const char *rel) {
    struct mailfs_id id;

    fs_mkdir(&ends.a, rel);
    id = fs_id(&ends.a, rel);
    mark(links[0], &shared);
    mark(links[0], &id);
    mfp__tree__free_unpacked(scan(links[0]), NULL);
    return id;
}

/* A scan has found it, and it went before the trees were merged: nobody can be asked about it. */
static void test_found_and_gone(void **state) {
    struct scan_mark *m;
    struct mailfs_id id;
    size_t n;

    id = made_and_found("u/.Short");
    assert_int_equal(scan_marks(links[0], false, &m, &n), 0);
    assert_non_null(listed(m, n, &id));
    free(m);
    assert_false(scan_is_nowhere(links[0], &id));
    fs_rename(&ends.a, "u/.Short", ".mailfs/trash/short");
    assert_int_equal(scan_marks(links[0], false, &m, &n), 0);
    assert_non_null(listed(m, n, &shared));
    assert_null(listed(m, n, &id));
    free(m);
    assert_true(scan_is_nowhere(links[0], &id));
    assert_false(scan_is_nowhere(links[0], &shared));
}

static Mfp__Tree *tell_of(const char *name, struct mailfs_id *id) {
    Mfp__Tree *t, *wire;
    uint8_t digest[STATE_DIGEST];

    fs_mkdir(&ends.b, name);
    *id = fs_id(&ends.b, name);
    contact_mark(&ends.b, &shared);
    contact_mark(&ends.b, id);
    assert_int_equal(tree_scan(ends.b.st, false, &t, digest, NULL), 0);
    wire = tree_over_wire(t);
    mfp__tree__free_unpacked(t, NULL);
    return wire;
}

/* Both of the pair have told of it, and both links have listed the tree before either made it. */
static void test_made_by_another_link(void **state) {
    uint8_t d[2][STATE_DIGEST];
    Mfp__Tree *mine[2], *theirs;
    struct store_dir dir;
    struct mailfs_id id;
    size_t i;

    theirs = tell_of("u/.Both", &id);
    for (i = 0; i < 2; i++)
        mine[i] = scan(links[i]);
    for (i = 0; i < 2; i++) {
        assert_int_equal(tree_merge_run(links[i], mine[i], theirs, true, d[i], NULL), 0);
        assert_int_equal(store_dir_open(links[i], &id, &dir), 0);
        store_dir_close(&dir);
    }
    assert_memory_equal(d[0], d[1], STATE_DIGEST);
    for (i = 0; i < 2; i++)
        mfp__tree__free_unpacked(mine[i], NULL);
    mfp__tree__free_unpacked(theirs, NULL);
}

/* What one lends, and the other end does not have, is not to be merged there; its mark stays. */
static void test_left_is_told(void **state) {
    const struct scan_mark *left;
    struct mailfs_id id;
    struct scan_mark *m;
    size_t n;

    id = made_and_found("u/.Lent");
    oneway_agree_on(links[1], &shared);
    assert_int_equal(
        base_dir_put(links[1], &id,
                     &(struct base_dir){.parent = shared, .name = ".Lent", .agreed = true}),
        0);
    assert_int_equal(scan_marks_for(links[0], false, &links[1], 1, &m, &n), 0);
    assert_false(listed(m, n, &shared)->left);
    left = listed(m, n, &id);
    assert_non_null(left);
    assert_true(left->left);
    free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, oneway_setup, oneway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_found_and_gone),
        T(test_made_by_another_link),
        T(test_left_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
