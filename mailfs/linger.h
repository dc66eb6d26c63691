#ifndef MAILFS_LINGER_H
#define MAILFS_LINGER_H

/*
 * Looking for the next request for a moment, before a thread sleeps until there is one.
 *
 * A caller that has been answered mostly asks again at once. If its thread and ours are on
 * different CPUs, each question and each answer wakes the other one's CPU by an interrupt, which in
 * a virtual machine costs 20 microseconds and more; who has not gone to sleep need not be woken.
 *
 * Only while nobody else wants the CPU, and it is given up for 10 ms where more than one time in
 * three finds nothing: a file opened each millisecond costs 3 % of a CPU more, one each 3 ms 1 %,
 * and a server that has nothing to do, nothing.
 *
 * Any thread. No errors: it is left out, then.
 */

#include <stdbool.h>

void linger_init(void);

/* Returns when fd can be read, or soon. */
void linger(int fd);

/* For tests: whether it would, by what /proc/loadavg says, and how many CPUs we may use. */
bool linger_is_quiet(const char *loadavg, long cpus);
long linger_cpus(void);

#endif
