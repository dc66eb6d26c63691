/*
 * change - marks before changes, and generations
 *
 * Marks wanted by several threads at once are written in one commit: the first one becomes the
 * leader and writes all that has gathered while the commit before was under way.
 *
 * Diagnostics: error: the marks cannot be written. Changes made meanwhile are known to a connected
 * syncd only. Warning: a directory of a name that cannot be.
 */
#include "change.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "io/marks.h"
#include "note.h"
#include "util/log.h"

static struct marks *marks;
static _Atomic uint64_t generation;

/* Shared: a change is under way. Exclusive: a generation begins. */
static pthread_rwlock_t changing;

/* --- spots ---------------------------------------------------------------------------------------
 */

void spot_make(struct spot *s, struct inode *dir, const char *name) {
    s->dir = dir;
    s->name = name;
    dir_where(dir, &s->w);
    s->class = maildir_class_of(s->w.kind, name, strlen(name));
    s->sent = !s->w.local && !maildir_class_is_local(s->class);
}

void spot_done(struct spot *s) {
    where_done(&s->w);
}

const char *spot_shown(const struct spot *s, char *buf, size_t size) {
    size_t n = strlen(dir_shown(s->dir, buf, size));
    if (strcmp(buf, "/") == 0)
        n = 0;
    snprintf(buf + n, size - n, "/%s", s->name);
    return buf;
}

bool spot_hidden(const struct spot *s) {
    return s->class == MAILDIR_INTERNAL;
}

/* Below what is local already everything may be made: Dovecot empties its trash. */
int spot_refuses_dir(const struct spot *s) {
    char path[PATH_MAX];
    bool local = maildir_class_is_local(s->class) && s->class != MAILDIR_TRASH;
    if (s->w.local || (s->w.kind == MAILDIR_DIR_CONTAINER && !local))
        return 0;
    log_warn_limited("%s: no user or folder can be called so: its mail would be on this node "
                     "only; give it another name",
                     spot_shown(s, path, sizeof path));
    return -EPERM;
}

/* --- group commit of marks
 * ------------------------------------------------------------------------ */

struct wish {
    struct wish *next;
    struct dir *dir;
    bool done;
    int result;
};

enum { BATCH = 64 };

static pthread_mutex_t wishes_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wishes_done = PTHREAD_COND_INITIALIZER;
static struct wish *wishes;
static bool leading;

/* Any of them: where one cannot be written none can. */
static void marks_failed(const struct wish *list, int r) {
    char path[PATH_MAX];
    log_error_limited("%s%s: that it is changed cannot be noted in the marks: %s",
                      dir_shown(list->dir->self, path, sizeof path),
                      list->next != NULL ? " and others" : "", log_strerror(r));
}

static int commit_marks(const struct wish *list, uint64_t gen) {
    struct mark batch[BATCH];
    char(*paths)[MARKS_PATH_MAX + 1] = malloc(sizeof *paths * BATCH);
    size_t n = 0;
    if (paths == NULL)
        return -ENOMEM;
    for (const struct wish *w = list; w != NULL && n < BATCH; w = w->next, n++) {
        batch[n] = (struct mark){.dir = w->dir->id, .gen = gen, .path = paths[n]};
        inode_handle(w->dir->self, &batch[n].handle);
        if (dir_path(w->dir->self, paths[n], sizeof paths[n]) != 0)
            paths[n][0] = '\0';
    }
    int r = marks_put(marks, batch, n);
    free(paths);
    return r;
}

/* Takes up to BATCH wishes off the list. Under the lock. */
static struct wish *wishes_take(void) {
    struct wish *first = wishes, *last = wishes;
    for (int i = 1; last != NULL && last->next != NULL && i < BATCH; i++)
        last = last->next;
    wishes = last != NULL ? last->next : NULL;
    if (last != NULL)
        last->next = NULL;
    return first;
}

/* Under the lock, which it lets go of meanwhile. */
static void wishes_fulfil(void) {
    leading = true;
    while (wishes != NULL) {
        struct wish *list = wishes_take();
        uint64_t gen = atomic_load(&generation);
        pthread_mutex_unlock(&wishes_lock);
        int r = commit_marks(list, gen);
        if (r != 0)
            marks_failed(list, r);
        pthread_mutex_lock(&wishes_lock);
        for (struct wish *w = list, *next; w != NULL; w = next) {
            next = w->next; /* w is on its waiter's stack */
            if (r == 0)
                atomic_store(&w->dir->marked, gen);
            w->result = r;
            w->done = true;
        }
        pthread_cond_broadcast(&wishes_done);
    }
    leading = false;
    pthread_cond_broadcast(&wishes_done);
}

int change_mark(struct dir *d) {
    if (!d->has_id || atomic_load(&d->marked) == atomic_load(&generation))
        return 0;
    struct wish w = {.dir = d};
    pthread_mutex_lock(&wishes_lock);
    struct wish **end = &wishes;
    while (*end != NULL)
        end = &(*end)->next;
    *end = &w;
    while (!w.done) {
        if (!leading)
            wishes_fulfil();
        else
            pthread_cond_wait(&wishes_done, &wishes_lock);
    }
    pthread_mutex_unlock(&wishes_lock);
    return w.result;
}

/* --- changes
 * -------------------------------------------------------------------------------------- */

int change_begin(const struct spot *const *spots, size_t n) {
    int r = 0;
    pthread_rwlock_rdlock(&changing);
    for (size_t i = 0; i < n; i++) {
        int e = spots[i] != NULL && spots[i]->sent ? change_mark(spots[i]->w.cd) : 0;
        if (e != 0)
            r = e;
    }
    return r;
}

int change_begin1(const struct spot *s) {
    return change_begin(&s, 1);
}

void change_end(void) {
    note_told();
    pthread_rwlock_unlock(&changing);
}

int change_mark_alone(struct dir *container) {
    change_begin(NULL, 0);
    int r = change_mark(container);
    change_end();
    return r;
}

uint64_t change_generation(void) {
    return atomic_load(&generation);
}

static void mark_if_dirty(struct dir *d, void *arg) {
    if (file_dir_is_dirty(d))
        change_mark(d);
}

int change_new_generation(uint64_t gen) {
    if (gen <= atomic_load(&generation))
        return 0;
    int r = marks_generation_raise(marks, gen);
    if (r != 0)
        return r;
    pthread_rwlock_wrlock(&changing);
    atomic_store(&generation, gen);
    pthread_rwlock_unlock(&changing);
    /* Written under an older mark, told under this one: it must be covered until then. */
    dir_each(mark_if_dirty, NULL);
    return 0;
}

int change_init(const char *state_dir) {
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* A new generation must not starve; no change begins within a change. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&changing, &attr);
    pthread_rwlockattr_destroy(&attr);
    return marks_open(state_dir, &marks);
}

int change_take_generation(void) {
    uint64_t gen = 1;
    int r = marks_generation(marks, &gen);
    atomic_store(&generation, gen);
    return r;
}

void change_close(void) {
    marks_close(marks);
    marks = NULL;
}
