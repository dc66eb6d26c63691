/*
 * ops_data - reading and writing open files
 *
 * Diagnostics: error: a message cannot be written, with the true error (the caller gets EAGAIN).
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"
#include "io/io.h"
#include "notify.h"
#include "prepare.h"
#include "util/log.h"

static struct file *file_of(const struct fuse_file_info *fi) {
    return (struct file *)(uintptr_t)fi->fh;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    char *buf = malloc(size);
    ssize_t n;
    if (buf == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    do
        n = pread(file_fd(file_of(fi)), buf, size, off);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_buf(req, buf, (size_t)n);
    free(buf);
}

/* One change of an open file's content. */
struct content {
    struct file *f;
    struct inode *cont; /* a reference; NULL: nothing to tell, and no change begun */
    bool message;       /* it is one in tmp/ */
};

/* Marks the container and enters the file as dirty. */
static void content_begin(struct content *c, struct file *f) {
    struct place place;
    struct spot at;
    *c = (struct content){.f = f};
    prepare_spoiled(f->in);
    if (!inode_place_get(f->in, &place))
        return;
    spot_make(&at, place.parent, place.name);
    c->message = at.w.kind == MAILDIR_DIR_TMP && !at.w.local;
    if (f->tracked) {
        change_begin1(&at);
        c->cont = at.w.cont;
        inode_ref(c->cont);
        if (at.sent)
            file_dirty(f, c->cont);
    }
    spot_done(&at);
    place_done(&place);
}

/* Once more: U may have told it, as it was before, while it was being written. */
static void content_end(struct content *c) {
    if (c->cont == NULL)
        return;
    if (c->f->tracked)
        file_dirty(c->f, c->cont);
    change_end();
    inode_unref(c->cont, 1);
}

/* What a caller is told of -errno: of a message, nothing that makes Postfix bounce it (EIO,
 * EDQUOT). */
static int content_error(const struct content *c, int r) {
    if (!c->message || r == -ENOSPC || r == -EFBIG || r == -EINVAL || r == -EOPNOTSUPP)
        return -r;
    log_error_limited("writing a message in tmp/: %s", log_strerror(r));
    return EAGAIN;
}

/*
 * The kernel takes an appended line to stand at the end of the file that it knew. If the store's
 * file was longer (a line added below the mount), what it has cached is wrong.
 */
static void check_append(struct file *f, off_t off, ssize_t n) {
    struct stat st;
    if (f->flags & O_APPEND && n > 0 && fstat(f->fd, &st) == 0 && st.st_size != off + n)
        notify_content(f->in);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi) {
    struct file *f = file_of(fi);
    struct content c;
    content_begin(&c, f);
    ssize_t n = io_pwrite(f->fd, buf, size, off);
    content_end(&c);
    if (n < 0) {
        fuse_reply_err(req, content_error(&c, (int)n));
        return;
    }
    check_append(f, off, n);
    fuse_reply_write(req, (size_t)n);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi) {
    struct file *f = file_of(fi);
    struct content c;
    content_begin(&c, f);
    int r = io_fallocate(f->fd, mode, off, len);
    content_end(&c);
    fuse_reply_err(req, r == 0 ? 0 : content_error(&c, r));
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t in_off, struct fuse_file_info *in_fi,
                        fuse_ino_t out, off_t out_off, struct fuse_file_info *out_fi, size_t len,
                        int flags) {
    struct file *to = file_of(out_fi);
    struct content c;
    content_begin(&c, to);
    ssize_t n =
        copy_file_range(file_fd(file_of(in_fi)), &in_off, to->fd, &out_off, len, (unsigned)flags);
    int err = errno;
    content_end(&c);
    if (n < 0)
        fuse_reply_err(req, content_error(&c, -err));
    else
        fuse_reply_write(req, (size_t)n);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi) {
    off_t at = lseek(file_fd(file_of(fi)), off, whence);
    if (at < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_lseek(req, at);
}
