#ifndef MAILFS_SERVE_H
#define MAILFS_SERVE_H

#include <stdbool.h>

/* What a worker is given by its holder (hold.h). */
struct serve_fds {
    int ctl, fuse, mem;
};

/*
 * Serves the volume until it is unmounted, told to stop, or without a holder. ready() is called
 * when it does. 0 or -errno, logged.
 */
int serve(const struct serve_fds *fds, void (*ready)(void));

#endif
