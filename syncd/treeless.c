/* treeless - see treeless.h. No diagnostics. */
#include "treeless.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

#include "mem.h"

struct treeless {
    struct mailfs_id id;
    int lasting;
    uint64_t until; /* it lasts */
    UT_hash_handle hh;
};

static struct treeless *find(struct treeless *set, const struct mailfs_id *id) {
    struct treeless *e;
    HASH_FIND(hh, set, id, sizeof *id, e);
    return e;
}

/* Not what ends when there is room on the disk and by its owner's quota, or the store is there
 * again (tree_merge_room() makes a directory in it, and a file of each owner's), or what a merge of
 * the trees is there to settle. */
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
    case -EROFS:
    case -ENOTCONN:
        return false;
    default:
        return true;
    }
}

void treeless_put(struct treeless **set, const struct mailfs_id *id, int err, uint64_t now) {
    struct treeless *e = find(*set, id);
    if (e == NULL) {
        e = mem_new(sizeof *e);
        e->id = *id;
        HASH_ADD(hh, *set, id, sizeof e->id, e);
    }
    uint64_t until = err == -EIO ? now + TREELESS_EIO_MS : UINT64_MAX;
    if (lasts(err) && until >= e->until) {
        e->lasting = err;
        e->until = until;
    }
}

bool treeless_has(struct treeless *set, const struct mailfs_id *id) {
    return find(set, id) != NULL;
}

struct mailfs_id *treeless_all(const struct treeless *set, size_t *n) {
    struct mailfs_id *v = set == NULL ? NULL : mem_new(HASH_COUNT(set) * sizeof *v);
    *n = 0;
    for (const struct treeless *e = set; e != NULL; e = e->hh.next)
        v[(*n)++] = e->id;
    return v;
}

static int lasting_at(const struct treeless *e, uint64_t now) {
    return e != NULL && now < e->until ? e->lasting : 0;
}

int treeless_lasting(struct treeless *set, const struct mailfs_id *id, uint64_t now) {
    int err = lasting_at(find(set, id), now);
    for (struct treeless *e = set; e != NULL && err == 0; e = e->hh.next)
        err = lasting_at(e, now);
    return err;
}

void treeless_free(struct treeless **set) {
    struct treeless *e, *next;
    HASH_ITER(hh, *set, e, next) {
        HASH_DEL(*set, e);
        free(e);
    }
}
