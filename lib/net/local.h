/*
 * local - packets between programs on this machine: mailfs, mailfsctl, syncd.
 *
 * A unix(7) SOCK_SEQPACKET socket in the state directory, mode 0600: packets
 * keep their borders, a descriptor may ride along. Plain functions on plain
 * descriptors; the caller watches them with its own loop. Any thread; one
 * descriptor from two threads at once is safe, since each packet is one system
 * call. All descriptors are close-on-exec. No call raises SIGPIPE.
 */
#ifndef NET_LOCAL_H
#define NET_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LOCAL_PACKET_MAX (128u * 1024u)

/*
 * Listen at `path`, non-blocking, mode 0600. A socket left behind by a dead
 * process is replaced; -EADDRINUSE when a living one answers there, -EEXIST when
 * something else than a socket is. Descriptor or negative errno.
 */
int local_listen(const char *path);

/*
 * Take one connection from a listening socket: only of root or of our own uid
 * (SO_PEERCRED), others are closed at once and reported as -EACCES. The new
 * descriptor is non-blocking. -EAGAIN when there is none. *pid may be NULL.
 */
int local_accept(int listener, pid_t *pid);

/* Connect to `path`; the descriptor is blocking. -ENOENT or -ECONNREFUSED: nobody is there. */
int local_connect(const char *path);

/* Switch O_NONBLOCK. 0 or negative errno. */
int local_set_nonblocking(int fd, bool on);

/*
 * Send one packet of 1..LOCAL_PACKET_MAX bytes, whole or not at all, with the
 * descriptor passfd unless it is -1 (it stays the caller's, too).
 * 0, -EMSGSIZE, -EAGAIN (non-blocking and full), -EPIPE, …
 */
int local_send(int fd, const void *data, size_t len, int passfd);
/* The same, and -EAGAIN when it is full, whether the descriptor blocks or not. */
int local_try_send(int fd, const void *data, size_t len, int passfd);

/*
 * Receive one packet into buf. Its length (> 0), or 0 at the end of the
 * connection, behind all that the other end had sent, also if that was killed
 * with packets of ours unread. *passfd gets the descriptor that came along, or -1; it is the
 * caller's to close. With passfd NULL, descriptors are closed unseen.
 * -EMSGSIZE: the packet was longer than size and is lost; -EPROTO: more than one
 * descriptor came; -EAGAIN; … On failure nothing is left open.
 */
ssize_t local_recv(int fd, void *buf, size_t size, int *passfd);

#endif
