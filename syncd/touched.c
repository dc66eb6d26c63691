/* touched - see touched.h. No diagnostics. */
#include "touched.h"

#include <string.h>

#include "jobs.h"
#include "wire/check.h"

static void add(struct touched *t, const struct mailfs_id *id) {
    for (size_t i = 0; i < t->n; i++)
        if (mailfs_id_equal(&t->dirs[i], id))
            return;
    if (t->n == TOUCHED_MAX)
        t->all = true;
    else
        t->dirs[t->n++] = *id;
}

/* One that makes no sense is refused where it is used. */
static void add_bytes(struct touched *t, const ProtobufCBinaryData *bytes) {
    struct mailfs_id id;
    if (wire_id(bytes, &id) == 0)
        add(t, &id);
}

static void add_tree(struct touched *t, const ProtobufCBinaryData *id) {
    t->tree = true;
    add_bytes(t, id);
}

void touched_by_txn(const Mfp__Txn *txn, struct touched *t) {
    *t = (struct touched){.n = 0};
    add_bytes(t, &txn->dir);
    for (size_t i = 0; i < txn->n_ops; i++) {
        const Mfp__Op *op = txn->ops[i];
        if (op->op_case == MFP__OP__OP_DIR_MAKE)
            add_tree(t, &op->dir_make->id);
        else if (op->op_case == MFP__OP__OP_DIR_REMOVE)
            add_tree(t, &op->dir_remove->id);
        if (op->op_case != MFP__OP__OP_DIR_MOVE)
            continue;
        add_tree(t, &op->dir_move->id);
        add_bytes(t, &op->dir_move->new_parent);
    }
}

bool touched_tree(const Mfp__Txn *txn) {
    struct touched t;
    touched_by_txn(txn, &t);
    return t.tree;
}

void touched_by_acts(const struct mailfs_id *dir, Mfl__Act *const *acts, size_t n,
                     struct touched *t) {
    *t = (struct touched){.n = 0};
    add(t, dir);
    for (size_t i = 0; i < n; i++) {
        const Mfl__Act *act = acts[i];
        if (act->what_case == MFL__ACT__WHAT_DIR_MAKE)
            add_tree(t, &act->dir_make->id);
        else if (act->what_case == MFL__ACT__WHAT_DIR_REMOVE)
            add_tree(t, &act->dir_remove->id);
        if (act->what_case != MFL__ACT__WHAT_DIR_MOVE)
            continue;
        add_tree(t, &act->dir_move->id);
        add_bytes(t, &act->dir_move->new_parent);
    }
}

bool touched_meet(const struct touched *a, const struct touched *b) {
    if (a->all || b->all)
        return true;
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            if (mailfs_id_equal(&a->dirs[i], &b->dirs[k]))
                return true;
    return false;
}

void touched_run(const struct touched *t, struct jobs *jobs, workq_fn *run, workq_fn *done,
                 void *arg) {
    struct mailfs_id dirs[TOUCHED_MAX + 1];
    if (t->all || t->n == 0) {
        jobs_barrier(jobs, run, done, arg);
        return;
    }
    memcpy(dirs, t->dirs, t->n * sizeof *dirs);
    memset(&dirs[t->n], 0xff, sizeof *dirs); /* the tree: no container has this id */
    jobs_run_on(jobs, dirs, t->tree ? t->n + 1 : t->n, run, done, arg);
}
