#ifndef SYNCD_JOBS_H
#define SYNCD_JOBS_H

/*
 * Disk work of one volume, ordered by container: jobs that have a container in common run one after
 * the other in the order given, all others side by side; a barrier runs alone, after all before it
 * and before all behind it. done() runs in the loop thread.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/id.h"
#include "util/workq.h"

struct asks;
struct jobs;

/* The work queue is shared by the volumes; salt tells their lanes apart. */
struct jobs *jobs_new(struct workq *wq, uint64_t salt);
/* All jobs must have been delivered. NULL is allowed. */
void jobs_free(struct jobs *jobs);

/* What a job writes is written as long as the mailfs asks that asks when it is added (asks.h). */
void jobs_ask(struct jobs *jobs, struct asks *asks);

/* run may be NULL: only done(), in its turn. done may be NULL. */
void jobs_run(struct jobs *jobs, const struct mailfs_id *dir, workq_fn *run, workq_fn *done,
              void *arg);
/* The same of several containers, n > 0, each once. */
void jobs_run_on(struct jobs *jobs, const struct mailfs_id *dirs, size_t n, workq_fn *run,
                 workq_fn *done, void *arg);
/* Would one of this container be the next to run, with nothing before it? */
bool jobs_may_run(const struct jobs *jobs, const struct mailfs_id *dir);
void jobs_barrier(struct jobs *jobs, workq_fn *run, workq_fn *done, void *arg);

/* Jobs of this container not delivered yet. */
unsigned jobs_of(const struct jobs *jobs, const struct mailfs_id *dir);
/* A barrier has begun, and its `done` has not been called. */
bool jobs_in_barrier(const struct jobs *jobs);
size_t jobs_pending(const struct jobs *jobs);

#endif
