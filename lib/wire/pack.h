#ifndef MAILFS_WIRE_PACK_H
#define MAILFS_WIRE_PACK_H

/*
 * Parts of bodies, compressed (zstd). Each part by itself, so what it becomes is known, and
 * bounded, before anything is unpacked. Any thread.
 */

#include <stddef.h>
#include <stdint.h>

#define WIRE_PACK_MAX (128u * 1024u) /* bytes of a part */

/*
 * Compresses n bytes (at most WIRE_PACK_MAX) into out, which holds n. The length, or 0 when it is
 * not worth it: less than an eighth is saved, or it cannot be had.
 */
size_t wire_pack(const uint8_t *data, size_t n, uint8_t *out);

/*
 * What a peer says are `want` bytes, compressed: malloc'ed, the caller's. -EPROTO when they are not
 * exactly so many, or more than WIRE_PACK_MAX; -ENOMEM. Never takes more memory than that and what
 * zstd needs for its window, which is no larger than the content.
 */
int wire_unpack(const uint8_t *data, size_t n, size_t want, uint8_t **out);

#endif
