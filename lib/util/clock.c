/*
 * clock - monotonic and wall time
 *
 * Diagnostics: none; clock_gettime(2) of these two clocks cannot fail on Linux.
 */
#include "util/clock.h"

#include <time.h>

static uint64_t clock_ns(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_ms(void) {
    return clock_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t clock_us(void) {
    return clock_ns(CLOCK_MONOTONIC) / 1000u;
}

uint64_t clock_boot_ms(void) {
    return clock_ns(CLOCK_BOOTTIME) / 1000000u;
}

uint64_t clock_wall_ns(void) {
    return clock_ns(CLOCK_REALTIME);
}

struct timespec clock_timespec(int64_t ns) {
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}
