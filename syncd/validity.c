/*
 * validity: what Dovecot takes UIDVALIDITYs from.
 *
 * It renames the file whose name has the current value to the next one, which is what makes taking
 * one atomic, and writes it into dovecot-uidvalidity then. So the name goes up before the file does
 * here too: who finds the name gone looks for the highest, and nobody counts on from a lower one.
 *
 * No diagnostics but of the callers.
 */
#include "validity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/io.h"
#include "maildir/uidvalidity.h"
#include "util/clock.h"
#include "util/str.h"

#define DEPTH_MAX 8 /* Maildir++: the user's INBOX is the parent of all folders */
#define TRIES_MAX 20

/* The names dovecot-uidvalidity.XXXXXXXX of a container. */
struct counted {
    struct apply *a;
    uint32_t top; /* the highest of them; 0: there is none */
    char name[MAILDIR_UIDVALIDITY_NAME_MAX];
};

static int find_top(void *arg, const char *name, unsigned char type) {
    struct counted *c = arg;
    uint32_t v;

    if (maildir_uidvalidity_from_name(name, strlen(name), &v) == 0 && v > c->top &&
        str_copy(c->name, sizeof(c->name), name) == 0)
        c->top = v;
    return 0;
}

static int remove_lower(void *arg, const char *name, unsigned char type) {
    struct counted *c = arg;
    uint32_t v;
    int r;

    if (maildir_uidvalidity_from_name(name, strlen(name), &v) < 0 || v >= c->top)
        return 0;
    r = io_unlink(c->a->d.fd[0], name);
    if (r == 0)
        inval_add(&c->a->out->inval, &c->a->dir, MFL__SUB__SELF, name, NULL, true);
    return r == -ENOENT ? 0 : r;
}

/* -ENOENT: there is no name, or Dovecot was faster. */
static int move_top(struct counted *c, uint32_t to) {
    char name[MAILDIR_UIDVALIDITY_NAME_MAX];
    int fd = c->a->d.fd[0], r = maildir_uidvalidity_format_name(name, sizeof(name), to);

    if (r < 0)
        return r;
    r = c->top ? io_rename(fd, c->name, fd, name, 0) : -ENOENT;
    if (r == 0) {
        inval_add(&c->a->out->inval, &c->a->dir, MFL__SUB__SELF, c->name, name, true);
        c->top = to;
    }
    return r;
}

static int make_top(struct counted *c, uint32_t to, uint32_t owner, uint32_t group) {
    struct io_file_attr attr = {.mode = 0444,
                                .uid = owner,
                                .gid = group,
                                .set_owner = geteuid() == 0,
                                .has_tmpdir = 1,
                                .tmpdir = c->a->st->stage};
    char name[MAILDIR_UIDVALIDITY_NAME_MAX];
    int r = maildir_uidvalidity_format_name(name, sizeof(name), to);

    if (r >= 0)
        r = io_file_replace_at(c->a->d.fd[0], name, "", 0, &attr);
    if (r == 0) {
        inval_add(&c->a->out->inval, &c->a->dir, MFL__SUB__SELF, NULL, name, true);
        c->top = to;
    }
    return r;
}

int validity_count_on(struct apply *a, uint32_t v, const struct base_file *like) {
    struct counted c = {.a = a};
    int r = store_each_name(a->d.fd[0], find_top, &c);

    if (r == 0 && c.top < v) {
        r = move_top(&c, v);
        if (r == -ENOENT)
            r = make_top(&c, v, like->owner, like->group);
    }
    return r == 0 ? store_each_name(a->d.fd[0], remove_lower, &c) : r;
}

/* ---- taking one -------------------------------------------------------------------- */

/* The volume's own: a one-way link hands out none of its own. */
static const struct state *volume_of(const struct state *st) {
    return st->main ? st->main : st;
}

/* The first from v on that this node may hand out. */
static uint32_t own(const struct state *st, uint32_t v) {
    const struct state *vol = volume_of(st);

    return vol->peer ? maildir_uidvalidity_own(v, strcmp(vol->node, vol->peer) < 0) : v;
}

/* What the name says then: that of the other node's that comes next (mailfs/validity.h). */
static uint32_t name_after(const struct state *st, uint32_t v) {
    return volume_of(st)->peer ? v + 1 : v;
}

/* 0: there is none, or it is broken. */
static uint32_t read_value(struct apply *a) {
    char *text;
    uint32_t v;
    size_t n;

    if (io_file_read_at(a->d.fd[0], MAILDIR_UIDVALIDITY_NAME, 64, &text, &n, NULL) < 0)
        return 0;
    if (maildir_uidvalidity_parse(text, n, &v) < 0)
        v = 0;
    free(text);
    return v;
}

/* Opens the container that has a value, this one or one above it. -ENOENT: there is none. */
static int find_counter(struct apply *a, const struct mailfs_id *dir) {
    struct base_dir rec;
    int depth, r;

    a->dir = *dir;
    for (depth = 0; depth < DEPTH_MAX; depth++) {
        struct counted c = {.a = a};

        r = store_dir_open(a->st, &a->dir, &a->d);
        if (r == 0)
            r = store_each_name(a->d.fd[0], find_top, &c);
        if (r < 0 || c.top || read_value(a))
            return r;
        store_dir_close(&a->d);
        if (mailfs_id_is_root(&a->dir) || base_dir_get(a->st, &a->dir, &rec) < 0)
            return -ENOENT;
        a->dir = rec.parent;
    }
    return -ENOENT;
}

/* *v: taken. -EAGAIN: Dovecot was faster. */
static int take(struct apply *a, uint32_t above, uint32_t *v) {
    struct counted c = {.a = a};
    uint32_t value = read_value(a);
    struct stat sb;
    int r = store_each_name(a->d.fd[0], find_top, &c);

    if (r < 0 || fstat(a->d.fd[0], &sb) < 0)
        return r < 0 ? r : -errno;
    if (value > above)
        above = value;
    if (c.top > above)
        above = c.top;
    if (above >= UINT32_MAX - 2)
        return -EOVERFLOW;
    *v = own(a->st, above + 1);
    if (c.top == 0)
        return make_top(&c, name_after(a->st, *v), sb.st_uid, sb.st_gid);
    r = move_top(&c, name_after(a->st, *v));
    return r == -ENOENT ? -EAGAIN : r;
}

static int write_value(struct apply *a, uint32_t v) {
    char text[16];
    uint64_t gen;
    int n = maildir_uidvalidity_format(text, sizeof(text), v);
    int r = n < 0 ? n : apply_write_control(a, MAILDIR_UIDVALIDITY_NAME, text, (size_t)n);

    if (r == 0)
        r = state_mark_gen(a->st, &gen);
    return r == 0 ? state_mark(a->st, &a->dir, gen) : r;
}

int validity_take(struct state *st, const struct mailfs_id *dir, uint32_t above, uint32_t *v,
                  struct invals *inval) {
    struct apply_result res = {.suspect = false};
    struct apply a = {.st = st, .d = {.fd = {-1, -1, -1, -1}}, .out = &res};
    uint32_t now = (uint32_t)(clock_wall_ns() / 1000000000);
    int tries = 0, r;

    if (inval)
        res.inval = *inval;
    r = find_counter(&a, dir);
    if (r == -ENOENT) {
        *v = own(st, above < now ? now : above + 1);
        r = 0;
    } else if (r == 0) {
        do
            r = take(&a, above, v);
        while (r == -EAGAIN && ++tries < TRIES_MAX);
        if (r == 0)
            r = write_value(&a, *v);
    }
    store_dir_close(&a.d);
    if (inval)
        *inval = res.inval;
    else
        invals_free(&res.inval);
    return r;
}
