/*
 * renumber: a directory gets another id.
 *
 * No diagnostics.
 */
#include "renumber.h"

#include <errno.h>

#include "alias.h"
#include "base.h"
#include "io/dirid.h"
#include "owed.h"
#include "state_int.h"

struct renumber {
    struct state *st;
    const struct mailfs_id *former, *now;
};

/* Without it the peer, which publishes such a content when the link ends, would not know that it is
 * the same message. */
static int take_prep(void *arg, const char *name) {
    struct renumber *n = arg;
    struct base_prep prep;
    int r = base_prep_get(n->st, n->former, name, &prep);

    if (r == 0)
        r = base_prep_put(n->st, BASE_AGREED, n->now, name, &prep);
    if (r == 0)
        r = base_prep_put(n->st, BASE_AGREED, n->former, name, NULL);
    return r == -ENOENT ? 0 : r;
}

int renumber_dir(struct state *st, int fd, const struct mailfs_id *former,
                 const struct mailfs_id *now) {
    struct renumber n = {st, former, now};
    int r = base_each_prep(st, former, take_prep, &n);

    if (r == 0)
        r = owed_copy(st, former, now);
    if (r == 0)
        r = io_dirid_replace(fd, now);
    if (r == 0)
        r = base_lacking_renumber(st, former, now);
    if (r == 0)
        r = alias_note(st, former, now);
    if (r == 0)
        r = owed_drop(st, former);
    return r == 0 ? base_dir_del(st, former) : r;
}

static int move_child(void *arg, const struct mailfs_id *dir, const struct base_dir *rec) {
    struct renumber *n = arg;
    struct base_dir moved = *rec;

    if (!mailfs_id_equal(&rec->parent, n->former))
        return 0;
    moved.parent = *n->now;
    return base_dir_put(n->st, dir, &moved);
}

int renumber_children(struct state *st, const struct mailfs_id *former,
                      const struct mailfs_id *now) {
    struct renumber n = {st, former, now};

    return base_each_dir(st, move_child, &n);
}
