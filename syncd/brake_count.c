/*
 * brake_count - what went lately, from what .mailfs/undo keeps
 *
 * Only directories there that were changed since are read. A message that has another name still
 * (it was moved, it went to several users) has not gone.
 *
 * Diagnostics: none; what cannot be read is not counted.
 */
#include "brake_count.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "gone.h"
#include "io/io.h"
#include "io/undo.h"
#include "mem.h"
#include "replica/brake.h"
#include "state_int.h"
#include "store.h"
#include "util/str.h"

#define DEPTH_MAX 64

struct tree {
    struct brake_counted out;
    int64_t from;
    bool asked; /* by brake_count_from() */
};

/* A directory of undo/. */
struct box {
    char *path; /* of the mailbox */
    char hex[MAILFS_ID_HEX];
};

struct brake_count {
    struct state *st;
    int64_t from, earliest;
    uint64_t hint; /* of the volume's messages; 0: none */
    unsigned percent;
    struct tree *trees; /* the first: the volume */
    size_t n_trees;
    struct box *boxes;
    size_t n_boxes;
    const char **paths; /* of the boxes, sorted */
    struct brake_counted *result;
    size_t n_result;
    /* while a box is read */
    const char *path;
    int fd;
    struct tree *tree;
};

static struct tree *tree_of(struct brake_count *c, const char *path, size_t len) {
    struct tree *v;

    for (size_t i = 0; i < c->n_trees; i++)
        if (strlen(c->trees[i].out.path) == len && memcmp(c->trees[i].out.path, path, len) == 0)
            return &c->trees[i];
    v = realloc(c->trees, (c->n_trees + 1) * sizeof *v);
    if (v == NULL)
        mem_out("trees");
    c->trees = v;
    v = &c->trees[c->n_trees++];
    *v = (struct tree){.out = {.path = mem_copy(path, len)}, .from = c->from};
    return v;
}

struct brake_count *brake_count_new(struct state *st, int64_t from) {
    struct brake_count *c = mem_new(sizeof *c);

    c->st = st;
    c->from = c->earliest = from;
    tree_of(c, "", 0);
    return c;
}

void brake_count_from(struct brake_count *c, const char *path, int64_t from) {
    struct tree *t = tree_of(c, path, strlen(path));

    if (!t->asked || from > t->from)
        t->from = from;
    t->asked = true;
    c->earliest = from < c->earliest ? from : c->earliest;
}

void brake_count_hint(struct brake_count *c, uint64_t present, unsigned percent) {
    c->hint = present;
    c->percent = percent;
}

/* ---- what went --------------------------------------------------------------------- */

static int add_box(void *arg, const char *name, unsigned char type) {
    struct brake_count *c = arg;
    char path[PATH_MAX];
    struct stat sb;
    struct box *v;
    ssize_t n;
    int fd;

    if (type != DT_DIR || strlen(name) >= MAILFS_ID_HEX)
        return 0;
    fd = io_open_beneath(c->st->undo, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return 0;
    n = fstat(fd, &sb) == 0 && sb.st_mtim.tv_sec >= c->earliest
            ? fgetxattr(fd, IO_UNDO_XATTR, path, sizeof path - 1)
            : -1;
    close(fd);
    if (n < 0 || memchr(path, '\n', (size_t)n) != NULL)
        return 0;
    path[n] = '\0';
    v = realloc(c->boxes, (c->n_boxes + 1) * sizeof *v);
    if (v == NULL)
        mem_out("mailboxes");
    c->boxes = v;
    v = &c->boxes[c->n_boxes++];
    v->path = mem_strdup(path);
    str_copy(v->hex, sizeof v->hex, name);
    return 0;
}

static void count_in(struct tree *t, int64_t went) {
    if (went < t->from)
        return;
    t->out.removed++;
    if (t->out.since == 0 || went < t->out.since)
        t->out.since = went;
}

static int count_one(void *arg, const char *name, unsigned char type) {
    struct brake_count *c = arg;
    struct stat sb;

    if (*name == '.' || fstatat(c->fd, name, &sb, AT_SYMLINK_NOFOLLOW) != 0 ||
        !gone_is(c->st, c->path, name, &sb))
        return 0;
    count_in(c->tree, sb.st_ctim.tv_sec);
    if (sb.st_ctim.tv_sec >= c->tree->from) /* not what was meant there */
        count_in(&c->trees[0], sb.st_ctim.tv_sec);
    return 0;
}

static bool is_mailbox(void *arg, const char *path, size_t len) {
    const struct brake_count *c = arg;
    char cur[PATH_MAX];

    return len < sizeof cur - 8 && str_printf(cur, sizeof cur, "%.*s/cur", (int)len, path) == 0 &&
           faccessat(c->st->root, cur, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void count_box(struct brake_count *c, const struct box *box) {
    size_t len = brake_tree_of(box->path, c->paths, c->n_boxes, is_mailbox, c);

    c->tree = tree_of(c, box->path, len);
    c->path = box->path;
    c->fd = io_open_beneath(c->st->undo, box->hex, O_RDONLY | O_DIRECTORY, 0);
    if (c->fd < 0)
        return;
    (void)store_each_name(c->fd, count_one, c);
    close(c->fd);
}

/* ---- what is there ----------------------------------------------------------------- */

struct walk {
    int fd, depth;
    uint64_t n;
};

static int count_name(void *arg, const char *name, unsigned char type) {
    uint64_t *n = arg;

    *n += type == DT_REG;
    return 0;
}

static int walk_name(void *arg, const char *name, unsigned char type) {
    struct walk *w = arg, below = {.depth = w->depth + 1};
    bool messages = strcmp(name, "cur") == 0 || strcmp(name, "new") == 0;

    if (type != DT_DIR || strcmp(name, ".mailfs") == 0 || strcmp(name, "tmp") == 0 ||
        w->depth >= DEPTH_MAX)
        return 0;
    below.fd = io_open_beneath(w->fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (below.fd < 0)
        return 0;
    (void)(messages ? store_each_name(below.fd, count_name, &below.n)
                    : store_each_name(below.fd, walk_name, &below));
    close(below.fd);
    w->n += below.n;
    return 0;
}

uint64_t brake_present(struct state *st, const char *path) {
    struct walk w = {.fd =
                         io_open_beneath(st->root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0)};

    if (w.fd < 0)
        return 0;
    (void)store_each_name(w.fd, walk_name, &w);
    close(w.fd);
    return w.n;
}

/* ---- all --------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void brake_count_run(struct brake_count *c) {
    (void)store_each_name(c->st->undo, add_box, c);
    c->paths = mem_new((c->n_boxes + 1) * sizeof *c->paths);
    for (size_t i = 0; i < c->n_boxes; i++)
        c->paths[i] = c->boxes[i].path;
    qsort(c->paths, c->n_boxes, sizeof *c->paths, by_path);
    for (size_t i = 0; i < c->n_boxes; i++)
        count_box(c, &c->boxes[i]);
    c->result = mem_new((c->n_trees + 1) * sizeof *c->result);
    for (size_t i = 0; i < c->n_trees; i++) {
        struct tree *t = &c->trees[i];
        if (t->out.removed < BRAKE_FLOOR && !t->asked)
            continue;
        if (i == 0 && c->hint > 0 && !brake_trips((c->percent + 1) / 2, t->out.removed, c->hint))
            t->out.present = c->hint;
        else if (t->out.removed >= BRAKE_FLOOR)
            t->out.present = brake_present(c->st, t->out.path);
        c->result[c->n_result++] = t->out;
    }
}

const struct brake_counted *brake_count_result(const struct brake_count *c, size_t *n) {
    *n = c->n_result;
    return c->result;
}

void brake_count_free(struct brake_count *c) {
    for (size_t i = 0; i < c->n_trees; i++)
        free(c->trees[i].out.path);
    for (size_t i = 0; i < c->n_boxes; i++)
        free(c->boxes[i].path);
    free(c->trees);
    free(c->boxes);
    free(c->paths);
    free(c->result);
    free(c);
}
