/*
 * verify_plan - verification in the background
 *
 * Of a pair the node whose name sorts first begins it, so that not both do: either looks at its own
 * store all the same. A standby does for itself and the node that it follows, and a node without
 * any other for itself.
 *
 * Diagnostics: what a pass finds is logged there; here, that its result cannot be kept.
 */
#include "verify_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "io/file.h"
#include "io/io.h"
#include "mem.h"
#include "role.h"
#include "timer.h"
#include "util/clock.h"
#include "util/log.h"
#include "volume.h"

#define RECORD "verified"
#define HOUR   3600
#define LOOK_S 60

/* ---- the record -------------------------------------------------------------------- */

static int open_state(const struct volume *v) {
    return io_open(AT_FDCWD, v->cv->state, O_RDONLY | O_DIRECTORY, 0);
}

void verify_record_read(const struct volume *v, struct verify_result *out) {
    struct verify_result r = {0};
    char *text = NULL;
    int dir = open_state(v), content;
    size_t n;

    *out = r;
    if (dir < 0)
        return;
    if (io_file_read_at(dir, RECORD, 256, &text, &n, NULL) == 0 &&
        sscanf(text, "%" SCNd64 " %lf %d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
               &r.at, &r.seconds, &content, &r.containers, &r.messages, &r.bytes, &r.problems,
               &r.mended) == 8) {
        r.content = content != 0;
        *out = r;
    }
    free(text);
    close(dir);
}

int verify_record_write(const struct volume *v, const struct verify_result *r) {
    char text[256];
    int dir = open_state(v);

    if (dir < 0)
        return dir;
    int n = snprintf(
        text, sizeof text,
        "%" PRId64 " %.3f %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", r->at,
        r->seconds, r->content, r->containers, r->messages, r->bytes, r->problems, r->mended);
    int err = io_file_replace_at(dir, RECORD, text, (size_t)n, NULL);
    close(dir);
    return err;
}

/* ---- when -------------------------------------------------------------------------- */

struct verify_plan {
    struct volume *v;
    struct event *timer;
    int64_t first_seen, tried;
};

static int64_t seconds(void) {
    return (int64_t)(clock_wall_ns() / 1000000000);
}

/*
 * Not right after the start: the first time it reads everything, on both nodes. One that was
 * broken off begins again after an hour. A clock that was set back makes it due.
 */
bool verify_is_due(int64_t now, uint64_t every, int64_t last, int64_t first_seen, int64_t tried) {
    int64_t dist = (int64_t)every, patience = dist < HOUR ? dist : HOUR;

    if (every == 0 || now - first_seen < patience || (tried != 0 && now - tried < patience))
        return false;
    return last == 0 || last > now || now - last >= dist;
}

static bool is_ours(const struct volume *v) {
    if (v->cv->peer != NULL)
        return strcmp(v->conf->node, v->cv->peer->name) < 0 &&
               replica_state(v->machine) == REPLICA_IN_SYNC;
    return v->n_links == 0 || (role_of(v).standby && verify_has_partner(v->verify));
}

static void passed(void *arg, const struct verify_result *result) {
}

static void arm(struct verify_plan *p) {
    uint64_t every = p->v->cv->verify_s;
    struct timeval tv = {.tv_sec = every > 0 && every < 10 * LOOK_S ? 1 : LOOK_S};

    evtimer_add(p->timer, &tv);
}

static void look(evutil_socket_t fd, short what, void *arg) {
    static const struct look_order order = {.content = true, .gentle = true};
    struct verify_plan *p = arg;
    struct volume *v = p->v;
    struct verify_result last;
    uint64_t done, all;

    verify_last(v->verify, &last);
    if (is_ours(v) && !v->stopping && !verify_running(v->verify, &done, &all) &&
        verify_is_due(seconds(), v->cv->verify_s, last.at, p->first_seen, p->tried)) {
        p->tried = seconds();
        verify_begin(v->verify, order, NULL, 0, passed, p);
    }
    arm(p);
}

struct verify_plan *verify_plan_new(struct volume *v) {
    struct verify_plan *p;

    if (v->cv->verify_s == 0)
        return NULL;
    p = mem_new(sizeof *p);
    p->v = v;
    p->first_seen = seconds();
    p->timer = timer_new(v->engine->evb, look, p);
    arm(p);
    return p;
}

void verify_plan_free(struct verify_plan *p) {
    if (p == NULL)
        return;
    event_free(p->timer);
    free(p);
}
