#ifndef SYNCD_RENUMBER_H
#define SYNCD_RENUMBER_H

/*
 * Of two directories that both nodes made under one name this node's gives up its id for the
 * other's, in its place: whoever has it open, or stands in it, notices nothing.
 */

#include "state.h"

/* fd: the directory. What was noted of its contents under the former id (which prepared contents
 * its messages have) is known under the new one; what was agreed under the former one is not. */
int renumber_dir(struct state *st, int fd, const struct mailfs_id *former,
                 const struct mailfs_id *now);
/* The directories in it are known to the base as in the one it is now. Looks at all there are. */
int renumber_children(struct state *st, const struct mailfs_id *former,
                      const struct mailfs_id *now);

#endif
