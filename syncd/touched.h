#ifndef SYNCD_TOUCHED_H
#define SYNCD_TOUCHED_H

/*
 * The containers that something changes, or whose being there it builds upon: two that have none in
 * common may be done in any order, or side by side. Paths play no part, since containers are named
 * by their ids.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/id.h"
#include "util/workq.h"
#include "wire/local.pb-c.h"
#include "wire/peer.pb-c.h"

#define TOUCHED_MAX 8

struct touched {
    struct mailfs_id dirs[TOUCHED_MAX]; /* each once */
    size_t n;
    bool all;  /* more than that: it meets everything */
    bool tree; /* it makes, moves or removes containers */
};

void touched_by_txn(const Mfp__Txn *txn, struct touched *t);
bool touched_tree(const Mfp__Txn *txn); /* by it */
/* What the owner of L of `dir` did, or one act. */
void touched_by_acts(const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                     struct touched *t);
bool touched_meet(const struct touched *a, const struct touched *b);

struct jobs;

/* As a job in the order of all of these. Those that change the tree go one by one: its version in
 * the base counts them. */
void touched_run(const struct touched *t, struct jobs *jobs, workq_fn *run, workq_fn *done,
                 void *arg);

#endif
