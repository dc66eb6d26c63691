#ifndef SYNCD_POUR_INT_H
#define SYNCD_POUR_INT_H

/* Shared by the parts of pour. */

#include "pour.h"

/* pour_msgs.c: new/ and cur/ */
int pour_msgs(struct state *st, struct store_dir *from, struct store_dir *to, struct invals *inval);

#endif
