/*
 * mend: what is damaged here is fetched from the peer
 *
 * The good copy takes the name of the bad one in one rename, so no mail client ever misses it.
 *
 * Diagnostics: what was repaired is logged; errors are returned.
 */
#include "mend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "content.h"
#include "driver.h"
#include "front.h"
#include "io/io.h"
#include "io/undo.h"
#include "mem.h"
#include "merge_int.h"
#include "stage.h"
#include "util/log.h"
#include "util/str.h"
#include "volume.h"
#include "xfer.h"

bool mend_can(const struct check_problem *p) {
    switch (p->kind) {
    case CHECK_DAMAGED:
    case CHECK_SIZE:
    case CHECK_MISSING:
    case CHECK_UNREADABLE:
    case CHECK_FILE:
        return p->name != NULL && p->fate == CHECK_FOUND;
    default:
        return false;
    }
}

/* ---- in the store ------------------------------------------------------------------ */

int mend_keep_bad(struct state *st, const struct mailfs_id *dir, int fd, const char *name) {
    char path[1024];
    int r;

    if (st->undo < 0)
        r = merge_keep(st, fd, name, 'l', false);
    else
        r = io_undo_keep_damaged(st->undo, dir, state_path(st, dir, path, sizeof(path)) + 1, fd,
                                 name);
    return r == -ENOENT ? 0 : r;
}

/* Where the message is. One that was missing goes to where it was agreed to be (*there: false); any
 * other that is not there was expunged just now. */
static int where_is(struct state *st, struct store_dir *d, const char *base, bool missing, int *sub,
                    char name[MAILDIR_NAME_MAX + 1], bool *there) {
    struct base_msg msg;
    int r = store_msg_find(st, d, base, NULL, sub, name);

    *there = r == 0;
    if (r != -ENOENT || !missing)
        return r;
    r = base_msg_get(st, BASE_AGREED, &d->id, base, &msg);
    if (r < 0)
        return r;
    *sub = msg.sub;
    return str_printf(name, MAILDIR_NAME_MAX + 1, "%s%s%s", base, *msg.info ? ":" : "", msg.info);
}

/* Both have a checksum of when it was received, and these differ: it is another message. */
static int is_the_same(int have_dir, const char *have, int came_dir, const char *came) {
    struct io_sum a, b;
    int fa = io_open_beneath(have_dir, have, O_RDONLY | O_NONBLOCK, 0);
    int fb = io_open_beneath(came_dir, came, O_RDONLY | O_NONBLOCK, 0), r = 0;

    if (fa >= 0 && fb >= 0 && io_sum_get(fa, &a) == 0 && io_sum_get(fb, &b) == 0 &&
        a.from == IO_SUM_PASSED && memcmp(a.sha256, b.sha256, sizeof(a.sha256)) != 0)
        r = -EUCLEAN;
    if (fa >= 0)
        close(fa);
    if (fb >= 0)
        close(fb);
    return r;
}

/* In place of what has this name, or if nothing has it. A client may have given it another one just
 * now: then it would be there twice. */
static int take_place(struct state *st, const char *temp, int fd, const char *name, bool there) {
    int r = io_rename(st->stage, temp, fd, name, there ? RENAME_EXCHANGE : RENAME_NOREPLACE);

    if (r < 0 || there)
        io_unlink(st->stage, temp);
    return r;
}

/* The staged file to its name. */
static int place(struct state *st, struct store_dir *d, const char *base, bool missing,
                 const char *file, struct invals *iv) {
    char name[MAILDIR_NAME_MAX + 1], temp[STAGE_TEMP_MAX];
    bool there = false;
    int sub, fd, r = where_is(st, d, base, missing, &sub, name, &there);

    fd = r == 0 ? store_sub_open(st, d, sub, true) : r;
    if (fd < 0)
        return fd;
    r = is_the_same(fd, name, st->stage, file);
    if (r == 0)
        r = mend_keep_bad(st, &d->id, fd, name);
    stage_temp_name(st, temp);
    if (r == 0)
        r = io_link(st->stage, file, st->stage, temp);
    if (r == 0)
        r = take_place(st, temp, fd, name, there);
    if (r == 0)
        r = io_fsync(fd);
    inval_add(iv, &d->id, sub, name, name, true);
    inval_poke(iv, &d->id, sub);
    return r;
}

static int mend_msg(struct state *st, const struct mailfs_id *dir, const char *base, bool missing,
                    struct invals *iv) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    int r;

    stage_fetch_name(dir, MFP__SUB__CUR, base, key);
    r = stage_lookup(st, key, file);
    if (r == 0)
        r = store_dir_open(st, dir, &d);
    if (r == 0)
        r = stage_settle_all(st);
    if (r == 0)
        r = place(st, &d, base, missing, file, iv);
    store_dir_close(&d);
    stage_release(st, key);
    return r == -ESTALE ? -ENOENT : r;
}

/* As it was agreed on, if that is what the peer has. */
static int mend_file(struct state *st, const struct mailfs_id *dir, const char *name,
                     struct invals *iv) {
    struct apply_result res = {.suspect = false};
    struct apply a = {.st = st, .dir = *dir, .d = {.fd = {-1, -1, -1, -1}}, .out = &res};
    char key[STAGE_NAME_MAX];
    struct base_file now;
    int r = base_file_get(st, BASE_AGREED, dir, name, &now);

    if (r == 0)
        r = store_dir_open(st, dir, &a.d);
    if (r == 0)
        r = stage_settle_all(st);
    if (r == 0)
        r = mend_keep_bad(st, dir, a.d.fd[0], name);
    if (r == 0)
        r = apply_put_file(&a, name, NULL, &now, NULL, 0, false);
    base_file_clear(&now);
    store_dir_close(&a.d);
    stage_fetch_name(dir, MFP__SUB__SELF, name, key);
    stage_release(st, key);
    *iv = res.inval;
    return r == APPLY_NOT_DONE ? -ENOENT : r;
}

int mend_keep_control(struct state *st, const struct mailfs_id *dir) {
    static const char *const names[] = {"dovecot-uidlist", "dovecot-keywords", "subscriptions"};
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    size_t i;
    int r = store_dir_open(st, dir, &d);

    for (i = 0; r == 0 && i < sizeof(names) / sizeof(*names); i++)
        r = mend_keep_bad(st, dir, d.fd[0], names[i]);
    store_dir_close(&d);
    return r;
}

/* ---- one after the other: fetch, put ----------------------------------------------- */

struct mending {
    struct volume *v;
    struct mailfs_id dir;
    unsigned kind;
    char *name;
    mend_fn *fn;
    void *arg;
    int err;
    struct invals inval;
};

static void put_run(void *arg) {
    struct mending *m = arg;

    if (m->err != 0)
        return;
    if (m->kind == CHECK_FILE)
        m->err = mend_file(m->v->state, &m->dir, m->name, &m->inval);
    else
        m->err = mend_msg(m->v->state, &m->dir, m->name, m->kind == CHECK_MISSING, &m->inval);
}

static void put_done(void *arg) {
    struct mending *m = arg;
    struct volume *v = m->v;
    char path[256];

    state_path(v->state, &m->dir, path, sizeof path);
    if (m->err == 0)
        log_warn("volume %s: %s: %s: %s: repaired from the peer", v->cv->name, path, m->name,
                 check_kind_text(m->kind));
    else
        log_warn("volume %s: %s: %s: %s: not repaired: %s", v->cv->name, path, m->name,
                 check_kind_text(m->kind), log_strerror(m->err));
    front_invalidate(v->front, &m->inval);
    invals_free(&m->inval);
    m->fn(m->arg, m->err);
    free(m->name);
    free(m);
    driver_pump(v);
}

static void fetched(void *arg, int err) {
    struct mending *m = arg;

    m->err = err;
    jobs_run(m->v->jobs, &m->dir, put_run, put_done, m);
}

void mend(struct volume *v, const struct mailfs_id *dir, unsigned kind, const char *name,
          mend_fn *fn, void *arg) {
    struct mending *m = mem_new(sizeof *m);
    struct content_wants w = {.v = mem_new(sizeof *w.v), .n = 1};

    *m = (struct mending){.v = v, .dir = *dir, .kind = kind, .fn = fn, .arg = arg};
    m->name = mem_strdup(name);
    w.v[0] = (struct content_want){.dir = *dir, .name = mem_strdup(name)};
    w.v[0].by_base = kind != CHECK_FILE;
    w.v[0].sub = kind == CHECK_FILE ? MFP__SUB__SELF : MFP__SUB__CUR;
    xfer_fetch(v->xfers, &w, fetched, m);
}
