#ifndef MAILFS_LOCK_END_H
#define MAILFS_LOCK_END_H

/*
 * Before a mount that cannot be kept is ended: ends the processes that hold an L (as far as their
 * pid is known), by SIGKILL.
 *
 * A Dovecot that is refused a single write to its UID list between L and U goes on: its index on
 * this node counts every message of the mailbox as expunged, or has a UID that is in no list; all
 * messages get new UIDs when they are found again (measured). One that is killed commits nothing:
 * its client sees the connection end, and whoever delivers tries again.
 *
 * For the holder, and for a worker whose holder is gone: needs the kept memory only.
 */
void lock_end_owners(void);

#endif
