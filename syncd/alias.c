/*
 * alias: ids that directories had before they were joined with others.
 *
 * In memory, some 100 bytes each: the last 4,096, and of more those of the last hour, which are no
 * more than there were directories to be joined (all of a store, where a node is seeded by a copy
 * without extended attributes).
 *
 * No diagnostics of its own.
 */
#include "alias.h"

#include <errno.h>
#include <stdlib.h>

#include "hold.h"
#include "owed.h"
#include "state_int.h"
#include "util/clock.h"

struct alias {
    struct mailfs_id old, now;
    uint64_t since; /* clock_ms(); the table is in this order */
    UT_hash_handle hh;
};

/* A directory bears it. Under the mutex. */
static void in_use(struct state *st, const struct mailfs_id *id) {
    struct alias *a;

    HASH_FIND(hh, st->aliases, id, sizeof(*id), a);
    if (!a)
        return;
    HASH_DEL(st->aliases, a);
    free(a);
}

void alias_end(struct state *st, const struct mailfs_id *id) {
    state_lock(st);
    in_use(st, id);
    state_unlock(st);
}

/* Under the mutex. Of a chain the older links are before the newer ones. */
static void drop_old(struct state *st) {
    struct alias *a;

    while (HASH_COUNT(st->aliases) > ALIASES_KEPT && (a = st->aliases) &&
           clock_ms() - a->since >= st->alias_ms) {
        HASH_DEL(st->aliases, a);
        free(a);
    }
}

int alias_note(struct state *st, const struct mailfs_id *old, const struct mailfs_id *now) {
    struct alias *a;
    int r = owed_copy(st, old, now);

    if (r < 0)
        return r;
    hold_alias(st, old, now);
    state_lock(st);
    in_use(st, now);
    in_use(st, old); /* it was given up before, and is again: as a new one */
    a = calloc(1, sizeof(*a));
    if (a) {
        *a = (struct alias){.old = *old, .now = *now, .since = clock_ms()};
        HASH_ADD(hh, st->aliases, old, sizeof(a->old), a);
        drop_old(st);
    }
    state_unlock(st);
    return a ? 0 : -ENOMEM;
}

bool alias_next(struct state *st, const struct mailfs_id *old, struct mailfs_id *next) {
    struct alias *a;

    state_lock(st);
    HASH_FIND(hh, st->aliases, old, sizeof(*old), a);
    if (a)
        *next = a->now;
    state_unlock(st);
    return a != NULL;
}

bool alias_now(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    struct mailfs_id at = *old;
    int i;

    for (i = 0; i < ALIAS_CHAIN_MAX && alias_next(st, &at, now); i++)
        at = *now;
    return i > 0;
}

int alias_mark(struct state *st, const struct mailfs_id *old, struct mailfs_id *now) {
    uint64_t gen;
    int r;

    if (!alias_now(st, old, now))
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
