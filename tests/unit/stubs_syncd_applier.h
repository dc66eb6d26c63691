#ifndef TESTS_STUBS_SYNCD_APPLIER_H
#define TESTS_STUBS_SYNCD_APPLIER_H

/*
 * For the tests of driver_apply.c: in place of the machine, of L, of the disk and of mailfs. Linked
 * into the programs test_syncd_applier*.c, and into no other.
 */

#include <stdbool.h>

#include "syncd/apply.h"
#include "syncd/jobs.h"
#include "syncd/volume.h"

/* ---- what they say ----------------------------------------------------------------- */

extern unsigned fails;             /* the first ones that are applied, */
extern int failing;                /* with this, */
extern bool unnoted;               /* and this */
extern struct apply_result result; /* with what is applied otherwise */
extern int note_err;               /* of noting that a list is to be raised */
extern enum replica_state at;
extern struct replica_payload *received[3]; /* and not applied */
extern bool locked, apart;
extern bool down;   /* the contact */
extern bool awaits; /* id: trees */
extern bool former; /* id is, of 3 */
extern struct mailfs_id id;
extern struct mailfs_id held; /* the id that L was granted under */

/* ---- what they were asked ---------------------------------------------------------- */

extern _Atomic unsigned tries;
extern _Atomic unsigned alone;               /* of these: with nothing else at work */
extern _Atomic unsigned raises;              /* where it replaces the list */
extern _Atomic unsigned noted, noted_raised; /* that it is to be raised */
extern struct mailfs_id recorded;            /* by this id */
extern unsigned applied, suspected, in_time; /* suspected before it was applied */
extern unsigned left, replaying, compared, awaited;
extern int awaited_err;
extern unsigned replaced, to_raise; /* the list, or may be; and is not raised */

/* ---- a volume, and what is applied there ------------------------------------------- */

extern struct engine engine;
extern struct volume volume;

int applier_setup(void **state);
int applier_teardown(void **state);

struct replica_payload *payload(void); /* for id: nothing is in it */
struct replica_payload *of_folder(Mfp__Op__OpCase what);
void begin(int err); /* failing with err */
void apply(int err); /* until it has been tried */
void look(void);     /* until what waits has been looked at */
/* It waits, then is done with nothing else at work, noted before and raised behind. */
void done_alone(void);

#endif
