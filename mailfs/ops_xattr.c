/*
 * ops_xattr - extended attributes; our own, user.mailfs.*, are not to be seen or touched
 *
 * Read through /proc/self/fd, since f*xattr(2) does not take the O_PATH descriptors we have.
 *
 * Diagnostics: none; errors are replied.
 */
#include "req.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "event.h"
#include "io/io.h"
#include "note.h"
#include "util/str.h"

#define HIDDEN "user.mailfs."

typedef char fd_link[40];

static const char *link_of(fd_link link, int fd) {
    snprintf(link, sizeof(fd_link), "/proc/self/fd/%d", fd);
    return link;
}

/* Replies with n bytes, with the size if that is what was asked, or with the error. */
static void reply_value(fuse_req_t req, ssize_t n, const char *value, size_t size) {
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)n);
    else if ((size_t)n > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value, (size_t)n);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size) {
    struct inode *in = inode_of(ino);
    struct inode_fd f;
    fd_link link;
    if (str_starts(name, HIDDEN) || in->made_up) {
        fuse_reply_err(req, ENODATA);
        return;
    }
    char *value = size > 0 ? malloc(size) : NULL;
    ssize_t n = size > 0 && value == NULL ? -ENOMEM : inode_fd(in, &f);
    if (n == 0) {
        n = getxattr(link_of(link, f.fd), name, value, size);
        n = n < 0 ? -errno : n;
        inode_fd_done(&f);
    }
    reply_value(req, n, value, size);
    free(value);
}

/* Takes our names out; returns what is left. */
static size_t names_filter(char *list, size_t n) {
    size_t kept = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = strlen(list + i) + 1;
        if (str_starts(list + i, HIDDEN))
            continue;
        memmove(list + kept, list + i, len);
        kept += len;
    }
    return kept;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
    enum { LIST_MAX = 65536 }; /* XATTR_LIST_MAX of the kernel */
    struct inode_fd f;
    fd_link link;
    char *list = malloc(LIST_MAX);
    ssize_t n = list == NULL ? -ENOMEM : inode_fd(inode_of(ino), &f);
    if (n == 0) {
        n = listxattr(link_of(link, f.fd), list, LIST_MAX);
        n = n < 0 ? -errno : (ssize_t)names_filter(list, (size_t)n);
        inode_fd_done(&f);
    }
    reply_value(req, n, list, size);
    free(list);
}

/* Was it made, or removed, by this very request? Else what is there is noted. */
static bool changed_before(const char *link, const char *name, const char *value, int flags) {
    struct note n;
    if (value != NULL && flags == 0)
        return false; /* it can be set twice */
    bool there = getxattr(link, name, NULL, 0) >= 0;
    if (note_found(NOTE_XATTR, &n))
        return value != NULL ? there && n.ino == 0 : !there && n.ino != 0;
    note_write(&(struct note){.kind = NOTE_XATTR, .ino = there});
    return false;
}

/* value NULL: remove. */
static int change_in_store(struct inode *in, const char *name, const char *value, size_t size,
                           int flags, struct stat *st) {
    struct inode_fd f;
    fd_link link;
    int r = inode_fd(in, &f);
    if (r != 0)
        return r;
    bool done = changed_before(link_of(link, f.fd), name, value, flags);
    if (value != NULL)
        r = io_setxattr(f.fd, name, value, size, done ? 0 : flags);
    else
        r = done ? 0 : io_removexattr(f.fd, name);
    if (r == 0 && fstat(f.fd, st) != 0)
        r = -errno;
    note_die_at("xattr");
    inode_fd_done(&f);
    return r;
}

static void change_xattr(fuse_req_t req, struct inode *in, const char *name, const char *value,
                         size_t size, int flags) {
    struct stat st;
    struct place place;
    struct spot at;
    bool placed = inode_place_get(in, &place);
    if (placed)
        spot_make(&at, place.parent, place.name);
    change_begin1(placed ? &at : NULL);
    int r = change_in_store(in, name, value, size, flags, &st);
    if (r == 0 && placed)
        event_attr(&at, in, &st, req_pid(req));
    change_end();
    reply_result(req, r);
    if (placed) {
        spot_done(&at);
        place_done(&place);
    }
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags) {
    if (str_starts(name, HIDDEN))
        fuse_reply_err(req, EPERM);
    else
        change_xattr(req, inode_of(ino), name, value != NULL ? value : "", size, flags);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name) {
    if (str_starts(name, HIDDEN))
        fuse_reply_err(req, ENODATA);
    else
        change_xattr(req, inode_of(ino), name, NULL, 0, 0);
}
