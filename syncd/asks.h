#ifndef SYNCD_ASKS_H
#define SYNCD_ASKS_H

/*
 * Does mailfs still ask for L what a job was begun under?
 *
 * A mailfs that gives syncd up ends the connection first, and gives L by itself from then on:
 * whoever gets it reads the list of UIDs, and appends to it. The loop thread hears of that, and
 * begins nothing more; a job that is at work already does not. So who is to write such a list, or a
 * table of keywords, looks at the connection itself, when all else is done (asks_still()).
 *
 * A job may be begun while none asks. One that comes then asks for L, and is not granted any that
 * the job needs; but it may have given some before, and gives some if it does not get an answer, or
 * has connected and not been heard. So such a job is not to write either when one has come, or runs
 * that did not. Where one ran already and gave L, that was known to who began it. Who has looked
 * for that himself says what he saw (asks_saw()): by a second look, one that was started in between
 * would count as known.
 */

#include <stdbool.h>

struct asks;

/* When a job was begun. */
struct asks_at {
    unsigned term;
    bool ran; /* one that was not connected */
};

/* runs: a mailfs, connected or not; from any thread. */
struct asks *asks_new(bool (*runs)(const void *arg), const void *arg);
void asks_free(struct asks *a); /* NULL is allowed */

/* Loop thread, a NULL: nobody looks. A mailfs has said Hello on this connection, which stays the
 * caller's; it has ended.
 */
void asks_begin(struct asks *a, int fd);
void asks_end(struct asks *a);
/* Loop thread. */
struct asks_at asks_now(const struct asks *a);

/* A worker: what it does next was begun then; a NULL: no more. */
void asks_enter(struct asks *a, struct asks_at at);
/* The same, of the job that it does: did one run that was not connected, when it was begun? */
void asks_saw(bool ran);
/* Any thread. 0, or -EOWNERDEAD, which no file system says: that mailfs may have given L by itself
 * by now. */
int asks_still(void);

#endif
