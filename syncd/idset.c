/* idset - see idset.h. No diagnostics. */
#include "idset.h"

#include <stdlib.h>

#include <uthash.h>

#include "mem.h"

struct idset {
    struct mailfs_id id;
    UT_hash_handle hh;
};

static struct idset *find(struct idset *set, const struct mailfs_id *id) {
    struct idset *e;
    HASH_FIND(hh, set, id, sizeof *id, e);
    return e;
}

void idset_put(struct idset **set, const struct mailfs_id *id, bool in) {
    struct idset *e = find(*set, id);
    if (in && e == NULL) {
        e = mem_new(sizeof *e);
        e->id = *id;
        HASH_ADD(hh, *set, id, sizeof e->id, e);
    } else if (!in && e != NULL) {
        HASH_DEL(*set, e);
        free(e);
    }
}

bool idset_has(struct idset *set, const struct mailfs_id *id) {
    return find(set, id) != NULL;
}

void idset_free(struct idset **set) {
    struct idset *e, *next;
    HASH_ITER(hh, *set, e, next) {
        HASH_DEL(*set, e);
        free(e);
    }
}
