/*
 * file - open files, and which of them syncd has not been told of
 *
 * One lock for the lists of all inodes and directories: held for a few pointer writes. The table's
 * lock (inode.c) may be taken while it is held.
 *
 * Diagnostics: none.
 */
#include "file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "change.h"
#include "dir.h"
#include "keep.h"

static pthread_mutex_t files = PTHREAD_MUTEX_INITIALIZER;

static bool is_tracked(const struct file *f, const struct spot *at) {
    return at != NULL && at->sent && (f->flags & O_ACCMODE) != O_RDONLY && f->in->type == S_IFREG;
}

/* Without a handle yet. */
static struct file *file_make(struct inode *in, int fd, int flags, pid_t pid,
                              const struct spot *at) {
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->in = in;
    f->fd = fd;
    f->flags = flags;
    f->pid = pid;
    f->refs = 1;
    f->tracked = is_tracked(f, at);
    return f;
}

static void file_enter(struct file *f) {
    inode_ref(f->in);
    pthread_mutex_lock(&files);
    DL_APPEND(f->in->files, f);
    pthread_mutex_unlock(&files);
}

struct file *file_new(struct inode *in, int fd, int flags, pid_t pid, const struct spot *at) {
    struct file *f = file_make(in, fd, flags, pid, at);
    if (f == NULL)
        return NULL;
    f->fh = keep_file_new((uint32_t)inode_id(in), flags, pid, f);
    if (f->fh == 0) {
        free(f);
        return NULL;
    }
    file_enter(f);
    return f;
}

/* What an open(2) does once is done. */
static struct file *file_again(uint64_t fh) {
    const struct keep_file *k = keep_file_of(fh);
    struct inode *in = k == NULL ? NULL : inode_of(k->node);
    struct place place;
    struct spot at;
    if (in == NULL || in->type != S_IFREG)
        return NULL;
    int flags = (int)(atomic_load(&k->flags) & ~KEEP_FILE_DIRTY) & ~(O_CREAT | O_EXCL | O_TRUNC);
    int fd = inode_open(in, flags & FILE_BACKING_FLAGS);
    if (fd < 0)
        return NULL;
    bool placed = inode_place_get(in, &place);
    if (placed)
        spot_make(&at, place.parent, place.name);
    struct file *f = file_make(in, fd, flags, k->pid, placed ? &at : NULL);
    if (f != NULL) {
        f->fh = fh;
        file_enter(f);
        keep_file_set_user(fh, f);
        if (placed && (atomic_load(&k->flags) & KEEP_FILE_DIRTY) != 0)
            file_dirty(f, at.w.cont);
    } else {
        close(fd);
    }
    if (placed) {
        spot_done(&at);
        place_done(&place);
    }
    return f;
}

struct file *file_of(uint64_t fh) {
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    struct file *f = keep_file_user(fh);
    if (f != NULL)
        return f;
    pthread_mutex_lock(&opening);
    f = keep_file_user(fh);
    if (f == NULL)
        f = file_again(fh);
    pthread_mutex_unlock(&opening);
    return f;
}

static void open_dirty(uint64_t fh, const struct keep_file *k) {
    if ((atomic_load(&k->flags) & KEEP_FILE_DIRTY) != 0)
        file_of(fh);
}

void file_take_over(void) {
    keep_file_each(open_dirty);
}

struct file *file_closed(uint64_t fh) {
    struct file *f = keep_file_user(fh);
    if (f == NULL)
        keep_file_free(fh);
    return f;
}

void file_unref(struct file *f) {
    pthread_mutex_lock(&files);
    bool last = --f->refs == 0;
    if (last)
        DL_DELETE(f->in->files, f);
    pthread_mutex_unlock(&files);
    if (!last)
        return;
    file_clean(f);
    keep_file_free(f->fh);
    close(f->fd);
    inode_unref(f->in, 1);
    free(f);
}

int file_fd(const struct file *f) {
    return f->fd;
}

struct file *file_borrow(struct inode *in) {
    pthread_mutex_lock(&files);
    struct file *f = in->files;
    if (f != NULL)
        f->refs++;
    pthread_mutex_unlock(&files);
    return f;
}

bool file_is_writable_by(struct inode *in, pid_t tid) {
    bool found = false;
    pthread_mutex_lock(&files);
    for (struct file *f = in->files; f != NULL; f = f->next)
        found |= f->pid == tid && (f->flags & O_ACCMODE) != O_RDONLY;
    pthread_mutex_unlock(&files);
    return found;
}

void file_dirty(struct file *f, struct inode *container) {
    pthread_mutex_lock(&files);
    if (!f->dirty) {
        f->dirty = true;
        f->dirty_in = container;
        inode_ref(container);
        keep_file_set_dirty(f->fh, true);
        DL_APPEND2(container->dir->dirty, f, dprev, dnext);
    }
    pthread_mutex_unlock(&files);
}

/* Under the lock; returns the container to be given up. */
static struct inode *dirty_off(struct file *f) {
    struct inode *container = f->dirty_in;
    DL_DELETE2(container->dir->dirty, f, dprev, dnext);
    f->dirty = false;
    f->dirty_in = NULL;
    return container;
}

/* Under the lock. */
static void told(const struct file *f) {
    if (!f->dirty) /* it may have been written since */
        keep_file_set_dirty(f->fh, false);
}

bool file_is_dirty(struct file *f) {
    pthread_mutex_lock(&files);
    bool dirty = f->dirty;
    pthread_mutex_unlock(&files);
    return dirty;
}

bool file_clean(struct file *f) {
    struct inode *container = NULL;
    pthread_mutex_lock(&files);
    bool was = f->dirty;
    if (was) {
        container = dirty_off(f);
        told(f);
    }
    pthread_mutex_unlock(&files);
    inode_unref(container, 1);
    return was;
}

void file_told(struct file *f) {
    pthread_mutex_lock(&files);
    told(f);
    pthread_mutex_unlock(&files);
}

struct file *file_next_dirty(struct dir *d) {
    struct inode *container = NULL;
    pthread_mutex_lock(&files);
    struct file *f = d->dirty;
    if (f != NULL) {
        f->refs++;
        container = dirty_off(f);
    }
    pthread_mutex_unlock(&files);
    inode_unref(container, 1);
    return f;
}

bool file_dir_is_dirty(struct dir *d) {
    pthread_mutex_lock(&files);
    bool dirty = d->dirty != NULL;
    pthread_mutex_unlock(&files);
    return dirty;
}

void file_retrack(struct inode *in, const struct spot *at) {
    pthread_mutex_lock(&files);
    for (struct file *f = in->files; f != NULL; f = f->next)
        f->tracked = is_tracked(f, at);
    pthread_mutex_unlock(&files);
}
