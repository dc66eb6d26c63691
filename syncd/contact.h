#ifndef SYNCD_CONTACT_H
#define SYNCD_CONTACT_H

/*
 * Meeting the peer: the listener, the dialling with back-off, Hello and Bye, and the one connection
 * that is up. The node whose name sorts first dials; the other waits.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct volume;
struct contact;

/* Opens the listener, if there is a peer. 0 or -errno with err. */
int contact_open(struct volume *v, char *err, size_t errsize);
/* From now on the peer is dialled, and let in. */
void contact_start(struct volume *v);
/* Says Bye and gives up the connection; volume_disconnected() when that has been read, or given up.
 */
void contact_stop(struct volume *v, const char *reason);
void contact_close(struct volume *v);

bool contact_is_up(const struct volume *v);
/* Ends the connection, for a reason of ours (NULL: it has ended); the peer is dialled again. */
void contact_drop(struct volume *v, const char *reason, bool tell_machine);

/* A control frame, in order. 0, or -ENOTCONN, -ENOBUFS. */
int contact_send(struct volume *v, const void *data, size_t len);
/* A bulk frame; -EAGAIN: xfer_writable() will be called. */
int contact_send_bulk(struct volume *v, const void *data, size_t len);
/* Stop and go on reading: the disks do not keep up. */
void contact_read(struct volume *v, bool on);

/* Milliseconds since the peer's last byte; UINT_MAX when not up. */
unsigned contact_quiet_ms(const struct volume *v);

#endif
