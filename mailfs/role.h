#ifndef MAILFS_ROLE_H
#define MAILFS_ROLE_H

/*
 * On a standby nobody writes through the mount: EROFS. A node that becomes one while mail daemons
 * are at work opens no L any more, and refuses the rest once no L is held: a transaction that has
 * begun must not fail (Dovecot would number the mailbox anew). Any thread.
 */

#include <stdbool.h>
#include <sys/types.h>

/* From STATE/role, until syncd says more. 0 or -errno, logged. */
int role_init(void);
void role_set(bool standby);

/* May this thread not change anything? (mailfs's own, which wake inotify's watchers, may.) */
bool role_refuses(pid_t tid);
/* May no L be opened any more? */
bool role_refuses_lock(void);

#endif
