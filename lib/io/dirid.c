/*
 * dirid - the id of a container in an extended attribute of its directory
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/dirid.h"

#include <errno.h>
#include <sys/xattr.h>

#include "io/io.h"

int io_dirid_get(int fd, struct mailfs_id *id) {
    struct mailfs_id got;
    ssize_t n = fgetxattr(fd, IO_DIRID_XATTR, got.b, sizeof got.b);
    if (n < 0)
        return errno == ERANGE ? -EINVAL : -errno;
    if (n != (ssize_t)sizeof got.b || mailfs_id_is_root(&got))
        return -EINVAL;
    *id = got;
    return 0;
}

int io_dirid_set(int fd, const struct mailfs_id *id) {
    return io_setxattr(fd, IO_DIRID_XATTR, id->b, sizeof id->b, XATTR_CREATE);
}

int io_dirid_replace(int fd, const struct mailfs_id *id) {
    return io_setxattr(fd, IO_DIRID_XATTR, id->b, sizeof id->b, 0);
}

int io_dirid_ensure(int fd, struct mailfs_id *id) {
    struct mailfs_id fresh;
    int r = io_dirid_get(fd, id);
    if (r != -ENODATA)
        return r;
    r = mailfs_id_new(&fresh);
    if (r != 0)
        return r;
    r = io_dirid_set(fd, &fresh);
    if (r == -EEXIST) /* somebody else was faster: his it is */
        return io_dirid_get(fd, id);
    if (r == 0)
        *id = fresh;
    return r;
}
