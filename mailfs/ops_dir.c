/*
 * ops_dir - listing directories, and making them durable
 *
 * A listing is a snapshot, taken when reading begins (or begins anew at offset 0), while no name of
 * the directory changes through the mount: Dovecot takes a name that it does not see for an
 * expunge. What changes the store below the mount shows in the directory's times, and the snapshot
 * is taken again. It is kept as the kernel gave it (getdents64(2)); an entry's offset is its end in
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
};

#define RETRIES 8

static int listing_read(struct listing *l, int fd) {
    for (;;) {
        if (l->room - l->n < 4096) {
            size_t room = l->room == 0 ? 32768 : l->room * 2;
            char *p = realloc(l->p, room);
            if (p == NULL)
                return -ENOMEM;
            l->p = p;
            l->room = room;
        }
        ssize_t n = getdents64(fd, l->p + l->n, l->room - l->n);
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        l->n += (size_t)n;
    }
}

static bool same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int listing_try(struct listing *l, struct inode *dir, bool *steady) {
    struct stat before = {0}, after = {0};
    int fd = openat(dir->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    l->n = 0;
    int r = fstat(fd, &before) == 0 ? 0 : -errno;
    if (r == 0)
        r = listing_read(l, fd);
    if (r == 0)
        r = fstat(fd, &after) == 0 ? 0 : -errno;
    *steady = same_time(before.st_mtim, after.st_mtim) && same_time(before.st_ctim, after.st_ctim);
    close(fd);
    return r;
}

static int listing_take(struct listing *l, struct inode *dir) {
    bool steady = false;
    int r = 0;
    pthread_rwlock_wrlock(&dir->dir->names);
    for (int i = 0; i < RETRIES && r == 0 && !steady; i++)
        r = listing_try(l, dir, &steady);
    pthread_rwlock_unlock(&dir->dir->names);
    if (r == -ENOENT) { /* the directory was removed: it is empty, readdir(3) finds nothing */
        l->n = 0;
        r = 0;
    }
    l->taken = r == 0;
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

/* Copies entries from offset off into buf; returns how much of it is used. */
static size_t listing_copy(fuse_req_t req, const struct listing *l, enum maildir_dir kind,
                           size_t off, char *buf, size_t size) {
    size_t used = 0;
    while (off < l->n) {
        const struct dirent64 *d = (const struct dirent64 *)(const void *)(l->p + off);
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
    if (r == 0 && (uint64_t)off <= l->n)
        used = listing_copy(req, l, dir->dir->kind, (size_t)off, buf, size);
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
