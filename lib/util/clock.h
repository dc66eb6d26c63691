#ifndef MAILFS_UTIL_CLOCK_H
#define MAILFS_UTIL_CLOCK_H

/* Time that only grows (CLOCK_MONOTONIC); its zero means nothing. Any thread. */

#include <stdint.h>
#include <time.h>

uint64_t clock_ms(void);
uint64_t clock_us(void);

/* Since the machine started, sleep included (CLOCK_BOOTTIME): what /proc counts in. */
uint64_t clock_boot_ms(void);

/* Wall time (CLOCK_REALTIME), for what a person reads or a file is stamped with. It can jump. */
uint64_t clock_wall_ns(void);

/* Of a wall time in nanoseconds, which can be before 1970. */
struct timespec clock_timespec(int64_t ns);

#endif
