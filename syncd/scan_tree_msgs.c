/*
 * scan_tree_msgs: which messages are new in a directory, and which the base has in one that was
 * removed here (TreeDir.msgs).
 *
 * A node that was cut off, or killed, before it heard that the peer had what it sent does not have
 * that in its base; and one that was killed publishes what the peer had prepared there, and has
 * named since. Removes the peer the directory then, it is not to come back for that, empty.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_tree_int.h"

#include <errno.h>
#include <stdlib.h>

#include "build.h"

#define KNOWN_MAX     1000   /* of a directory that was removed; below WIRE_PART_MAX */
#define KNOWN_ALL_MAX 100000 /* of all of them, read or said: the volume waits for the tree */

/* prep: or NULL. */
static int push(Mfp__TreeMsg ***v, size_t *n, const char *base, uint32_t uid,
                const struct base_prep *prep) {
    Mfp__TreeMsg *m = malloc(sizeof(*m));
    int r = -ENOMEM;

    if (!m)
        return r;
    mfp__tree_msg__init(m);
    m->uid = uid;
    m->bname = build_str(base);
    m->prepared = prep ? build_prep(prep->incarnation, prep->seq) : NULL;
    if (m->bname && (!prep || m->prepared))
        r = build_push(v, n, m);
    if (r < 0)
        mfp__tree_msg__free_unpacked(m, NULL);
    return r;
}

static void clear(Mfp__TreeMsg ***v, size_t *n) {
    while (*n > 0)
        mfp__tree_msg__free_unpacked((*v)[--*n], NULL);
    free(*v);
    *v = NULL;
}

bool scan_tree_note_new(const struct tree *t, struct node *n, const Mfp__Listing *l,
                        const Mfp__BaseMsg *m) {
    struct base_prep prep = {0};
    uint32_t uid = l->v ? m->is->uid : 0;

    if (t->n_lenders || m->was || (uid == 0 && !m->prepared) || n->n_news == SCAN_TREE_NEWS_MAX)
        return false;
    if (m->prepared)
        prep = (struct base_prep){m->prepared->incarnation, m->prepared->seq};
    n->validity = l->v;
    return push(&n->news, &n->n_news, m->bname, uid, m->prepared ? &prep : NULL) == 0;
}

void scan_tree_forget_news(struct node *n) {
    clear(&n->news, &n->n_news);
}

static int add_known(void *arg, const char *name, const struct base_msg *msg) {
    Mfp__TreeDir *d = arg;

    if (msg->uid == 0)
        return 0;
    return d->n_msgs == KNOWN_MAX ? -EFBIG : push(&d->msgs, &d->n_msgs, name, msg->uid, NULL);
}

struct named {
    struct tree *t;
    const struct node *n;
    Mfp__TreeDir *d;
};

/* The peer has not heard that it got this name, or is here at all. */
static int add_named(void *arg, const char *name) {
    const struct named *a = arg;
    struct base_prep prep;
    int r = base_prep_get(a->t->st, &a->n->id, name, &prep);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return a->d->n_msgs == KNOWN_MAX ? -EFBIG : push(&a->d->msgs, &a->d->n_msgs, name, 0, &prep);
}

/* This node published what the peer had prepared: the peer may have named it since. What only was
 * about to be published nobody has seen here: it was not removed with the rest. */
static int add_published(struct tree *t, const struct node *n, Mfp__TreeDir *d) {
    size_t i;
    int r = t->has_pubs ? 0 : stage_published_in(t->st, NULL, &t->pubs, &t->n_pubs);

    t->has_pubs = r == 0;
    for (i = 0; r == 0 && i < t->n_pubs; i++) {
        const struct stage_pub *pub = &t->pubs[i];
        struct base_prep prep = {pub->incarnation, pub->seq};
        if (pub->done && mailfs_id_equal(&pub->dir, &n->id))
            r = d->n_msgs == KNOWN_MAX ? -EFBIG : push(&d->msgs, &d->n_msgs, pub->name, 0, &prep);
    }
    return r;
}

int scan_tree_fill_msgs(struct tree *t, struct node *n, Mfp__TreeDir *d) {
    struct named named = {t, n, d};
    int r;

    if (d->has) {
        d->msgs = n->news;
        d->n_msgs = n->n_news;
        d->v = n->validity;
        n->news = NULL;
        n->n_news = 0;
        return 0;
    }
    if (t->n_lenders || !n->was || t->n_known + KNOWN_MAX > KNOWN_ALL_MAX)
        return 0;
    d->v = d->old_v;
    r = base_each_msg(t->st, &n->id, add_known, d);
    if (r == 0)
        r = base_each_prep(t->st, &n->id, add_named, &named);
    if (r == 0)
        r = add_published(t, n, d);
    t->n_known += d->n_msgs;
    if (r == -EFBIG)
        clear(&d->msgs, &d->n_msgs);
    return r == -EFBIG ? 0 : r;
}
