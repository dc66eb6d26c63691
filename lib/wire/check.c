/*
 * check - what a peer sent is refused here or well-formed
 *
 * One small function a message. A check that fails names itself: the sentence goes into the log and
 * into the peer's.
 *
 * Diagnostics: none; the reason is returned.
 */
#include "wire/check.h"
#include "wire/pack.h"

#include <errno.h>
#include <string.h>

#include "maildir/class.h"
#include "maildir/name.h"

#define SYMLINK_MAX      4096
#define XATTR_NAME_BYTES 255
#define DIGEST_BYTES     32
#define EXT_MAX          4096
#define NODE_MAX         255

#define REQUIRE(condition, sentence)                                                               \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            *why = (sentence);                                                                     \
            return -EPROTO;                                                                        \
        }                                                                                          \
    } while (0)
#define CHECK(call)                                                                                \
    do {                                                                                           \
        int check_result = (call);                                                                 \
        if (check_result != 0)                                                                     \
            return check_result;                                                                   \
    } while (0)

const Mfp__PrepId *wire_prepared(const Mfp__Op *op) {
    return op->op_case == MFP__OP__OP_MSG && op->msg->source ? op->msg->source->prepared : NULL;
}

const Mfp__PrepId *wire_used_up(const Mfp__Op *op) {
    const Mfp__PrepId *id = wire_prepared(op);
    return id != NULL && op->msg->source->dir.len == 0 ? id : NULL;
}

int wire_id(const ProtobufCBinaryData *bytes, struct mailfs_id *id) {
    if (bytes->len != MAILFS_ID_BYTES)
        return -EPROTO;
    memcpy(id->b, bytes->data, MAILFS_ID_BYTES);
    return 0;
}

ProtobufCBinaryData wire_bytes_of(const struct mailfs_id *id) {
    return (ProtobufCBinaryData){.len = MAILFS_ID_BYTES, .data = (uint8_t *)(uintptr_t)id->b};
}

static int check_id(const ProtobufCBinaryData *id, const char **why) {
    REQUIRE(id->len == MAILFS_ID_BYTES, "an id that is not 16 bytes");
    return 0;
}

static int check_digest(const ProtobufCBinaryData *digest, const char **why) {
    REQUIRE(digest->len == 0 || digest->len == DIGEST_BYTES, "a digest that is not 32 bytes");
    return 0;
}

static int check_component(const char *name, const char **why) {
    size_t len = strlen(name);
    REQUIRE(maildir_name_check(name, len, MAILDIR_NAME_COMPONENT) == 0, "a bad name");
    REQUIRE(maildir_class_of(MAILDIR_DIR_CONTAINER, name, len) != MAILDIR_INTERNAL,
            "a name that is ours alone");
    return 0;
}

static int check_base(const char *name, const char **why) {
    REQUIRE(maildir_name_check(name, strlen(name), MAILDIR_NAME_BASE) == 0,
            "a bad base name of a message");
    return 0;
}

/* A file of the container, or "new/NAME", "cur/NAME" for the attributes of a message. */
static int check_file_name(const char *name, const char **why) {
    if (strncmp(name, "new/", 4) == 0 || strncmp(name, "cur/", 4) == 0)
        name += 4;
    return check_component(name, why);
}

static int check_line(const char *line, const char **why) {
    REQUIRE(strpbrk(line, "\r\n") == NULL, "a line that is several");
    return 0;
}

static int check_sub(Mfp__Sub sub, const char **why) {
    REQUIRE((unsigned)sub <= MFP__SUB__TMP, "an unknown part of a mailbox");
    return 0;
}

static int check_info(const char *info, const char **why) {
    REQUIRE(strlen(info) < MAILDIR_NAME_MAX && strpbrk(info, "/\r\n") == NULL,
            "flags that cannot stand in a file name");
    return 0;
}

static int check_state(const Mfp__MsgState *s, const char **why) {
    if (s == NULL)
        return 0;
    REQUIRE((unsigned)s->sub <= MFP__SUB__CUR, "a message that is neither in new nor in cur");
    return check_info(s->info, why);
}

static int check_source(const Mfp__Source *s, const char **why) {
    if (s == NULL)
        return 0;
    if (s->dir.len > 0 || s->bname[0] != '\0')
        CHECK(check_id(&s->dir, why));
    return s->bname[0] != '\0' ? check_base(s->bname, why) : 0;
}

static int check_file_state(const Mfp__FileState *s, const char **why) {
    if (s == NULL)
        return 0;
    CHECK(check_digest(&s->sha256, why));
    REQUIRE(strlen(s->symlink) < SYMLINK_MAX, "a symbolic link that is too long");
    for (size_t i = 0; i < s->n_xattrs; i++)
        REQUIRE(strlen(s->xattrs[i]->name) <= XATTR_NAME_BYTES, "an attribute name too long");
    return 0;
}

/* In an operation they ascend; in a listing they come in the order of the messages. */
static int check_recs(Mfp__UidRec *const *recs, size_t n, bool ascending, const char **why) {
    uint32_t last = 0;
    for (size_t i = 0; i < n; i++) {
        REQUIRE(recs[i]->uid > 0, "a message without UID in the uidlist");
        REQUIRE(!ascending || recs[i]->uid > last, "UIDs that do not ascend");
        last = recs[i]->uid;
        REQUIRE(strlen(recs[i]->ext) < EXT_MAX, "a uidlist record too long");
        CHECK(check_line(recs[i]->ext, why));
        CHECK(check_base(recs[i]->bname, why));
    }
    return 0;
}

static int check_lines(char *const *lines, size_t n, const char **why) {
    for (size_t i = 0; i < n; i++)
        CHECK(check_line(lines[i], why));
    return 0;
}

static int check_op_dir(const ProtobufCBinaryData *id, const char *name, const char **why) {
    CHECK(check_id(id, why));
    return check_component(name, why);
}

static int check_op_file(const Mfp__OpFile *op, const char **why) {
    CHECK(check_file_name(op->name, why));
    CHECK(check_file_state(op->old, why));
    return check_file_state(op->now, why);
}

static int check_op_msg(const Mfp__OpMsg *op, const char **why) {
    CHECK(check_base(op->bname, why));
    CHECK(check_state(op->old, why));
    CHECK(check_state(op->now, why));
    return check_source(op->source, why);
}

static int check_op_lines(const Mfp__OpLines *op, const char **why) {
    CHECK(check_component(op->name, why));
    CHECK(check_lines(op->added, op->n_added, why));
    return check_lines(op->removed, op->n_removed, why);
}

static int check_op(const Mfp__Op *op, const char **why) {
    switch (op->op_case) {
    case MFP__OP__OP_MSG:
        return check_op_msg(op->msg, why);
    case MFP__OP__OP_UIDLIST:
        CHECK(check_line(op->uidlist->header_ext, why));
        return check_recs(op->uidlist->recs, op->uidlist->n_recs, true, why);
    case MFP__OP__OP_KEYWORDS:
        return 0;
    case MFP__OP__OP_LINES:
        return check_op_lines(op->lines, why);
    case MFP__OP__OP_FILE:
        return check_op_file(op->file, why);
    case MFP__OP__OP_DIR_MAKE:
        return check_op_dir(&op->dir_make->id, op->dir_make->name, why);
    case MFP__OP__OP_DIR_MOVE:
        CHECK(check_id(&op->dir_move->new_parent, why));
        CHECK(check_component(op->dir_move->old_name, why));
        return check_op_dir(&op->dir_move->id, op->dir_move->name, why);
    case MFP__OP__OP_DIR_REMOVE:
        for (size_t i = 0; i < op->dir_remove->n_bases; i++)
            CHECK(check_base(op->dir_remove->bases[i], why));
        return check_op_dir(&op->dir_remove->id, op->dir_remove->name, why);
    case MFP__OP__OP_SUBDIR:
        return check_sub(op->subdir->sub, why);
    default:
        break;
    }
    REQUIRE(false, "an unknown operation");
    return 0;
}

int wire_check_txn(const Mfp__Txn *txn, const char **why) {
    CHECK(check_id(&txn->dir, why));
    for (size_t i = 0; i < txn->n_ops; i++)
        CHECK(check_op(txn->ops[i], why));
    return 0;
}

static int check_listed(const Mfp__Listing *l, const char **why) {
    for (size_t i = 0; i < l->n_msgs; i++) {
        CHECK(check_base(l->msgs[i]->bname, why));
        CHECK(check_state(l->msgs[i]->was, why));
        CHECK(check_state(l->msgs[i]->is, why));
        CHECK(check_state(l->msgs[i]->half_mine, why));
        CHECK(check_state(l->msgs[i]->half_theirs, why));
    }
    for (size_t i = 0; i < l->n_files; i++) {
        CHECK(check_file_name(l->files[i]->name, why));
        CHECK(check_file_state(l->files[i]->was, why));
        CHECK(check_file_state(l->files[i]->is, why));
    }
    return 0;
}

static int check_listing(const Mfp__Listing *l, const char **why) {
    CHECK(check_id(&l->dir, why));
    CHECK(check_digest(&l->base_digest, why));
    CHECK(check_line(l->header_ext, why));
    CHECK(check_listed(l, why));
    CHECK(check_recs(l->recs, l->n_recs, false, why));
    CHECK(check_lines(l->subs, l->n_subs, why));
    CHECK(check_lines(l->subs_base, l->n_subs_base, why));
    CHECK(check_lines(l->subs_borrowed, l->n_subs_borrowed, why));
    for (size_t i = 0; i < l->n_subdirs; i++)
        CHECK(check_sub(l->subdirs[i]->sub, why));
    return 0;
}

static int check_tree(const Mfp__Tree *t, const char **why) {
    CHECK(check_digest(&t->base_digest, why));
    for (size_t i = 0; i < t->n_dirs; i++) {
        const Mfp__TreeDir *d = t->dirs[i];
        CHECK(check_id(&d->id, why));
        if (d->had) {
            CHECK(check_id(&d->old_parent, why));
            CHECK(check_component(d->old_name, why));
        }
        if (d->has) {
            CHECK(check_id(&d->parent, why));
            CHECK(check_component(d->name, why));
        }
        for (size_t k = 0; k < d->n_msgs; k++)
            CHECK(check_base(d->msgs[k]->bname, why));
    }
    return 0;
}

static int check_marks(const Mfp__Marks *m, const char **why) {
    for (size_t i = 0; i < m->n_marks; i++) {
        CHECK(check_id(&m->marks[i]->dir, why));
        CHECK(check_digest(&m->marks[i]->base_digest, why));
    }
    return 0;
}

static int check_prep_id(const Mfp__PrepId *id, const char **why) {
    REQUIRE(id != NULL, "a prepared content without id");
    return 0;
}

static int check_prepare(const Mfp__Prepare *p, const char **why) {
    CHECK(check_prep_id(p->id, why));
    CHECK(check_id(&p->dir, why));
    return check_component(p->tmp_name, why);
}

static int check_body(const Mfp__Body *b, const char **why) {
    REQUIRE((unsigned)b->kind <= MFP__BODY__KIND__FETCH, "an unknown kind of body");
    REQUIRE(strlen(b->symlink) < SYMLINK_MAX, "a symbolic link that is too long");
    REQUIRE(b->packed <= WIRE_PACK_MAX, "a part that becomes too large");
    CHECK(check_digest(&b->sha256, why));
    REQUIRE(!b->delta || b->sha256.len == DIGEST_BYTES, "a delta of nobody knows what");
    return 0;
}

static int check_fetch(const Mfp__Fetch *f, const char **why) {
    CHECK(check_sub(f->sub, why));
    CHECK(check_id(&f->dir, why));
    CHECK(check_digest(&f->have_sha256, why));
    REQUIRE(f->have == 0 || f->have_sha256.len == DIGEST_BYTES, "a part without its hash");
    REQUIRE(f->signature.len <= WIRE_SIGNATURE_MAX, "a signature that is too long");
    CHECK(check_info(f->info, why));
    return check_file_name(f->name, why);
}

static int check_merged(const Mfp__Merged *m, const char **why) {
    CHECK(check_id(&m->dir, why));
    return check_digest(&m->digest, why);
}

static int check_hello(const Mfp__Hello *h, const char **why) {
    REQUIRE(h->store_id.len == MAILFS_ID_BYTES, "a store id that is not 16 bytes");
    REQUIRE(strlen(h->node) <= NODE_MAX && strlen(h->volume) <= NODE_MAX, "a name too long");
    REQUIRE(h->node[0] != '\0' && h->volume[0] != '\0', "no name of the node or the volume");
    return 0;
}

static int check_verify(const Mfp__Verify *v, const char **why) {
    REQUIRE((unsigned)v->what <= MFP__VERIFY__WHAT__MEND, "an unknown kind of verification");
    for (size_t i = 0; i < v->n_dirs; i++)
        CHECK(check_id(&v->dirs[i], why));
    if (v->n_dirs == 0) {
        CHECK(check_id(&v->from, why));
        CHECK(check_id(&v->to, why));
    }
    for (size_t i = 0; i < v->n_bnames; i++)
        CHECK(check_base(v->bnames[i], why));
    return 0;
}

static int check_verified(const Mfp__Verified *v, const char **why) {
    CHECK(check_digest(&v->digest, why));
    for (size_t i = 0; i < v->n_dirs; i++) {
        CHECK(check_id(&v->dirs[i]->dir, why));
        CHECK(check_digest(&v->dirs[i]->digest, why));
        CHECK(check_digest(&v->dirs[i]->sums, why));
    }
    for (size_t i = 0; i < v->n_problems; i++) {
        CHECK(check_id(&v->problems[i]->dir, why));
        if (v->problems[i]->name[0] != '\0')
            CHECK(check_component(v->problems[i]->name, why));
    }
    for (size_t i = 0; i < v->n_sums; i++) {
        CHECK(check_base(v->sums[i]->bname, why));
        REQUIRE(v->sums[i]->sha256.len == DIGEST_BYTES, "a checksum that is not 32 bytes");
    }
    return 0;
}

int wire_check_frame(const Mfp__Frame *f, const char **why) {
    switch (f->m_case) {
    case MFP__FRAME__M_HELLO:
        return check_hello(f->hello, why);
    case MFP__FRAME__M_PING:
    case MFP__FRAME__M_PONG:
    case MFP__FRAME__M_BYE:
    case MFP__FRAME__M_TXN_ACK:
    case MFP__FRAME__M_IN_SYNC:
        return 0;
    case MFP__FRAME__M_BODY:
        return check_body(f->body, why);
    case MFP__FRAME__M_PREPARE:
        return check_prepare(f->prepare, why);
    case MFP__FRAME__M_PREPARED_OK:
        return check_prep_id(f->prepared_ok->id, why);
    case MFP__FRAME__M_ABORT:
        return check_prep_id(f->abort->id, why);
    case MFP__FRAME__M_TXN:
        return wire_check_txn(f->txn, why);
    case MFP__FRAME__M_FETCH:
        return check_fetch(f->fetch, why);
    case MFP__FRAME__M_TOKEN_REQ:
        return check_id(&f->token_req->dir, why);
    case MFP__FRAME__M_TOKEN_GIVE:
        return check_id(&f->token_give->dir, why);
    case MFP__FRAME__M_MARKS:
        return check_marks(f->marks, why);
    case MFP__FRAME__M_MERGE_START:
        return check_id(&f->merge_start->dir, why);
    case MFP__FRAME__M_LISTING:
        return check_listing(f->listing, why);
    case MFP__FRAME__M_STAGED:
        return check_id(&f->staged->dir, why);
    case MFP__FRAME__M_FREEZE:
        return check_id(&f->freeze->dir, why);
    case MFP__FRAME__M_CANCEL:
        return check_id(&f->cancel->dir, why);
    case MFP__FRAME__M_MERGED:
        return check_merged(f->merged, why);
    case MFP__FRAME__M_TREE:
        return check_tree(f->tree, why);
    case MFP__FRAME__M_TREE_MERGED:
        return check_digest(&f->tree_merged->digest, why);
    case MFP__FRAME__M_VERIFY:
        return check_verify(f->verify, why);
    case MFP__FRAME__M_VERIFIED:
        return check_verified(f->verified, why);
    default:
        break;
    }
    REQUIRE(false, "an unknown kind of frame");
    return 0;
}
