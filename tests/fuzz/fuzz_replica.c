/*
 * fuzz_replica - the machine of a link against a peer, a mailfs and a driver that do anything
 *
 * The input is a list of calls and messages, in any order and with any arguments. What the machine
 * asks for is answered later, in an order the input chooses, or never. Whatever comes: no crash, no
 * leak, and its invariants hold (replica_check(): I1 to I13).
 */
#include "replica/replica_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { JOBS = 64 };

struct machine {
    struct replica *r;
    const uint8_t *at, *end;
    uint64_t now, req;
    struct replica_action jobs[JOBS];
    size_t njobs;
    struct replica_payload *payload;
    bool oneway;
};

static uint8_t byte(struct machine *m) {
    return m->at < m->end ? *m->at++ : 0;
}

static struct mailfs_id a_dir(struct machine *m) {
    struct mailfs_id id = {{(uint8_t)(byte(m) % 4)}};
    return id;
}

static int an_error(struct machine *m) {
    static const int errors[] = {0, 0, 0, 0, -EIO, -ENOSPC, -ESTALE, -EINPROGRESS};
    return errors[byte(m) % 8];
}

static struct replica_prep a_prep(struct machine *m) {
    return (struct replica_prep){1, byte(m) % 8};
}

/* ---- answering what was asked ---- */

static void answer(struct machine *m, const struct replica_action *a) {
    uint8_t digest[REPLICA_DIGEST] = {(uint8_t)(byte(m) % 3)};
    struct replica_payload *p = byte(m) % 8 != 0 ? m->payload : NULL;
    struct replica_mark marks[2] = {{.dir = a_dir(m)}, {.dir = a_dir(m), .base_digest = {1}}};
    switch (a->kind) {
    case RACT_JOURNAL:
        replica_journaled(m->r, m->now, a->seq, an_error(m));
        break;
    case RACT_APPLY:
        replica_applied(m->r, m->now, a->seq);
        break;
    case RACT_TREE_SCAN:
    case RACT_TREE_RESCAN:
        replica_tree_scanned(m->r, m->now, p, digest);
        break;
    case RACT_TREE_MERGE:
        replica_tree_merged(m->r, m->now, digest, an_error(m));
        break;
    case RACT_LIST_MARKS:
        replica_marks(m->r, m->now, marks, byte(m) % 3);
        break;
    case RACT_SCAN:
        replica_scanned(m->r, m->now, a->dir, a->round, p);
        break;
    case RACT_STAGE:
        replica_fetching(m->r, m->now, a->dir, a->round);
        replica_staged(m->r, m->now, a->dir, a->round, an_error(m));
        break;
    case RACT_MERGE:
        replica_merged(m->r, m->now, a->dir, a->round, digest, an_error(m));
        break;
    default:
        replica_lock_opened(m->r, m->now, a->dir, byte(m) % 4 != 0);
        break;
    }
}

static bool is_job(enum replica_action_kind kind) {
    switch (kind) {
    case RACT_GRANT:
    case RACT_JOURNAL:
    case RACT_APPLY:
    case RACT_TREE_SCAN:
    case RACT_TREE_RESCAN:
    case RACT_TREE_MERGE:
    case RACT_LIST_MARKS:
    case RACT_SCAN:
    case RACT_STAGE:
    case RACT_MERGE:
        return true;
    default:
        return false;
    }
}

static void take_actions(struct machine *m) {
    struct replica_action a;
    while (replica_next(m->r, &a)) {
        if (is_job(a.kind) && m->njobs < JOBS)
            m->jobs[m->njobs++] = a;
        replica_action_done(&a);
    }
    const char *wrong = replica_check(m->r);
    if (wrong != NULL) {
        fprintf(stderr, "%s\n", wrong);
        abort();
    }
}

/* ---- what happens ---- */

static void some_answer(struct machine *m) {
    if (m->njobs == 0)
        return;
    size_t i = byte(m) % m->njobs;
    struct replica_action a = m->jobs[i];
    m->jobs[i] = m->jobs[--m->njobs];
    answer(m, &a);
}

static void some_message(struct machine *m) {
    struct replica_prep preps[2] = {a_prep(m), a_prep(m)};
    struct replica_mark marks[2] = {{.dir = a_dir(m)}, {.dir = a_dir(m), .base_digest = {1}}};
    uint8_t bits = byte(m);
    struct replica_msg msg = {
        .kind = (enum replica_msg_kind)(byte(m) % (RMSG_KINDS + 1)),
        .dir = a_dir(m),
        .seq = byte(m),
        .round = byte(m) % 8,
        .err = an_error(m),
        .full = bits & 1,
        .frozen = bits & 2,
        .locked = bits & 4,
        .more = bits & 8,
        .prep = preps[0],
        .preps = preps,
        .npreps = byte(m) % 3,
        .marks = marks,
        .nmarks = byte(m) % 3,
        .digest = {(uint8_t)(bits >> 6)},
        .payload = (bits & 16) || byte(m) % 4 ? m->payload : NULL,
    };
    marks[0].urgent = bits & 32;
    if (replica_receive(m->r, m->now, &msg) == -EPROTO && byte(m) % 2)
        replica_disconnected(m->r, m->now);
}

static void some_mailfs(struct machine *m) {
    struct replica_prep preps[2] = {a_prep(m), a_prep(m)};
    struct mailfs_id some;
    switch (byte(m) % 12) {
    case 0:
    case 1:
    case 2:
        replica_lock_open(m->r, m->now, ++m->req, a_dir(m));
        break;
    case 3:
    case 4:
    case 5:
        replica_unlock(m->r, m->now, byte(m) % 8 ? ++m->req : 0, a_dir(m),
                       byte(m) % 4 ? m->payload : NULL, preps, byte(m) % 3);
        break;
    case 6:
        replica_act(m->r, m->now, a_dir(m), m->payload, preps, byte(m) % 3, byte(m) % 2 != 0);
        break;
    case 7:
        if (byte(m) % 4)
            replica_prepare(m->r, m->now, ++m->req, preps[0], m->payload);
        else
            replica_prepare_again(m->r, m->now, ++m->req, preps[0], m->payload);
        break;
    case 8:
        replica_abort(m->r, m->now, preps[0]);
        break;
    case 9:
        replica_mailfs_away(m->r, m->now);
        replica_unlock_again(m->r, m->now, ++m->req, a_dir(m));
        break;
    case 10:
        some = a_dir(m);
        replica_locks_are(m->r, m->now, &some, byte(m) % 2, byte(m) % 2);
        break;
    default:
        replica_progress(m->r, m->now, preps[0]);
        break;
    }
}

static void some_driver(struct machine *m) {
    switch (byte(m) % 8) {
    case 0:
    case 1:
        replica_connected(m->r, m->now);
        break;
    case 2:
        replica_disconnected(m->r, m->now);
        break;
    case 3:
        replica_suspect(m->r, m->now, a_dir(m));
        break;
    case 4:
        replica_content_durable(m->r, m->now, a_prep(m), an_error(m));
        break;
    case 5:
        replica_prep_used(m->r, a_prep(m));
        break;
    case 6:
        replica_replaying(m->r, a_dir(m));
        break;
    default:
        replica_replayed(m->r, m->now, a_dir(m));
        break;
    }
}

static void one_step(struct machine *m) {
    m->now += byte(m) % 64;
    switch (byte(m) % 8) {
    case 0:
    case 1:
        some_answer(m);
        break;
    case 2:
    case 3:
    case 4:
        some_message(m);
        break;
    case 5:
        some_mailfs(m);
        break;
    case 6:
        some_driver(m);
        break;
    default:
        m->now += 16u * byte(m);
        replica_tick(m->r, m->now);
        if (m->oneway)
            replica_tree_changed(m->r, m->now);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct machine m = {.at = data, .end = data + n};
    uint8_t kind = byte(&m);
    struct replica_config config = {
        .node = kind & 1 ? "a" : "c",
        .peer = (kind & 0xf0) == 0xf0 ? NULL : "b",
        .commit = (enum replica_commit)((kind >> 2) % 3),
        .had_contact = kind & 2,
        .oneway = (kind & 0x0c) == 0x0c,
        .timeout_ms = 3000,
        .lock_wait_ms = 200,
        .merge_wait_ms = 1000,
        .first_wait_ms = 2250,
        .freeze_ms = 5000,
        .merge_parallel = 2,
        .max_unacked = 8,
    };
    m.oneway = config.oneway;
    m.payload = replica_payload_new(NULL, 1, NULL);
    m.r = replica_new(&config, 0);
    if (m.r == NULL || m.payload == NULL)
        abort();
    while (m.at < m.end) {
        one_step(&m);
        take_actions(&m);
    }
    replica_free(m.r);
    if (m.payload->refs != 1)
        abort(); /* a reference is lost */
    replica_payload_unref(m.payload);
    return 0;
}
