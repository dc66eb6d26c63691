/*
 * undo - expunged messages, kept for a while
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define TRIES_MAX 8 /* another process may take the directory away, or keep the same name */

int io_undo_open(int own) {
    int r = io_mkdir(own, IO_UNDO_NAME, 0700);

    if (r < 0 && r != -EEXIST)
        return r;
    return io_open_beneath(own, IO_UNDO_NAME, O_RDONLY | O_DIRECTORY, 0);
}

/* 1: it was made. 0: it was there. */
static int make_dir(int undo, const char *hex, const char *path) {
    int fd, r = io_mkdir(undo, hex, 0700);

    if (r < 0)
        return r == -EEXIST ? 0 : r;
    fd = io_open_beneath(undo, hex, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 1; /* taken away again already: made anew by the next try */
    (void)io_setxattr(fd, IO_UNDO_XATTR, path, strlen(path), 0); /* no more than a hint */
    close(fd);
    return 1;
}

/*
 * Never a rename over what is there: if that is another link of this file rename(2) does nothing.
 */
int io_undo_keep(int undo, const struct mailfs_id *dir, const char *path, int dirfd,
                 const char *name) {
    char hex[MAILFS_ID_HEX], to[MAILFS_ID_HEX + 256];
    int r = str_printf(to, sizeof to, "%s/%s", mailfs_id_format(dir, hex), name);

    for (int i = 0; r == 0 && i < TRIES_MAX; i++) {
        r = io_rename(dirfd, name, undo, to, RENAME_NOREPLACE);
        if (r == -EEXIST) {
            r = io_unlink(undo, to);
            r = r == -ENOENT ? 0 : r;
        } else if (r == -ENOENT) {
            r = make_dir(undo, hex, path);
            if (r == 0) /* so it is the message that is not there */
                return -ENOENT;
            if (r == -ENOENT) /* somebody has removed .mailfs/undo */
                return -ESTALE;
            r = r > 0 ? 0 : r;
        } else {
            return r;
        }
    }
    return r == 0 ? -EAGAIN : r;
}

int io_undo_keep_damaged(int undo, const struct mailfs_id *dir, const char *path, int dirfd,
                         const char *name) {
    char hex[MAILFS_ID_HEX], to[MAILFS_ID_HEX + 256];
    int r =
        str_printf(to, sizeof to, "%s/" IO_UNDO_DAMAGED "%.240s", mailfs_id_format(dir, hex), name);

    for (int i = 0; r == 0 && i < TRIES_MAX; i++) {
        r = io_link(dirfd, name, undo, to);
        if (r == -EEXIST) {
            r = io_unlink(undo, to); /* an earlier one of this name: that was repaired, too */
            r = r == -ENOENT ? 0 : r;
        } else if (r == -ENOENT) {
            r = make_dir(undo, hex, path);
            if (r == 0)
                return -ENOENT;
            r = r > 0 ? 0 : r;
        } else {
            return r;
        }
    }
    return r == 0 ? -EAGAIN : r;
}
