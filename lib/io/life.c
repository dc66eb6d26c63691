/* life - see life.h. No diagnostics. */
#include "io/life.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define BOOT_ID_LEN 36

static int read_boot_id(char out[BOOT_ID_LEN + 1]) {
    ssize_t n;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    n = read(fd, out, BOOT_ID_LEN);
    close(fd);
    out[BOOT_ID_LEN] = '\0';
    return n == BOOT_ID_LEN ? 0 : -EIO;
}

/* /sys/fs/KIND/sda1: after the block device, as /sys/dev/block/8:1 names it. */
static int path_by_device(int fd, const char *kind, char path[PATH_MAX]) {
    char link[64], target[PATH_MAX];
    const char *name;
    struct stat sb;
    ssize_t n;

    if (fstat(fd, &sb) < 0)
        return -errno;
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(sb.st_dev), minor(sb.st_dev));
    n = readlink(link, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    name = strrchr(target, '/');
    n = snprintf(path, PATH_MAX, "/sys/fs/%s/%s", kind, name ? name + 1 : target);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* /sys/fs/btrfs/UUID: it may have many devices. */
static int path_of_btrfs(int fd, char path[PATH_MAX]) {
    struct btrfs_ioctl_fs_info_args info;
    const uint8_t *u = info.fsid;
    int n;

    memset(&info, 0, sizeof(info));
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
        return -errno;
    n = snprintf(
        path, PATH_MAX,
        "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
        u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
        u[15]);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int sys_path(int fd, char path[PATH_MAX]) {
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return -errno;
    switch ((uint32_t)fs.f_type) {
    case EXT4_SUPER_MAGIC:
        return path_by_device(fd, "ext4", path);
    case XFS_SUPER_MAGIC:
        return path_by_device(fd, "xfs", path);
    case BTRFS_SUPER_MAGIC:
        return path_of_btrfs(fd, path);
    default:
        return -ENOTSUP;
    }
}

int io_life(int fd, char out[IO_LIFE_MAX]) {
    char boot[BOOT_ID_LEN + 1], path[PATH_MAX];
    struct stat sb;
    int r = read_boot_id(boot);

    if (r == 0)
        r = sys_path(fd, path);
    if (r < 0)
        return r;
    if (stat(path, &sb) < 0)
        return errno == ENOENT ? -ENOTSUP : -errno;
    snprintf(out, IO_LIFE_MAX, "%s %llu", boot, (unsigned long long)sb.st_ino);
    return 0;
}
