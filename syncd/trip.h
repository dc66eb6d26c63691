#ifndef SYNCD_TRIP_H
#define SYNCD_TRIP_H

/*
 * The round trip of a link, from its pings: smoothed, and whether the wire is a long one. Pure.
 *
 * Smoothed it is what somebody waits now, and under load that is our own queue, too: each new ping
 * counts for an eighth. How long the wire is says the ping that waited least: nothing comes back
 * sooner than the wire lets it. And what is long stays so until it is clearly short: what depends
 * on it does not change with every ping.
 */

#include <stdbool.h>
#include <stdint.h>

#define TRIP_LONG_US  5000
#define TRIP_SHORT_US 2500
#define TRIP_EVERY_US 500000 /* so often a ping, while somebody wants to know */
#define TRIP_LAST     16     /* of so many the least decides: 8 s of load */

struct trip {
    uint64_t us;              /* smoothed; 0: none is known */
    uint64_t last[TRIP_LAST]; /* a ring of n % TRIP_LAST */
    unsigned n;               /* pings so far */
    bool is_long;
};

/* A ping has come back after so many microseconds (not 0). Zeroed at the beginning of a connection.
 */
void trip_took(struct trip *t, uint64_t us);

#endif
