/*
 * inode - the table of known inodes, and their references (places: inode_place.c; descriptors:
 * inode_fd.c)
 *
 * Locks: `table` guards the hash, the free slots and all reference counts. It may be taken while
 * the places' lock is held, never the other way round; neither is held over a system call.
 *
 * Diagnostics: none; errors are returned.
 */
#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "inode_int.h"
#include "keep.h"
#include "prepare.h"

#define BUCKETS_FIRST 1024u

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static struct inode **buckets;
static size_t n_buckets, n_inodes;
static size_t n_inodes_most; /* since memory was last given back */
static struct inode *_Atomic *by_slot;
static struct keep_unused unused;
static struct inode *root;

struct inode inode_nobody = {.refs = UINT64_C(1) << 48, .slot = KEEP_INODES_MAX - 1};

/* --- slots ---------------------------------------------------------------------------------------
 */

struct keep_inode *inode_slot(const struct inode *in) {
    return &keep.inodes[in->slot];
}

void inode_handle(const struct inode *in, struct io_handle *h) {
    const struct keep_inode *k = inode_slot(in);
    *h = (struct io_handle){.len = k->handle_len, .type = k->handle_type};
    if (h->len > KEEP_HANDLE_MAX)
        h->len = 0; /* torn: no handle at all */
    memcpy(h->b, k->handle, h->len);
}

bool inode_short_lived(const struct inode *in) {
    return in->made_up || (atomic_load(&inode_slot(in)->kind) & KEEP_SHORT_LIVED) != 0;
}

void inode_set_short_lived(struct inode *in, bool short_lived) {
    struct keep_inode *k = inode_slot(in);
    if (inode_short_lived(in) == short_lived)
        return;
    if (short_lived)
        atomic_fetch_or(&k->kind, KEEP_SHORT_LIVED);
    else
        atomic_fetch_and(&k->kind, KEEP_TYPE);
}

/* Under the table's lock. */
static int slot_new(uint32_t *i) {
    if (keep_unused_take(&unused, i))
        return 0;
    *i = atomic_load(&keep.head->inodes);
    if (*i >= KEEP_INODES_MAX - 1)
        return -ENFILE;
    atomic_store(&keep.head->inodes, *i + 1);
    return 0;
}

static void slot_fill(struct inode *in, const struct stat *st, const struct io_handle *h) {
    struct keep_inode *k = inode_slot(in);
    k->ino = st->st_ino;
    k->dev = (uint32_t)st->st_dev; /* the kernel's own form of it has 32 bits */
    k->generation = atomic_fetch_add(&keep.head->generation, 1) + 1;
    k->handle_len = h->len;
    k->handle_type = h->type;
    memcpy(k->handle, h->b, sizeof k->handle);
    atomic_store(&k->lookups, 0);
    atomic_store(&k->aux, 0);
    atomic_store(&k->parent, 0);
    atomic_store(&k->kind, (uint8_t)((st->st_mode & S_IFMT) >> 12));
    atomic_store(&by_slot[in->slot], in);
    atomic_store(&k->state, in->made_up ? KEEP_MADE_UP : KEEP_USED);
}

static void slot_free(const struct inode *in) {
    atomic_store(&inode_slot(in)->state, KEEP_FREE);
    atomic_store(&by_slot[in->slot], NULL);
    pthread_mutex_lock(&table);
    keep_unused_add(&unused, in->slot);
    pthread_mutex_unlock(&table);
}

/*
 * What the kernel's inodes took is kept by malloc(3) and by the pages of the slots when it has
 * forgotten them: 237 MiB after a walk through 1,000,000 messages. So it is given back each time
 * half of them have gone.
 */
enum { GIVE_BACK_FROM = 4096 };

/* Under the table's lock: is it time to? */
static bool table_shrunk(void) {
    bool shrunk = n_inodes_most >= GIVE_BACK_FROM && n_inodes < n_inodes_most / 2;
    if (shrunk)
        n_inodes_most = n_inodes;
    return shrunk;
}

static void memory_give_back(void) {
    uint32_t n = atomic_load(&keep.head->inodes);
    uint32_t per_page = (uint32_t)((size_t)sysconf(_SC_PAGESIZE) / sizeof(struct keep_inode));
    for (uint32_t i = 0; i + per_page <= n; i += per_page) {
        pthread_mutex_lock(&table);
        keep_inodes_unused(i, per_page);
        pthread_mutex_unlock(&table);
    }
    malloc_trim(0);
}

/* --- the table: all under its lock ---------------------------------------------------------- */

static size_t bucket_of(uint32_t dev, uint64_t ino, size_t n) {
    uint64_t x = (ino ^ ((uint64_t)dev << 17)) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(x >> 20) & (n - 1);
}

static size_t bucket_of_inode(const struct inode *in, size_t n) {
    return bucket_of(inode_slot(in)->dev, inode_slot(in)->ino, n);
}

static void table_grow(void) {
    size_t n = n_buckets == 0 ? BUCKETS_FIRST : n_buckets * 2;
    struct inode **bigger = calloc(n, sizeof(struct inode *));
    if (bigger == NULL)
        return; /* longer chains, then */
    for (size_t i = 0; i < n_buckets; i++) {
        for (struct inode *in = buckets[i], *next; in != NULL; in = next) {
            struct inode **b = &bigger[bucket_of_inode(in, n)];
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
    struct inode *in = n_buckets == 0 ? NULL : buckets[bucket_of((uint32_t)dev, ino, n_buckets)];
    while (in != NULL && (inode_slot(in)->ino != ino || inode_slot(in)->dev != (uint32_t)dev))
        in = in->next;
    return in;
}

static int table_add(struct inode *in) {
    if (n_inodes >= n_buckets)
        table_grow();
    if (n_buckets == 0)
        return -ENOMEM;
    struct inode **b = &buckets[bucket_of_inode(in, n_buckets)];
    in->next = *b;
    *b = in;
    in->hashed = true;
    if (++n_inodes > n_inodes_most)
        n_inodes_most = n_inodes;
    return 0;
}

static void table_remove(struct inode *in) {
    if (!in->hashed)
        return;
    struct inode **b = &buckets[bucket_of_inode(in, n_buckets)];
    while (*b != in)
        b = &(*b)->next;
    *b = in->next;
    in->hashed = false;
    n_inodes--;
}

/* The one of this number and handle, a reference added, or NULL. */
static struct inode *table_take(const struct stat *st, const struct io_handle *h) {
    struct inode *in = table_find(st->st_dev, st->st_ino);
    struct io_handle had;
    if (in == NULL)
        return NULL;
    inode_handle(in, &had);
    if (memcmp(&had, h, sizeof *h) != 0) {
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
    struct inode *in = nodeid - 1 < KEEP_INODES_MAX ? atomic_load(&by_slot[nodeid - 1]) : NULL;
    return in != NULL ? in : &inode_nobody;
}

uint64_t inode_id(const struct inode *in) {
    return (uint64_t)in->slot + 1;
}

void inode_give(struct inode *in) {
    atomic_fetch_add(&inode_slot(in)->lookups, 1);
}

static void lookups_less(struct inode *in, uint64_t n) {
    _Atomic uint64_t *l = &inode_slot(in)->lookups;
    uint64_t had = atomic_load(l);
    while (!atomic_compare_exchange_weak(l, &had, had > n ? had - n : 0))
        ;
}

void inode_take_back(struct inode *in) {
    lookups_less(in, 1);
}

void inode_forget(struct inode *in, uint64_t n) {
    lookups_less(in, n);
    inode_unref(in, n);
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
    slot_free(in);
    free(in->name);
    free(in);
}

void inode_unref(struct inode *in, uint64_t n) {
    bool shrunk = false;
    while (in != NULL) {
        pthread_mutex_lock(&table);
        in->refs = in->refs > n ? in->refs - n : 0;
        bool last = in->refs == 0;
        if (last) {
            table_remove(in);
            shrunk |= table_shrunk();
        }
        pthread_mutex_unlock(&table);
        if (!last)
            break;
        struct inode *parent = in->parent; /* nobody else can see it any more */
        inode_free(in);
        in = parent;
        n = 1;
    }
    if (shrunk)
        memory_give_back();
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
    static const struct stat st = {.st_mode = S_IFREG | 0600};
    static const struct io_handle none;
    struct inode *in = calloc(1, sizeof *in);
    if (in == NULL)
        return NULL;
    in->refs = 1;
    in->made_up = true;
    in->type = S_IFREG;
    pthread_mutex_lock(&table);
    int r = slot_new(&in->slot);
    if (r == 0)
        slot_fill(in, &st, &none);
    pthread_mutex_unlock(&table);
    if (r != 0) {
        free(in);
        return NULL;
    }
    return in;
}

/* Finds or makes it; a directory may have to be attached yet. */
int inode_take(const struct stat *st, const struct io_handle *h, struct inode **out) {
    if (h->len > KEEP_HANDLE_MAX)
        return -EOVERFLOW;
    struct inode *made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->type = (uint16_t)(st->st_mode & S_IFMT);
    made->refs = 1;

    int r = 0;
    pthread_mutex_lock(&table);
    struct inode *in = table_take(st, h);
    if (in == NULL) {
        r = slot_new(&made->slot);
        if (r == 0) {
            slot_fill(made, st, h);
            r = table_add(made);
        }
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

/* --- taking over: before there are other threads ---------------------------------------------- */

/* Of a number that was given twice, the later one is in the table. */
static int restore_hash(struct inode *in) {
    const struct keep_inode *k = inode_slot(in);
    struct inode *other = table_find(k->dev, k->ino);
    if (other != NULL && inode_slot(other)->generation - k->generation < UINT32_MAX / 2)
        return 0;
    if (other != NULL)
        table_remove(other);
    return table_add(in);
}

/* The kernel knows it, or a lock or a prepared content hangs on it: it goes on. */
static int restore_one(uint32_t i) {
    struct keep_inode *k = &keep.inodes[i];
    uint8_t state = atomic_load(&k->state);
    uint64_t lookups = atomic_load(&k->lookups);
    bool is_dir = (atomic_load(&k->kind) & KEEP_TYPE) == S_IFDIR >> 12;
    if (i > 0 && lookups == 0 && !(state == KEEP_USED && atomic_load(&k->aux) != 0))
        atomic_store(&k->state, state = KEEP_FREE);
    if (state == KEEP_FREE) {
        keep_unused_add(&unused, i);
        return 0;
    }
    struct inode *in = calloc(1, sizeof *in);
    if (in == NULL)
        return -ENOMEM;
    in->slot = i;
    in->refs = lookups + 1;
    in->taken_over = true;
    in->made_up = state == KEEP_MADE_UP;
    in->type = (uint16_t)((atomic_load(&k->kind) & KEEP_TYPE) << 12);
    in->unsought = !is_dir && atomic_load(&k->parent) != 0;
    atomic_store(&by_slot[i], in);
    return in->made_up ? 0 : restore_hash(in);
}

static int inode_restore_table(void) {
    uint32_t n = atomic_load(&keep.head->inodes);
    int r = 0;
    if (n > KEEP_INODES_MAX - 1)
        return -ESTALE;
    for (uint32_t i = n; i-- > 0 && r == 0;)
        r = restore_one(i);
    return r;
}

static int root_init(int store_fd) {
    struct stat st;
    struct io_handle h;
    if (fstat(store_fd, &st) != 0)
        return -errno;
    int r = io_handle_get_fd(store_fd, &h);
    if (r == 0)
        r = inode_take(&st, &h, &root);
    if (r == 0 && root->slot != 0)
        r = -ESTALE; /* what was left is of another store */
    if (r != 0)
        return r;
    root->refs = UINT64_C(1) << 48; /* never forgotten */
    int fd = openat(store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : dir_attach(root, fd, NULL, "");
}

int inode_init(int store_fd) {
    by_slot = keep_zeroed(sizeof *by_slot * KEEP_INODES_MAX, false);
    if (by_slot == NULL)
        return -ENOMEM;
    int r = inode_restore_table();
    if (r == 0)
        r = root_init(store_fd);
    return r == 0 ? inode_restore_dirs() : r;
}

uint64_t inode_count(void) {
    pthread_mutex_lock(&table);
    uint64_t n = n_inodes;
    pthread_mutex_unlock(&table);
    return n;
}

/* --- children --------------------------------------------------------------------------------
 */

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
            inode_name_copy(c[(*n)++].name, in->name);
        }
    }
    bool more = *bucket < n_buckets || *n > 0;
    pthread_mutex_unlock(&table);
    inode_places_unlock();
    return more;
}

void inode_each_child(struct inode *parent,
                      void (*fn)(struct inode *in, const char *name, void *arg), void *arg) {
    enum { SOME = 128 };
    struct child *c = calloc(SOME, sizeof *c);
    size_t bucket = 0, n;
    if (c == NULL)
        return;
    if (parent != NULL)
        inode_seek_in(parent);
    while (children_some(parent, &bucket, c, SOME, &n)) {
        for (size_t i = 0; i < n; i++) {
            fn(c[i].in, c[i].name, arg);
            inode_unref(c[i].in, 1);
        }
    }
    free(c);
}
