#ifndef MAILFS_IO_LIFE_H
#define MAILFS_IO_LIFE_H

/*
 * How long a file system remembers what was written to it and never synced: until the machine or
 * the file system goes. A text names that time, so that who comes back after its own death knows
 * whether all that it had written is there. It is the kernel's id of this boot and its number of
 * the object in /sys that each mounted file system has, which no other one gets meanwhile.
 */

#include <stddef.h>

#define IO_LIFE_MAX 96

/* Of the file system of fd. -ENOTSUP: not known for one of this kind (it is for ext4, XFS and
 * Btrfs); another error where /proc or /sys cannot be read. Any thread. */
int io_life(int fd, char out[IO_LIFE_MAX]);

#endif
