/*
 * file - whole small files: read into memory, replaced atomically
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "io/io.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif

#define TEMP_PREFIX ".mailfs-"

enum { TEMP_DIGITS = 16, TEMP_NAME_MAX = sizeof TEMP_PREFIX + TEMP_DIGITS };

int io_file_is_temp(const char *name) {
    if (!str_starts(name, TEMP_PREFIX))
        return 0;
    name += strlen(TEMP_PREFIX);
    return strlen(name) == TEMP_DIGITS && strspn(name, "0123456789abcdef") == TEMP_DIGITS;
}

/*
 * 64 random bits: a name that is there already is an error like any other, not worth a second try.
 */
static int temp_create(int dir, char name[TEMP_NAME_MAX]) {
    uint64_t r;
    if (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r)
        return -EIO;
    str_printf(name, TEMP_NAME_MAX, TEMP_PREFIX "%016llx", (unsigned long long)r);
    return io_open_beneath(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
}

/*
 * The owner before the mode, since chown(2) clears set-id bits; times last, since writing sets
 * them.
 */
static int temp_fill(int fd, const void *p, size_t n, const struct io_file_attr *attr) {
    int r = io_pwrite_all(fd, p, n, 0);
    if (r == 0 && attr->set_owner)
        r = io_fchown(fd, attr->uid, attr->gid);
    if (r == 0) /* also for 0600: the umask may have taken from it */
        r = io_fchmod(fd, attr->mode != 0 ? attr->mode & 07777 : 0600);
    if (r == 0 && attr->set_mtime)
        r = io_futimens(fd, (const struct timespec[2]){attr->mtime, attr->mtime});
    return r != 0 ? r : io_fsync(fd);
}

/* That file, and nobody has written to it. */
static bool is_still(int dirfd, const char *name, const struct stat *file) {
    struct stat st;
    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == file->st_dev &&
           st.st_ino == file->st_ino && st.st_size == file->st_size &&
           st.st_mtim.tv_sec == file->st_mtim.tv_sec && st.st_mtim.tv_nsec == file->st_mtim.tv_nsec;
}

/*
 * `keep` is what had the name, and has it again. If another one has been written under the name
 * meanwhile, that is the newer one, and has it back.
 */
static int give_back(const struct stat *ours, int dirfd, const char *name,
                     const struct io_file_attr *attr, int err) {
    int r = io_rename(attr->keepdir, attr->keep, dirfd, name, RENAME_EXCHANGE);
    if (r != 0)
        return r;
    if (is_still(attr->keepdir, attr->keep, ours))
        io_unlink(attr->keepdir, attr->keep);
    else
        r = io_rename(attr->keepdir, attr->keep, dirfd, name, RENAME_EXCHANGE);
    return r != 0 ? r : err;
}

/* In keepdir before it takes the name: what it takes it from is never where a start would clear it
 * away. */
static int exchange(int tmpdir, const char *temp, int dirfd, const char *name,
                    const struct io_file_attr *attr) {
    struct stat ours;
    if (fstatat(tmpdir, temp, &ours, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    int r = io_rename(tmpdir, temp, attr->keepdir, attr->keep, RENAME_NOREPLACE);
    if (r != 0)
        return r;
    r = io_rename(attr->keepdir, attr->keep, dirfd, name, RENAME_EXCHANGE);
    if (r != 0) {
        io_unlink(attr->keepdir, attr->keep);
        return r == -ENOENT ? -ESTALE : r;
    }
    r = attr->may_replace(attr->arg, attr->keepdir, attr->keep);
    if (r != 0)
        return give_back(&ours, dirfd, name, attr, r);
    io_unlink(attr->keepdir, attr->keep); /* if that fails, it is kept */
    return 0;
}

static int take_name(int tmpdir, const char *temp, int dirfd, const char *name,
                     const struct io_file_attr *attr) {
    struct stat st;
    if (attr->may_replace == NULL)
        return io_rename(tmpdir, temp, dirfd, name, 0);
    int r = attr->may_replace(attr->arg, dirfd, name);
    if (r != 0)
        return r;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return exchange(tmpdir, temp, dirfd, name, attr);
    r = errno == ENOENT ? io_rename(tmpdir, temp, dirfd, name, RENAME_NOREPLACE) : -errno;
    return r == -EEXIST ? -ESTALE : r;
}

int io_file_take_name(int tmpdir, const char *temp, int dirfd, const char *name,
                      const struct io_file_attr *attr) {
    int r = take_name(tmpdir, temp, dirfd, name, attr);
    if (r != 0)
        io_unlink(tmpdir, temp); /* if that fails, too, the owner of the directory finds it */
    return r;
}

int io_file_replace_at(int dirfd, const char *name, const void *p, size_t n,
                       const struct io_file_attr *attr) {
    static const struct io_file_attr plain;
    char temp[TEMP_NAME_MAX];
    if (attr == NULL)
        attr = &plain;
    int tmpdir = attr->has_tmpdir ? attr->tmpdir : dirfd;
    int fd = temp_create(tmpdir, temp);
    if (fd < 0)
        return fd;
    int r = temp_fill(fd, p, n, attr);
    if (close(fd) != 0 && r == 0)
        r = -errno;
    if (r == 0 && attr->go_on != NULL)
        r = attr->go_on();
    if (r == 0)
        r = io_file_take_name(tmpdir, temp, dirfd, name, attr);
    else
        io_unlink(tmpdir, temp);
    return r != 0 || attr->no_dirsync ? r : io_fsync(dirfd);
}

/* -EFBIG when there is more than max; p has room for one byte beyond. */
static int read_whole(int fd, char *p, size_t max, size_t *n) {
    size_t used = 0;
    for (;;) {
        ssize_t r = TEMP_FAILURE_RETRY(pread(fd, p + used, max + 1 - used, (off_t)used));
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        used += (size_t)r;
        if (used > max)
            return -EFBIG;
    }
    p[used] = '\0';
    *n = used;
    return 0;
}

int io_file_read_fd(int fd, size_t max, char **p, size_t *n, struct stat *st) {
    struct stat own;
    if (st == NULL)
        st = &own;
    if (fstat(fd, st) != 0)
        return -errno;
    if (!S_ISREG(st->st_mode))
        return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
    if (st->st_size > 0 && (uint64_t)st->st_size > max)
        return -EFBIG;
    /* A file of /proc says 0, and one that is appended to says less than it has by now. */
    size_t room = st->st_size > 0 ? (size_t)st->st_size + 4096 : 65536;
    for (;;) {
        room = room < max ? room : max;
        char *mem = malloc(room + 1);
        if (mem == NULL)
            return -ENOMEM;
        int r = read_whole(fd, mem, room, n);
        if (r == 0) {
            *p = mem;
            return 0;
        }
        free(mem);
        if (r != -EFBIG || room == max)
            return r;
        room *= 4;
    }
}

int io_file_read_at(int dirfd, const char *name, size_t max, char **p, size_t *n, struct stat *st) {
    /* O_NONBLOCK: a FIFO of that name must not hold us up before fstat() can tell. */
    int fd = TEMP_FAILURE_RETRY(
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd < 0)
        return -errno;
    int r = io_file_read_fd(fd, max, p, n, st);
    close(fd);
    return r;
}

int io_mkdirs(const char *path, mode_t mode) {
    char part[PATH_MAX];
    int r = str_copy(part, sizeof part, path);
    if (r != 0)
        return r;
    if (path[0] != '/')
        return -EINVAL;
    for (char *slash = part;;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        r = io_mkdir(AT_FDCWD, part, mode);
        if (r != 0 && r != -EEXIST && r != -EROFS) /* mkdir("/") of a read-only root: exists */
            return r;
        if (slash == NULL)
            break;
        *slash = '/';
    }
    struct stat st;
    if (stat(path, &st) != 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
