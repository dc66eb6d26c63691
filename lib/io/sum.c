/*
 * sum - the checksum of a message in an extended attribute of its file
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/sum.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "io/io.h"

#define SUM_BYTES (1 + IO_HASH_BYTES)

int io_sum_get(int fd, struct io_sum *sum) {
    uint8_t raw[SUM_BYTES];
    ssize_t n = fgetxattr(fd, IO_SUM_XATTR, raw, sizeof raw);

    if (n < 0 && errno != ERANGE)
        return errno == EOPNOTSUPP ? -ENODATA : -errno;
    if (n != (ssize_t)sizeof raw || (raw[0] != IO_SUM_PASSED && raw[0] != IO_SUM_FOUND))
        return -ENODATA;
    sum->from = (enum io_sum_from)raw[0];
    memcpy(sum->sha256, raw + 1, IO_HASH_BYTES);
    return 0;
}

int io_sum_set(int fd, const struct io_sum *sum) {
    uint8_t raw[SUM_BYTES];

    raw[0] = (uint8_t)sum->from;
    memcpy(raw + 1, sum->sha256, IO_HASH_BYTES);
    return io_setxattr(fd, IO_SUM_XATTR, raw, sizeof raw, 0);
}

int io_sum_drop(int fd) {
    int r;

    /* Asked at each write: removing what is not there would begin a transaction of the journal. */
    if (fgetxattr(fd, IO_SUM_XATTR, NULL, 0) < 0)
        return 0;
    r = io_removexattr(fd, IO_SUM_XATTR);
    return r == -ENODATA || r == -EOPNOTSUPP ? 0 : r;
}
