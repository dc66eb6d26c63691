/* A contact of two nodes for unit tests; see syncd_contact.h. */
#include "syncd_contact.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/base.h"
#include "syncd/merge_run.h"
#include "syncd/scan.h"
#include "syncd/unread.h"

void contact_mark(struct node *n, const struct mailfs_id *dir) {
    assert_int_equal(state_mark(n->st, dir, 1), 0);
}

int contact_merge_once(struct pair *p, const struct mailfs_id *dir, bool full) {
    uint8_t da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Listing *la, *lb, *wa, *wb;
    int ra, rb;

    unread_listing_begins(p->a.st, dir);
    unread_listing_begins(p->b.st, dir);
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
        uint8_t now[STATE_DIGEST];
        assert_memory_equal(da, db, STATE_DIGEST);
        assert_int_equal(merge_mailbox_done(p->a.st, dir), 0);
        assert_int_equal(merge_mailbox_done(p->b.st, dir), 0);
        assert_int_equal(base_digest(p->a.st, dir, now), 0);
        assert_memory_equal(da, now, STATE_DIGEST);
    }
    mfp__listing__free_unpacked(la, NULL);
    mfp__listing__free_unpacked(lb, NULL);
    mfp__listing__free_unpacked(wa, NULL);
    mfp__listing__free_unpacked(wb, NULL);
    return ra;
}

enum trees { THE_SAME, NEEDS_FULL, AGAIN };

static enum trees trees_once(struct pair *p, bool full) {
    uint8_t ba[STATE_DIGEST], bb[STATE_DIGEST], da[STATE_DIGEST], db[STATE_DIGEST];
    Mfp__Tree *ta, *tb, *wa, *wb;
    enum trees r = NEEDS_FULL;

    assert_int_equal(tree_scan(p->a.st, full, &ta, ba, NULL), 0);
    assert_int_equal(tree_scan(p->b.st, full, &tb, bb, NULL), 0);
    wa = tree_over_wire(ta);
    wb = tree_over_wire(tb);
    if (full || memcmp(ba, bb, STATE_DIGEST) == 0) {
        int ra = tree_merge_run(p->a.st, ta, wb, false, da, NULL);
        int rb = tree_merge_run(p->b.st, tb, wa, false, db, NULL);
        r = ra == 0 && rb == 0 && memcmp(da, db, STATE_DIGEST) == 0 ? THE_SAME : AGAIN;
    }
    mfp__tree__free_unpacked(ta, NULL);
    mfp__tree__free_unpacked(tb, NULL);
    mfp__tree__free_unpacked(wa, NULL);
    mfp__tree__free_unpacked(wb, NULL);
    return r;
}

int contact_trees(struct pair *p, bool full) {
    int rounds = 0, again = 0;
    enum trees r;

    while ((r = trees_once(p, full)) != THE_SAME) {
        assert_true(++rounds < 5);
        again += r == AGAIN;
        full = true;
    }
    assert_int_equal(tree_merge_settled(p->a.st), 0);
    assert_int_equal(tree_merge_settled(p->b.st), 0);
    return again;
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

void contact_mailbox(struct pair *p, const struct mailfs_id *dir) {
    int r = contact_merge_once(p, dir, false);

    if (r == -ESTALE)
        r = contact_merge_once(p, dir, true);
    assert_int_equal(r, 0);
}

int contact_all(struct pair *p) {
    struct mailfs_id all[256];
    size_t i, k = 0;
    int again = contact_trees(p, false);

    k = marks_of(&p->b, all, marks_of(&p->a, all, 0));
    qsort(all, k, sizeof(*all), id_cmp);
    for (i = 0; i < k; i++) {
        if (i == 0 || !mailfs_id_equal(&all[i], &all[i - 1]))
            contact_mailbox(p, &all[i]);
    }
    assert_int_equal(merge_caught_up(p->a.st, merge_keep_turn(p->a.st)), 0);
    assert_int_equal(merge_caught_up(p->b.st, merge_keep_turn(p->b.st)), 0);
    assert_int_equal(state_set_contact(p->a.st, true), 0);
    assert_int_equal(state_set_contact(p->b.st, true), 0);
    assert_int_equal(state_checkpoint(p->a.st, 100, all, k), 0);
    assert_int_equal(state_checkpoint(p->b.st, 100, all, k), 0);
    stores_assert_equal(p);
    return again;
}

void contact_with_folder(struct pair *p, struct mailfs_id *inbox, struct mailfs_id *work) {
    stores_open(p);
    *inbox = stores_mailbox(&p->a, &p->b, "", "u");
    *work = stores_mailbox(&p->a, &p->b, "u", ".Work");
    fs_write(&p->a, "u/.Work/new/1.M1.a", "one\n");
    contact_mark(&p->a, work);
    contact_all(p);
    assert_true(fs_there(&p->b, "u/.Work/new/1.M1.a"));
}
