#ifndef SYNCD_TRIP_H
#define SYNCD_TRIP_H

/*
 * The round trip of a link, from its pings: smoothed, and whether that makes a long wire of it.
 * Pure.
 *
 * One ping that waited behind something else says nothing: each new one counts for an eighth. And
 * what is long stays so until it is clearly short: what depends on it does not change with every
 * ping.
 */

#include <stdbool.h>
#include <stdint.h>

#define TRIP_LONG_US  5000
#define TRIP_SHORT_US 2500
#define TRIP_EVERY_US 500000 /* so often a ping, while somebody wants to know */

struct trip {
    uint64_t us; /* smoothed; 0: none is known */
    bool is_long;
};

/* A ping has come back after so many microseconds (not 0). Zeroed at the beginning of a connection.
 */
void trip_took(struct trip *t, uint64_t us);

#endif
