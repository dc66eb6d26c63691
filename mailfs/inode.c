/*
 * inode - the table of known inodes, their references and places
 *
 * Locks: `table` guards the hash and all reference counts; `places` guards parent and name of every
 * inode (and what dir.c derives from them). The table's may be taken while the places' is held,
 * never the other way round; neither is held over a system call.
 *
 * Diagnostics: none; errors are returned.
 */
#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "file.h"
#include "prepare.h"

#define BUCKETS_FIRST 1024u

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static struct inode **buckets;
static size_t n_buckets, n_inodes;
static uint32_t next_generation = 1;
static pthread_rwlock_t places = PTHREAD_RWLOCK_INITIALIZER;
static struct inode *root;
static int mount_fd = -1; /* any descriptor of the store's file system, for its handles */

/* --- the table: all under its lock ---------------------------------------------------------- */

static size_t bucket_of(uint64_t dev, uint64_t ino, size_t n) {
    uint64_t x = (ino ^ (dev << 17)) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x >> 20) & (n - 1);
}

static void table_grow(void) {
    size_t n = n_buckets == 0 ? BUCKETS_FIRST : n_buckets * 2;
    struct inode **bigger = calloc(n, sizeof(struct inode *));
    if (bigger == NULL)
        return; /* longer chains, then */
    for (size_t i = 0; i < n_buckets; i++) {
        for (struct inode *in = buckets[i], *next; in != NULL; in = next) {
            struct inode **b = &bigger[bucket_of(in->dev, in->ino, n)];
            next = in->next;
            in->next = *b;
            *b = in;
        }
    }
    free(buckets);
    buckets = bigger;
    n_buckets = n;
}

static struct inode *table_find(uint64_t dev, uint64_t ino) {
    struct inode *in = n_buckets == 0 ? NULL : buckets[bucket_of(dev, ino, n_buckets)];
    while (in != NULL && (in->ino != ino || in->dev != dev))
        in = in->next;
    return in;
}

static int table_add(struct inode *in) {
    if (n_inodes >= n_buckets)
        table_grow();
    if (n_buckets == 0)
        return -ENOMEM;
    struct inode **b = &buckets[bucket_of(in->dev, in->ino, n_buckets)];
    in->next = *b;
    *b = in;
    in->hashed = true;
    n_inodes++;
    return 0;
}

static void table_remove(struct inode *in) {
    if (!in->hashed)
        return;
    struct inode **b = &buckets[bucket_of(in->dev, in->ino, n_buckets)];
    while (*b != in)
        b = &(*b)->next;
    *b = in->next;
    in->hashed = false;
    n_inodes--;
}

/* The one of this number and handle, a reference added, or NULL. */
static struct inode *table_take(const struct stat *st, const struct io_handle *h) {
    struct inode *in = table_find(st->st_dev, st->st_ino);
    if (in == NULL)
        return NULL;
    if (memcmp(&in->handle, h, sizeof *h) != 0) {
        table_remove(in); /* the number was given to another file */
        return NULL;
    }
    in->refs++;
    return in;
}

/* --- life --------------------------------------------------------------------------------------
 */

struct inode *inode_root(void) {
    return root;
}

struct inode *inode_of(uint64_t nodeid) {
    return nodeid == 1 ? root : (struct inode *)(uintptr_t)nodeid; /* 1: FUSE_ROOT_ID */
}

uint64_t inode_id(const struct inode *in) {
    return in == root ? 1 : (uint64_t)(uintptr_t)in;
}

void inode_ref(struct inode *in) {
    pthread_mutex_lock(&table);
    in->refs++;
    pthread_mutex_unlock(&table);
}

bool inode_ref_live(struct inode *in) {
    pthread_mutex_lock(&table);
    bool live = in->refs > 0;
    if (live)
        in->refs++;
    pthread_mutex_unlock(&table);
    return live;
}

static void inode_free(struct inode *in) {
    if (in->dir != NULL)
        dir_free(in->dir);
    prepare_inode_gone(in);
    free(in->name);
    free(in);
}

void inode_unref(struct inode *in, uint64_t n) {
    while (in != NULL) {
        pthread_mutex_lock(&table);
        in->refs = in->refs > n ? in->refs - n : 0;
        bool last = in->refs == 0;
        if (last)
            table_remove(in);
        pthread_mutex_unlock(&table);
        if (!last)
            return;
        struct inode *parent = in->parent; /* nobody else can see it any more */
        inode_free(in);
        in = parent;
        n = 1;
    }
}

struct inode *inode_find(uint64_t dev, uint64_t ino) {
    pthread_mutex_lock(&table);
    struct inode *in = table_find(dev, ino);
    if (in != NULL)
        in->refs++;
    pthread_mutex_unlock(&table);
    return in;
}

struct inode *inode_made_up(void) {
    struct inode *in = calloc(1, sizeof *in);
    if (in == NULL)
        return NULL;
    in->refs = 1;
    in->made_up = true;
    in->type = S_IFREG;
    in->generation = 1;
    return in;
}

/* Finds or makes it; a directory may have to be attached yet. */
static int inode_take(const struct stat *st, const struct io_handle *h, struct inode **out) {
    struct inode *made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->ino = st->st_ino;
    made->dev = st->st_dev;
    made->handle = *h;
    made->type = (uint16_t)(st->st_mode & S_IFMT);
    made->refs = 1;

    int r = 0;
    pthread_mutex_lock(&table);
    struct inode *in = table_take(st, h);
    if (in == NULL) {
        made->generation = next_generation++;
        r = table_add(made);
        in = made;
    }
    pthread_mutex_unlock(&table);
    if (r != 0 || in != made)
        free(made);
    *out = in;
    return r;
}

/* Only one thread attaches a directory's part; a second one waits here until it is there. */
static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER;

static int inode_dir_seen(struct inode *in, int fd, struct inode *parent, const char *name) {
    int r = 0;
    pthread_mutex_lock(&attaching);
    if (in->dir != NULL) {
        dir_moved(in, parent, name);
    } else {
        int dirfd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = dirfd < 0 ? -errno : dir_attach(in, dirfd, parent, name);
    }
    pthread_mutex_unlock(&attaching);
    return r;
}

int inode_from_fd(int fd, struct inode *parent, const char *name, struct inode **out,
                  struct stat *st) {
    struct io_handle h;
    struct inode *in;
    if (fstat(fd, st) != 0)
        return -errno;
    int r = io_handle_get_fd(fd, &h);
    if (r == 0)
        r = inode_take(st, &h, &in);
    if (r != 0)
        return r;
    if (in->type == S_IFDIR)
        r = inode_dir_seen(in, fd, parent, name);
    else
        inode_place_set(in, parent, name);
    if (r != 0) {
        inode_unref(in, 1);
        return r;
    }
    *out = in;
    return 0;
}

int inode_lookup(struct inode *parent, const char *name, struct inode **out, struct stat *st) {
    int fd = openat(parent->dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = inode_from_fd(fd, parent, name, out, st);
    close(fd);
    return r;
}

int inode_init(int store_fd) {
    struct stat st;
    struct io_handle h;
    mount_fd = store_fd;
    if (fstat(store_fd, &st) != 0)
        return -errno;
    int r = io_handle_get_fd(store_fd, &h);
    if (r == 0)
        r = inode_take(&st, &h, &root);
    if (r != 0)
        return r;
    root->refs = UINT64_C(1) << 48; /* never forgotten */
    int fd = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : dir_attach(root, fd, NULL, "");
}

uint64_t inode_count(void) {
    pthread_mutex_lock(&table);
    uint64_t n = n_inodes;
    pthread_mutex_unlock(&table);
    return n;
}

/* --- descriptors -------------------------------------------------------------------------------
 */

int inode_open(struct inode *in, int flags) {
    return io_handle_open(mount_fd, &in->handle, flags);
}

int inode_fd(struct inode *in, struct inode_fd *out) {
    *out = (struct inode_fd){.fd = -1};
    if (in->made_up)
        return -ENOENT;
    if (in->dir != NULL) {
        out->fd = in->dir->fd;
        return 0;
    }
    out->file = file_borrow(in);
    if (out->file != NULL) {
        out->fd = file_fd(out->file);
        return 0;
    }
    out->fd = inode_open(in, O_PATH | O_NOFOLLOW);
    out->own = true;
    return out->fd < 0 ? out->fd : 0;
}

void inode_fd_done(struct inode_fd *f) {
    if (f->own && f->fd >= 0)
        close(f->fd);
    if (f->file != NULL)
        file_unref(f->file);
    *f = (struct inode_fd){.fd = -1};
}

int inode_stat(struct inode *in, struct stat *st) {
    struct inode_fd f;
    if (in->made_up) {
        *st = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_ino = 2};
        return 0;
    }
    int r = inode_fd(in, &f);
    if (r == 0)
        r = fstat(f.fd, st) == 0 ? 0 : -errno;
    inode_fd_done(&f);
    return r;
}

/* --- places --------------------------------------------------------------------------------------
 */

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
    }
    inode_places_unlock();
    free(old);
    inode_unref(unused, 1);
}

static void name_copy(char to[NAME_MAX + 1], const char *from) {
    size_t n = strnlen(from, NAME_MAX);
    memcpy(to, from, n);
    to[n] = '\0';
}

bool inode_place_get(struct inode *in, struct place *out) {
    inode_places_rdlock();
    bool known = in->parent != NULL;
    if (known) {
        out->parent = in->parent;
        name_copy(out->name, in->name);
        inode_ref(out->parent);
    }
    inode_places_unlock();
    return known;
}

void place_done(struct place *p) {
    inode_unref(p->parent, 1);
}

struct child {
    struct inode *in;
    char name[NAME_MAX + 1];
};

/* Children from *bucket on, references held. false: the end was reached and there was none. */
static bool children_some(const struct inode *parent, size_t *bucket, struct child *c, size_t max,
                          size_t *n) {
    *n = 0;
    inode_places_rdlock();
    pthread_mutex_lock(&table);
    /* Half of the room is kept for the last bucket's chain. */
    for (; *bucket < n_buckets && *n < max / 2; (*bucket)++) {
        for (struct inode *in = buckets[*bucket]; in != NULL && *n < max; in = in->next) {
            if (parent == NULL ? in->parent == NULL : in->parent != parent)
                continue;
            in->refs++;
            c[*n].in = in;
            name_copy(c[(*n)++].name, in->name);
        }
    }
    bool more = *bucket < n_buckets || *n > 0;
    pthread_mutex_unlock(&table);
    inode_places_unlock();
    return more;
}

void inode_each_child(const struct inode *parent,
                      void (*fn)(struct inode *in, const char *name, void *arg), void *arg) {
    enum { SOME = 128 };
    struct child *c = calloc(SOME, sizeof *c);
    size_t bucket = 0, n;
    if (c == NULL)
        return;
    while (children_some(parent, &bucket, c, SOME, &n)) {
        for (size_t i = 0; i < n; i++) {
            fn(c[i].in, c[i].name, arg);
            inode_unref(c[i].in, 1);
        }
    }
    free(c);
}
