/*
 * replica.h: the state machine of one link between two nodes.
 *
 * It decides; it does no I/O, knows no clock, no socket, no file and no Maildir.
 * Local events, the peer's messages, ticks and completions go in; actions come out
 * of a queue and are carried out by the driver (syncd, or tests/sim), in order.
 * Contents (transactions, listings, trees) pass through as opaque payloads.
 *
 * One machine is used by one thread. Times are milliseconds of one monotonic clock.
 * Memory: one record for each mailbox that is locked, wanted, changed, has something in
 * flight, or whose token is not where it is by default; bounded by `max_*` below.
 *
 * The driver takes all actions out after every call. Messages arrive in the order in which
 * they were sent, but for those of different mailboxes (TXN, TOKEN_*), which may overtake
 * each other. A failed allocation of one of the small records ends the process: mailfs
 * serves alone then, and nothing that was acknowledged depended on this memory.
 *
 * See docs/DESIGN.md for the rules, and the numbered invariants in replica_int.h.
 */
#ifndef MAILFS_REPLICA_H
#define MAILFS_REPLICA_H

#include "util/id.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replica;

enum replica_state { REPLICA_NO_PEER, REPLICA_ALONE, REPLICA_CATCHING_UP, REPLICA_IN_SYNC };
enum replica_commit { REPLICA_COMMIT_DISK, REPLICA_COMMIT_MEMORY, REPLICA_COMMIT_ASYNC };

/* Something the machine carries but does not look into. Counted references. */
struct replica_payload {
    unsigned refs;
    size_t size; /* bytes, for the bounds */
    void (*free)(struct replica_payload *);
    void *data; /* the driver's */
};
struct replica_payload *replica_payload_new(void *data, size_t size,
                                            void (*free_data)(struct replica_payload *));
struct replica_payload *replica_payload_ref(struct replica_payload *p);
void replica_payload_unref(struct replica_payload *p); /* NULL is allowed */

/* A prepared content: incarnation of the mailfs it came through, and its number there. */
struct replica_prep {
    uint64_t incarnation, seq;
};

struct replica_config {
    const char *node; /* own name */
    const char *peer; /* NULL: no peer configured, state NO_PEER for ever */
    enum replica_commit commit;
    bool had_contact; /* something of this store has been merged with a peer's */
    bool caught_up;   /* all of it has been, once */
    uint64_t
        timeout_ms; /* silence until the peer is gone; also the deadline of an acknowledgement */
    uint64_t lock_wait_ms;  /* how long open(L) waits for a token before BUSY (200) */
    uint64_t merge_wait_ms; /* how long open(L) waits for a mailbox's merge before it is granted as
                             * if alone (1000); */
    uint64_t first_wait_ms; /* one of which nothing has ever been merged here, and no message is
                             * here: granted as if alone it is shown empty. Also before it is known
                             * which these are, on a node that has not caught up yet */
    uint64_t freeze_ms; /* how long a mailbox may stay frozen before the merge is put off (5000) */
    unsigned merge_parallel; /* mailboxes merged at once (8); compared in full: half as many; */
    size_t merge_bytes;      /* and of either kind no more than one holds listings, if both nodes'
                              * of all of them are likely to be more than that; 0: no limit */
    bool oneway;             /* a link without transactions: its trees are compared again when they
                              * have changed, replica_tree_changed() */
    size_t max_unacked; /* transactions sent and not acknowledged, beyond which the link is given up
                         * (65536) */
};

/* ---- messages between two machines ---------------------------------------------------- */

enum replica_msg_kind {
    RMSG_PING,
    RMSG_PONG,
    RMSG_PREPARE,     /* prep, payload: what the driver needs to send name and body */
    RMSG_PREPARED_OK, /* prep, err */
    RMSG_ABORT,       /* prep */
    RMSG_ABORTED,     /* prep: that has come */
    RMSG_TXN,         /* seq, dir, locked, preps/npreps, payload */
    RMSG_TXN_ACK,     /* seq, err: 0: durable; REPLICA_RECEIVED: in memory, another one follows;
                       * REPLICA_WORKING: it is being made so, and something of it has been done */
    RMSG_TOKEN_REQ,   /* dir */
    RMSG_TOKEN_GIVE,  /* dir */
    RMSG_TREE,        /* payload, digest = base digest of the tree, full, round */
    RMSG_TREE_MERGED, /* round, digest, err */
    RMSG_MARKS,       /* marks/nmarks, more */
    RMSG_MERGE_START, /* dir, round, full */
    RMSG_LISTING,     /* dir, round, frozen, full, payload */
    RMSG_STAGED,      /* dir, round */
    RMSG_FREEZE,      /* dir, round */
    RMSG_MERGED,      /* dir, round, digest, err */
    RMSG_CANCEL,      /* dir, round */
    RMSG_IN_SYNC,
    RMSG_KINDS
};

#define REPLICA_DIGEST 32
/* The `err` of a first acknowledgement (commit = memory): who waits may go on; the base moves with
 * the second one only, or a peer that dies in between would seem to have removed what it lost. */
#define REPLICA_RECEIVED (-EINPROGRESS)
#define REPLICA_WORKING  (-EALREADY)
struct replica_mark {
    struct mailfs_id dir;
    uint8_t base_digest[REPLICA_DIGEST]; /* all zero: no valid base */
    bool urgent;
    uint32_t used; /* when something last changed there, seconds; 0: no message is there */
};

struct replica_msg {
    enum replica_msg_kind kind;
    struct mailfs_id dir;
    uint64_t seq;
    uint32_t round;
    int err; /* 0 or a negative errno */
    bool full, frozen, locked, more;
    struct replica_prep prep;
    const struct replica_prep *preps; /* contents the transaction refers to */
    size_t npreps;
    const struct replica_mark *marks;
    size_t nmarks;
    uint8_t digest[REPLICA_DIGEST];
    struct replica_payload *payload; /* borrowed by the callee; it takes its own reference */
};

/* ---- actions -------------------------------------------------------------------------- */

enum replica_action_kind {
    RACT_SEND,       /* msg */
    RACT_DISCONNECT, /* reason: end this connection. The machine is alone already; what still comes
                      * of this connection is refused, replica_disconnected() for it does nothing */
    RACT_STATE,      /* state has changed */
    RACT_GRANT, /* req, dir, raise: open(L) may go on; raise: put a gap before the next UID first */
    RACT_BUSY,  /* req, dir: show a foreign lock and answer EEXIST */
    RACT_TOKEN_HERE, /* dir: the lock shown after BUSY may go */
    RACT_TOKEN_HINT, /* dir, held: for mailfs, for when syncd is not there; void when a new syncd
                        greets it */
    RACT_RELEASE,    /* req, alone: answer the waiting unlink of L, or fsync; alone: the peer is not
                        known to have it (U: its UIDs are to be made durable here first) */
    RACT_WORKING,    /* req: what it waits for goes on. About once in a timeout, while it does */
    RACT_JOURNAL, /* seq, dir, payload: make it durable, contents included; then replica_journaled()
                   */
    RACT_APPLY,   /* seq, dir, payload: to the store; then replica_applied(). late: it came before
                   * this   connection, whose trees may be without it */
    RACT_ACKED,   /* seq, dir, payload: the peer has it: it is now in the common base */
    RACT_PUBLISH, /* prep: the origin is gone, or has forgotten it: give it a name in its mailbox,
                     which then differs from the peer's: if connected, replica_suspect() */
    RACT_UNPREPARE,   /* prep: aborted by the origin: drop the content */
    RACT_TREE_SCAN,   /* then replica_tree_scanned() */
    RACT_TREE_RESCAN, /* bases differ: the same, in full */
    RACT_TREE_MERGE,  /* payload: the peer's tree; then replica_tree_merged() */
    RACT_TREE_DONE,   /* after replica_tree_changed() of either side: both have the same trees */
    RACT_LIST_MARKS,  /* then replica_marks() */
    RACT_SCAN,        /* dir, round, frozen, full; then replica_scanned() */
    RACT_STAGE,       /* dir, round, payload: the peer's listing: fetch the contents lacking; then
                       * replica_staged() */
    RACT_MERGE,       /* dir, round, payload: the peer's frozen listing; then replica_merged() */
    RACT_MERGE_DONE,  /* dir, round: the peer has the same result: it is the common base from now on
                       */
    RACT_MERGE_PUT_OFF, /* dir, round: forget the listings of this round */
    RACT_RAISE, /* dir, raise: raise the next UID, before anything else is done with that mailbox */
    RACT_CAUGHT_UP, /* first: nothing is left to merge: removals kept back may be carried out */
};

/*
 * When RACT_GRANT says raise, N, the next UID, is raised to the first multiple of 2^16 that is
 * at least N + 2^16 and whose number (N >> 16) is 1 modulo 4 (REPLICA_RAISE_ODD, the lower-named
 * node) or 2 (REPLICA_RAISE_EVEN, the other). So neither meets the UIDs that the other gives
 * meanwhile, whether that one holds the token or has raised, even several times. Blocks of the
 * other numbers nobody raises to: into these a merge may go that has to leave the block of N, since
 * a node that has not heard of it cannot meet it there. No uidlist yet: nothing to raise.
 */
enum replica_raise { REPLICA_RAISE_NONE, REPLICA_RAISE_ODD, REPLICA_RAISE_EVEN };
#define REPLICA_RAISE_BLOCK UINT32_C(0x10000)
uint32_t replica_raised_uid(uint32_t next, enum replica_raise raise);
/* Above what somebody may give, or has given, whose list is replaced: by two steps of the rule. A
 * mailfs that serves by itself raises, too, by the same one. Where it does so between the reading
 * of the list and the replacing of it, what it raised to is at the first step. */
uint32_t replica_raised_over(uint32_t next, enum replica_raise raise);
/* next itself if it is in the same block as `from`, or in one that nobody raises to; else the first
 * of the next such block. */
uint32_t replica_unraised_uid(uint32_t from, uint32_t next);

struct replica_action {
    enum replica_action_kind kind;
    struct mailfs_id dir;
    uint64_t req, seq;
    uint32_t round;
    int err;
    enum replica_raise raise;
    bool held, frozen, full, alone;
    bool late;
    bool first; /* of this contact */
    enum replica_state state;
    struct replica_prep prep;
    struct replica_payload *payload; /* a reference the caller owns */
    struct replica_msg msg; /* SEND; its arrays and payload live until replica_action_done() */
    const char *reason;
};

/* Takes the next action; false: none. Never calls back. */
bool replica_next(struct replica *r, struct replica_action *out);
/* Gives up what an action owns. */
void replica_action_done(struct replica_action *a);

/* ---- life ----------------------------------------------------------------------------- */

/* NULL: no memory. The configuration's strings are copied. `now` starts the first wait for contact.
 */
struct replica *replica_new(const struct replica_config *config, uint64_t now);
void replica_free(struct replica *r);
enum replica_state replica_state(const struct replica *r);

/* ---- the link ------------------------------------------------------------------------- */

void replica_connected(struct replica *r, uint64_t now);    /* after both Hello: a new epoch */
void replica_disconnected(struct replica *r, uint64_t now); /* for whatever reason: alone */
void replica_heard(struct replica *r, uint64_t now);        /* any byte of the peer's */
/* A message of the peer's. -EPROTO: it makes no sense in this state; the caller ends the
 * connection. -ENOTCONN: of a connection that has been given up. */
int replica_receive(struct replica *r, uint64_t now, const struct replica_msg *m);
void replica_tick(struct replica *r, uint64_t now);
/* When replica_tick() should be called next, at the latest; UINT64_MAX: never. */
uint64_t replica_deadline(const struct replica *r);

/* ---- local events --------------------------------------------------------------------- */

/* A process wants to create L of `dir`. Answered by GRANT or BUSY with `req`. */
void replica_lock_open(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir);
/* The granted L exists now, or (ok false) could not be made or its caller is gone. */
void replica_lock_opened(struct replica *r, uint64_t now, struct mailfs_id dir, bool ok);
/*
 * mailfs is gone, and who waited in it; but its mount may be kept, and whoever holds L with it.
 * What L's there are, another mailfs says: those that it does not name are gone, of those that were
 * not known nobody knows what was done under them. lost: the mount was not kept.
 */
void replica_mailfs_away(struct replica *r, uint64_t now);
void replica_locks_are(struct replica *r, uint64_t now, const struct mailfs_id *dirs, size_t n,
                       bool lost);
/* While somebody has L, or may have one that no mailfs has named yet, the UID list gets another
 * file, or may: what he appends from now on is lost. Raised at the end of L, since he may write all
 * of the list anew; and at once, each time, unless the list that was put there is (raised): it may
 * be another one who has L by now. */
void replica_list_replaced(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised);
/* By which of the rules this node raises. */
enum replica_raise replica_raise_rule(const struct replica *r);
/* At a start: an earlier life has left it so. raised: it has been, and is to be at the end of L. */
void replica_raise_left(struct replica *r, uint64_t now, struct mailfs_id dir, bool raised);
/* RAISE is, or may still be, to be carried out. */
bool replica_is_raise_due(const struct replica *r, struct mailfs_id dir);
/* RAISE has been carried out: L may be granted there again. */
void replica_raised(struct replica *r, uint64_t now, struct mailfs_id dir);
/* An unlink of L that mailfs asks about once more, after replica_unlock(): answered by RELEASE when
 * what was sent of that mailbox is acknowledged. */
void replica_unlock_again(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir);
/* U. payload: the transaction, NULL if nothing changed. req 0: nobody waits. Answered by RELEASE.
 */
void replica_unlock(struct replica *r, uint64_t now, uint64_t req, struct mailfs_id dir,
                    struct replica_payload *payload, const struct replica_prep *preps, size_t n);
/* A change made outside any transaction; sent at once, not waited for. tree: it is one of the
 * directories in dir, which no listing of dir tells of. True: it is held back, as dir is frozen; if
 * its listing has it, it is never sent. */
bool replica_act(struct replica *r, uint64_t now, struct mailfs_id dir,
                 struct replica_payload *payload, const struct replica_prep *preps, size_t n,
                 bool tree);
/* fsync of a file in tmp/. Answered by RELEASE. */
void replica_prepare(struct replica *r, uint64_t now, uint64_t req, struct replica_prep prep,
                     struct replica_payload *payload);
/* One that mailfs asks about once more, after replica_prepare(), or perhaps before it: answered by
 * RELEASE as the first would have been. */
void replica_prepare_again(struct replica *r, uint64_t now, uint64_t req, struct replica_prep prep,
                           struct replica_payload *payload);
struct replica_copy {
    struct replica_prep prep;
    struct replica_payload *payload;
};
/* The same of what has its name, in a mailbox that is left to a merge: the peer keeps it till all
 * is merged. RELEASE comes when it has all of them. req 0: nobody waits. */
void replica_prepare_copies(struct replica *r, uint64_t now, uint64_t req,
                            const struct replica_copy *v, size_t n);
/* It gets no name any more. The peer is told until it confirms that, at each contact anew. */
void replica_abort(struct replica *r, uint64_t now, struct replica_prep prep);
/* A new mailfs is there: what those before it had prepared and not named is aborted, at once or, if
 * they may have named something and not told (untold), when all that is marked has been merged. */
void replica_abort_others(struct replica *r, uint64_t now, uint64_t incarnation, bool untold);
/* Its body is moving: whoever waits for it is to be told so. */
void replica_progress(struct replica *r, uint64_t now, struct replica_prep prep);
/* This mailbox was found different: merge it. */
void replica_suspect(struct replica *r, uint64_t now, struct mailfs_id dir);
/*
 * It differs from the base, which is common as far as is known: merge what differs. The way of
 * links without transactions. All zero, or not the peer's base: it is merged in full.
 */
void replica_changed(struct replica *r, uint64_t now, struct mailfs_id dir,
                     const uint8_t base_digest[REPLICA_DIGEST]);

/*
 * Directories have been made, moved or removed here: the trees are compared, beside all else. Only
 * of links that are `oneway` on both sides. Alone: the next contact does.
 */
void replica_tree_changed(struct replica *r, uint64_t now);
/* After RACT_TREE_DONE: no other comparison has begun since, or is due. */
bool replica_trees_compared(const struct replica *r);

/* ---- completions ----------------------------------------------------------------------
 *
 * Each JOURNAL, APPLY, TREE_SCAN, TREE_RESCAN, TREE_MERGE, LIST_MARKS, SCAN, STAGE and MERGE is
 * answered exactly once, also after MERGE_PUT_OFF or the end of the connection: until then nothing
 * that would collide with it is begun. `seq` of JOURNAL and APPLY is the machine's own number,
 * never used twice in its life; only that of SEND and ACKED is the number on the wire.
 */

/* What the peer prepared here is durable (or, with an error, is not and has been dropped). */
void replica_content_durable(struct replica *r, uint64_t now, struct replica_prep prep, int err);
/* Has the peer, which is away, this content of ours, and may it publish it under a name of its own?
 * So it may where it was asked for before this machine lived. */
bool replica_prep_is_past(const struct replica *r, struct replica_prep prep);
/* One that could not be published when the machine asked for it, and that it does not know of any
 * more: may it be tried again now? */
bool replica_may_publish(const struct replica *r, uint64_t now);
/* A merge here has given a name to what the peer had prepared: it is not to be published again. */
void replica_prep_used(struct replica *r, struct replica_prep prep);
/* JOURNAL of this one takes its time, and has come further since it was said last. */
void replica_working(struct replica *r, uint64_t now, uint64_t seq);
/* In any order. err: refused (no room): acknowledged with the error, never applied. */
void replica_journaled(struct replica *r, uint64_t now, uint64_t seq, int err);
void replica_applied(struct replica *r, uint64_t now, uint64_t seq);
/* It is not, as this node ends: it is in the journal, and so is what follows it in its mailbox.
 * Nobody need wait for these; L is not granted there any more. */
void replica_left(struct replica *r, uint64_t seq);
/* At start: transactions of an earlier life, read from the journal, are being applied to dir;
   L of dir waits until as many replica_replayed() have come. */
void replica_replaying(struct replica *r, struct mailfs_id dir);
void replica_replayed(struct replica *r, uint64_t now, struct mailfs_id dir);

/* tree NULL: it cannot be read; the link is given up. */
void replica_tree_scanned(struct replica *r, uint64_t now, struct replica_payload *tree,
                          const uint8_t base_digest[REPLICA_DIGEST]);
void replica_tree_merged(struct replica *r, uint64_t now, const uint8_t digest[REPLICA_DIGEST],
                         int err);
void replica_marks(struct replica *r, uint64_t now, const struct replica_mark *marks, size_t n);
/* listing NULL: it could not be read; the round is given up, and tried again later. False: its
 * round is over, and nobody asks for this listing. */
bool replica_scanned(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                     struct replica_payload *listing);
/* What STAGE is to fetch is known, and takes its time: the listings are not held meanwhile. No
 * answer yet. */
void replica_fetching(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round);
/* err: the same. -ESTALE: the listings show different bases and must be made in full; at once. */
void replica_staged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round, int err);
/* err, or a digest that is not the peer's: again, in full, with back-off. */
void replica_merged(struct replica *r, uint64_t now, struct mailfs_id dir, uint32_t round,
                    const uint8_t digest[REPLICA_DIGEST], int err);

/* ---- looking in ----------------------------------------------------------------------- */

/* unapplied: but for what is left (replica_left()). */
struct replica_counts {
    size_t unacked, unapplied, waiting, to_merge, tokens_here, tokens_there, prepared_there;
    uint64_t oldest_unacked_at; /* ms; 0: none */
};
void replica_count(const struct replica *r, struct replica_counts *out);
/* Has something been received of dir that is not applied yet? */
bool replica_has_received(const struct replica *r, struct mailfs_id dir);
/* What is durable here and not being applied yet, in the order in which it came. */
typedef void replica_unapplied_fn(void *arg, const struct mailfs_id *dir,
                                  struct replica_payload *payload);
void replica_each_unapplied(const struct replica *r, replica_unapplied_fn *fn, void *arg);
/* Connected, and both have the same of dir but for what is on its way? */
bool replica_is_merged(const struct replica *r, struct mailfs_id dir);
/* True when nothing of dir is in flight or to be merged: its mark may be cleared. */
bool replica_is_settled(const struct replica *r, struct mailfs_id dir);

#endif
