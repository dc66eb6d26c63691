#ifndef TOOLS_UNDELETE_H
#define TOOLS_UNDELETE_H

/*
 * The parts of `mailfsctl undelete`: what is kept of expunged messages (lib/io/undo.h), and putting
 * one of them back through the mount.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "util/id.h"

struct undo_message {
    char *name; /* as it was: base name, and info if it had any */
    struct stat st;
    bool elsewhere; /* it has a name in some mailbox still: it was moved, or goes to others too */
};

struct undo_mailbox {
    struct mailfs_id id;
    char *path;                /* below the store; of a mailbox that is gone: as it was */
    bool deleted;              /* there is no mailbox of this id */
    struct undo_message *msgs; /* the latest expunged first */
    size_t n;
};

struct undo_set {
    int fd;                     /* of .mailfs/undo */
    struct undo_mailbox *boxes; /* by path */
    size_t n;
};

/* Reads all that is kept. 0 or -errno (-ENOENT: the volume keeps nothing). */
int undo_set_read(const struct conf_volume *v, struct undo_set *out);
void undo_set_free(struct undo_set *set);

/* A mailbox on the mount, opened for putting messages back. */
struct undo_target {
    int fd, tmp, cur, new;
    bool made;    /* it was deleted, and has been made anew */
    char **bases; /* of the messages in it, sorted */
    size_t n;
};

/* Makes what is missing of mount/path; directories get the owner of `like`. 0 or -errno. */
int undo_target_open(const char *mount, const char *path, const struct stat *like,
                     struct undo_target *out);
void undo_target_close(struct undo_target *t);

/*
 * Delivers a copy of the message, with its date, owner and flags, under a name that both nodes
 * would give it, and forgets the one that was kept. 0; -EEXIST: it has been put back already, and
 * may have been expunged again, which is kept then (this one is forgotten); or -errno.
 */
int undo_restore(const struct undo_set *set, const struct undo_mailbox *box,
                 const struct undo_message *msg, struct undo_target *to);

/* "2h", "3d" (ago), "2026-11-28", "2026-11-28 14:05" (local time). 0 or -EINVAL. */
int undo_time_parse(const char *text, int64_t now, int64_t *out);

/* The name a message gets when it is put back: base, without info. 0 or -ENAMETOOLONG. */
int undo_new_base(const char *name, char out[256]);

#endif
