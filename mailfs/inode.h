#ifndef MAILFS_INODE_H
#define MAILFS_INODE_H

/*
 * The inodes the kernel (or we) hold on to. Each has a slot of the table that outlives this worker
 * (keep.h), whose index + 1 is its node id: a worker that takes over finds every node id the kernel
 * knows.
 *
 * Nothing here pins an inode of the store, except directories, which keep a descriptor: other
 * inodes keep a file handle, so that the space of an expunged message is free when its last user
 * closes it, and memory is bounded by the kernel's own inode cache: 64 bytes of slot, 8 of index,
 * sizeof(struct inode), which is 72, and a name. An inode whose number was given to another file
 * has another handle: it is a different struct inode, and the old one answers ESTALE.
 *
 * "Place": the parent and the name under which it was last seen; for a file with several links, one
 * in new/ or cur/ rather than one in tmp/. A place can be out of date where the store was changed
 * below the mount; what is decided with it must be harmless then. Of a file's place only the parent
 * outlives a worker: the name is looked for when it is first wanted, for all of that directory.
 *
 * Any thread. Locks are internal; callers hold references. Errors: negative errno.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "io/handle.h"

struct dir;
struct file;
struct prep;

struct inode {
    struct inode *next;   /* of the hash chain */
    uint64_t refs;        /* the kernel's lookups and our own references */
    struct inode *parent; /* place; a reference. NULL: none known */
    char *name;
    struct dir *dir;       /* a directory's own part */
    struct file *files;    /* open ones */
    struct prep *prep;     /* its content was prepared, prepare.h */
    uint32_t slot;         /* of keep.inodes */
    uint16_t type;         /* S_IFMT of the mode */
    bool hashed : 1;       /* in the table */
    bool made_up : 1;      /* the poke: not in the store */
    bool taken_over : 1;   /* has a reference until all are there (inode_restore.c) */
    _Atomic bool unsought; /* taken over from another worker, and its name not looked for yet */
    _Atomic bool changed;  /* written to since it was prepared */
};

struct place {
    struct inode *parent; /* a reference */
    char name[NAME_MAX + 1];
};

/*
 * The store's root, and what the worker before this one left. -EOPNOTSUPP when the file system has
 * no file handles; -EOVERFLOW when they are longer than those of ext4, XFS and Btrfs; -ESTALE when
 * what was left is of another store.
 */
int inode_init(int store_fd);
struct inode *inode_root(void);

/* Of a node id in a request: valid as long as the request is. */
struct inode *inode_of(uint64_t nodeid);
uint64_t inode_id(const struct inode *in);

/* What the slot has of it. */
struct keep_inode *inode_slot(const struct inode *in);
void inode_handle(const struct inode *in, struct io_handle *h);
bool inode_short_lived(const struct inode *in);
void inode_set_short_lived(struct inode *in, bool short_lived);

/*
 * A reference of the caller's becomes one that the kernel counts, before the reply that tells it
 * so; back again if it did not take the reply; gone when it forgets n of them.
 */
void inode_give(struct inode *in);
void inode_take_back(struct inode *in);
void inode_forget(struct inode *in, uint64_t n);

/* name in parent, as it is in the store now, with a new reference and its place set. */
int inode_lookup(struct inode *parent, const char *name, struct inode **out, struct stat *st);

/* Of something open (O_PATH will do), seen in the store as name in parent. */
int inode_from_fd(int fd, struct inode *parent, const char *name, struct inode **out,
                  struct stat *st);

/* Only if it is known already; a reference, or NULL. */
struct inode *inode_find(uint64_t dev, uint64_t ino);

/* An inode that is in no store. NULL: no memory. */
struct inode *inode_made_up(void);

void inode_ref(struct inode *in);
/* Through a pointer that holds none: false if the last reference is just going. The pointer must be
 * one that inode_free() clears under a lock that the caller holds. */
bool inode_ref_live(struct inode *in);
void inode_unref(struct inode *in, uint64_t n);

/*
 * A descriptor for calls that want one: an open file's, the directory's own, or a new one (O_PATH).
 * To be given back by inode_fd_done(), also after an error. -ESTALE: the inode is gone.
 */
struct inode_fd {
    int fd;
    struct file *file; /* whose it is, or NULL */
    bool own;          /* a new one */
};
int inode_fd(struct inode *in, struct inode_fd *out);
void inode_fd_done(struct inode_fd *f);

/* A new open file description, flags as open(2) (no O_CREAT). */
int inode_open(struct inode *in, int flags);

int inode_stat(struct inode *in, struct stat *st);

/* ---- places */

void inode_place_set(struct inode *in, struct inode *parent, const char *name);
/* It is not there any more; does nothing if its place is another. */
void inode_place_drop(struct inode *in, const struct inode *parent, const char *name);
/* false: none is known. */
bool inode_place_get(struct inode *in, struct place *out);
void place_done(struct place *p);

/* Finds the places of all that was taken over and has none yet: slow. */
void inode_seek_all(void);

/* For the walks of dir.c: no place changes while this is held. */
void inode_places_lock(void);
void inode_places_rdlock(void);
void inode_places_unlock(void);

/* Calls fn for each inode whose place is in parent (NULL: anywhere), with a reference held for the
 * call. Slow. */
void inode_each_child(struct inode *parent,
                      void (*fn)(struct inode *in, const char *name, void *arg), void *arg);

uint64_t inode_count(void);

#endif
