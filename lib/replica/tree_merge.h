/*
 * tree_merge.h: the three-way merge of the directory tree, by id.
 *
 * Directories (containers) keep their id when they are renamed, so what a side did to each can be
 * told: made, moved, removed, other attributes. The two results are merged into one tree. Symmetric
 * in the two sides; no I/O, no clock.
 *
 *   made on either side          there
 *   moved on one side            moved; on both: higher `version`, then the greater (parent, name)
 *   removed on one, unchanged on the other   gone; changed there: it lives
 *   parent removed, child lives  the parent lives
 *   two ids in one place         one directory: the one a base knows, then the lower id; the other
 *                                becomes its alias
 *   A moved below B, B below A   the move of the highest id in the circle is undone
 *   no valid base on a side      nothing is removed
 *   changed there by messages only that the removing side had too (by UID, or by their prepared
 * contents)   gone: the merge of the mailbox would take them out
 *   bases that differ            nothing is removed that only one base knows, and where both say
 * they did nothing the side with the later base is right, or whose base could follow the other's
 *   lives though a side removed it   that side has forgotten which UIDs it had shown in it
 *   what a side has borrowed   changes nothing at the other
 *
 * Memory: about 400 bytes a listed directory. Errors: negative errno.
 */
#ifndef MAILFS_REPLICA_TREE_MERGE_H
#define MAILFS_REPLICA_TREE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/id.h"

struct tree_place {
    struct mailfs_id parent; /* all zero: the root */
    const char *name;        /* the caller's until the result is freed */
};

struct tree_attr {
    uint32_t mode, uid, gid;
};

struct tree_msg {
    const char *name;     /* its base name; the caller's until the merge is done */
    uint32_t uid;         /* 0: none */
    uint64_t prepared[2]; /* the prepared content it came from (incarnation, seq); 0: none, or not
                             known */
};

struct tree_entry {
    struct mailfs_id id;
    bool was, is;
    struct tree_place old, now;      /* if was; if is */
    struct tree_attr old_attr, attr; /* if was; if is */
    uint32_t old_validity;           /* if was: its UIDVALIDITY by the base; 0: none is known */
    bool changed_inside; /* if is: something in it (not below its subdirectories) may differ from
                          * the base, so a removal elsewhere must not take it */
    /* If changed_inside: all that is in it and not in the base, if nothing else is; if it was and
     * is not: what the base has in it. None: that is not known. */
    const struct tree_msg *msgs;
    size_t n_msgs;
    uint32_t validity; /* of their UIDs; 0: not known */
    uint64_t version;  /* decides between two moves of one directory; 0: unknown */
    bool borrowed;     /* this side follows the other one's like, and where it is here (or that it
                        * is not) is what one of those is known to have: it has no say. What is in
                        * it counts where it is this side's own (changed_inside). */
};

struct tree_side {
    bool base_valid; /* false: every `was` is ignored */
    bool full;       /* every directory is listed. Otherwise those that differ from the common base,
                      * and in addition all their parents, old and new, up to the root; bases must
                      * be valid and equal then. */
    uint64_t base_version; /* which of two different bases is the later, see base_age.h. 0: it
                            * could not follow the other side's */
    const struct tree_entry *entries; /* any order, each id once, not the root */
    size_t count;
};

enum tree_what {
    TREE_MADE = 1,      /* one side lacks it and gets it */
    TREE_REMOVED = 2,   /* a side has it and it goes */
    TREE_MOVED = 4,     /* a side has it elsewhere */
    TREE_ATTR = 8,      /* a side has other attributes */
    TREE_CONFLICT = 16, /* both moved it, or removed here and changed there */
    TREE_REVIVED = 32,  /* removed by a side, lives for what is in it */
    TREE_UNDONE = 64,   /* a move was undone to break a circle */
    TREE_LEFT = 128,    /* borrowed: neither side's is touched, whatever the result (the new base)
                         * says of it */
};

struct tree_item {
    struct mailfs_id id;
    const struct tree_entry *a, *b; /* NULL: not listed */
    bool at_a, at_b;                /* there now (also where not listed) */
    struct tree_place now_a, now_b; /* if so */
    struct tree_attr attr_a, attr_b;
    bool anew_a, anew_b;       /* that side had removed it, and gets it again: what its clients were
                                * shown in it since the base nobody knows any more, so its list of
                                * UIDs begins there under another UIDVALIDITY, a higher one than */
    uint32_t old_validity;     /* the highest that a base has; 0: it is no mailbox, or nobody has
                                * ever opened it */
    bool present;              /* in the result, under its own id */
    bool aliased;              /* not present: its contents belong to alias_of */
    struct mailfs_id alias_of; /* a present one */
    struct tree_place
        place; /* if present; the parent is a present one, or not listed, or the root */
    struct tree_attr attr;
    unsigned depth; /* 1 below the root (or an unlisted one), 0 if nowhere; parents come first when
                     * applied by ascending depth, and what is in one that goes by descending */
    unsigned what;
};

struct tree_stats {
    size_t made, removed, moved, aliased, conflicts, revived, undone;
};

struct tree_result {
    struct tree_item *items; /* ascending by id */
    size_t count;
    struct tree_stats stats;
};

/* Merges. The result borrows the names. 0; -EINVAL: an id twice on one side, the root's id, an
 * entry that neither was nor is, a listing of differences without valid base; -ENOMEM. */
int tree_merge(const struct tree_side *a, const struct tree_side *b, struct tree_result **out);
void tree_result_free(struct tree_result *r); /* NULL is fine */
const struct tree_item *tree_result_find(const struct tree_result *r, const struct mailfs_id *id);

#endif
