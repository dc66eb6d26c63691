/*
 * numbers - the uidlist synced when nobody else has its numbers
 *
 * Diagnostics: none; errors are returned.
 */
#include "numbers.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"

#define LIST "dovecot-uidlist"

void numbers_look(int container, struct numbers *out) {
    struct stat st;
    memset(out, 0, sizeof *out);
    if (fstatat(container, LIST, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    out->ino = st.st_ino;
    out->size = st.st_size;
    out->mtime = st.st_mtim;
}

static bool same(const struct numbers *a, const struct numbers *b) {
    return a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
           a->mtime.tv_nsec == b->mtime.tv_nsec;
}

int numbers_sync(int container, const struct numbers *was) {
    struct numbers now;
    numbers_look(container, &now);
    if (now.ino == 0 || same(was, &now))
        return 0;
    int fd = io_open_beneath(container, LIST, O_RDONLY | O_NOFOLLOW, 0);
    int r = fd < 0 ? fd : io_fdatasync(fd);
    if (r == 0 && now.ino != was->ino)
        r = io_fsync(container); /* it was replaced */
    if (fd >= 0)
        close(fd);
    return r;
}

int numbers_distrust(int container, const struct numbers *was) {
    struct numbers now;
    numbers_look(container, &now);
    if (now.ino == 0 || same(was, &now))
        return 0;
    struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, now.mtime};
    if (++ts[1].tv_nsec == 1000000000)
        ts[1] = (struct timespec){.tv_sec = ts[1].tv_sec + 1};
    return io_utimens(container, LIST, ts);
}
