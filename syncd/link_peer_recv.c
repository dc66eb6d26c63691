/*
 * link_peer_recv - frames to messages for the machine
 *
 * Everything is checked by lib/wire before it is looked at. Errors on the wire are positive errno
 * numbers; the machine's are negative.
 *
 * Diagnostics: none; -EPROTO with a reason, and the caller ends the connection.
 */
#include "link_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "contact.h"
#include "link_peer_private.h"
#include "link_peer_uids.h"
#include "load.h"
#include "mem.h"
#include "util/clock.h"
#include "verify.h"
#include "volume.h"
#include "wire/check.h"
#include "wire/codec.h"
#include "wire/parts.h"
#include "xfer.h"

/* An errno of the peer's: any positive number, 0 for none. */
static int wire_errno(int err) {
    return err == 0 ? 0 : err > 0 && err < 4096 ? -err : -EIO;
}

static int to_machine(struct peer *p, const struct replica_msg *m) {
    return replica_receive(p->v->machine, volume_now(), m);
}

static void get_digest(const ProtobufCBinaryData *from, uint8_t to[REPLICA_DIGEST]) {
    memset(to, 0, REPLICA_DIGEST);
    if (from->len == REPLICA_DIGEST)
        memcpy(to, from->data, REPLICA_DIGEST);
}

/* ---- parts ------------------------------------------------------------------------- */

/*
 * Joins *part (taken over when it is the first) to *whole. 1: whole is complete, and the caller's;
 * 0: more to come.
 */
static int join(ProtobufCMessage **whole, ProtobufCMessage **part, size_t *bytes, size_t len,
                size_t max, bool end) {
    *bytes += len;
    if (*bytes > max)
        return -EPROTO;
    if (*whole == NULL) {
        *whole = *part;
        *part = NULL;
    } else {
        int r = wire_parts_join(*whole, *part);
        if (r != 0)
            return r;
    }
    if (!end)
        return 0;
    *bytes = 0;
    return 1;
}

/* The contents a transaction uses up, for the machine; the caller frees them. */
static size_t txn_preps(const Mfp__Txn *txn, struct replica_prep **out) {
    struct replica_prep *preps = mem_new((txn->n_ops + 1) * sizeof *preps);
    size_t n = 0;
    for (size_t i = 0; i < txn->n_ops; i++) {
        const Mfp__PrepId *id = wire_used_up(txn->ops[i]);
        if (id != NULL)
            preps[n++] = (struct replica_prep){id->incarnation, id->seq};
    }
    *out = preps;
    return n;
}

static int recv_whole_txn(struct peer *p, Mfp__Txn *txn) {
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): join() gave it */
    struct replica_msg m = {.kind = RMSG_TXN, .seq = txn->seq, .locked = txn->locked};
    struct replica_prep *preps;
    wire_id(&txn->dir, &m.dir);
    m.npreps = txn_preps(txn, &preps);
    m.preps = preps;
    m.payload = load_txn(txn);
    int r = to_machine(p, &m);
    replica_payload_unref(m.payload);
    free(preps);
    return r;
}

static bool same_dir(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b) {
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* On a slow link a large one can be longer on its way than the peer would wait. */
static int txn_part_came(struct peer *p, uint64_t seq) {
    struct replica_msg m = {.kind = RMSG_TXN_ACK, .seq = seq, .err = REPLICA_WORKING};
    return peer_send_msg(p, &m) == -ENOMEM ? -ENOMEM : 0;
}

static int recv_txn(struct peer *p, Mfp__Frame *f, size_t len) {
    bool end = f->txn->end;
    uint64_t seq = f->txn->seq;
    if (p->txn != NULL && (p->txn->seq != f->txn->seq || !same_dir(&p->txn->dir, &f->txn->dir)))
        return -EPROTO;
    int r = join((ProtobufCMessage **)&p->txn, (ProtobufCMessage **)&f->txn, &p->txn_bytes, len,
                 PEER_TXN_MAX, end);
    if (r <= 0)
        return r < 0 ? r : txn_part_came(p, seq);
    Mfp__Txn *txn = p->txn;
    p->txn = NULL;
    r = uids_unite(txn);
    if (r == 0)
        return recv_whole_txn(p, txn);
    mfp__txn__free_unpacked(txn, NULL);
    return r;
}

static int recv_listing(struct peer *p, Mfp__Frame *f, size_t len) {
    bool end = f->listing->end;
    if (p->listing != NULL &&
        (p->listing->round != f->listing->round || !same_dir(&p->listing->dir, &f->listing->dir)))
        return -EPROTO;
    int r = join((ProtobufCMessage **)&p->listing, (ProtobufCMessage **)&f->listing,
                 &p->listing_bytes, len, PEER_LISTING_MAX, end);
    if (r <= 0)
        return r;
    Mfp__Listing *l = p->listing;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): join() gave it */
    struct replica_msg m = {.kind = RMSG_LISTING, .round = l->round, .frozen = l->frozen};
    m.full = l->full;
    p->listing = NULL;
    wire_id(&l->dir, &m.dir);
    m.payload = load_listing(l);
    r = to_machine(p, &m);
    replica_payload_unref(m.payload);
    return r;
}

static int recv_tree(struct peer *p, Mfp__Frame *f, size_t len) {
    bool end = f->tree->end;
    int r = join((ProtobufCMessage **)&p->tree, (ProtobufCMessage **)&f->tree, &p->tree_bytes, len,
                 PEER_LISTING_MAX, end);
    if (r <= 0)
        return r;
    Mfp__Tree *t = p->tree;
    struct replica_msg m = {.kind = RMSG_TREE, .round = t->round, .full = t->full};
    p->tree = NULL;
    get_digest(&t->base_digest, m.digest);
    m.payload = load_tree(t);
    r = to_machine(p, &m);
    replica_payload_unref(m.payload);
    return r;
}

static int recv_whole_marks(struct peer *p, const Mfp__Marks *from) {
    struct replica_mark *marks = mem_new((from->n_marks + 1) * sizeof *marks);
    for (size_t i = 0; i < from->n_marks; i++) {
        wire_id(&from->marks[i]->dir, &marks[i].dir);
        get_digest(&from->marks[i]->base_digest, marks[i].base_digest);
        marks[i].urgent = from->marks[i]->urgent;
        marks[i].used = from->marks[i]->used;
    }
    struct replica_msg m = {
        .kind = RMSG_MARKS, .marks = marks, .nmarks = from->n_marks, .more = from->more};
    int r = to_machine(p, &m);
    free(marks);
    return r;
}

static int recv_marks(struct peer *p, Mfp__Frame *f, size_t len) {
    bool end = f->marks->end;
    int r = join((ProtobufCMessage **)&p->marks, (ProtobufCMessage **)&f->marks, &p->marks_bytes,
                 len, PEER_LISTING_MAX, end);
    if (r <= 0)
        return r;
    Mfp__Marks *marks = p->marks;
    p->marks = NULL;
    r = recv_whole_marks(p, marks);
    mfp__marks__free_unpacked(marks, NULL);
    return r;
}

/* ---- the rest ---------------------------------------------------------------------- */

static int recv_prep(struct peer *p, const Mfp__Frame *f) {
    struct replica_msg m = {.kind = RMSG_PREPARE};
    const Mfp__PrepId *id = NULL;
    switch (f->m_case) {
    case MFP__FRAME__M_PREPARE:
        id = f->prepare->id;
        wire_id(&f->prepare->dir, &m.dir);
        break;
    case MFP__FRAME__M_PREPARED_OK:
        m.kind = f->prepared_ok->aborted ? RMSG_ABORTED : RMSG_PREPARED_OK;
        m.err = wire_errno(f->prepared_ok->err);
        id = f->prepared_ok->id;
        break;
    default:
        m.kind = RMSG_ABORT;
        id = f->abort->id;
        break;
    }
    m.prep = (struct replica_prep){id->incarnation, id->seq};
    int r = to_machine(p, &m);
    if (r == 0 && f->m_case == MFP__FRAME__M_PREPARE)
        xfer_receive_prepare(p->v->xfers, f->prepare);
    return r;
}

static int recv_ping(struct peer *p, const Mfp__Frame *f) {
    struct replica_msg m = {.kind = RMSG_PING};
    if (f->m_case == MFP__FRAME__M_PING) {
        p->ping_now = f->ping->now;
    } else {
        uint64_t now = clock_us();
        m.kind = RMSG_PONG;
        if (f->pong->now != 0 && f->pong->now < now)
            trip_took(&p->trip, now - f->pong->now);
    }
    return to_machine(p, &m);
}

static int recv_about_dir(struct peer *p, const Mfp__Frame *f) {
    struct replica_msg m = {.kind = RMSG_TOKEN_REQ};
    switch (f->m_case) {
    case MFP__FRAME__M_TOKEN_REQ:
        wire_id(&f->token_req->dir, &m.dir);
        break;
    case MFP__FRAME__M_TOKEN_GIVE:
        m.kind = RMSG_TOKEN_GIVE;
        wire_id(&f->token_give->dir, &m.dir);
        break;
    case MFP__FRAME__M_MERGE_START:
        m.kind = RMSG_MERGE_START;
        m.round = f->merge_start->round;
        m.full = f->merge_start->full;
        wire_id(&f->merge_start->dir, &m.dir);
        break;
    case MFP__FRAME__M_STAGED:
        m.kind = RMSG_STAGED;
        m.round = f->staged->round;
        wire_id(&f->staged->dir, &m.dir);
        break;
    case MFP__FRAME__M_FREEZE:
        m.kind = RMSG_FREEZE;
        m.round = f->freeze->round;
        wire_id(&f->freeze->dir, &m.dir);
        break;
    default:
        m.kind = RMSG_CANCEL;
        m.round = f->cancel->round;
        wire_id(&f->cancel->dir, &m.dir);
        break;
    }
    return to_machine(p, &m);
}

static int recv_merged(struct peer *p, const Mfp__Frame *f) {
    struct replica_msg m = {.kind = RMSG_MERGED};
    if (f->m_case == MFP__FRAME__M_MERGED) {
        wire_id(&f->merged->dir, &m.dir);
        get_digest(&f->merged->digest, m.digest);
        m.round = f->merged->round;
        m.err = wire_errno(f->merged->err);
    } else {
        m.kind = RMSG_TREE_MERGED;
        get_digest(&f->tree_merged->digest, m.digest);
        m.round = f->tree_merged->round;
        m.err = wire_errno(f->tree_merged->err);
    }
    return to_machine(p, &m);
}

static int recv_bye(struct peer *p, const Mfp__Frame *f) {
    volume_error(p->v, "peer %s ended the connection: %s", p->v->cv->peer->name, f->bye->reason);
    contact_drop(p->v, NULL, true);
    return 0;
}

static int dispatch(struct peer *p, Mfp__Frame *f, size_t len) {
    struct replica_msg m = {.kind = RMSG_IN_SYNC};
    switch (f->m_case) {
    case MFP__FRAME__M_PING:
    case MFP__FRAME__M_PONG:
        return recv_ping(p, f);
    case MFP__FRAME__M_BYE:
        return recv_bye(p, f);
    case MFP__FRAME__M_BODY:
        return xfer_receive_body(p->v->xfers, f->body);
    case MFP__FRAME__M_FETCH:
        return xfer_receive_fetch(p->v->xfers, f->fetch);
    case MFP__FRAME__M_PREPARE:
    case MFP__FRAME__M_PREPARED_OK:
    case MFP__FRAME__M_ABORT:
        return recv_prep(p, f);
    case MFP__FRAME__M_TXN:
        return recv_txn(p, f, len);
    case MFP__FRAME__M_TXN_ACK:
        m.kind = RMSG_TXN_ACK;
        m.seq = f->txn_ack->seq;
        m.err = wire_errno(f->txn_ack->err);
        return to_machine(p, &m);
    case MFP__FRAME__M_MARKS:
        return recv_marks(p, f, len);
    case MFP__FRAME__M_LISTING:
        return recv_listing(p, f, len);
    case MFP__FRAME__M_TREE:
        return recv_tree(p, f, len);
    case MFP__FRAME__M_MERGED:
    case MFP__FRAME__M_TREE_MERGED:
        return recv_merged(p, f);
    case MFP__FRAME__M_IN_SYNC:
        return to_machine(p, &m);
    case MFP__FRAME__M_VERIFY:
        return verify_receive(p->v->verify, f->verify);
    case MFP__FRAME__M_VERIFIED:
        return p->v->verify != NULL ? verify_answered(p->v->verify, f->verified) : -EPROTO;
    case MFP__FRAME__M_TOKEN_REQ:
    case MFP__FRAME__M_TOKEN_GIVE:
    case MFP__FRAME__M_MERGE_START:
    case MFP__FRAME__M_STAGED:
    case MFP__FRAME__M_FREEZE:
    case MFP__FRAME__M_CANCEL:
        return recv_about_dir(p, f);
    default:
        return -EPROTO; /* a second Hello */
    }
}

int peer_receive(struct peer *p, const uint8_t *data, size_t len, const char **why) {
    static char reason[256]; /* the loop's thread only */
    Mfp__Frame *f = NULL;
    int r = wire_frame_unpack(data, len, &f, reason, sizeof reason);
    if (r == 0)
        r = dispatch(p, f, len);
    else
        *why = reason;
    wire_frame_free(f);
    return r == -ENOMEM || r == -ENOTSUP || r == -EMSGSIZE ? -EPROTO : r;
}
