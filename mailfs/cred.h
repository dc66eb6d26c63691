#ifndef MAILFS_CRED_H
#define MAILFS_CRED_H

/*
 * New files belong to the caller: the calling thread takes on its uid and gid for one system call.
 * The capabilities stay (the kernel has checked permission already, default_permissions, and knows
 * the caller's supplementary groups, which we do not), so only ownership follows from it.
 */

#include <sys/types.h>

/* Once, before threads are made, after limits are raised. 0 or -errno: no CAP_SETPCAP. */
int cred_init(void);

void cred_take(uid_t uid, gid_t gid);
void cred_back(void);

#endif
