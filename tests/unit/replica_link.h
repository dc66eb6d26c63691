#ifndef TESTS_REPLICA_LINK_H
#define TESTS_REPLICA_LINK_H

/* The machine of a one-way link that is in sync with its other end, for tests of what asks it. One
 * at a time; replica_pair.h has it. */

struct replica *replica_link_begin(void);
void replica_link_end(void);

#endif
