#ifndef MAILFS_UTIL_WORKQ_H
#define MAILFS_UTIL_WORKQ_H

/*
 * Worker threads for what blocks on a disk, on behalf of one event loop.
 *
 * A job has two halves: run(arg) in some worker, then done(arg) in the thread that calls
 * workq_poll(). Jobs of the same lane run one after the other in the order of submission, and their
 * done() come in that order too; jobs of different lanes, and of WORKQ_NO_LANE, run side by side.
 *
 * Bounds: threads are made once; jobs submitted and not yet delivered are at most max_jobs.
 * Threads: workq_submit() from any thread, also from run() and done(); workq_poll(), workq_drain()
 * and workq_free() only from the owner's.
 */

#include <stddef.h>
#include <stdint.h>

struct workq;

#define WORKQ_NO_LANE UINT64_MAX

typedef void workq_fn(void *arg);

/* 0, or -ENOMEM, -EAGAIN (threads), -EMFILE. */
int workq_new(unsigned threads, size_t max_jobs, struct workq **wq);

/*
 * 0, or -EAGAIN: max_jobs are waiting; the caller keeps arg and may try after a workq_poll().
 * -ENOMEM likewise leaves arg with the caller. done may be NULL: the job is over, and counted as
 * delivered, when it has run.
 */
int workq_submit(struct workq *wq, uint64_t lane, workq_fn *run, workq_fn *done, void *arg);

/* Readable (eventfd, non-blocking) while there is something for workq_poll() to deliver. */
int workq_fd(const struct workq *wq);

/* Delivers what has finished; returns how many. Never blocks. */
size_t workq_poll(struct workq *wq);

/* Jobs submitted and not yet delivered. */
size_t workq_pending(struct workq *wq);

/* Waits until everything submitted (also by the done() called here) has been delivered. */
void workq_drain(struct workq *wq);

/* Drains, ends the threads, frees. NULL is allowed. */
void workq_free(struct workq *wq);

#endif
