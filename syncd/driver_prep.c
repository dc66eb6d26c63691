/*
 * driver_prep - staged contents that no transaction takes are published, or dropped
 *
 * Diagnostics: none; those of stage_publish().
 */
#include "driver.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/event.h>

#include "front.h"
#include "mem.h"
#include "oneway.h"
#include "stage.h"
#include "volume.h"
#include "xfer.h"

#define PUBLISH_AGAIN_MS 10000

struct prep_job {
    struct volume *v;
    struct stage_prep prep;
    uint64_t gen;
    struct invals inval;
    int err; /* of publishing */
};

static void drop_run(void *arg) {
    struct prep_job *p = arg;
    stage_drop(p->v->state, &p->prep);
}

static void publish_run(void *arg) {
    struct prep_job *p = arg;
    p->err = stage_publish(p->v->state, &p->prep, p->gen, &p->inval);
}

static void publish_again(evutil_socket_t fd, short what, void *arg);

/* It may be the only copy there is, so it is not left until the next start, nor to a transaction
 * that may not get into the journal: the machine does not know of it any more. One whose mailbox is
 * gone waits for a merge (stage_publish_homeless()). */
static bool put_off_publish(struct prep_job *p) {
    struct timeval tv = {.tv_sec = PUBLISH_AGAIN_MS / 1000};
    return p->err < 0 && p->err != -ENOENT && !p->v->stopping &&
           event_base_once(p->v->engine->evb, -1, EV_TIMEOUT, publish_again, p, &tv) == 0;
}

static void job_end(struct prep_job *p) {
    p->v->changes++;
    if (p->inval.n >
        0) { /* nobody has been told; without the peer a mark tells at the next contact */
        replica_suspect(p->v->machine, volume_now(), p->inval.v[0].dir);
        oneway_changed(p->v, &p->inval.v[0].dir, false);
    }
    front_invalidate(p->v->front, &p->inval);
    invals_free(&p->inval);
    free(p);
}

static void prep_done(void *arg) {
    struct prep_job *p = arg;
    if (!put_off_publish(p))
        job_end(p);
}

/* Its origin may have ended with it meanwhile, which drops it, or be about to name it: so not while
 * it may say so. If syncd ends first the next one publishes it. */
static void publish_again(evutil_socket_t fd, short what, void *arg) {
    struct prep_job *p = arg;
    if (!replica_may_publish(p->v->machine, volume_now())) {
        prep_done(p);
        return;
    }
    p->gen = front_gen(p->v->front);
    jobs_barrier(p->v->jobs, publish_run, prep_done, p);
}

static void submit(struct volume *v, struct replica_prep prep, bool publish) {
    struct prep_job *p = mem_new(sizeof *p);
    p->v = v;
    p->prep = (struct stage_prep){prep.incarnation, prep.seq};
    p->gen = front_gen(v->front);
    if (publish)
        jobs_barrier(v->jobs, publish_run, prep_done, p); /* its mailbox is known on disk only */
    else if (workq_submit(v->engine->io, xfer_prep_lane(&prep), drop_run, prep_done, p) != 0)
        mem_out("work queue");
}

void driver_drop_prep(struct volume *v, struct replica_prep prep) {
    submit(v, prep, false);
}

void driver_publish_prep(struct volume *v, struct replica_prep prep) {
    submit(v, prep, true);
}

static void drop_late_run(void *arg) {
    struct volume *v = arg;
    stage_drop_idle(v->state);
}

void driver_drop_late(struct volume *v) {
    if (replica_state(v->machine) == REPLICA_IN_SYNC &&
        workq_submit(v->engine->io, WORKQ_NO_LANE, drop_late_run, NULL, v) != 0)
        mem_out("work queue");
}
