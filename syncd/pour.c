/*
 * pour: see pour.h. Messages are in pour_msgs.c.
 *
 * Diagnostics: of two files under one name the one that was kept.
 */
#include "pour.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "merge_int.h"
#include "pour_int.h"
#include "util/log.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif

#define COMPARED_MAX (1 << 20) /* a file that is longer is taken for another one */

struct pour {
    struct state *st;
    struct store_dir *from, *to;
};

static bool same_content(const struct pour *p, const char *name) {
    char *a = NULL, *b = NULL;
    size_t n = 0, k = 0;
    bool same = io_file_read_at(p->from->fd[0], name, COMPARED_MAX, &a, &n, NULL) == 0 &&
                io_file_read_at(p->to->fd[0], name, COMPARED_MAX, &b, &k, NULL) == 0 && n == k &&
                memcmp(a, b, n) == 0;

    free(a);
    free(b);
    return same;
}

static bool is_older(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static int keep(struct pour *p, const char *name, const char *which) {
    char path[256];
    int r = merge_keep(p->st, p->from->fd[0], name, 'l', true);

    if (r == 0)
        log_warn("%s: %s was in both of two directories that are one now; %s is in .mailfs/kept/",
                 state_path(p->st, &p->to->id, path, sizeof(path)), name, which);
    return r;
}

/* As in a merge of files: the newer has the name, the older is for the administrator. A directory
 * stays where it is, with what is in it. */
static int pour_second_file(struct pour *p, const char *name) {
    int from = p->from->fd[0], to = p->to->fd[0], r = 0;
    struct stat mine, theirs;

    if (fstatat(from, name, &mine, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (fstatat(to, name, &theirs, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? -ESTALE : -errno;
    if (S_ISDIR(theirs.st_mode))
        return keep(p, name, "the one that is no directory");
    if (same_content(p, name))
        return 0;
    if (is_older(&theirs.st_mtim, &mine.st_mtim))
        r = io_rename(from, name, to, name, RENAME_EXCHANGE);
    return r == 0 ? keep(p, name, "the older version") : r == -ENOENT ? -ESTALE : r;
}

/* Lists and tables are of messages; directories have moved already. */
static int pour_file(void *arg, const char *name, unsigned char type) {
    struct pour *p = arg;
    int r;

    if (type == DT_DIR ||
        maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) != MAILDIR_OTHER)
        return 0;
    r = io_rename(p->from->fd[0], name, p->to->fd[0], name, RENAME_NOREPLACE);
    if (r == -EEXIST)
        r = pour_second_file(p, name);
    return r == -ENOENT ? 0 : r;
}

int pour_dir(struct state *st, struct store_dir *from, struct store_dir *to, struct invals *inval) {
    struct pour p = {.st = st, .from = from, .to = to};
    int r = store_each_name(from->fd[0], pour_file, &p);

    return r == 0 ? pour_msgs(st, from, to, inval) : r;
}
