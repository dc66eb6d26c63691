#ifndef TESTS_REPLICA_ONE_H
#define TESTS_REPLICA_ONE_H

/* A mailbox with one message, "m": what a side of its merge holds that to have been, what it is
 * there, and what becomes of it. An error fails the test. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/merge.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

struct one {
    struct merge_entry entry;
    struct merge_side side;
};

/* "12 cur FS" or "0 new"; "" is absent: false. */
bool one_state(const char *text, struct merge_state *s);
/* base NULL: this side's base is not valid. */
void one_side(struct one *o, const char *base, const char *now, uint32_t next, uint32_t base_next);
/* Merged, it is as wanted; why: says what failed. */
void one_check(const struct merge_side *a, const struct merge_side *b, const char *want,
               const char *why);

#endif
