#ifndef SYNCD_FRONT_H
#define SYNCD_FRONT_H

/*
 * The mailfs of the volume: STATE/syncd.sock, the packets of local.proto both ways.
 *
 * One mailfs at a time; a new connection replaces the old one. Its request numbers are kept apart
 * from those of an earlier connection by a number of the connection in the upper bits.
 *
 * A mailfs whose mount is kept over its death (Hello.keeps) is waited for, however long it takes,
 * as long as the process lives that keeps it (Hello.holder): what it held it goes on holding, and
 * whoever is between L and U waits as well. When that process has ended the mount is lost.
 *
 * What mailfs is told to forget while none is connected is remembered by container (at most
 * FRONT_STALE_MAX) and told in whole at its Hello.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state.h"

#define FRONT_STALE_MAX 65536
/* Packets to mailfs that wait for it to read: beyond, the connection is given up. */
#define FRONT_QUEUE_MAX (64u * 1024u * 1024u)

struct volume;
struct front;

int front_open(struct volume *v, char *err, size_t errsize);
void front_close(struct volume *v);

bool front_is_connected(const struct front *f);
/* Of the mailfs that is connected: "private" when the kernel checks no permissions in its mount,
 * "checked"; NULL: there is none. */
const char *front_access(const struct front *f);
/* volume: a struct volume. A mailfs of it, connected or not. Any thread. */
bool front_mailfs_runs(const void *volume);
/* Does the one that is connected number messages without asking, as it knows of no peer? */
bool front_asks_nobody(const struct front *f);
/* The same, or of one that runs and is not connected: it serves without us, or will come. */
bool front_is_apart(const struct front *f);
/* Is something looked for that mailfs has changed and not told? Its marks are needed. */
bool front_is_looking(const struct front *f);
/* Reads on when the disks have caught up. */
void front_resume(struct front *f);

/* Answers and news; nothing happens when that mailfs is gone. req: as the machine has it. */
bool front_grant(struct front *f, uint64_t req, int err, uint32_t raise); /* false: it is gone */
void front_release(struct front *f, uint64_t req, int err, bool only_here);
/* It is waited for, and goes on: mailfs does not take syncd for stuck. */
void front_working(struct front *f, uint64_t req);
void front_token_here(struct front *f, const struct mailfs_id *dir);
void front_token_hint(struct front *f, const struct mailfs_id *dir, bool held);
void front_invalidate(struct front *f, const struct invals *iv);
/* Who may write has been decided anew. */
void front_role(struct front *f, bool standby);

/* Asks for marks of a new generation; done is called when mailfs has reached it. False: no mailfs.
 */
typedef void front_gen_fn(struct volume *v, uint64_t gen);
bool front_new_gen(struct front *f, uint64_t gen, front_gen_fn *done);
/* The generation marks carry now. */
uint64_t front_gen(const struct front *f);

#endif
