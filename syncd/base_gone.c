/*
 * base_gone: containers that a merge of the trees has removed, until both nodes have that result.
 *
 * A base that has forgotten one says the same as a base from before it was made. So when the peer
 * is killed in the midst of its part, or the link ends, the container must still be in this base:
 * it was removed, then, and is not one that the peer has made. In memory: after a start it is in
 * the base, and not in the store, which is the same to the next merge.
 *
 * What this node had told of one, and the peer has in its journal, can wait there for somebody's L
 * until after the merge. The trees are compared again then, and it is known here once more.
 *
 * No diagnostics.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>

#include "recent.h"
#include "state_int.h"

struct gone {
    UT_hash_handle hh;
    struct mailfs_id dir;
    bool unlisted;
};

static struct gone *find(const struct state *st, const struct mailfs_id *dir) {
    struct gone *g;

    HASH_FIND(hh, st->gone, dir, sizeof(*dir), g);
    return g;
}

bool base_gone(const struct state *st, const struct mailfs_id *dir) {
    return find(st, dir) != NULL;
}

int base_gone_note(struct state *st, const struct mailfs_id *dir, bool unlisted) {
    struct gone *g;

    if (find(st, dir))
        return 0;
    g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->dir = *dir;
    g->unlisted = unlisted;
    HASH_ADD(hh, st->gone, dir, sizeof(g->dir), g);
    return 0;
}

static void drop(struct state *st, struct gone *g) {
    HASH_DEL(st->gone, g);
    free(g);
}

void base_gone_forget(struct state *st) {
    struct gone *g, *tmp;

    HASH_ITER(hh, st->gone, g, tmp) {
        drop(st, g);
    }
}

/* Of one of which the peer may hear yet. */
static bool is_awaited(struct state *st, const struct gone *g) {
    struct base_dir rec;

    return g->unlisted && base_dir_get(st, &g->dir, &rec) == 0 && rec.told && !rec.agreed;
}

static int remove_all(struct state *st, bool awaited) {
    struct gone *g, *tmp;
    int r = 0;

    recent_begin(st);
    HASH_ITER(hh, st->gone, g, tmp) {
        if (is_awaited(st, g) != awaited)
            continue;
        if (r == 0)
            r = base_dir_del(st, &g->dir);
        stage_drop_fetched(st, &g->dir);
        drop(st, g);
    }
    recent_end(st);
    return r;
}

int base_gone_settled(struct state *st) {
    return remove_all(st, false);
}

int base_gone_in_sync(struct state *st) {
    return remove_all(st, true);
}
