#ifndef SYNCD_POUR_H
#define SYNCD_POUR_H

/*
 * What is in one container into another, where two were one to their users: files that are no lists
 * or tables, and messages. A message of whose base name there is one already is that one, if it is
 * as long; otherwise it gets another name. Of two files
 * under one name the newer has it, and the older is in kept/. Nothing else of the volume runs
 * meanwhile.
 *
 * 0 or an error. What comes into `from` while this runs is still in it afterwards.
 */

#include "store.h"

int pour_dir(struct state *st, struct store_dir *from, struct store_dir *to);

#endif
