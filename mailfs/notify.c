/*
 * notify - invalidations of the kernel's caches
 *
 * The order for what syncd changed: contents, then names, old before new, then the directories'
 * attributes, since an invalidation of a name that is not cached invalidates nothing; then the
 * poke.
 *
 * Diagnostics: error: the queue is full.
 */
#include "notify.h"

#include "req.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "keep.h"
#include "poke.h"
#include "prepare.h"
#include "upcall.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "util/workq.h"
#include "watch.h"
#include "wire/check.h"
#include "wire/codec.h"

enum { THREADS = 16, JOBS = 65536 };

static struct workq *queue;
static _Atomic bool stopped; /* the session's descriptor is about to be closed */

int notify_init(void) {
    int r = workq_new(THREADS, JOBS, &queue);
    return r != 0 ? r : watch_queue(queue);
}

void notify_stop(unsigned at_most_ms) {
    uint64_t until = clock_ms() + at_most_ms;
    atomic_store(&stopped, true);
    while (workq_pending(queue) > 0 && clock_ms() < until)
        usleep(1000);
}

/* --- single ones
 * ------------------------------------------------------------------------------------ */

struct one {
    struct inode *in;        /* a reference */
    char name[NAME_MAX + 1]; /* "": the content of in */
};

static void inval_content(struct inode *in) {
    if (!atomic_load(&stopped))
        fuse_lowlevel_notify_inval_inode(vol.se, inode_id(in), 0, 0);
}

static void inval_attr(struct inode *in) {
    if (!atomic_load(&stopped))
        fuse_lowlevel_notify_inval_inode(vol.se, inode_id(in), -1, 0);
}

/* fd is readable, unless another worker had opened it, or a caller for whom it was there already.
 */
static ssize_t read_start(struct inode *in, int fd, char *buf, size_t size) {
    ssize_t n = pread(fd, buf, size, 0);
    int again = n < 0 && errno == EBADF ? inode_open(in, O_RDONLY) : -1;
    if (again >= 0) {
        n = pread(again, buf, size, 0);
        close(again);
    }
    return n;
}

/*
 * Bought: a READ, and the GETATTR that follows one (it may have changed the atime), of the 13
 * requests for the first two FETCHes of a message that Dovecot delivered here. It takes no request,
 * only a call of some microseconds while the peer stages the same message. Dovecot asks for the
 * size before its fsync; where nobody has (Postfix), the kernel throws the pages away when it
 * learns the new mtime.
 */
void notify_store(struct inode *in, int fd) {
    enum { STORE_MAX = 1 << 16 };
    char *buf = malloc(STORE_MAX + 1);
    ssize_t n = buf == NULL ? 0 : read_start(in, fd, buf, STORE_MAX + 1);
    struct fuse_bufvec content = FUSE_BUFVEC_INIT(n > 0 ? (size_t)n : 0);
    content.buf[0].mem = buf;
    if (n > 0 && n <= STORE_MAX && !atomic_load(&stopped))
        fuse_lowlevel_notify_store(vol.se, inode_id(in), 0, &content, 0);
    free(buf);
}

void notify_attr(struct inode *dir) {
    inval_attr(dir);
}

static void inval_name(struct inode *dir, const char *name) {
    if (!atomic_load(&stopped))
        fuse_lowlevel_notify_inval_entry(vol.se, inode_id(dir), name, strlen(name));
}

static void run_one(void *arg) {
    keep_walker();
    struct one *o = arg;
    if (o->name[0] != '\0')
        inval_name(o->in, o->name);
    else
        inval_content(o->in);
    inode_unref(o->in, 1);
    free(o);
}

static void submit_one(struct inode *in, const char *name) {
    struct one *o = calloc(1, sizeof *o);
    if (o == NULL)
        return;
    o->in = in;
    str_copy(o->name, sizeof o->name, name);
    inode_ref(in);
    if (workq_submit(queue, (uint64_t)(uintptr_t)in, run_one, NULL, o) != 0) {
        log_error_limited("too many invalidations wait: one is dropped");
        inode_unref(in, 1);
        free(o);
    }
}

void notify_content(struct inode *in) {
    submit_one(in, "");
}

void notify_name(struct inode *dir, const char *name) {
    submit_one(dir, name);
}

/* --- what syncd changed
 * ------------------------------------------------------------------------------ */

static enum maildir_dir kind_of(Mfl__Sub sub) {
    switch (sub) {
    case MFL__SUB__NEW:
        return MAILDIR_DIR_NEW;
    case MFL__SUB__CUR:
        return MAILDIR_DIR_CUR;
    case MFL__SUB__TMP:
        return MAILDIR_DIR_TMP;
    default:
        return MAILDIR_DIR_CONTAINER;
    }
}

/* The inode that has this name in the store now, if we know it. */
static struct inode *known_at(const struct inode *dir, const char *name) {
    struct stat st;
    if (fstatat(dir->dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return NULL;
    return inode_find(st.st_dev, st.st_ino);
}

static void contents(struct inode *cont, const Mfl__Invalidate *v) {
    for (size_t i = 0; i < v->n_names; i++) {
        const Mfl__Changed *c = v->names[i];
        struct inode *dir = c->content ? dir_part(cont, kind_of(c->sub)) : NULL;
        struct inode *in = dir != NULL && c->name[0] != '\0' ? known_at(dir, c->name) : NULL;
        if (in != NULL)
            inval_content(in);
        inode_unref(in, 1);
        inode_unref(dir, 1);
    }
}

/* A message's old name may be in new/ while its new one is in cur/: both parts are looked at. */
static void name_everywhere(struct inode *cont, Mfl__Sub sub, const char *name) {
    if (name[0] == '\0')
        return;
    struct inode *dir = dir_part(cont, kind_of(sub));
    if (dir != NULL)
        inval_name(dir, name);
    inode_unref(dir, 1);
    if (sub == MFL__SUB__CUR)
        name_everywhere(cont, MFL__SUB__NEW, name);
}

static void names(struct inode *cont, const Mfl__Invalidate *v) {
    for (size_t i = 0; i < v->n_names; i++)
        name_everywhere(cont, v->names[i]->sub, v->names[i]->old_name);
    for (size_t i = 0; i < v->n_names; i++)
        name_everywhere(cont, v->names[i]->sub, v->names[i]->name);
}

static void inval_child(struct inode *in, const char *name, void *dir) {
    if (in->dir == NULL)
        inval_content(in);
    inval_name(dir, name);
}

static void part_all(struct inode *cont, enum maildir_dir kind, bool everything) {
    struct inode *dir = dir_part(cont, kind);
    if (dir == NULL)
        return;
    if (everything)
        inode_each_child(dir, inval_child, dir);
    inval_attr(dir);
    inode_unref(dir, 1);
}

static void poke_part(struct inode *cont, enum maildir_dir kind) {
    struct inode *dir = dir_part(cont, kind);
    if (dir != NULL)
        poke(dir);
    inode_unref(dir, 1);
}

static bool path_of_fd(int fd, char path[PATH_MAX]) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* It is in no directory any more, or in the hidden one, where syncd puts what is to be removed. */
static bool was_taken_away(const struct inode *in) {
    char root[PATH_MAX], at[PATH_MAX];
    struct stat st;
    if (fstat(in->dir->fd, &st) == 0 && st.st_nlink == 0)
        return true;
    if (!path_of_fd(vol.store_fd, root) || !path_of_fd(in->dir->fd, at) || !str_starts(at, root))
        return false;
    return str_starts(at + strlen(root), "/" MAILDIR_INTERNAL_NAME "/");
}

static void delivery_ends(struct inode *in, const char *name, void *arg) {
    prepare_dropped(in);
}

/*
 * From here on nothing new comes to be in it, and what was being made there is made. What was being
 * delivered there cannot be: its sender will be told so, and the peer should not publish it.
 */
static void take_away(struct inode *in) {
    static const enum maildir_dir parts[] = {MAILDIR_DIR_CONTAINER, MAILDIR_DIR_NEW,
                                             MAILDIR_DIR_CUR, MAILDIR_DIR_TMP};
    dir_removed(in);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct inode *part = dir_part(in, parts[i]);
        if (part != NULL)
            names_barrier(part);
        if (part != NULL && parts[i] == MAILDIR_DIR_TMP)
            inode_each_child(part, delivery_ends, NULL);
        inode_unref(part, 1);
    }
}

/* A directory that syncd made, moved or removed: our idea of where it is must follow. */
static void place_again(struct inode *cont, const Mfl__Invalidate *v) {
    struct mailfs_id id;
    struct inode *in = NULL;
    struct stat st;
    if (wire_id(&v->moved_id, &id) != 0)
        return;
    for (size_t i = 0; i < v->n_names; i++) {
        const Mfl__Changed *c = v->names[i];
        if (c->sub == MFL__SUB__SELF && c->name[0] != '\0' &&
            inode_lookup(cont, c->name, &in, &st) == 0) {
            dir_identify_again(in);
            inode_unref(in, 1);
        }
    }
    in = dir_by_id(&id);
    if (in != NULL && was_taken_away(in))
        take_away(in);
    inode_unref(in, 1);
}

static void invalidate(struct inode *cont, const Mfl__Invalidate *v) {
    if (v->moved_id.len > 0)
        place_again(cont, v);
    contents(cont, v);
    names(cont, v);
    part_all(cont, MAILDIR_DIR_NEW, v->all);
    part_all(cont, MAILDIR_DIR_CUR, v->all);
    part_all(cont, MAILDIR_DIR_CONTAINER, v->all);
    if (v->poke_new)
        poke_part(cont, MAILDIR_DIR_NEW);
    if (v->poke_cur)
        poke_part(cont, MAILDIR_DIR_CUR);
}

static void tell_invalidated(const Mfl__Invalidate *v) {
    Mfl__Invalidated done = MFL__INVALIDATED__INIT;
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    done.seq = v->seq;
    done.dir = v->dir;
    m.m_case = MFL__TO_SYNCD__M_INVALIDATED;
    m.invalidated = &done;
    upcall_tell(&m);
}

static void run_invalidate(void *arg) {
    keep_walker();
    Mfl__ToMailfs *m = arg;
    struct mailfs_id id;
    struct inode *cont = wire_id(&m->invalidate->dir, &id) == 0 ? dir_by_id(&id) : NULL;
    if (cont != NULL)
        invalidate(cont, m->invalidate);
    inode_unref(cont, 1);
    tell_invalidated(m->invalidate);
    wire_to_mailfs_free(m);
}

/* --- everything
 * --------------------------------------------------------------------------------------- */

#define LANE_EVERYTHING 2

static void inval_placed(struct inode *in, const char *name, void *arg) {
    struct place p;
    if (in->dir != NULL)
        inval_attr(in);
    if (inode_place_get(in, &p)) {
        inval_name(p.parent, p.name);
        place_done(&p);
    }
}

static void identify_again(struct dir *d, void *arg) {
    dir_identify_again(d->self);
}

static void run_everything(void *arg) {
    keep_walker();
    dir_each(identify_again, NULL);
    inode_seek_all();
    inode_each_child(NULL, inval_placed, NULL);
}

void notify_everything(void) {
    if (workq_submit(queue, LANE_EVERYTHING, run_everything, NULL, NULL) != 0)
        log_error("too many invalidations wait: one is dropped");
}

/* The next message may be a grant of L, and its owner looks at the times of new/ and cur/ first. */
static void parts_at_once(const Mfl__Invalidate *v) {
    struct mailfs_id id;
    struct inode *cont = wire_id(&v->dir, &id) == 0 ? dir_by_id(&id) : NULL;
    if (cont == NULL)
        return;
    part_all(cont, MAILDIR_DIR_NEW, false);
    part_all(cont, MAILDIR_DIR_CUR, false);
    inode_unref(cont, 1);
}

/* What is told or asked from here on, of it and of those in it, is meant under the new id. */
static void identify_at_once(const Mfl__Invalidate *v) {
    struct mailfs_id id;
    struct inode *in =
        v->former_id.len > 0 && wire_id(&v->former_id, &id) == 0 ? dir_by_id(&id) : NULL;
    if (in != NULL)
        dir_identify_again(in);
    inode_unref(in, 1);
}

/* A lane per container: its invalidations keep their order. */
void notify_invalidate(Mfl__ToMailfs *m) {
    uint64_t lane;
    identify_at_once(m->invalidate);
    parts_at_once(m->invalidate);
    memcpy(&lane, m->invalidate->dir.data, sizeof lane);
    while (workq_submit(queue, lane, run_invalidate, NULL, m) != 0 && !atomic_load(&stopped))
        usleep(1000); /* the queue is full: syncd has to wait, too */
}
