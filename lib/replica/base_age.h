/*
 * base_age.h: which of two bases is the later common state.
 *
 * A base counts what has moved it, transactions and merges. That order means something only as long
 * as a node remembers: one that was ended without a checkpoint comes back with a base that may lack
 * what it had sent itself and what was acknowledged, whatever its count. Such a base says so
 * (BASE_AGE_LACKS), until the mailbox has been merged. Beside one that lacks nothing it is the
 * earlier. Of two such neither is: each may lack what the other knows, and what only one of them
 * knows was not removed by agreement. 0: not known.
 */
#ifndef MAILFS_REPLICA_BASE_AGE_H
#define MAILFS_REPLICA_BASE_AGE_H

#include <stdbool.h>
#include <stdint.h>

#define BASE_AGE_LACKS (UINT64_C(1) << 63)

bool base_age_lacks(uint64_t age);
/* The higher count of two. */
uint64_t base_age_higher(uint64_t a, uint64_t b);
/* Of what two bases were merged to: later than both. */
uint64_t base_age_merged(uint64_t a, uint64_t b);
/* The same of a mailbox, out of reach of the transactions that either base moves by meanwhile: an
 * age as late as this one's has come to the end of that merge, or of one after it. */
uint64_t base_age_of_merge(uint64_t a, uint64_t b);
/* 1: a is the later; -1: b; 0: neither, or not known. */
int base_age_cmp(uint64_t a, uint64_t b);

#endif
