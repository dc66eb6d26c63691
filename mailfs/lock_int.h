#ifndef MAILFS_LOCK_INT_H
#define MAILFS_LOCK_INT_H

/* What lock.c, lock_create.c, lock_lost.c, lock_owner.c and lock_tell.c share. */

#include "keep.h"
#include "lock.h"
#include "numbers.h"
#include "upcall.h"
#include "util/workq.h"

enum l_state { WANTED, GRANTED, HELD, GOING, SHOWN };

struct lock_l {
    struct lock_l *prev, *next;
    struct inode *cont; /* a reference */
    enum l_state state;
    /* The id under which syncd knows it: a directory that is joined with the peer's gets another,
     * and an end told under that one would leave this L granted for ever. */
    struct mailfs_id asked;
    uint64_t serial; /* tells it from a later L of the same container */
    uint32_t number; /* of the request that created it: its lower bits */
    bool taken_over; /* another worker created it */
    bool told_going; /* ... and may have told syncd of its U */
    /* Claimed, and its U not answered: one that waits for a connection is named in that one's
     * Hello, or syncd would take the L for gone before it hears of the U. */
    bool to_unlock;
    bool by_other; /* it was removed by somebody else, who found its owner dead or hanging */
    /* The request that waits. */
    fuse_req_t req;
    bool is_mknod;
    mode_t mode;
    struct fuse_file_info fi;
    struct fuse_ctx ctx;
    /* Its answer. */
    bool alone;
    uint64_t answered; /* lock_hints_time() */
    int err;
    uint32_t raise;
    char holder[256];
    /* The uidlist when L was created, and whether nobody but this disk has what it gave since. */
    struct numbers numbers;
    bool only_here;
    /* The owner. */
    pid_t owner;           /* process; 0: not known */
    char *path;            /* of L, from when it was asked for; NULL: not known */
    bool lost;             /* its owner did not find it there any more: lock_lost.c */
    uint64_t watch;        /* token; 0: not watched */
    struct owner_end *end; /* the watch's argument */
};

/* The end of an owner. Not the lock_l itself, which may be gone when it is heard. */
struct owner_end {
    struct inode *cont; /* a reference */
    uint64_t serial;
};

/* ---- lock.c */

/* An L of cont in the state WANTED; req: the request that waits, or NULL. NULL: no memory. */
struct lock_l *lock_new(struct inode *cont, fuse_req_t req);
void lock_free(struct lock_l *l);
void lock_set_state(struct lock_l *l, enum l_state s);

/*
 * The L of this container if it is in state `from` (and the one of that serial, unless 0), which it
 * leaves for GOING: the caller's alone from then on. req: the request that is to wait, or NULL.
 */
struct lock_l *lock_claim(struct dir *d, enum l_state from, uint64_t serial, fuse_req_t req);

/* A copy of the L that another worker left, if the calling thread's request had created it. */
bool lock_taken_over(struct dir *d, struct lock_l *copy);

/*
 * The next one after this serial of which is() says so, under the lock, with a reference to its
 * container; NULL: there is none.
 */
typedef bool lock_is_fn(struct lock_l *l, void *arg);
struct inode *lock_next(uint64_t after, lock_is_fn *is, void *arg, uint64_t *serial);

/* Of the kernel's number of the calling thread's request: the lower bits. */
uint32_t lock_request_number(void);

/*
 * What a worker that takes over must know of an L, in the slot of its container (keep.h): HELD is
 * written when the file is there, before the reply; cleared when the file is gone.
 */
void lock_aux_set(const struct inode *cont, uint64_t aux);

/* A container's jobs come one after the other. */
void lock_submit(const struct inode *cont, workq_fn *fn, void *arg);

int lock_unlink_file(struct inode *cont);

/* L ends without anybody who waits for it. */
void lock_end_quietly(struct lock_l *l);

/* ---- lock_owner.c */

/* From its success on the owner's end can free l at any time. -ESRCH: the caller is gone. */
int lock_watch_owner(struct lock_l *l);
void lock_owner_end_free(struct owner_end *e);

/* ---- lock_lost.c */

/* Where its container is. Before the question to syncd: it may be moved meanwhile. */
void lock_note_path(struct lock_l *l);

/* ---- lock_tell.c */

/* LockOpened, if there is a peer. */
void lock_tell_opened(const struct mailfs_id *dir, bool ok);

/* LockOpen and Unlock, asked; false: answered already, alone. */
bool lock_ask_open(const struct mailfs_id *dir, pid_t pid, upcall_fn *fn, void *arg);
/* again: the worker before this one may have asked. */
bool lock_ask_unlock(const struct mailfs_id *dir, bool again, upcall_fn *fn, void *arg);

/* Unlock of an owner that died. */
void lock_tell_died(const struct mailfs_id *dir, bool again);

/*
 * Without syncd: must the next UID of this mailbox be raised before its next L? And: it was, for an
 * L that was answered at that time (lock_hints_time()). If syncd has been there since, it has dealt
 * with the token, and that gap says nothing for the next time without it.
 */
bool lock_raise_is_due(const struct mailfs_id *dir);
void lock_raise_was_done(const struct mailfs_id *dir, uint64_t time);
uint64_t lock_hints_time(void);

#endif
