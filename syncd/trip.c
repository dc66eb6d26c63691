/* trip - see trip.h. No diagnostics. */
#include "trip.h"

#define SHARE 8 /* of what is known, to one of what is new */

static uint64_t least(const struct trip *t) {
    uint64_t us = t->last[0];
    for (unsigned i = 1; i < t->n && i < TRIP_LAST; i++)
        if (t->last[i] < us)
            us = t->last[i];
    return us;
}

void trip_took(struct trip *t, uint64_t us) {
    t->us = t->us == 0 ? us : (t->us * (SHARE - 1) + us) / SHARE;
    t->last[t->n++ % TRIP_LAST] = us;
    uint64_t wire = least(t);
    if (wire >= TRIP_LONG_US)
        t->is_long = true;
    else if (wire < TRIP_SHORT_US)
        t->is_long = false;
}
