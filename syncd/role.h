#ifndef SYNCD_ROLE_H
#define SYNCD_ROLE_H

/*
 * Who may write to a volume: this node and its peer, or the node they are the standby of. Kept in
 * STATE/role (conf/role.h), told to mailfs, and compared when two ends of a link meet: the lower
 * term gives way. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/role.h"
#include "wire/peer.pb-c.h"

struct volume;
struct role;

/* 0, or -errno with a sentence in err. */
int role_open(struct volume *v, char *err, size_t errsize);
void role_close(struct role *r); /* NULL is allowed */

/* Of a volume, or of the one a link belongs to. */
struct conf_role role_of(const struct volume *v);

/* The other end of v says what it is. 0, or -1 with a sentence for both administrators: no link.
 * May make this node a standby, or an old standby the peer of a new active node. */
int role_meet(struct volume *v, const Mfp__Hello *h, char *why, size_t size);

/*
 * Makes this standby the active node: raises the next UID of every mailbox, since the old one may
 * have shown some that never came here, and begins a new term. done, later: 0 and how many
 * mailboxes were raised, or -errno with a sentence: -EALREADY, -EBUSY (the active node is
 * connected, and not force).
 */
typedef void role_promoted_fn(void *arg, int err, size_t raised, const char *why);
void role_promote(struct volume *v, bool force, role_promoted_fn *done, void *arg);

#endif
