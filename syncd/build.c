/*
 * build: makes messages of peer.proto. No diagnostics.
 */
#include "build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/array.h"

#define NEW(type, init)                                                                            \
    static type *type##_new(void) {                                                                \
        type *m = malloc(sizeof(*m));                                                              \
        if (m)                                                                                     \
            init(m);                                                                               \
        return m;                                                                                  \
    }

NEW(Mfp__Op, mfp__op__init)
NEW(Mfp__OpMsg, mfp__op_msg__init)
NEW(Mfp__OpUidlist, mfp__op_uidlist__init)
NEW(Mfp__OpKeywords, mfp__op_keywords__init)
NEW(Mfp__OpLines, mfp__op_lines__init)
NEW(Mfp__OpFile, mfp__op_file__init)
NEW(Mfp__OpDirMake, mfp__op_dir_make__init)
NEW(Mfp__OpDirMove, mfp__op_dir_move__init)
NEW(Mfp__OpDirRemove, mfp__op_dir_remove__init)
NEW(Mfp__OpSubDir, mfp__op_sub_dir__init)
NEW(Mfp__Meta, mfp__meta__init)
NEW(Mfp__MsgState, mfp__msg_state__init)
NEW(Mfp__FileState, mfp__file_state__init)
NEW(Mfp__UidRec, mfp__uid_rec__init)
NEW(Mfp__PrepId, mfp__prep_id__init)
NEW(Mfp__Txn, mfp__txn__init)

char *build_str(const char *s) {
    if (!s || !*s)
        return (char *)protobuf_c_empty_string;
    return strdup(s);
}

int build_bytes(ProtobufCBinaryData *out, const void *p, size_t n) {
    out->data = n ? malloc(n) : NULL;
    out->len = 0;
    if (n && !out->data)
        return -ENOMEM;
    if (n)
        memcpy(out->data, p, n);
    out->len = n;
    return 0;
}

int build_id(ProtobufCBinaryData *out, const struct mailfs_id *id) {
    return build_bytes(out, id->b, sizeof(id->b));
}

int build_push(void *array, size_t *n, void *element) {
    void ***a = array, **v;

    if (!element)
        return -ENOMEM;
    v = array_room(*a, *n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    *a = v;
    v[(*n)++] = element;
    return 0;
}

int build_push_lines(char ***v, size_t *n, const struct maildir_subs *s) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < maildir_subs_count(s); i++) {
        char *line = strdup(maildir_subs_at(s, i));
        r = build_push(v, n, line);
        if (r < 0)
            free(line);
    }
    return r;
}

Mfp__Txn *build_txn(const struct mailfs_id *dir, bool locked) {
    Mfp__Txn *txn = Mfp__Txn_new();

    if (txn && build_id(&txn->dir, dir) < 0) {
        mfp__txn__free_unpacked(txn, NULL);
        return NULL;
    }
    if (txn)
        txn->locked = locked;
    return txn;
}

static void *op_body(Mfp__Op *op, Mfp__Op__OpCase what) {
    switch (what) {
    case MFP__OP__OP_MSG:
        return op->msg = Mfp__OpMsg_new();
    case MFP__OP__OP_UIDLIST:
        return op->uidlist = Mfp__OpUidlist_new();
    case MFP__OP__OP_KEYWORDS:
        return op->keywords = Mfp__OpKeywords_new();
    case MFP__OP__OP_LINES:
        return op->lines = Mfp__OpLines_new();
    case MFP__OP__OP_FILE:
        return op->file = Mfp__OpFile_new();
    case MFP__OP__OP_DIR_MAKE:
        return op->dir_make = Mfp__OpDirMake_new();
    case MFP__OP__OP_DIR_MOVE:
        return op->dir_move = Mfp__OpDirMove_new();
    case MFP__OP__OP_DIR_REMOVE:
        return op->dir_remove = Mfp__OpDirRemove_new();
    case MFP__OP__OP_SUBDIR:
        return op->subdir = Mfp__OpSubDir_new();
    default:
        return NULL;
    }
}

Mfp__Op *build_op(Mfp__Txn *txn, Mfp__Op__OpCase what) {
    Mfp__Op *op = Mfp__Op_new();

    if (!op || !op_body(op, what)) {
        free(op);
        return NULL;
    }
    op->op_case = what;
    if (build_push(&txn->ops, &txn->n_ops, op) < 0) {
        mfp__op__free_unpacked(op, NULL);
        return NULL;
    }
    return op;
}

Mfp__MsgState *build_msg_state(const struct base_msg *m, int *err) {
    Mfp__MsgState *s;

    *err = 0;
    if (m->sub == MFP__SUB__SELF)
        return NULL;
    s = Mfp__MsgState_new();
    if (s)
        s->info = build_str(m->info);
    if (!s || !s->info) {
        free(s);
        *err = -ENOMEM;
        return NULL;
    }
    s->sub = (Mfp__Sub)m->sub;
    s->uid = m->uid;
    return s;
}

static Mfp__Meta *meta(uint32_t mode, uint32_t uid, uint32_t gid, int64_t mtime_ns, uint64_t size) {
    Mfp__Meta *m = Mfp__Meta_new();

    if (!m)
        return NULL;
    m->mode = mode;
    m->uid = uid;
    m->gid = gid;
    m->mtime_ns = mtime_ns;
    m->size = size;
    return m;
}

Mfp__Meta *build_msg_meta(const struct base_msg *m) {
    return meta(m->mode, m->owner, m->group, m->mtime_ns, m->size);
}

Mfp__Meta *build_dir_meta(const struct base_dir *d) {
    return meta(d->mode, d->owner, d->group, 0, 0);
}

Mfp__FileState *build_file_state(const struct base_file *f, int *err) {
    Mfp__FileState *s;

    *err = 0;
    if (f->type == 0)
        return NULL;
    *err = -ENOMEM;
    s = Mfp__FileState_new();
    if (!s)
        return NULL;
    s->type = f->type;
    s->meta = meta(f->mode, f->owner, f->group, f->mtime_ns, f->size);
    s->symlink = build_str(f->link);
    if (!s->meta || !s->symlink ||
        (S_ISREG(f->type) && build_bytes(&s->sha256, f->sha256, sizeof(f->sha256)) < 0)) {
        mfp__file_state__free_unpacked(s, NULL);
        return NULL;
    }
    *err = 0;
    return s;
}

Mfp__UidRec *build_rec(uint32_t uid, const char *ext, const char *base) {
    Mfp__UidRec *r = Mfp__UidRec_new();

    if (!r)
        return NULL;
    r->uid = uid;
    r->ext = build_str(ext);
    r->bname = build_str(base);
    if (!r->ext || !r->bname) {
        mfp__uid_rec__free_unpacked(r, NULL);
        return NULL;
    }
    return r;
}

Mfp__PrepId *build_prep(uint64_t incarnation, uint64_t seq) {
    Mfp__PrepId *p = Mfp__PrepId_new();

    if (p) {
        p->incarnation = incarnation;
        p->seq = seq;
    }
    return p;
}
