/*
 * hold_end - a tree is held no longer: what was removed goes, or comes back
 *
 * Diagnostics: a message that cannot be put back, with its mailbox.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_int.h"
#include "base.h"
#include "gone.h"
#include "half.h"
#include "hold_int.h"
#include "index.h"
#include "io/io.h"
#include "maildir/name.h"
#include "mem.h"
#include "recent.h"
#include "store.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* A tree asked about. */
struct asked {
    UT_hash_handle hh;
    struct mailfs_id id;
    size_t number;
};

struct boxes {
    struct state *st;
    struct asked *trees;
    hold_box_fn *fn;
    void *arg;
};

static int is_missing(void *arg, const char *name, const struct base_msg *msg) {
    return index_find(arg, name) == NULL;
}

static bool lacks(struct state *st, const struct mailfs_id *dir) {
    struct index ix = {NULL};
    struct store_dir d;
    int r = store_dir_open(st, dir, &d);

    if (r < 0)
        return r == -ENOENT;
    r = index_read(st, &d, &ix);
    if (r == 0)
        r = base_each_msg(st, dir, is_missing, &ix);
    index_free(&ix);
    store_dir_close(&d);
    return r != 0;
}

static bool has_kept(struct state *st, const struct mailfs_id *dir) {
    char hex[MAILFS_ID_HEX];

    return faccessat(st->undo, mailfs_id_format(dir, hex), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static struct asked *asked_of(struct asked *trees, const struct mailfs_id *id) {
    struct asked *t;

    HASH_FIND(hh, trees, id, sizeof(*id), t);
    return t;
}

/* For each of the trees that it is in. */
static int tell(struct boxes *b, const struct mailfs_id *dir) {
    struct mailfs_id id = *dir;
    const struct asked *t;
    int depth = 0, r = 0;

    do {
        t = asked_of(b->trees, &id);
        if (t)
            r = b->fn(b->arg, t->number, dir);
    } while (r == 0 && depth++ < HOLD_DEPTH_MAX && hold_go_up(b->st, &id));
    return r;
}

static bool is_in_one(struct boxes *b, const struct mailfs_id *dir) {
    struct mailfs_id id = *dir;
    int depth = 0;

    do {
        if (asked_of(b->trees, &id))
            return true;
    } while (depth++ < HOLD_DEPTH_MAX && hold_go_up(b->st, &id));
    return false;
}

static int one_box(void *arg, const struct mailfs_id *id, const struct base_dir *rec) {
    struct boxes *b = arg;

    if (!is_in_one(b, id) || !(has_kept(b->st, id) || lacks(b->st, id)))
        return 0;
    return tell(b, id);
}

int hold_boxes(struct state *st, const struct mailfs_id *trees, size_t n, hold_box_fn *fn,
               void *arg) {
    struct asked *all = mem_new((n + 1) * sizeof(*all));
    struct boxes b = {.st = st, .fn = fn, .arg = arg};
    int r;

    for (size_t i = 0; i < n; i++) {
        all[i].id = trees[i];
        all[i].number = i;
        if (!asked_of(b.trees, &trees[i]))
            HASH_ADD(hh, b.trees, id, sizeof(all[i].id), &all[i]);
    }
    r = base_each_dir(st, one_box, &b);
    HASH_CLEAR(hh, b.trees);
    free(all);
    return r;
}

/* ---- back -------------------------------------------------------------------------- */

struct back {
    struct apply a;
    int64_t since;
    char path[PATH_MAX];
    int from;
    uint64_t n;
};

/* Where it was agreed to be, else, if it went since then and is nowhere else, as it was called. */
static int place_of(struct back *b, const char *kept, const struct stat *sb, int *sub,
                    char name[MAILDIR_NAME_MAX + 1]) {
    char base[MAILDIR_NAME_MAX + 1];
    struct base_msg msg;
    int r = str_copyn(base, sizeof(base), kept, maildir_name_base_len(kept, strlen(kept)));

    if (r < 0)
        return r;
    if (index_find(&b->a.ix, base))
        return -EEXIST;
    if (base_msg_get(b->a.st, BASE_AGREED, &b->a.dir, base, &msg) == 0) {
        *sub = msg.sub;
        return str_printf(name, MAILDIR_NAME_MAX + 1, "%s%s%s", base, *msg.info ? ":" : "",
                          msg.info);
    }
    if (sb->st_ctim.tv_sec < b->since || !gone_is(b->a.st, b->path + 1, kept, sb))
        return -ENOENT;
    *sub = strchr(kept, ':') ? MFP__SUB__CUR : MFP__SUB__NEW;
    return str_copy(name, MAILDIR_NAME_MAX + 1, kept);
}

static int one_message(void *arg, const char *kept, unsigned char type) {
    struct back *b = arg;
    char name[MAILDIR_NAME_MAX + 1];
    struct stat sb;
    int sub, fd, r;

    if (*kept == '.' || fstatat(b->from, kept, &sb, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    r = place_of(b, kept, &sb, &sub, name);
    fd = r == 0 ? store_sub_open(b->a.st, &b->a.d, sub, true) : r;
    if (fd >= 0)
        r = io_rename(b->from, kept, fd, name, RENAME_NOREPLACE);
    else
        r = fd;
    if (r < 0)
        return r == -EEXIST || r == -ENOENT ? 0 : r;
    b->n++;
    b->a.size_count++;
    b->a.size_bytes += sb.st_size;
    inval_add(&b->a.out->inval, &b->a.dir, sub, NULL, name, false);
    inval_poke(&b->a.out->inval, &b->a.dir, sub);
    return index_set(&b->a.ix, name, sub);
}

/* What was not kept here comes from the peer: without this the merge would take it for removed. */
static int forget_missing(void *arg, const char *name, const struct base_msg *msg) {
    const struct base_msg none = {.sub = MFP__SUB__SELF};
    struct back *b = arg;

    if (index_find(&b->a.ix, name))
        return 0;
    return base_msg_put(b->a.st, BASE_AGREED, &b->a.dir, name, &none);
}

/* That the base lacks something is noted in any case: what the peer has of a merge that it alone
 * carried out may be missing here, and in no base. */
static int leave_missing(struct back *b) {
    int r;

    recent_begin(b->a.st);
    r = base_each_msg(b->a.st, &b->a.dir, forget_missing, b);
    if (r == 0)
        r = base_lacking_note(b->a.st, &b->a.dir, false);
    recent_end(b->a.st);
    return r;
}

static int put_all(struct back *b) {
    uint64_t gen;
    int r = index_read(b->a.st, &b->a.d, &b->a.ix), r2;

    b->a.has_ix = r == 0;
    if (r == 0)
        r = state_mark_gen(b->a.st, &gen);
    if (r == 0)
        r = state_mark(b->a.st, &b->a.dir, gen); /* what comes back is told */
    if (r == 0)
        r = b->from < 0 ? 0 : store_each_name(b->from, one_message, b);
    if (r == 0)
        r = leave_missing(b);
    r2 = apply_maildirsize(&b->a);
    return r < 0 ? r : r2;
}

int hold_put_back(struct state *st, const struct mailfs_id *dir, int64_t since,
                  struct invals *inval, uint64_t *n) {
    struct apply_result res = {.suspect = false};
    struct back b = {.a = {.st = st, .dir = *dir, .out = &res}, .since = since};
    char hex[MAILFS_ID_HEX];
    int r;

    *n = 0;
    state_path(st, dir, b.path, sizeof(b.path));
    b.a.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    b.from = io_open_beneath(st->undo, mailfs_id_format(dir, hex), O_RDONLY | O_DIRECTORY, 0);
    if (b.from < 0 && b.from != -ENOENT)
        return b.from;
    half_forget(st, dir); /* what cannot be put back comes from the peer */
    r = store_dir_open(st, dir, &b.a.d);
    if (r == 0)
        r = put_all(&b);
    if (b.a.has_ix)
        index_free(&b.a.ix);
    store_dir_close(&b.a.d);
    if (b.from >= 0)
        close(b.from);
    *inval = res.inval;
    *n = b.n;
    return r < 0 ? state_fail(st, r, dir, "what was removed there cannot be put back") : 0;
}
