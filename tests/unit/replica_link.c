/*
 * replica_link - one machine of two; see the header
 */
#include "replica_link.h"

#include <stdlib.h>

#include "replica_pair.h"

struct replica *replica_link_begin(void) {
    pair_start_oneway();
    pair_connect();
    if (replica_state(pair.side[0].r) != REPLICA_IN_SYNC)
        abort();
    return pair.side[0].r;
}

void replica_link_end(void) {
    pair_stop();
}
