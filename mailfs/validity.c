/*
 * validity - which UIDVALIDITY is this node's to hand out
 *
 * Diagnostics: none.
 */
#include "validity.h"

#include <string.h>

#include "raise.h"
#include "replica/replica.h"
#include "vol.h"

enum validity validity_of(const struct spot *at, char buf[MAILDIR_UIDVALIDITY_NAME_MAX]) {
    uint32_t v;
    if (!vol.has_peer || at->class != MAILDIR_VALIDITY_MARK || at->w.local ||
        maildir_uidvalidity_from_name(at->name, strlen(at->name), &v) != 0)
        return VALIDITY_NONE;
    if (maildir_uidvalidity_own(v, raise_alone() == REPLICA_RAISE_ODD) != v)
        return VALIDITY_THEIRS;
    return maildir_uidvalidity_format_name(buf, MAILDIR_UIDVALIDITY_NAME_MAX, v + 1) < 0
               ? VALIDITY_THEIRS
               : VALIDITY_OURS;
}
