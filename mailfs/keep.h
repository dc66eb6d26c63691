#ifndef MAILFS_KEEP_H
#define MAILFS_KEEP_H

/*
 * What outlives a worker while the mount is kept: a memfd that the holder has, and every worker
 * maps (INTERFACES, "What a worker leaves to the next"). It holds what the kernel goes on to rely
 * on and a new worker cannot find out: which node id is which inode, which handle is which open
 * file, the notes about requests under way, the names that the next syncd is told of, and the
 * kernel's INIT.
 *
 * A worker can be killed between any two stores. So a slot is filled before its state says that it
 * is used; the count of the kernel's lookups goes up before the reply that makes the kernel count,
 * and down after the kernel forgot: a count can be too high, which costs a slot as long as the
 * mount lives, never too low.
 *
 * The tables are sparse: memory is used for what was ever used, 64 bytes an inode, 16 a file; that
 * of inodes is given back. Who may write a slot is said by its user (inode.c, keep_file below,
 * note.c, named.c); nothing here locks.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/id.h"

/* Another layout has another number: a worker that finds one does not take over. (What lies where
 * nothing was, and says nothing while it is zero, needs none: mailfs is upgraded under its mount.)
 */
#define KEEP_LAYOUT UINT32_C(3)

#define KEEP_INODES_MAX (UINT32_C(1) << (sizeof(void *) == 8 ? 26 : 20))
#define KEEP_FILES_MAX  (UINT32_C(1) << 22)
#define KEEP_NOTES_MAX  4096u
#define KEEP_WALKERS    64u
#define KEEP_INIT_MAX   1024u
#define KEEP_HANDLE_MAX 24u
#define KEEP_NAMED_MAX  512u
#define KEEP_GIVEN_UP   1024u
#define KEEP_BASE_MAX   256u

enum keep_state { KEEP_FREE, KEEP_USED, KEEP_MADE_UP };

#define KEEP_TYPE        0x0f /* of `kind`: S_IFMT of the mode, shifted down by 12 */
#define KEEP_SHORT_LIVED 0x80

#define KEEP_FILE_DIRTY (UINT32_C(1) << 31) /* of a file's flags: written, and syncd not told */

/* aux of a directory that has an L (lock.c). GOING without HELD: nobody holds it, it is about to be
 * made, or stands for the peer's. */
#define KEEP_L_HELD         UINT64_C(1)
#define KEEP_L_GOING        UINT64_C(2)          /* syncd may have been told of U */
#define KEEP_L_NUMBER_MASK  UINT32_C(0x3fffffff) /* of the request that created it, lower bits */
#define KEEP_L_NUMBER_SHIFT 2
#define KEEP_L_OWNER_SHIFT  32 /* its process; 0: not known */

/* An inode. Its node id is its index + 1, so that the root, the first one, has FUSE's 1. */
struct keep_inode {
    _Atomic uint64_t lookups; /* the kernel's */
    uint64_t ino;
    _Atomic uint64_t aux; /* a directory: who holds its L (lock.c); a file: what of it was prepared
                             (prepare.c) */
    uint32_t dev;
    uint32_t generation;
    _Atomic uint32_t parent; /* node id of the directory of its place; 0: none known */
    _Atomic uint8_t state;
    _Atomic uint8_t kind;
    uint8_t handle_len;
    uint8_t handle_type;
    uint8_t handle[KEEP_HANDLE_MAX];
};

/* An open file or directory. Its handle is seq << 32 | index, so that none comes twice. */
struct keep_file {
    _Atomic uint32_t seq;   /* odd: in use */
    uint32_t node;          /* node id, which never exceeds 32 bits */
    _Atomic uint32_t flags; /* of open(2), and KEEP_FILE_DIRTY */
    int32_t pid;            /* thread that opened it */
};

/* A request that changes names or appends, about to be carried out (note.h). */
struct keep_note {
    _Atomic uint64_t unique; /* 0: none */
    uint64_t ino, other, size;
    uint32_t dev, kind, mode, nlink;
    _Atomic uint64_t told; /* 1: syncd was told of it, or need not be */
};

/* A name that a prepared content got (named.h). */
struct keep_named {
    _Atomic uint64_t seq; /* 0: none, or only half written */
    struct mailfs_id dir;
    char base[KEEP_BASE_MAX];
};

/* The last ones, in a ring. */
struct keep_names {
    _Atomic uint64_t noted; /* ever */
    struct keep_named v[KEEP_NAMED_MAX];
};

/* The numbers of the last prepared contents that get no name, in a ring of their own: of names
 * there are many more, also while those cannot be told. */
struct keep_given_up {
    _Atomic uint64_t noted; /* ever */
    _Atomic uint64_t seq[KEEP_GIVEN_UP];
};

struct keep_head {
    char magic[8];
    uint32_t layout;
    uint32_t lives;                 /* workers so far, this one included; the holder's to write */
    uint32_t clean;                 /* the mailfs before this mount stopped cleanly */
    _Atomic uint32_t untold;        /* events wait that syncd was not told, or were dropped */
    _Atomic uint32_t inodes, files; /* slots ever used */
    _Atomic uint32_t generation;    /* the last one given to an inode */
    uint64_t incarnation;           /* of prepared ids: random, of this mount */
    _Atomic uint64_t prepared;      /* the last number of one */
    _Atomic uint64_t syncd;         /* instance of the syncd last heard; 0: none */
    _Atomic int32_t sentinel;       /* a thread of the worker that waits for nothing but events */
    _Atomic int32_t walkers[KEEP_WALKERS]; /* threads that work on the mount itself */
    uint32_t is_private, private_uid; /* as vol has it, of this mount, whatever the file says now */
    _Atomic uint32_t init_size;
    uint8_t init[KEEP_INIT_MAX]; /* the kernel's INIT request */
};

struct keep {
    struct keep_head *head;
    struct keep_note *notes;
    struct keep_names *names;
    struct keep_given_up *given_up;
    struct keep_file *files;
    struct keep_inode *inodes;
};
extern struct keep keep;

/* The holder: a new one. A descriptor or -errno. */
int keep_create(void);

/* The holder: of a mount that is gone. */
void keep_unmap(void);

/* Maps it: -ESTALE when it is of another layout. */
int keep_map(int fd);

/* Gives back the memory of the inodes' slots i to i + n, which lie in whole pages, if none of them
 * is used. The caller keeps others from filling one. */
void keep_inodes_unused(uint32_t i, uint32_t n);

/* Looks what is in use: when no other worker uses it any more. */
void keep_take_over(void);

/* Memory of this process only, sparse, all zero; NULL: there is none. now: it is to be there at
 * once. */
void *keep_zeroed(size_t size, bool now);

/* Is this the mount's first worker? */
bool keep_is_first(void);

/* Does the kernel send again what a worker had read when it died? As its INIT says. */
bool keep_possible(void);

/* The calling thread works on the mount, where it can be locked out: it will not touch the store.
 */
void keep_walker(void);

/* Slots of a table that were used and are free. Under a lock of the caller's. */
struct keep_unused {
    uint32_t *v;
    size_t n, room;
};
/* One that cannot be remembered is lost until the next worker. */
void keep_unused_add(struct keep_unused *u, uint32_t i);
/* false: there is none. */
bool keep_unused_take(struct keep_unused *u, uint32_t *i);

/* ---- open files. 0: no room. The user's pointer belongs to this worker. */

uint64_t keep_file_new(uint32_t node, int flags, pid_t pid, void *user);
void keep_file_free(uint64_t fh);
/* NULL: there is none of that handle (any more). */
const struct keep_file *keep_file_of(uint64_t fh);
void *keep_file_user(uint64_t fh);
void keep_file_set_user(uint64_t fh, void *user);
void keep_file_set_dirty(uint64_t fh, bool dirty);
/* Calls fn with each handle that is in use. */
void keep_file_each(void (*fn)(uint64_t fh, const struct keep_file *f));

#endif
