/*
 * ops_data - reading and writing open files
 *
 * Diagnostics: error: a message cannot be written, with the true error (the caller gets EAGAIN).
 */
#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "io/io.h"
#include "io/sum.h"
#include "note.h"
#include "notify.h"
#include "prepare.h"
#include "reserve.h"
#include "util/log.h"

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi) {
    const struct file *f = req_file(req, fi);
    ssize_t n;
    if (f == NULL)
        return;
    char *buf = malloc(size);
    if (buf == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    do
        n = pread(file_fd(f), buf, size, off);
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
    bool vital;         /* a list of the owner of L */
};

/* Marks the container and enters the file as dirty. */
static void content_begin(struct content *c, struct file *f) {
    struct place place;
    struct spot at;
    *c = (struct content){.f = f};
    prepare_spoiled(f->in);
    (void)io_sum_drop(f->fd); /* what a user does to his mail is no damage */
    if (!inode_place_get(f->in, &place))
        return;
    spot_make(&at, place.parent, place.name);
    c->message = at.w.kind == MAILDIR_DIR_TMP && !at.w.local;
    c->vital = reserve_is_for(&at);
    if (at.class == MAILDIR_UIDLIST)
        note_die_at("number");
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

static void say_not_written(const struct content *c, int r) {
    char path[PATH_MAX] = "?";
    struct place place;
    struct spot at;
    if (inode_place_get(c->f->in, &place)) {
        spot_make(&at, place.parent, place.name);
        spot_shown(&at, path, sizeof path);
        spot_done(&at);
        place_done(&place);
    }
    log_error_limited("%s: writing a message: %s", path, log_strerror(r));
}

/* What a caller is told of -errno: of a message, nothing that makes Postfix bounce it (EIO,
 * EDQUOT). */
static int content_error(const struct content *c, int r) {
    if (!c->message || r == -ENOSPC || r == -EFBIG || r == -EINVAL || r == -EOPNOTSUPP)
        return -r;
    say_not_written(c, r);
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

/*
 * How much of an append an earlier worker had written when it died: the file's lock is the kernel's
 * until the answer, so what stands where it was to be appended, or behind what syncd appended below
 * the mount meanwhile, is it. Else it is noted where that is.
 */
static size_t appended_before(const struct file *f, const char *buf, size_t size) {
    struct stat st;
    struct note n;
    if (!(f->flags & O_APPEND) || fstat(f->fd, &st) != 0)
        return 0;
    if (!note_found(NOTE_APPEND, &n)) {
        note_write(&(struct note){.kind = NOTE_APPEND, .size = (uint64_t)st.st_size});
        return 0;
    }
    enum { TAIL_MAX = 4 << 20 };
    size_t tail = (uint64_t)st.st_size > n.size ? (size_t)((uint64_t)st.st_size - n.size) : 0;
    char *had = tail > 0 && tail <= TAIL_MAX ? malloc(tail) : NULL;
    size_t done = 0;
    int fd = had != NULL ? inode_open(f->in, O_RDONLY) : -1;
    if (fd >= 0 && pread(fd, had, tail, (off_t)n.size) == (ssize_t)tail) {
        if (memmem(had, tail, buf, size) != NULL)
            done = size;
        else if (tail < size && memcmp(had, buf, tail) == 0)
            done = tail;
    }
    if (fd >= 0)
        close(fd);
    free(had);
    return done;
}

/* Of what is kept for the lists of UIDs. */
static bool more_room(const struct content *c, size_t size) {
    struct place place;
    bool placed = inode_place_get(c->f->in, &place);
    bool some = reserve_give(placed ? place.parent : NULL, size);
    if (placed)
        place_done(&place);
    return some;
}

/* All of it, or an error; of what is vital not for want of room while there is a reserve. */
static ssize_t write_all(const struct content *c, const char *buf, size_t size, off_t off) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = io_pwrite(c->f->fd, buf + done, size - done, off + (off_t)done);
        if (n == -ENOSPC && c->vital && more_room(c, size))
            continue;
        if (n < 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
              struct fuse_file_info *fi) {
    struct file *f = req_file(req, fi);
    struct content c;
    if (f == NULL)
        return;
    content_begin(&c, f);
    size_t done = appended_before(f, buf, size);
    ssize_t n = write_all(&c, buf + done, size - done, off + (off_t)done);
    content_end(&c);
    note_told(); /* that it is to be told is noted with the file */
    note_die_at("write");
    if (n < 0) {
        fuse_reply_err(req, content_error(&c, (int)n));
        return;
    }
    n += (ssize_t)done;
    check_append(f, off, n);
    fuse_reply_write(req, (size_t)n);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi) {
    struct file *f = req_file(req, fi);
    struct content c;
    if (f == NULL)
        return;
    content_begin(&c, f);
    int r = io_fallocate(f->fd, mode, off, len);
    content_end(&c);
    fuse_reply_err(req, r == 0 ? 0 : content_error(&c, r));
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t in_off, struct fuse_file_info *in_fi,
                        fuse_ino_t out, off_t out_off, struct fuse_file_info *out_fi, size_t len,
                        int flags) {
    struct file *to = req_file(req, out_fi);
    const struct file *from = to == NULL ? NULL : req_file(req, in_fi);
    struct content c;
    if (from == NULL)
        return;
    content_begin(&c, to);
    ssize_t n = io_copy_all(file_fd(from), in_off, to->fd, out_off, len);
    content_end(&c);
    if (n < 0)
        fuse_reply_err(req, content_error(&c, (int)n));
    else
        fuse_reply_write(req, (size_t)n);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi) {
    const struct file *f = req_file(req, fi);
    if (f == NULL)
        return;
    off_t at = lseek(file_fd(f), off, whence);
    if (at < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_lseek(req, at);
}
