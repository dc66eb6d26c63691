#ifndef SYNCD_SAID_H
#define SYNCD_SAID_H

/*
 * What the log has been told already. What fails is tried again: on a full disk each transaction
 * once a second, each mailbox for itself. A line for each time says no more than the first, and the
 * log is on a disk as well. So it is said once, until it is another error, and then now and then,
 * so that whoever reads the end of the log finds it.
 *
 * Not locked. A table is NULL when it is empty.
 */

#include <stdbool.h>
#include <stdint.h>

struct said;

#define SAID_AGAIN_MS (10 * 60 * 1000)
#define SAID_MAX      1024 /* things; of more, those first heard of are forgotten */

/* Has the last that was said of it been this error, not long ago? If not it is to be said. now: ms.
 */
bool said_before(struct said **all, const char *of, int err, uint64_t now);
void said_free(struct said **all);

#endif
