/*
 * undo - the end of what is kept of expunged messages
 *
 * Diagnostics: a warning when the disk is nearly full and messages go before their time; errors.
 */
#include "undo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "brake.h"
#include "mem.h"
#include "io/io.h"
#include "stage.h"
#include "state_int.h"
#include "store.h"
#include "timer.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"

#define LOOK_S      10   /* at the disk */
#define PASS_MOST_S 3600 /* between passes over all that is kept */
#define LOW_BYTES   (UINT64_C(5) << 30)
#define LOW_SHARE   20
#define BATCH       64 /* removals, then a pause for others; or a look at the disk */
#define STEPS       8  /* of keep, in which it is shortened on a full disk */

/* ---- a pass ------------------------------------------------------------------------ */

struct pass {
    struct state *st;
    int fd;
    int64_t before; /* what was expunged before that goes */
    bool full, enough;
    unsigned removed;
    struct undo_counts *out;
};

bool undo_disk_is_low(struct state *st) {
    struct statvfs v;

    if (fstatvfs(st->root, &v) != 0)
        return false;
    return ((uint64_t)v.f_bavail * v.f_frsize < LOW_BYTES && v.f_bavail < v.f_blocks / LOW_SHARE) ||
           (v.f_files > 0 && v.f_favail < v.f_files / LOW_SHARE);
}

static void after_removal(struct pass *p) {
    const struct timespec pause = {.tv_nsec = 2000000};

    if (++p->removed % BATCH != 0)
        return;
    if (p->full)
        p->enough = !undo_disk_is_low(p->st);
    else
        nanosleep(&pause, NULL);
}

static int one_message(void *arg, const char *name, unsigned char type) {
    struct pass *p = arg;
    struct stat sb;
    int r;

    if (fstatat(p->fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* restored, or taken by the other pass */
    if (sb.st_ctim.tv_sec < p->before && !p->enough) {
        r = io_unlink(p->fd, name);
        after_removal(p);
        return r == -ENOENT ? 0 : r;
    }
    p->out->messages++;
    if (sb.st_nlink == 1)
        p->out->bytes += (uint64_t)sb.st_blocks * 512;
    return 0;
}

static int one_container(void *arg, const char *name, unsigned char type) {
    struct pass *p = arg;
    int r;

    if (type != DT_DIR)
        return 0;
    p->fd = io_open_beneath(p->st->undo, name, O_RDONLY | O_DIRECTORY, 0);
    if (p->fd < 0)
        return p->fd == -ENOENT ? 0 : p->fd;
    r = store_each_name(p->fd, one_message, p);
    close(p->fd);
    if (r == 0)
        (void)io_rmdir(p->st->undo, name); /* if it is empty: made again when it is needed */
    return r;
}

int64_t undo_held_from(struct state *st) {
    int64_t from;

    state_lock(st);
    from = st->keep_removed ? st->keep_since : INT64_MAX;
    state_unlock(st);
    return from;
}

int undo_sweep(struct state *st, int64_t before, bool full, struct undo_counts *out) {
    struct pass p = {.st = st, .before = before, .full = full, .out = out};

    *out = (struct undo_counts){.at = (int64_t)(clock_wall_ns() / 1000000000)};
    return store_each_name(st->undo, one_container, &p);
}

/* ---- when -------------------------------------------------------------------------- */

struct undo {
    struct volume *v;
    struct event *timer;
    bool quiet, low;
    uint64_t pass_at; /* clock_ms() of the next whole pass */
    struct undo_counts counts;
    /* the worker's */
    int err;
    bool due, passed;
    int64_t held_from; /* by the volume or one of its links */
    struct undo_counts found;
};

static int sweep(struct undo *u, uint64_t keep_s, bool full) {
    int64_t before = (int64_t)(clock_wall_ns() / 1000000000) - (int64_t)keep_s;

    return undo_sweep(u->v->state, before < u->held_from ? before : u->held_from, full, &u->found);
}

/* Shorter and shorter times, until there is room. */
static int make_room(struct undo *u) {
    uint64_t keep = u->v->cv->keep_s;
    int r = 0;

    for (unsigned left = STEPS; r == 0 && left-- > 0 && undo_disk_is_low(u->v->state);)
        r = sweep(u, keep * left / STEPS, true);
    return r;
}

static void drop_parts(struct volume *v) {
    stage_parts_drop(v->state);
    for (size_t i = 0; i < v->n_links; i++)
        stage_parts_drop(v->links[i]->state);
}

static void run(void *arg) {
    struct undo *u = arg;

    u->low = undo_disk_is_low(u->v->state);
    if (u->low)
        drop_parts(u->v);
    u->passed = u->due || u->low;
    u->err = u->passed ? sweep(u, u->v->cv->keep_s, false) : 0;
    if (u->err == 0 && u->low && u->found.messages > 0)
        u->err = make_room(u);
}

static void arm(struct undo *u) {
    uint64_t keep = u->v->cv->keep_s;
    struct timeval tv = {.tv_sec = keep < LOOK_S * 10 ? 1 : LOOK_S};

    if (keep == 0 && u->counts.at != 0 && u->counts.messages == 0)
        tv.tv_sec = PASS_MOST_S; /* a mailfs that was not started anew goes on keeping */
    if (!u->quiet)
        evtimer_add(u->timer, &tv);
}

static void done(void *arg) {
    struct undo *u = arg;
    uint64_t keep = u->v->cv->keep_s;
    uint64_t between = keep / 168 < PASS_MOST_S ? keep / 168 : PASS_MOST_S;

    if (u->err != 0)
        volume_error(u->v, "expunged messages cannot be cleared away: %s", log_strerror(u->err));
    if (u->low && u->found.messages < u->counts.messages)
        volume_error(u->v, "the disk is nearly full: expunged messages are removed before their "
                           "time, the oldest first");
    if (u->passed && u->err == 0) {
        u->counts = u->found;
        u->pass_at = clock_ms() + between * 1000;
    }
    arm(u);
}

static void look(evutil_socket_t fd, short what, void *arg) {
    struct undo *u = arg;

    u->due = clock_ms() >= u->pass_at;
    u->held_from = undo_held_from(u->v->state);
    if (brake_held_from(u->v->brake) < u->held_from)
        u->held_from = brake_held_from(u->v->brake);
    for (size_t i = 0; i < u->v->n_links; i++) {
        int64_t from = undo_held_from(u->v->links[i]->state);
        u->held_from = from < u->held_from ? from : u->held_from;
    }
    if (workq_submit(u->v->engine->disk, WORKQ_NO_LANE, run, done, u) != 0)
        mem_out("the work queue");
}

struct undo *undo_new(struct volume *v) {
    struct undo *u;

    if (v->state->undo < 0)
        return NULL;
    u = mem_new(sizeof *u);
    u->v = v;
    u->timer = timer_new(v->engine->evb, look, u);
    arm(u);
    return u;
}

void undo_quiet(struct undo *u) {
    if (u == NULL)
        return;
    u->quiet = true;
    evtimer_del(u->timer);
}

void undo_free(struct undo *u) {
    if (u == NULL)
        return;
    event_free(u->timer);
    free(u);
}

void undo_counts(const struct undo *u, struct undo_counts *out) {
    *out = (struct undo_counts){0};
    if (u != NULL && (u->v->cv->keep_s > 0 || u->counts.messages > 0))
        *out = u->counts;
}
