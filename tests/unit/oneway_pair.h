#ifndef TESTS_ONEWAY_PAIR_H
#define TESTS_ONEWAY_PAIR_H

/* The disk side of one-way links: several states on one store, each with a base of its own. */

#include "io_fault.h"
#include "syncd_contact.h"

extern struct pair ends;        /* .a: the standby; .b: a node that it follows, at the end of */
extern struct state *links[2];  /* the first of these; nothing is at the end of the second */
extern struct mailfs_id shared; /* "u", on both, and agreed on with both links' ends */

int oneway_setup(void **state);
int oneway_teardown(void **state);

/* As if it had been merged. */
void oneway_agree_on(struct state *st, const struct mailfs_id *id);
/* syncd was killed on the standby, and is started. */
void oneway_killed(void);
/* The standby carries out a merge with what ends.b has now: 0, or what it said. ends.b does not.
 * Something happens at a step of that (-ENOSPC, where it is an error). */
int oneway_follow_alone(enum fault_kind kind, unsigned at);
/* The whole of a merge. */
void oneway_follow(void);
/* The same, where the standby has nothing of its own: scan_mailbox_following(). */
void oneway_only_follow(void);
/* The same, carried out at this end alone. */
void oneway_only_follow_half(void);
/* As the standby lists it to the end of the second link: -1 not at all, 1 borrowed. */
int oneway_told_to_second(const char *base);

#endif
