/*
 * jobs - a volume's disk work: lanes per container, and barriers
 *
 * Invariants: held is empty, or its first job is a barrier that waits for running == 0, or a
 * barrier is running. While a barrier runs it is the only one (running == 1).
 *
 * Diagnostics: a queue without end is refused by ending the daemon (mem.h).
 */
#include "jobs.h"

#include <stdlib.h>

#include <uthash.h>
#include <utlist.h>

#include "mem.h"
#include "util/bytes.h"

struct job {
    struct jobs *jobs;
    struct mailfs_id dir;
    bool barrier;
    workq_fn *run, *done;
    void *arg;
    struct job *next, *prev;
};

struct dir_count {
    struct mailfs_id dir;
    unsigned n;
    UT_hash_handle hh;
};

struct jobs {
    struct workq *wq;
    uint64_t salt;
    size_t running, pending;
    bool barrier;
    struct job *held;
    struct dir_count *dirs;
};

struct jobs *jobs_new(struct workq *wq, uint64_t salt) {
    struct jobs *jobs = mem_new(sizeof *jobs);
    jobs->wq = wq;
    jobs->salt = salt;
    return jobs;
}

void jobs_free(struct jobs *jobs) {
    if (jobs == NULL)
        return;
    struct dir_count *d, *tmp;
    HASH_ITER(hh, jobs->dirs, d, tmp) {
        HASH_DEL(jobs->dirs, d);
        free(d);
    }
    free(jobs);
}

static struct dir_count *dir_find(const struct jobs *jobs, const struct mailfs_id *dir) {
    struct dir_count *d;
    HASH_FIND(hh, jobs->dirs, dir, sizeof *dir, d);
    return d;
}

static void dir_more(struct jobs *jobs, const struct mailfs_id *dir) {
    struct dir_count *d = dir_find(jobs, dir);
    if (d == NULL) {
        d = mem_new(sizeof *d);
        d->dir = *dir;
        HASH_ADD(hh, jobs->dirs, dir, sizeof d->dir, d);
    }
    d->n++;
}

static void dir_less(struct jobs *jobs, const struct mailfs_id *dir) {
    struct dir_count *d = dir_find(jobs, dir);
    if (d == NULL || --d->n > 0)
        return;
    HASH_DEL(jobs->dirs, d);
    free(d);
}

static void job_run(void *arg) {
    struct job *job = arg;
    if (job->run != NULL)
        job->run(job->arg);
}

static void jobs_advance(struct jobs *jobs);

static void job_done(void *arg) {
    struct job *job = arg;
    struct jobs *jobs = job->jobs;
    jobs->running--;
    jobs->pending--;
    if (job->barrier)
        jobs->barrier = false;
    else
        dir_less(jobs, &job->dir);
    if (job->done != NULL)
        job->done(job->arg);
    free(job);
    jobs_advance(jobs);
}

static void job_start(struct job *job) {
    struct jobs *jobs = job->jobs;
    uint64_t lane = bytes_get_u64(job->dir.b) ^ jobs->salt;
    if (job->barrier || lane == WORKQ_NO_LANE)
        lane = jobs->salt;
    jobs->running++;
    jobs->barrier = job->barrier;
    if (workq_submit(jobs->wq, lane, job_run, job_done, job) != 0)
        mem_out("work queue");
}

static void jobs_advance(struct jobs *jobs) {
    while (jobs->held != NULL && !jobs->barrier) {
        struct job *job = jobs->held;
        if (job->barrier && jobs->running > 0)
            return;
        DL_DELETE(jobs->held, job);
        job_start(job);
    }
}

static void jobs_add(struct jobs *jobs, struct job *job) {
    jobs->pending++;
    DL_APPEND(jobs->held, job);
    jobs_advance(jobs);
}

void jobs_run(struct jobs *jobs, const struct mailfs_id *dir, workq_fn *run, workq_fn *done,
              void *arg) {
    struct job *job = mem_new(sizeof *job);
    *job = (struct job){.jobs = jobs, .dir = *dir, .run = run, .done = done, .arg = arg};
    dir_more(jobs, dir);
    jobs_add(jobs, job);
}

void jobs_barrier(struct jobs *jobs, workq_fn *run, workq_fn *done, void *arg) {
    struct job *job = mem_new(sizeof *job);
    *job = (struct job){.jobs = jobs, .barrier = true, .run = run, .done = done, .arg = arg};
    jobs_add(jobs, job);
}

unsigned jobs_of(const struct jobs *jobs, const struct mailfs_id *dir) {
    struct dir_count *d = dir_find(jobs, dir);
    return d == NULL ? 0 : d->n;
}

size_t jobs_pending(const struct jobs *jobs) {
    return jobs->pending;
}
