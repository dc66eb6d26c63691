/*
 * prepare - the fsync of a message in tmp/
 *
 * The reply waits for two things, the local fsync and syncd's Release, and is sent by whichever
 * comes last; no thread waits for the other. What is not EAGAIN would make Postfix bounce the mail
 * (EIO, EDQUOT) or is as good: so all errors of a message's fsync are EAGAIN.
 *
 * Diagnostics: error: a local fsync failed, with its true error.
 */
#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "file.h"
#include "io/io.h"
#include "upcall.h"
#include "util/log.h"
#include "wire/check.h"

struct prep {
    uint64_t seq;
    bool named;  /* it has got a name in new/ or cur/: the peer has been told what it is for */
    bool pinned; /* a reference to the inode is held */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_seq;

static void tell_abort(uint64_t seq) {
    Mfl__Prepared id = MFL__PREPARED__INIT;
    Mfl__Abort abort_it = MFL__ABORT__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    id.incarnation = vol.incarnation;
    id.seq = seq;
    abort_it.id = &id;
    m.m_case = MFL__TO_SYNCD__M_ABORT;
    m.abort = &abort_it;
    upcall_tell(&m);
}

/* Takes the inode's prep off it; aborts what nobody will ask for; gives the reference back. */
static void drop(struct inode *in) {
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    in->prep = NULL;
    pthread_mutex_unlock(&lock);
    if (p == NULL)
        return;
    if (!p->named)
        tell_abort(p->seq);
    bool pinned = p->pinned;
    free(p);
    if (pinned)
        inode_unref(in, 1);
}

bool prepare_id(struct inode *in, uint64_t *seq) {
    pthread_mutex_lock(&lock);
    bool is = in->prep != NULL && !in->changed;
    if (is)
        *seq = in->prep->seq;
    pthread_mutex_unlock(&lock);
    return is;
}

void prepare_named(struct inode *in) {
    bool unpin = false;
    pthread_mutex_lock(&lock);
    if (in->prep != NULL && !in->changed) {
        unpin = in->prep->pinned;
        in->prep->pinned = false;
        in->prep->named = true;
    }
    pthread_mutex_unlock(&lock);
    if (unpin)
        inode_unref(in, 1);
}

void prepare_dropped(struct inode *in) {
    drop(in);
}

void prepare_spoiled(struct inode *in) {
    pthread_mutex_lock(&lock);
    in->changed = true;
    pthread_mutex_unlock(&lock);
}

void prepare_inode_gone(struct inode *in) {
    free(in->prep); /* pinned ones do not come here; of the others the peer knows all it needs */
    in->prep = NULL;
}

/* The id of the content as it will be at this fsync; 0: no memory. */
static uint64_t prep_new(struct inode *in) {
    struct prep *p = calloc(1, sizeof *p);
    if (p == NULL)
        return 0;
    drop(in);
    inode_ref(in);
    p->pinned = true;
    pthread_mutex_lock(&lock);
    uint64_t seq = p->seq = ++last_seq;
    struct prep *raced = in->prep; /* another fsync of the same file, just now */
    in->prep = p;
    in->changed = false;
    pthread_mutex_unlock(&lock);
    if (raced != NULL) {
        tell_abort(raced->seq);
        free(raced);
        inode_unref(in, 1);
    }
    return seq;
}

/* Forgets an id that syncd never heard of. */
static void prep_never_sent(struct inode *in, uint64_t seq) {
    bool unpin = false;
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    if (p != NULL && p->seq == seq) {
        unpin = p->pinned;
        in->prep = NULL;
        free(p);
    }
    pthread_mutex_unlock(&lock);
    if (unpin)
        inode_unref(in, 1);
}

/* --- one fsync -----------------------------------------------------------------------------------
 */

struct waiting {
    fuse_req_t req;
    int left; /* of the two */
    int err;
};

static void one_done(struct waiting *w, int err) {
    pthread_mutex_lock(&lock);
    bool last = --w->left == 0;
    if (w->err == 0)
        w->err = err;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    fuse_reply_err(w->req, w->err != 0 ? EAGAIN : 0);
    free(w);
}

static void on_release(void *arg, const struct upcall_answer *a, bool now) {
    one_done(arg, a->alone ? 0 : a->err);
}

static bool ask(struct waiting *w, const struct spot *at, const struct stat *st, uint64_t seq,
                int fd) {
    Mfl__Prepare prepare = MFL__PREPARE__INIT;
    Mfl__Prepared id = MFL__PREPARED__INIT;
    Mfl__Meta meta = MFL__META__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    id.incarnation = vol.incarnation;
    id.seq = seq;
    meta.mode = st->st_mode;
    meta.uid = st->st_uid;
    meta.gid = st->st_gid;
    meta.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    meta.size = (uint64_t)st->st_size;
    prepare.req = upcall_number();
    prepare.id = &id;
    prepare.dir = wire_bytes_of(&at->w.id);
    prepare.tmp_name = (char *)(uintptr_t)at->name;
    prepare.meta = &meta;
    prepare.pid = req_pid(w->req);
    m.m_case = MFL__TO_SYNCD__M_PREPARE;
    m.prepare = &prepare;
    return upcall_ask(&m, prepare.req, fd, on_release, w);
}

/* Gives the content to syncd, if it is new to it. w->left must count this half. */
static void give(struct waiting *w, const struct file *f, const struct spot *at) {
    struct inode *in = f->in;
    struct stat st;
    uint64_t seq;
    if (!vol.has_peer || prepare_id(in, &seq)) {
        one_done(w, 0);
        return;
    }
    int fd = inode_open(in, O_RDONLY); /* -ESTALE: it has no name, so nobody will deliver it */
    seq = fd < 0 || fstat(fd, &st) != 0 ? 0 : prep_new(in);
    if (seq == 0) {
        if (fd >= 0)
            close(fd);
        one_done(w, 0);
        return;
    }
    if (!ask(w, at, &st, seq, fd))
        prep_never_sent(in, seq);
}

static int local_sync(const struct file *f, const struct spot *at, int datasync) {
    int r = datasync ? io_fdatasync(f->fd) : io_fsync(f->fd);
    if (r != 0)
        log_error_limited("fsync of message tmp/%s: %s", at->name, log_strerror(r));
    return -r;
}

void prepare_fsync(fuse_req_t req, struct file *f, const struct spot *at, int datasync) {
    struct waiting *w = calloc(1, sizeof *w);
    if (w == NULL || change_mark_alone(at->w.cd) != 0) {
        free(w);
        fuse_reply_err(req, EAGAIN);
        return;
    }
    w->req = req;
    w->left = 2;
    give(w, f, at);
    one_done(w, local_sync(f, at, datasync));
}
