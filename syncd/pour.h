#ifndef SYNCD_POUR_H
#define SYNCD_POUR_H

/*
 * What is in one container into another, where two were one to their users: files that are no lists
 * or tables, and messages with their flags and keywords. A message of whose base name there is one
 * already is that one, if it is as long, and what was set on either is set; otherwise it gets
 * another name. Subscriptions are those of both. Of two other files under one name the newer has
 * it, and the older is in kept/; so is one under the name of a directory.
 *
 * `to` may be out of the tree, both can be in use. Nothing else of the volume runs meanwhile. 0 or
 * an error; -ESTALE: something came in between, or somebody has the L of `to`. What comes into
 * `from` while this runs is still in it afterwards. After an error, or when syncd dies, each
 * message is in one of the two, and it can be done again.
 */

#include "store.h"

int pour_dir(struct state *st, struct store_dir *from, struct store_dir *to, struct invals *inval);

#endif
