#ifndef TESTS_LATER_PAIR_H
#define TESTS_LATER_PAIR_H

/* For the tests of what is fetched, or prepared, and not durable yet: messages of a in "u", that b
 * gets. Each one's text is made of its name. */

#include "mailbox_pair.h"
#include "syncd/content.h"

#define MANY 20 /* more than are synced one by one */

void fill(unsigned n); /* a has so many in cur/ */

/* As the driver does it, until something fails. */
int fetch(const struct content_want *w);
int fetch_all(struct content_wants *wants); /* and frees them */
int try_fetch_some(unsigned n);             /* the first of those that fill() makes */
void fetch_some(unsigned n);
int fetch_and_merge(const Mfp__Listing *mine, const Mfp__Listing *theirs);
void merge_watched(void);        /* it succeeds, and unsynced.h looks at it */
int append(const Mfp__Txn *txn); /* to b's journal */

/* With commit = memory: n are on b, not synced, and the names that a gives them are not told. */
void prepare(const struct mailfs_id *dir, unsigned n);
Mfp__Txn *name_prepared(unsigned n);
void name_prepared_untold(unsigned n);

/* How many there are in this directory of b, whose names begin so; fails at one that is not whole.
 */
unsigned whole(const char *dir, const char *begin, bool named_by_base);

#endif
