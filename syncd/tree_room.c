/*
 * tree_room: is there room for what a merge of the directory trees has to make?
 *
 * As long as that merge fails nothing at all is applied, so it is looked for before one is begun.
 * What is free on the disk does not say it all: a quota of the file system's counts what its owner
 * has, and who serves all of them meets each one's. And a disk can be damaged in one directory.
 *
 * No diagnostics.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/io.h"
#include "maildir/class.h"
#include "merge_run.h"
#include "state_int.h"
#include "store.h"

#define ROOM     (UINT64_C(16) << 20) /* bytes, for what a merge may have to make */
#define OWN_ROOM (1 << 20)            /* of it by one owner */

static int fill(int fd) {
    static const char zeros[64 << 10];
    int at, r = 0;

    for (at = 0; r == 0 && at < OWN_ROOM; at += (int)sizeof(zeros))
        r = io_pwrite_all(fd, zeros, sizeof(zeros), at);
    return r;
}

/* By a file of his, out of sight, which has no name any more when it is written to. */
static int owner_room(struct state *st, const struct stat *of) {
    char name[STAGE_TEMP_MAX];
    int fd, r;

    stage_temp_name(st, name);
    fd = io_open_beneath(st->stage, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fd;
    r = io_unlink(st->stage, name);
    if (r == 0 && geteuid() == 0)
        r = io_fchown(fd, of->st_uid, of->st_gid);
    if (r == 0)
        r = fill(fd);
    close(fd);
    return r;
}

/* Two may look at once, and the one remove what the other has made. */
static int make_one(int in, const char *name) {
    int r = io_mkdir(in, name, 0700);

    if (r == 0 || r == -EEXIST)
        r = io_rmdir(in, name);
    return r == -ENOENT ? 0 : r;
}

/* Can a directory be made in it? The mount does not show one of that name. Not here: then it is one
 * of those that are to be made, and what it is to be in has been asked. */
static int look_into(struct state *st, const struct mailfs_id *id, struct stat *sb) {
    struct store_dir d;
    int r = store_dir_open(st, id, &d);

    if (r == 0 && fstat(d.fd[0], sb) < 0)
        r = -errno;
    if (r == 0 && !st->read_only)
        r = make_one(d.fd[0], MAILDIR_INTERNAL_NAME "-room");
    store_dir_close(&d);
    return r;
}

static int owners_room(struct state *st, const struct mailfs_id *in, size_t n) {
    struct stat sb, last;
    bool some = false;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        r = look_into(st, &in[i], &sb);
        if (r == -ENOENT) {
            r = 0;
            continue;
        }
        if (r == 0 && !(some && sb.st_uid == last.st_uid && sb.st_gid == last.st_gid))
            r = owner_room(st, &sb);
        last = sb;
        some = true;
    }
    return r;
}

int tree_merge_room(struct state *st, const struct mailfs_id *in, size_t n) {
    int r = make_one(st->trash, "room");

    if (r == 0 && io_lacks(st->root, ROOM))
        r = -ENOSPC;
    return r == 0 ? owners_room(st, in, n) : r;
}
