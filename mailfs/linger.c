/*
 * linger - see linger.h
 *
 * Bought, with caller and mailfs on different CPUs and nobody else on them: half the time of each
 * request but an fsync (docs/SCALING.md, "Waking"). On a busy machine, where both take turns on one
 * CPU and wake each other for 3 microseconds, it costs a tenth and more: hence the look at who
 * else wants to run.
 *
 * Diagnostics: none.
 */
#include "linger.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "util/clock.h"

enum {
    LINGER_US = 50,         /* the caller has to be woken, and to ask */
    VAIN_COSTS = 2,         /* against 1 for each time that was of use, so one in three is borne: */
    VAIN_MOST = 4,          /* a caller may open, close, and think; then there is a pause */
    PAUSE_US = 10000,       /* also between two looks at the machine */
    LOADAVG_LINE_MAX = 128, /* of /proc/loadavg */
};

static int loadavg = -1;
static long n_cpus;
static atomic_bool somebody; /* lingers: one is enough */
static _Atomic uint64_t paused_until, look_at;
static unsigned vain; /* of somebody */

/* More than cpu_set_t has room for are not told: then it is left out. */
long linger_cpus(void) {
    cpu_set_t may;
    return sched_getaffinity(0, sizeof may, &may) == 0 ? CPU_COUNT(&may) : 1;
}

void linger_init(void) {
    n_cpus = linger_cpus();
    loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
}

/* "0.20 0.18 0.12 1/80 11206": the fourth begins with how many threads run, or want to, just now.
 * We do, and the one who was answered; whoever else does needs a CPU of his own. They are those of
 * the whole machine: where we may use some of its CPUs only, some others' count as if on ours. */
bool linger_is_quiet(const char *line, long cpus) {
    unsigned running;
    return cpus > 1 && sscanf(line, "%*s %*s %*s %u/", &running) == 1 && (long)running <= cpus;
}

static bool machine_is_quiet(void) {
    char line[LOADAVG_LINE_MAX];
    ssize_t n = loadavg < 0 ? -1 : pread(loadavg, line, sizeof line - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    return linger_is_quiet(line, n_cpus);
}

static bool may_linger(uint64_t now) {
    if (now < atomic_load(&paused_until))
        return false;
    if (now >= atomic_load(&look_at)) {
        atomic_store(&look_at, now + PAUSE_US);
        if (!machine_is_quiet()) {
            atomic_store(&paused_until, now + PAUSE_US);
            return false;
        }
    }
    return true;
}

static bool is_there(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

static bool comes_by(int fd, uint64_t until) {
    while (!is_there(fd))
        if (clock_us() >= until)
            return false;
    return true;
}

static void note_success(bool came) {
    if (came && vain > 0)
        vain--;
    if (!came)
        vain += VAIN_COSTS;
    if (vain < VAIN_MOST)
        return;
    vain = 0;
    atomic_store(&paused_until, clock_us() + PAUSE_US);
}

/* A request that was there already says nothing: on the caller's own CPU it cannot come while we
 * are on it. */
void linger(int fd) {
    uint64_t now = clock_us();
    if (!may_linger(now) || is_there(fd) || atomic_exchange(&somebody, true))
        return;
    note_success(comes_by(fd, now + LINGER_US));
    atomic_store(&somebody, false);
}
