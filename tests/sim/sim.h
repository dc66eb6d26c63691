/*
 * sim.h: two machines of lib/replica in a world that is made up.
 *
 * One thread, virtual time, one random number generator: a seed is a run. The world has two
 * nodes, each with a store (mailboxes, messages, UIDs), the state a syncd keeps on disk, a model
 * of mailfs, and clients that do what Postfix and Dovecot do; between them a network that delays,
 * reorders what may be reordered, falls silent and breaks. After every event the actions of both
 * machines are carried out (many of them later, as events of their own) and everything is checked.
 *
 *   world.c    time, events, random numbers, the network
 *   model.c    stores, bases, transactions, listings, merging
 *   node.c     what syncd does: carries out actions, restarts
 *   client.c   Postfix, Dovecot
 *   check.c    what must hold
 *   machine.c  the machine itself, with its deliberate faults
 *   test_sim.c options, runs
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/replica.h"
#define REPLICA_MUTANTS 1 /* see machine.c */
#include "replica/replica_int.h"

enum { BOXES = 3, NODES = 2, CLIENTS = 5 };

/* ---- model ---- */

struct state {
    bool is, cur;
    uint32_t flags, uid;
};

struct entry {
    uint32_t name;
    struct state s;
};

struct list { /* ascending by name */
    struct entry *e;
    size_t n, room;
};

struct box {
    struct list msgs;
    uint32_t v, next;
    bool valid;       /* of a base */
    uint64_t version; /* of a base: counts what was agreed upon */
};

struct op {
    uint32_t name;
    struct state was, is;
};

struct txn {
    unsigned box;
    struct op *ops;
    size_t n, room;
    uint32_t v, next;
    struct replica_prep *preps;
    size_t npreps;
    bool received, durable; /* by the other node */
};

struct listed {
    uint32_t name;
    struct state was, is;
};

struct listing {
    unsigned box;
    bool full, base_valid;
    uint64_t base_digest, base_version;
    uint32_t v, next, base_v, base_next;
    struct listed *e;
    size_t n;
};

struct state list_get(const struct list *l, uint32_t name);
void list_set(struct list *l, uint32_t name, struct state s); /* !s.is: removes */
void list_free(struct list *l);
void box_copy(struct box *to, const struct box *from);
bool state_equal(struct state a, struct state b);
uint64_t box_digest(const struct box *b);

void txn_add(struct txn *t, uint32_t name, struct state was, struct state is);
void txn_add_prep(struct txn *t, struct replica_prep p);
struct replica_payload *txn_wrap(struct txn *t); /* takes it over */
/* To store and base; true: something did not fit, the mailbox is suspect. */
bool txn_apply(struct box *store, struct box *base, const struct txn *t);
void txn_acked(struct box *base, const struct txn *t);

struct replica_payload *listing_make(unsigned box, const struct box *store, const struct box *base,
                                     bool full);
/* Merges; the side `own` is the lower-named one if `lower`. 0 or -errno. *suspect: changed since.
 */
int listing_merge(struct box *store, struct box *base, const struct listing *own,
                  const struct listing *peer, bool lower, uint8_t digest[REPLICA_DIGEST],
                  bool *suspect);

/* ---- names: a message file; two names may have one content (published, or copied) ---- */

struct name {
    uint32_t content;
    struct replica_prep prep; /* incarnation 0: none */
};
extern struct name names[];
enum { NAMES_MAX = 20000 };
uint32_t name_new(uint32_t content, struct replica_prep prep);
void names_reset(void);

/* ---- nodes ---- */

struct journaled {
    uint64_t id, life;
    struct replica_payload *payload;
    struct journaled *prev, *next;
};

struct prepared {
    struct replica_prep prep;
    uint32_t content;
    unsigned box;
    bool durable;
    struct prepared *prev, *next;
};

enum client_kind { C_VIRTUAL, C_LMTP, C_IMAP, C_MOVE, C_FLAG_ACT, C_KINDS };
enum client_wait { W_NOTHING, W_OPEN, W_GRANTED, W_RELEASE };

enum done_kind { D_PRESENT, D_EXPUNGED, D_FLAGS };
struct done { /* what the client is told when its U returns */
    enum done_kind kind;
    unsigned box;
    uint32_t name, flags;
    unsigned gen;
};
enum { DONE_MAX = 32 };

struct client {
    unsigned node, index;
    enum client_kind kind;
    enum client_wait wait;
    bool alive, unlocking;
    unsigned pc, tries, box, box2;
    uint64_t req, since, ticket;
    uint32_t name, content;
    struct replica_prep prep;
    uint64_t prep_conn; /* the connection it was prepared over; 0: alone */
    struct txn *txn;
    struct replica_payload *sent; /* the transaction U waits for */
    uint64_t sent_epoch;
    struct done done[DONE_MAX];
    unsigned ndone;
};

struct node {
    unsigned index;
    const char *name;
    struct replica *r; /* NULL: syncd is down */
    uint64_t life;     /* of syncd: what was begun in another is void */
    bool had_contact;
    struct box store[BOXES], base[BOXES];
    bool mark[BOXES], hint[BOXES], raised_alone[BOXES];
    bool dirty[BOXES]; /* for the checks */
    struct client *lock[BOXES];
    bool shown[BOXES]; /* a foreign lock is shown: BUSY */
    struct journaled *journal;
    struct prepared *prepared;
    struct replica_payload *own_listing[BOXES];
    struct box merged[BOXES]; /* what becomes the base when both have it */
    uint32_t own_round[BOXES];
    struct client client[CLIENTS];
    uint64_t tick_at, conn_at;
    bool disk_full;
    bool ticked; /* just now */
};
extern struct node nodes[NODES];

void node_init(struct node *n, unsigned index);
void node_free(struct node *n);
void node_start_syncd(struct node *n);
void node_stop_syncd(struct node *n);
void node_kill(struct node *n); /* syncd, mailfs and all clients */
void node_drain(struct node *n);
struct event;
void node_event(struct node *n, const struct event *e);
void node_before_receive(struct node *n, const struct replica_msg *m);
void node_checkpoint(struct node *n);
struct node *node_other(const struct node *n);
struct mailfs_id box_id(unsigned box);
unsigned box_index(const struct mailfs_id *id);
bool node_content_there(const struct node *n, uint32_t content); /* in any form, durably */
void node_tick(struct node *n);

/* ---- world ---- */

enum event_kind {
    E_TICK,
    E_DELIVER,
    E_LINK_NOTICE, /* this side hears that the connection ended */
    E_LINK_TRY,
    E_LINK_READY, /* both Hello exchanged, on this side */
    E_FAULT,
    E_JOURNALED,
    E_APPLIED,
    E_REPLAYED,
    E_DURABLE,
    E_TREE_SCANNED,
    E_TREE_MERGED,
    E_MARKS,
    E_SCANNED,
    E_STAGED,
    E_MERGED,
    E_GRANTED, /* mailfs creates L */
    E_CLIENT,  /* the client's next step */
    E_CLIENT_NEW,
    E_CHECKPOINT,
    E_SYNCD_START,
    E_KINDS
};

struct event {
    uint64_t at, order;
    enum event_kind kind;
    unsigned node;
    uint64_t life, conn;
    unsigned box;
    uint64_t seq, req;
    uint32_t round;
    int err;
    unsigned raise;
    bool frozen, full;
    struct replica_prep prep;
    struct replica_payload *payload;
    struct replica_msg *msg;
    struct client *client;
};

struct world {
    uint64_t now, order, steps, seed;
    uint64_t rng;
    bool trace, winding_down;
    uint64_t conn, conn_last; /* the present connection, 0: none; the last one's number */
    bool side_up[NODES];      /* this node's machine has been told of it */
    bool side_closed[NODES];  /* and has closed it, or found it closed */
    uint64_t ready_at[NODES]; /* when Hello is done there */
    bool silent;
    uint64_t silent_until;
    uint64_t sent_last[NODES], sent_dir[NODES][BOXES], sent_control[NODES];
    uint64_t req, prep, content;
    /* the run's character */
    uint64_t delay_net, delay_disk, delay_client;
    unsigned fault_every, restart_share, full_share, odd_merges;
    enum replica_commit commit;
    unsigned parallel;
    bool first_contact;
    const char *failed;
    char failure[512];
    uint64_t granted[2], busy, published, merges, faults, acked, suspects;
};
extern struct world world;

uint64_t rnd(uint64_t below); /* 0 .. below-1 */
bool chance(unsigned percent);
uint64_t some_time(uint64_t typical);
struct event *event_add(enum event_kind kind, unsigned node, uint64_t delay);
bool world_step(void); /* false: nothing is left to happen */
void world_free(void);
void world_reset(uint64_t seed);
void link_fault(void);
void link_close(unsigned node);
void net_send(unsigned node, const struct replica_msg *m);
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- clients ---- */

void client_event(const struct event *e);
void client_grant(struct client *c, struct node *n, unsigned box, unsigned raise);
void client_busy(struct client *c);
void client_released(struct client *c, int err);
void client_kill(struct client *c);
void client_free(struct client *c);
struct client *client_find(struct node *n, uint64_t req);
void clients_without_syncd(struct node *n);            /* mailfs is on its own from here */
bool client_holds(const struct node *n, unsigned box); /* L, before U */

/* ---- checks ---- */

void check_reset(void);
void check_step(void);
void check_quiet(void);
void check_dirty(struct node *n, unsigned box); /* its messages have changed */
void check_grant(const struct node *n, unsigned box);
bool check_one_incarnation(unsigned box, uint32_t name, bool both);
unsigned check_generation(unsigned box, uint32_t name);
void check_expunging(unsigned box, uint32_t name); /* somebody removes it: it may be gone */
void check_added(unsigned box, uint32_t name);
void check_done(const struct client *c); /* the client has been told so */
void check_delivered(const struct client *c);

#endif
