#ifndef MAILFS_IO_SUM_H
#define MAILFS_IO_SUM_H

/*
 * The checksum of a message: the SHA-256 of its content, in an extended attribute of the file,
 * since it belongs to the inode: it goes along when the message is renamed, moved, linked to fifty
 * users or expunged and restored, outlives the state, and costs no room where the inode has some
 * (ext4 with inodes of 256 bytes, XFS, Btrfs).
 *
 * Format: IO_SUM_XATTR holds 33 bytes: where it comes from (enum io_sum_from), the SHA-256.
 *
 * Whoever writes to the file through the mount makes mailfs drop it: what a user does to his mail
 * is no damage. Any thread.
 */

#include <stdint.h>

#include "io/hash.h"

#define IO_SUM_XATTR "user.mailfs.sum"

enum io_sum_from {
    IO_SUM_PASSED = 1, /* computed when the content was received from the peer, or sent to it */
    IO_SUM_FOUND = 2,  /* computed from what lay there: that may have been damaged already */
};

struct io_sum {
    enum io_sum_from from;
    uint8_t sha256[IO_HASH_BYTES];
};

/* fd: open for reading. 0; -ENODATA: it has none, or none that is understood. */
int io_sum_get(int fd, struct io_sum *sum);
int io_sum_set(int fd, const struct io_sum *sum);
/* 0 also when there was none. */
int io_sum_drop(int fd);

#endif
