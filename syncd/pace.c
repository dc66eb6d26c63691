/*
 * pace - a bandwidth. No diagnostics.
 */
#include "pace.h"

void pace_init(struct pace *p, uint64_t rate) {
    *p = (struct pace){.rate = rate};
}

uint64_t pace_wait(struct pace *p, uint64_t now) {
    if (p->rate == 0)
        return 0;
    uint64_t passed = now > p->at ? now - p->at : 0;
    int64_t most = (int64_t)(p->rate * PACE_BURST_MS / 1000);
    if (passed > 60000)
        passed = 60000; /* more says nothing, and could overflow */
    p->have += (int64_t)(p->rate * passed / 1000);
    p->at = now;
    if (p->have > most)
        p->have = most;
    if (p->have > 0 || (p->have == 0 && most == 0))
        return 0;
    return (uint64_t)-p->have * 1000 / p->rate + 1;
}

void pace_took(struct pace *p, uint64_t n) {
    if (p->rate != 0)
        p->have -= (int64_t)n;
}
