/* treeless - see treeless.h. No diagnostics. */
#include "treeless.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

#include "mem.h"

struct treeless {
    struct mailfs_id id;
    int lasting;
    UT_hash_handle hh;
};

static struct treeless *find(struct treeless *set, const struct mailfs_id *id) {
    struct treeless *e;
    HASH_FIND(hh, set, id, sizeof *id, e);
    return e;
}

/* Not what ends when there is room, or what a merge of the trees is there to settle. */
static bool lasts(int err) {
    switch (err) {
    case 0:
    case -ENOSPC:
    case -EDQUOT:
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
    case -ENOENT:
    case -EEXIST:
    case -ENOTEMPTY:
    case -EBUSY:
        return false;
    default:
        return true;
    }
}

void treeless_put(struct treeless **set, const struct mailfs_id *id, int err) {
    struct treeless *e = find(*set, id);
    if (e == NULL) {
        e = mem_new(sizeof *e);
        e->id = *id;
        HASH_ADD(hh, *set, id, sizeof e->id, e);
    }
    if (lasts(err))
        e->lasting = err;
}

bool treeless_has(struct treeless *set, const struct mailfs_id *id) {
    return find(set, id) != NULL;
}

int treeless_lasting(struct treeless *set, const struct mailfs_id *id) {
    struct treeless *e = find(set, id);
    int err = e == NULL ? 0 : e->lasting;
    for (e = set; e != NULL && err == 0; e = e->hh.next)
        err = e->lasting;
    return err;
}

void treeless_free(struct treeless **set) {
    struct treeless *e, *next;
    HASH_ITER(hh, *set, e, next) {
        HASH_DEL(*set, e);
        free(e);
    }
}
