#ifndef TESTS_PUBLISH_PAIR_H
#define TESTS_PUBLISH_PAIR_H

/* For the tests of what one node publishes that the other had prepared: number 9, "9.tmp" in the
 * mailbox "u", from a at b. Begins with merge_setup(), ends with mailbox_teardown(). */

#include "merge_pair.h"

bool publish_is_left(struct node *n); /* anything prepared of an earlier life? */
/* b notes the name that it is about to give, and no more: link() fails so, with err. */
void publish_stopped(int (*link)(int, const char *, int, const char *, int), int err);
void publish_no_room(void); /* the same, its disk having no room for it */
int publish_again(void);    /* b tries again */

#endif
