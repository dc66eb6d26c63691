#ifndef MAILFS_SERVE_H
#define MAILFS_SERVE_H

/*
 * Mounts the volume and serves it until it is unmounted or told to stop. ready() is called once,
 * when the kernel has taken up the connection. 0 or -errno, logged.
 */
int serve(void (*ready)(void));

#endif
