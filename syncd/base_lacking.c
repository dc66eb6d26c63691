/*
 * base_lacking: bases that may lack what was acknowledged.
 *
 * What the base has got since the last checkpoint is forgotten when syncd ends; what the peer did
 * is in the journal and applied once more, what this node did is not. Containers with such a base
 * are marked, since marks outlive the checkpoint. In memory: about 80 bytes for each that was
 * marked at the start, until it is merged.
 *
 * No diagnostics of its own.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>

#include "replica/base_age.h"
#include "state_int.h"

static struct lacking *find(const struct state *st, const struct mailfs_id *dir) {
    struct lacking *l;

    HASH_FIND(hh, st->lacking, dir, sizeof(*dir), l);
    return l;
}

int base_lacking_load(struct state *st) {
    struct state_mark *marks;
    size_t n, i;
    int r = state_marks(st, UINT64_MAX, &marks, &n);

    for (i = 0; r == 0 && i < n; i++) {
        struct lacking *l;
        if (find(st, &marks[i].dir))
            continue;
        l = calloc(1, sizeof(*l));
        if (!l) {
            r = -ENOMEM;
            break;
        }
        l->dir = marks[i].dir;
        HASH_ADD(hh, st->lacking, dir, sizeof(l->dir), l);
    }
    st->tree_lacks = n > 0;
    free(marks);
    return r;
}

void base_lacking_merged(struct state *st, const struct mailfs_id *dir) {
    struct lacking *l;

    state_lock(st);
    l = find(st, dir);
    if (l)
        HASH_DEL(st->lacking, l);
    state_unlock(st);
    free(l);
}

void base_lacking_free(struct state *st) {
    struct lacking *l, *tmp;

    HASH_ITER(hh, st->lacking, l, tmp) {
        HASH_DEL(st->lacking, l);
        free(l);
    }
}

int base_version_list(struct state *st, enum base_version_of of, const struct mailfs_id *dir,
                      uint64_t *version) {
    bool lacks;
    int r = base_version_get(st, of, dir, version);

    state_lock(st);
    lacks = of == BASE_OF_TREE ? st->tree_lacks : find(st, dir) != NULL;
    state_unlock(st);
    ++*version;
    if (lacks)
        *version |= BASE_AGE_LACKS;
    return r;
}
