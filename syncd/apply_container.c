/*
 * apply_container: containers as a whole, for what the peer did and for the merge of the trees.
 *
 * A container is made out of sight, with its id, and then given its name; it is removed by moving
 * it out of sight first. So whoever looks sees all of it or nothing, and a crash leaves only what
 * lies in .mailfs/trash.
 *
 * No diagnostics.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "apply_int.h"
#include "io/dirid.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/uidlist.h"
#include "util/str.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

int apply_place_of(struct state *st, int fd, struct mailfs_id *parent, int *parent_fd,
                   char name[MAILDIR_NAME_MAX + 1]) {
    char link[64], path[4096], *slash;
    struct stat sb;
    ssize_t n;
    int up, r;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash || str_copy(name, MAILDIR_NAME_MAX + 1, slash + 1) < 0)
        return -ENAMETOOLONG;
    up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (up < 0)
        return -errno;
    r = fstat(up, &sb) < 0 ? -errno : 0;
    if (r == 0 && sb.st_ino == st->root_ino && sb.st_dev == st->dev)
        *parent = mailfs_id_root;
    else if (r == 0)
        r = io_dirid_get(up, parent);
    if (r < 0 || !parent_fd)
        close(up);
    else
        *parent_fd = up;
    return r;
}

int apply_set_attr(int fd, uint32_t mode, uint32_t uid, uint32_t gid) {
    int r = geteuid() == 0 ? io_fchown(fd, uid, gid) : 0;

    return r == 0 ? io_fchmod(fd, mode & 02777) : r;
}

/* Durable, before anybody sees it. */
static int begin_list(struct state *st, int fd, uint32_t validity) {
    struct io_file_attr attr = {.set_owner = geteuid() == 0, .has_tmpdir = 1, .tmpdir = st->stage};
    struct maildir_uidlist *list = NULL;
    char *text = NULL;
    struct stat sb;
    size_t n;
    int r = fstat(fd, &sb) < 0 ? -errno : maildir_uidlist_new(validity, 1, NULL, &list);

    if (r == 0)
        r = maildir_uidlist_format(list, &text, &n);
    if (r == 0) {
        attr.mode = sb.st_mode & 0666;
        attr.uid = sb.st_uid;
        attr.gid = sb.st_gid;
        r = io_file_replace_at(fd, "dovecot-uidlist", text, n, &attr);
    }
    free(text);
    maildir_uidlist_free(list);
    return r;
}

int apply_make_container(struct state *st, int parent, const struct new_container *c) {
    char temp[MAILFS_ID_HEX + 8], hex[MAILFS_ID_HEX];
    int r, fd;

    snprintf(temp, sizeof(temp), "make-%s", mailfs_id_format(c->id, hex));
    r = io_mkdir(st->trash, temp, 0700);
    if (r < 0 && r != -EEXIST)
        return r;
    fd = io_open_beneath(st->trash, temp, DIR_FLAGS, 0);
    if (fd < 0)
        return fd;
    r = io_dirid_replace(fd, c->id);
    if (r == 0 && c->has_meta)
        r = apply_set_attr(fd, c->mode, c->uid, c->gid);
    if (r == 0 && c->validity)
        r = begin_list(st, fd, c->validity);
    if (r == 0)
        r = io_rename(st->trash, temp, parent, c->name, RENAME_NOREPLACE);
    if (r < 0 && c->validity)
        io_unlink(fd, "dovecot-uidlist");
    close(fd);
    if (r < 0)
        io_rmdir(st->trash, temp);
    else
        alias_end(st, c->id);
    return r;
}

static int remove_below(int fd, int depth);

struct below {
    int fd, depth;
};

static int remove_name(void *arg, const char *name, unsigned char type) {
    struct below *b = arg;
    int fd, r;

    if (type != DT_DIR) {
        r = io_unlink(b->fd, name);
        return r == -ENOENT ? 0 : r;
    }
    fd = io_open_beneath(b->fd, name, DIR_FLAGS, 0);
    if (fd < 0)
        return fd;
    r = remove_below(fd, b->depth + 1);
    close(fd);
    return r == 0 ? io_rmdir(b->fd, name) : r;
}

static int remove_below(int fd, int depth) {
    struct below b = {fd, depth};

    return depth > 64 ? -ELOOP : store_each_name(fd, remove_name, &b);
}

int apply_remove_tree(struct state *st, int parent, const char *name) {
    char temp[MAILFS_ID_HEX + 8], hex[MAILFS_ID_HEX];
    struct mailfs_id id;
    int r = mailfs_id_new(&id), fd;

    if (r < 0)
        return r;
    snprintf(temp, sizeof(temp), "gone-%s", mailfs_id_format(&id, hex));
    r = io_rename(parent, name, st->trash, temp, RENAME_NOREPLACE);
    if (r < 0)
        return r;
    fd = io_open_beneath(st->trash, temp, DIR_FLAGS, 0);
    if (fd < 0)
        return fd;
    r = remove_below(fd, 0);
    close(fd);
    return r == 0 ? io_rmdir(st->trash, temp) : r;
}
