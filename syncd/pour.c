/*
 * pour: see pour.h.
 *
 * Diagnostics: of two files under one name the older one was kept.
 */
#include "pour.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply_int.h"
#include "index.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "maildir/name.h"
#include "merge_int.h"
#include "replica/merge.h"
#include "util/log.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif

#define COMPARED_MAX (1 << 20) /* a file that is longer is taken for another one */

struct pour {
    struct state *st;
    struct store_dir *from, *to;
    struct index ix; /* of `to` */
    int sub, from_fd, to_fd;
};

static int move(struct pour *p, const char *name, const char *as) {
    int r = io_rename(p->from_fd, name, p->to_fd, as, RENAME_NOREPLACE);

    return r == -EEXIST || r == -ENOENT ? 0 : r;
}

static bool same_content(const struct pour *p, const char *name) {
    char *a = NULL, *b = NULL;
    size_t n = 0, k = 0;
    bool same = io_file_read_at(p->from_fd, name, COMPARED_MAX, &a, &n, NULL) == 0 &&
                io_file_read_at(p->to_fd, name, COMPARED_MAX, &b, &k, NULL) == 0 && n == k &&
                memcmp(a, b, n) == 0;

    free(a);
    free(b);
    return same;
}

static bool is_older(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* As in a merge of files: the newer has the name, the older is for the administrator. */
static int pour_second_file(struct pour *p, const char *name) {
    struct stat mine, theirs;
    char path[256];
    int r = 0;

    if (same_content(p, name) || fstatat(p->from_fd, name, &mine, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (fstatat(p->to_fd, name, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_older(&theirs.st_mtim, &mine.st_mtim))
        r = io_rename(p->from_fd, name, p->to_fd, name, RENAME_EXCHANGE);
    if (r == 0)
        r = merge_keep(p->st, p->from_fd, name, 'l', true);
    if (r == 0)
        log_warn("%s: %s was in both of two directories that are one now; the older version is in "
                 ".mailfs/kept/",
                 state_path(p->st, &p->to->id, path, sizeof(path)), name);
    return r == -ENOENT ? 0 : r;
}

/* Lists and tables are of messages; directories have moved already. */
static int pour_file(void *arg, const char *name, unsigned char type) {
    struct pour *p = arg;
    int r;

    if (type == DT_DIR ||
        maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) != MAILDIR_OTHER)
        return 0;
    r = io_rename(p->from_fd, name, p->to_fd, name, RENAME_NOREPLACE);
    if (r == -EEXIST)
        r = pour_second_file(p, name);
    return r == -ENOENT ? 0 : r;
}

static int size_of(int fd, const char *name, off_t *size) {
    struct stat sb;

    if (fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    *size = sb.st_size;
    return 0;
}

/* Two of one base name in a mailbox are one message to everybody but Dovecot, which renames one of
 * them on this node alone. */
static int pour_second(struct pour *p, const char *name, const char *base,
                       const struct index_msg *have) {
    char own[MAILDIR_NAME_MAX + 1], as[MAILDIR_NAME_MAX + 1];
    off_t mine = 0, theirs = 0;
    int r = size_of(p->from_fd, name, &mine);

    if (r == 0)
        r = size_of(store_sub_open(p->st, p->to, have->sub, false), have->name, &theirs);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (mine == theirs)
        return apply_drop(p->st, &p->from->id, p->from_fd, name, true);
    merge_split_name(base, (uint64_t)mine, own);
    r = str_printf(as, sizeof(as), "%s%s", own, name + strlen(base));
    return r < 0 ? r : move(p, name, as);
}

static int pour_msg(void *arg, const char *name, unsigned char type) {
    struct pour *p = arg;
    char base[MAILDIR_NAME_MAX + 1];
    const struct index_msg *have;
    int r = str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name)));

    if (r < 0)
        return r;
    have = type == DT_REG ? index_find(&p->ix, base) : NULL;
    if (have)
        return pour_second(p, name, base, have);
    r = move(p, name, name);
    return r == 0 && type == DT_REG ? index_set(&p->ix, name, p->sub) : r;
}

static int pour_part(struct pour *p) {
    p->from_fd = store_sub_open(p->st, p->from, p->sub, false);
    if (p->from_fd < 0)
        return 0;
    p->to_fd = store_sub_open(p->st, p->to, p->sub, p->sub != MFP__SUB__SELF);
    if (p->to_fd < 0)
        return p->to_fd;
    return store_each_name(p->from_fd, p->sub == MFP__SUB__SELF ? pour_file : pour_msg, p);
}

int pour_dir(struct state *st, struct store_dir *from, struct store_dir *to) {
    struct pour p = {.st = st, .from = from, .to = to};
    int r = index_read(st, to, &p.ix);

    for (p.sub = MFP__SUB__SELF; r == 0 && p.sub <= MFP__SUB__CUR; p.sub++)
        r = pour_part(&p);
    index_free(&p.ix);
    return r;
}
