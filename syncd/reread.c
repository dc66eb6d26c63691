/*
 * reread - tries messages and files that could not be read again
 *
 * Diagnostics: each that cannot be read, once, with what is to be done.
 */
#include "reread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base.h"
#include "driver.h"
#include "driver_merge.h"
#include "mem.h"
#include "oneway.h"
#include "timer.h"
#include "unread.h"
#include "util/clock.h"
#include "util/str.h"
#include "util/workq.h"
#include "volume.h"

struct reread {
    struct volume *v;
    struct event *timer;
    bool knows;         /* the peer: see reread_contact() */
    bool busy;          /* a worker is at it */
    _Atomic bool quiet; /* nothing is begun any more; it stops: a bad disk takes long to say no */
    uint64_t read_at;   /* clock_ms(): from then on they are read, too; */
    uint64_t pause;     /* then not before so many ms have passed */
    /* the worker's */
    bool read;
    struct unread_msg *msgs;
    int *found;     /* of each: unread_try() */
    size_t n, from; /* those before it are not read this time; */
    size_t read_to; /* nor were those from here on */
};

static void arm(struct reread *r, uint64_t ms) {
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000)};
    if (!atomic_load(&r->quiet) && !r->busy && (ms == 0 || !evtimer_pending(r->timer, NULL)))
        evtimer_add(r->timer, &tv);
}

/* ---- telling ----------------------------------------------------------------------- */

static void tell(const struct reread *r, const struct unread_msg *m) {
    char path[256];
    volume_error(r->v,
                 "%s: %s %s cannot be read here (%s), and %s has not got it: restore or remove it; "
                 "all else of the mailbox is merged",
                 state_path(r->v->state, &m->dir, path, sizeof path),
                 m->what == UNREAD_FILE ? "file" : "message", m->base, unread_words(m->err),
                 r->v->cv->peer->name);
}

/* True: there were some. */
static bool tell_all(const struct reread *r) {
    struct unread_msg m;
    bool some = false;
    while (r->v->cv->peer != NULL && unread_untold(r->v->state, &m)) {
        tell(r, &m);
        some = true;
    }
    return some;
}

/* ---- again ------------------------------------------------------------------------- */

/* All are looked for. They are read for no longer than it is to the next look, as whoever puts one
 * back is not to wait for the others, nor is a verification, whose thread this is. That time begins
 * with the first that is read: what a bad disk takes to look for those before it is not in it, or
 * the same ones would never be read. */
static void try_run(void *arg) {
    struct reread *r = arg;
    uint64_t until = UINT64_MAX;
    r->read_to = r->n;
    for (size_t i = 0; i < r->n && !atomic_load(&r->quiet); i++) {
        if (i == r->from)
            until = clock_ms() + REREAD_LOOK_MS;
        bool read = r->read && i >= r->from && clock_ms() < until;
        if (r->read && i >= r->from && !read && r->read_to == r->n)
            r->read_to = i;
        r->found[i] = unread_try(r->v->state, &r->msgs[i], read);
    }
}

static void compare(struct volume *v, const struct mailfs_id *dir) {
    if (v->main != NULL) {
        oneway_changed(v->main, dir, false);
        return;
    }
    replica_suspect(v->machine, volume_now(), *dir);
    driver_pump(v);
}

/* One that is not found is forgotten with the merge, which finds it, and asks for it, if it was
 * only between two names. */
static void try_done(void *arg) {
    struct reread *r = arg;
    for (size_t i = 0; i < r->n; i++) {
        const struct unread_msg *m = &r->msgs[i];
        if (r->found[i] == -ENOENT)
            unread_forget(r->v->state, &m->dir, m->what, m->base);
        if (r->found[i] != 0 && !atomic_load(&r->quiet))
            compare(r->v, &m->dir);
    }
    r->busy = false;
    r->from = r->read_to < r->n ? r->read_to : 0;
    if (r->from > 0)
        r->read_at = 0;
    if (unread_in(r->v->state, NULL))
        arm(r, r->read_at <= clock_ms() ? 0 : REREAD_LOOK_MS);
    free(r->msgs);
    free(r->found);
    r->msgs = NULL;
    r->found = NULL;
    r->n = 0;
}

/* What has been asked for anew, and failed or has not come yet, is not tried here. */
static void leave_out_asked(struct reread *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->msgs[i].before)
            r->msgs[n++] = r->msgs[i];
    r->n = n;
}

static void look(evutil_socket_t fd, short what, void *arg) {
    struct reread *r = arg;
    (void)tell_all(r);
    if (unread_list(r->v->state, &r->msgs, &r->n) != 0)
        mem_out("what cannot be read");
    leave_out_asked(r);
    r->found = mem_new((r->n + 1) * sizeof *r->found);
    r->read = r->read_at <= clock_ms();
    if (r->read && r->from == 0)
        r->pause = r->pause * 2 < REREAD_MS ? r->pause * 2 : REREAD_MS;
    if (r->read)
        r->read_at = clock_ms() + r->pause;
    r->busy = true;
    if (workq_submit(r->v->engine->slow, WORKQ_NO_LANE, try_run, try_done, r) != 0)
        mem_out("work queue");
}

void reread_contact(struct reread *r, bool knows) {
    r->knows = knows;
    if (!knows)
        unread_forget_all(r->v->state);
    r->read_at = 0;
    arm(r, 0);
}

/* ---- noted ------------------------------------------------------------------------- */

static bool is_agreed(struct state *st, const struct content_want *what, const char *base) {
    struct base_file file;
    struct base_msg msg;
    int r;

    if (what->sub != MFP__SUB__SELF)
        return base_msg_get(st, BASE_AGREED, &what->dir, base, &msg) != -ENOENT;
    r = base_file_get(st, BASE_AGREED, &what->dir, base, &file);
    if (r == 0)
        base_file_clear(&file);
    return r != -ENOENT;
}

/* What both have been told of is asked for by a merge, or else by a verification: then the peer has
 * it. */
static bool peer_lacks(const struct reread *r, const struct content_want *what, const char *base) {
    return merges_under_way(r->v->merges, &what->dir) || !is_agreed(r->v->state, what, base);
}

void reread_noticed(struct reread *r) {
    if (r == NULL || !tell_all(r))
        return;
    r->pause = REREAD_LOOK_MS; /* a disk may say so once */
    r->read_at = clock_ms() + r->pause;
    arm(r, REREAD_LOOK_MS);
}

/* A message's base name, or a file's name. */
static int name_of(const struct content_want *what, char name[MAILDIR_NAME_MAX + 1]) {
    size_t n = strlen(what->name);
    if (what->sub != MFP__SUB__SELF)
        n = maildir_name_base_len(what->name, n);
    return str_copyn(name, MAILDIR_NAME_MAX + 1, what->name, n);
}

bool reread_failed(struct reread *r, const struct content_want *what, int err,
                   const struct stat *sb) {
    char name[MAILDIR_NAME_MAX + 1];
    if (r == NULL || !r->knows || !unread_is_error(err) || name_of(what, name) < 0 ||
        !peer_lacks(r, what, name))
        return false;
    unread_note(r->v->state, &what->dir, what->sub == MFP__SUB__SELF ? UNREAD_FILE : UNREAD_MSG,
                name, err, sb->st_ino != 0 ? sb : NULL);
    reread_noticed(r);
    arm(r, REREAD_LOOK_MS);
    return true;
}

/* ---- life -------------------------------------------------------------------------- */

struct reread *reread_new(struct volume *v) {
    struct reread *r = mem_new(sizeof *r);
    r->v = v;
    r->pause = REREAD_LOOK_MS;
    r->timer = timer_new(v->engine->evb, look, r);
    return r;
}

void reread_quiet(struct reread *r) {
    if (r == NULL)
        return;
    atomic_store(&r->quiet, true);
    evtimer_del(r->timer);
}

void reread_free(struct reread *r) {
    if (r == NULL)
        return;
    event_free(r->timer);
    free(r);
}
