/*
 * alias: ids that directories had before they were joined with others.
 *
 * In memory, some 80 bytes each, as long as syncd lives: mailfs is told of the new id at once.
 *
 * No diagnostics of its own.
 */
#include "alias.h"

#include <errno.h>
#include <stdlib.h>

#include "hold.h"
#include "state_int.h"

/* An id that was given up for one that was given up, and so on. */
#define CHAIN_MAX 16

struct alias {
    struct mailfs_id old, now;
    UT_hash_handle hh;
};

int alias_note(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now) {
    struct alias *a;
    int r = 0;

    hold_alias(st, old, now);
    state_lock(st);
    HASH_FIND(hh, st->aliases, old, sizeof(*old), a);
    if (!a && (a = calloc(1, sizeof(*a)))) {
        a->old = *old;
        HASH_ADD(hh, st->aliases, old, sizeof(a->old), a);
    }
    if (a)
        a->now = *now;
    else
        r = -ENOMEM;
    state_unlock(st);
    return r;
}

int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    struct alias *a;
    uint64_t gen;
    int i, r;

    *now = *old;
    state_lock(st);
    for (i = 0; i < CHAIN_MAX; i++) {
        HASH_FIND(hh, st->aliases, now, sizeof(*now), a);
        if (!a)
            break;
        *now = a->now;
    }
    state_unlock(st);
    if (i == 0)
        return 0;
    r = state_mark_gen(st, &gen);
    if (r == 0)
        r = state_mark(st, now, gen);
    return r == 0 ? 1 : r;
}

void alias_free(struct state *st) {
    struct alias *a, *tmp;

    HASH_ITER(hh, st->aliases, a, tmp) {
        HASH_DEL(st->aliases, a);
        free(a);
    }
}
