#ifndef MAILFS_OWNER_H
#define MAILFS_OWNER_H

#include <sys/types.h>

/* The process that thread tid belongs to: FUSE requests name threads. 0: there is none (any more).
 */
pid_t owner_process(pid_t tid);

#endif
