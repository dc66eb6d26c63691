/*
 * framing - find the next frame in bytes from the peer: 4 bytes of length, big
 * endian, then that many bytes. Pure; loop thread.
 */
#ifndef NET_FRAMING_H
#define NET_FRAMING_H

#include <stddef.h>
#include <stdint.h>

struct evbuffer;

#define FRAMING_HEADER 4u

/*
 * Look at the front of `in`. 1: a whole frame is there, *data points to its
 * *len bytes inside `in`, valid until framing_drop. 0: more bytes are needed.
 * -EMSGSIZE: the announced length is above max (decided before anything is
 * allocated or awaited), *len holds it. -ENOMEM.
 */
int framing_next(struct evbuffer *in, size_t max, const uint8_t **data, size_t *len);

/* Take the frame that framing_next showed off the buffer. */
void framing_drop(struct evbuffer *in, size_t len);

/* Append a frame. 0 or -ENOMEM (then nothing was appended). */
int framing_add(struct evbuffer *out, const void *data, size_t len);

#endif
