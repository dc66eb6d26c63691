/*
 * apply_twin: a message gets the name of its state, and nothing loses its own by that.
 *
 * Two files of one base name in a mailbox ("x:2," and "x:2,S") are one message to everybody but
 * Dovecot, which gives one of them another name when it meets both. Until then a change of the one
 * can lead to the name that the other has, and rename(2) would put it in its place.
 *
 * No diagnostics.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_int.h"
#include "io/hash.h"
#include "io/io.h"
#include "maildir/name.h"
#include "replica/merge.h"
#include "stage_private.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* "base:info"; without what would make it too long. */
static int name_with(const char *base, const char *info, char out[MAILDIR_NAME_MAX + 1]) {
    int r = -EINVAL;

    if (*info)
        r = maildir_name_format_info(out, MAILDIR_NAME_MAX + 1, base, strlen(base), info,
                                     strlen(info));
    return r < 0 ? str_copy(out, MAILDIR_NAME_MAX + 1, base) : 0;
}

/* -EEXIST: there is such a message. */
static int rename_to_base(struct apply *a, int sub, const char *name, const char *base) {
    char as[MAILDIR_NAME_MAX + 1], there[MAILDIR_NAME_MAX + 1];
    const char *info = name + maildir_name_base_len(name, strlen(name));
    int fd = a->d.fd[sub], at, r = store_msg_find(a->st, &a->d, base, NULL, &at, there);

    if (r != -ENOENT)
        return r < 0 ? r : -EEXIST;
    r = name_with(base, *info ? info + 1 : "", as);
    if (r == 0)
        r = io_rename(fd, name, fd, as, RENAME_NOREPLACE);
    if (r < 0)
        return r;
    inval_add(&a->out->inval, &a->dir, sub, name, as, false);
    inval_poke(&a->out->inval, &a->dir, sub);
    return a->has_ix ? index_set(&a->ix, as, sub) : 0;
}

int apply_make_way(struct apply *a, int sub, const char *name) {
    char base[MAILDIR_NAME_MAX + 1], next[MAILDIR_NAME_MAX + 1];
    struct stat sb;
    int r = str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name)));

    if (r < 0)
        return r;
    if (fstatat(a->d.fd[sub], name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    do {
        merge_split_name(base, (uint64_t)sb.st_size, next);
        str_copy(base, sizeof(base), next);
        r = rename_to_base(a, sub, name, base);
    } while (r == -EEXIST);
    return r;
}

/* 1: the same bytes. */
static int compare(int x, int y) {
    uint8_t of_x[IO_HASH_BYTES], of_y[IO_HASH_BYTES];
    struct stat sx, sy;
    int r;

    if (fstat(x, &sx) < 0 || fstat(y, &sy) < 0)
        return -errno;
    if (sx.st_size != sy.st_size)
        return 0;
    r = io_hash_fd(x, of_x);
    if (r == 0)
        r = io_hash_fd(y, of_y);
    return r == 0 ? memcmp(of_x, of_y, sizeof(of_x)) == 0 : r;
}

int apply_is_message(int dir, const char *name, int stage, const char *file) {
    int x, y, r;

    if (stage_is_same_file(dir, name, stage, file))
        return 1;
    x = io_open_beneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    y = io_open_beneath(stage, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    r = x == -ELOOP ? 0 : x < 0 ? x : y < 0 ? y : compare(x, y);
    if (x >= 0)
        close(x);
    if (y >= 0)
        close(y);
    return r;
}

int apply_rename(struct apply *a, int from_sub, const char *from, int sub, const char *name) {
    int old = store_sub_open(a->st, &a->d, from_sub, false);
    int fd = store_sub_open(a->st, &a->d, sub, true), r, made;

    if (old < 0 || fd < 0)
        return old < 0 ? old : fd;
    r = io_rename(old, from, fd, name, RENAME_NOREPLACE);
    if (r != -EEXIST)
        return r;
    if (old == fd && strcmp(from, name) == 0)
        return 0;                                  /* the only name it has */
    if (stage_is_same_file(old, from, fd, name)) { /* rename(2) leaves both */
        r = io_fsync(fd);
        return r == 0 ? io_unlink(old, from) : r;
    }
    made = apply_make_way(a, sub, name);
    if (made < 0 && made != -ENOENT) /* or by itself, meanwhile */
        return made;
    r = io_rename(old, from, fd, name, RENAME_NOREPLACE);
    return r == 0 && made == 0 ? 1 : r;
}
