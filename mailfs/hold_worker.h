#ifndef MAILFS_HOLD_WORKER_H
#define MAILFS_HOLD_WORKER_H

/* One worker, seen from the holder: started, watched, and known to be gone. */

#include <dirent.h>
#include <stdbool.h>
#include <sys/types.h>

struct hold_args;

struct hold_worker {
    pid_t pid;    /* 0: none */
    int ctl;      /* the socket */
    int pidfd;    /* readable when all of it has ended */
    int sentinel; /* readable when it is ending, whatever its other threads wait for; or -1 */
    int stat;     /* /proc/PID/stat and */
    DIR *tasks;   /* its threads: open, since one that cannot be looked at must not look dead */
    int program;  /* the file it was started from, if that is not the one of those before; or -1 */
};
#define HOLD_WORKER_NONE                                                                           \
    { .ctl = -1, .pidfd = -1, .sentinel = -1, .stat = -1, .program = -1 }

/* This program, and where it lies: before it is replaced by another version. */
int hold_worker_program(void);

/*
 * Starts one, from the same file as those before; newest: from what lies now where this program was
 * started from. 0 or -errno.
 */
int hold_worker_start(struct hold_worker *w, const struct hold_args *args, bool newest, int fuse_fd,
                      int mem_fd);

/* Others are started from the same file as this one from now on. */
void hold_worker_trust(struct hold_worker *w);

/* It serves: its sentinel is there. */
void hold_worker_serves(struct hold_worker *w);

/* Has it ended? Threads of it may still be there, in calls that no signal ends. */
bool hold_worker_ended(const struct hold_worker *w);

/*
 * Waits until it has ended and none of its threads can change the store any more. Those that work
 * on the mount (keep_walker()) may have to wait for its successor, and are not waited for.
 */
void hold_worker_wait(struct hold_worker *w);

/* What it ended with: as waitpid(2); -1 if that is not known. Closes what belongs to it. */
int hold_worker_done(struct hold_worker *w);

int hold_worker_say(const struct hold_worker *w, char what);
/* A byte; 0: none yet; -ECONNRESET: it has ended. */
int hold_worker_hear(const struct hold_worker *w);

#endif
