/*
 * inode_restore - directories and names of the inodes that another worker left
 *
 * A directory's place is where it is in the store now. A file's name is not known to anything but
 * the directory: all of these are found by one listing of it, when the first is wanted.
 *
 * Diagnostics: info: how much was taken over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "inode_int.h"
#include "keep.h"
#include "prepare.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "vol.h"

enum { DEEPEST = 128 };

static char root_path[PATH_MAX];

/* --- directories ---------------------------------------------------------------------------------
 */

static int path_of(int fd, char path[PATH_MAX]) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 ? 0 : -errno;
}

static int open_and_remove(int at, const char *name) {
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    unlinkat(at, name, AT_REMOVEDIR);
    return fd;
}

static int gone_in_store(void) {
    static const char name[] = "gone";
    if (mkdirat(vol.internal_fd, name, 0700) != 0 && errno != EEXIST)
        return -errno;
    return open_and_remove(vol.internal_fd, name);
}

/* A directory that is in no store any more: all that is done in it finds nothing. Where the store
 * takes none (its disk is full, or can only be read) it is one of another file system. */
static int removed_directory(void) {
    static const char *const dirs[] = {"/run", "/dev/shm", "/tmp"};
    char name[64];
    int fd = gone_in_store();
    for (size_t i = 0; fd < 0 && i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(name, sizeof name, "%s/mailfs-gone.XXXXXX", dirs[i]);
        int r = mkdtemp(name) == NULL ? -errno : open_and_remove(AT_FDCWD, name);
        fd = r >= 0 ? r : fd;
    }
    return fd;
}

/* path: of fd, in the store. */
static bool is_below_root(int fd, const char *path) {
    struct stat st;
    size_t n = strlen(root_path);
    return str_starts(path, root_path) && path[n] == '/' &&
           !str_starts(path + n, "/" MAILDIR_INTERNAL_NAME "/") && fstat(fd, &st) == 0 &&
           st.st_nlink > 0;
}

/* Its parent, a reference; NULL: it is not below the root any more. */
static int parent_of(int fd, char path[PATH_MAX], struct inode **out) {
    struct stat st;
    struct io_handle h;
    int r = path_of(fd, path);
    *out = NULL;
    if (r != 0 || !is_below_root(fd, path))
        return r == -ENAMETOOLONG ? 0 : r;
    int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up < 0)
        return errno == ENOENT ? 0 : -errno;
    r = fstat(up, &st) == 0 ? io_handle_get_fd(up, &h) : -errno;
    if (r == 0)
        r = inode_take(&st, &h, out);
    close(up);
    return r;
}

static int restore_dir(struct inode *in, unsigned depth);

/* Takes fd over. */
static int restore_at(struct inode *in, int fd, unsigned depth) {
    char path[PATH_MAX];
    struct inode *parent;
    int r = parent_of(fd, path, &parent);
    if (r == 0 && parent != NULL)
        r = restore_dir(parent, depth + 1);
    if (r == 0)
        r = dir_attach(in, fd, parent, parent != NULL ? strrchr(path, '/') + 1 : "");
    else
        close(fd);
    if (r == 0)
        in->dir->sought = false;
    inode_unref(parent, 1);
    return r;
}

/* One that exists may not be served as a removed one: Dovecot would take all in it for expunged. So
 * after another error than that it is gone this worker cannot start, and the next one tries. */
static int restore_dir(struct inode *in, unsigned depth) {
    if (in->dir != NULL)
        return 0;
    int fd = depth < DEEPEST ? inode_open(in, O_RDONLY | O_DIRECTORY) : -ESTALE;
    if (fd >= 0)
        return restore_at(in, fd, depth);
    if (fd != -ESTALE && fd != -ENOENT)
        return fd;
    fd = removed_directory();
    return fd < 0 ? fd : dir_attach(in, fd, NULL, "");
}

int inode_restore_dirs(void) {
    uint64_t start = clock_ms();
    uint32_t n = atomic_load(&keep.head->inodes);
    int r = path_of(vol.store_fd, root_path);
    if (r == 0)
        r = removed_directory();
    if (r >= 0)
        r = dir_attach(&inode_nobody, r, NULL, "");
    if (keep_is_first() || r != 0)
        return r;
    inode_root()->dir->sought = false;
    for (uint32_t i = 1; i < n && r == 0; i++) {
        struct inode *in = inode_of((uint64_t)i + 1);
        if (in != &inode_nobody && in->type == S_IFDIR)
            r = restore_dir(in, 0);
        else if (in != &inode_nobody && !in->made_up)
            prepare_restore(in);
    }
    for (uint32_t i = 1; i < n && r == 0; i++) {
        struct inode *in = inode_of((uint64_t)i + 1);
        if (in != &inode_nobody && in->taken_over) {
            in->taken_over = false;
            inode_unref(in, 1);
        }
    }
    if (r == 0)
        log_info("took over %llu inodes in %llu ms", (unsigned long long)inode_count(),
                 (unsigned long long)(clock_ms() - start));
    return r;
}

/* --- names ---------------------------------------------------------------------------------------
 */

static void found(struct inode *dir, uint64_t dev, const struct dirent64 *e) {
    struct inode *in = inode_find(dev, e->d_ino);
    if (in != NULL && in->unsought &&
        atomic_load(&inode_slot(in)->parent) == (uint32_t)inode_id(dir))
        inode_place_set(in, dir, e->d_name);
    inode_unref(in, 1);
}

static int seek_at(struct inode *dir, int fd, char *buf, size_t room) {
    struct stat st;
    ssize_t n = 0;
    if (fstat(fd, &st) != 0)
        return -errno;
    while ((n = getdents64(fd, buf, room)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *e = (const struct dirent64 *)(const void *)(buf + at);
            found(dir, st.st_dev, e);
            at += e->d_reclen;
        }
    }
    return n < 0 && errno != ENOENT ? -errno : 0;
}

static int seek(struct inode *dir) {
    enum { ROOM = 64 << 10 };
    char *buf = malloc(ROOM);
    int fd = openat(dir->dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = -ENOMEM;
    if (fd < 0)
        r = errno == ENOENT ? 0 : -errno; /* removed: there is no name in it */
    else if (buf != NULL)
        r = seek_at(dir, fd, buf, ROOM);
    if (fd >= 0)
        close(fd);
    free(buf);
    return r;
}

/* Nobody renames in it meanwhile, so that no place is set that is older than another. What cannot
 * be read is read when a name in it is wanted again. */
void inode_seek_in(struct inode *dir) {
    static pthread_mutex_t seeking = PTHREAD_MUTEX_INITIALIZER;
    if (dir->dir == NULL || dir->dir->sought)
        return;
    pthread_mutex_lock(&seeking);
    if (!dir->dir->sought) {
        pthread_rwlock_wrlock(&dir->dir->names);
        dir->dir->sought = seek(dir) == 0;
        pthread_rwlock_unlock(&dir->dir->names);
    }
    pthread_mutex_unlock(&seeking);
}

void inode_seek(struct inode *in) {
    struct inode *dir = inode_of(atomic_load(&inode_slot(in)->parent));
    if (dir != &inode_nobody)
        inode_seek_in(dir);
    in->unsought = dir->dir != NULL && !dir->dir->sought;
}

void inode_seek_all(void) {
    uint32_t n = atomic_load(&keep.head->inodes);
    for (uint32_t i = 0; i < n && !keep_is_first(); i++) {
        struct inode *in = inode_of((uint64_t)i + 1);
        if (in != &inode_nobody && inode_ref_live(in)) {
            if (in->unsought)
                inode_seek(in);
            inode_unref(in, 1);
        }
    }
}
