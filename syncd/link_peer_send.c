/*
 * link_peer_send - the machine's messages to frames
 *
 * Control frames that find the link's queue full (a large listing on a slow link) wait in a list of
 * our own, behind which all later ones go, so the order stays.
 *
 * Diagnostics: none; errors are returned.
 */
#include "link_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <utlist.h>

#include "contact.h"
#include "link_peer_private.h"
#include "link_peer_uids.h"
#include "load.h"
#include "mem.h"
#include "net/link.h"
#include "timer.h"
#include "util/clock.h"
#include "volume.h"
#include "wire/check.h"
#include "wire/parts.h"
#include "xfer.h"

#define LATE_MAX        (1024u * 1024u * 1024u)
#define LATE_RETRY_MS   20
#define MARKS_PER_FRAME 8192

static void late_free(struct peer *p) {
    struct peer_late *late, *tmp;
    DL_FOREACH_SAFE(p->late, late, tmp) {
        DL_DELETE(p->late, late);
        free(late);
    }
    p->late_bytes = 0;
}

static void late_arm(struct peer *p) {
    struct timeval tv = {.tv_usec = LATE_RETRY_MS * 1000};
    evtimer_add(p->late_timer, &tv);
}

static void late_try(evutil_socket_t fd, short what, void *arg) {
    struct peer *p = arg;
    while (p->late != NULL) {
        struct peer_late *late = p->late;
        if (contact_send(p->v, late->data, late->len) == -ENOBUFS) {
            late_arm(p);
            return;
        }
        DL_DELETE(p->late, late);
        p->late_bytes -= late->len;
        free(late);
    }
}

static int late_add(struct peer *p, const void *data, size_t len) {
    if (p->late_bytes + len > LATE_MAX)
        return -ENOBUFS;
    struct peer_late *late = mem_new(sizeof *late + len);
    late->len = len;
    memcpy(late->data, data, len);
    DL_APPEND(p->late, late);
    p->late_bytes += len;
    late_arm(p);
    return 0;
}

struct peer *peer_new(struct volume *v) {
    struct peer *p = mem_new(sizeof *p);
    p->v = v;
    buf_init(&p->out, LINK_FRAME_MAX);
    p->late_timer = timer_new(v->engine->evb, late_try, p);
    return p;
}

void peer_free(struct peer *p) {
    if (p == NULL)
        return;
    peer_reset(p);
    event_free(p->late_timer);
    buf_free(&p->out);
    free(p);
}

void peer_reset(struct peer *p) {
    late_free(p);
    if (p->txn != NULL)
        mfp__txn__free_unpacked(p->txn, NULL);
    if (p->listing != NULL)
        mfp__listing__free_unpacked(p->listing, NULL);
    if (p->tree != NULL)
        mfp__tree__free_unpacked(p->tree, NULL);
    if (p->marks != NULL)
        mfp__marks__free_unpacked(p->marks, NULL);
    p->txn = NULL;
    p->listing = NULL;
    p->tree = NULL;
    p->marks = NULL;
    p->txn_bytes = p->listing_bytes = p->tree_bytes = p->marks_bytes = 0;
    p->trip = (struct trip){0};
    p->pinged_us = 0;
}

int peer_send_frame(struct peer *p, const Mfp__Frame *frame, bool bulk) {
    size_t n = mfp__frame__get_packed_size(frame);
    buf_reset(&p->out);
    void *to = buf_reserve(&p->out, n);
    if (to == NULL)
        return buf_error(&p->out);
    mfp__frame__pack(frame, to);
    if (bulk)
        return contact_send_bulk(p->v, to, n);
    int r = p->late != NULL ? -ENOBUFS : contact_send(p->v, to, n);
    return r == -ENOBUFS ? late_add(p, to, n) : r;
}

uint64_t peer_rtt_us(const struct peer *p) {
    return p->trip.us;
}

static int send_about_life(struct peer *p, const struct replica_msg *m);

/* The machine pings when it has nothing else to say. */
bool peer_is_far(struct peer *p) {
    static const struct replica_msg ping = {.kind = RMSG_PING};
    if (clock_us() - p->pinged_us >= TRIP_EVERY_US)
        (void)send_about_life(p, &ping); /* fails only when the connection ends */
    return p->trip.is_long;
}

/* ---- what goes in parts ------------------------------------------------------------ */

static int txn_part(ProtobufCMessage *part, bool last, void *arg) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    frame.m_case = MFP__FRAME__M_TXN;
    frame.txn = (Mfp__Txn *)part;
    frame.txn->end = last;
    return peer_send_frame(arg, &frame, false);
}

static int send_txn(struct peer *p, const struct replica_msg *m) {
    Mfp__Txn txn = MFP__TXN__INIT;
    if (load_of(m->payload) != NULL)
        txn = *load_of(m->payload)->txn;
    txn.seq = m->seq;
    txn.dir = wire_bytes_of(&m->dir);
    txn.locked = m->locked;
    struct uids_divided divided;
    int r = uids_divide(&txn, &divided);
    if (r == 0)
        r = wire_parts_split(&divided.txn.base, WIRE_PART_MAX, txn_part, p);
    uids_divided_free(&divided);
    return r;
}

static int listing_part(ProtobufCMessage *part, bool last, void *arg) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    frame.m_case = MFP__FRAME__M_LISTING;
    frame.listing = (Mfp__Listing *)part;
    frame.listing->end = last;
    return peer_send_frame(arg, &frame, false);
}

static int send_listing(struct peer *p, const struct replica_msg *m) {
    Mfp__Listing listing = *load_of(m->payload)->listing;
    listing.dir = wire_bytes_of(&m->dir);
    listing.round = m->round;
    listing.frozen = m->frozen;
    return wire_parts_split(&listing.base, WIRE_PART_MAX, listing_part, p);
}

static int tree_part(ProtobufCMessage *part, bool last, void *arg) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    frame.m_case = MFP__FRAME__M_TREE;
    frame.tree = (Mfp__Tree *)part;
    frame.tree->end = last;
    return peer_send_frame(arg, &frame, false);
}

static ProtobufCBinaryData digest_bytes(const struct replica_msg *m) {
    return (ProtobufCBinaryData){REPLICA_DIGEST, (uint8_t *)(uintptr_t)m->digest};
}

static int send_tree(struct peer *p, const struct replica_msg *m) {
    Mfp__Tree tree = *load_of(m->payload)->tree;
    tree.base_digest = digest_bytes(m);
    tree.full = m->full;
    tree.round = m->round;
    return wire_parts_split(&tree.base, WIRE_PART_MAX, tree_part, p);
}

static int send_some_marks(struct peer *p, const struct replica_msg *m, size_t from, size_t n) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Marks marks = MFP__MARKS__INIT;
    Mfp__Mark *all = mem_new(n * sizeof *all);
    Mfp__Mark **refs = mem_new(n * sizeof *refs);
    for (size_t i = 0; i < n; i++) {
        const struct replica_mark *mark = &m->marks[from + i];
        mfp__mark__init(&all[i]);
        all[i].dir = wire_bytes_of(&mark->dir);
        all[i].base_digest =
            (ProtobufCBinaryData){REPLICA_DIGEST, (uint8_t *)(uintptr_t)mark->base_digest};
        all[i].urgent = mark->urgent;
        all[i].used = mark->used;
        refs[i] = &all[i];
    }
    marks.marks = refs;
    marks.n_marks = n;
    marks.more = m->more;
    marks.end = from + n == m->nmarks;
    frame.m_case = MFP__FRAME__M_MARKS;
    frame.marks = &marks;
    int r = peer_send_frame(p, &frame, false);
    free(refs);
    free(all);
    return r;
}

static int send_marks(struct peer *p, const struct replica_msg *m) {
    size_t from = 0;
    int r;
    do {
        size_t n = m->nmarks - from < MARKS_PER_FRAME ? m->nmarks - from : MARKS_PER_FRAME;
        r = send_some_marks(p, m, from, n);
        from += n;
    } while (r == 0 && from < m->nmarks);
    return r;
}

/* ---- small ones -------------------------------------------------------------------- */

static int send_prepare(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Prepare prepare = MFP__PREPARE__INIT;
    Mfp__PrepId id = MFP__PREP_ID__INIT;
    Mfp__Meta meta = MFP__META__INIT;
    struct load *l = load_of(m->payload);
    const Mfl__Prepare *from = l->prepare->prepare;
    id.incarnation = m->prep.incarnation;
    id.seq = m->prep.seq;
    if (from->meta != NULL) {
        meta.mode = from->meta->mode;
        meta.uid = from->meta->uid;
        meta.gid = from->meta->gid;
        meta.mtime_ns = from->meta->mtime_ns;
    }
    meta.size = l->size;
    prepare.id = &id;
    prepare.dir = from->dir;
    prepare.tmp_name = from->tmp_name;
    prepare.meta = &meta;
    frame.m_case = MFP__FRAME__M_PREPARE;
    frame.prepare = &prepare;
    int r = peer_send_frame(p, &frame, false);
    if (r == 0)
        xfer_send_prepared(p->v->xfers, &m->prep, m->payload);
    return r;
}

static int send_about_prep(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__PreparedOk ok = MFP__PREPARED_OK__INIT;
    Mfp__Abort ab = MFP__ABORT__INIT;
    Mfp__PrepId id = MFP__PREP_ID__INIT;
    id.incarnation = m->prep.incarnation;
    id.seq = m->prep.seq;
    ok.id = ab.id = &id;
    ok.err = -m->err;
    ok.aborted = m->kind == RMSG_ABORTED;
    if (m->kind != RMSG_ABORT) {
        frame.m_case = MFP__FRAME__M_PREPARED_OK;
        frame.prepared_ok = &ok;
    } else {
        xfer_send_aborted(p->v->xfers, &m->prep);
        frame.m_case = MFP__FRAME__M_ABORT;
        frame.abort = &ab;
    }
    return peer_send_frame(p, &frame, false);
}

static int send_about_life(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Ping ping = MFP__PING__INIT;
    Mfp__Pong pong = MFP__PONG__INIT;
    Mfp__InSync in_sync = MFP__IN_SYNC__INIT;
    Mfp__TxnAck ack = MFP__TXN_ACK__INIT;
    switch (m->kind) {
    case RMSG_PING:
        ping.now = p->pinged_us = clock_us();
        frame.m_case = MFP__FRAME__M_PING;
        frame.ping = &ping;
        break;
    case RMSG_PONG:
        pong.now = p->ping_now;
        frame.m_case = MFP__FRAME__M_PONG;
        frame.pong = &pong;
        break;
    case RMSG_TXN_ACK:
        ack.seq = m->seq;
        ack.err = -m->err;
        frame.m_case = MFP__FRAME__M_TXN_ACK;
        frame.txn_ack = &ack;
        break;
    default:
        frame.m_case = MFP__FRAME__M_IN_SYNC;
        frame.in_sync = &in_sync;
        break;
    }
    return peer_send_frame(p, &frame, false);
}

static int send_about_token(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__TokenReq req = MFP__TOKEN_REQ__INIT;
    Mfp__TokenGive give = MFP__TOKEN_GIVE__INIT;
    req.dir = give.dir = wire_bytes_of(&m->dir);
    if (m->kind == RMSG_TOKEN_REQ) {
        frame.m_case = MFP__FRAME__M_TOKEN_REQ;
        frame.token_req = &req;
    } else {
        frame.m_case = MFP__FRAME__M_TOKEN_GIVE;
        frame.token_give = &give;
    }
    return peer_send_frame(p, &frame, false);
}

static int send_about_merge(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__MergeStart start = MFP__MERGE_START__INIT;
    Mfp__Staged staged = MFP__STAGED__INIT;
    Mfp__Freeze freeze = MFP__FREEZE__INIT;
    Mfp__Cancel cancel = MFP__CANCEL__INIT;
    start.dir = staged.dir = freeze.dir = cancel.dir = wire_bytes_of(&m->dir);
    start.round = staged.round = freeze.round = cancel.round = m->round;
    start.full = m->full;
    switch (m->kind) {
    case RMSG_MERGE_START:
        frame.m_case = MFP__FRAME__M_MERGE_START;
        frame.merge_start = &start;
        break;
    case RMSG_STAGED:
        frame.m_case = MFP__FRAME__M_STAGED;
        frame.staged = &staged;
        break;
    case RMSG_FREEZE:
        frame.m_case = MFP__FRAME__M_FREEZE;
        frame.freeze = &freeze;
        break;
    default:
        frame.m_case = MFP__FRAME__M_CANCEL;
        frame.cancel = &cancel;
        break;
    }
    return peer_send_frame(p, &frame, false);
}

static int send_merged(struct peer *p, const struct replica_msg *m) {
    Mfp__Frame frame = MFP__FRAME__INIT;
    Mfp__Merged merged = MFP__MERGED__INIT;
    Mfp__TreeMerged tree = MFP__TREE_MERGED__INIT;
    merged.dir = wire_bytes_of(&m->dir);
    merged.digest = tree.digest = digest_bytes(m);
    merged.round = tree.round = m->round;
    merged.err = tree.err = -m->err;
    if (m->kind == RMSG_MERGED) {
        frame.m_case = MFP__FRAME__M_MERGED;
        frame.merged = &merged;
    } else {
        frame.m_case = MFP__FRAME__M_TREE_MERGED;
        frame.tree_merged = &tree;
    }
    return peer_send_frame(p, &frame, false);
}

typedef int send_fn(struct peer *p, const struct replica_msg *m);

static send_fn *const send_table[RMSG_KINDS] = {
    [RMSG_PING] = send_about_life,
    [RMSG_PONG] = send_about_life,
    [RMSG_PREPARE] = send_prepare,
    [RMSG_PREPARED_OK] = send_about_prep,
    [RMSG_ABORT] = send_about_prep,
    [RMSG_ABORTED] = send_about_prep,
    [RMSG_TXN] = send_txn,
    [RMSG_TXN_ACK] = send_about_life,
    [RMSG_TOKEN_REQ] = send_about_token,
    [RMSG_TOKEN_GIVE] = send_about_token,
    [RMSG_TREE] = send_tree,
    [RMSG_TREE_MERGED] = send_merged,
    [RMSG_MARKS] = send_marks,
    [RMSG_MERGE_START] = send_about_merge,
    [RMSG_LISTING] = send_listing,
    [RMSG_STAGED] = send_about_merge,
    [RMSG_FREEZE] = send_about_merge,
    [RMSG_MERGED] = send_merged,
    [RMSG_CANCEL] = send_about_merge,
    [RMSG_IN_SYNC] = send_about_life,
};

int peer_send_msg(struct peer *p, const struct replica_msg *m) {
    if ((unsigned)m->kind >= RMSG_KINDS || send_table[m->kind] == NULL)
        return -EINVAL;
    return send_table[m->kind](p, m);
}
