/*
 * keep - the memory that outlives a worker
 *
 * Diagnostics: none; errors are returned.
 */
#include "keep.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define HAS_RESEND (UINT64_C(1) << 39) /* FUSE_HAS_RESEND, of Linux 6.9 */

#define MAGIC       "mailfsKP"
#define NOTES_AT    (UINT64_C(64) << 10)
#define NAMES_AT    (UINT64_C(512) << 10)
#define GIVEN_UP_AT (UINT64_C(960) << 10)
#define FILES_AT    (UINT64_C(1) << 20)
#define INODES_AT   (FILES_AT + (uint64_t)KEEP_FILES_MAX * sizeof(struct keep_file))
#define KEEP_BYTES  (INODES_AT + (uint64_t)KEEP_INODES_MAX * sizeof(struct keep_inode))

_Static_assert(sizeof(struct keep_inode) == 64, "the layout is in INTERFACES");
_Static_assert(sizeof(struct keep_file) == 16, "the layout is in INTERFACES");
_Static_assert(sizeof(struct keep_note) == 56, "the layout is in INTERFACES");
_Static_assert(sizeof(struct keep_head) <= NOTES_AT, "the head has room");
_Static_assert(sizeof(struct keep_named) == 280, "the layout is in INTERFACES");
_Static_assert(NOTES_AT + KEEP_NOTES_MAX * sizeof(struct keep_note) <= NAMES_AT, "notes have room");
_Static_assert(NAMES_AT + sizeof(struct keep_names) <= GIVEN_UP_AT, "names have room");
_Static_assert(GIVEN_UP_AT + sizeof(struct keep_given_up) <= FILES_AT, "these have room");

struct keep keep;

static int map(int fd) {
    char *p = mmap(NULL, KEEP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    keep.head = (struct keep_head *)(void *)p;
    keep.notes = (struct keep_note *)(void *)(p + NOTES_AT);
    keep.names = (struct keep_names *)(void *)(p + NAMES_AT);
    keep.given_up = (struct keep_given_up *)(void *)(p + GIVEN_UP_AT);
    keep.files = (struct keep_file *)(void *)(p + FILES_AT);
    keep.inodes = (struct keep_inode *)(void *)(p + INODES_AT);
    return 0;
}

void keep_unmap(void) {
    if (keep.head != NULL)
        munmap(keep.head, KEEP_BYTES);
    keep = (struct keep){0};
}

int keep_create(void) {
    int fd = memfd_create("mailfs", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = ftruncate(fd, (off_t)KEEP_BYTES) == 0 ? map(fd) : -errno;
    if (r == 0 && getrandom(&keep.head->incarnation, sizeof keep.head->incarnation, 0) !=
                      (ssize_t)sizeof keep.head->incarnation)
        r = -EIO;
    if (r != 0) {
        close(fd);
        return r;
    }
    memcpy(keep.head->magic, MAGIC, sizeof keep.head->magic);
    keep.head->layout = KEEP_LAYOUT;
    return fd;
}

/* ---- files: what belongs to this worker ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool first;
static void *_Atomic *users;
static struct keep_unused unused;

void keep_unused_add(struct keep_unused *u, uint32_t i) {
    if (u->n == u->room) {
        size_t room = u->room == 0 ? 1024 : u->room * 2;
        uint32_t *bigger = realloc(u->v, room * sizeof *bigger);
        if (bigger == NULL)
            return;
        u->v = bigger;
        u->room = room;
    }
    u->v[u->n++] = i;
}

bool keep_unused_take(struct keep_unused *u, uint32_t *i) {
    if (u->n == 0)
        return false;
    *i = u->v[--u->n];
    return true;
}

void *keep_zeroed(size_t size, bool now) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (now ? MAP_POPULATE : MAP_NORESERVE);
    /* cppcheck-suppress invalidFunctionArg ; it does not know of MAP_ANONYMOUS */
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p == MAP_FAILED)
        p = NULL;
    return p;
}

int keep_map(int fd) {
    int r = map(fd);
    if (r != 0)
        return r;
    if (memcmp(keep.head->magic, MAGIC, sizeof keep.head->magic) != 0 ||
        keep.head->layout != KEEP_LAYOUT)
        return -ESTALE;
    users = keep_zeroed(sizeof *users * KEEP_FILES_MAX, false);
    if (users == NULL)
        return -ENOMEM;
    first = keep.head->lives <= 1;
    return 0;
}

void keep_inodes_unused(uint32_t i, uint32_t n) {
    for (uint32_t k = i; k < i + n; k++)
        if (atomic_load(&keep.inodes[k].state) != KEEP_FREE)
            return;
    madvise(&keep.inodes[i], n * sizeof keep.inodes[i], MADV_REMOVE); /* zero is KEEP_FREE */
}

void keep_take_over(void) {
    uint32_t n = atomic_load(&keep.head->files);
    for (uint32_t i = n < KEEP_FILES_MAX ? n : KEEP_FILES_MAX; i-- > 0;)
        if ((atomic_load(&keep.files[i].seq) & 1) == 0)
            keep_unused_add(&unused, i);
}

bool keep_is_first(void) {
    return first;
}

/* The environment is for tests. */
bool keep_possible(void) {
    struct {
        struct fuse_in_header h;
        struct fuse_init_in in;
    } init;
    size_t n = atomic_load(&keep.head->init_size);
    if (n < sizeof init || getenv("MAILFS_NO_RESEND") != NULL)
        return false;
    memcpy(&init, keep.head->init, sizeof init);
    return (init.in.flags & FUSE_INIT_EXT) != 0 &&
           ((uint64_t)init.in.flags2 << 32 & HAS_RESEND) != 0;
}

void keep_walker(void) {
    static __thread bool entered;
    for (unsigned i = 0; i < KEEP_WALKERS && !entered; i++) {
        int32_t none = 0;
        entered = atomic_compare_exchange_strong(&keep.head->walkers[i], &none, gettid());
    }
}

static bool file_slot(uint32_t *i) {
    pthread_mutex_lock(&lock);
    bool found = keep_unused_take(&unused, i);
    if (!found) {
        *i = atomic_load(&keep.head->files);
        found = *i < KEEP_FILES_MAX;
        if (found)
            atomic_store(&keep.head->files, *i + 1);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

uint64_t keep_file_new(uint32_t node, int flags, pid_t pid, void *user) {
    uint32_t i;
    if (!file_slot(&i))
        return 0;
    struct keep_file *f = &keep.files[i];
    f->node = node;
    f->flags = (uint32_t)flags;
    f->pid = pid;
    atomic_store(&users[i], user);
    uint32_t seq = atomic_load(&f->seq) + 1;
    atomic_store(&f->seq, seq);
    return (uint64_t)seq << 32 | i;
}

const struct keep_file *keep_file_of(uint64_t fh) {
    uint32_t i = (uint32_t)fh;
    if (i >= KEEP_FILES_MAX)
        return NULL;
    const struct keep_file *f = &keep.files[i];
    return (fh >> 32 & 1) != 0 && atomic_load(&f->seq) == fh >> 32 ? f : NULL;
}

void keep_file_free(uint64_t fh) {
    if (keep_file_of(fh) == NULL)
        return;
    uint32_t i = (uint32_t)fh;
    atomic_store(&users[i], NULL);
    atomic_fetch_add(&keep.files[i].seq, 1);
    pthread_mutex_lock(&lock);
    keep_unused_add(&unused, i);
    pthread_mutex_unlock(&lock);
}

void keep_file_set_dirty(uint64_t fh, bool dirty) {
    _Atomic uint32_t *flags = &keep.files[(uint32_t)fh].flags;
    if (keep_file_of(fh) == NULL)
        return;
    if (dirty)
        atomic_fetch_or(flags, KEEP_FILE_DIRTY);
    else
        atomic_fetch_and(flags, ~KEEP_FILE_DIRTY);
}

void keep_file_each(void (*fn)(uint64_t fh, const struct keep_file *f)) {
    uint32_t n = atomic_load(&keep.head->files);
    for (uint32_t i = 0; i < n && i < KEEP_FILES_MAX; i++) {
        uint32_t seq = atomic_load(&keep.files[i].seq);
        if (seq & 1)
            fn((uint64_t)seq << 32 | i, &keep.files[i]);
    }
}

void *keep_file_user(uint64_t fh) {
    return keep_file_of(fh) == NULL ? NULL : atomic_load(&users[(uint32_t)fh]);
}

void keep_file_set_user(uint64_t fh, void *user) {
    if (keep_file_of(fh) != NULL)
        atomic_store(&users[(uint32_t)fh], user);
}
