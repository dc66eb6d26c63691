#ifndef SYNCD_GONE_H
#define SYNCD_GONE_H

/*
 * Has a message that .mailfs/undo keeps gone, or is it somewhere else still? It is, if its file has
 * another name: it was moved, or came to several users. Names in snapshots do not count: those are
 * found where the mailbox had them.
 */

#include <stdbool.h>
#include <sys/stat.h>

struct state;

/* sb: of the kept file, called `name`; path: of its mailbox, below the store. Any thread. */
bool gone_is(struct state *st, const char *path, const char *name, const struct stat *sb);

#endif
