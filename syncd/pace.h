#ifndef SYNCD_PACE_H
#define SYNCD_PACE_H

/*
 * A bandwidth: how many bytes may be sent now. Pure; time is monotonic milliseconds.
 *
 * After a pause at most PACE_BURST_MS worth may go at once. One piece may take more than there is:
 * what is owed is waited for before the next one.
 */

#include <stdint.h>

#define PACE_BURST_MS 100

struct pace {
    uint64_t rate; /* bytes a second; 0: no limit */
    int64_t have;  /* bytes; below 0: owed */
    uint64_t at;   /* ms */
};

void pace_init(struct pace *p, uint64_t rate);

/* Milliseconds to wait before the next piece; 0: now. */
uint64_t pace_wait(struct pace *p, uint64_t now);

/* n bytes have been sent. */
void pace_took(struct pace *p, uint64_t n);

#endif
