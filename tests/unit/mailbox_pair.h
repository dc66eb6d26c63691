#ifndef TESTS_MAILBOX_PAIR_H
#define TESTS_MAILBOX_PAIR_H

/* What most tests of two stores begin with: the mailbox "u" on both. For cmocka's setups. */

#include "syncd_pair.h"

extern struct pair p;
extern struct mailfs_id inbox; /* container "u", the same on both */
extern char grave[300];        /* with mailbox_setup_grave(): for io_fault.h, on b's disk */

int mailbox_setup(void **state);
int mailbox_setup_grave(void **state);
int mailbox_teardown(void **state);

#endif
