#ifndef SYNCD_CHECK_INT_H
#define SYNCD_CHECK_INT_H

/* Shared by check_content.c and check_walk.c. */

#include "check.h"
#include "index.h"
#include "store.h"

/* The messages of one mailbox are looked at. */
struct reading {
    struct state *st;
    const struct check_how *how;
    struct store_dir d;
    struct index ix;
    struct check_problems *out;
    struct check_counts *counts;
};

/* Looks at all messages of the index. 0, or -ECANCELED after *stop: what is wrong with one of them
 * is a problem, and no error. */
int check_read_all(struct reading *rd);

#endif
