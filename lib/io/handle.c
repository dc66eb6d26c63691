/*
 * handle - file handles as plain values
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BEING_MADE_MS 32 /* the last pause; with those before it twice as long */

/* struct file_handle ends in a flexible array: this is one with room. */
union handle_room {
    struct file_handle h;
    char room[sizeof(struct file_handle) + IO_HANDLE_MAX];
};

static int handle_get(int dirfd, const char *name, int flags, struct io_handle *out) {
    union handle_room u = {.room = {0}};
    int mount_id;
    u.h.handle_bytes = IO_HANDLE_MAX;
    if (name_to_handle_at(dirfd, name, &u.h, &mount_id, flags) != 0)
        return -errno;
    if (u.h.handle_bytes > IO_HANDLE_MAX || u.h.handle_type < 0 || u.h.handle_type > UINT8_MAX)
        return -EOVERFLOW;
    memset(out, 0, sizeof *out);
    out->len = (uint8_t)u.h.handle_bytes;
    out->type = (uint8_t)u.h.handle_type;
    memcpy(out->b, u.h.f_handle, out->len);
    return 0;
}

int io_handle_get(int dirfd, const char *name, struct io_handle *h) {
    return handle_get(dirfd, name, 0, h);
}

int io_handle_get_fd(int fd, struct io_handle *h) {
    return handle_get(fd, "", AT_EMPTY_PATH, h);
}

static int handle_open(int mountfd, union handle_room *u, int flags) {
    int fd = TEMP_FAILURE_RETRY(open_by_handle_at(mountfd, &u->h, flags | O_CLOEXEC));
    return fd < 0 ? -errno : fd;
}

/*
 * Of an inode that is gone, and whose number another one is being given at this moment, ext4 says
 * ENOMEM (iget_locked() finds an inode in the making, and has but one error). As soon as that one
 * is made it is ESTALE. That takes microseconds, or a reading of the disk. A kernel that has no
 * memory says so again.
 */
int io_handle_open(int mountfd, const struct io_handle *h, int flags) {
    union handle_room u = {.room = {0}};
    if (h->len == 0 || h->len > IO_HANDLE_MAX)
        return -EINVAL;
    u.h.handle_bytes = h->len;
    u.h.handle_type = h->type;
    memcpy(u.h.f_handle, h->b, h->len);
    int fd = handle_open(mountfd, &u, flags);
    for (long ms = 1; fd == -ENOMEM && ms <= BEING_MADE_MS; ms *= 2) {
        const struct timespec pause = {.tv_nsec = ms * 1000000};
        (void)nanosleep(&pause, NULL);
        fd = handle_open(mountfd, &u, flags);
    }
    return fd;
}
