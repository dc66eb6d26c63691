/*
 * base_unmerge: the peer that the base was agreed on with is lost, and a new node has its name.
 *
 * That one has nothing, and has shown nothing. Where there is a base the higher of two UIDVALIDITYs
 * wins, since the list that has it may have had the other before: so a mailbox that a client opens
 * there before it has come would have all mail here numbered anew. What is not merged is merged as
 * with any node that is filled.
 *
 * Diagnostics: that it is so; errors are returned.
 */
#include "base.h"

#include <errno.h>

#include "half.h"
#include "recent.h"
#include "state_int.h"
#include "util/log.h"

struct unmerge {
    struct state *st;
    size_t n;
};

static int unmerge_one(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    struct unmerge *u = arg;
    struct base_dir now = *rec;

    half_forget(u->st, id); /* of one that has never been merged, too */
    if (!rec->merged)
        return 0;
    now.merged = false;
    u->n++;
    return base_dir_put(u->st, id, &now);
}

int base_unmerge(struct state *st) {
    struct unmerge u = {.st = st};
    struct base_dir root;
    int r;

    recent_begin(st);
    r = base_each_dir(st, unmerge_one, &u);
    if (r == 0)
        r = base_dir_get(st, &mailfs_id_root, &root);
    if (r == 0)
        r = unmerge_one(&u, &mailfs_id_root, &root);
    recent_end(st);
    if (r == 0 && u.n > 0)
        log_info("%s: the peer is new, and given all: %zu directories", st->store_path, u.n);
    /* Whether it is new it says only until something is merged there. */
    return r == 0 && u.n > 0 ? state_checkpoint(st, 0, NULL, 0) : r;
}
