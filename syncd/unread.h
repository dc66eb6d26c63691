#ifndef SYNCD_UNREAD_H
#define SYNCD_UNREAD_H

/*
 * Messages that the peer asked for and that cannot be read here; and files that are no messages,
 * whose content is not known here for that reason, or that the peer asked for.
 *
 * Where the peer has not got it either, the merge leaves such a message here alone (M10 of
 * lib/replica/merge_decide.c): it is listed as unread, and until it has been merged no transaction
 * tells of it, since the peer could not fetch what it says. Likewise a file, but that the peer may
 * have another one of that name (merge_files.c). In memory: after a start the mark of its mailbox,
 * which stays, has the peer ask for it, or it be listed, once more. Any thread.
 */

#include <sys/stat.h>

#include "maildir/name.h"
#include "state.h"

enum unread_what { UNREAD_MSG, UNREAD_FILE };

enum unread_is {
    UNREAD_NOT,
    UNREAD_STILL,
    UNREAD_BEFORE, /* it may be readable by now: the peer is to ask for it */
};

struct unread_msg {
    struct mailfs_id dir;
    enum unread_what what;
    char base[MAILDIR_NAME_MAX + 1]; /* of a file its name */
    int err;                         /* negative errno: what reading it said */
    bool before;                     /* UNREAD_BEFORE */
    char name[MAILDIR_NAME_MAX + 1]; /* its file's, when it was last looked for; "": not yet */
};

/* Does an error of opening or reading a file say that its disk, or what is on it, is damaged? */
bool unread_is_error(int err);
/* In words. */
const char *unread_words(int err);
/* sb: of the file; NULL: that could not be had either. */
void unread_note(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                 const char *base, int err, const struct stat *sb);
/* One that nobody has been told of: he is now. False: there is none. */
bool unread_untold(struct state *st, struct unread_msg *msg);
/* sb: of the file that has the name now; another than the one that could not be read may be
 * readable. NULL: it is not known, or does not matter. */
enum unread_is unread_is(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                         const char *base, const struct stat *sb);
/* Is there any in this container, or (NULL) in one? */
bool unread_in(struct state *st, const struct mailfs_id *dir);
/* A message's file has another name, and is the same. */
void unread_rename(struct state *st, const struct mailfs_id *dir, const char *base, const char *to);
void unread_forget(struct state *st, const struct mailfs_id *dir, enum unread_what what,
                   const char *base);
/* A listing begins by which this container is to be merged. */
void unread_listing_begins(struct state *st, const struct mailfs_id *dir);
/*
 * All of this container but those of which stays() says so. It is asked under the state's mutex;
 * not of one that has been noted since that listing began: what is merged says nothing of it.
 */
typedef bool unread_stays_fn(const void *arg, enum unread_what what, const char *base);
void unread_forget_others(struct state *st, const struct mailfs_id *dir, unread_stays_fn *stays,
                          const void *arg);
void unread_forget_all(struct state *st);
/* All of them, in no order; free *v. -ENOMEM. */
int unread_list(struct state *st, struct unread_msg **v, size_t *n);
/*
 * Looks for it in the store. read: reads it, too, from the disk. 1: it can be read, or is another
 * file, and is UNREAD_BEFORE from now on. -ENOENT: it is not there any more. 0: it is as it was; so
 * it is after an error that says nothing of it.
 */
int unread_try(struct state *st, const struct unread_msg *m, bool read);

#endif
