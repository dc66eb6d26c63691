/*
 * ops_dir - listing directories, and making them durable
 *
 * A listing is a snapshot, taken when reading begins (or begins anew at offset 0), while no name of
 * the directory changes through the mount: Dovecot takes a name that it does not see for an
 * expunge. It is taken by one getdents64(2), during which the kernel lets nobody change the
 * directory below the mount either; and kept as the kernel gave it. An entry's offset is its end in
 * there.
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

struct listing {
    pthread_mutex_t lock; /* several threads may read one open directory */
    bool taken;
    char *p;
    size_t n, room;
    size_t next; /* the offset given out last */
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
static int listing_try(struct listing *l, int fd) {
    char rest[1024]; /* room for any one entry */
    ssize_t n = lseek(fd, 0, SEEK_SET) != 0 ? -1 : getdents64(fd, l->p, l->room);
    if (n < 0)
        return -errno;
    l->n = (size_t)n;
    n = n == 0 ? 0 : getdents64(fd, rest, sizeof rest);
    if (n < 0)
        return -errno;
    return n > 0;
}

static int listing_read(struct listing *l, const struct inode *dir) {
    int fd = openat(dir->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = l->room == 0 ? listing_grow(l) : 0;
    if (r == 0)
        r = listing_try(l, fd);
    while (r == 1) {
        r = listing_grow(l);
        if (r == 0)
            r = listing_try(l, fd);
    }
    close(fd);
    return r;
}

static int listing_take(struct listing *l, struct inode *dir) {
    pthread_rwlock_wrlock(&dir->dir->names);
    int r = listing_read(l, dir);
    pthread_rwlock_unlock(&dir->dir->names);
    if (r == -ENOENT) { /* the directory was removed: it is empty */
        l->n = 0;
        r = 0;
    }
    l->taken = r == 0;
    l->next = 0;
    return r;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct listing *l = calloc(1, sizeof *l);
    if (l == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_init(&l->lock, NULL);
    fi->fh = (uint64_t)(uintptr_t)l;
    if (fuse_reply_open(req, fi) != 0) {
        pthread_mutex_destroy(&l->lock);
        free(l);
    }
}

static bool entry_hidden(enum maildir_dir kind, const char *name) {
    return maildir_class_of(kind, name, strlen(name)) == MAILDIR_INTERNAL;
}

static const struct dirent64 *entry_at(const struct listing *l, size_t off) {
    return (const struct dirent64 *)(const void *)(l->p + off);
}

/* lseek(2) of a user can give any offset: the first entry that begins there or after. */
static size_t entry_from(const struct listing *l, uint64_t off) {
    size_t at = 0;
    if (off == l->next)
        return l->next;
    while (at < l->n && at < off)
        at += entry_at(l, at)->d_reclen;
    return at;
}

/* Copies entries from offset off into buf; returns how much of it is used. */
static size_t listing_copy(fuse_req_t req, struct listing *l, enum maildir_dir kind, uint64_t from,
                           char *buf, size_t size) {
    size_t used = 0, off = entry_from(l, from);
    while (off < l->n) {
        const struct dirent64 *d = entry_at(l, off);
        size_t end = off + d->d_reclen;
        if (!entry_hidden(kind, d->d_name)) {
            struct stat st = {.st_ino = d->d_ino, .st_mode = (mode_t)DTTOIF(d->d_type)};
            size_t need =
                fuse_add_direntry(req, buf + used, size - used, d->d_name, &st, (off_t)end);
            if (need > size - used)
                break;
            used += need;
        }
        off = end;
    }
    l->next = off;
    return used;
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    struct listing *l = (struct listing *)(uintptr_t)fi->fh;
    struct inode *dir = inode_of(ino);
    char *buf = malloc(size);
    int r = buf == NULL ? -ENOMEM : 0;
    size_t used = 0;
    pthread_mutex_lock(&l->lock);
    if (r == 0 && (off == 0 || !l->taken))
        r = listing_take(l, dir);
    if (r == 0)
        used = listing_copy(req, l, dir->dir->kind, (uint64_t)off, buf, size);
    pthread_mutex_unlock(&l->lock);
    if (r != 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_buf(req, buf, used);
    free(buf);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct listing *l = (struct listing *)(uintptr_t)fi->fh;
    pthread_mutex_destroy(&l->lock);
    free(l->p);
    free(l);
    fuse_reply_err(req, 0);
}

/* Local only: what it makes durable the peer has by other ways (DESIGN, rule 1). */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi) {
    int fd = inode_of(ino)->dir->fd;
    reply_result(req, datasync ? io_fdatasync(fd) : io_fsync(fd));
}
