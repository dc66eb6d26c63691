/*
 * brake - removals out of all proportion are held
 *
 * The decision is lib/replica's, what follows from it for the mailboxes hold.h's; here is the
 * record of what is held, STATE/brake, and its end.
 *
 * Diagnostics: a warning, shown by status, when it takes hold; errors of the record.
 */
#include "brake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "brake_count.h"
#include "brake_int.h"
#include "driver.h"
#include "front.h"
#include "hold.h"
#include "io/file.h"
#include "io/io.h"
#include "jobs.h"
#include "mem.h"
#include "oneway.h"
#include "replica/brake.h"
#include "state_int.h"
#include "timer.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "volume.h"

#define RECORD     "brake"
#define RECORD_MAX (8u << 20)
#define LOOK_S     30
#define DIRS_MS    20   /* after a directory went: an rm -rf has more of them */
#define DIRS_MORE  5000 /* those that could not be made again */

static int64_t seconds(void) {
    return (int64_t)(clock_wall_ns() / 1000000000);
}

/* ---- the record -------------------------------------------------------------------- */

/* h without its path. */
static void held_add(struct brake *b, const char *path, struct brake_held h) {
    struct brake_held *v = realloc(b->held, (b->n_held + 1) * sizeof *v);

    if (v == NULL)
        mem_out("what is held");
    b->held = v;
    h.path = mem_strdup(path);
    v[b->n_held++] = h;
    if (h.id_known)
        hold_set(b->v->state, &h.id, true);
}

/* Of h counts what it is about. */
void brake_meant(struct brake *b, const char *path, const struct brake_held *h, int64_t until) {
    struct meant *v = realloc(b->meant, (b->n_meant + 1) * sizeof *v);

    if (v == NULL)
        mem_out("what was meant");
    b->meant = v;
    v[b->n_meant++] = (struct meant){mem_strdup(path), h->id, h->id_known, until};
    if (h->id_known)
        hold_meant(b->v->state, &h->id, until);
}

/* A standby that has been away as long must not ask once more. */
static bool meant_counts(const struct brake *b, int64_t until) {
    int64_t keep = (int64_t)b->v->cv->keep_s;

    return until > seconds() - (keep > BRAKE_WINDOW_S ? keep : BRAKE_WINDOW_S);
}

static const char *id_text(bool known, const struct mailfs_id *id, char hex[MAILFS_ID_HEX]) {
    return known ? mailfs_id_format(id, hex) : "-";
}

int brake_write(struct brake *b) {
    int dir = io_open(AT_FDCWD, b->v->cv->state, O_RDONLY | O_DIRECTORY, 0), r;
    char hex[MAILFS_ID_HEX];
    struct buf text;

    buf_init(&text, RECORD_MAX);
    for (size_t i = 0; i < b->n_held; i++) {
        const struct brake_held *h = &b->held[i];
        buf_printf(&text, "held %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %s /%s\n", h->since,
                   h->at, h->removed, h->present, id_text(h->id_known, &h->id, hex), h->path);
    }
    for (size_t i = 0; i < b->n_meant; i++)
        if (meant_counts(b, b->meant[i].until))
            buf_printf(&text, "meant %" PRId64 " %s /%s\n", b->meant[i].until,
                       id_text(b->meant[i].id_known, &b->meant[i].id, hex), b->meant[i].path);
    r = dir < 0 ? dir : buf_error(&text);
    if (r == 0)
        r = io_file_replace_at(dir, RECORD, buf_str(&text), text.len, NULL);
    if (dir >= 0)
        close(dir);
    buf_free(&text);
    b->unwritten = r < 0;
    if (r < 0)
        volume_error(b->v, "STATE/" RECORD " cannot be written: %s", log_strerror(r));
    return r;
}

static void record_line(struct brake *b, const char *line) {
    struct brake_held h = {0};
    char hex[MAILFS_ID_HEX];
    int64_t until;
    int at = 0;

    if (sscanf(line, "held %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNu64 " %32s /%n", &h.since,
               &h.at, &h.removed, &h.present, hex, &at) == 5 &&
        at > 0) {
        h.id_known = mailfs_id_parse(hex, &h.id) == 0;
        held_add(b, line + at, h);
    } else if (sscanf(line, "meant %" SCNd64 " %32s /%n", &until, hex, &at) == 2 && at > 0) {
        h.id_known = mailfs_id_parse(hex, &h.id) == 0;
        brake_meant(b, line + at, &h, until);
    }
}

static void record_read(struct brake *b) {
    int dir = io_open(AT_FDCWD, b->v->cv->state, O_RDONLY | O_DIRECTORY, 0);
    char *text = NULL, *rest, *line;
    size_t n;
    int r = dir < 0 ? dir : io_file_read_at(dir, RECORD, RECORD_MAX, &text, &n, NULL);

    rest = text;
    while (r == 0 && (line = strsep(&rest, "\n")) != NULL)
        record_line(b, line);
    free(text);
    if (dir >= 0)
        close(dir);
    if (r < 0 && r != -ENOENT)
        volume_error(b->v, "STATE/" RECORD " cannot be read: %s", log_strerror(r));
}

/* ---- what is held ------------------------------------------------------------------ */

struct brake_held *brake_find(const struct brake *b, const char *path) {
    for (size_t i = 0; i < b->n_held; i++)
        if (strcmp(b->held[i].path, path) == 0)
            return &b->held[i];
    return NULL;
}

void brake_drop(struct brake *b, struct brake_held *h) {
    if (h->id_known)
        hold_set(b->v->state, &h->id, false);
    free(h->path);
    *h = b->held[--b->n_held];
}

int64_t brake_held_from(const struct brake *b) {
    int64_t from = INT64_MAX;

    for (size_t i = 0; b != NULL && i < b->n_held; i++)
        from = b->held[i].since < from ? b->held[i].since : from;
    return from;
}

const struct brake_held *brake_list(const struct brake *b, size_t *n) {
    *n = b != NULL ? b->n_held : 0;
    return b != NULL ? b->held : NULL;
}

static void take_hold(struct brake *b, const char *path, struct brake_held h) {
    if (b->v->state->holds == NULL && b->n_held > HOLD_TREES_MAX)
        return; /* nothing is cleared away any more as it is */
    h.at = seconds();
    h.id_known = h.id_known && b->v->state->holds != NULL; /* or there is nobody to be told */
    held_add(b, path, h);
    volume_error(b->v,
                 "%s%s: %" PRIu64 " of %" PRIu64 " messages were removed within an hour: mailfsctl "
                 "confirm if that was meant, mailfsctl confirm --undo if not",
                 *path ? "/" : "the volume", path, h.removed, h.removed + h.present);
}

static void held_moved(struct brake *b, const struct hold_trip *t) {
    for (size_t i = 0; i < b->n_held; i++)
        if (b->held[i].id_known && mailfs_id_equal(&b->held[i].id, &t->was))
            b->held[i].id = t->tree;
}

/* ---- what the workers saw ---------------------------------------------------------- */

struct remaking {
    struct volume *v;
    struct mailfs_id *ids;
    size_t n;
    int err;
    struct invals inval;
};

static void dirs_later(struct brake *b, unsigned ms) {
    const struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};

    if (b != NULL && !b->quiet && hold_dirs_due(b->v->state) && !evtimer_pending(b->dirs, NULL))
        evtimer_add(b->dirs, &tv);
}

static void dirs_run(void *arg) {
    struct remaking *m = arg;

    m->err = hold_make_dirs(m->v->state, &m->inval, &m->ids, &m->n);
}

static void dirs_done(void *arg) {
    struct remaking *m = arg;
    struct volume *v = m->v;

    front_invalidate(v->front, &m->inval);
    for (size_t i = 0; i < m->n; i++)
        brake_compare(v, &m->ids[i]);
    if (m->err != 0) {
        driver_compare_trees(v, "a mailbox that is held was made anew");
        dirs_later(v->brake, DIRS_MORE);
    }
    invals_free(&m->inval);
    free(m->ids);
    free(m);
    driver_pump(v);
}

static void dirs_due(evutil_socket_t fd, short what, void *arg) {
    struct brake *b = arg;
    struct remaking *m = mem_new(sizeof *m);

    m->v = b->v;
    jobs_barrier(b->v->jobs, dirs_run, dirs_done, m);
}

void brake_noticed(struct brake *b) {
    struct hold_trip *trips;
    size_t n;

    if (b == NULL)
        return;
    n = hold_trips(b->v->state, &trips);
    for (size_t i = 0; i < n; i++) {
        if (trips[i].path == NULL)
            held_moved(b, &trips[i]);
        else if (brake_find(b, trips[i].path) == NULL)
            take_hold(b, trips[i].path,
                      (struct brake_held){.id = trips[i].tree,
                                          .id_known = true,
                                          .removed = trips[i].removed,
                                          .present = trips[i].present,
                                          .since = trips[i].since});
        free(trips[i].path);
    }
    free(trips);
    if (n > 0)
        brake_write(b);
    dirs_later(b, DIRS_MS);
}

/* ---- a look ------------------------------------------------------------------------ */

static int64_t meant_until(const struct brake *b, const char *path) {
    int64_t until = 0;

    for (size_t i = 0; i < b->n_meant; i++)
        if (strcmp(b->meant[i].path, path) == 0 && b->meant[i].until > until)
            until = b->meant[i].until;
    return until;
}

static void look_done(void *arg) {
    struct brake *b = arg;
    size_t n;
    const struct brake_counted *c = brake_count_result(b->count, &n);
    bool changed = b->unwritten;

    for (size_t i = 0; i < n; i++) {
        struct brake_held *h = brake_find(b, c[i].path);
        if (*c[i].path == '\0' && c[i].present > 0)
            b->present = c[i].present;
        if (h != NULL && c[i].removed == 0 && h->id_known) {
            continue; /* the others have it still: somebody has to say so */
        } else if (h != NULL && c[i].removed == 0) { /* all of it has been put back */
            log_info("volume %s: /%s: what was removed is there again", b->v->cv->name, h->path);
            brake_drop(b, h);
            changed = true;
        } else if (h != NULL) {
            changed = changed || h->removed != c[i].removed;
            h->removed = c[i].removed;
            h->present = c[i].present;
        } else if (b->v->state->holds == NULL &&
                   brake_trips(b->v->cv->brake, c[i].removed, c[i].present)) {
            take_hold(b, c[i].path,
                      (struct brake_held){
                          .removed = c[i].removed, .present = c[i].present, .since = c[i].since});
            changed = true;
        }
    }
    if (changed)
        brake_write(b);
    brake_count_free(b->count);
    b->count = NULL;
    b->busy = false;
    brake_noticed(b);
}

/* With other nodes it only follows what becomes of what is held: what goes is weighed as it does,
 * but for the volume. */
static void look_run(void *arg) {
    struct brake *b = arg;

    if (b->counts)
        brake_count_run(b->count);
    hold_weigh_volume(b->v->state);
}

static void arm(struct brake *b) {
    struct timeval tv = {.tv_sec = b->v->cv->keep_s < LOOK_S * 10 ? 1 : LOOK_S};

    if (!b->quiet)
        evtimer_add(b->timer, &tv);
}

static void look(evutil_socket_t fd, short what, void *arg) {
    struct brake *b = arg;

    arm(b);
    if (b->busy)
        return;
    b->busy = true;
    b->counts = b->v->state->holds == NULL || b->n_held > 0;
    b->count = brake_count_new(b->v->state, seconds() - BRAKE_WINDOW_S);
    brake_count_hint(b->count, b->present, b->v->cv->brake);
    for (size_t i = 0; i < b->n_held; i++)
        brake_count_from(b->count, b->held[i].path, b->held[i].since);
    for (size_t i = 0; i < b->n_meant; i++)
        brake_count_from(b->count, b->meant[i].path, meant_until(b, b->meant[i].path) + 1);
    if (workq_submit(b->v->engine->disk, WORKQ_NO_LANE, look_run, look_done, b) != 0)
        mem_out("the work queue");
}

struct brake *brake_new(struct volume *v) {
    struct brake *b = mem_new(sizeof *b);

    b->v = v;
    if ((v->cv->peer != NULL || v->n_links > 0) && hold_open(v->state, v->cv->brake) != 0)
        mem_out("the brake");
    record_read(b);
    /* What is held stays so when it is switched off. */
    if ((v->cv->brake == 0 || v->state->undo < 0) && b->n_held == 0) {
        hold_close(v->state);
        brake_free(b);
        return NULL;
    }
    b->timer = timer_new(v->engine->evb, look, b);
    b->dirs = timer_new(v->engine->evb, dirs_due, b);
    arm(b);
    return b;
}

void brake_quiet(struct brake *b) {
    if (b == NULL)
        return;
    b->quiet = true;
    evtimer_del(b->timer);
    evtimer_del(b->dirs);
}

void brake_free(struct brake *b) {
    if (b == NULL)
        return;
    if (b->timer != NULL)
        event_free(b->timer);
    if (b->dirs != NULL)
        event_free(b->dirs);
    for (size_t i = 0; i < b->n_held; i++)
        free(b->held[i].path);
    for (size_t i = 0; i < b->n_meant; i++)
        free(b->meant[i].path);
    free(b->held);
    free(b->meant);
    free(b);
}
