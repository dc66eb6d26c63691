/*
 * content_open: what the peer asks for, opened for reading.
 *
 * Of messages and of files that are no mail, never of what belongs to one node only.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "content_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "hold.h"
#include "io/io.h"
#include "maildir/class.h"
#include "store.h"

static int open_plain(int dirfd, const char *name, int *fd, struct stat *sb, char **link) {
    char target[4096];
    ssize_t n;
    int r;

    if (fstatat(dirfd, name, sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISLNK(sb->st_mode)) {
        n = readlinkat(dirfd, name, target, sizeof(target) - 1);
        if (n < 0)
            return -errno;
        target[n] = '\0';
        *link = strdup(target);
        return *link ? 0 : -ENOMEM;
    }
    if (!S_ISREG(sb->st_mode))
        return -EINVAL;
    r = io_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
    if (r < 0)
        return r;
    *fd = r;
    return fstat(r, sb) < 0 ? -errno : 0;
}

/*
 * Under the name that the peer was told. Without it all names are read for each message that no
 * base knows: of a mailbox of 250 a third of the sender's system calls, of a larger one more.
 */
static int open_as_told(struct state *st, struct store_dir *d, const struct content_want *w,
                        int *fd, struct stat *sb, char **link) {
    const int subs[] = {MFP__SUB__CUR, MFP__SUB__NEW};
    char buf[MAILDIR_NAME_MAX + 1];
    const char *name = content_full_name(w->name, w->info, buf);
    size_t i;
    int dirfd, r = -ENOENT;

    for (i = 0; r == -ENOENT && i < 2; i++) {
        dirfd = store_sub_open(st, d, subs[i], false);
        if (dirfd >= 0)
            r = open_plain(dirfd, name, fd, sb, link);
    }
    return r;
}

/* One that is held back here, and that the other node does not have: it is a new one. */
static int open_kept(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                     struct stat *sb, char **link) {
    char buf[MAILDIR_NAME_MAX + 1], name[MAILDIR_NAME_MAX + 1];
    int kept = hold_kept_dir(st, &d->id), r;

    if (kept < 0)
        return kept;
    r = hold_kept_find(kept, w->name, content_full_name(w->name, w->info, buf), name);
    if (r == 0)
        r = open_plain(kept, name, fd, sb, link);
    close(kept);
    return r;
}

/* A message wherever it is. It can be renamed between finding and opening: three tries. */
static int open_by_base(struct state *st, struct store_dir *d, const struct content_want *w,
                        int *fd, struct stat *sb, char **link) {
    char found[MAILDIR_NAME_MAX + 1], hint[MAILDIR_NAME_MAX + 1];
    const char *base = w->name;
    int tries, sub, r = w->info ? open_as_told(st, d, w, fd, sb, link) : -ENOENT;

    for (tries = 0; tries < 3 && r == -ENOENT; tries++) {
        r = store_msg_find(st, d, base, content_hint(st, &d->id, base, hint), &sub, found);
        if (r == -ENOENT)
            continue; /* a listing can miss a name that is being changed */
        if (r < 0)
            return r;
        r = open_plain(d->fd[sub], found, fd, sb, link);
    }
    if (r == -ENOENT && hold_covers(st, &d->id))
        r = open_kept(st, d, w, fd, sb, link);
    return r;
}

static int open_in(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                   struct stat *sb, char **link) {
    const char *name = w->name;
    size_t n = strlen(name);
    int r, sub = w->sub;

    if (sub == MFP__SUB__SELF) {
        if (maildir_name_check(name, n, MAILDIR_NAME_COMPONENT) < 0)
            return -EINVAL;
        if (maildir_class_is_local(maildir_class_of(MAILDIR_DIR_CONTAINER, name, n)))
            return -EACCES;
        return open_plain(d->fd[0], name, fd, sb, link);
    }
    if (maildir_name_check(name, n, w->by_base ? MAILDIR_NAME_BASE : MAILDIR_NAME_MESSAGE) < 0 ||
        sub == MFP__SUB__TMP)
        return -EINVAL;
    if (w->by_base)
        return open_by_base(st, d, w, fd, sb, link);
    r = store_sub_open(st, d, sub, false);
    return r < 0 ? r : open_plain(r, name, fd, sb, link);
}

int content_open_in(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                    struct stat *sb, char **link) {
    int r;

    *fd = -1;
    *link = NULL;
    r = open_in(st, d, w, fd, sb, link);
    if (r < 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

int content_open(struct state *st, const struct content_want *w, int *fd, struct stat *sb,
                 char **link) {
    struct store_dir d;
    int r;

    *fd = -1;
    *link = NULL;
    r = store_dir_open(st, &w->dir, &d);
    if (r < 0)
        return r;
    r = content_open_in(st, &d, w, fd, sb, link);
    store_dir_close(&d);
    return r;
}
