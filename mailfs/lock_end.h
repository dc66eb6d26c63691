#ifndef MAILFS_LOCK_END_H
#define MAILFS_LOCK_END_H

#include <stdint.h>

/*
 * Before a mount that cannot be kept is ended: ends the processes that hold an L (as far as their
 * pid is known), by SIGKILL.
 *
 * A Dovecot that is refused a single write to its UID list between L and U goes on: its index on
 * this node counts every message of the mailbox as expunged, or has a UID that is in no list; all
 * messages get new UIDs when they are found again (measured). One that is killed commits nothing:
 * its client sees the connection end, and whoever delivers tries again.
 *
 * before: clock_boot_ms() of the last moment at which a worker served. A process that started later
 * has only the pid of one that held an L and has died since; it is let alone.
 *
 * For the holder, and for a worker whose holder is gone: needs the kept memory only.
 */
void lock_end_owners(uint64_t before);

#endif
