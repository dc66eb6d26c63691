#ifndef TESTS_BENCH_MEASURE_H
#define TESTS_BENCH_MEASURE_H

/*
 * What the load programs of the bench have in common: times of many operations, in memory that
 * forked workers share, and one line of JSON about them.
 *
 * Anything that fails ends the program with a message and 1: a figure of a broken run is none.
 */

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t clock_now(void);

void die(const char *what, const char *name) __attribute__((noreturn));
/* A whole number of at least `least`, or the program ends. */
unsigned long number(const char *word, unsigned long least);

struct run; /* n_workers processes that begin together */

/* Each worker may note up to `most` operations. */
struct run *run_new(unsigned n_workers, size_t most);
/* Called in a worker, with its number, when all have begun. */
typedef void run_worker(struct run *r, unsigned worker, void *arg);
/* Forks, starts all at one moment, waits for all. The workers' own preparation is not measured:
 * `ready` (may be NULL) is called before they wait for that moment. */
void run_all(struct run *r, run_worker *ready, run_worker *work, void *arg);
/* One operation that began at `began` has ended now. */
void run_note(struct run *r, unsigned worker, uint64_t began);
void run_note_ns(struct run *r, unsigned worker, uint64_t ns);
/* {"ops": .., "seconds": .., "p50_us": .., "p99_us": .., "cpu": ..}: seconds from the common start
 * to the last end; cpu is the workers' own, in seconds. */
void run_print(struct run *r);

#endif
