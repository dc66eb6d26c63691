#ifndef MAILFS_IO_HASH_H
#define MAILFS_IO_HASH_H

/* SHA-256 of memory and of files. Any thread. The only OpenSSL outside lib/net. */

#include <stddef.h>
#include <stdint.h>

#define IO_HASH_BYTES 32

int io_hash(const void *p, size_t n, uint8_t out[IO_HASH_BYTES]); /* 0 or -ENOMEM */

/* Of a regular file's content, from offset 0; the descriptor's offset is not moved. */
int io_hash_fd(int fd, uint8_t out[IO_HASH_BYTES]);

#endif
