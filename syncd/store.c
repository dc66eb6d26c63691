/*
 * store: containers by id, their parts, messages by base name.
 *
 * An id leads to its directory by the file handle in the base's table, else by the name in its
 * parent, else by the handle in its mark. What was found so must bear the id, and be in the store
 * still; the table follows.
 *
 * Diagnostics: a copied id; other errors are returned.
 */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "state_int.h"
#include "util/log.h"
#include "util/str.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
#define DEPTH_MAX 128

static const char *const sub_names[] = {"", "new", "cur", "tmp"};

static void dir_init(struct store_dir *d, const struct mailfs_id *id, int fd) {
    d->id = *id;
    d->fd[0] = fd;
    d->fd[1] = d->fd[2] = d->fd[3] = -1;
}

void store_dir_close(struct store_dir *d) {
    int i;

    for (i = 0; i < 4; i++) {
        if (d->fd[i] >= 0)
            close(d->fd[i]);
        d->fd[i] = -1;
    }
}

/* Below Dovecot's trash, or put aside by us: removed for everybody else. 1: yes. A path too long to
 * be told is none of ours. Never -ENOENT: that /proc is not there says nothing of the directory. */
static int in_trash(int fd) {
    char link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 2);
    if (n < 0)
        return errno == ENAMETOOLONG ? 0 : errno == ENOENT ? -EIO : -errno;
    path[n] = '/';
    path[n + 1] = '\0';
    return strstr(path, "/" STORE_TRASH_NAME "/") || strstr(path, "/" MAILDIR_INTERNAL_NAME "/");
}

/* 0: this directory is that container, and in the tree still (or anywhere); -ENOENT: it is not. */
static int look(int fd, const struct mailfs_id *id, bool anywhere) {
    struct mailfs_id got;
    struct stat sb;
    int r;

    if (fstat(fd, &sb) < 0)
        return -errno;
    if (!S_ISDIR(sb.st_mode) || sb.st_nlink == 0)
        return -ENOENT;
    r = io_dirid_get(fd, &got);
    if (r == -ENODATA || r == -EINVAL || (r == 0 && !mailfs_id_equal(&got, id)))
        return -ENOENT;
    if (r == 0 && !anywhere)
        r = in_trash(fd);
    return r > 0 ? -ENOENT : r;
}

/* Takes fd over. */
static int if_it_is(int fd, const struct mailfs_id *id, bool anywhere) {
    int r = look(fd, id, anywhere);

    if (r == 0)
        return fd;
    close(fd);
    return r;
}

/* What is gone is taken for removed, so only what the kernel says of an inode that is none any more
 * says so. (It says that of one that the disk cannot read, too: the name tells these apart. And
 * where syncd may open nothing by handle, as in a container on a watched server, no handle tells
 * anything.) */
static int open_handle(struct state *st, const struct io_handle *h, const struct mailfs_id *id,
                       bool anywhere) {
    int fd;

    if (h->len == 0)
        return -ENOENT;
    fd = io_handle_open(st->root, h, DIR_FLAGS);
    if (fd < 0)
        return fd == -ESTALE || fd == -ENOTDIR || fd == -ELOOP || fd == -EPERM ? -ENOENT : fd;
    return if_it_is(fd, id, anywhere);
}

static int open_dir(struct state *st, const struct mailfs_id *id, int depth);

static int open_by_name(struct state *st, const struct base_dir *rec, const struct mailfs_id *id,
                        int depth) {
    int parent, fd;

    if (maildir_name_check(rec->name, strlen(rec->name), MAILDIR_NAME_COMPONENT) < 0)
        return -ENOENT;
    parent = open_dir(st, &rec->parent, depth + 1);
    if (parent < 0)
        return parent;
    fd = io_open_beneath(parent, rec->name, DIR_FLAGS, 0);
    close(parent);
    if (fd < 0)
        return fd == -ENOTDIR || fd == -ELOOP ? -ENOENT : fd;
    return if_it_is(fd, id, false);
}

static int mark_match(const struct mark *m, void *arg) {
    struct mark *want = arg;

    if (!mailfs_id_equal(&m->dir, &want->dir))
        return 0;
    want->handle = m->handle;
    return 1;
}

/* What only the mark knows: made while syncd was away. */
static int open_by_mark(struct state *st, const struct mailfs_id *id) {
    struct mark m = {.dir = *id};
    int r = marks_each(st->marks, mark_match, &m);

    if (r != 1)
        return r < 0 ? r : -ENOENT;
    return open_handle(st, &m.handle, id, false);
}

static int open_dir(struct state *st, const struct mailfs_id *id, int depth) {
    struct base_dir rec;
    int fd, by_handle, r;

    if (mailfs_id_is_root(id)) {
        fd = fcntl(st->root, F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? -errno : fd;
    }
    if (depth > DEPTH_MAX)
        return -ELOOP;
    r = base_dir_get(st, id, &rec);
    if (r < 0)
        return r == -ENOENT ? open_by_mark(st, id) : r;
    by_handle = open_handle(st, &rec.handle, id, false);
    if (by_handle >= 0)
        return by_handle;
    fd = open_by_name(st, &rec, id, depth);
    if (fd == -ENOENT)
        fd = open_by_mark(st, id);
    if (fd == -ENOENT) /* not under its name: what the handle leads to may be it */
        return by_handle;
    /* Of one above it, the record may be another job's. */
    if (fd >= 0 && depth == 0 && io_handle_get_fd(fd, &rec.handle) == 0)
        base_dir_put(st, id, &rec);
    return fd;
}

int store_dir_open(struct state *st, const struct mailfs_id *id, struct store_dir *out) {
    int fd = open_dir(st, id, 0);

    dir_init(out, id, fd < 0 ? -1 : fd);
    return fd < 0 ? fd : 0;
}

int store_dir_open_anywhere(struct state *st, const struct mailfs_id *id, struct store_dir *out) {
    struct base_dir rec;
    int r = store_dir_open(st, id, out);

    if (r != -ENOENT)
        return r;
    r = base_dir_get(st, id, &rec);
    if (r == 0)
        r = open_handle(st, &rec.handle, id, true);
    dir_init(out, id, r < 0 ? -1 : r);
    return r < 0 ? r : 0;
}

/* Is this one a copy (cp -a), the first holder of the id living elsewhere? 1: yes. */
static int is_copy(struct state *st, const struct mailfs_id *id, const struct io_handle *h) {
    struct base_dir rec;
    int r = base_dir_get(st, id, &rec);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (memcmp(&rec.handle, h, sizeof(*h)) == 0)
        return 0;
    r = open_handle(st, &rec.handle, id, false);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    close(r);
    return 1;
}

int store_dir_adopt(struct state *st, int fd, struct store_dir *out) {
    char path[1024];
    struct mailfs_id id;
    struct io_handle h;
    struct stat sb;
    int r;

    dir_init(out, &mailfs_id_root, fd);
    if (fstat(fd, &sb) < 0)
        return -errno;
    if (sb.st_ino == st->root_ino && sb.st_dev == st->dev)
        return 0;
    r = io_dirid_ensure(fd, &id);
    if (r == 0)
        r = io_handle_get_fd(fd, &h);
    if (r == 0)
        r = is_copy(st, &id, &h);
    if (r > 0) {
        log_warn("%s: was copied with its id: the copy gets a new one",
                 state_path(st, &id, path, sizeof(path)));
        r = mailfs_id_new(&id);
        if (r == 0)
            r = io_dirid_replace(fd, &id);
    }
    out->id = id;
    return r;
}

/* Made aside, where a start sweeps: in its mailbox it has its owner from the beginning. */
static int make_sub(struct state *st, const struct store_dir *d, int sub) {
    char temp[MAILFS_ID_HEX + 8], hex[MAILFS_ID_HEX];
    struct mailfs_id id;
    struct stat sb;
    int r = fstat(d->fd[0], &sb) < 0 ? -errno : mailfs_id_new(&id);

    if (r < 0)
        return r;
    snprintf(temp, sizeof(temp), "make-%s", mailfs_id_format(&id, hex));
    r = io_mkdir(st->trash, temp, sb.st_mode & 07777);
    if (r < 0)
        return r;
    if (geteuid() == 0)
        r = io_chown(st->trash, temp, sb.st_uid, sb.st_gid);
    if (r == 0)
        r = io_rename(st->trash, temp, d->fd[0], sub_names[sub], RENAME_NOREPLACE);
    if (r < 0)
        io_rmdir(st->trash, temp);
    return r == -EEXIST ? 0 : r;
}

int store_sub_open(struct state *st, struct store_dir *d, int sub, bool make) {
    int r;

    if (sub < MFP__SUB__SELF || sub > MFP__SUB__TMP)
        return -EINVAL;
    if (d->fd[sub] >= 0)
        return d->fd[sub];
    r = io_open_beneath(d->fd[0], sub_names[sub], DIR_FLAGS, 0);
    if (r == -ENOENT && make) {
        r = make_sub(st, d, sub);
        if (r == 0)
            r = io_open_beneath(d->fd[0], sub_names[sub], DIR_FLAGS, 0);
    }
    if (r >= 0)
        d->fd[sub] = r;
    return r;
}

/* ---- names ------------------------------------------------------------------------- */

struct name_list {
    char *p; /* type, name, NUL, type, name, ... */
    size_t n, cap;
};

static int list_add(struct name_list *l, const char *name, unsigned char type) {
    size_t n = strlen(name) + 2;

    if (l->n + n > l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8192;
        char *p;
        while (cap < l->n + n)
            cap *= 2;
        p = realloc(l->p, cap);
        if (!p)
            return -ENOMEM;
        l->p = p;
        l->cap = cap;
    }
    l->p[l->n] = (char)type;
    memcpy(l->p + l->n + 1, name, n - 1);
    l->n += n;
    return 0;
}

/* Of a message that cannot be looked at nobody may say that it is none. */
static int list_entry(int fd, const struct dirent *de, struct name_list *l) {
    struct stat sb;

    if (de->d_type != DT_UNKNOWN)
        return list_add(l, de->d_name, de->d_type);
    if (fstatat(fd, de->d_name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return list_add(l, de->d_name, IFTODT(sb.st_mode));
}

static int list_fill(DIR *dir, int fd, struct name_list *l) {
    struct dirent *de;
    int r = 0;

    while (r == 0) {
        errno = 0;
        de = readdir(dir);
        if (!de)
            return errno ? -errno : 0;
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            r = list_entry(fd, de, l);
    }
    return r;
}

static int list_read(int fd, struct name_list *l) {
    /* A fresh open: the offset of fd is shared with whoever else has it. */
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
    DIR *dir = own < 0 ? NULL : fdopendir(own);

    if (!dir) {
        r = -errno;
        if (own >= 0)
            close(own);
        return r;
    }
    r = list_fill(dir, own, l);
    closedir(dir);
    return r;
}

int store_each_name(int fd, store_name_fn *fn, void *arg) {
    struct name_list l = {0};
    size_t i;
    int r = list_read(fd, &l);

    for (i = 0; r == 0 && i < l.n; i += strlen(l.p + i + 1) + 2)
        r = fn(arg, l.p + i + 1, (unsigned char)l.p[i]);
    free(l.p);
    return r;
}

/* ---- messages ---------------------------------------------------------------------- */

static bool name_there(int fd, const char *name) {
    struct stat sb;
    return fd >= 0 && fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode);
}

struct find {
    const char *base;
    char *name;
};

static int find_name(void *arg, const char *name, unsigned char type) {
    struct find *f = arg;

    if (!maildir_name_same_base(name, f->base) || type != DT_REG)
        return 0;
    return str_copy(f->name, MAILDIR_NAME_MAX + 1, name) == 0;
}

int store_msg_find(struct state *st, struct store_dir *d, const char *base, const char *hint,
                   int *sub, char name[MAILDIR_NAME_MAX + 1]) {
    struct find f = {base, name};
    int s, fd, r;

    for (s = MFP__SUB__NEW; hint && s <= MFP__SUB__CUR; s++) {
        fd = store_sub_open(st, d, s, false);
        if (name_there(fd, hint)) {
            *sub = s;
            return str_copy(name, MAILDIR_NAME_MAX + 1, hint);
        }
    }
    for (s = MFP__SUB__NEW; s <= MFP__SUB__CUR; s++) {
        fd = store_sub_open(st, d, s, false);
        r = fd < 0 ? fd : store_each_name(fd, find_name, &f);
        if (r == 1) {
            *sub = s;
            return 0;
        }
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return -ENOENT;
}

Mfp__Meta *store_meta_new(const struct stat *sb) {
    Mfp__Meta *m = malloc(sizeof(*m));

    if (!m)
        return NULL;
    mfp__meta__init(m);
    m->mode = sb->st_mode & 07777;
    m->uid = sb->st_uid;
    m->gid = sb->st_gid;
    m->mtime_ns = (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
    m->size = (uint64_t)sb->st_size;
    return m;
}
