/*
 * inode_place - where inodes were last seen
 *
 * One lock for the parent and the name of every inode (and what dir.c derives from them). Not held
 * over a system call.
 *
 * Diagnostics: none.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dir.h"
#include "inode_int.h"
#include "keep.h"

static pthread_rwlock_t places = PTHREAD_RWLOCK_INITIALIZER;

void inode_places_lock(void) {
    pthread_rwlock_wrlock(&places);
}

void inode_places_rdlock(void) {
    pthread_rwlock_rdlock(&places);
}

void inode_places_unlock(void) {
    pthread_rwlock_unlock(&places);
}

/* A name in tmp/ does not take the place of one in new/ or cur/. */
static bool place_better(const struct inode *in, const struct inode *parent) {
    if (in->parent == NULL || in->type != S_IFREG || parent->dir->kind != MAILDIR_DIR_TMP)
        return true;
    enum maildir_dir had = in->parent->dir->kind;
    return had == MAILDIR_DIR_TMP || had == MAILDIR_DIR_CONTAINER;
}

void inode_place_set(struct inode *in, struct inode *parent, const char *name) {
    inode_places_rdlock();
    bool same = in->parent == parent && in->name != NULL && strcmp(in->name, name) == 0;
    inode_places_unlock();
    char *copy = same ? NULL : strdup(name);
    if (copy == NULL)
        return; /* no memory: the old place, then, which is allowed to be out of date */
    struct inode *unused = parent;
    inode_ref(parent);
    inode_places_lock();
    if (place_better(in, parent)) {
        char *old = in->name;
        unused = in->parent;
        in->parent = parent;
        in->name = copy;
        copy = old;
        in->unsought = false;
        atomic_store(&inode_slot(in)->parent, (uint32_t)inode_id(parent));
    }
    inode_places_unlock();
    free(copy);
    inode_unref(unused, 1);
}

void inode_place_drop(struct inode *in, const struct inode *parent, const char *name) {
    struct inode *unused = NULL;
    char *old = NULL;
    inode_places_lock();
    if (in->parent == parent && in->name != NULL && strcmp(in->name, name) == 0) {
        unused = in->parent;
        old = in->name;
        in->parent = NULL;
        in->name = NULL;
        atomic_store(&inode_slot(in)->parent, 0);
    }
    inode_places_unlock();
    free(old);
    inode_unref(unused, 1);
}

void inode_name_copy(char to[NAME_MAX + 1], const char *from) {
    size_t n = strnlen(from, NAME_MAX);
    memcpy(to, from, n);
    to[n] = '\0';
}

bool inode_place_get(struct inode *in, struct place *out) {
    if (in->unsought)
        inode_seek(in);
    inode_places_rdlock();
    bool known = in->parent != NULL;
    if (known) {
        out->parent = in->parent;
        inode_name_copy(out->name, in->name);
        inode_ref(out->parent);
    }
    inode_places_unlock();
    return known;
}

void place_done(struct place *p) {
    inode_unref(p->parent, 1);
}
