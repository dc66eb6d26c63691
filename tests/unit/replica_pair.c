/*
 * replica_pair - two machines of lib/replica, side by side; see the header
 */
#include "replica_pair.h"

#include <stdlib.h>
#include <string.h>

#include "replica/replica_int.h"

struct pair pair;

struct kept {
    struct kept *next;
    unsigned to;
    struct replica_action action;
};
static struct kept *kept;
static struct replica_payload *payload;

struct mailfs_id pair_dir(uint8_t n) {
    return (struct mailfs_id){{n}};
}

struct replica_payload *pair_payload(void) {
    return payload;
}

struct limits {
    unsigned parallel;
    size_t bytes;
};

static void begin(enum replica_commit commit, bool had_contact, bool oneway, struct limits most) {
    memset(&pair, 0, sizeof pair);
    pair.now = 1000;
    payload = replica_payload_new(NULL, 1, NULL);
    for (unsigned i = 0; i < 2; i++) {
        struct replica_config config = {
            .node = i == 0 ? "a" : "b",
            .peer = i == 0 ? "b" : "a",
            .commit = commit,
            .had_contact = had_contact,
            .caught_up = had_contact,
            .oneway = oneway,
            .timeout_ms = 3000,
            .lock_wait_ms = 200,
            .merge_wait_ms = 1000,
            .first_wait_ms = 2250,
            .freeze_ms = 5000,
            .merge_parallel = most.parallel,
            .merge_bytes = most.bytes,
            .max_unacked = 100,
        };
        pair.side[i].r = replica_new(&config, pair.now);
        pair.side[i].tree_base = pair.side[i].merged = 1;
        pair.side[i].listing_bytes = 1;
    }
}

void pair_start(enum replica_commit commit, bool had_contact) {
    begin(commit, had_contact, false, (struct limits){.parallel = 2});
}

void pair_start_wide(unsigned parallel, size_t bytes) {
    begin(REPLICA_COMMIT_DISK, true, false, (struct limits){parallel, bytes});
}

void pair_start_oneway(void) {
    begin(REPLICA_COMMIT_ASYNC, true, true, (struct limits){.parallel = 2});
}

void pair_stop(void) {
    pair_drop();
    replica_free(pair.side[0].r);
    replica_free(pair.side[1].r);
    replica_payload_unref(payload);
}

int pair_setup(void **state) {
    pair_start(REPLICA_COMMIT_DISK, true);
    return 0;
}

int pair_setup_connected(void **state) {
    pair_setup(state);
    pair_connect();
    return 0;
}

int pair_teardown(void **state) {
    pair_stop();
    return 0;
}

static void keep(unsigned to, struct replica_action *a) {
    struct kept *k = calloc(1, sizeof *k);
    k->to = to;
    k->action = *a;
    LL_APPEND(kept, k);
    memset(a, 0, sizeof *a);
}

void pair_drop(void) {
    while (kept != NULL) {
        struct kept *k = kept;
        LL_DELETE(kept, k);
        replica_action_done(&k->action);
        free(k);
    }
}

void pair_deliver(void) {
    pair.link_held = false;
    pair_run();
}

static void note(struct side *s, const struct replica_action *a) {
    if (s->n == NOTED_MAX)
        abort();
    bool send = a->kind == RACT_SEND;
    s->noted[s->n++] = (struct noted){
        .kind = a->kind,
        .msg = a->msg.kind,
        .dir = send ? a->msg.dir.b[0] : a->dir.b[0],
        .req = a->req,
        .seq = send ? a->msg.seq : a->seq,
        .round = a->round,
        .err = send ? a->msg.err : a->err,
        .raise = a->raise,
        .held = a->held,
        .frozen = a->frozen,
        .full = a->full,
        .first = a->first,
        .late = a->late,
    };
}

static void list_marks(struct side *s) {
    struct replica_mark marks[8];
    size_t n = 0;
    memset(marks, 0, sizeof marks);
    for (; n < 8 && s->marks[n] != 0; n++) {
        marks[n].dir = pair_dir(s->marks[n]);
        marks[n].base_digest[0] = s->marks[n] != s->unborn;
    }
    replica_marks(s->r, pair.now, marks, n);
}

static void scanned(struct side *s, const struct replica_action *a) {
    struct replica_payload *p = replica_payload_new(NULL, s->listing_bytes, NULL);
    replica_scanned(s->r, pair.now, a->dir, a->round, p);
    replica_payload_unref(p);
}

static void carry_out(struct side *s, const struct replica_action *a) {
    uint8_t tree[REPLICA_DIGEST] = {s->tree_base}, merged[REPLICA_DIGEST] = {s->merged};
    switch (a->kind) {
    case RACT_GRANT:
        replica_lock_opened(s->r, pair.now, a->dir, true);
        break;
    case RACT_RAISE:
        replica_raised(s->r, pair.now, a->dir);
        break;
    case RACT_JOURNAL:
        replica_journaled(s->r, pair.now, a->seq, s->journal_err);
        break;
    case RACT_APPLY:
        replica_applied(s->r, pair.now, a->seq);
        break;
    case RACT_TREE_SCAN:
    case RACT_TREE_RESCAN:
        replica_tree_scanned(s->r, pair.now, payload, tree);
        break;
    case RACT_TREE_MERGE:
        replica_tree_merged(s->r, pair.now, merged, 0);
        break;
    case RACT_LIST_MARKS:
        list_marks(s);
        break;
    case RACT_SCAN:
        scanned(s, a);
        break;
    case RACT_STAGE:
        replica_staged(s->r, pair.now, a->dir, a->round, s->stage_err);
        break;
    case RACT_MERGE:
        replica_merged(s->r, pair.now, a->dir, a->round, merged, s->merge_err);
        break;
    default:
        break;
    }
}

static bool take_one(unsigned i) {
    struct side *s = &pair.side[i];
    struct replica_action a;
    if (!replica_next(s->r, &a))
        return false;
    note(s, &a);
    if (a.kind == RACT_SEND)
        keep(1 - i, &a);
    else if (!s->hold[a.kind])
        carry_out(s, &a);
    replica_action_done(&a);
    if (replica_check(s->r) != NULL)
        abort();
    return true;
}

static bool deliver_one(void) {
    if (kept == NULL || pair.link_held)
        return false;
    struct kept *k = kept;
    LL_DELETE(kept, k);
    if (replica_receive(pair.side[k->to].r, pair.now, &k->action.msg) == -EPROTO)
        abort();
    replica_action_done(&k->action);
    free(k);
    return true;
}

void pair_run(void) {
    while (take_one(0) || take_one(1) || deliver_one())
        continue;
}

void pair_wait(uint64_t ms) {
    for (uint64_t until = pair.now + ms; pair.now < until;) {
        pair.now += 10;
        for (unsigned i = 0; i < 2; i++)
            if (pair.now >= replica_deadline(pair.side[i].r))
                replica_tick(pair.side[i].r, pair.now);
        pair_run();
    }
}

void pair_connect(void) {
    pair_drop();
    replica_connected(pair.side[0].r, pair.now);
    replica_connected(pair.side[1].r, pair.now);
    pair_run();
}

void pair_disconnect(void) {
    pair_drop();
    replica_disconnected(pair.side[0].r, pair.now);
    replica_disconnected(pair.side[1].r, pair.now);
    pair_run();
}

unsigned pair_count(unsigned side, enum replica_action_kind kind, uint8_t dir) {
    unsigned n = 0;
    for (unsigned i = 0; i < pair.side[side].n; i++) {
        const struct noted *a = &pair.side[side].noted[i];
        n += a->kind == kind && (dir == 0 || a->dir == dir);
    }
    return n;
}

const struct noted *pair_last(unsigned side, enum replica_action_kind kind) {
    for (unsigned i = pair.side[side].n; i > 0; i--)
        if (pair.side[side].noted[i - 1].kind == kind)
            return &pair.side[side].noted[i - 1];
    abort();
}

unsigned pair_sent(unsigned side, enum replica_msg_kind kind) {
    unsigned n = 0;
    for (unsigned i = 0; i < pair.side[side].n; i++)
        n += pair.side[side].noted[i].kind == RACT_SEND && pair.side[side].noted[i].msg == kind;
    return n;
}

static bool answered(unsigned side, enum replica_action_kind kind, uint64_t req) {
    for (unsigned i = 0; i < pair.side[side].n; i++)
        if (pair.side[side].noted[i].kind == kind && pair.side[side].noted[i].req == req)
            return true;
    return false;
}

bool pair_released(unsigned side, uint64_t req) {
    return answered(side, RACT_RELEASE, req);
}

bool pair_granted(unsigned side, uint64_t req) {
    return answered(side, RACT_GRANT, req);
}

void pair_open(unsigned side, uint64_t req, uint8_t dir) {
    replica_lock_open(pair.side[side].r, pair.now, req, pair_dir(dir));
    pair_run();
}

void pair_unlock(unsigned side, uint64_t req, uint8_t dir) {
    replica_unlock(pair.side[side].r, pair.now, req, pair_dir(dir), payload, NULL, 0);
    pair_run();
}

bool pair_act(unsigned side, uint8_t dir) {
    bool held = replica_act(pair.side[side].r, pair.now, pair_dir(dir), payload, NULL, 0, false);
    pair_run();
    return held;
}

void pair_act_on_folder(unsigned side, uint8_t dir) {
    replica_act(pair.side[side].r, pair.now, pair_dir(dir), payload, NULL, 0, true);
    pair_run();
}
