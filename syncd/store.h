#ifndef SYNCD_STORE_H
#define SYNCD_STORE_H

/*
 * Finding things in the store: containers by id, their parts, messages by base name.
 * Everything is opened beneath the store without following a symbolic link (lib/io); every name is
 * checked before.
 */

#include <sys/stat.h>

#include "state.h"
#include "maildir/name.h"

/* What Dovecot renames a mailbox to in order to delete it. */
#define STORE_TRASH_NAME "..DOVECOT-TRASHED"

/* An open container. fd[MFP__SUB__SELF] is the container, the others are -1 until asked for. */
struct store_dir {
    struct mailfs_id id;
    int fd[4];
};

/* By its id: handle of the base, of its mark, then its parent's entries. -ENOENT: not (any more) in
 * the store, or in the trash. */
int store_dir_open(struct state *st, const struct mailfs_id *id, struct store_dir *out);
/* The same, also where nobody else looks (.mailfs/trash, in the midst of a merge). */
int store_dir_open_anywhere(struct state *st, const struct mailfs_id *id, struct store_dir *out);
/* The container behind an open descriptor (taken over, also on error). Its id is made if it has
 * none; a copied id (cp -a: the base knows another inode under it) is replaced by a new one. */
int store_dir_adopt(struct state *st, int fd, struct store_dir *out);
void store_dir_close(struct store_dir *d);

/* Descriptor of new, cur or tmp (owned by d), -ENOENT. With make it is made, mode and owner as the
 * container's. */
int store_sub_open(struct state *st, struct store_dir *d, int sub, bool make);

/* A message by its base name: where it is and how it is called. Tries `hint` (may be NULL; name
 * with info) in new and cur, then reads both directories. -ENOENT. */
int store_msg_find(struct state *st, struct store_dir *d, const char *base, const char *hint,
                   int *sub, char name[MAILDIR_NAME_MAX + 1]);

/*
 * Each name of the directory fd, but "." and "..", with d_type (DT_UNKNOWN resolved). Read to the
 * end before fn is called for the first. Non-zero from fn ends it and is returned.
 */
typedef int store_name_fn(void *arg, const char *name, unsigned char type);
int store_each_name(int fd, store_name_fn *fn, void *arg);

Mfp__Meta *store_meta_new(const struct stat *sb);

#endif
