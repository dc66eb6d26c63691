/* A contact of two nodes for unit tests; see syncd_contact.h. */
#include "syncd_contact.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/merge_run.h"
#include "syncd/scan.h"

void contact_mark(struct node *n, const struct mailfs_id *dir) {
    assert_int_equal(state_mark(n->st, dir, 1), 0);
}

int contact_merge_once(struct pair *p, const struct mailfs_id *dir, bool full) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Listing *la, *lb, *wa, *wb;
    int ra, rb;

    assert_int_equal(scan_mailbox(p->a.st, dir, full, &la), 0);
    assert_int_equal(scan_mailbox(p->b.st, dir, full, &lb), 0);
    wa = listing_over_wire(la);
    wb = listing_over_wire(lb);
    stores_stage(&p->a, &p->b, wa);
    stores_stage(&p->b, &p->a, wb);
    ra = merge_mailbox_run(p->a.st, dir, la, wb, da, NULL);
    rb = merge_mailbox_run(p->b.st, dir, lb, wa, db, NULL);
    assert_int_equal(ra, rb);
    if (ra == 0) {
        assert_memory_equal(da, db, STATE_DIGEST);
        assert_int_equal(merge_mailbox_done(p->a.st, dir), 0);
        assert_int_equal(merge_mailbox_done(p->b.st, dir), 0);
    }
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    mfp__listing__free_unpacked(wa, NULL);
    mfp__listing__free_unpacked(wb, NULL);
    return ra;
}

/* 0: both have the same tree; 1: full listings are needed. */
static int trees_once(struct pair *p, bool full) {
    uint8_t ba[STATE_DIGEST], bb[STATE_DIGEST], da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Tree *ta, *tb, *wa, *wb;
    int r = 1;

    assert_int_equal(tree_scan(p->a.st, full, &ta, ba, NULL), 0);
    assert_int_equal(tree_scan(p->b.st, full, &tb, bb, NULL), 0);
    wa = tree_over_wire(ta);
    wb = tree_over_wire(tb);
    if (full || memcmp(ba, bb, STATE_DIGEST) == 0) {
        r = tree_merge_run(p->a.st, ta, wb, false, da, NULL) != 0;
        r |= tree_merge_run(p->b.st, tb, wa, false, db, NULL) != 0;
        r |= memcmp(da, db, STATE_DIGEST) != 0;
    }
    mfp__tree__free_unpacked(ta, NULL);
    mfp__tree__free_unpacked(tb, NULL);
    mfp__tree__free_unpacked(wa, NULL);
    mfp__tree__free_unpacked(wb, NULL);
    return r;
}

void contact_trees(struct pair *p, bool full) {
    int rounds = 0;

    while (trees_once(p, full)) {
        assert_true(++rounds < 5);
        full = true;
    }
    assert_int_equal(tree_merge_settled(p->a.st), 0);
    assert_int_equal(tree_merge_settled(p->b.st), 0);
}

static int id_cmp(const void *a, const void *b) {
    return mailfs_id_cmp(a, b);
}

static size_t marks_of(struct node *n, struct mailfs_id *all, size_t k) {
    struct scan_mark *m;
    size_t n_marks, i;

    assert_int_equal(scan_marks(n->st, false, &m, &n_marks), 0);
    for (i = 0; i < n_marks; i++)
        all[k++] = m[i].dir;
    free(m);
    return k;
}

void contact_all(struct pair *p) {
    struct mailfs_id all[256];
    size_t i, k = 0;
    int r;

    contact_trees(p, false);
    k = marks_of(&p->b, all, marks_of(&p->a, all, 0));
    qsort(all, k, sizeof(*all), id_cmp);
    for (i = 0; i < k; i++) {
        if (i && mailfs_id_equal(&all[i], &all[i - 1]))
            continue;
        r = contact_merge_once(p, &all[i], false);
        if (r == -ESTALE)
            r = contact_merge_once(p, &all[i], true);
        assert_int_equal(r, 0);
    }
    assert_int_equal(merge_caught_up(p->a.st, merge_keep_turn(p->a.st)), 0);
    assert_int_equal(merge_caught_up(p->b.st, merge_keep_turn(p->b.st)), 0);
    assert_int_equal(state_set_contact(p->a.st, true), 0);
    assert_int_equal(state_set_contact(p->b.st, true), 0);
    assert_int_equal(state_checkpoint(p->a.st, 100, all, k), 0);
    assert_int_equal(state_checkpoint(p->b.st, 100, all, k), 0);
    stores_assert_equal(p);
}
