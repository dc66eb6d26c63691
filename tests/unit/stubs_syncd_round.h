#ifndef TESTS_STUBS_SYNCD_ROUND_H
#define TESTS_STUBS_SYNCD_ROUND_H

/*
 * For the tests of driver_merge.c: in place of the machine, of L and of the disk side, which say
 * what they were asked for. Linked into the programs test_syncd_round*.c, and into no other.
 */

#include <stdbool.h>

#include "replica/replica.h"
#include "syncd/volume.h"

extern char did[1024]; /* all of it, with a space behind each */

extern bool apart;    /* mailfs, from syncd */
extern bool taken;    /* L by a process, in a mailfs that served without syncd */
extern bool over;     /* the round, when the listing has been made */
extern bool gone;     /* the mailbox */
extern bool unsynced; /* what is here already */
extern bool standby, follows;
extern int fits;                    /* 0, or what a merge says */
extern int room;                    /* likewise, for the trees */
extern struct mailfs_id over_quota; /* the owner of this one has none left */
extern struct asks *asks;

struct round {
    struct engine engine;
    struct volume root, link;
    struct workq *wq;
};

extern struct round *here; /* a one-way link; main NULL: the volume's own peer */

int round_setup(void **state);
int round_teardown(void **state);

/* What the machine wants. theirs: with so many messages. */
void act(enum replica_action_kind kind, bool full, bool frozen, int theirs);
void lock_answers(int err);
/* To where the mailbox is to be listed for the result. */
void until_frozen(bool full, int theirs);

#endif
