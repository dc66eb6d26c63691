/*
 * base_txn: what a transaction makes of the base.
 *
 * The same function moves the base of the origin (when the transaction is acknowledged), that of
 * the receiver (when it is applied), and the origin's view of what is on its way. That is why both
 * bases stay equal as long as no transactions of the two nodes crossed.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "alias.h"
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base_codec.h"
#include "files.h"
#include "half.h"
#include "maildir/subs.h"
#include "pending.h"
#include "recent.h"
#include "state_int.h"
#include "util/str.h"
#include "wire/check.h"

struct ctx {
    struct state *st;
    enum base_view view;
    const struct mailfs_id *dir;
    bool locked; /* made under L: may bind UIDs */
};

static int do_msg(const struct ctx *c, const Mfp__OpMsg *op) {
    struct base_msg msg = {.sub = MFP__SUB__SELF}, old;
    int r = base_msg_get(c->st, c->view, c->dir, op->bname, &old);

    if (r < 0 && r != -ENOENT)
        return r;
    if (op->now && op->now->sub != MFP__SUB__SELF) {
        if (r == 0)
            msg = old;
        msg.sub = (uint8_t)op->now->sub;
        if (op->now->uid && c->locked)
            msg.uid = op->now->uid;
        if (str_copy(msg.info, sizeof(msg.info), op->now->info ? op->now->info : "") < 0)
            return -EINVAL;
        if (op->meta) {
            msg.mode = op->meta->mode;
            msg.owner = op->meta->uid;
            msg.group = op->meta->gid;
            msg.mtime_ns = op->meta->mtime_ns;
            msg.size = op->meta->size;
        }
    }
    if (c->view == BASE_AGREED)
        half_forget_msg(c->st, c->dir, op->bname);
    return base_msg_put(c->st, c->view, c->dir, op->bname, &msg);
}

static int do_rec(const struct ctx *c, const Mfp__UidRec *rec) {
    struct base_msg msg;
    int r = base_msg_get(c->st, c->view, c->dir, rec->bname, &msg);

    if (r == -ENOENT)
        return 0; /* a record without a message: its file is gone again */
    if (r < 0 || msg.uid == rec->uid)
        return r;
    msg.uid = rec->uid;
    return base_msg_put(c->st, c->view, c->dir, rec->bname, &msg);
}

static int do_uidlist(const struct ctx *c, const Mfp__OpUidlist *op) {
    struct base_uidlist ul;
    size_t i;
    int r = base_uidlist_get(c->st, c->view, c->dir, &ul);

    if (r < 0 && r != -ENOENT)
        return r;
    if (op->v)
        ul.v = op->v;
    if (op->n > ul.n)
        ul.n = op->n;
    if (op->header_ext && *op->header_ext) {
        free(ul.header_ext);
        ul.header_ext = strdup(op->header_ext);
    }
    r = 0;
    for (i = 0; r == 0 && i < op->n_recs; i++) {
        if (op->recs[i]->uid >= ul.n)
            ul.n = op->recs[i]->uid + 1;
        r = do_rec(c, op->recs[i]);
    }
    if (r == 0)
        r = base_uidlist_put(c->st, c->view, c->dir, &ul);
    free(ul.header_ext);
    return r;
}

static int change_lines(struct maildir_subs *s, const Mfp__OpLines *op) {
    size_t i;
    int r = 0;

    for (i = 0; r >= 0 && i < op->n_removed; i++)
        r = maildir_subs_remove(s, op->removed[i]);
    for (i = 0; r >= 0 && i < op->n_added; i++)
        r = maildir_subs_add(s, op->added[i]);
    return r < 0 ? r : 0;
}

static int do_lines(const struct ctx *c, const Mfp__OpLines *op) {
    struct maildir_subs *s = NULL;
    char *text = NULL, *out = NULL;
    size_t n = 0;
    int r = base_text_get(c->st, c->view, c->dir, BASE_SUBS, &text, &n);

    if (r < 0 && r != -ENOENT)
        return r;
    r = r == 0 && n ? maildir_subs_parse(text, n, &s)
                    : maildir_subs_new(op->version == 2 ? 2 : 1, &s);
    free(text);
    if (r < 0)
        return r;
    r = change_lines(s, op);
    if (r == 0)
        r = maildir_subs_format(s, &out, &n);
    if (r == 0)
        r = base_text_put(c->st, c->view, c->dir, BASE_SUBS, out, n);
    free(out);
    maildir_subs_free(s);
    return r;
}

static int do_file(const struct ctx *c, const Mfp__OpFile *op) {
    struct base_file f;

    files_from_state(op->now, &f); /* its link is borrowed: not cleared */
    return base_file_put(c->st, c->view, c->dir, op->name, &f);
}

static int do_dir_make(const struct ctx *c, const Mfp__OpDirMake *op) {
    struct base_dir rec;
    struct mailfs_id id;
    int r = wire_id(&op->id, &id);

    if (r < 0)
        return r;
    r = base_dir_get(c->st, &id, &rec);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT)
        memset(&rec, 0, sizeof(rec));
    if (!alias_now(c->st, c->dir, &rec.parent)) /* it may have given up that id since */
        rec.parent = *c->dir;
    if (str_copy(rec.name, sizeof(rec.name), op->name) < 0)
        return -EINVAL;
    if (op->meta) {
        rec.mode = op->meta->mode;
        rec.owner = op->meta->uid;
        rec.group = op->meta->gid;
    }
    /* From its birth everything in it goes by transactions; but not of one that the trees agreed
     * on, or that took another's place: its contents are to be merged first. */
    if (!rec.agreed)
        rec.merged = true;
    rec.agreed = true;
    return base_dir_put(c->st, &id, &rec);
}

static int do_dir_move(const struct ctx *c, const Mfp__OpDirMove *op) {
    struct base_dir rec;
    struct mailfs_id id;
    int r = wire_id(&op->id, &id);

    if (r == 0)
        r = base_dir_get(c->st, &id, &rec);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (op->new_parent.len && wire_id(&op->new_parent, &rec.parent) < 0)
        return -EINVAL;
    if (str_copy(rec.name, sizeof(rec.name), op->name) < 0)
        return -EINVAL;
    base_moved_forget(c->st, &id);
    return base_dir_put(c->st, &id, &rec);
}

static int do_subdir(const struct ctx *c, const Mfp__OpSubDir *op) {
    struct base_dir rec;
    int r = base_dir_get(c->st, c->dir, &rec);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (op->removed)
        rec.subdirs &= (uint8_t) ~(1u << op->sub);
    else
        rec.subdirs |= (uint8_t)(1u << op->sub);
    return base_dir_put(c->st, c->dir, &rec);
}

/* Places of containers have no "sent" layer: they are known when they are agreed. */
static int do_op(const struct ctx *c, const Mfp__Op *op) {
    switch (op->op_case) {
    case MFP__OP__OP_MSG:
        return do_msg(c, op->msg);
    case MFP__OP__OP_KEYWORDS:
        return base_text_put(c->st, c->view, c->dir, BASE_KEYWORDS,
                             op->keywords->content.len ? (char *)op->keywords->content.data : "",
                             op->keywords->content.len);
    case MFP__OP__OP_LINES:
        return do_lines(c, op->lines);
    case MFP__OP__OP_FILE:
        return do_file(c, op->file);
    case MFP__OP__OP_DIR_MAKE:
        return c->view == BASE_SENT ? 0 : do_dir_make(c, op->dir_make);
    case MFP__OP__OP_DIR_MOVE:
        return c->view == BASE_SENT ? 0 : do_dir_move(c, op->dir_move);
    case MFP__OP__OP_SUBDIR:
        return c->view == BASE_SENT ? 0 : do_subdir(c, op->subdir);
    default:
        return 0; /* uidlists come last; whether a container goes is decided where it is applied */
    }
}

/* ---- keys on their way ------------------------------------------------------------- */

static int touch_name(struct state *st, bool less, enum table t, const struct mailfs_id *dir,
                      const char *name) {
    uint8_t key[BASE_KEY_MAX];
    int n = base_name_key(key, dir, name);

    if (n < 0)
        return n;
    if (!less)
        return kv_touch(st, t, key, (size_t)n);
    kv_untouch(st, t, key, (size_t)n);
    return 0;
}

static int touch_uidlist(struct state *st, bool less, const struct mailfs_id *dir,
                         const Mfp__OpUidlist *op) {
    size_t i;
    int r = touch_name(st, less, T_CONT, dir, "U");

    for (i = 0; r == 0 && i < op->n_recs; i++)
        r = touch_name(st, less, T_MSGS, dir, op->recs[i]->bname);
    return r;
}

static int touch_op(struct state *st, bool less, const struct mailfs_id *dir, const Mfp__Op *op) {
    switch (op->op_case) {
    case MFP__OP__OP_MSG:
        return touch_name(st, less, T_MSGS, dir, op->msg->bname);
    case MFP__OP__OP_UIDLIST: /* (an unlocked one has none) */
        return touch_uidlist(st, less, dir, op->uidlist);
    case MFP__OP__OP_KEYWORDS:
        return touch_name(st, less, T_CONT, dir, "K");
    case MFP__OP__OP_LINES:
        return touch_name(st, less, T_CONT, dir, "S");
    case MFP__OP__OP_FILE:
        return touch_name(st, less, T_FILES, dir, op->file->name);
    default:
        return 0;
    }
}

/* Depends on the transaction alone, so that more and less cancel out. */
static int touch_txn(struct state *st, bool less, const struct mailfs_id *dir,
                     const Mfp__Txn *txn) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < txn->n_ops; i++)
        r = touch_op(st, less, dir, txn->ops[i]);
    return r;
}

static bool moves_tree(const Mfp__Txn *txn) {
    size_t i;

    for (i = 0; i < txn->n_ops; i++) {
        Mfp__Op__OpCase c = txn->ops[i]->op_case;
        if (c == MFP__OP__OP_DIR_MAKE || c == MFP__OP__OP_DIR_MOVE || c == MFP__OP__OP_DIR_REMOVE)
            return true;
    }
    return false;
}

int base_apply_txn(struct state *st, enum base_view view, const Mfp__Txn *txn, const bool *done) {
    struct mailfs_id dir;
    struct ctx c = {st, view, &dir, txn->locked};
    bool whole = true;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    recent_begin(st);
    if (r == 0 && view == BASE_SENT)
        r = touch_txn(st, false, &dir, txn);
    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        if (!done || done[i])
            r = do_op(&c, txn->ops[i]);
        else
            whole = false;
    }
    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        if (txn->ops[i]->op_case == MFP__OP__OP_UIDLIST && txn->locked && (!done || done[i]))
            r = do_uidlist(&c, txn->ops[i]->uidlist);
    }
    if (r == 0 && view == BASE_AGREED && whole)
        r = base_version_next(st, BASE_OF_MAILBOX, &dir);
    if (r == 0 && view == BASE_AGREED && whole && moves_tree(txn))
        r = base_version_next(st, BASE_OF_TREE, &mailfs_id_root);
    recent_end(st);
    return r;
}

int base_agree_msg(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                   bool locked) {
    struct ctx c = {st, BASE_AGREED, dir, locked};

    return do_msg(&c, op);
}

/* ---- the driver's ------------------------------------------------------------------ */

static int acked_op(struct state *st, const struct mailfs_id *dir, const Mfp__Op *op) {
    struct mailfs_id id;

    if (op->op_case == MFP__OP__OP_MSG) {
        pending_del(st, dir, op->msg->bname);
        return wire_prepared(op) ? base_prep_put(st, BASE_AGREED, dir, op->msg->bname, NULL) : 0;
    }
    if (op->op_case == MFP__OP__OP_DIR_REMOVE && wire_id(&op->dir_remove->id, &id) == 0) {
        pending_clear(st, &id);
        return base_dir_del(st, &id);
    }
    return 0;
}

int base_acked(struct state *st, const Mfp__Txn *txn) {
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    recent_begin(st);
    if (r == 0)
        r = base_apply_txn(st, BASE_AGREED, txn, NULL);
    for (i = 0; r == 0 && i < txn->n_ops; i++)
        r = acked_op(st, &dir, txn->ops[i]);
    recent_end(st);
    if (r == 0)
        touch_txn(st, true, &dir, txn);
    return r < 0 ? state_fail(st, r, &dir, "acknowledged, but the base cannot follow") : 0;
}

void base_forget_sent(struct state *st) {
    state_lock(st);
    kv_layer_clear(&st->sent);
    state_unlock(st);
    collect_forget_notes(st, NULL);
}
