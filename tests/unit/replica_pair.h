/*
 * replica_pair.h: two machines of lib/replica, "a" (the lower-named) and "b", side by side.
 *
 * What a machine sends reaches the other at once, in order, unless the link is held. What it asks
 * of its driver is done at once, unless that kind is held; everything is noted and can be asked
 * for.
 */
#ifndef REPLICA_PAIR_H
#define REPLICA_PAIR_H

#include "replica/replica.h"

enum { NOTED_MAX = 512 };

struct noted {
    enum replica_action_kind kind;
    enum replica_msg_kind msg; /* of a SEND */
    uint8_t dir;
    uint64_t req, seq;
    uint32_t round;
    int err;
    enum replica_raise raise;
    bool held, frozen, full, first, late;
};

struct side {
    struct replica *r;
    struct noted noted[NOTED_MAX];
    unsigned n;
    bool hold[32];                         /* by enum replica_action_kind: noted, not carried out */
    int journal_err, stage_err, merge_err; /* how the driver fares */
    uint8_t tree_base, merged;             /* first byte of the digests it gives */
    uint8_t marks[8];                      /* mailboxes it has marked; 0 ends the list */
    uint8_t unborn;                        /* of these: nothing was ever merged, nothing is there */
    size_t listing_bytes;                  /* of the listings it gives */
};

struct pair {
    struct side side[2];
    uint64_t now;
    bool link_held; /* messages are kept, see pair_deliver() */
};

extern struct pair pair;

/* For cmocka: started, not connected; connected. */
int pair_setup(void **state);
int pair_setup_connected(void **state);
int pair_teardown(void **state);

void pair_start(enum replica_commit commit, bool had_contact);
void pair_start_oneway(void); /* a link without transactions */
/* The same as with disk, but for what may be merged at once. */
void pair_start_wide(unsigned parallel, size_t bytes);
void pair_stop(void);
void pair_connect(void);     /* both; all that follows from it */
void pair_disconnect(void);  /* both are told */
void pair_run(void);         /* until nothing is left to do */
void pair_wait(uint64_t ms); /* time passes in small steps, with ticks */
void pair_deliver(void);     /* what was kept, then as before */
void pair_drop(void);        /* what was kept is lost */

struct mailfs_id pair_dir(uint8_t n);
/* The payload all transactions have. */
struct replica_payload *pair_payload(void);

/* How many of a kind a side was asked for (dir 0: any); the last of them. */
unsigned pair_count(unsigned side, enum replica_action_kind kind, uint8_t dir);
const struct noted *pair_last(unsigned side, enum replica_action_kind kind);
unsigned pair_sent(unsigned side, enum replica_msg_kind kind);
bool pair_released(unsigned side, uint64_t req);
bool pair_granted(unsigned side, uint64_t req);

/* Shorthands: open with immediate creation of L when granted; U with a transaction. */
void pair_open(unsigned side, uint64_t req, uint8_t dir);
void pair_unlock(unsigned side, uint64_t req, uint8_t dir);
bool pair_act(unsigned side, uint8_t dir); /* is it held back? */
void pair_act_on_folder(unsigned side, uint8_t dir);

#endif
