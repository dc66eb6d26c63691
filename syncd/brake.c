/*
 * brake - removals out of all proportion are held
 *
 * The decision is lib/replica's; here is what is counted, and the record: STATE/brake.
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
#include "io/file.h"
#include "io/io.h"
#include "mem.h"
#include "replica/brake.h"
#include "state_int.h"
#include "util/buf.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"
#include "volume.h"

#define RECORD     "brake"
#define RECORD_MAX (1u << 20)
#define LOOK_S     30
#define HELD_MAX   1000

/* Removals up to then were meant. */
struct meant {
    char *path;
    int64_t until;
};

struct brake {
    struct volume *v;
    struct event *timer;
    bool quiet, busy;
    struct brake_held *held;
    size_t n_held;
    struct meant *meant;
    size_t n_meant;
    uint64_t present;          /* messages of the volume when they were last counted */
    struct brake_count *count; /* the worker's */
};

static int64_t seconds(void) {
    return (int64_t)(clock_wall_ns() / 1000000000);
}

/* ---- the record -------------------------------------------------------------------- */

static void held_add(struct brake *b, const char *path, uint64_t removed, uint64_t present,
                     int64_t since, int64_t at) {
    struct brake_held *v = realloc(b->held, (b->n_held + 1) * sizeof *v);

    if (v == NULL)
        mem_out("what is held");
    b->held = v;
    v[b->n_held++] = (struct brake_held){mem_strdup(path), removed, present, since, at};
}

static void meant_add(struct brake *b, const char *path, int64_t until) {
    struct meant *v = realloc(b->meant, (b->n_meant + 1) * sizeof *v);

    if (v == NULL)
        mem_out("what was meant");
    b->meant = v;
    v[b->n_meant++] = (struct meant){mem_strdup(path), until};
}

static int record_write(struct brake *b) {
    int dir = io_open(AT_FDCWD, b->v->cv->state, O_RDONLY | O_DIRECTORY, 0), r = dir;
    struct buf text;

    buf_init(&text, RECORD_MAX);
    for (size_t i = 0; i < b->n_held; i++) {
        const struct brake_held *h = &b->held[i];
        buf_printf(&text, "held %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " /%s\n", h->since,
                   h->at, h->removed, h->present, h->path);
    }
    for (size_t i = 0; i < b->n_meant; i++)
        if (b->meant[i].until > seconds() - BRAKE_WINDOW_S)
            buf_printf(&text, "meant %" PRId64 " /%s\n", b->meant[i].until, b->meant[i].path);
    if (dir >= 0)
        r = buf_error(&text);
    if (r == 0 || (dir >= 0 && r >= 0))
        r = io_file_replace_at(dir, RECORD, buf_str(&text), text.len, NULL);
    if (dir >= 0)
        close(dir);
    buf_free(&text);
    if (r < 0)
        volume_error(b->v, "STATE/" RECORD " cannot be written: %s", log_strerror(r));
    return r;
}

static void record_line(struct brake *b, const char *line) {
    struct brake_held h;
    int64_t until;
    int at = 0;

    if (sscanf(line, "held %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNu64 " /%n", &h.since, &h.at,
               &h.removed, &h.present, &at) == 4 &&
        at > 0)
        held_add(b, line + at, h.removed, h.present, h.since, h.at);
    else if (sscanf(line, "meant %" SCNd64 " /%n", &until, &at) == 1 && at > 0)
        meant_add(b, line + at, until);
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

static struct brake_held *held_find(const struct brake *b, const char *path) {
    for (size_t i = 0; i < b->n_held; i++)
        if (strcmp(b->held[i].path, path) == 0)
            return &b->held[i];
    return NULL;
}

static void held_remove(struct brake *b, struct brake_held *h) {
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

int brake_confirm(struct brake *b, const char *path) {
    int n = 0, r;

    if (b == NULL)
        return 0;
    for (size_t i = b->n_held; i-- > 0;) {
        if (path != NULL && strcmp(b->held[i].path, path) != 0)
            continue;
        log_info("volume %s: /%s: removals confirmed", b->v->cv->name, b->held[i].path);
        meant_add(b, b->held[i].path, seconds());
        held_remove(b, &b->held[i]);
        n++;
    }
    r = n > 0 ? record_write(b) : 0;
    return r < 0 ? r : n;
}

/* ---- a look ------------------------------------------------------------------------ */

static int64_t meant_until(const struct brake *b, const char *path) {
    int64_t until = 0;

    for (size_t i = 0; i < b->n_meant; i++)
        if (strcmp(b->meant[i].path, path) == 0 && b->meant[i].until > until)
            until = b->meant[i].until;
    return until;
}

static void take_hold(struct brake *b, const struct brake_counted *c) {
    if (b->n_held >= HELD_MAX)
        return;
    held_add(b, c->path, c->removed, c->present, c->since, seconds());
    volume_error(b->v,
                 "%s%s: %" PRIu64 " of %" PRIu64 " messages were removed within an hour: they are "
                 "kept until mailfsctl confirm; mailfsctl undelete brings them back",
                 *c->path ? "/" : "the volume", c->path, c->removed, c->removed + c->present);
}

static void look_done(void *arg) {
    struct brake *b = arg;
    size_t n;
    const struct brake_counted *c = brake_count_result(b->count, &n);
    bool changed = false;

    for (size_t i = 0; i < n; i++) {
        struct brake_held *h = held_find(b, c[i].path);
        if (*c[i].path == '\0' && c[i].present > 0)
            b->present = c[i].present;
        if (h != NULL && c[i].removed == 0) { /* all of it has been put back */
            log_info("volume %s: /%s: what was removed is there again", b->v->cv->name, h->path);
            held_remove(b, h);
            changed = true;
        } else if (h != NULL) {
            changed = changed || h->removed != c[i].removed;
            h->removed = c[i].removed;
            h->present = c[i].present;
        } else if (brake_trips(b->v->cv->brake, c[i].removed, c[i].present)) {
            take_hold(b, &c[i]);
            changed = true;
        }
    }
    if (changed)
        record_write(b);
    brake_count_free(b->count);
    b->count = NULL;
    b->busy = false;
}

static void look_run(void *arg) {
    brake_count_run(((struct brake *)arg)->count);
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
    struct brake *b;

    if (v->cv->brake == 0 || v->state->undo < 0)
        return NULL;
    b = mem_new(sizeof *b);
    b->v = v;
    record_read(b);
    b->timer = evtimer_new(v->engine->evb, look, b);
    if (b->timer == NULL)
        mem_out("a timer");
    arm(b);
    return b;
}

void brake_quiet(struct brake *b) {
    if (b == NULL)
        return;
    b->quiet = true;
    evtimer_del(b->timer);
}

void brake_free(struct brake *b) {
    if (b == NULL)
        return;
    event_free(b->timer);
    for (size_t i = 0; i < b->n_held; i++)
        free(b->held[i].path);
    for (size_t i = 0; i < b->n_meant; i++)
        free(b->meant[i].path);
    free(b->held);
    free(b->meant);
    free(b);
}
