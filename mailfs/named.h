#ifndef MAILFS_NAMED_H
#define MAILFS_NAMED_H

/*
 * What became last of prepared contents: the name they got, or that they get none. A syncd that is
 * killed may have been told of one and not noted it; one that is not there is not told at all. The
 * peer publishes such a content in the end, under another name, and without its number nobody can
 * tell that the two are one message. So each syncd that comes is told of all that are kept here
 * (Hello.named); what it knows it skips. What was given up without a name the peer publishes as
 * well, beside what its sender delivers when he tries again; so the next syncd is told of that, too
 * (Hello.aborted).
 *
 * They outlive a worker, since it can die in the same seconds as syncd (keep.h). 512 names: nothing
 * is prepared while syncd is away, so they need only reach back over what a syncd may have been
 * told and not noted. More than that are in doubt where one L is held for more than 512 messages,
 * which are told when it goes. 1024 that get none, apart from these: the peer may be away for long
 * before it can be told, and names are given meanwhile.
 */

#include <stdint.h>

#include "util/id.h"
#include "wire/local.pb-c.h"

/* Before syncd is told of the name: name is a message's, in new/ or cur/ of the container dir. */
void named_note(uint64_t seq, const struct mailfs_id *dir, const char *name);

/* It gets no name: before syncd is told. */
void named_given_up(uint64_t seq);

/* Fills hello->named and aborted, with no more than goes into a packet; what it returns is to be
 * freed by free(3) after hello was packed. NULL: no memory, or none to tell. */
void *named_hello(Mfl__Hello *hello);

#endif
