#ifndef SYNCD_SAID_H
#define SYNCD_SAID_H

/*
 * What the log has been told already. What fails is tried again: on a full disk each transaction
 * once a second, each mailbox for itself. A line for each time says no more than the first, and the
 * log is on a disk as well. So each error of each thing is said once, and then now and then, so
 * that whoever reads the end of the log finds it. Of more things than there is room for the log
 * says that there are more: to forget others for them would have all of them said each time.
 *
 * Not locked. A table is NULL when it is empty.
 */

#include <stdint.h>

struct said;

#define SAID_AGAIN_MS (10 * 60 * 1000)
#define SAID_MAX      1024 /* lines in that time */
/* Behind the line that is one too many. */
#define SAID_MORE "; there are more errors than are logged, see status"

enum said_what {
    SAID_NOT,      /* it is to be said */
    SAID_BEFORE,   /* or there is no room */
    SAID_TOO_MANY, /* likewise, and that is to be said */
};

/* Has this error been said of it lately? now: ms. */
enum said_what said_look(struct said **all, const char *of, int err, uint64_t now);
void said_free(struct said **all);

#endif
