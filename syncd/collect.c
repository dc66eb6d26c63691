/*
 * collect: from the events of one container to the transaction the peer is sent.
 *
 * The order of the operations is that of applying: keywords, messages, uidlist, removals, files,
 * directories.
 *
 * Diagnostics: what cannot be read from the store, with the container; nothing is sent then, and
 * the mark keeps it.
 */
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "collect_int.h"
#include "files.h"
#include "hold.h"
#include "io/dirid.h"
#include "io/io.h"
#include "maildir/class.h"
#include "state_int.h"
#include "unread.h"
#include "util/str.h"
#include "wire/check.h"

bool collect_here(struct collect *c) {
    int r;

    if (!c->opened) {
        c->opened = true;
        r = store_dir_open(c->st, c->dir, &c->d);
        if (r < 0 && r != -ENOENT)
            c->err = r;
    }
    return c->d.fd[0] >= 0;
}

/* ---- files ------------------------------------------------------------------------- */

static int note_name(struct collect *c, const char *name) {
    size_t n = strlen(name);
    struct named *f;

    HASH_FIND_STR(c->files, name, f);
    if (f)
        return 0;
    f = calloc(1, sizeof(*f) + n + 1);
    if (!f)
        return -ENOMEM;
    memcpy(f->name, name, n + 1);
    HASH_ADD_STR(c->files, name, f);
    return 0;
}

static int note_file(struct collect *c, const Mfl__File *f) {
    size_t n = strlen(f->name);
    enum maildir_class cl;

    if (str_starts(f->name, "new/") || str_starts(f->name, "cur/"))
        return collect_note_touch(c, *f->name == 'n' ? MFP__SUB__NEW : MFP__SUB__CUR, f->name + 4);
    if (maildir_name_check(f->name, n, MAILDIR_NAME_COMPONENT) < 0)
        return 0;
    cl = maildir_class_of(MAILDIR_DIR_CONTAINER, f->name, n);
    switch (cl) {
    case MAILDIR_UIDLIST:
        return 0; /* looked at whenever L was held */
    case MAILDIR_KEYWORDS:
        c->keywords = true;
        return 0;
    case MAILDIR_SUBSCRIPTIONS:
        c->subs = true;
        return 0;
    default:
        return maildir_class_is_local(cl) ? 0 : note_name(c, f->name);
    }
}

static int tell_file_state(struct collect *c, const char *name, const struct base_file *was,
                           const struct base_file *is, const char *content, size_t n) {
    Mfp__Op *op = build_op(c->txn, MFP__OP__OP_FILE);
    int r1, r2;

    if (!op || !(op->file->name = build_str(name)))
        return -ENOMEM;
    op->file->old = build_file_state(was, &r1);
    op->file->now = build_file_state(is, &r2);
    if (r1 < 0 || r2 < 0)
        return -ENOMEM;
    if (!content || !S_ISREG(is->type))
        return 0;
    op->file->has_content = true;
    return build_bytes(&op->file->content, content, n);
}

/* chmod or chown of a container below this one. */
static int tell_dir_attr(struct collect *c, const char *name) {
    int fd = io_open_beneath(c->d.fd[0], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), r;
    struct mailfs_id id;
    struct stat sb;
    Mfp__Op *op;

    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
    r = io_dirid_get(fd, &id);
    if (r == 0 && fstat(fd, &sb) < 0)
        r = -errno;
    close(fd);
    if (r < 0) /* without an id it was not told of either */
        return r == -ENODATA || r == -EINVAL ? 0 : r;
    op = build_op(c->txn, MFP__OP__OP_DIR_MAKE);
    if (!op || !(op->dir_make->name = build_str(name)) ||
        !(op->dir_make->meta = store_meta_new(&sb)))
        return -ENOMEM;
    return build_id(&op->dir_make->id, &id);
}

static int tell_file(struct collect *c, const char *name) {
    struct base_file was, is;
    struct stat sb;
    char *content = NULL;
    size_t n = 0;
    bool known = fstatat(c->d.fd[0], name, &sb, AT_SYMLINK_NOFOLLOW) == 0;
    int r;

    if (known && S_ISDIR(sb.st_mode))
        return tell_dir_attr(c, name);
    r = base_file_get(c->st, BASE_SENT, c->dir, name, &was);
    if (r < 0 && r != -ENOENT)
        return r;
    r = files_read(c->d.fd[0], name, &is, &content, &n);
    if (unread_is_error(r)) { /* a merge finds it when it can be read */
        unread_note(c->st, c->dir, UNREAD_FILE, name, r, known ? &sb : NULL);
        r = 0;
    } else if (r == 0 && !(files_same(&was, &is) && was.mtime_ns == is.mtime_ns))
        r = tell_file_state(c, name, &was, &is, content, n);
    free(content);
    base_file_clear(&was);
    base_file_clear(&is);
    return r;
}

static int tell_files(struct collect *c) {
    struct named *f, *tmp;
    int r = 0;

    HASH_ITER(hh, c->files, f, tmp) {
        r = tell_file(c, f->name);
        if (r < 0)
            break;
    }
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

/* First pass; directories have their own, in their own order, last. */
static int note_act(struct collect *c, const Mfl__Act *act) {
    switch (act->what_case) {
    case MFL__ACT__WHAT_ADD:
        return collect_note_add(c, act->add);
    case MFL__ACT__WHAT_MOVE:
        return collect_note_move(c, act->move);
    case MFL__ACT__WHAT_REMOVE:
        return collect_note_remove(c, act->remove);
    case MFL__ACT__WHAT_FILE:
        return note_file(c, act->file);
    case MFL__ACT__WHAT_DIR_REMOVE:
        return collect_note_deleted(c, act->dir_remove);
    default:
        return 0;
    }
}

/* Before any of it is told. */
static void weigh(struct collect *c) {
    hold_removed(c->st, c->dir, c->gone);
    c->held = hold_covers(c->st, c->dir);
}

/* The uidlist is looked at first (it gives the messages their UIDs), but comes after them. Only
 * under L: an act outside it must not bind a UID, since both nodes may be numbering meanwhile. */
static int tell_messages(struct collect *c) {
    Mfp__Txn *txn = c->txn;
    size_t at = txn->n_ops, i;
    Mfp__Op *ul;
    int r = 0;

    if (c->locked && collect_here(c))
        r = collect_uidlist(c);
    if (r == 0)
        r = collect_tell_changes(c, false);
    if (r < 0 || txn->n_ops == at || txn->ops[at]->op_case != MFP__OP__OP_UIDLIST)
        return r;
    ul = txn->ops[at];
    for (i = at; i + 1 < txn->n_ops; i++)
        txn->ops[i] = txn->ops[i + 1];
    txn->ops[i] = ul;
    return 0;
}

static int tell_all(struct collect *c) {
    int r = 0;

    if ((c->locked || c->keywords) && collect_here(c))
        r = collect_keywords(c);
    if (r == 0)
        r = tell_messages(c);
    if (r == 0)
        r = collect_tell_changes(c, true);
    if (r == 0 && c->subs && collect_here(c))
        r = collect_subs(c);
    if (r == 0 && c->files && collect_here(c))
        r = tell_files(c);
    return r == 0 ? c->err : r;
}

static int collect_all(struct collect *c, Mfl__Act *const *acts, size_t n) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++)
        r = note_act(c, acts[i]);
    if (r == 0)
        r = c->err;
    if (r == 0 && c->locked)
        collect_drop_former(c);
    weigh(c);
    if (r == 0 && c->telling)
        r = tell_all(c);
    for (i = 0; r == 0 && i < n; i++)
        r = collect_dir_act(c, acts[i]);
    return r;
}

static void collect_clear(struct collect *c) {
    struct change *ch, *ctmp;
    struct named *f, *ftmp;

    HASH_ITER(hh, c->changes, ch, ctmp) {
        HASH_DEL(c->changes, ch);
        free(ch);
    }
    HASH_ITER(hh, c->files, f, ftmp) {
        HASH_DEL(c->files, f);
        free(f);
    }
    store_dir_close(&c->d);
}

static int preps_of(const Mfp__Txn *txn, struct stage_prep **preps, size_t *n) {
    size_t i;

    *preps = calloc(txn->n_ops + 1, sizeof(**preps));
    if (!*preps)
        return -ENOMEM;
    for (i = 0; i < txn->n_ops; i++) {
        const Mfp__PrepId *id = wire_used_up(txn->ops[i]);
        if (id)
            (*preps)[(*n)++] = (struct stage_prep){id->incarnation, id->seq};
    }
    return 0;
}

int collect_txn(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                bool locked, Mfp__Txn **txn, struct stage_prep **preps, size_t *n_preps,
                struct invals *inval) {
    struct collect c = {.st = st, .dir = dir, .telling = true, .locked = locked, .inval = inval};
    int r;

    *txn = NULL;
    *preps = NULL;
    *n_preps = 0;
    c.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    c.txn = build_txn(dir, locked);
    r = c.txn ? collect_all(&c, acts, n) : -ENOMEM;
    collect_clear(&c);
    if (r == 0 && c.txn->n_ops)
        r = preps_of(c.txn, preps, n_preps);
    if (r == 0 && c.txn->n_ops)
        r = base_apply_txn(st, BASE_SENT, c.txn, NULL);
    if (r < 0 || c.txn->n_ops == 0) {
        if (c.txn)
            mfp__txn__free_unpacked(c.txn, NULL);
        free(*preps);
        *preps = NULL;
        *n_preps = 0;
        if (r == 0)
            return 0;
        collect_forget_notes(st, dir); /* what was looked at has not been told */
        return state_fail(st, r, dir, "cannot put together what changed");
    }
    *txn = c.txn;
    return 0;
}

int collect_alone(struct state *st, const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n) {
    struct collect c = {.st = st, .dir = dir};
    int r;

    c.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    r = collect_all(&c, acts, n);
    collect_clear(&c);
    return r < 0 ? state_fail(st, r, dir, "cannot follow a change") : 0;
}
