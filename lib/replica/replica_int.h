/*
 * replica_int.h: what the files replica*.c share. Nobody else includes it but tests.
 *
 *   replica.c        life, state, looking in, the invariants' check
 *   replica_queue.c  actions
 *   replica_dir.c    the record of a mailbox, and settle(): all that can go on there goes on
 *   replica_link.c   epoch: contact, its end, silence, dispatch of messages
 *   replica_token.c  L and the token
 *   replica_txn.c    transactions sent and received
 *   replica_prep.c   prepared contents
 *   replica_contact.c  tree, lists of marks, in-sync
 *   replica_round.c  the merge of one mailbox
 *   replica_room.c   how many of them at once
 *
 * Rules of the code: a public function sets r->now, changes what it has to, calls
 * replica_settle() for the mailbox concerned, which may free the record, and ends with
 * replica_pump(). Nothing goes alone in between: replica_lose() only notes the reason.
 *
 * Invariants, checked by replica_check():
 *  I1  L granted with the token, the mailbox the same on both: the token is here.
 *  I2  The token is here, or was asked for, never both.
 *  I3  Nothing is being applied to a mailbox while an L that was granted is held there.
 *  I4  While the merge is applied, or its frozen listing made, no L is granted.
 *  I5  Not connected: nobody waits for the peer, nothing is unacknowledged, no round is open.
 *  I6  Sent and not acknowledged: ascending in each mailbox; received: in the order received.
 *  I7  to_merge is the number of records that are not the same; not more rounds than allowed, and
 *      what they hold is what each does.
 *  I8  Nobody waits for an L that could be granted.
 *  I9  in-sync: lists exchanged, tree merged, nothing to merge, the peer says the same.
 *  I10 At most one application in a mailbox, and it is of the oldest transaction.
 *  I11 A content of the peer's is claimed by a transaction that is not durable yet, and there is
 *      such a content without a claim only while connected, or until it is published.
 *  I12 What waits for the peer is in order of time (so that only the first need be looked at).
 *  I13 A mailbox whose L is held as if alone is to be merged, once the lists are exchanged.
 */
#ifndef MAILFS_REPLICA_INT_H
#define MAILFS_REPLICA_INT_H

#include "replica/mutant.h"
#include "replica/replica.h"

#define uthash_fatal(msg) replica_no_memory()
_Noreturn void replica_no_memory(void);
#include <uthash.h>
#include <utlist.h>

#define REPLICA_MAX_DIRS  (1u << 20) /* records; a peer that makes more is refused */
#define REPLICA_MAX_PREPS (1u << 16) /* contents prepared and not committed */
#define REPLICA_MAX_BYTES                                                                          \
    (UINT64_C(1) << 28) /* of transactions: sent and not acknowledged;                             \
                         * received and not applied */
#define REPLICA_BACKOFF_FIRST 1000
#define REPLICA_BACKOFF_MOST  60000

struct out {
    struct replica_action action;
    struct out *prev, *next;
};

/* A process that waits in open(L). */
struct waiter {
    uint64_t req, since;
    struct waiter *prev, *next;
};

/* U or an fsync that waits for the peer. */
struct request {
    uint64_t req, at;
    uint64_t told; /* who asked has heard of it */
    size_t owed;   /* that the peer has not said it has */
    bool body;     /* fsync */
    UT_hash_handle hh;
    struct request *prev, *next; /* by `at` */
};

/* Sent, not acknowledged; or held back while the mailbox is frozen (seq 0). */
struct tx {
    uint64_t seq, req, at;
    struct dir *dir;
    bool tree;            /* changes the directories */
    bool received, acked; /* there; durable there */
    struct replica_payload *payload;
    struct replica_prep *preps;
    size_t npreps;
    UT_hash_handle hh;
    struct tx *prev, *next; /* of the mailbox */
};

/* Received, not applied. */
struct rx {
    uint64_t id, seq, epoch; /* id: ours; seq: on the wire */
    struct dir *dir;
    bool locked, journaled, applying;
    bool left; /* applying, as far as the machine is concerned: replica_left() */
    struct replica_payload *payload;
    struct replica_prep *preps;
    size_t npreps;
    UT_hash_handle hh;
    struct rx *prev, *next;
};

/* A content of the peer's here. */
struct prep_in {
    struct replica_prep prep;
    bool durable;
    bool orphan;         /* of an earlier epoch: published unless its origin is heard of again */
    uint64_t publish_at; /* if orphan */
    struct rx *claim;    /* a transaction that refers to it, received and not durable */
    UT_hash_handle hh;
};

/* A content of ours there. */
struct prep_out {
    struct replica_prep prep;
    uint64_t req;
    bool past; /* of an earlier epoch: the peer publishes it, unless it is named or aborted */
    bool dead; /* nobody is going to name it: aborted when all is merged */
    bool told; /* aborted, and not confirmed: said again at each contact */
    UT_hash_handle hh;
};

struct unsent {
    struct replica_prep prep;
    struct unsent *next;
};

enum stage { STAGE_SAME, STAGE_CHANGED, STAGE_STAGING, STAGE_FROZEN, STAGE_MERGING };
enum lock { LOCK_FREE, LOCK_GRANTED, LOCK_HELD };
enum job { JOB_NONE, JOB_SCAN, JOB_SCAN_FROZEN, JOB_STAGE, JOB_MERGE };

struct round {
    uint32_t no;
    bool full;
    bool listed, staged, peer_staged, frozen_listed;
    bool merged, peer_merged;
    int err, peer_err;
    uint8_t digest[REPLICA_DIGEST], peer_digest[REPLICA_DIGEST];
    size_t own_bytes, peer_bytes;             /* of the first listings; 0: not known yet */
    size_t bytes;                             /* of both, or what is expected */
    bool holds;                               /* them, or is at making them */
    struct replica_payload *listing, *frozen; /* the peer's */
    uint64_t frozen_at;
};

struct dir {
    struct mailfs_id id;

    enum lock lock;
    bool lock_shared;   /* granted with the token, in this epoch */
    bool lock_found;    /* was there when mailfs came back: nobody granted it */
    bool raise_pending; /* granted with a gap: raised when L exists */
    unsigned raising;   /* RAISE is being carried out, so often: no L before that is done */
    bool raise_due;     /* RAISE is among the actions that nobody has taken yet */
    bool list_lost;     /* the list was replaced under L: it is raised once more at its end */
    struct waiter *waiters;
    bool busy;         /* BUSY was answered: TOKEN_HERE is owed */
    uint64_t phase_at; /* waiting for L began anew */

    bool mine;   /* the token is here, by the last that was known for certain */
    bool raised; /* not mine, and the gap has been made since the last common state */
    bool hinted; /* mailfs has been told that it is here */
    bool req_sent, peer_wants;
    bool fresh;          /* the token has come and served nobody yet */
    uint64_t keep_until; /* until then it is kept for the one who was told BUSY */

    struct tx *tx, *held;
    struct rx *rx;
    unsigned replaying;
    struct unsent
        *unsent; /* contents there, of transactions not sent: dropped when all is merged */

    enum stage stage;
    bool listed, dirty; /* in a list of marks; locked as if alone while the lists were exchanged */
    uint8_t own_base[REPLICA_DIGEST], peer_base[REPLICA_DIGEST];
    bool own_listed, peer_listed;
    uint32_t used; /* the later of what both lists said */
    bool unborn;   /* by the own list: nothing was ever merged, and no message is here */
    bool need_full, again, again_full, urgent, urgent_told, waited, backing_off;
    unsigned failures;
    uint64_t retry_at;
    struct round round;
    enum job job;
    uint32_t job_round;
    bool job_dead; /* its round is over */

    bool watched;
    UT_hash_handle hh;
    struct dir *prev, *next;             /* r->watch: has a timer */
    struct dir *merge_prev, *merge_next; /* one of r->changed, r->backing_off or r->open */
};

enum tree_stage {
    TREE_NONE,
    TREE_SCAN,
    TREE_WAIT,
    TREE_MERGING,
    TREE_WAIT_MERGED,
    TREE_BACKOFF,
    TREE_DONE
};

struct tree {
    enum tree_stage stage;
    uint32_t round;
    bool full, peer_have, merged, peer_merged;
    bool again; /* has changed since it was looked at */
    int err, peer_err;
    uint8_t base[REPLICA_DIGEST], peer_base[REPLICA_DIGEST];
    uint8_t digest[REPLICA_DIGEST], peer_digest[REPLICA_DIGEST];
    struct replica_payload *peer;
    unsigned failures;
    uint64_t retry_at;
};

/* Rounds of one kind. */
struct room {
    unsigned rounds, holding; /* open; of these, those that hold listings, */
    size_t bytes;             /* which take so much */
    size_t expected;          /* what those of the next one are likely to */
};

struct replica {
    struct replica_config config; /* strings are ours */
    bool lower, had_contact, caught_up, default_mine;
    uint64_t now, ticked_at;
    enum replica_state state;
    struct out *out;
    const char *lost; /* why the link is to be given up at the end of this call */

    uint64_t epoch;
    bool connected;
    uint64_t connected_at, heard_at, sent_at;
    uint64_t in_sync_at, in_sync_epoch; /* first in that epoch */
    bool contact_waited;
    uint64_t contact_until;

    struct tree tree;
    bool tree_job, marks_job;
    uint64_t tree_job_epoch, marks_job_epoch;
    bool marks_sent, marks_here, exchanged;
    bool in_sync_sent, peer_in_sync;

    struct dir *dirs, *watch;
    struct dir *changed[2];         /* to be merged: by differences, in full (need_full) */
    struct dir *backing_off, *open; /* later; being merged */
    size_t to_merge;
    struct room room[2]; /* of differences, in full */
    uint32_t round_no;   /* coordinator: the last */
    uint64_t next_retry;

    uint64_t tx_seq, rx_id, tx_bytes, rx_bytes;
    struct tx *tx;
    struct rx *rx;
    struct request *requests, *waiting;
    struct prep_in *preps_in;
    struct prep_out *preps_out;
    struct replica_prep prep_first; /* asked for in this life, of the incarnation it was last of */
    uint64_t orphans_at;            /* when the next orphan is due; UINT64_MAX: there is none */
    size_t waiters, unsent, dead;   /* dead: of preps_out */
};

/* replica_queue.c */
void *replica_alloc(size_t size);
struct replica_action *replica_emit(struct replica *r, enum replica_action_kind kind);
struct replica_action *replica_emit_dir(struct replica *r, enum replica_action_kind kind,
                                        const struct dir *d);
struct replica_msg *replica_send(struct replica *r, enum replica_msg_kind kind);
struct replica_msg *replica_send_dir(struct replica *r, enum replica_msg_kind kind,
                                     const struct dir *d);
void replica_release(struct replica *r, uint64_t req, bool alone);
struct replica_prep *replica_preps_copy(const struct replica_prep *preps, size_t n);
void replica_queue_clear(struct replica *r);

/* replica_dir.c */
struct dir *replica_dir_find(const struct replica *r, const struct mailfs_id *id);
struct dir *replica_dir_get(struct replica *r, const struct mailfs_id *id);
bool replica_dir_room(const struct replica *r, const struct mailfs_id *id); /* a peer's message */
void replica_dir_free(struct replica *r, struct dir *d);
void replica_settle(struct replica *r, struct dir *d);
void replica_settle_all(struct replica *r);
void replica_pump(struct replica *r);

/* replica_link.c */
void replica_lose(struct replica *r, const char *why);
void replica_go_alone(struct replica *r);
void replica_update_state(struct replica *r);

/* replica_token.c */
bool replica_token_can_lock(const struct replica *r, const struct dir *d);
bool replica_token_grantable(const struct replica *r, const struct dir *d, const struct waiter *w);
/* How long somebody waits for the merge of d before L is granted as if alone. */
uint64_t replica_token_merge_wait(const struct replica *r, const struct dir *d);
uint64_t replica_token_deadline(const struct replica *r, const struct dir *d);
void replica_token_step(struct replica *r, struct dir *d);
void replica_token_set(struct replica *r, struct dir *d, bool mine);
void replica_token_unlocked(struct replica *r, struct dir *d); /* L has ended */
void replica_token_raise_begins(struct replica *r, const struct mailfs_id *dir);
void replica_token_alone(struct replica *r, struct dir *d);
int replica_token_req(struct replica *r, const struct replica_msg *m);
int replica_token_give(struct replica *r, const struct replica_msg *m);

/* replica_txn.c */
bool replica_txn_blocks(const struct replica *r, const struct dir *d);
bool replica_txn_step(struct replica *r, struct dir *d);
void replica_txn_flush_held(struct replica *r, struct dir *d);
void replica_txn_acknowledged(struct replica *r, struct dir *d);
void replica_txn_listed(struct replica *r, struct dir *d);
void replica_txn_alone(struct replica *r, struct dir *d);
void replica_txn_free_all(struct replica *r, struct dir *d);
int replica_txn_receive(struct replica *r, const struct replica_msg *m);
int replica_txn_ack(struct replica *r, const struct replica_msg *m);
void replica_request_add(struct replica *r, uint64_t req, size_t owed, bool body);
/* The peer has one of what it waits for, or is not asked for that any more. */
void replica_request_part(struct replica *r, uint64_t req, bool alone);
void replica_request_end(struct replica *r, uint64_t req, bool alone);
void replica_request_progress(struct replica *r, uint64_t req);
void replica_requests_end(struct replica *r); /* alone */

/* replica_prep.c */
void replica_prep_claim(struct replica *r, struct rx *rx);
void replica_prep_consume(struct replica *r, struct rx *rx);
void replica_prep_unclaim(struct replica *r, struct rx *rx);
void replica_prep_sent(struct replica *r, const struct replica_prep *preps, size_t n);
void replica_prep_unsent(struct replica *r, struct dir *d, const struct replica_prep *preps,
                         size_t n);
void replica_prep_drop_unsent(struct replica *r, struct dir *d, bool tell);
void replica_prep_merged(struct replica *r); /* everything is */
void replica_prep_connected(struct replica *r);
void replica_prep_alone(struct replica *r);
void replica_prep_tick(struct replica *r);
uint64_t replica_prep_deadline(const struct replica *r);
int replica_prep_receive(struct replica *r, const struct replica_msg *m);
int replica_prep_ok(struct replica *r, const struct replica_msg *m);
int replica_prep_abort(struct replica *r, const struct replica_msg *m);
int replica_prep_aborted(struct replica *r, const struct replica_msg *m);

/* replica_contact.c */
void replica_contact_begin(struct replica *r);
void replica_contact_end(struct replica *r);
void replica_contact_tick(struct replica *r);
void replica_contact_check(struct replica *r);
void replica_announce(struct replica *r, const struct dir *d, bool urgent);
void replica_become_changed(struct replica *r, struct dir *d, bool full);
void replica_suspect_dir(struct replica *r, struct dir *d);
int replica_contact_tree(struct replica *r, const struct replica_msg *m);
int replica_contact_tree_merged(struct replica *r, const struct replica_msg *m);
int replica_contact_marks(struct replica *r, const struct replica_msg *m);
int replica_contact_in_sync(struct replica *r, const struct replica_msg *m);

/* replica_round.c */
bool replica_round_open(const struct dir *d);
bool replica_round_frozen(const struct dir *d);
void replica_round_start_more(struct replica *r);
bool replica_round_step(struct replica *r, struct dir *d);
void replica_round_hurry(struct replica *r, struct dir *d);
void replica_round_alone(struct replica *r, struct dir *d);
void replica_round_enlist(struct replica *r, struct dir *d);
void replica_round_unlist(struct replica *r, struct dir *d);
void replica_round_free(struct dir *d);
void replica_round_tick(struct replica *r);
int replica_round_receive(struct replica *r, const struct replica_msg *m);

/* replica_room.c; all but the last two for d->round. */
void replica_room_contact(struct replica *r); /* nothing is known of what comes */
void replica_room_begin(struct replica *r, struct dir *d);
void replica_room_listed(struct replica *r, struct dir *d); /* own_bytes or peer_bytes is known */
void replica_room_hold(struct replica *r, struct dir *d, bool holds);
void replica_room_end(struct replica *r, struct dir *d);
bool replica_room_begins(const struct replica *r, const struct dir *d); /* may its round? */
bool replica_room_freezes(const struct replica *r, const struct dir *d);

/* replica.c: the first invariant that does not hold, or NULL. */
const char *replica_check(const struct replica *r);

#endif
