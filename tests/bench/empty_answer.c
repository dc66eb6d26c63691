/*
 * empty_answer - each request is a system call or two on the directory below
 *
 * Ids are the caller's own: the server runs as the mail user.
 */
#include "empty.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LIFETIME_S = 3600 };

static void fill_attr(struct fuse_attr *a, const struct stat *st) {
    *a = (struct fuse_attr){.ino = st->st_ino,
                            .size = (uint64_t)st->st_size,
                            .blocks = (uint64_t)st->st_blocks,
                            .atime = (uint64_t)st->st_atim.tv_sec,
                            .atimensec = (uint32_t)st->st_atim.tv_nsec,
                            .mtime = (uint64_t)st->st_mtim.tv_sec,
                            .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
                            .ctime = (uint64_t)st->st_ctim.tv_sec,
                            .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
                            .mode = st->st_mode,
                            .nlink = (uint32_t)st->st_nlink,
                            .uid = st->st_uid,
                            .gid = st->st_gid,
                            .blksize = (uint32_t)st->st_blksize};
}

static long answer_entry(const struct empty_request *r, const char *name) {
    struct fuse_entry_out *e = (void *)r->out;
    struct stat st;
    memset(e, 0, sizeof *e);
    int err = empty_node_look_up(r->head->nodeid, name, &e->nodeid, &st);
    if (err != 0)
        return err;
    e->entry_valid = e->attr_valid = LIFETIME_S;
    fill_attr(&e->attr, &st);
    return sizeof *e;
}

static long answer_attr(const struct empty_request *r) {
    struct fuse_attr_out *a = (void *)r->out;
    struct stat st;
    if (fstatat(empty_node_fd(r->head->nodeid), "", &st, AT_EMPTY_PATH) != 0)
        return -errno;
    memset(a, 0, sizeof *a);
    a->attr_valid = LIFETIME_S;
    fill_attr(&a->attr, &st);
    return sizeof *a;
}

static struct timespec time_of(const struct fuse_setattr_in *in, uint32_t set, uint32_t now,
                               uint64_t sec, uint32_t nsec) {
    struct timespec t = {.tv_sec = (time_t)sec, .tv_nsec = nsec};
    if (!(in->valid & set))
        t.tv_nsec = UTIME_OMIT;
    else if (in->valid & now)
        t.tv_nsec = UTIME_NOW;
    return t;
}

static long do_setattr(const struct empty_request *r) {
    const struct fuse_setattr_in *in = r->body;
    struct empty_path path = empty_node_path(r->head->nodeid);
    int failed = 0;
    if (in->valid & FATTR_MODE)
        failed |= chmod(path.text, in->mode);
    if (in->valid & (FATTR_UID | FATTR_GID))
        failed |= chown(path.text, in->valid & FATTR_UID ? in->uid : (uid_t)-1,
                        in->valid & FATTR_GID ? in->gid : (gid_t)-1);
    if (in->valid & FATTR_SIZE)
        failed |= truncate(path.text, (off_t)in->size);
    if (in->valid & (FATTR_ATIME | FATTR_MTIME)) {
        struct timespec t[2] = {
            time_of(in, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
            time_of(in, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec)};
        failed |= utimensat(AT_FDCWD, path.text, t, 0);
    }
    return failed != 0 ? -errno : answer_attr(r);
}

/* What is written can be read by the server, too. */
static int open_flags(int flags) {
    return (flags & O_ACCMODE) == O_WRONLY ? (flags & ~O_ACCMODE) | O_RDWR : flags;
}

static long do_open(const struct empty_request *r, int flags) {
    struct fuse_open_out *o = (void *)r->out;
    int fd =
        open(empty_node_path(r->head->nodeid).text, (open_flags(flags) & ~O_NOFOLLOW) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    memset(o, 0, sizeof *o);
    o->fh = (uint64_t)fd;
    o->open_flags = FOPEN_KEEP_CACHE;
    return sizeof *o;
}

static long do_create(const struct empty_request *r) {
    const struct fuse_create_in *in = r->body;
    const char *name = (const char *)(in + 1);
    int fd = openat(empty_node_fd(r->head->nodeid), name,
                    open_flags((int)in->flags) | O_CREAT | O_CLOEXEC, in->mode);
    if (fd < 0)
        return -errno;
    long n = answer_entry(r, name);
    if (n < 0) {
        close(fd);
        return n;
    }
    struct fuse_open_out o = {.fh = (uint64_t)fd, .open_flags = FOPEN_KEEP_CACHE};
    memcpy(r->out + n, &o, sizeof o);
    return n + (long)sizeof o;
}

static long do_read(const struct empty_request *r) {
    const struct fuse_read_in *in = r->body;
    ssize_t n = pread((int)in->fh, r->out, in->size, (off_t)in->offset);
    return n < 0 ? -errno : n;
}

static long do_write(const struct empty_request *r) {
    const struct fuse_write_in *in = r->body;
    struct fuse_write_out *o = (void *)r->out;
    ssize_t n = pwrite((int)in->fh, in + 1, in->size, (off_t)in->offset);
    *o = (struct fuse_write_out){.size = n < 0 ? 0 : (uint32_t)n};
    return n < 0 ? -errno : (long)sizeof *o;
}

static long do_readdir(const struct empty_request *r) {
    const struct fuse_read_in *in = r->body;
    char list[8192];
    size_t used = 0;
    uint64_t last = in->offset;
    while (lseek((int)in->fh, (off_t)last, SEEK_SET) >= 0) {
        ssize_t n = getdents64((int)in->fh, list, sizeof list);
        if (n <= 0)
            return n < 0 ? -errno : (long)used;
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(list + at);
            size_t len = strlen(d->d_name);
            struct fuse_dirent *out = (void *)(r->out + used);
            if (used + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len) > in->size)
                return (long)used;
            *out = (struct fuse_dirent){.ino = d->d_ino,
                                        .off = (uint64_t)d->d_off,
                                        .namelen = (uint32_t)len,
                                        .type = d->d_type};
            memcpy(out->name, d->d_name, len);
            used += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
            last = (uint64_t)d->d_off;
            at += d->d_reclen;
        }
    }
    return -errno;
}

static long do_rename(const struct empty_request *r, uint64_t to, const char *names) {
    const char *new = names + strlen(names) + 1;
    int done = renameat(empty_node_fd(r->head->nodeid), names, empty_node_fd(to), new);
    return done != 0 ? -errno : 0;
}

static long do_link(const struct empty_request *r) {
    const struct fuse_link_in *in = r->body;
    const char *name = (const char *)(in + 1);
    int done = linkat(AT_FDCWD, empty_node_path(in->oldnodeid).text, empty_node_fd(r->head->nodeid),
                      name, AT_SYMLINK_FOLLOW);
    return done != 0 ? -errno : answer_entry(r, name);
}

static long do_mkdir(const struct empty_request *r) {
    const struct fuse_mkdir_in *in = r->body;
    const char *name = (const char *)(in + 1);
    int done = mkdirat(empty_node_fd(r->head->nodeid), name, in->mode);
    return done != 0 ? -errno : answer_entry(r, name);
}

static long do_unlink(const struct empty_request *r, int flags) {
    return unlinkat(empty_node_fd(r->head->nodeid), r->body, flags) != 0 ? -errno : 0;
}

static long do_statfs(const struct empty_request *r) {
    struct fuse_statfs_out *o = (void *)r->out;
    struct statvfs s;
    if (statvfs(empty_node_path(r->head->nodeid).text, &s) != 0)
        return -errno;
    *o = (struct fuse_statfs_out){.st = {.blocks = s.f_blocks,
                                         .bfree = s.f_bfree,
                                         .bavail = s.f_bavail,
                                         .files = s.f_files,
                                         .ffree = s.f_ffree,
                                         .bsize = (uint32_t)s.f_bsize,
                                         .frsize = (uint32_t)s.f_frsize,
                                         .namelen = (uint32_t)s.f_namemax}};
    return sizeof *o;
}

static long do_forget(const struct empty_request *r) {
    if (r->head->opcode == FUSE_FORGET) {
        empty_node_forget(r->head->nodeid, ((const struct fuse_forget_in *)r->body)->nlookup);
        return EMPTY_SILENT;
    }
    const struct fuse_batch_forget_in *in = r->body;
    const struct fuse_forget_one *one = (const void *)(in + 1);
    for (uint32_t i = 0; i < in->count; i++)
        empty_node_forget(one[i].nodeid, one[i].nlookup);
    return EMPTY_SILENT;
}

static long do_init(const struct empty_request *r) {
    const struct fuse_init_in *in = r->body;
    struct fuse_init_out *o = (void *)r->out;
    uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC |
                      FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES;
    *o = (struct fuse_init_out){.major = FUSE_KERNEL_VERSION,
                                .minor = FUSE_KERNEL_MINOR_VERSION,
                                .max_readahead = in->max_readahead,
                                .flags = in->flags & wanted,
                                .max_background = 64,
                                .congestion_threshold = 48,
                                .max_write = EMPTY_WRITE_MAX,
                                .max_pages = EMPTY_WRITE_MAX / 4096};
    return sizeof *o;
}

static long answer_name(const struct empty_request *r) {
    switch (r->head->opcode) {
    case FUSE_LOOKUP:
        return answer_entry(r, r->body);
    case FUSE_CREATE:
        return do_create(r);
    case FUSE_MKDIR:
        return do_mkdir(r);
    case FUSE_UNLINK:
        return do_unlink(r, 0);
    case FUSE_RMDIR:
        return do_unlink(r, AT_REMOVEDIR);
    case FUSE_RENAME: {
        const struct fuse_rename_in *in = r->body;
        return do_rename(r, in->newdir, (const char *)(in + 1));
    }
    case FUSE_LINK:
        return do_link(r);
    default:
        return -ENOSYS;
    }
}

static long answer_open_file(const struct empty_request *r) {
    switch (r->head->opcode) {
    case FUSE_OPEN:
        return do_open(r, (int)((const struct fuse_open_in *)r->body)->flags);
    case FUSE_OPENDIR:
        return do_open(r, O_RDONLY | O_DIRECTORY);
    case FUSE_READ:
        return do_read(r);
    case FUSE_WRITE:
        return do_write(r);
    case FUSE_READDIR:
        return do_readdir(r);
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
        return empty_sync((int)((const struct fuse_fsync_in *)r->body)->fh);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        close((int)((const struct fuse_release_in *)r->body)->fh);
        return 0;
    default:
        return answer_name(r);
    }
}

long empty_answer(const struct empty_request *r) {
    switch (r->head->opcode) {
    case FUSE_INIT:
        return do_init(r);
    case FUSE_GETATTR:
        return answer_attr(r);
    case FUSE_SETATTR:
        return do_setattr(r);
    case FUSE_STATFS:
        return do_statfs(r);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        return do_forget(r);
    case FUSE_INTERRUPT:
        return EMPTY_SILENT;
    default:
        return answer_open_file(r);
    }
}
