#ifndef SYNCD_BRAKE_COUNT_H
#define SYNCD_BRAKE_COUNT_H

/*
 * How many messages went lately, by topmost mailbox and of the volume, from what .mailfs/undo
 * keeps; and, where that is more than a few, how many there are. A worker's, one thread.
 */

#include <stddef.h>
#include <stdint.h>

struct state;
struct brake_count;

struct brake_counted {
    char *path; /* "": the volume */
    uint64_t removed, present;
    int64_t since; /* when the first of these went */
};

/* from: what went since then counts. Never NULL. */
struct brake_count *brake_count_new(struct state *st, int64_t from);
/* Of this one, what went since another time; the later one of two counts. */
void brake_count_from(struct brake_count *c, const char *path, int64_t from);
/* So many messages the volume had the last time. They are not counted anew, which is a walk over
 * all of it, before half of `percent` of them went. */
void brake_count_hint(struct brake_count *c, uint64_t present, unsigned percent);
void brake_count_run(struct brake_count *c);
/* Those with at least BRAKE_FLOOR, and those of brake_count_from(). */
const struct brake_counted *brake_count_result(const struct brake_count *c, size_t *n);
void brake_count_free(struct brake_count *c);

/* The messages at or below a path of the store ("": all). Blocks: reads all these directories. */
uint64_t brake_present(struct state *st, const char *path);

#endif
