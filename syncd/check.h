#ifndef SYNCD_CHECK_H
#define SYNCD_CHECK_H

/*
 * Is a container in the store what both nodes agreed on, and is each message the one it was? The
 * looking; who decides and repairs is above (look.h, verify.h).
 *
 * Worker threads: check_scan() in the container's lane, the others in any, for they only read (what
 * changes meanwhile gives no false alarm: what has gone is left out).
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "io/sum.h"
#include "merge_run.h"
#include "state.h"

/* The numbers are those of the wire, too. */
enum check_kind {
    CHECK_DAMAGED = 1, /* a message's content does not fit its checksum */
    CHECK_SIZE,        /* a message has not the size it had */
    CHECK_MISSING,     /* a message is agreed on, and not in the store */
    CHECK_EXTRA,       /* a message is in the store that was not agreed on */
    CHECK_STATE,       /* a message's flags or UID are not those agreed on */
    CHECK_FILE,        /* a file that is no message is not as agreed on */
    CHECK_CONTROL,     /* nor are uidlist, keywords or subscriptions */
    CHECK_UNREADABLE,  /* a message cannot be read; without a name: a directory */
    CHECK_RECORD,      /* the two nodes have not agreed on the same */
    CHECK_DIFFER,      /* the contents of a message differ, and either fits its checksum */
    CHECK_PARTED, /* no problem: UIDs, keywords or subscriptions that cannot be judged, as those
                   * whom a standby follows have not agreed on them themselves */
    CHECK_KINDS
};
const char *check_kind_text(unsigned kind);

enum check_fate {
    CHECK_FOUND,    /* and nothing else */
    CHECK_MENDED,   /* the other node's is in its place, the bad copy is kept */
    CHECK_MERGED,   /* the mailbox is merged */
    CHECK_NOT,      /* could not be repaired */
    CHECK_ACCEPTED, /* is taken for right from now on */
    CHECK_FATES
};
const char *check_fate_text(unsigned fate);

struct check_problem {
    struct mailfs_id dir;
    unsigned kind, fate;
    bool there;        /* on the other node */
    char *name;        /* base name or file name; NULL: of the container */
    char *path;        /* of the container, in the store, with "/" before it; NULL: not known yet */
    const char *node;  /* name of the node that has it, lent; NULL likewise */
    uint8_t print[32]; /* of what exactly differs: two looks find the same, or it was in motion */
};

#define CHECK_PROBLEMS_MAX 500

struct check_problems {
    struct check_problem *v;
    size_t n;
    uint64_t more;   /* that were not kept */
    uint64_t parted; /* of CHECK_PARTED, by check_problem_take() */
};
/* name may be NULL. Without memory it is counted only. */
struct check_problem *check_problem_add(struct check_problems *p, const struct mailfs_id *dir,
                                        unsigned kind, const char *name);
/* One of another list, the same; of CHECK_PARTED, which is no problem, it only counts (NULL). */
struct check_problem *check_problem_take(struct check_problems *p, const struct mailfs_id *dir,
                                         unsigned kind, const char *name);
void check_problems_free(struct check_problems *p); /* leaves it empty */

/* What differs from the agreed base, at this moment. A container that has never been merged, or is
 * gone, differs in nothing; nor does what a standby has borrowed (scan.h). */
int check_scan(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
               size_t n_lenders, struct check_problems *out);

/* A lender knows another one than was agreed on here: which of them stays, a merge of theirs will
 * tell. */
bool check_is_lent(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                   size_t n_lenders, enum merge_part part);

struct check_how {
    bool content; /* read every message; else only sizes are looked at */
    bool accept;  /* what does not fit is given a new checksum */
    bool gentle;  /* no more than half of the disk's time */
    const _Atomic bool *stop;
};

struct check_counts {
    uint64_t messages, bytes;
    uint64_t unknown;   /* had no checksum */
    uint64_t mailboxes; /* check_tree() */
};

/* Sizes and, with content, the contents of a container's messages. One that has no checksum gets
 * one. -ECANCELED after *stop. */
int check_contents(struct state *st, const struct mailfs_id *dir, const struct check_how *how,
                   struct check_problems *out, struct check_counts *counts);

/* The same of all mailboxes at or below a directory of the store, whether somebody else knows them
 * or not. -ENOENT: there is no such directory. */
int check_tree(struct state *st, const char *path, const struct check_how *how,
               struct check_problems *out, struct check_counts *counts);

/* What the other node is told of a container: digest of its base, and sum of its messages'
 * checksums (zero without content). */
struct check_digest {
    struct mailfs_id dir;
    uint8_t base[STATE_DIGEST], sums[STATE_DIGEST];
};
int check_digest_of(struct state *st, const struct mailfs_id *dir, bool content,
                    struct check_digest *out);
/* Of many, in any order. */
void check_digest_roll(const struct check_digest *v, size_t n, uint8_t out[STATE_DIGEST]);

/* The checksums of a container's messages. Non-zero from fn ends it and is returned. */
typedef int check_sum_fn(void *arg, const char *base, const struct io_sum *sum);
int check_each_sum(struct state *st, const struct mailfs_id *dir, check_sum_fn *fn, void *arg);

/* All containers both nodes know, sorted by id, malloc'ed: those from .. to (NULL: all), or those
 * at or below `top`. */
int check_containers(struct state *st, const struct mailfs_id *from, const struct mailfs_id *to,
                     const struct mailfs_id *top, struct mailfs_id **v, size_t *n);

#endif
