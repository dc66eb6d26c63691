/*
 * jobs - a volume's disk work: a queue per container, and barriers
 *
 * A job stands in the queue of each of its containers. One of several containers starts when it is
 * the first in all of them; one of a single container as soon as only such are before it, for the
 * work queue's lane keeps their order. A job enters all its queues at once, so of two that meet in
 * several the same is first everywhere, and none waits for ever.
 *
 * Invariants: `held` is empty, or its first job is a barrier that waits until no job is admitted,
 * or a barrier is running. While a barrier runs it is the only one admitted. In a queue, what is
 * before `wait` has started.
 *
 * Diagnostics: a queue without end is refused by ending the daemon (mem.h).
 */
#include "jobs.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>
#include <utlist.h>

#include "asks.h"
#include "mem.h"
#include "util/bytes.h"

struct job;

struct place {
    struct job *job;
    struct queue *queue;
    struct place *next, *prev;
};

/* Of a container that has jobs. */
struct queue {
    struct mailfs_id dir;
    struct place *first, *wait;
    unsigned n; /* with those that are held */
    UT_hash_handle hh;
};

struct job {
    struct jobs *jobs;
    bool barrier;
    workq_fn *run, *done;
    void *arg;
    struct asks_at began;
    struct job *next, *prev;
    size_t not_first; /* queues in which another one is before it */
    size_t n;
    struct place places[]; /* none: a barrier */
};

struct jobs {
    struct workq *wq;
    struct asks *asks; /* or NULL */
    uint64_t salt;
    size_t admitted, pending;
    bool barrier;
    struct job *held;
    struct queue *queues;
};

struct jobs *jobs_new(struct workq *wq, uint64_t salt) {
    struct jobs *jobs = mem_new(sizeof *jobs);
    jobs->wq = wq;
    jobs->salt = salt;
    return jobs;
}

void jobs_ask(struct jobs *jobs, struct asks *asks) {
    jobs->asks = asks;
}

void jobs_free(struct jobs *jobs) {
    free(jobs); /* without jobs there are no queues */
}

/* ---- queues ------------------------------------------------------------------------ */

static struct queue *queue_find(const struct jobs *jobs, const struct mailfs_id *dir) {
    struct queue *q;
    HASH_FIND(hh, jobs->queues, dir, sizeof *dir, q);
    return q;
}

static struct queue *queue_get(struct jobs *jobs, const struct mailfs_id *dir) {
    struct queue *q = queue_find(jobs, dir);
    if (q != NULL)
        return q;
    q = mem_new(sizeof *q);
    q->dir = *dir;
    HASH_ADD(hh, jobs->queues, dir, sizeof q->dir, q);
    return q;
}

static void queue_free_empty(struct jobs *jobs, struct queue *q) {
    if (q->n > 0)
        return;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
    HASH_DEL(jobs->queues, q);
    free(q);
}

/* ---- running ----------------------------------------------------------------------- */

static void job_run(void *arg) {
    struct job *job = arg;
    if (job->run == NULL)
        return;
    asks_enter(job->jobs->asks, job->began);
    job->run(job->arg);
    asks_enter(NULL, (struct asks_at){0});
}

static void job_done(void *arg);

static void job_start(struct job *job) {
    uint64_t lane = WORKQ_NO_LANE;
    if (job->n == 1)
        lane = bytes_get_u64(job->places[0].queue->dir.b) ^ job->jobs->salt;
    if (workq_submit(job->jobs->wq, lane, job_run, job_done, job) != 0)
        mem_out("work queue");
}

/* Starts what can be started of this queue. */
static void queue_go(struct queue *q) {
    while (q->wait != NULL) {
        struct place *p = q->wait;
        if (p->job->n > 1 && p != q->first)
            return;
        q->wait = p->job->n > 1 ? NULL : p->next;
        if (--p->job->not_first == 0)
            job_start(p->job);
        if (p->job->n > 1)
            return; /* it must have left before others start */
    }
}

static void job_admit(struct job *job) {
    job->jobs->admitted++;
    job->jobs->barrier = job->barrier;
    job->not_first = job->n;
    for (size_t i = 0; i < job->n; i++) {
        struct place *p = &job->places[i];
        struct queue *q = p->queue;
        bool behind_several = q->first != NULL && q->wait == NULL && q->first->job->n > 1;
        DL_APPEND(q->first, p);
        if (q->wait == NULL && !behind_several)
            q->wait = p;
    }
    for (size_t i = 0; i < job->n; i++)
        queue_go(job->places[i].queue);
    if (job->n == 0)
        job_start(job);
}

static void jobs_advance(struct jobs *jobs) {
    while (jobs->held != NULL && !jobs->barrier) {
        struct job *job = jobs->held;
        if (job->barrier && jobs->admitted > 0)
            return;
        DL_DELETE(jobs->held, job);
        job_admit(job);
    }
}

/* It leaves its queues, and those behind it may be first now. */
static void job_leave(struct job *job) {
    for (size_t i = 0; i < job->n; i++) {
        struct place *p = &job->places[i];
        struct queue *q = p->queue;
        if (job->n > 1)
            q->wait = p->next;
        DL_DELETE(q->first, p);
        q->n--;
        queue_go(q);
        queue_free_empty(job->jobs, q);
    }
}

static void job_done(void *arg) {
    struct job *job = arg;
    struct jobs *jobs = job->jobs;
    jobs->admitted--;
    jobs->pending--;
    if (job->barrier)
        jobs->barrier = false;
    job_leave(job);
    if (job->done != NULL)
        job->done(job->arg);
    free(job);
    jobs_advance(jobs);
}

/* ---- adding ------------------------------------------------------------------------ */

static struct job *job_new(struct jobs *jobs, size_t n, workq_fn *run, workq_fn *done, void *arg) {
    struct job *job = mem_new(sizeof *job + n * sizeof *job->places);
    job->jobs = jobs;
    job->began = asks_now(jobs->asks);
    job->run = run;
    job->done = done;
    job->arg = arg;
    job->n = n;
    return job;
}

static void jobs_add(struct jobs *jobs, struct job *job) {
    jobs->pending++;
    DL_APPEND(jobs->held, job);
    jobs_advance(jobs);
}

void jobs_run_on(struct jobs *jobs, const struct mailfs_id *dirs, size_t n, workq_fn *run,
                 workq_fn *done, void *arg) {
    struct job *job = job_new(jobs, n, run, done, arg);
    for (size_t i = 0; i < n; i++) {
        struct place *p = &job->places[i];
        p->job = job;
        p->queue = queue_get(jobs, &dirs[i]);
        p->queue->n++; /* held, or admitted */
    }
    jobs_add(jobs, job);
}

void jobs_run(struct jobs *jobs, const struct mailfs_id *dir, workq_fn *run, workq_fn *done,
              void *arg) {
    jobs_run_on(jobs, dir, 1, run, done, arg);
}

void jobs_barrier(struct jobs *jobs, workq_fn *run, workq_fn *done, void *arg) {
    struct job *job = job_new(jobs, 0, run, done, arg);
    job->barrier = true;
    jobs_add(jobs, job);
}

unsigned jobs_of(const struct jobs *jobs, const struct mailfs_id *dir) {
    struct queue *q = queue_find(jobs, dir);
    return q == NULL ? 0 : q->n;
}

bool jobs_may_run(const struct jobs *jobs, const struct mailfs_id *dir) {
    return jobs->held == NULL && !jobs->barrier && queue_find(jobs, dir) == NULL;
}

bool jobs_in_barrier(const struct jobs *jobs) {
    return jobs->barrier;
}

size_t jobs_pending(const struct jobs *jobs) {
    return jobs->pending;
}
