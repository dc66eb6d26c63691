#ifndef MAILFS_DIR_H
#define MAILFS_DIR_H

/*
 * What a directory is: a container (with its permanent id), or the new, cur or tmp of one; and
 * whether anything in it concerns the peer.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "asked.h"
#include "inode.h"
#include "maildir/class.h"
#include "util/id.h"

struct lock_l;

struct dir {
    struct inode *self;
    int fd;                  /* O_RDONLY */
    enum maildir_dir kind;   /* under the places' lock, with the place */
    bool local_name;         /* its name alone says that nothing in it is sent */
    struct mailfs_id id;     /* of a container */
    bool has_id;             /* so, and known by it */
    bool lock_was_left;      /* raise the next UID before the next L: lock.c */
    _Atomic bool sought;     /* no file in it was taken over without its name */
    pthread_rwlock_t names;  /* shared: a name is made or goes; exclusive: a listing is taken */
    _Atomic uint64_t marked; /* the generation of the mark it has */
    struct asked asked;      /* of new and cur */
    struct dir *part[4];     /* by enum maildir_dir: the new, cur and tmp that are known */
    struct file *dirty;  /* open files in it that were written and not yet told: file.c's lock */
    struct lock_l *lock; /* lock.c's lock */
    UT_hash_handle hh;
};

/* For a directory just seen at this place. fd is taken over, also on error. */
int dir_attach(struct inode *in, int fd, struct inode *parent, const char *name);
void dir_free(struct dir *d);

/* It was seen at this place: kind, id and part follow. */
void dir_moved(struct inode *in, struct inode *parent, const char *name);

/* syncd has given it another id (one of that name was made on both nodes, and they are one now). */
void dir_identify_again(struct inode *in);

/* It was removed: it has no place, and its id is free. */
void dir_removed(struct inode *in);

/* Where an entry of a directory stands. */
struct where {
    struct inode *cont;    /* the container's inode, a reference */
    struct dir *cd;        /* its dir */
    struct mailfs_id id;   /* its id */
    enum maildir_dir kind; /* of the directory asked about: the container itself, or a part of it */
    bool local;            /* nothing here is ever sent */
};

void dir_where(struct inode *dir, struct where *w);
void where_done(struct where *w);

/* The container of this id, if it is known: a reference, or NULL. */
struct inode *dir_by_id(const struct mailfs_id *id);
/* Its new or cur or tmp (or itself), if known: a reference, or NULL. */
struct inode *dir_part(struct inode *cont, enum maildir_dir kind);

/* Path below the store, without a leading slash; "" for the root. -ENOENT: cut off from it. */
int dir_path(struct inode *dir, char *buf, size_t size);
/* The same for a line of the log: "/" is the root, "?" one whose path is not known. Returns buf. */
const char *dir_shown(struct inode *dir, char *buf, size_t size);

/*
 * Is it, or one above it, no longer below the root? syncd took it away (the peer removed it), while
 * somebody here still has it open. What is made in it would be lost.
 */
bool dir_is_cut(struct inode *dir);

/* Calls fn for each container that is known. */
void dir_each(void (*fn)(struct dir *d, void *arg), void *arg);

#endif
