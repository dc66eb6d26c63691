/*
 * ops_dir - listing directories, and making them durable
 *
 * A listing is a snapshot, taken when reading begins (or begins anew at offset 0), while no name of
 * the directory changes through the mount: Dovecot takes a name that it does not see for an
 * expunge. It is taken by one getdents64(2), during which the kernel lets nobody change the
 * directory below the mount either; and kept as the kernel gave it.
 *
 * The offsets are those of the store's file system, which mean the same to a later snapshot: a
 * worker that takes over goes on behind the entry that was given out last, and neither skips nor
 * repeats a name that was there all the time. (ext4, XFS and Btrfs: an offset is a place in an
 * order of the names or of their making, not a count.)
 *
 * Memory: the directory's entries, per open directory, until it is closed.
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "io/io.h"
#include "keep.h"

struct listing {
    pthread_mutex_t lock; /* several threads may read one open directory */
    bool taken;
    char *p;
    size_t n, room;
    size_t next;        /* where in p to go on, if with ... */
    uint64_t next_from; /* ... the offset given out last */
};

#define ROOM_FIRST ((size_t)32 << 10)
#define ROOM_MAX   ((size_t)1 << 30)

static int listing_grow(struct listing *l) {
    size_t room = l->room == 0 ? ROOM_FIRST : l->room * 2;
    if (room > ROOM_MAX)
        return -ENOMEM;
    char *p = malloc(room);
    if (p == NULL)
        return -ENOMEM;
    free(l->p);
    l->p = p;
    l->room = room;
    return 0;
}

/* All of it in one call, and the next one finds the end. 1: the buffer is too small. */
static int listing_try(struct listing *l, int fd, off_t from) {
    char rest[1024]; /* room for any one entry */
    ssize_t n = lseek(fd, from, SEEK_SET) != from ? -1 : getdents64(fd, l->p, l->room);
    if (n < 0)
        return -errno;
    l->n = (size_t)n;
    n = n == 0 ? 0 : getdents64(fd, rest, sizeof rest);
    if (n < 0)
        return -errno;
    return n > 0;
}

static int listing_read(struct listing *l, const struct inode *dir, off_t from) {
    int fd = openat(dir->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = l->room == 0 ? listing_grow(l) : 0;
    if (r == 0)
        r = listing_try(l, fd, from);
    while (r == 1) {
        r = listing_grow(l);
        if (r == 0)
            r = listing_try(l, fd, from);
    }
    close(fd);
    return r;
}

/* All, or what is behind an offset. */
static int listing_take(struct listing *l, struct inode *dir, off_t from) {
    pthread_rwlock_wrlock(&dir->dir->names);
    int r = listing_read(l, dir, from);
    pthread_rwlock_unlock(&dir->dir->names);
    if (r == -ENOENT) { /* the directory was removed: it is empty */
        l->n = 0;
        r = 0;
    }
    l->taken = r == 0;
    l->next = 0;
    l->next_from = (uint64_t)from;
    return r;
}

static struct listing *listing_new(void) {
    struct listing *l = calloc(1, sizeof *l);
    if (l != NULL)
        pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void listing_free(struct listing *l) {
    if (l == NULL)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l->p);
    free(l);
}

/* Of an open directory; NULL: no memory, or no such handle. */
static struct listing *listing_of(uint64_t fh) {
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    struct listing *l = keep_file_user(fh);
    if (l != NULL || keep_file_of(fh) == NULL)
        return l;
    pthread_mutex_lock(&making);
    l = keep_file_user(fh);
    if (l == NULL) { /* it was opened with a worker before this one */
        l = listing_new();
        keep_file_set_user(fh, l);
    }
    pthread_mutex_unlock(&making);
    return l;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct listing *l = listing_new();
    fi->fh = l == NULL ? 0 : keep_file_new((uint32_t)ino, O_DIRECTORY, req_pid(req), l);
    if (fi->fh == 0) {
        listing_free(l);
        fuse_reply_err(req, ENOMEM);
    } else if (fuse_reply_open(req, fi) != 0) {
        keep_file_free(fi->fh);
        listing_free(l);
    }
}

static bool entry_hidden(enum maildir_dir kind, const char *name) {
    return maildir_class_of(kind, name, strlen(name)) == MAILDIR_INTERNAL;
}

static const struct dirent64 *entry_at(const struct listing *l, size_t off) {
    return (const struct dirent64 *)(const void *)(l->p + off);
}

/* The entry to go on with; false: no snapshot has that offset any more. */
static bool entry_from(const struct listing *l, uint64_t off, size_t *at) {
    *at = 0;
    if (!l->taken)
        return false;
    if (off == l->next_from) {
        *at = l->next;
        return true;
    }
    while (*at < l->n) {
        const struct dirent64 *d = entry_at(l, *at);
        *at += d->d_reclen;
        if ((uint64_t)d->d_off == off)
            return true;
    }
    return false;
}

/* Copies entries from p[off] on into buf; returns how much of it is used. */
static size_t listing_copy(fuse_req_t req, struct listing *l, enum maildir_dir kind, size_t off,
                           char *buf, size_t size) {
    size_t used = 0;
    while (off < l->n) {
        const struct dirent64 *d = entry_at(l, off);
        size_t end = off + d->d_reclen;
        if (!entry_hidden(kind, d->d_name)) {
            struct stat st = {.st_ino = d->d_ino, .st_mode = (mode_t)DTTOIF(d->d_type)};
            size_t need = fuse_add_direntry(req, buf + used, size - used, d->d_name, &st, d->d_off);
            if (need > size - used)
                break;
            used += need;
        }
        off = end;
        l->next_from = (uint64_t)d->d_off;
    }
    l->next = off;
    return used;
}

static ssize_t listing_answer(fuse_req_t req, struct listing *l, struct inode *dir, off_t off,
                              char *buf, size_t size) {
    size_t at = 0;
    int r = 0;
    if (off == 0 || !entry_from(l, (uint64_t)off, &at)) {
        r = listing_take(l, dir, off);
        at = 0;
    }
    return r != 0 ? r : (ssize_t)listing_copy(req, l, dir->dir->kind, at, buf, size);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    struct listing *l = listing_of(fi->fh);
    char *buf = l == NULL ? NULL : malloc(size);
    ssize_t used = -ENOMEM;
    if (buf != NULL) {
        pthread_mutex_lock(&l->lock);
        used = listing_answer(req, l, inode_of(ino), off, buf, size);
        pthread_mutex_unlock(&l->lock);
    }
    if (used < 0)
        fuse_reply_err(req, (int)-used);
    else
        fuse_reply_buf(req, buf, (size_t)used);
    free(buf);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct listing *l = keep_file_user(fi->fh);
    keep_file_free(fi->fh);
    listing_free(l);
    fuse_reply_err(req, 0);
}

/* Local only: what it makes durable the peer has by other ways (DESIGN, rule 1). */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    int fd = inode_of(ino)->dir->fd;
    reply_result(req, datasync ? io_fdatasync(fd) : io_fsync(fd));
}
