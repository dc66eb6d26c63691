#ifndef SYNCD_UNDO_H
#define SYNCD_UNDO_H

/*
 * What is kept of expunged messages (lib/io/undo.h) is removed here when its time is over, and,
 * when the disk is nearly full, before that, the oldest first. What a merge has taken out stays as
 * long as there is something to merge, and what the brake holds (brake.h) as long as it does.
 *
 * Loop thread only, but undo_sweep().
 */

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct state;
struct undo;

struct undo_counts {
    uint64_t messages;
    uint64_t bytes; /* on disk, of those that have no name elsewhere */
    int64_t at;     /* when that was counted, wall clock, seconds; 0: not yet */
};

/* NULL when the volume has never kept anything; the others allow it. */
struct undo *undo_new(struct volume *v);
void undo_quiet(struct undo *u); /* nothing is begun any more */
void undo_free(struct undo *u);  /* with the work queues drained */
void undo_counts(const struct undo *u, struct undo_counts *out);

/*
 * One pass: removes what was expunged before a time (wall clock, seconds), and counts the rest.
 * full: ends as soon as there is room again. A worker's. 0 or -errno.
 */
int undo_sweep(struct state *st, int64_t before, bool full, struct undo_counts *out);

/* What was removed from then on is held until all is merged; INT64_MAX: nothing is. */
int64_t undo_held_from(struct state *st);

/* Is there less than a twentieth, and less than 5 GiB, of the disk, or a twentieth of its inodes,
 * left? */
bool undo_disk_is_low(struct state *st);

#endif
