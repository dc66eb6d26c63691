/*
 * access - permissions, where the kernel does not check them
 *
 * What it costs: an fstat(2) of a directory, or of the file that was opened, beside a GETATTR
 * less for each change in a directory: 3 of a delivery's 10 requests, 1 of a flag's 3, 2 of a pick
 * up's 4.
 *
 * Diagnostics: warning: somebody else got to the mount.
 */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "inode.h"
#include "util/log.h"

static int refuse_stranger(const struct fuse_ctx *ctx) {
    log_warn_limited("uid %u (process %d) got to the mount, which is private to uid %u, by another "
                     "way than its path: refused",
                     (unsigned)ctx->uid, (int)ctx->pid, (unsigned)vol.private_uid);
    return -EACCES;
}

/* As the kernel reads a mode, but for groups: what only a group may do is refused. */
static unsigned bits_of(const struct fuse_ctx *ctx, const struct stat *st) {
    unsigned mode = st->st_mode;
    return st->st_uid == ctx->uid ? mode >> 6 & 7 : mode >> 3 & mode & 7;
}

static bool is_executable(const struct stat *st) {
    return S_ISDIR(st->st_mode) || (st->st_mode & 0111) != 0;
}

static int permits(const struct fuse_ctx *ctx, const struct stat *st, int want) {
    if (ctx->uid == 0)
        return want & X_OK && !is_executable(st) ? -EACCES : 0;
    return ((unsigned)want & ~bits_of(ctx, st)) == 0 ? 0 : -EACCES;
}

/* 1: it need not be asked any further. */
static int passes(const struct fuse_ctx *ctx) {
    if (!vol.is_private)
        return 1;
    return ctx->uid == 0 || ctx->uid == vol.private_uid ? 0 : refuse_stranger(ctx);
}

/* The same of one who wants this much. */
static int passes_for(const struct fuse_ctx *ctx, int want) {
    int r = passes(ctx);
    return r == 0 && ctx->uid == 0 && (want & X_OK) == 0 ? 1 : r;
}

int access_inode(fuse_req_t req, fuse_ino_t ino, int want) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    int r = passes_for(ctx, want);
    if (r != 0)
        return r < 0 ? r : 0;
    r = inode_stat(inode_of(ino), &st);
    return r != 0 ? r : permits(ctx, &st, want);
}

static int wanted_by(int flags) {
    static const int wants[] = {
        [O_RDONLY] = R_OK, [O_WRONLY] = W_OK, [O_RDWR] = R_OK | W_OK, [O_ACCMODE] = R_OK | W_OK};
    return wants[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0);
}

int access_open(fuse_req_t req, fuse_ino_t ino, int flags) {
    return access_inode(req, ino, wanted_by(flags));
}

int access_opened(fuse_req_t req, int fd, int flags) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    int r = passes_for(ctx, wanted_by(flags));
    if (r != 0)
        return r < 0 ? r : 0;
    return fstat(fd, &st) != 0 ? -errno : permits(ctx, &st, wanted_by(flags));
}

/* The kernel leaves sticky directories to us, too. st: the directory's */
static int check_sticky(const struct fuse_ctx *ctx, const struct inode *dir, const struct stat *st,
                        const char *name) {
    struct stat file;
    if (!(st->st_mode & S_ISVTX) || st->st_uid == ctx->uid)
        return 0;
    if (fstatat(dir->dir->fd, name, &file, AT_SYMLINK_NOFOLLOW) != 0 || file.st_uid == ctx->uid)
        return 0;
    return -EPERM;
}

int access_names(fuse_req_t req, fuse_ino_t dir, const char *goes) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    int r = passes_for(ctx, W_OK | X_OK);
    if (r != 0)
        return r < 0 ? r : 0;
    r = inode_stat(inode_of(dir), &st);
    if (r == 0)
        r = permits(ctx, &st, W_OK | X_OK);
    return r == 0 && goes != NULL && ctx->uid != 0 ? check_sticky(ctx, inode_of(dir), &st, goes)
                                                   : r;
}

int access_moves(fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    if (!vol.is_private || ctx->uid == 0 || from == to ||
        fstatat(inode_of(from)->dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return S_ISDIR(st.st_mode) ? permits(ctx, &st, W_OK) : 0;
}

bool access_names_live(const struct inode *dir) {
    struct stat st;
    return !vol.is_private || (fstat(dir->dir->fd, &st) == 0 &&
                               (st.st_uid == vol.private_uid || st.st_mode & S_IXOTH));
}

bool access_in_group(fuse_req_t req, gid_t gid) {
    enum { GROUPS = 256 };
    gid_t groups[GROUPS];
    if (fuse_req_ctx(req)->gid == gid)
        return true;
    int n = fuse_req_getgroups(req, GROUPS, groups);
    for (int i = 0; i < n && i < GROUPS; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

/* The attributes by which it is decided. false: without them, *r is the answer. */
static bool by_attributes(const struct fuse_ctx *ctx, fuse_ino_t ino, struct stat *st, int *r) {
    *r = passes(ctx);
    if (*r != 0 || ctx->uid == 0) {
        *r = *r < 0 ? *r : 0;
        return false;
    }
    *r = inode_stat(inode_of(ino), st);
    return *r == 0;
}

int access_link(fuse_req_t req, fuse_ino_t ino) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    int r;
    if (!by_attributes(ctx, ino, &st, &r) || st.st_uid == ctx->uid)
        return r;
    bool plain = S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID)) == 0;
    return plain && permits(ctx, &st, R_OK | W_OK) == 0 ? 0 : -EPERM;
}

/* The size, and the present as times, may be set by whoever may write. */
static bool needs_owner(int valid) {
    return (valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE)) != 0 ||
           (valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) == FUSE_SET_ATTR_ATIME ||
           (valid & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) == FUSE_SET_ATTR_MTIME;
}

/* Of an owner. */
static int permits_setattr(fuse_req_t req, const struct stat *st, struct stat *attr, int valid) {
    if (valid & FUSE_SET_ATTR_UID && attr->st_uid != st->st_uid)
        return -EPERM;
    gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : st->st_gid;
    if (gid != st->st_gid && !access_in_group(req, gid))
        return -EPERM;
    if (valid & FUSE_SET_ATTR_MODE && attr->st_mode & S_ISGID && !access_in_group(req, gid))
        attr->st_mode &= ~(mode_t)S_ISGID;
    return 0;
}

int access_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, bool open) {
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct stat st;
    int r;
    if (!by_attributes(ctx, ino, &st, &r))
        return r;
    if (st.st_uid == ctx->uid && needs_owner(valid))
        return permits_setattr(req, &st, attr, valid);
    if (needs_owner(valid))
        return -EPERM;
    bool his = st.st_uid == ctx->uid && (valid & FUSE_SET_ATTR_SIZE) == 0;
    return open || his ? 0 : permits(ctx, &st, W_OK);
}
