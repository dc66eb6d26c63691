#ifndef SYNCD_VALIDITY_H
#define SYNCD_VALIDITY_H

/*
 * dovecot-uidvalidity and the names beside it, from which Dovecot takes the UIDVALIDITY of each new
 * folder of a user (maildir/uidvalidity.h).
 */

#include "apply_int.h"

/* The peer has counted up to v: Dovecot here goes on from there. The owner of a new name is that of
 * `like`. */
int validity_count_on(struct apply *a, uint32_t v, const struct base_file *like);

/*
 * Takes the next one that is this node's to hand out, higher than `above`, for a mailbox in this
 * container: as Dovecot would, from what lies there or in the next directory above that has any.
 * Where there is none, by the clock. The peer hears of it as of any file. inval may be NULL.
 */
int validity_take(struct state *st, const struct mailfs_id *dir, uint32_t above, uint32_t *v,
                  struct invals *inval);

#endif
