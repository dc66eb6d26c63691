#ifndef SYNCD_DRIVER_H
#define SYNCD_DRIVER_H

/*
 * Drives the machine: carries out what it decides.
 *
 * driver_pump() takes all actions out and carries them out, then sets the timer for the machine's
 * next tick. To be called after every input; a call from within is not nested: the outer one goes
 * on until nothing is left. Loop thread only.
 */

#include <stdbool.h>

#include "replica/replica.h"

struct volume;

int driver_open(struct volume *v);
void driver_close(struct volume *v);
void driver_pump(struct volume *v);

/* The connection has ended (contact.c): what was sent and not acknowledged is not agreed. */
void driver_disconnected(struct volume *v);

/* driver_start.c: applies the journal of an earlier life; then publishes what nobody took; then
 * contact_start(). */
int driver_replay(struct volume *v);
/* mailfs has said its Hello. */
void driver_mailfs_here(struct volume *v);

/*
 * Directories are merged at contact only, so a new one is made; not again and again: the next one
 * waits for COMPARE_TREES_MS.
 */
void driver_compare_trees(struct volume *v, const char *why);

/* driver_prep.c: the content the peer had prepared is not wanted: out of the stage. */
void driver_drop_prep(struct volume *v, struct replica_prep prep);
/* It may be the only copy: it becomes a message. */
void driver_publish_prep(struct volume *v, struct replica_prep prep);
/* Something was staged for a connection that had ended by then: until all is merged it may be of
 * use; then RACT_CAUGHT_UP has looked for such, and not found this. */
void driver_drop_late(struct volume *v);

#endif
