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
#include "maildir/subs.h"
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
    struct invals *inval;
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

/* ---- subscriptions ----------------------------------------------------------------- */

void pour_apply_begin(struct pour_apply *p, struct state *st, const struct store_dir *to) {
    memset(p, 0, sizeof(*p));
    p->a.st = st;
    p->a.dir = to->id;
    p->a.d = *to;
    p->a.out = &p->res;
}

int pour_apply_write(struct pour_apply *p, const char *name, const char *text, size_t n,
                     struct invals *inval) {
    int r = apply_write_control(&p->a, name, text, n);

    if (r == 0)
        inval_add(inval, &p->a.dir, MFP__SUB__SELF, name, name, true);
    apply_result_free(&p->res);
    return r;
}

static int read_subs(const struct store_dir *d, const char *name, struct maildir_subs **s) {
    char *text;
    size_t n;
    int r = io_file_read_at(d->fd[0], name, MAILDIR_SUBS_TEXT_MAX, &text, &n, NULL);

    if (r < 0)
        return r;
    r = maildir_subs_parse(text, n, s);
    free(text);
    return r;
}

static int write_subs(struct pour *p, struct pour_apply *to, const char *name,
                      const struct maildir_subs *s) {
    char *text;
    size_t n;
    int r = maildir_subs_format(s, &text, &n);

    if (r == 0) {
        r = pour_apply_write(to, name, text, n, p->inval);
        free(text);
    }
    return r;
}

/* The lines of both, in the order in which the other node will have them after the merge. */
static int pour_subs(struct pour *p, const char *name) {
    struct maildir_subs *mine = NULL, *theirs = NULL, *both = NULL, *all = NULL;
    struct pour_apply to;
    bool locked;
    int r;

    pour_apply_begin(&to, p->st, p->to);
    locked = apply_subs_lock(&to.a);
    r = read_subs(p->from, name, &mine);
    if (r == 0)
        r = read_subs(p->to, name, &theirs);
    if (r == 0)
        r = maildir_subs_merge(NULL, theirs, mine, '.', &both);
    if (r == 0)
        r = maildir_subs_merge(theirs, theirs, both, '.', &all);
    if (r == 0 && maildir_subs_count(all) > maildir_subs_count(theirs))
        r = write_subs(p, &to, name, all);
    if (locked)
        apply_subs_unlock(&to.a);
    maildir_subs_free(mine);
    maildir_subs_free(theirs);
    maildir_subs_free(both);
    maildir_subs_free(all);
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

static int pour_second_of(struct pour *p, const char *name, enum maildir_class cl) {
    int r = cl == MAILDIR_SUBSCRIPTIONS ? pour_subs(p, name) : -EBADMSG;

    return r == -EBADMSG || r == -EFBIG || r == -EISDIR || r == -EINVAL || r == -ELOOP
               ? pour_second_file(p, name) /* or it is not what it should be */
               : r;
}

/* Lists and tables are of messages; directories have moved already. */
static int pour_file(void *arg, const char *name, unsigned char type) {
    enum maildir_class cl = maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name));
    struct pour *p = arg;
    int r;

    if (type == DT_DIR || (cl != MAILDIR_OTHER && cl != MAILDIR_SUBSCRIPTIONS))
        return 0;
    r = io_rename(p->from->fd[0], name, p->to->fd[0], name, RENAME_NOREPLACE);
    if (r == -EEXIST)
        r = pour_second_of(p, name, cl);
    return r == -ENOENT ? 0 : r;
}

int pour_dir(struct state *st, struct store_dir *from, struct store_dir *to, struct invals *inval) {
    struct pour p = {.st = st, .from = from, .to = to, .inval = inval};
    int r = store_each_name(from->fd[0], pour_file, &p);

    return r == 0 ? pour_msgs(st, from, to, inval) : r;
}
