/*
 * hold_look - what went and was not told: found in .mailfs/undo before a contact
 *
 * While syncd does not run, nobody counts; what it had counted before it was killed is forgotten,
 * too. But what is marked, in .mailfs/undo, and in the base of the link still, was removed here and
 * is about to be told.
 *
 * Diagnostics: none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "gone.h"
#include "hold_int.h"
#include "io/io.h"
#include "maildir/name.h"
#include "mem.h"
#include "store.h"
#include "util/array.h"
#include "util/str.h"

/* When the messages of one tree went. */
struct went {
    UT_hash_handle hh;
    struct mailfs_id tree;
    int64_t *at;
    size_t n;
};

struct looking {
    struct state *st;
    struct mailfs_id dir;
    char path[PATH_MAX];
    struct went *trees, *tree;
    int fd;
};

static void went_add(struct went *w, int64_t at) {
    w->at = array_room(w->at, w->n, sizeof(*w->at));
    if (!w->at)
        mem_out("what went");
    w->at[w->n++] = at;
}

static int one_message(void *arg, const char *name, unsigned char type) {
    struct looking *l = arg;
    char base[MAILDIR_NAME_MAX + 1];
    struct base_msg msg;
    struct stat sb;

    if (*name == '.' || fstatat(l->fd, name, &sb, AT_SYMLINK_NOFOLLOW) != 0 ||
        !gone_is(l->st, l->path + 1, name, &sb) ||
        str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name))) < 0 ||
        base_msg_get(l->st, BASE_AGREED, &l->dir, base, &msg) != 0)
        return 0;
    went_add(l->tree, sb.st_ctim.tv_sec);
    return 0;
}

static struct went *went_of(struct looking *l) {
    struct mailfs_id tree;
    struct went *w;

    hold_tree_of(l->st, &l->dir, &tree);
    HASH_FIND(hh, l->trees, &tree, sizeof(tree), w);
    if (!w) {
        w = mem_new(sizeof(*w));
        w->tree = tree;
        HASH_ADD(hh, l->trees, tree, sizeof(w->tree), w);
    }
    return w;
}

static void one_box(struct looking *l, const struct mailfs_id *dir) {
    char hex[MAILFS_ID_HEX];

    l->fd = io_open_beneath(l->st->undo, mailfs_id_format(dir, hex), O_RDONLY | O_DIRECTORY, 0);
    if (l->fd < 0)
        return;
    l->dir = *dir;
    l->tree = went_of(l);
    state_path(l->st, dir, l->path, sizeof(l->path));
    (void)store_each_name(l->fd, one_message, l);
    close(l->fd);
}

static int by_time(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t meant_until(struct state *st, const struct mailfs_id *tree) {
    struct holds *h = hold_top(st)->holds;
    struct hold_tree *t;
    int64_t until;

    pthread_mutex_lock(&h->mutex);
    HASH_FIND(hh, h->trees, tree, sizeof(*tree), t);
    until = t ? t->meant : 0;
    pthread_mutex_unlock(&h->mutex);
    return until;
}

static void weigh(struct state *st, struct went *w) {
    int64_t until = meant_until(st, &w->tree), since = 0;
    size_t i = 0, most;

    if (w->n)
        qsort(w->at, w->n, sizeof(*w->at), by_time);
    while (i < w->n && w->at[i] <= until)
        i++;
    most = brake_most_at_once(w->at + i, w->n - i, &since);
    hold_weigh(st, &w->tree, most, since);
}

int hold_look(struct state *st) {
    struct looking l = {.st = st};
    struct state_mark *marks = NULL;
    struct went *w, *tmp;
    size_t n = 0, i;
    int r = hold_counts(st) ? state_marks(st, UINT64_MAX, &marks, &n) : 0;

    for (i = 0; i < n; i++)
        one_box(&l, &marks[i].dir);
    free(marks);
    HASH_ITER(hh, l.trees, w, tmp) {
        weigh(st, w);
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the table */
        HASH_DEL(l.trees, w);
        free(w->at);
        free(w);
    }
    return r;
}
