#ifndef MAILFS_IO_HANDLE_H
#define MAILFS_IO_HANDLE_H

/*
 * File handles: a name for an inode that survives renames and restarts (name_to_handle_at(2)), and
 * is never given to another inode of that filesystem (it holds the generation number).
 * A plain value of 40 bytes, all of them defined (unused ones are zero): store it as it is, compare
 * it with memcmp(3), use it as a hash key. Good for filesystems whose handle has at most 38 bytes
 * (ext4 8, xfs 12, btrfs 20); -EOVERFLOW for others. Any thread.
 */

#include <stdint.h>

#define IO_HANDLE_MAX 38

struct io_handle {
    uint8_t len;
    uint8_t type;
    uint8_t b[IO_HANDLE_MAX];
};

/*
 * Of name in dirfd (a symbolic link itself). 0 or -errno; -EOPNOTSUPP: no handles on this
 * filesystem.
 */
int io_handle_get(int dirfd, const char *name, struct io_handle *h);
int io_handle_get_fd(int fd, struct io_handle *h);

/*
 * A new descriptor for the inode; mountfd is any descriptor on its filesystem (not O_PATH). Needs
 * CAP_DAC_READ_SEARCH. -ESTALE: the inode is gone; -EINVAL: the bytes are no handle. Waits up to 63
 * ms where the kernel cannot say.
 */
int io_handle_open(int mountfd, const struct io_handle *h, int flags);

#endif
