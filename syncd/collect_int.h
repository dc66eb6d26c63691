#ifndef SYNCD_COLLECT_INT_H
#define SYNCD_COLLECT_INT_H

/* Shared by the parts of collect. */

#include <uthash.h>

#include "base.h"
#include "collect.h"
#include "store.h"

/* What happened to one message (by base name) in this transaction. */
struct change {
    UT_hash_handle hh;
    struct base_msg was, is;
    struct base_msg former;    /* a name that it had when it got another; sub SELF: none */
    bool touched;              /* its attributes changed */
    bool untold;               /* it cannot be read here, and the peer has not got it */
    const Mfl__Source *source; /* of the last Add; NULL: none told */
    char base[];
};

/* A file to look at. */
struct named {
    UT_hash_handle hh;
    char name[];
};

struct collect {
    struct state *st;
    const struct mailfs_id *dir;
    bool telling; /* there is a peer to be told */
    bool locked;
    struct store_dir d; /* use collect_here() */
    bool opened;
    int err; /* nothing is told then */
    struct change *changes;
    struct named *files;
    bool keywords, subs; /* to be looked at */
    bool anew;           /* the uidlist has another V than the peer knows */
    bool held;           /* removals are not told (hold.h) */
    uint32_t gone;       /* messages that are nowhere any more */
    struct invals *inval;
    Mfp__Txn *txn;
};

/*
 * The container, opened when it is first wanted: what is told of a delivery or a flag says all
 * there is to know (5 system calls less for each). false: it is not there, or c->err.
 */
bool collect_here(struct collect *c);

/* collect_msg.c */
int collect_note_add(struct collect *c, const Mfl__Add *a);
int collect_note_move(struct collect *c, const Mfl__Move *m);
int collect_note_remove(struct collect *c, const Mfl__Remove *rm);
int collect_note_touch(struct collect *c, int sub, const char *name);
int collect_tell_changes(struct collect *c, bool removals);
/* Of messages that have two names now the former one goes. */
void collect_drop_former(struct collect *c);

/* collect_control.c: append operations to the transaction */
int collect_uidlist(struct collect *c);
int collect_keywords(struct collect *c);
int collect_subs(struct collect *c);

/* collect_dir.c */
int collect_dir_act(struct collect *c, const Mfl__Act *act);
/* The messages that a deleted mailbox took along count as removed. */
int collect_note_deleted(struct collect *c, const Mfl__DirRemove *m);

#endif
