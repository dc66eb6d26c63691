/*
 * scan_tree_msgs: which messages are new in a directory, and which the base has in one that was
 * removed here (TreeDir.msgs).
 *
 * A node that was cut off, or killed, before it heard that the peer had what it sent does not have
 * that in its base. Removes the peer the directory then, it is not to come back for it, empty.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_tree_int.h"

#include <errno.h>
#include <stdlib.h>

#include "build.h"

#define KNOWN_MAX     1000   /* of a directory that was removed; below WIRE_PART_MAX */
#define KNOWN_ALL_MAX 100000 /* of all of them, read or said: the volume waits for the tree */

bool scan_tree_note_new(const struct tree *t, struct node *n, const Mfp__Listing *l,
                        const Mfp__BaseMsg *m) {
    Mfp__UidRec *rec;

    if (t->n_lenders || m->was || m->is->uid == 0 || l->v == 0 || n->n_news == SCAN_TREE_NEWS_MAX)
        return false;
    rec = build_rec(m->is->uid, NULL, m->bname);
    if (build_push(&n->news, &n->n_news, rec) < 0) {
        if (rec)
            mfp__uid_rec__free_unpacked(rec, NULL);
        return false;
    }
    n->validity = l->v;
    return true;
}

void scan_tree_forget_news(struct node *n) {
    while (n->n_news > 0)
        mfp__uid_rec__free_unpacked(n->news[--n->n_news], NULL);
    free(n->news);
    n->news = NULL;
}

static int add_known(void *arg, const char *name, const struct base_msg *msg) {
    Mfp__TreeDir *d = arg;
    Mfp__UidRec *rec;
    int r;

    if (msg->uid == 0)
        return 0;
    if (d->n_msgs == KNOWN_MAX)
        return -EFBIG;
    rec = build_rec(msg->uid, NULL, name);
    r = build_push(&d->msgs, &d->n_msgs, rec);
    if (r < 0 && rec)
        mfp__uid_rec__free_unpacked(rec, NULL);
    return r;
}

static void say_nothing(Mfp__TreeDir *d) {
    while (d->n_msgs > 0)
        mfp__uid_rec__free_unpacked(d->msgs[--d->n_msgs], NULL);
    free(d->msgs);
    d->msgs = NULL;
}

int scan_tree_fill_msgs(struct tree *t, struct node *n, Mfp__TreeDir *d) {
    int r;

    if (d->has) {
        d->msgs = n->news;
        d->n_msgs = n->n_news;
        d->v = n->validity;
        n->news = NULL;
        n->n_news = 0;
        return 0;
    }
    if (t->n_lenders || d->old_v == 0 || t->n_known + KNOWN_MAX > KNOWN_ALL_MAX)
        return 0;
    d->v = d->old_v;
    r = base_each_msg(t->st, &n->id, add_known, d);
    t->n_known += d->n_msgs;
    if (r == -EFBIG)
        say_nothing(d);
    return r == -EFBIG ? 0 : r;
}
