#ifndef MAILFS_VALIDITY_H
#define MAILFS_VALIDITY_H

/*
 * Each node hands out UIDVALIDITYs of its own: odd ones the node whose name sorts first, even ones
 * the other. Otherwise a folder made under one name on both, while they are apart, has one on both,
 * and its UIDs name other messages here than there.
 */

#include <stdbool.h>

#include "change.h"
#include "maildir/uidvalidity.h"

enum validity {
    VALIDITY_NONE,   /* not the taking of a UIDVALIDITY */
    VALIDITY_OURS,   /* may be taken; buf is the name to be made instead */
    VALIDITY_THEIRS, /* must not be taken */
};

/*
 * A name that is about to be made. Dovecot takes X by creating dovecot-uidvalidity.X, or by
 * renaming X-1 to it, which it finds in the file dovecot-uidvalidity or, if that name is not there,
 * as the highest name. So where X is ours X+1 is made: the highest name is then always the other
 * node's, and the next one ours.
 */
enum validity validity_of(const struct spot *at, char buf[MAILDIR_UIDVALIDITY_NAME_MAX]);

#endif
