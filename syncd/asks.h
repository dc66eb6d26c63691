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
 * Where no mailfs asked when the job was begun, that was known to who began it, and nothing is
 * looked at.
 */

struct asks;

struct asks *asks_new(void);
void asks_free(struct asks *a); /* NULL is allowed */

/* Loop thread, a NULL: nobody looks. A mailfs has said Hello on this connection, which stays the
 * caller's; it has ended.
 */
void asks_begin(struct asks *a, int fd);
void asks_end(struct asks *a);
/* Of the connection; 0: there is none. */
unsigned asks_term(const struct asks *a);

/* A worker: what it does next was begun in this term; a NULL: no more. */
void asks_enter(struct asks *a, unsigned term);
/* Any thread. 0, or -ENOTCONN: that mailfs may have given L by itself by now. */
int asks_still(void);

#endif
