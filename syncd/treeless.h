#ifndef SYNCD_TREELESS_H
#define SYNCD_TREELESS_H

/* Containers in which, or to which, something was not done that the peer did: the trees differ, and
 * are to be compared. Loop thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/id.h"

/* An EIO may have been the whole store's, and may have passed. */
#define TREELESS_EIO_MS (10u * 60 * 1000)

struct treeless;

/* err: what came of it, a negative errno; 0: it did not fit what is here. now: volume_now(). */
void treeless_put(struct treeless **set, const struct mailfs_id *id, int err, uint64_t now);
bool treeless_has(struct treeless *set, const struct mailfs_id *id);
/* All of them, malloc'ed; NULL: none. */
struct mailfs_id *treeless_all(const struct treeless *set, size_t *n);
/*
 * An error of one of them that a merge of the trees would meet as well, whatever room there is,
 * that of id before another's; 0: none. Such a merge would be tried again for ever, and nothing at
 * all is applied meanwhile. What another one lacks may be in what that one could not make.
 */
int treeless_lasting(struct treeless *set, const struct mailfs_id *id, uint64_t now);
void treeless_free(struct treeless **set);

#endif
