/*
 * driver_raise - from RACT_RAISE to replica_raised()
 *
 * No diagnostics: those of promote.c.
 */
#include "driver_raise.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

#include "alias.h"
#include "driver.h"
#include "front.h"
#include "jobs.h"
#include "mem.h"
#include "owed.h"
#include "promote.h"
#include "txn.h"
#include "volume.h"

#define AGAIN_MS    5000
#define GIVEN_UP_MS 20 /* nothing is wrong with the list: asks.h */

struct raise_job {
    struct volume *v;
    struct mailfs_id dir, now; /* now: where dir is the former id of a container */
    enum replica_raise how;
    uint32_t tried; /* promote_raise_lost() */
    struct invals inval;
    int err;
};

static void raise_begin(struct raise_job *j);

/* What waited for its turn meanwhile has given it another id: by this one nothing would be found,
 * as where it is removed. */
static bool has_another_id(const struct raise_job *j) {
    struct mailfs_id now;
    return alias_now(j->v->state, &j->now, &now);
}

static void raise_run(void *arg) {
    struct raise_job *j = arg;
    if (has_another_id(j)) {
        j->err = -EAGAIN;
        return;
    }
    (void)owed_note(j->v->state, &j->now); /* raised all the same */
    j->err =
        promote_raise_lost(j->v->state, &j->now, j->how, &j->tried, &j->inval); /* logged there */
    if (j->err == 0)
        (void)owed_raised(j->v->state, &j->now); /* the next start raises it once more */
}

static void raise_again(evutil_socket_t fd, short what, void *arg) {
    raise_begin(arg);
}

/* Not raised, and no L: a UID that somebody has seen could name another message. Nor while syncd
 * ends. */
static void put_off(struct raise_job *j) {
    bool wrong = j->err != -EOWNERDEAD && j->err != -EAGAIN;
    unsigned ms = wrong ? AGAIN_MS : GIVEN_UP_MS;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    if (j->v->stopping)
        free(j);
    else if (event_base_once(j->v->engine->evb, -1, EV_TIMEOUT, raise_again, j, &tv) != 0)
        mem_out("an event");
}

static void paid_run(void *arg) {
    struct raise_job *j = arg;
    owed_paid(j->v->state, &j->now); /* logged there */
}

static void paid_done(void *arg) {
    free(arg);
}

/* Or by the id that L was granted under. */
static bool is_due(const struct volume *v, const struct mailfs_id *dir) {
    return replica_is_raise_due(v->machine, *dir) ||
           replica_is_raise_due(v->machine, txns_lock_id(v->txns, dir));
}

static void raise_done(void *arg) {
    struct raise_job *j = arg;
    struct volume *v = j->v;
    front_invalidate(v->front, &j->inval);
    invals_free(&j->inval);
    if (j->err != 0) {
        put_off(j);
        return;
    }
    replica_raised(v->machine, volume_now(), j->dir);
    if (is_due(v, &j->dir) || is_due(v, &j->now))
        free(j);
    else
        jobs_run(v->jobs, &j->now, paid_run, paid_done, j);
    driver_pump(v);
}

int driver_raise_left(struct volume *v) {
    struct owed_dir *dirs;
    size_t n;
    int r = owed_list(v->state, &dirs, &n);
    for (size_t i = 0; r == 0 && i < n; i++)
        replica_raise_left(v->machine, volume_now(), dirs[i].dir, dirs[i].raised);
    free(dirs);
    return r;
}

static void raise_begin(struct raise_job *j) {
    if (!alias_now(j->v->state, &j->dir, &j->now))
        j->now = j->dir;
    jobs_run(j->v->jobs, &j->now, raise_run, raise_done, j);
}

void driver_raise(struct volume *v, const struct replica_action *a) {
    struct raise_job *j = mem_new(sizeof *j);
    *j = (struct raise_job){.v = v, .dir = a->dir, .how = a->raise};
    raise_begin(j);
}
