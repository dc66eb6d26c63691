#ifndef SYNCD_DELTA_H
#define SYNCD_DELTA_H

/*
 * librsync, for files that are no messages and of which the other side has an older version: the
 * signature of that one is sent, and what comes back is the difference. Nobody else includes
 * librsync.h.
 *
 * Descriptors are read with pread(2) from offset 0. Any thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "io/hash.h"

#define DELTA_FILE_MIN (64u << 10) /* below that it is not worth a thought */

/* Of a file of `size` bytes: malloc'ed, at most WIRE_SIGNATURE_MAX. -EFBIG: there is none so short.
 */
int delta_signature(int fd, uint64_t size, uint8_t **sig, size_t *n);

/*
 * What makes the file from the one with that signature, into `out`; *size bytes, and the file's
 * hash. sig is the peer's: -EBADMSG when it is none. -EFBIG: it would be longer than max.
 */
int delta_make(const uint8_t *sig, size_t n, int file, int out, uint64_t max, uint64_t *size,
               uint8_t sha256[IO_HASH_BYTES]);

/*
 * The file that delta, the peer's, makes of the older one, to `sink` piece by piece. -EBADMSG: it
 * makes none, or one with another hash; -EFBIG: one longer than max; an error of the sink's. What
 * the sink has got is of no use then.
 */
typedef int delta_sink(void *arg, uint64_t offset, const void *p, size_t n);
int delta_apply(int delta, int older, uint64_t max, const uint8_t sha256[IO_HASH_BYTES],
                delta_sink *sink, void *arg);

#endif
