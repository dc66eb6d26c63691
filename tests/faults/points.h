#ifndef MAILFS_TESTS_POINTS_H
#define MAILFS_TESTS_POINTS_H

/*
 * Fault points in a running daemon: each step that changes a disk passes here, through the table of
 * io/io.h and at LMDB's commits, is written down if that is wanted, and dies or fails there if that
 * is wanted. What is wanted stands in a file that tests/lab/points.py writes and both have mapped:
 * $FAULT_DIR/<host name>.<program>. Without FAULT_DIR nothing happens.
 *
 * A step is known by its operation, the class of the file (points_class()) and the site: the return
 * addresses, relative to the program, of the calls that led to it. Threads make the order of steps
 * differ from run to run; these do not.
 *
 * Reading is not in the table: points.c stands before pread(2) and readdir(3), and fails that of
 * files whose path has a certain string in it.
 */

#include <stdint.h>

enum points_action {
    POINTS_NONE,
    POINTS_KILL_BEFORE, /* SIGKILL for this process instead of the step */
    POINTS_KILL_AFTER,  /* ... right after it */
    POINTS_FAIL,        /* the step is not done, `error` is its result */
    POINTS_SHORT,       /* a write or a copy does half of it, the next one that fits gets `error` */
    POINTS_CUT_BEFORE,  /* the power goes: the file system of `device` is shut down, then SIGKILL */
    POINTS_CUT_AFTER,
};

/* The file; points.py has the same layout. Strings end with NUL; an empty one fits everything. */
struct points_control {
    uint32_t
        action;     /* written last by points.py, cleared here when it was done for the last time */
    uint32_t nth;   /* the first step that fits and is wanted, from 1 */
    uint32_t times; /* so many steps, 0: all of them from there */
    int32_t error;  /* negative errno */
    uint32_t phase; /* a number for the record */
    uint32_t record; /* 1: steps are appended to <this file>.steps */
    uint32_t hits;   /* steps that fit, counted here */
    uint32_t done;   /* actions taken, counted here */
    char op[16];
    char class[32];
    char site[128];   /* the beginning of it */
    char path[128];   /* in the path */
    char read[128];   /* in the path of a file that cannot be read (EIO); empty: none */
    char device[256]; /* a directory on the file system that is shut down */
};

/* Before the own main() of mailfs or mailfs-syncd; in each process that is started of it. */
void points_start(const char *program);

#endif
