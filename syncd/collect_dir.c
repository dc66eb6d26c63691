/*
 * collect_dir: containers made, moved and removed below this one.
 *
 * The table of containers learns of them at once (handles: an id must lead to its directory), but
 * the *agreed* place of one that the peer knows changes only when the peer has acknowledged.
 * No diagnostics but of collect.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "collect_int.h"
#include "hold.h"
#include "pending.h"
#include "state_int.h"
#include "util/str.h"
#include "wire/check.h"

static int note_dir(struct collect *c, const struct mailfs_id *id, const struct mailfs_id *parent,
                    const char *name, const ProtobufCBinaryData *handle, const Mfl__Meta *meta) {
    struct base_dir rec;
    int r = base_dir_get(c->st, id, &rec);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == -ENOENT)
        memset(&rec, 0, sizeof(rec));
    if (handle && handle->len == sizeof(rec.handle))
        memcpy(&rec.handle, handle->data, sizeof(rec.handle));
    if (rec.handle.len > IO_HANDLE_MAX)
        memset(&rec.handle, 0, sizeof(rec.handle));
    if (!rec.agreed) {
        rec.told |= c->telling;
        rec.parent = *parent;
        if (str_copy(rec.name, sizeof(rec.name), name) < 0)
            return -EINVAL;
        if (meta) {
            rec.mode = meta->mode & 07777;
            rec.owner = meta->uid;
            rec.group = meta->gid;
        }
    }
    return base_dir_put(c->st, id, &rec);
}

static Mfp__Meta *meta_of(const Mfl__Meta *m) {
    Mfp__Meta *n = m ? malloc(sizeof(*n)) : NULL;

    if (!n)
        return NULL;
    mfp__meta__init(n);
    n->mode = m->mode & 07777;
    n->uid = m->uid;
    n->gid = m->gid;
    n->mtime_ns = m->mtime_ns;
    n->size = m->size;
    return n;
}

static int do_make(struct collect *c, const Mfl__DirMake *m) {
    struct mailfs_id id;
    Mfp__Op *op;
    int r = wire_id(&m->id, &id);

    if (r == 0)
        r = note_dir(c, &id, c->dir, m->name, &m->handle, m->meta);
    if (r < 0 || !c->telling)
        return r;
    op = build_op(c->txn, MFP__OP__OP_DIR_MAKE);
    if (!op || !(op->dir_make->name = build_str(m->name)))
        return -ENOMEM;
    op->dir_make->meta = meta_of(m->meta);
    return build_id(&op->dir_make->id, &id);
}

static int do_move(struct collect *c, const Mfl__DirMove *m) {
    struct mailfs_id id, parent;
    Mfp__Op *op;
    int r = wire_id(&m->id, &id);

    if (r == 0)
        r = wire_id(&m->new_parent, &parent);
    if (r == 0)
        r = note_dir(c, &id, &parent, m->name, NULL, NULL);
    if (r < 0 || !c->telling)
        return r;
    op = build_op(c->txn, MFP__OP__OP_DIR_MOVE);
    if (!op || !(op->dir_move->name = build_str(m->name)) ||
        !(op->dir_move->old_name = build_str(m->old_name)))
        return -ENOMEM;
    r = build_id(&op->dir_move->id, &id);
    return r == 0 ? build_id(&op->dir_move->new_parent, &parent) : r;
}

int collect_note_deleted(struct collect *c, const Mfl__DirRemove *m) {
    struct mailfs_id id;
    struct base_msg msg;
    uint32_t n = 0;
    size_t i;
    int r = wire_id(&m->id, &id);

    if (r < 0 || !hold_counts(c->st))
        return r;
    for (i = 0; i < m->n_bases; i++)
        n += !c->telling || base_msg_get(c->st, BASE_SENT, &id, m->bases[i], &msg) == 0;
    hold_removed(c->st, &id, n);
    return 0;
}

static int do_remove(struct collect *c, const Mfl__DirRemove *m) {
    struct mailfs_id id;
    struct base_dir rec;
    Mfp__Op *op;
    size_t i;
    int r = wire_id(&m->id, &id);

    if (r < 0)
        return r;
    pending_clear(c->st, &id);
    if (hold_keeps_dir(c->st, &id)) {
        hold_dir_gone(c->st, &id);
        return 0;
    }
    /* Of one that the peer was told of, and may not have acknowledged before the link ends, the
     * trees say that it was there: it would be one that the peer made. */
    if (base_dir_get(c->st, &id, &rec) == 0 && !rec.agreed && !rec.told)
        r = base_dir_del(c->st, &id);
    if (r < 0 || !c->telling)
        return r;
    op = build_op(c->txn, MFP__OP__OP_DIR_REMOVE);
    if (!op || !(op->dir_remove->name = build_str(m->name)))
        return -ENOMEM;
    for (i = 0; r == 0 && i < m->n_bases; i++) {
        char *b = strdup(m->bases[i]);
        r = build_push(&op->dir_remove->bases, &op->dir_remove->n_bases, b);
        if (r < 0)
            free(b);
    }
    return r == 0 ? build_id(&op->dir_remove->id, &id) : r;
}

static int do_subdir(struct collect *c, const Mfl__SubDir *m) {
    Mfp__Op *op;

    if (m->removed && c->held) {
        hold_dir_gone(c->st, c->dir);
        return 0;
    }
    if (!c->telling)
        return 0;
    op = build_op(c->txn, MFP__OP__OP_SUBDIR);
    if (!op)
        return -ENOMEM;
    op->subdir->sub = (Mfp__Sub)m->sub;
    op->subdir->removed = m->removed;
    op->subdir->meta = meta_of(m->meta);
    return 0;
}

int collect_dir_act(struct collect *c, const Mfl__Act *act) {
    switch (act->what_case) {
    case MFL__ACT__WHAT_DIR_MAKE:
        return do_make(c, act->dir_make);
    case MFL__ACT__WHAT_DIR_MOVE:
        return do_move(c, act->dir_move);
    case MFL__ACT__WHAT_DIR_REMOVE:
        return do_remove(c, act->dir_remove);
    case MFL__ACT__WHAT_SUBDIR:
        return do_subdir(c, act->subdir);
    default:
        return 0;
    }
}
