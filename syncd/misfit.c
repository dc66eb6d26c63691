/*
 * misfit - mailboxes that are to be listed under L
 *
 * No diagnostics.
 */
#include "misfit.h"

#include <stdlib.h>

#include <uthash.h>

#include "mem.h"

struct misfit {
    struct mailfs_id dir;
    UT_hash_handle hh;
};

static struct misfit *find(struct misfit *all, const struct mailfs_id *dir) {
    struct misfit *f;
    HASH_FIND(hh, all, dir, sizeof *dir, f);
    return f;
}

void misfit_note(struct misfit **all, const struct mailfs_id *dir, bool is) {
    struct misfit *f = find(*all, dir);
    if (is && f == NULL) {
        f = mem_new(sizeof *f);
        f->dir = *dir;
        HASH_ADD(hh, *all, dir, sizeof f->dir, f);
    } else if (!is && f != NULL) {
        HASH_DEL(*all, f);
        free(f);
    }
}

bool misfit_is(struct misfit *all, const struct mailfs_id *dir) {
    return find(all, dir) != NULL;
}

void misfit_free(struct misfit **all) {
    struct misfit *f, *next;
    HASH_ITER(hh, *all, f, next) {
        HASH_DEL(*all, f);
        free(f);
    }
}
