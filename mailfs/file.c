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

static pthread_mutex_t files = PTHREAD_MUTEX_INITIALIZER;

static bool is_tracked(const struct file *f, const struct spot *at) {
    return at != NULL && at->sent && (f->flags & O_ACCMODE) != O_RDONLY && f->in->type == S_IFREG;
}

struct file *file_new(struct inode *in, int fd, int flags, pid_t pid, const struct spot *at) {
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->in = in;
    f->fd = fd;
    f->flags = flags;
    f->pid = pid;
    f->refs = 1;
    f->tracked = is_tracked(f, at);
    inode_ref(in);
    pthread_mutex_lock(&files);
    DL_APPEND(in->files, f);
    pthread_mutex_unlock(&files);
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

void file_dirty(struct file *f, struct inode *container) {
    pthread_mutex_lock(&files);
    if (!f->dirty) {
        f->dirty = true;
        f->dirty_in = container;
        inode_ref(container);
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
    if (was)
        container = dirty_off(f);
    pthread_mutex_unlock(&files);
    inode_unref(container, 1);
    return was;
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
