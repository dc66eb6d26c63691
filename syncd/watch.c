/*
 * watch - the thread that watches a store, and what the loop does with what it saw
 *
 * Diagnostics: when not all mailboxes can be watched, once; an overflow of inotify's queue.
 */
#include "watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <event2/event.h>
#include <inotifytools/inotifytools.h>

#include "jobs.h"
#include "maildir/class.h"
#include "mem.h"
#include "oneway.h"
#include "state_int.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"
#include "watch_box.h"

#define LOOK_MS   5000 /* between two looks at what is not watched, */
#define LOOK_PART 50   /* or so many times as long as the last one took */
#define SETTLE_MS 1000 /* changes of a mailbox are told together */

struct found {
    struct mailfs_id dir;
    struct io_handle handle;
    bool tree;
};

struct watch {
    struct volume *v;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    struct boxes boxes;
    int wake; /* eventfd: there is something in found */
    struct event *event;
    pthread_mutex_t mutex;
    struct found *found; /* under the mutex, until the loop takes it */
    size_t n_found;
    atomic_size_t containers, watched, overflows;
    bool limit_said;
};

/* ---- from the thread to the loop --------------------------------------------------- */

struct take {
    struct volume *v;
    struct found *found;
    size_t n;
    int err;
};

static void take_run(void *arg) {
    struct take *t = arg;
    for (size_t i = 0; t->err == 0 && i < t->n; i++)
        t->err = state_mark_found(t->v->state, &t->found[i].dir, &t->found[i].handle);
}

/* Marks that could not be written leave the links' own memory, and are tried again with the next
 * change; the error is in the log. */
static void take_done(void *arg) {
    struct take *t = arg;
    t->v->changes++;
    for (size_t i = 0; i < t->n; i++)
        oneway_changed(t->v, &t->found[i].dir, t->found[i].tree);
    free(t->found);
    free(t);
}

static void woken(evutil_socket_t fd, short what, void *arg) {
    struct watch *w = arg;
    uint64_t count;
    struct take *t = mem_new(sizeof *t);
    if (read(fd, &count, sizeof count) < 0)
        log_debug("eventfd: %s", log_strerror(-errno));
    pthread_mutex_lock(&w->mutex);
    *t = (struct take){.v = w->v, .found = w->found, .n = w->n_found};
    w->found = NULL;
    w->n_found = 0;
    pthread_mutex_unlock(&w->mutex);
    jobs_barrier(w->v->jobs, take_run, take_done, t);
}

static void tell(struct watch *w, struct box *b) {
    uint64_t one = 1;
    pthread_mutex_lock(&w->mutex);
    struct found *f = realloc(w->found, (w->n_found + 1) * sizeof *f);
    if (f == NULL)
        mem_out("what was seen");
    w->found = f;
    f[w->n_found++] = (struct found){b->id, b->handle, b->tree};
    pthread_mutex_unlock(&w->mutex);
    log_debug("changed: %s/%s%s", w->v->cv->store, b->path, b->tree ? ", directories" : "");
    b->dirty = b->tree = false;
    if (write(w->wake, &one, sizeof one) < 0)
        log_debug("eventfd: %s", log_strerror(-errno));
}

/* ---- looking ----------------------------------------------------------------------- */

static void look(struct watch *w, struct box *b) {
    int r = box_look(&w->boxes, b);
    if (r < 0) {
        box_forget(&w->boxes, b); /* its parent's time has changed as well */
        return;
    }
    if (r > 0)
        box_look_below(&w->boxes, b);
}

/* What was looked at and has changed: told, and watched from now on. */
static void tell_dirty(struct watch *w) {
    struct box *b, *tmp;
    HASH_ITER(hh, w->boxes.all, b, tmp) {
        if (!b->dirty || atomic_load(&w->stop))
            continue;
        box_watch(&w->boxes, b);
        tell(w, b);
    }
    atomic_store(&w->containers, w->boxes.n);
    size_t n = 0;
    HASH_ITER(hh, w->boxes.all, b, tmp)
        n += b->watched;
    atomic_store(&w->watched, n);
    if (n < w->boxes.n && !w->limit_said) {
        w->limit_said = true;
        log_warn("volume %s: %zu of %zu mailboxes are watched, the others looked at now and then: "
                 "raise fs.inotify.max_user_watches, or `watches`, to %zu",
                 w->v->cv->name, n, w->boxes.n, 3 * w->boxes.n + w->boxes.n / 4);
    }
}

static void look_at(struct watch *w, bool all) {
    struct box *b, *tmp;
    HASH_ITER(hh, w->boxes.all, b, tmp) {
        if ((all || !b->watched) && !atomic_load(&w->stop))
            look(w, b);
    }
    tell_dirty(w);
}

/* ---- events ------------------------------------------------------------------------ */

static bool is_local(const struct inotify_event *e, int part) {
    enum maildir_dir dir = part == BOX_NEW   ? MAILDIR_DIR_NEW
                           : part == BOX_CUR ? MAILDIR_DIR_CUR
                                             : MAILDIR_DIR_CONTAINER;
    return e->len > 0 && maildir_class_is_local(maildir_class_of(dir, e->name, strlen(e->name)));
}

/* True: something of this container has changed. */
static bool on_event(struct watch *w, const struct inotify_event *e) {
    struct box_wd *wd = box_of_wd(&w->boxes, e->wd);
    if (wd == NULL || is_local(e, wd->part))
        return false;
    if (e->mask & IN_IGNORED) { /* the directory is gone, and its watch */
        wd->box->wd[wd->part] = -1;
        HASH_DEL(w->boxes.wds, wd);
        w->boxes.n_watched--;
        free(wd);
        return false;
    }
    wd->box->dirty = true;
    if (wd->part == BOX_SELF && e->mask & IN_ISDIR)
        wd->box->tree = true;
    return true;
}

static void after_events(struct watch *w) {
    struct box *b, *tmp;
    HASH_ITER(hh, w->boxes.all, b, tmp) {
        if (!b->dirty)
            continue;
        if (box_look(&w->boxes, b) < 0) {
            box_forget(&w->boxes, b); /* its parent has told, or will */
            continue;
        }
        b->changed_ms = clock_wall_ns() / 1000000;
        if (b->tree)
            box_look_below(&w->boxes, b);
    }
    tell_dirty(w);
}

/*
 * Waits for events; false: none came within a second. All that come within a moment are told as
 * one. (Of libinotifytools: a timeout of 0 is none at all in one version, and for ever in another.)
 */
static bool read_events(struct watch *w, bool *overflow) {
    uint64_t until = clock_ms() + SETTLE_MS;
    struct inotify_event *e;
    bool any = false;
    while ((e = inotifytools_next_event(1)) != NULL) {
        *overflow = *overflow || e->mask & IN_Q_OVERFLOW;
        any = on_event(w, e) || any;
        if (clock_ms() > until)
            break;
    }
    return any;
}

static void *watch_thread(void *arg) {
    struct watch *w = arg;
    struct box *root = box_get(&w->boxes, "");
    uint64_t next = clock_ms() + LOOK_MS;
    if (root != NULL)
        box_look_below(&w->boxes, root);
    tell_dirty(w);
    while (!atomic_load(&w->stop)) {
        bool overflow = false;
        if (read_events(w, &overflow))
            after_events(w);
        if (overflow) {
            atomic_fetch_add(&w->overflows, 1);
            log_warn("volume %s: inotify's queue overflowed: every mailbox is looked at",
                     w->v->cv->name);
        }
        if (overflow || clock_ms() >= next) {
            uint64_t start = clock_ms();
            look_at(w, overflow);
            uint64_t pause = (clock_ms() - start) * LOOK_PART;
            next = clock_ms() + (pause > LOOK_MS ? pause : LOOK_MS);
        }
    }
    return NULL;
}

/* ---- life -------------------------------------------------------------------------- */

static size_t watch_limit(const struct conf_volume *cv) {
    int most = inotifytools_get_max_user_watches();
    size_t limit = most > 0 ? (size_t)most / 10 * 9 : 8192;
    return cv->watches > 0 && cv->watches < limit ? cv->watches : limit;
}

int watch_open(struct volume *v, char *err, size_t errsize) {
    struct watch *w = mem_new(sizeof *w);
    v->watch = w;
    w->v = v;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->mutex, NULL);
    w->boxes = (struct boxes){.store = v->cv->store, .root = v->state->root};
    if (w->wake < 0 || !inotifytools_initialize()) {
        int r = w->wake < 0 ? -errno : -inotifytools_error();
        snprintf(err, errsize,
                 "volume %s: inotify cannot be had: %s (fs.inotify.max_user_instances?)",
                 v->cv->name, log_strerror(r));
        return r != 0 ? r : -EIO;
    }
    w->boxes.limit = watch_limit(v->cv);
    w->event = event_new(v->engine->evb, w->wake, EV_READ | EV_PERSIST, woken, w);
    if (w->event == NULL)
        return -ENOMEM;
    event_add(w->event, NULL);
    int r = pthread_create(&w->thread, NULL, watch_thread, w);
    w->running = r == 0;
    return -r;
}

void watch_stop(struct watch *w) {
    if (w == NULL)
        return;
    atomic_store(&w->stop, true);
    if (w->running)
        pthread_join(w->thread, NULL);
    w->running = false;
    if (w->event != NULL)
        event_free(w->event);
    w->event = NULL;
}

void watch_free(struct watch *w) {
    if (w == NULL)
        return;
    boxes_free(&w->boxes);
    inotifytools_cleanup();
    free(w->found);
    if (w->wake >= 0)
        close(w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

int watch_count(const struct watch *w, struct watch_counts *out) {
    if (w == NULL)
        return -ENOENT;
    *out = (struct watch_counts){atomic_load(&w->containers), atomic_load(&w->watched),
                                 atomic_load(&w->overflows)};
    return 0;
}
