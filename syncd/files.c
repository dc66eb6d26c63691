/*
 * files: the state of whole files: control files that are not merged by meaning, sieve scripts,
 * symbolic links, ACLs. Devices, fifos and sockets are not replicated.
 *
 * No diagnostics.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/hash.h"
#include "io/io.h"
#include "unread.h"

void files_from_stat(const struct stat *sb, struct base_file *out) {
    memset(out, 0, sizeof(*out));
    out->type = S_IFREG;
    if (!sb)
        return;
    out->type = sb->st_mode & S_IFMT;
    out->mode = sb->st_mode & 07777;
    out->owner = sb->st_uid;
    out->group = sb->st_gid;
    out->mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    out->size = (uint64_t)sb->st_size;
}

bool files_untouched(int dirfd, const char *name, const struct base_file *was) {
    struct base_file is;
    struct stat sb;

    if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    files_from_stat(&sb, &is);
    return is.type == was->type && is.size == was->size && is.mtime_ns == was->mtime_ns &&
           is.mode == was->mode && is.owner == was->owner && is.group == was->group;
}

static int read_link(int dirfd, const char *name, struct base_file *out) {
    char target[4096];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

    if (n < 0)
        return -errno;
    out->link = strndup(target, (size_t)n);
    return out->link ? 0 : -ENOMEM;
}

static int read_regular(int dirfd, const char *name, struct base_file *out, char **content,
                        size_t *n) {
    struct stat sb;
    int fd = io_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0), r = 0;

    if (fd < 0)
        return fd;
    if (fstat(fd, &sb) < 0)
        r = -errno;
    else
        files_from_stat(&sb, out);
    if (r == 0 && content && sb.st_size <= (off_t)FILES_INLINE_MAX) {
        r = io_file_read_fd(fd, FILES_INLINE_MAX, content, n, NULL);
        if (r == 0)
            r = io_hash(*content, *n, out->sha256);
        if (r == 0)
            out->size = *n;
    } else if (r == 0) {
        r = io_hash_fd(fd, out->sha256);
    }
    close(fd);
    return r;
}

int files_read(int dirfd, const char *name, struct base_file *out, char **content, size_t *n) {
    struct stat sb;
    int r = 0;

    memset(out, 0, sizeof(*out));
    if (content)
        *content = NULL;
    if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISREG(sb.st_mode)) {
        r = read_regular(dirfd, name, out, content, n);
    } else if (S_ISLNK(sb.st_mode)) {
        files_from_stat(&sb, out);
        r = read_link(dirfd, name, out);
    }
    if (r < 0) {
        base_file_clear(out);
        if (content) {
            free(*content);
            *content = NULL;
        }
    }
    return r == -ENOENT ? 0 : r;
}

int files_read_agreed(struct state *st, const struct mailfs_id *dir, int dirfd, const char *name,
                      struct base_file *out, char **content, size_t *n) {
    int err = files_read(dirfd, name, out, content, n), r;
    struct base_file was;

    if (!unread_is_error(err))
        return err;
    r = base_file_get(st, BASE_AGREED, dir, name, &was);
    if (r < 0)
        return r == -ENOENT ? err : r;
    if (!files_untouched(dirfd, name, &was)) {
        base_file_clear(&was);
        return err;
    }
    *out = was;
    return 0;
}

bool files_still(int dirfd, const char *name, const struct base_file *found) {
    struct base_file now = {0};
    struct stat sb;

    if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT && found->type == 0;
    if (S_ISDIR(sb.st_mode)) /* with mail in it, perhaps */
        return false;
    if (S_ISREG(sb.st_mode) || S_ISLNK(sb.st_mode))
        files_from_stat(&sb, &now);
    return now.type == found->type && now.size == found->size && now.mtime_ns == found->mtime_ns;
}

bool files_same(const struct base_file *a, const struct base_file *b) {
    if (a->type != b->type)
        return false;
    if (a->type == 0)
        return true;
    if (a->owner != b->owner || a->group != b->group)
        return false;
    if (S_ISLNK(a->type))
        return strcmp(a->link ? a->link : "", b->link ? b->link : "") == 0;
    return a->mode == b->mode && memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}

void files_from_state(const Mfp__FileState *s, struct base_file *out) {
    memset(out, 0, sizeof(*out));
    if (!s)
        return;
    out->type = s->type;
    out->link = S_ISLNK(s->type) ? s->symlink : NULL;
    if (s->meta) {
        out->mode = s->meta->mode;
        out->owner = s->meta->uid;
        out->group = s->meta->gid;
        out->mtime_ns = s->meta->mtime_ns;
        out->size = s->meta->size;
    }
    if (s->sha256.len == sizeof(out->sha256))
        memcpy(out->sha256, s->sha256.data, sizeof(out->sha256));
}
