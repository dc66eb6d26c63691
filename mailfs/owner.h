#ifndef MAILFS_OWNER_H
#define MAILFS_OWNER_H

#include <sys/types.h>

/* The process that thread tid belongs to: FUSE requests name threads. 0: there is none (any more).
 */
pid_t owner_process(pid_t tid);

/*
 * Of /proc/PID/stat (proc(5)), what follows the name: " S PPID ...", field 3 on. In line, of n
 * bytes. NULL: there is no such process.
 */
const char *owner_stat(pid_t pid, char *line, size_t n);

#endif
