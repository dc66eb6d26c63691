#ifndef MAILFS_LOOP_H
#define MAILFS_LOOP_H

/*
 * The session with the kernel: its INIT, and the threads that read requests and run the callbacks.
 *
 * libfuse's own loop does not do: a worker that takes over has to answer an INIT that the kernel
 * will not send again, and each request's number is needed (note.h), which libfuse keeps to itself.
 * So requests are read here and handed to fuse_session_process_buf().
 */

struct fuse_conn_info;

/* Most requests at once. Each may be in an fsync; what waits for the peer takes none. */
#define LOOP_THREADS 128

/* Bytes of one WRITE or READ. Mail daemons write less at a time; each thread has a buffer for it.
 */
#define LOOP_WRITE_MAX (128u << 10)

/* A session on the descriptor of /dev/fuse: sets vol.se. init(): see fuse_lowlevel_ops. */
int loop_open(int fuse_fd, void (*init)(void *userdata, struct fuse_conn_info *conn));

/*
 * The mount's first worker: takes the INIT of the kernel, which it keeps for the next ones. Those
 * give it to libfuse again, and so agree to the same.
 */
int loop_init(void);

/* The kernel sends again what an earlier worker had read and not answered; and whatever was read
 * since, so before loop_start(). */
int loop_resend(void);

/* Begins to serve; ended becomes readable when the file system was unmounted. */
int loop_start(int ended);

#endif
