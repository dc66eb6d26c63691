#ifndef SYNCD_MEND_H
#define SYNCD_MEND_H

/*
 * A message or a file that is damaged or gone in the store becomes again what the peer has; the bad
 * copy is kept (lib/io/undo.h). Loop thread.
 */

#include "check.h"

struct volume;

/* Can this be done for a problem of that kind at all? */
bool mend_can(const struct check_problem *p);

/* fn, never from within: 0, or why it could not be done: -ENOTCONN, -ENOENT and -EUCLEAN: the peer
 * has no good one. */
typedef void mend_fn(void *arg, int err);
void mend(struct volume *v, const struct mailfs_id *dir, unsigned kind, const char *name,
          mend_fn *fn, void *arg);

/* The container's control files as they are, kept before they are changed. A worker's, in its
 * lane. */
int mend_keep_control(struct state *st, const struct mailfs_id *dir);
/* One file of it; one that is not there is no error. */
int mend_keep_bad(struct state *st, const struct mailfs_id *dir, int fd, const char *name);

#endif
