#ifndef SYNCD_AWAIT_H
#define SYNCD_AWAIT_H

/*
 * Acknowledgements that wait for standbys with `commit = disk`: an unlink of L is answered when the
 * mailbox has been merged with each of them that is connected and had caught up, too. What is
 * merged there is on its disk.
 *
 * One that does not answer for its `timeout` is given up: its connection is ended, and it is not
 * waited for until it has caught up again. So the volume never waits longer than for its peer.
 *
 * Loop thread only. One for each volume; the links use their volume's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/id.h"

struct volume;
struct await;
struct replica_action;

struct await *await_new(struct volume *v);
void await_free(struct await *w); /* NULL is allowed */

/* U of dir is about to be given to v's machine under this number, with changes (oneway_changed()
 * has been told). */
void await_unlock(struct volume *v, uint64_t req, const struct mailfs_id *dir);

/* v's machine answers. True: it is passed on when the standbys have it, too. */
bool await_release(struct volume *v, uint64_t req, int err, bool alone);

/* Of a link: what its machine wants done; the connection has ended. */
void await_action(struct volume *link, const struct replica_action *a);
void await_disconnected(struct volume *link);

#endif
