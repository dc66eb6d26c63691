#ifndef MAILFS_WATCH_H
#define MAILFS_WATCH_H

/*
 * One thread that waits for what is no request: the end of a process that holds L or is about to
 * deliver, finished jobs of the work queues, and SIGUSR1 (counters to the log).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct workq;

int watch_init(void);

/* Its finished jobs are collected from now on. */
int watch_queue(struct workq *wq);

/*
 * fn(arg) is called once, in the watching thread, when the process of this pidfd ends; the
 * descriptor is the watch's then, too. 0 and a token (never 0), or -errno (fd still the caller's).
 */
int watch_process(int pidfd, void (*fn)(void *arg), void *arg, uint64_t *token);

/* true: fn will not be called, arg is the caller's again. false: it is being called, or was. */
bool watch_cancel(uint64_t token);

#endif
