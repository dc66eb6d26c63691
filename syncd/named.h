#ifndef SYNCD_NAMED_H
#define SYNCD_NAMED_H

/*
 * The names that mailfs gave to prepared contents, told once more in its Hello: those that a syncd
 * before this one did not note are put into the base, so that a merge knows the message that the
 * peer published under another name for the same one, as if its naming had been told.
 */

#include "wire/local.pb-c.h"

struct volume;

/* Ahead of what is listed for a merge from now on. */
void named_learn(struct volume *v, const Mfl__Hello *h);

#endif
