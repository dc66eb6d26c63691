#ifndef TESTS_SYNCD_RECENT_PAIR_H
#define TESTS_SYNCD_RECENT_PAIR_H

/* For the tests of what outlives syncd: two nodes with a mailbox "u", all of it in a checkpoint. */

#include "syncd_pair.h"

extern struct pair both;
extern struct mailfs_id mailbox; /* container "u" */

int recent_setup(void **state);
int recent_teardown(void **state);
void deliver(const char *base);
void digest_of(struct node *n, uint8_t out[STATE_DIGEST]);
void killed_and_the_same(struct node *n);
void recent_path(struct node *n, uint64_t generation, char out[256]);
void another_life(struct node *n);
int no_sync(int fd); /* for io_ops: -EIO */

/* Shown as such: the file system of $TMPDIR is of a kind whose life is not known. */
#define NEEDS_LIFE(state)                                                                          \
    do {                                                                                           \
        if (!*(state))                                                                             \
            skip();                                                                                \
    } while (0)

#endif
