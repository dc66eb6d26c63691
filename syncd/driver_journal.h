#ifndef SYNCD_DRIVER_JOURNAL_H
#define SYNCD_DRIVER_JOURNAL_H

/*
 * Received transactions into the journal: in the order they came, those that are ready in one
 * commit, each only when all its contents are here.
 *
 * Loop thread only.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/id.h"

struct volume;
struct journaler;
struct replica_payload;

struct journaler *journaler_new(struct volume *v);
void journaler_free(struct journaler *j);

/* RACT_JOURNAL: answered by replica_journaled(). */
void journaler_add(struct journaler *j, uint64_t seq, const struct mailfs_id *dir,
                   struct replica_payload *payload);
/* A content has arrived, or will not. */
void journaler_wake(struct journaler *j);

#endif
