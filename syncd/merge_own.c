/*
 * merge_own - this node's listings of the mailboxes that are being merged
 *
 * No diagnostics.
 */
#include "merge_own.h"

#include <stdlib.h>

#include <uthash.h>

#include "mem.h"

struct own {
    struct mailfs_id dir;
    uint32_t round;
    struct replica_payload *listing;
    bool theirs_some, locked;
    UT_hash_handle hh;
};

static struct own *find(struct own *all, const struct mailfs_id *dir) {
    struct own *o;
    HASH_FIND(hh, all, dir, sizeof *dir, o);
    return o;
}

void own_keep(struct own **all, const struct mailfs_id *dir, uint32_t round,
              struct replica_payload *listing, bool locked) {
    struct own *o = find(*all, dir);
    if (o == NULL) {
        o = mem_new(sizeof *o);
        o->dir = *dir;
        HASH_ADD(hh, *all, dir, sizeof o->dir, o);
    }
    if (o->round != round)
        o->theirs_some = false;
    replica_payload_unref(o->listing);
    o->listing = replica_payload_ref(listing);
    o->round = round;
    o->locked = locked;
}

struct replica_payload *own_take(struct own *all, const struct mailfs_id *dir) {
    struct own *o = find(all, dir);
    if (o == NULL)
        return NULL;
    struct replica_payload *listing = o->listing;
    o->listing = NULL;
    return listing;
}

bool own_is(struct own *all, const struct mailfs_id *dir) {
    return find(all, dir) != NULL;
}

bool own_is_of(struct own *all, const struct mailfs_id *dir, uint32_t round) {
    struct own *o = find(all, dir);
    return o != NULL && o->round == round;
}

void own_note_theirs(struct own *all, const struct mailfs_id *dir, bool some) {
    struct own *o = find(all, dir);
    if (o != NULL)
        o->theirs_some = some;
}

bool own_theirs_some(struct own *all, const struct mailfs_id *dir) {
    struct own *o = find(all, dir);
    return o != NULL && o->theirs_some;
}

bool own_take_lock(struct own *all, const struct mailfs_id *dir) {
    struct own *o = find(all, dir);
    bool locked = o != NULL && o->locked;
    if (locked)
        o->locked = false;
    return locked;
}

bool own_forget(struct own **all, const struct mailfs_id *dir) {
    struct own *o = find(*all, dir);
    if (o == NULL)
        return false;
    bool locked = o->locked;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
    HASH_DEL(*all, o);
    replica_payload_unref(o->listing);
    free(o);
    return locked;
}

void own_free(struct own **all) {
    struct own *o, *tmp;
    HASH_ITER(hh, *all, o, tmp)
        own_forget(all, &o->dir);
}
