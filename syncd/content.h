#ifndef SYNCD_CONTENT_H
#define SYNCD_CONTENT_H

/*
 * Which contents a transaction or a listing refers to, which of them are not here, and where to
 * read one that the peer asks for.
 */

#include <sys/stat.h>

#include "stage.h"
#include "state.h"

/* To be asked of the peer with Fetch, and staged with stage_begin_fetch() under the same names. */
struct content_want {
    struct mailfs_id dir;
    int sub;    /* MFP__SUB__CUR with by_base: a message, wherever it is; SELF: a file */
    char *name; /* base name or file name */
    bool by_base;
    char *info;    /* what follows the ':' of its name there, or NULL: not known */
    uint64_t size; /* as announced; 0: unknown */
    int64_t mtime; /* likewise, nanoseconds; of a file that is no message: the latest there is */
    struct stage_prep prep; /* the delivery it was; seq 0: not known */
};

struct content_wants {
    struct content_want *v;
    size_t n;
    bool unsynced;         /* of content_lacks(): something that is here is not on disk yet */
    _Atomic size_t looked; /* operations content_missing() has been through: any thread may look */
};
void content_wants_free(struct content_wants *w); /* frees what it holds, leaves it empty */

/*
 * What of the transaction's contents is not here. Those that are here in some mailbox are pinned in
 * the stage (a hard link), so that they stay until the transaction is applied. When a Fetch is
 * answered with -ENOENT the peer has removed it since: tell content_gone(), the transaction that
 * removes it follows.
 */
int content_missing(struct state *st, const Mfp__Txn *txn, struct content_wants *out);
/* Of an entry of the journal that a former version has written, where a copy of what was prepared
 * has no key of its own: as content_missing() would have given it one. */
int content_pin_copies(struct state *st, const Mfp__Txn *txn);
/* Without waiting for a disk or a lock: is all of it certainly in the stage? Else content_missing()
 * tells. */
bool content_at_hand(struct state *st, const Mfp__Txn *txn);
/* What of the peer's listing is not here (merge, seeding), by (container, base name or file). Files
 * first, then the newest message: if the peer is lost midway, that is what has come of the mailbox.
 */
int content_lacks(struct state *st, const Mfp__Listing *theirs, struct content_wants *out);
/* The peer has it no more: the operation that refers to it is applied as if it were not there. */
int content_gone(struct state *st, const struct content_want *w);

/*
 * For the peer's Fetch. *fd is open for reading (the caller closes), or -1 with *link (malloc'ed)
 * for a symbolic link. by_base: name is a base name and sub is ignored unless SELF; the
 * message is looked for under info, if there is one, first. -ENOENT, -EINVAL, -EACCES: a path that
 * is never sent. d: of the container, open.
 */
struct store_dir;
int content_open_in(struct state *st, struct store_dir *d, const struct content_want *w, int *fd,
                    struct stat *sb, char **link);
/* The same, of one: the container is opened for it. */
int content_open(struct state *st, const struct content_want *w, int *fd, struct stat *sb,
                 char **link);

#endif
