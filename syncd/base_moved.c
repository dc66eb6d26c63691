/*
 * base_moved: where a merge of the trees found directories, until both nodes have its result.
 *
 * The base has the new place at once. If the peer could not carry the merge out (its users made the
 * same name meanwhile), its base has the former place, its store too, and each node by its own base
 * did nothing. Which of the two bases is the later the counts do not always say, since transactions
 * of the one that failed count as well; a folder that was renamed got its former name so. In
 * memory: about 400 bytes for each that was moved. After a start the counts have to do.
 *
 * No diagnostics.
 */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state_int.h"

struct moved {
    UT_hash_handle hh;
    struct mailfs_id dir, parent;
    char name[MAILDIR_NAME_MAX + 1];
};

static struct moved *find(const struct state *st, const struct mailfs_id *dir) {
    struct moved *m;

    HASH_FIND(hh, st->moved, dir, sizeof(*dir), m);
    return m;
}

int base_moved_note(struct state *st, const struct mailfs_id *dir, const struct base_dir *was) {
    struct moved *m = calloc(1, sizeof(*m));
    bool noted;

    if (!m)
        return -ENOMEM;
    m->dir = *dir;
    m->parent = was->parent;
    memcpy(m->name, was->name, sizeof(m->name));
    state_lock(st);
    noted = find(st, dir) != NULL;
    if (!noted) /* of several merges that the peer did not have, where the first found it */
        HASH_ADD(hh, st->moved, dir, sizeof(m->dir), m);
    state_unlock(st);
    if (noted)
        free(m);
    return 0;
}

bool base_moved_from(struct state *st, const struct mailfs_id *dir, struct mailfs_id *parent,
                     char name[MAILDIR_NAME_MAX + 1]) {
    const struct moved *m;

    state_lock(st);
    m = find(st, dir);
    if (m) {
        *parent = m->parent;
        memcpy(name, m->name, sizeof(m->name));
    }
    state_unlock(st);
    return m != NULL;
}

void base_moved_forget(struct state *st, const struct mailfs_id *dir) {
    struct moved *m;

    state_lock(st);
    m = find(st, dir);
    if (m)
        HASH_DEL(st->moved, m);
    state_unlock(st);
    free(m);
}

void base_moved_settled(struct state *st) {
    struct moved *m, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->moved, m, tmp) {
        HASH_DEL(st->moved, m);
        free(m);
    }
    state_unlock(st);
}
