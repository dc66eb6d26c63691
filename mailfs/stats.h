#ifndef MAILFS_STATS_H
#define MAILFS_STATS_H

/* How many requests of each kind came: relaxed counters, for benches and for SIGUSR1. */

enum stats_kind {
    STATS_LOOKUP,
    STATS_FORGET,
    STATS_GETATTR,
    STATS_SETATTR,
    STATS_READLINK,
    STATS_MKNOD,
    STATS_MKDIR,
    STATS_UNLINK,
    STATS_RMDIR,
    STATS_SYMLINK,
    STATS_RENAME,
    STATS_LINK,
    STATS_OPEN,
    STATS_READ,
    STATS_WRITE,
    STATS_RELEASE,
    STATS_FSYNC,
    STATS_OPENDIR,
    STATS_READDIR,
    STATS_RELEASEDIR,
    STATS_FSYNCDIR,
    STATS_STATFS,
    STATS_CREATE,
    STATS_FALLOCATE,
    STATS_COPY,
    STATS_LSEEK,
    STATS_ACCESS,
    STATS_KINDS
};

void stats_count(enum stats_kind kind);

/* One line to the log with those that are not zero, and the number of inodes known. */
void stats_log(void);

#endif
