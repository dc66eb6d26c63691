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
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dir.h"
#include "file.h"
#include "io/io.h"
#include "keep.h"
#include "named.h"
#include "notify.h"
#include "owner.h"
#include "upcall.h"
#include "util/log.h"
#include "watch.h"
#include "wire/check.h"

struct prep {
    uint64_t seq;
    bool named;   /* it has got a name in new/ or cur/: the peer has been told what it is for */
    bool pinned;  /* a reference to the inode is held */
    bool settled; /* syncd has answered, well; or */
    bool failed;  /* not well */
    bool again; /* the worker before this one asked, and the answer went there, if there was one */
    struct waiting *more; /* other fsyncs that wait for the same answer */
    uint64_t watch;       /* on the process that will name it; 0: none */
    struct author *author;
};

/* For the watch: it outlives the prep. */
struct author {
    struct inode *in; /* a reference */
    uint64_t seq;
};

/* One fsync: both its halves must be done. */
struct waiting {
    struct waiting *next; /* of prep->more */
    fuse_req_t req;
    struct inode *in; /* a reference */
    uint64_t seq;     /* of the prep it asked for */
    int left;         /* halves to be done */
    int err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Of the slot's aux: the number, the process that will name it (0: not known), and what of the
 * rest outlives a worker. */
#define AUX_SETTLED   UINT64_C(1)
#define AUX_NAMED     UINT64_C(2)
#define AUX_CHANGED   UINT64_C(4)
#define AUX_SEQ_SHIFT 3
#define AUX_SEQ_MASK  ((UINT64_C(1) << 39) - 1)
#define AUX_PID_SHIFT 42 /* pids have 22 bits */

static void aux_set(const struct inode *in, uint64_t aux) {
    atomic_store(&inode_slot(in)->aux, aux);
}

static void aux_or(const struct inode *in, uint64_t bits) {
    atomic_fetch_or(&inode_slot(in)->aux, bits);
}

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

static void one_done(struct waiting *w, int err) {
    pthread_mutex_lock(&lock);
    bool last = --w->left == 0;
    if (w->err == 0)
        w->err = err;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    fuse_reply_err(w->req, w->err != 0 ? EAGAIN : 0);
    inode_unref(w->in, 1);
    free(w);
}

static void all_done(struct waiting *w, int err) {
    for (struct waiting *next; w != NULL; w = next) {
        next = w->next;
        one_done(w, err);
    }
}

static void author_free(struct author *a) {
    inode_unref(a->in, 1);
    free(a);
}

/* Not under the lock. */
static void unwatch(uint64_t watch, struct author *author) {
    if (watch != 0 && watch_cancel(watch))
        author_free(author);
}

/* Killed before the last of these, the next worker has it still; it does not ask for it again by
 * this number, of which the next syncd is told that it was given up. Under the lock. */
static void slot_drop(struct inode *in, const struct prep *p) {
    if (!p->named) {
        aux_or(in, AUX_CHANGED);
        named_given_up(p->seq);
    }
    aux_set(in, 0);
}

/* Takes the inode's prep off it; aborts what nobody will ask for; gives the reference back. */
static void drop(struct inode *in) {
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    in->prep = NULL;
    if (p != NULL)
        slot_drop(in, p);
    pthread_mutex_unlock(&lock);
    if (p == NULL)
        return;
    if (!p->named)
        tell_abort(p->seq);
    all_done(p->more, EAGAIN);
    unwatch(p->watch, p->author);
    bool pinned = p->pinned;
    free(p);
    if (pinned)
        inode_unref(in, 1);
}

/*
 * The process ended between its fsync and the name in new/: nobody was promised this message, and
 * whoever sends it will do so again. Without this the peer would publish it when the link ends.
 */
static void author_ended(void *arg) {
    struct author *a = arg;
    pthread_mutex_lock(&lock);
    struct prep *p = a->in->prep;
    bool orphan = p != NULL && p->seq == a->seq && !p->named;
    pthread_mutex_unlock(&lock);
    if (orphan)
        drop(a->in);
    author_free(a);
}

bool prepare_is_for(const struct spot *at) {
    return at->w.kind == MAILDIR_DIR_TMP || (at->sent && at->class == MAILDIR_MESSAGE);
}

bool prepare_id(struct inode *in, uint64_t *seq, bool *named) {
    pthread_mutex_lock(&lock);
    bool is = in->prep != NULL && !in->prep->failed && !in->changed;
    if (is)
        *seq = in->prep->seq;
    *named = is && in->prep->named;
    pthread_mutex_unlock(&lock);
    return is;
}

void prepare_named(struct inode *in) {
    bool unpin = false;
    uint64_t watched = 0;
    struct author *author = NULL;
    pthread_mutex_lock(&lock);
    if (in->prep != NULL && !in->changed) {
        unpin = in->prep->pinned;
        watched = in->prep->watch;
        author = in->prep->author;
        in->prep->watch = 0;
        in->prep->pinned = false;
        in->prep->named = true;
        aux_or(in, AUX_NAMED);
    }
    pthread_mutex_unlock(&lock);
    unwatch(watched, author);
    if (unpin)
        inode_unref(in, 1);
}

void prepare_dropped(struct inode *in) {
    drop(in);
}

void prepare_spoiled(struct inode *in) {
    pthread_mutex_lock(&lock);
    in->changed = true;
    if (in->prep != NULL)
        aux_or(in, AUX_CHANGED);
    pthread_mutex_unlock(&lock);
}

void prepare_restore(struct inode *in) {
    uint64_t aux = atomic_load(&inode_slot(in)->aux);
    struct prep *p = aux == 0 ? NULL : calloc(1, sizeof *p);
    if (p == NULL)
        return;
    p->seq = aux >> AUX_SEQ_SHIFT & AUX_SEQ_MASK;
    p->named = (aux & AUX_NAMED) != 0;
    p->settled = (aux & AUX_SETTLED) != 0;
    p->again = !p->settled;
    p->pinned = !p->named;
    in->changed = (aux & AUX_CHANGED) != 0;
    in->prep = p;
    if (p->pinned)
        inode_ref(in);
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
    inode_ref(in);
    p->pinned = true;
    for (;;) { /* another fsync of the same file may be at it */
        drop(in);
        pthread_mutex_lock(&lock);
        if (in->prep == NULL)
            break;
        pthread_mutex_unlock(&lock);
    }
    uint64_t seq = p->seq = atomic_fetch_add(&keep.head->prepared, 1) + 1;
    in->prep = p;
    in->changed = false;
    aux_set(in, seq << AUX_SEQ_SHIFT);
    pthread_mutex_unlock(&lock);
    return seq;
}

/* Forgets an id that syncd never heard of. */
static void prep_never_sent(struct inode *in, uint64_t seq) {
    bool unpin = false;
    struct waiting *more = NULL;
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    if (p != NULL && p->seq == seq) {
        unpin = p->pinned;
        more = p->more;
        in->prep = NULL;
        aux_set(in, 0);
        free(p);
    }
    pthread_mutex_unlock(&lock);
    all_done(more, 0);
    if (unpin)
        inode_unref(in, 1);
}

/* pid: a thread's; becomes its process's. */
static int author_open(pid_t *pid) {
    int fd = (int)syscall(SYS_pidfd_open, *pid, 0);
    if (fd < 0 && errno == EINVAL) { /* not its process's first thread */
        *pid = owner_process(*pid);
        fd = (int)syscall(SYS_pidfd_open, *pid, 0);
    }
    return fd < 0 ? -errno : fd;
}

/* tid 0: of another pid namespace, whose end nobody can see from here. */
static void author_watch(struct inode *in, uint64_t seq, pid_t tid) {
    pid_t pid = tid;
    int fd = tid > 0 ? author_open(&pid) : -EINVAL;
    struct author *a = fd < 0 && fd != -ESRCH ? NULL : calloc(1, sizeof *a);
    uint64_t token = 0;
    if (a == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    a->in = in;
    a->seq = seq;
    inode_ref(in);
    if (fd == -ESRCH) {
        author_ended(a);
        return;
    }
    if (watch_process(fd, author_ended, a, &token) != 0) {
        close(fd);
        author_free(a);
        return;
    }
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    bool kept = p != NULL && p->seq == seq && !p->named && p->watch == 0;
    if (kept) {
        p->watch = token;
        p->author = a;
        aux_or(in, (uint64_t)pid << AUX_PID_SHIFT);
    }
    pthread_mutex_unlock(&lock);
    if (!kept)
        unwatch(token, a);
}

void prepare_take_over(void) {
    uint32_t n = atomic_load(&keep.head->inodes);
    for (uint32_t i = 0; i < n; i++) {
        struct inode *in = inode_of((uint64_t)i + 1);
        const struct prep *p = in->prep;
        if (p != NULL && !p->named)
            author_watch(in, p->seq, (pid_t)(atomic_load(&inode_slot(in)->aux) >> AUX_PID_SHIFT));
    }
}

/* Is this content prepared already, or being prepared? Then w has been given what it asks for. */
static bool prep_joined(struct inode *in, struct waiting *w) {
    bool settled = false, joined = false;
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    if (p != NULL && !p->failed && !p->again && !in->changed) {
        settled = p->settled;
        joined = !settled;
        if (joined) {
            w->next = p->more;
            p->more = w;
        }
    }
    pthread_mutex_unlock(&lock);
    if (settled)
        one_done(w, 0);
    return settled || joined;
}

/* --- one fsync -----------------------------------------------------------------------------------
 */

static void on_release(void *arg, const struct upcall_answer *a, bool now) {
    struct waiting *w = arg, *more = NULL;
    int err = a->alone ? 0 : a->err;
    pthread_mutex_lock(&lock);
    struct prep *p = w->in->prep;
    if (p != NULL && p->seq == w->seq) {
        p->settled = err == 0;
        p->failed = err != 0;
        if (p->settled && !a->alone)
            aux_or(w->in, AUX_SETTLED);
        more = p->more;
        p->more = NULL;
    }
    pthread_mutex_unlock(&lock);
    all_done(more, err);
    one_done(w, err);
}

static bool ask(struct waiting *w, const struct spot *at, const struct stat *st, bool again,
                int fd) {
    Mfl__Prepare prepare = MFL__PREPARE__INIT;
    Mfl__Prepared id = MFL__PREPARED__INIT;
    Mfl__Meta meta = MFL__META__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    id.incarnation = vol.incarnation;
    id.seq = w->seq;
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
    prepare.again = again;
    m.m_case = MFL__TO_SYNCD__M_PREPARE;
    m.prepare = &prepare;
    return upcall_ask(&m, prepare.req, fd, on_release, w);
}

/* Of the fsync that was under way when the worker before this one died: it keeps its number, since
 * the peer may have the content under it. 0: there is none. */
static uint64_t prep_again(struct inode *in) {
    uint64_t seq = 0;
    pthread_mutex_lock(&lock);
    struct prep *p = in->prep;
    if (p != NULL && p->again && !in->changed) {
        p->again = false;
        seq = p->seq;
    }
    pthread_mutex_unlock(&lock);
    return seq;
}

/* 0: no memory. */
static uint64_t prep_number(struct inode *in, bool *again) {
    uint64_t seq = prep_again(in);
    *again = seq != 0;
    return *again ? seq : prep_new(in);
}

/* Gives the content to syncd, if it is new to it. */
static void give(struct waiting *w, const struct spot *at) {
    struct inode *in = w->in;
    struct stat st;
    if (!vol.has_peer) {
        one_done(w, 0);
        return;
    }
    if (prep_joined(in, w))
        return;
    int fd = inode_open(in, O_RDONLY); /* -ESTALE: it has no name, so nobody will deliver it */
    bool again = false;
    uint64_t seq = w->seq = fd < 0 || fstat(fd, &st) != 0 ? 0 : prep_number(in, &again);
    if (seq == 0) {
        if (fd >= 0)
            close(fd);
        one_done(w, 0);
        return;
    }
    if (ask(w, at, &st, again, fd))
        author_watch(in, seq, req_pid(w->req)); /* the local half is not done: w is still there */
    else if (!again)
        prep_never_sent(in, seq);
}

static int local_sync(const struct file *f, const struct spot *at, int datasync) {
    int r = datasync ? io_fdatasync(f->fd) : io_fsync(f->fd);
    char path[PATH_MAX];
    if (r != 0)
        log_error_limited("%s: fsync of a message: %s", spot_shown(at, path, sizeof path),
                          log_strerror(r));
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
    w->in = f->in;
    w->left = 2;
    inode_ref(w->in);
    give(w, at);
    int err = local_sync(f, at, datasync);
    notify_store(w->in, f->fd);
    one_done(w, err);
}
