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
/* For publish_stopped(): it has the name, and that is all that b knows of it. */
int publish_name_and_error(int fd, const char *name, int to, const char *as, int flags);
/* So it was, and its client has read it, and expunged it, as mailfs does that. */
void publish_half_undone(void);

#endif
