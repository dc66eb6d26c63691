/*
 * req - what the callbacks have in common: replies, lifetimes, the lock of a directory's names
 *
 * Diagnostics: error: a disk quota that keeps mail out (the caller gets EAGAIN).
 */
#include "req.h"

#include <errno.h>
#include <limits.h>

#include "access.h"
#include "dir.h"
#include "file.h"
#include "keep.h"
#include "lock.h"
#include "util/log.h"

static double lifetime_of_dir(const struct dir *d) {
    switch (d->kind) {
    case MAILDIR_DIR_CONTAINER:
        return LIFETIME_CONTAINER;
    case MAILDIR_DIR_TMP:
        return LIFETIME_LONG;
    case MAILDIR_DIR_NEW:
    case MAILDIR_DIR_CUR:
        break;
    }
    return 0;
}

double lifetime_attr(const struct inode *in) {
    if (in->made_up)
        return 0;
    if (inode_short_lived(in))
        return LIFETIME_SHORT;
    return in->dir != NULL ? lifetime_of_dir(in->dir) : LIFETIME_LONG;
}

/* L is looked at three times by him who has made it, before it goes by his own unlink, of which the
 * kernel knows: 3 of the 50 requests of an LMTP delivery. An L that we remove ends in
 * notify_name(), and whoever opens the inode that was seen before that gets ESTALE, and looks
 * again. */
static double lifetime_name(const struct spot *at) {
    if (at->class == MAILDIR_LOCK_L && lock_is_held(at->dir->dir))
        return LIFETIME_SHORT;
    bool lives = !maildir_class_is_volatile(at->class) && at->class != MAILDIR_POKE &&
                 access_names_live(at->dir);
    return lives ? LIFETIME_LONG : 0;
}

void entry_fill(struct fuse_entry_param *e, struct inode *in, const struct stat *st,
                const struct spot *at) {
    bool volatile_name = maildir_class_is_volatile(at->class) || at->class == MAILDIR_POKE;
    if (in->dir == NULL)
        inode_set_short_lived(in, volatile_name || at->class == MAILDIR_SIZE);
    inode_give(in);
    *e = (struct fuse_entry_param){
        .ino = inode_id(in),
        .generation = inode_slot(in)->generation,
        .attr = *st,
        .attr_timeout = lifetime_attr(in),
        .entry_timeout = lifetime_name(at),
    };
}

void entry_not_taken(struct inode *in) {
    inode_take_back(in);
    inode_unref(in, 1);
}

void reply_entry(fuse_req_t req, int r, struct inode *in, const struct stat *st,
                 const struct spot *at) {
    struct fuse_entry_param e;
    if (r != 0) {
        fuse_reply_err(req, -r);
        return;
    }
    entry_fill(&e, in, st, at);
    if (fuse_reply_entry(req, &e) != 0)
        entry_not_taken(in); /* interrupted */
}

void reply_result(fuse_req_t req, int r) {
    fuse_reply_err(req, -r);
}

int error_for_now(const struct spot *at, int r) {
    char path[PATH_MAX];
    if (r != -EDQUOT)
        return r;
    log_error_limited("%s: refused for now: %s", spot_shown(at, path, sizeof path),
                      log_strerror(r));
    return -EAGAIN;
}

struct file *req_file(fuse_req_t req, const struct fuse_file_info *fi) {
    struct file *f = file_of(fi->fh);
    if (f == NULL)
        fuse_reply_err(req, ESTALE);
    return f;
}

pid_t req_pid(fuse_req_t req) {
    return fuse_req_ctx(req)->pid;
}

void names_begin(struct inode *dir) {
    pthread_rwlock_rdlock(&dir->dir->names);
}

int names_begin_new(struct inode *dir) {
    names_begin(dir);
    if (!dir_is_cut(dir))
        return 0;
    names_end(dir, 0);
    return -ENOENT;
}

void names_barrier(struct inode *dir) {
    pthread_rwlock_wrlock(&dir->dir->names);
    pthread_rwlock_unlock(&dir->dir->names);
}

void names_end(struct inode *dir, pid_t thread) {
    pthread_rwlock_unlock(&dir->dir->names);
    asked_changed(dir, thread);
}
