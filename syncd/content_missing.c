/*
 * content_missing: what of a transaction's contents is not here.
 *
 * A message that is in some mailbox here is linked into the stage instead of being fetched, so that
 * it stays until the transaction is applied.
 *
 * Diagnostics: that it could not be looked for, with the container.
 */
#include "content_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "io/io.h"
#include "store.h"
#include "util/str.h"
#include "wire/check.h"

/* ---- what is here is pinned -------------------------------------------------------- */

/* Links a message that is in some mailbox here into the stage. */
static int pin_message(struct state *st, const struct mailfs_id *from, const char *base,
                       const char *hint, const char *key) {
    char name[MAILDIR_NAME_MAX + 1];
    struct store_dir d;
    int r = store_dir_open(st, from, &d), sub, fd;

    if (r < 0)
        return r;
    r = store_msg_find(st, &d, base, hint, &sub, name);
    if (r == 0) {
        fd = io_open_beneath(d.fd[sub], name, O_RDONLY, 0);
        r = fd < 0 ? fd : stage_pin(st, fd, key);
        if (fd >= 0)
            close(fd);
    }
    store_dir_close(&d);
    return r;
}

/* What is in the stage under another key. */
static int pin_item(struct state *st, const char *have, const char *key) {
    char file[STAGE_NAME_MAX];
    int fd, r;

    if (!content_staged(st, have) || stage_lookup(st, have, file) < 0)
        return -ENOENT;
    fd = io_open_beneath(st->stage, file, O_RDONLY, 0);
    r = fd < 0 ? fd : stage_pin(st, fd, key);
    if (fd >= 0)
        close(fd);
    return r;
}

/* The source is itself a message not applied yet: prepared, or copied twice in one transaction. */
static int pin_staged(struct state *st, const struct mailfs_id *from, const Mfp__Source *src,
                      const char *key) {
    char have[STAGE_NAME_MAX];
    int r = -ENOENT;

    if (src->prepared) {
        stage_prep_key(src->prepared->incarnation, src->prepared->seq, have);
        r = pin_item(st, have, key);
    }
    if (r != -ENOENT)
        return r;
    stage_fetch_name(from, MFP__SUB__CUR, src->bname, have);
    return pin_item(st, have, key);
}

/* What the base does not know is not looked for in the directories: that would be a reading of all
 * names for each message. It is fetched. */
static int pin_source(struct state *st, const Mfp__Source *src, const char *key) {
    char buf[MAILDIR_NAME_MAX + 1];
    struct mailfs_id from;
    const char *hint;
    int r;

    if (!src || src->dir.len == 0 || wire_id(&src->dir, &from) < 0 ||
        maildir_name_check(src->bname, strlen(src->bname), MAILDIR_NAME_BASE) < 0)
        return -ENOENT;
    r = pin_staged(st, &from, src, key);
    if (r != -ENOENT)
        return r;
    hint = content_hint(st, &from, src->bname, buf);
    return hint ? pin_message(st, &from, src->bname, hint, key) : -ENOENT;
}

/* It is here already: sent again in another epoch, or both delivered it. Directories are read only
 * when the base knows it. */
static int pin_present(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       const char *key) {
    char buf[MAILDIR_NAME_MAX + 1];
    const char *name = content_full_name(op->bname, op->now->info, buf);
    struct base_msg msg;
    struct store_dir d;
    struct stat sb;
    int r, fd;

    if (base_msg_get(st, BASE_SENT, dir, op->bname, &msg) == 0)
        return pin_message(st, dir, op->bname, name, key);
    r = store_dir_open(st, dir, &d);
    if (r < 0)
        return r;
    r = -ENOENT;
    fd = store_sub_open(st, &d, (int)op->now->sub, false);
    if (fd >= 0 && fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode))
        r = pin_message(st, dir, op->bname, name, key);
    store_dir_close(&d);
    return r;
}

/* ---- what is not is wanted --------------------------------------------------------- */

/* Of what was fetched by a syncd before this one, and lies under its key, the power may have been
 * cut before it was synced. (What was prepared is looked at at the start.) */
static bool is_cut_short(struct state *st, const char *key, const Mfp__Meta *meta) {
    char file[STAGE_NAME_MAX];
    struct stat sb;

    return meta && str_starts(key, "f-") && stage_lookup(st, key, file) == 0 &&
           fstatat(st->stage, file, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode) &&
           (uint64_t)sb.st_size != meta->size;
}

static int missing_msg(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op,
                       struct content_wants *out) {
    char key[STAGE_NAME_MAX];
    int r;

    content_item_key(st, dir, op, key);
    if ((content_staged(st, key) && !is_cut_short(st, key, op->meta)) ||
        content_op_published(st, dir, op))
        return 0;
    r = pin_source(st, op->source, key);
    if (r == -ENOENT)
        r = pin_present(st, dir, op, key);
    if (r != -ENOENT)
        return r;
    return content_want_msg(out, dir, op->bname, op->now, op->meta,
                            op->source ? op->source->prepared : NULL);
}

static int missing_file(struct state *st, const struct mailfs_id *dir, const Mfp__OpFile *op,
                        struct content_wants *out) {
    char key[STAGE_NAME_MAX];

    stage_fetch_name(dir, MFP__SUB__SELF, op->name, key);
    if (content_is(st, key, op->now))
        return 0;
    return content_want_add(out, dir, MFP__SUB__SELF, op->name,
                            op->now->meta ? op->now->meta->size : 0);
}

int content_missing(struct state *st, const Mfp__Txn *txn, struct content_wants *out) {
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    memset(out, 0, sizeof(*out));
    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        out->looked = i;
        if (op->op_case == MFP__OP__OP_MSG && content_op_adds(op->msg))
            r = missing_msg(st, &dir, op->msg, out);
        else if (op->op_case == MFP__OP__OP_FILE && content_op_needs_file(op->file))
            r = missing_file(st, &dir, op->file, out);
    }
    if (r < 0) {
        content_wants_free(out);
        return state_fail(st, r, &dir, "cannot look for a transaction's contents");
    }
    return 0;
}

/* Is it a copy of what was prepared? */
static bool is_copy(const Mfp__OpMsg *op) {
    return content_op_adds(op) && op->source && op->source->prepared && op->source->dir.len > 0;
}

static int pin_copy(struct state *st, const struct mailfs_id *dir, const Mfp__OpMsg *op) {
    char key[STAGE_NAME_MAX];
    struct mailfs_id from;
    int r = wire_id(&op->source->dir, &from);

    stage_fetch_name(dir, MFP__SUB__CUR, op->bname, key);
    if (r < 0 || content_staged(st, key))
        return r;
    r = pin_staged(st, &from, op->source, key);
    return r == -ENOENT ? 0 : r;
}

int content_pin_copies(struct state *st, const Mfp__Txn *txn) {
    struct mailfs_id dir;
    size_t i;
    int r = wire_id(&txn->dir, &dir);

    for (i = 0; r == 0 && i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        if (op->op_case == MFP__OP__OP_MSG && is_copy(op->msg))
            r = pin_copy(st, &dir, op->msg);
    }
    return r < 0 ? state_fail(st, r, &dir, "cannot keep what a copy in the journal is made of") : 0;
}

int content_gone(struct state *st, const struct content_want *w) {
    char key[STAGE_NAME_MAX];

    stage_fetch_name(&w->dir, w->sub, w->name, key);
    return stage_note_gone(st, key);
}
