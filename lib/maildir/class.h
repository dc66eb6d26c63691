/*
 * class.h: what a path is, by its name and the kind of directory it is in.
 *
 * The names are those of stock Dovecot 2.3 and 2.4, of Postfix, and our own. Pure functions of
 * their arguments.
 */
#ifndef MAILDIR_CLASS_H
#define MAILDIR_CLASS_H

#include <stdbool.h>
#include <stddef.h>

/* The kind of a directory. Every directory that is not new, cur or tmp of some other directory is a
 * container: a mailbox, a user's home, the root. */
enum maildir_dir {
    MAILDIR_DIR_CONTAINER,
    MAILDIR_DIR_NEW,
    MAILDIR_DIR_CUR,
    MAILDIR_DIR_TMP,
};

enum maildir_class {
    MAILDIR_MESSAGE,       /* a message in new/ or cur/ */
    MAILDIR_TMP_LOCAL,     /* anything in tmp/: never sent under that name */
    MAILDIR_LOCK_L,        /* dovecot-uidlist.lock */
    MAILDIR_LOCK_OTHER,    /* any other *.lock: local, never sent */
    MAILDIR_UIDLIST,       /* dovecot-uidlist */
    MAILDIR_UIDLIST_TMP,   /* dovecot-uidlist.tmp: local, becomes the uidlist */
    MAILDIR_KEYWORDS,      /* dovecot-keywords */
    MAILDIR_UIDVALIDITY,   /* dovecot-uidvalidity */
    MAILDIR_VALIDITY_MARK, /* dovecot-uidvalidity.XXXXXXXX: says the same; each node keeps its own
                            */
    MAILDIR_SUBSCRIPTIONS, /* subscriptions */
    MAILDIR_SIZE,          /* maildirsize: each node keeps its own */
    MAILDIR_NODE_LOCAL,    /* indexes, logs, caches, temporary files: never sent */
    MAILDIR_SUBDIR_NEW,    /* the directories new, cur, tmp of a container */
    MAILDIR_SUBDIR_CUR,
    MAILDIR_SUBDIR_TMP,
    MAILDIR_TRASH,    /* ..DOVECOT-TRASHED: the rename to it is the delete */
    MAILDIR_INTERNAL, /* our own, hidden in the mount: .mailfs, .mailfs-* */
    MAILDIR_POKE,     /* created and removed in new/ and cur/ to wake inotify */
    MAILDIR_OTHER,    /* everything else: whole files, newest wins */
};

#define MAILDIR_POKE_NAME      ".mailfs-poke"
#define MAILDIR_INTERNAL_NAME  ".mailfs"
#define MAILDIR_SNAPSHOTS_NAME "snapshots" /* in it */

/*
 * The class of the entry `name` (len bytes, one component) of a directory of kind `dir`. Whether
 * the entry is a file or a directory is the caller's to look at: a file called "cur" is SUBDIR_CUR
 * here as well, and a directory below cur/ is MESSAGE.
 */
enum maildir_class maildir_class_of(enum maildir_dir dir, const char *name, size_t len);

/* The kind of the directory `name` inside a directory of kind `parent`: new, cur, tmp of a
 * container, everything else a container. Directories within tmp/ are tmp as well (never sent). */
enum maildir_dir maildir_dir_of(enum maildir_dir parent, const char *name, size_t len);

/* Is what has this class never sent to the peer? (Locks, tmp, node-local, uidlist.tmp, maildirsize,
 * internal, poke, trash.) */
bool maildir_class_is_local(enum maildir_class c);

/* Are these replaced by renaming below the mount, for what the peer did, so that the name must not
 * be cached? (uidlist, keywords, uidvalidity, subscriptions, every lock.) */
bool maildir_class_is_volatile(enum maildir_class c);

/* For logs: "message", "uidlist", ... never NULL. */
const char *maildir_class_name(enum maildir_class c);

#endif
