#ifndef MAILFS_HOLD_H
#define MAILFS_HOLD_H

/*
 * The holder: the process that was started as mailfs, that mounts, and that keeps the mount over
 * the death of the one that serves it, the worker. It does as little as can be, so that it does not
 * die itself.
 *
 * A worker is this program again, started with -W. The two talk over a socket pair, one byte a
 * packet: the worker says PREPARED when it could start, the holder GO when it may (the mount is
 * there, or the worker before it is gone), the worker READY when it serves, and UNMOUNTED when that
 * was by umount(8). The worker sees the holder's end by the end of the socket, and then ends the
 * mount and itself.
 *
 * A worker that dies is replaced, and the kernel sends again what it had not answered; where the
 * kernel cannot (before Linux 6.9) the volume is mounted anew. It is replaced by the same program,
 * whatever has been installed since; SIGHUP replaces it by the one that now lies where this one was
 * started from. When HOLD_DEATHS_MAX of them have died one after
 * the other, none of which had served for HOLD_LIVED_MS, it is given up: the mount answers ENOTCONN
 * then, rather than nothing.
 */

#include <stdbool.h>

#define HOLD_DEATHS_MAX 5
#define HOLD_LIVED_MS   300

enum { HOLD_PREPARED = 'P', HOLD_GO = 'G', HOLD_READY = 'R', HOLD_UNMOUNTED = 'U' };

struct hold_args {
    const char *conf_path; /* NULL: the default */
    const char *volume;    /* NULL: the only one */
    bool foreground;
    void (*ready)(void); /* called once: the volume is served */
};

/* vol.conf and vol.conf_volume are set. The exit code of the program. */
int hold(const struct hold_args *args);

#endif
