/* trip - see trip.h. No diagnostics. */
#include "trip.h"

#define SHARE 8 /* of what is known, to one of what is new */

void trip_took(struct trip *t, uint64_t us) {
    t->us = t->us == 0 ? us : (t->us * (SHARE - 1) + us) / SHARE;
    if (t->us >= TRIP_LONG_US)
        t->is_long = true;
    else if (t->us < TRIP_SHORT_US)
        t->is_long = false;
}
