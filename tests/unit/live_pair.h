#ifndef TESTS_LIVE_PAIR_H
#define TESTS_LIVE_PAIR_H

/* For the tests of the way of a transaction: what is done to "u" at a, and told to b at once. */

#include "mailbox_pair.h"

bool send_a(struct acts *a, bool locked);
/* As Postfix does it: prepared (0: not), linked into new/, no lock. */
void deliver_a(const char *base, const char *text, uint64_t prep);
/* Dovecot sees it: under L it goes to cur/ and gets a UID. */
bool pick_up(const char *base, unsigned uid);
void flag(const char *old_name, const char *name);
void digests_equal(const struct mailfs_id *dir);

#endif
