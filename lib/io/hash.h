#ifndef MAILFS_IO_HASH_H
#define MAILFS_IO_HASH_H

/* SHA-256 of memory and of files. Any thread. The only OpenSSL outside lib/net. */

#include <stddef.h>
#include <stdint.h>

#define IO_HASH_BYTES 32

int io_hash(const void *p, size_t n, uint8_t out[IO_HASH_BYTES]); /* 0 or -ENOMEM */

/* Of a regular file's content, from offset 0; the descriptor's offset is not moved. */
int io_hash_fd(int fd, uint8_t out[IO_HASH_BYTES]);

/* Piece by piece, for what is hashed on its way. NULL: no memory; then and after an error of
 * _add() the end gives -ENOMEM. */
struct io_hasher;
struct io_hasher *io_hasher_new(void);
void io_hasher_add(struct io_hasher *h, const void *p, size_t n);            /* NULL is allowed */
int io_hasher_so_far(const struct io_hasher *h, uint8_t out[IO_HASH_BYTES]); /* and goes on */
int io_hasher_end(struct io_hasher *h, uint8_t out[IO_HASH_BYTES]);          /* frees it */
void io_hasher_free(struct io_hasher *h);                                    /* NULL is allowed */

#endif
