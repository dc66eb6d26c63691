#ifndef SYNCD_IDSET_H
#define SYNCD_IDSET_H

/* A set of containers. Loop thread. NULL when it is empty. */

#include <stdbool.h>

#include "util/id.h"

struct idset;

/* In it from now on, or not. */
void idset_put(struct idset **set, const struct mailfs_id *id, bool in);
bool idset_has(struct idset *set, const struct mailfs_id *id);
void idset_free(struct idset **set);

#endif
