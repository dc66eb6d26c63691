/*
 * dir - kinds, ids and paths of directories
 *
 * kind, local_name and part follow from a directory's place, and are guarded with it (inode.c's
 * places lock); the table of ids has a lock of its own, taken inside that one where an id changes.
 *
 * Diagnostics: error: a directory that can be given no id is not replicated. warning: two
 * directories had the same id (a copy made below the mount): one got a new one, or keeps the one it
 * had.
 */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/dirid.h"
#include "io/io.h"
#include "lock.h"
#include "util/log.h"
#include "util/str.h"

static pthread_mutex_t ids = PTHREAD_MUTEX_INITIALIZER;
static struct dir *by_id;

/* --- ids
 * ------------------------------------------------------------------------------------------ */

static bool dir_is_linked(const struct dir *d) {
    struct stat st;
    return fstat(d->fd, &st) == 0 && st.st_nlink > 0;
}

/* Under the ids' lock. */
static void id_off(struct dir *d) {
    if (d->has_id && by_id != NULL)
        HASH_DELETE(hh, by_id, d);
    d->has_id = false;
}

/* Under the ids' lock. */
static void id_put(struct dir *d, const struct mailfs_id *id) {
    id_off(d);
    d->id = *id;
    HASH_ADD(hh, by_id, id.b, sizeof d->id.b, d);
    d->has_id = true;
}

/* Under the ids' lock. The one beside d that holds this id: a reference, or NULL. */
static struct inode *id_holder(const struct mailfs_id *id, const struct dir *d) {
    struct dir *other;
    HASH_FIND(hh, by_id, id->b, sizeof id->b, other);
    if (other == NULL || other == d)
        return NULL;
    if (inode_ref_live(other->self))
        return other->self;
    id_off(other); /* it is being freed */
    return NULL;
}

static void id_unregister(struct dir *d) {
    pthread_mutex_lock(&ids);
    id_off(d);
    pthread_mutex_unlock(&ids);
}

/* One that was removed, and that the kernel has not forgotten yet, keeps no id from anybody: true,
 * the id is free. Gives the reference back. It asks the disk, so under no lock. */
static bool holder_is_gone(struct inode *other) {
    bool gone = !dir_is_linked(other->dir);
    if (gone)
        id_unregister(other->dir);
    inode_unref(other, 1);
    return gone;
}

/* Enters d as the holder of its id. -EEXIST: another living directory holds it. */
static int id_register(struct dir *d) {
    struct inode *other;
    do {
        pthread_mutex_lock(&ids);
        other = id_holder(&d->id, d);
        if (other == NULL)
            id_put(d, &d->id);
        pthread_mutex_unlock(&ids);
    } while (other != NULL && holder_is_gone(other));
    return other != NULL ? -EEXIST : 0;
}

/* A container that concerns the peer gets its id here. */
static void dir_identify(struct dir *d) {
    char path[PATH_MAX];
    int r = io_dirid_ensure(d->fd, &d->id);
    if (r == 0)
        r = id_register(d);
    if (r == -EEXIST) {
        log_warn("directory %s bears the id of another one (copied below the mount?): "
                 "it gets a new one",
                 dir_shown(d->self, path, sizeof path));
        r = mailfs_id_new(&d->id);
        if (r == 0)
            r = io_dirid_replace(d->fd, &d->id);
        if (r == 0)
            r = id_register(d);
    }
    if (r != 0)
        log_error("directory %s cannot be given an id and is not replicated: %s",
                  dir_shown(d->self, path, sizeof path), log_strerror(r));
}

/* Both locks: whoever asks where a directory is reads its id under the places'. Returns who holds
 * the id already: a reference, or NULL. */
static struct inode *id_change(struct dir *d, const struct mailfs_id *id) {
    struct inode *other = NULL;
    inode_places_lock();
    pthread_mutex_lock(&ids);
    if (d->has_id && !mailfs_id_equal(id, &d->id)) {
        other = id_holder(id, d);
        if (other == NULL) {
            id_put(d, id);
            atomic_store(&d->marked, 0); /* what it is called now has no mark yet */
        }
    }
    pthread_mutex_unlock(&ids);
    inode_places_unlock();
    return other;
}

void dir_identify_again(struct inode *in) {
    struct dir *d = in->dir;
    struct inode *other;
    struct mailfs_id id;
    char path[PATH_MAX];
    if (d == NULL || io_dirid_get(d->fd, &id) != 0)
        return;
    do
        other = id_change(d, &id);
    while (other != NULL && holder_is_gone(other));
    if (other != NULL)
        log_warn("directory %s was given the id of another one that is there: "
                 "it goes by its former one until mailfs is started anew",
                 dir_shown(in, path, sizeof path));
}

/* --- kinds
 * ---------------------------------------------------------------------------------------- */

/* Under the places' lock. */
static void dir_leave_part(struct dir *d) {
    struct inode *parent = d->self->parent;
    if (parent != NULL && parent->dir->part[d->kind] == d)
        parent->dir->part[d->kind] = NULL;
}

/* Under the places' lock; the place is set. */
static void dir_derive(struct dir *d) {
    struct inode *parent = d->self->parent;
    const char *name = d->self->name;
    if (parent == NULL) {
        d->kind = MAILDIR_DIR_CONTAINER;
        d->local_name = d->self != inode_root();
        return;
    }
    enum maildir_dir pk = parent->dir->kind;
    size_t len = strlen(name);
    d->kind = maildir_dir_of(pk, name, len);
    d->local_name =
        pk != MAILDIR_DIR_CONTAINER || maildir_class_is_local(maildir_class_of(pk, name, len));
    if (d->kind != MAILDIR_DIR_CONTAINER && pk == MAILDIR_DIR_CONTAINER)
        parent->dir->part[d->kind] = d;
}

/*
 * More than the components of any path. Of directories that syncd moved the new places come one by
 * one, in any order: of two that were moved into each other each can lie below the other until the
 * second comes. Such a way has no end, and says nothing.
 */
#define WAY_MAX (PATH_MAX / 2)

/* Under the places' lock: does a name on the way to the root say so? */
static bool local_above(const struct inode *in) {
    for (int n = 0; in != inode_root() && n < WAY_MAX; n++, in = in->parent)
        if (in == NULL || in->dir->local_name)
            return true;
    return false;
}

/*
 * true: nothing in it is sent. It keeps the id that it had: of a mailbox that was moved to the
 * trash (and nobody told, since the worker died) it says which one that was.
 */
static bool dir_settle(struct dir *d) {
    inode_places_lock();
    dir_derive(d);
    bool local = local_above(d->self);
    bool wants_id = d->kind == MAILDIR_DIR_CONTAINER && !d->has_id && d->self != inode_root();
    inode_places_unlock();
    if (wants_id && !local)
        dir_identify(d);
    else if (wants_id && io_dirid_get(d->fd, &d->id) == 0)
        id_register(d);
    return local;
}

int dir_attach(struct inode *in, int fd, struct inode *parent, const char *name) {
    struct dir *d = calloc(1, sizeof *d);
    if (d == NULL) {
        close(fd);
        return -ENOMEM;
    }
    d->self = in;
    d->fd = fd;
    d->sought = true;
    pthread_rwlock_init(&d->names, NULL);
    asked_init(&d->asked);
    if (parent != NULL)
        inode_place_set(in, parent, name);
    if (in == inode_root())
        id_register(d); /* the root's is all zero */
    in->dir = d;
    bool local = dir_settle(d);
    if (d->has_id)
        lock_found(d, local);
    return 0;
}

void dir_moved(struct inode *in, struct inode *parent, const char *name) {
    inode_places_lock();
    bool same = in->parent == parent && in->name != NULL && strcmp(in->name, name) == 0;
    if (!same)
        dir_leave_part(in->dir);
    inode_places_unlock();
    if (same)
        return;
    inode_place_set(in, parent, name);
    dir_settle(in->dir);
}

void dir_removed(struct inode *in) {
    struct place p;
    inode_places_lock();
    dir_leave_part(in->dir);
    inode_places_unlock();
    if (inode_place_get(in, &p)) {
        inode_place_drop(in, p.parent, p.name);
        place_done(&p);
    }
    id_unregister(in->dir);
}

void dir_free(struct dir *d) {
    inode_places_lock();
    dir_leave_part(d);
    inode_places_unlock();
    id_unregister(d);
    pthread_rwlock_destroy(&d->names);
    close(d->fd);
    free(d);
}

/* --- looking
 * ---------------------------------------------------------------------------------------- */

void dir_where(struct inode *dir, struct where *w) {
    inode_places_rdlock();
    struct inode *in = dir;
    w->kind = dir->dir->kind;
    w->local = false;
    while (in->dir->kind != MAILDIR_DIR_CONTAINER && in->parent != NULL) {
        w->local |= in->dir->local_name;
        in = in->parent;
    }
    w->local |= local_above(in);
    w->cont = in;
    w->cd = in->dir;
    w->id = in->dir->id;
    w->local |= !in->dir->has_id;
    inode_ref(in);
    inode_places_unlock();
}

void where_done(struct where *w) {
    inode_unref(w->cont, 1);
}

struct inode *dir_by_id(const struct mailfs_id *id) {
    struct dir *d;
    pthread_mutex_lock(&ids);
    HASH_FIND(hh, by_id, id->b, sizeof id->b, d);
    struct inode *in = d != NULL && inode_ref_live(d->self) ? d->self : NULL;
    pthread_mutex_unlock(&ids);
    return in;
}

struct inode *dir_part(struct inode *cont, enum maildir_dir kind) {
    if (kind == MAILDIR_DIR_CONTAINER) {
        inode_ref(cont);
        return cont;
    }
    inode_places_rdlock();
    struct dir *d = cont->dir->part[kind];
    struct inode *in = d != NULL && inode_ref_live(d->self) ? d->self : NULL;
    inode_places_unlock();
    return in;
}

bool dir_is_cut(struct inode *dir) {
    inode_places_rdlock();
    const struct inode *in = dir;
    for (int n = 0; in != NULL && in != inode_root() && n < WAY_MAX; n++)
        in = in->parent;
    inode_places_unlock();
    return in == NULL;
}

int dir_path(struct inode *dir, char *buf, size_t size) {
    char path[PATH_MAX];
    size_t at = sizeof path - 1;
    int r = 0;
    path[at] = '\0';
    inode_places_rdlock();
    for (struct inode *in = dir; r == 0 && in != inode_root(); in = in->parent) {
        size_t n = in == NULL || in->name == NULL ? 0 : strlen(in->name);
        if (n == 0) {
            r = -ENOENT;
            break;
        }
        if (n + 1 > at) {
            r = -ENAMETOOLONG;
            break;
        }
        if (path[at] != '\0')
            path[--at] = '/';
        at -= n;
        memcpy(path + at, in->name, n);
    }
    inode_places_unlock();
    if (r == 0 && sizeof path - at > size)
        r = -ENAMETOOLONG;
    if (r == 0)
        memcpy(buf, path + at, sizeof path - at);
    return r;
}

const char *dir_shown(struct inode *dir, char *buf, size_t size) {
    if (dir_path(dir, buf, size) != 0)
        str_copy(buf, size, "?");
    else if (buf[0] == '\0')
        str_copy(buf, size, "/");
    return buf;
}

void dir_each(void (*fn)(struct dir *d, void *arg), void *arg) {
    size_t n = 0;
    pthread_mutex_lock(&ids);
    struct dir **all = calloc(HASH_COUNT(by_id) + 1, sizeof(struct dir *));
    for (struct dir *d = by_id; d != NULL && all != NULL; d = d->hh.next)
        if (inode_ref_live(d->self))
            all[n++] = d;
    pthread_mutex_unlock(&ids);
    for (size_t i = 0; i < n; i++) {
        struct inode *in = all[i]->self;
        fn(all[i], arg);
        inode_unref(in, 1);
    }
    free(all);
}
