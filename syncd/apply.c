/*
 * apply: a journalled transaction to the store.
 *
 * Order: keyword table before the letters, messages before their records, records before removals
 * (a record whose file is missing, or a letter without a name, would be seen by Dovecot).
 *
 * Diagnostics: each operation that could not be applied, with the container; a container that is in
 * another state than the peer thought (it will be merged) at level info.
 */
#include "apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alias.h"
#include "apply_int.h"
#include "journal.h"
#include "recent.h"
#include "util/log.h"
#include "wire/check.h"

void apply_result_free(struct apply_result *r) {
    invals_free(&r->inval);
    memset(r, 0, sizeof(*r));
}

void apply_suspect(struct apply *a, const char *why, const char *name) {
    char path[256];

    a->out->suspect = true;
    /* After a power cut, of an entry applied before, later ones have been too: what does not fit
     * now did then, mostly. */
    if (!a->replay)
        log_info("%s: %s%s%s; the container will be compared",
                 state_path(a->st, &a->dir, path, sizeof(path)), why, name ? ": " : "",
                 name ? name : "");
}

enum phase { KEYWORDS, PRESENT, UIDLIST, REMOVED, FILES, DIRS, PHASES };

static enum phase phase_of(const Mfp__Op *op) {
    switch (op->op_case) {
    case MFP__OP__OP_KEYWORDS:
        return KEYWORDS;
    case MFP__OP__OP_MSG:
        return op->msg->now && op->msg->now->sub != MFP__SUB__SELF ? PRESENT : REMOVED;
    case MFP__OP__OP_UIDLIST:
        return UIDLIST;
    case MFP__OP__OP_LINES:
    case MFP__OP__OP_FILE:
        return FILES;
    default:
        return DIRS;
    }
}

/* Lists, tables and flags are compared: those here are of another one. A message is safe here from
 * now on, as a delivery, and a removal is done. */
static int former_msg(struct apply *a, const Mfp__OpMsg *op) {
    Mfp__MsgState now = MFP__MSG_STATE__INIT;
    Mfp__OpMsg add = *op;

    if (!op->now || op->now->sub == MFP__SUB__SELF)
        return apply_msg_remove(a, op);
    if (!content_op_adds(op))
        return 0;
    now.sub = MFP__SUB__NEW;
    add.now = &now;
    return apply_msg_present(a, &add);
}

static bool is_of_contents(const Mfp__Op *op) {
    return op->op_case == MFP__OP__OP_KEYWORDS || op->op_case == MFP__OP__OP_UIDLIST ||
           op->op_case == MFP__OP__OP_LINES || op->op_case == MFP__OP__OP_FILE;
}

static int apply_op(struct apply *a, const Mfp__Op *op) {
    if (a->former && is_of_contents(op))
        return 0;
    if (a->former && op->op_case == MFP__OP__OP_MSG)
        return former_msg(a, op->msg);
    switch (op->op_case) {
    case MFP__OP__OP_KEYWORDS:
        return apply_keywords(a, op->keywords);
    case MFP__OP__OP_MSG:
        return phase_of(op) == PRESENT ? apply_msg_present(a, op->msg)
                                       : apply_msg_remove(a, op->msg);
    case MFP__OP__OP_UIDLIST:
        return a->locked ? apply_uidlist(a, op->uidlist) : -EPROTO;
    case MFP__OP__OP_LINES:
        return apply_lines(a, op->lines);
    case MFP__OP__OP_FILE:
        return apply_file(a, op->file);
    case MFP__OP__OP_DIR_MAKE:
        return apply_dir_make(a, op->dir_make);
    case MFP__OP__OP_DIR_MOVE:
        return apply_dir_move(a, op->dir_move);
    case MFP__OP__OP_DIR_REMOVE:
        return apply_dir_remove(a, op->dir_remove);
    case MFP__OP__OP_SUBDIR:
        return apply_subdir(a, op->subdir);
    default:
        return 0;
    }
}

/* Errors that trying again cannot mend. After any other the transaction stays in the journal. */
static bool is_permanent(int err) {
    switch (err) {
    case -EINVAL:
    case -ENAMETOOLONG:
    case -EPROTO:
    case -EPROTONOSUPPORT:
    case -EBADMSG:
    case -EPERM:
    case -ENOTDIR:
    case -EISDIR:
    case -ELOOP:
    case -EFBIG:
    case -EEXIST:
    case -ENOENT:
        return true;
    default:
        return false;
    }
}

/* *first: the first error, a passing one before a permanent one. Non-zero ends it. */
static int apply_one(struct apply *a, const Mfp__Op *op, bool *done, int *first) {
    int r = apply_op(a, op);

    *done = r == 0;
    if (r >= 0)
        return 0;
    if ((r == -EBUSY && a->beside) || r == -EOWNERDEAD)
        return *first = r;
    state_fail(a->st, r, &a->dir, "cannot apply what the peer did");
    a->out->suspect = true;
    if (*first == 0 || !is_permanent(r))
        *first = r;
    return is_permanent(r) ? 0 : r;
}

static int apply_all(struct apply *a, const Mfp__Txn *txn, bool *done) {
    int phase, r = 0, first = 0;
    size_t i;

    for (phase = 0; r == 0 && phase < PHASES; phase++) {
        for (i = 0; r == 0 && i < txn->n_ops; i++) {
            if ((int)phase_of(txn->ops[i]) == phase)
                r = apply_one(a, txn->ops[i], &done[i], &first);
        }
    }
    r = apply_maildirsize(a);
    return first ? first : r;
}

/* A content that has no name in a mailbox yet must stay: it may be the only copy. */
static bool lacks_content(const Mfp__Txn *txn, const bool *done) {
    size_t i;

    for (i = 0; i < txn->n_ops; i++) {
        if (!done[i] && txn->ops[i]->op_case == MFP__OP__OP_MSG &&
            content_op_adds(txn->ops[i]->msg))
            return true;
    }
    return false;
}

/* Who is told of what did not fit may be gone before it is compared, and at a start there is no
 * contact yet: a mark has that done at the next one. */
static int mark_suspect(struct apply *a) {
    uint64_t gen;
    size_t i;
    int r = state_mark_gen(a->st, &gen);

    if (r == 0)
        r = state_mark(a->st, &a->dir, gen);
    for (i = 0; r == 0 && i < a->out->n_also; i++)
        r = state_mark(a->st, &a->out->also[i], gen);
    return r;
}

/* Comparing a mailbox that only one node has decides nothing: the trees do. At a start it is one
 * that was removed after this: when both find it gone, the entry goes. */
static void not_here(struct apply *a) {
    apply_suspect(a, "the container is not here", NULL);
    a->out->tree = !a->replay;
    mark_suspect(a);
}

/*
 * Both nodes made it at the same moment, and this one's id stays. What the peer does in it before
 * it knows that is done here: both nodes have one tree, and what was acknowledged is in it.
 */
static int open_former(struct apply *a) {
    if (!alias_now(a->st, &a->told, &a->dir))
        return -ENOENT;
    a->former = true;
    return store_dir_open(a->st, &a->dir, &a->d);
}

static int apply_open(struct apply *a, const Mfp__Txn *txn) {
    int r = wire_id(&txn->dir, &a->told);

    a->dir = a->told;
    if (r == 0)
        r = store_dir_open(a->st, &a->dir, &a->d);
    if (r == -ENOENT && a->beside) /* another container is meant, or it is on its way here */
        return alias_now(a->st, &a->told, &a->dir) ? -EBUSY : r;
    if (r == -ENOENT)
        r = open_former(a);
    if (r == -ENOENT)
        not_here(a);
    return r;
}

/* In the peer's base it is under the former id, where nothing is to be. The merges settle that. */
static int former_base(struct apply *a, const Mfp__Txn *txn, const bool *done,
                       uint64_t journal_id) {
    int r;

    apply_suspect_also(a, &a->dir);
    r = mark_suspect(a);
    if (r == 0 && journal_id && !lacks_content(txn, done))
        journal_applied(a->st, journal_id);
    return r;
}

static int apply_base(struct apply *a, const Mfp__Txn *txn, const bool *done, uint64_t journal_id) {
    int r = base_apply_txn(a->st, BASE_AGREED, txn, done);

    if (r == 0 && (a->out->suspect || a->out->n_also))
        r = mark_suspect(a);
    if (r < 0)
        return state_fail(a->st, r, &a->dir, "applied, but the base cannot follow");
    /* Otherwise its entry goes when the container has been merged. */
    if (journal_id && !lacks_content(txn, done))
        journal_applied(a->st, journal_id);
    return 0;
}

static bool moves_tree(const Mfp__Op *op) {
    return op->op_case == MFP__OP__OP_DIR_MAKE || op->op_case == MFP__OP__OP_DIR_MOVE ||
           op->op_case == MFP__OP__OP_DIR_REMOVE;
}

/* The peer's base moves when it hears that this is in the journal. What is in its base only was not
 * removed here. By the id that the peer knows nothing is done. */
static int note_undone(const struct apply *a, const Mfp__Txn *txn, const bool *done) {
    bool some = false, tree = false;
    size_t i;

    if (!done)
        return -ENOMEM;
    for (i = 0; i < txn->n_ops; i++) {
        bool undone = a->former || !done[i];
        some |= undone;
        tree |= undone && moves_tree(txn->ops[i]);
    }
    return some ? base_lacking_note(a->st, &a->dir, tree) : 0;
}

/* It is as if it had not been begun. */
static bool begins_anew(const struct apply *a, int err) {
    return ((err == -EBUSY || err == -ENOENT) && a->beside) || err == -EOWNERDEAD;
}

/* What is not done is noted first: the entry counts as applied with what follows it. */
static int follow(struct apply *a, const Mfp__Txn *txn, const bool *done, bool opened, int err,
                  uint64_t journal_id) {
    int r;

    if (begins_anew(a, err))
        return 0;
    r = note_undone(a, txn, done);
    a->out->unnoted = r != 0;
    if (r == 0 && opened && (err == 0 || is_permanent(err)))
        r = a->former ? former_base(a, txn, done, journal_id)
                      : apply_base(a, txn, done, journal_id);
    return r;
}

int apply_txn(struct state *st, const Mfp__Txn *txn, uint64_t journal_id,
              const struct apply_how *how, struct apply_result *out) {
    struct apply a = {.st = st, .out = out, .locked = txn->locked};
    bool *done = calloc(txn->n_ops + 1, sizeof(*done)), opened;
    int r, r2;

    memset(out, 0, sizeof(*out));
    if (how) {
        a.replay = how->replay;
        a.beside = how->beside;
        a.raise = how->raise;
    }
    a.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    recent_begin(st);
    r = done ? apply_open(&a, txn) : -ENOMEM;
    opened = r == 0;
    if (opened)
        r = apply_all(&a, txn, done);
    r2 = follow(&a, txn, done, opened, r, journal_id);
    r = r2 < 0 ? r2 : r;
    recent_end(st);
    if (journal_id)
        journal_tried(st, journal_id);
    if (a.has_ix)
        index_free(&a.ix);
    store_dir_close(&a.d);
    free(done);
    return r;
}
