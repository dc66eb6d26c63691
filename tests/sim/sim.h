/*
 * sim.h: two machines of lib/replica in a world that is made up.
 *
 * One thread, virtual time, one random number generator: a seed is a run. The world has two
 * nodes, each with a store (mailboxes, messages, UIDs), the state a syncd keeps on disk, a model
 * of mailfs, and clients that do what Postfix and Dovecot do; between them a network that delays,
 * reorders what may be reordered, falls silent and breaks. After every event the actions of both
 * machines are carried out (many of them later, as events of their own) and everything is checked.
 *
 *   world.c    time, events, random numbers
 *   net.c      the network, and how the two meet
 *   fault.c    what goes wrong
 *   model.c    transactions, listings, merging
 *   list.c     stores and bases: lists of messages
 *   disk.c     what of a store is on the disk
 *   folders.c  directories in the mailboxes
 *   node.c     what syncd has: prepared contents, journal
 *   node_act.c    what syncd does: carries out actions
 *   node_event.c  tells the machine what became of them
 *   life.c     starts, deaths, checkpoints
 *   client.c   Postfix, Dovecot
 *   check.c    what must hold
 *   tree.c     the directory tree's merge, a world of its own
 *   mutants.c  the deliberate faults
 *   execution.c  runs that are not random: one for each way to fail that was thought of before
 *   shrink.c   a failing run made smaller
 *   machine*.c the code under test, with its deliberate faults
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
    uint32_t folder; /* 0: it is of messages */
    bool removed;    /* the folder */
    struct replica_prep *preps;
    size_t npreps;
    bool received, durable; /* by the other node */
};

struct half { /* what a merge made of a message here, and what the other node had then */
    uint32_t name;
    struct state mine, theirs;
};

struct halves { /* of the last merge that the other node is not known to have carried out */
    bool kept;
    uint64_t age, with;
    struct half *e;
    size_t n;
};

struct listed {
    uint32_t name;
    struct state was, is;
    bool half, put_back;
    struct half h;
};

struct listing {
    unsigned box;
    bool full, base_valid, cut;
    uint64_t base_digest, base_version;
    uint32_t v, next, base_v, base_next;
    uint64_t half_age, half_with, life;
    struct listed *e;
    size_t n;
};

struct state list_get(const struct list *l, uint32_t name);
void list_set(struct list *l, uint32_t name, struct state s); /* !s.is: removes */
void list_free(struct list *l);
void box_copy(struct box *to, const struct box *from);
bool state_equal(struct state a, struct state b);
uint64_t box_digest(const struct box *b);
uint64_t mix(uint64_t h, uint64_t v);
uint64_t digest_entry(uint64_t h, uint32_t name, struct state s);

void txn_add(struct txn *t, uint32_t name, struct state was, struct state is);
void txn_add_prep(struct txn *t, struct replica_prep p);
struct replica_payload *txn_wrap(struct txn *t); /* takes it over */
/* To store and base; true: something did not fit, the mailbox is suspect. */
struct node;
bool txn_apply(struct node *n, struct box *base, const struct txn *t,
               size_t most);                           /* the first so many of its operations */
void txn_applied(struct node *n, const struct txn *t); /* with the node's own base */
void txn_acked(struct node *n, const struct txn *t);

void halves_forget(struct halves *h);
struct replica_payload *listing_make(const struct node *n, unsigned box, bool full);
/* Merges into n's store and this base; 0 or -errno. *suspect: changed since. base NULL: as if it
 * were killed in the midst of it. */
int listing_merge(struct node *n, struct box *base, const struct listing *own,
                  const struct listing *peer, uint8_t digest[REPLICA_DIGEST], bool *suspect);

/* ---- names: a message file; two names may have one content (published, or copied) ---- */

struct name {
    uint32_t content;
    struct replica_prep prep; /* incarnation 0: none */
    unsigned box;             /* it was prepared for; elsewhere it is a copy like any other */
    bool published;           /* when its origin was gone */
    bool used[NODES];         /* the prepared content, on this node */
    uint32_t twin;            /* another published name of it; 0: no more */
};
extern struct name names[];
enum { NAMES_MAX = 20000 };
uint32_t name_new(uint32_t content, unsigned box, struct replica_prep prep);
uint32_t names_of_content(uint32_t content);
void names_reset(void);

/* ---- nodes ---- */

struct journaled {
    uint64_t seq, life; /* the machine's number, in this life */
    uint64_t order;     /* of arrival */
    bool applied;       /* in this life; it goes with the next checkpoint */
    bool half;          /* some of it is in the store, and will be applied once more */
    bool taken;         /* by the checkpoint under way */
    bool folder_done;   /* in any life */
    bool under_way;     /* its application */
    struct replica_payload *payload;
    struct journaled *prev, *next;
};

struct prepared {
    struct replica_prep prep;
    uint32_t content;
    unsigned box;
    bool durable;
    bool put_off; /* there was no room to publish it: an event tries again */
    struct prepared *prev, *next;
};

enum client_kind { C_VIRTUAL, C_LMTP, C_IMAP, C_MOVE, C_FLAG_ACT, C_FOLDER, C_KINDS };
enum client_wait { W_NOTHING, W_OPEN, W_GRANTED, W_RELEASE };

enum done_kind { D_PRESENT, D_EXPUNGED, D_FLAGS, D_CLEARED };
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

/* A write to the store that is not synced. */
struct write {
    unsigned box;
    bool list; /* of the uidlist; else of a message's name */
    uint32_t name;
    struct state s;        /* of the name; its uid says nothing */
    uint32_t uid, v, next; /* of the list; name 0: no record, the header only */
    bool joined;           /* with the one before: both are lost, or neither */
};

struct disk {
    struct box box[BOXES];      /* synced: names, and the head of the uidlist */
    struct list records[BOXES]; /* of the uidlist */
    struct box noted[BOXES];    /* and what is beyond that is noted up to here */
    bool changed[BOXES];        /* and changed since */
    struct write *w;
    size_t n, room;
};

/* Steps of a checkpoint, each an event of its own. */
enum checkpoint_step { CK_IDLE, CK_SETTLED, CK_SYNCED, CK_COMMITTED, CK_MARKS };
struct checkpoint {
    enum checkpoint_step step;
    uint64_t gen; /* marks below go; 0: none */
    bool settled[BOXES];
    struct box frozen[BOXES];
};

/* Bodies kept back in .mailfs/kept until everything is merged. */
enum { KEPT_MAX = 4096 };

/* What mailfs has done and not yet told. */
struct untold {
    struct replica_payload *payload;
    struct untold *prev, *next;
};

struct node {
    unsigned index;
    const char *name;
    struct replica *r;     /* NULL: syncd is down */
    uint64_t life;         /* of syncd: what was begun in another is void */
    bool had_contact, met; /* on disk: in-sync once; something merged once */
    struct box store[BOXES], base[BOXES];
    struct disk disk;
    struct box base_disk[BOXES]; /* as of the last checkpoint */
    uint64_t gen, mark[BOXES];   /* generation; of each mark, 0: none */
    bool hint[BOXES], raised_alone[BOXES];
    uint32_t folders[BOXES];     /* a bit for each that is there */
    bool lacks[BOXES];           /* marked at the start: the base may lack what was acknowledged */
    bool was_cut[BOXES];         /* by a power cut, and that it had been merged, too */
    bool doubtful;               /* it began with a base that is an earlier one */
    struct list put_back[BOXES]; /* by the journal's replay */
    struct halves half[BOXES];
    bool cut[BOXES]; /* and the list UIDs that an index of Dovecot's has */
    struct checkpoint ck;
    bool keep_removed;
    uint32_t kept[KEPT_MAX];
    size_t nkept;
    bool tree_full;
    bool dirty[BOXES]; /* for the checks */
    struct client *lock[BOXES];
    bool shown[BOXES]; /* a foreign lock is shown: BUSY */
    struct journaled *journal;
    struct prepared *prepared;
    struct replica_payload *own_listing[BOXES];
    struct box merged[BOXES]; /* what becomes the base when both have it */
    uint32_t own_round[BOXES];
    struct client client[CLIENTS];
    struct untold *untold;
    uint64_t tick_at, conn_at;
    bool disk_full;
    uint64_t hung_until;
    bool ticked; /* just now */
    uint64_t journal_order;
    uint64_t incarnation; /* of mailfs */
    uint64_t lag;         /* its monotonic clock is that much behind */
    uint64_t paused_at, paused_until;
    bool clock_stops;   /* while it is paused */
    uint64_t off_until; /* nothing runs there but the disks */
    bool recent_lost;   /* what its syncd wrote and did not sync: the base since the checkpoint */
    bool behind;        /* its store has lost something since all was in order */
};
extern struct node nodes[NODES];

void node_init(struct node *n, unsigned index);
void node_free(struct node *n);
void node_start_syncd(struct node *n);
void node_stop_syncd(struct node *n);
void node_kill(struct node *n); /* syncd, mailfs and all clients */
void node_kill_mailfs(struct node *n);
void node_mailfs_back(struct node *n);
void node_power_cut(struct node *n, uint64_t off);
void node_lose_state(struct node *n); /* the state directory, while nothing runs */
void node_pause(struct node *n, uint64_t ms, bool clock_stops);
void node_resume(struct node *n);
uint64_t node_now(const struct node *n); /* by its own monotonic clock */
void node_mark(struct node *n, unsigned box);
void node_publish(struct node *n, struct prepared *p);
void node_drop_prepared(struct node *n, struct prepared *p);
void node_drop_journaled(struct node *n, struct journaled *j);
void node_drain(struct node *n);
struct event;
void node_event(struct node *n, const struct event *e);
void node_before_receive(struct node *n, const struct replica_msg *m);
void node_checkpoint(struct node *n);
struct node *node_other(const struct node *n);
struct mailfs_id box_id(unsigned box);
unsigned box_index(const struct mailfs_id *id);
/* In any form, durably; in this mailbox, or (box BOXES) in any. */
bool node_content_there(const struct node *n, unsigned box, uint32_t content);
void node_keep(struct node *n, uint32_t content);

/* ---- folders ---- */

uint32_t folders_change(struct node *n, unsigned box); /* one of its own; which */
void folders_apply(struct node *n, struct journaled *j);
void folders_before_trees(struct node *n);
struct replica_payload *folders_tree(const struct node *n);
void folders_merge(struct node *n, const struct event *e);
void folders_check(void); /* C6 */

/* ---- disk ---- */

void disk_note(struct node *n);                     /* after every event */
void disk_sync_names(struct node *n, unsigned box); /* fsync of new/ and cur/ */
void disk_sync_list(struct node *n, unsigned box);  /* of dovecot-uidlist */
void disk_sync_all(struct node *n);                 /* syncfs */
void disk_power_cut(struct node *n);                /* the store is what is left */
void disk_free(struct node *n);
void node_tick(struct node *n);

/* ---- world ---- */

enum fault {
    F_SYNCD,   /* killed */
    F_MAILFS,  /* killed */
    F_DAEMONS, /* both, of one node */
    F_POWER,   /* of one node cut: what was not synced is gone */
    F_POWER_BOTH,
    F_STATE,  /* the state directory is lost */
    F_CUT,    /* the connection ends */
    F_FLAP,   /* again and again */
    F_SILENT, /* nothing gets through, either way */
    F_HOLD,   /* one way is slow, for long */
    F_STOP,   /* a node's processes are stopped: it accepts, and never answers */
    F_SLEEP,  /* the same, and its clock stands still */
    F_FULL,   /* a disk gets full, or has room again */
    F_HANG,   /* a disk answers nothing: its syncd pings, and never acknowledges */
    FAULTS
};
extern const char *const fault_names[FAULTS];
extern const char *const client_names[C_KINDS];

enum event_kind {
    E_TICK,
    E_DELIVER,
    E_LINK_NOTICE, /* this side hears that the connection ended */
    E_LINK_TRY,
    E_LINK_READY, /* both Hello exchanged, on this side */
    E_FAULT,
    E_JOURNALED,
    E_APPLY_HALF, /* and then it may be killed */
    E_APPLIED,
    E_REPLAYED,
    E_DURABLE,
    E_PUBLISH, /* what there was no room for */
    E_TREE_SCANNED,
    E_TREE_MERGED,
    E_MARKS,
    E_SCANNED,
    E_STAGED,
    E_MERGE_HALF,
    E_MERGED,
    E_GRANTED, /* mailfs creates L */
    E_CLIENT,  /* the client's next step */
    E_CLIENT_NEW,
    E_TELL,
    E_MAILFS_START,
    E_CHECKPOINT,
    E_SYNCD_START,
    E_RESUME,
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
    bool frozen, full, late;
    struct replica_prep prep;
    struct replica_payload *payload;
    struct replica_msg *msg;
    struct client *client;
};

struct world {
    uint64_t now, order, steps, seed;
    uint64_t rng;
    bool trace, winding_down, scripted;
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
    unsigned fault_every, odd_merges;
    unsigned share[FAULTS]; /* of all faults */
    bool state_lost;        /* once in this run */
    unsigned clients, boxes;
    uint64_t flap_until;
    uint64_t hold_until[NODES]; /* nothing that this node sends arrives before */
    enum replica_commit commit;
    unsigned parallel;
    bool first_contact;
    const char *failed;
    char failure[512];
    uint64_t granted[2], busy, published, put_off, merges, faults, acked, suspects;
};
extern struct world world;

/* What a run is restricted to, from the command line or while a failing run is made smaller. */
struct options {
    bool trace;
    uint32_t without;         /* bits of enum fault */
    uint32_t without_clients; /* bits of enum client_kind */
    unsigned clients, boxes;
};
extern struct options options;

uint64_t rnd(uint64_t below); /* 0 .. below-1 */
bool chance(unsigned percent);
uint64_t some_time(uint64_t typical);
struct event *event_add(enum event_kind kind, unsigned node, uint64_t delay);
struct event *event_add_at(enum event_kind kind, unsigned node, uint64_t at);
bool world_step(void); /* false: nothing is left to happen */
void world_free(void);
void world_reset(uint64_t seed);
void event_again(const struct event *e, uint64_t delay); /* the same, later */
void link_close(unsigned node);
void link_event(struct event *e); /* E_DELIVER, E_LINK_* */
void fault_event(void);
void fault_character(void);
void fault_do(enum fault f, struct node *n);
void net_send(unsigned node, const struct replica_msg *m);
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- clients ---- */

void client_event(const struct event *e);
void client_grant(struct client *c, struct node *n, unsigned box, unsigned raise);
void client_busy(struct client *c);
void client_released(struct client *c, bool alone);
void client_kill(struct client *c);
void client_free(struct client *c);
struct client *client_find(struct node *n, uint64_t req);
void clients_without_syncd(struct node *n); /* mailfs is on its own from here */
void clients_forget_untold(struct node *n);
void client_start(struct client *c, enum client_kind kind, unsigned box, unsigned box2);
bool client_holds(const struct node *n, unsigned box); /* L, before U */

/* ---- mutants, shrinking, other worlds ---- */

struct mutant {
    const char *name, *section; /* the execution's number */
    const char *check, *rule;   /* by which it is to be found; what the fault takes out */
};
extern const struct mutant mutants[MUTANT_COUNT];
enum replica_mutant mutant_named(const char *name); /* MUTANT_NONE: there is no such */

/* What a seed is a run of: two nodes, or two trees. */
struct sort {
    const char *name, *option;                  /* of test_sim: that seed once more */
    uint64_t group;                             /* so many seeds are one line of output */
    bool (*run)(uint64_t seed, uint64_t steps); /* true: everything held */
    uint32_t faults, clients;                   /* there are: bits of enum fault, client_kind */
    bool sized;                                 /* it has so many clients and mailboxes */
};
extern const struct sort sort_nodes, sort_trees;

bool run_down(void);       /* no more faults, until all is quiet; true: everything held */
bool executions_run(void); /* prints PASS and FAIL */
bool executions_find(enum replica_mutant m);
/* Finds and prints a smaller run; true: there is less in it, and as printed it fails alike. */
bool shrink(const struct sort *s, uint64_t seed, uint64_t steps);
bool failed_in(const char *check); /* "C3" */

/* ---- checks ---- */

void check_reset(void);
void check_step(void);
void check_quiet(void);
void check_dirty(struct node *n, unsigned box); /* its messages have changed */
void check_grant(const struct node *n, unsigned box);
bool check_one_incarnation(unsigned box, uint32_t name, bool both);
unsigned check_generation(unsigned box, uint32_t name);
void check_expunging(unsigned node, unsigned box,
                     uint32_t name); /* somebody removes it: it may be gone */
void check_published_once(const struct node *n, const struct prepared *p);
void check_added(unsigned box, uint32_t name);
/* The client has been told so; safe: and the other node has it durably. */
void check_done(const struct client *c, bool safe);
void check_synced(const struct node *n); /* a syncfs of its store */
void check_behind(struct node *n);       /* its store has lost something */
void check_number_lost(unsigned box, uint32_t name);
void check_indexed(const struct node *n); /* before a power cut: what Dovecot's indexes have */
void check_index_forgotten(const struct node *n); /* nobody can know of it any more */
void check_power_cut(const struct node *n);
void check_delivered(const struct client *c);

#endif
