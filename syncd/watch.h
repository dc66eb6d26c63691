#ifndef SYNCD_WATCH_H
#define SYNCD_WATCH_H

/*
 * A volume without mailfs (mode = "watch"): what changes in its store is learnt from inotify, and
 * by looking.
 *
 * Three watches a mailbox (itself, new/, cur/), for those that changed last, as far as the kernel's
 * limit goes; the others are looked at (three stats each) again and again, in a fiftieth of the
 * time, and every five seconds at most, as all are after an overflow of inotify's queue. A change
 * makes the container marked, durably, and then changed on the one-way links. At the start every
 * container counts as changed, since nobody knows what happened before.
 *
 * libinotifytools keeps its state in globals, so one volume of a process can be watched
 * (conf/check.c sees to that). A thread of its own; the functions here: loop thread only.
 */

#include <stddef.h>

struct volume;
struct watch;

/* 0, or -errno with a sentence in err. */
int watch_open(struct volume *v, char *err, size_t errsize);
void watch_stop(struct watch *w); /* ends the thread; NULL is allowed */
void watch_free(struct watch *w);

struct watch_counts {
    size_t containers, watched, overflows;
};
/* False: this volume is not watched. */
int watch_count(const struct watch *w, struct watch_counts *out);

#endif
