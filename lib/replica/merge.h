/*
 * merge.h: the three-way merge of one mailbox.
 *
 * What is on two nodes, and what each of them holds to be the last common state (its base), becomes
 * one result. The same whichever node computes it: merge_mailbox(a, b) and merge_mailbox(b, a)
 * differ only in what is called a and b. The two bases may differ, since a node that crashed comes
 * back with an older one. No I/O, no clock, no global state.
 *
 * Rules, in docs/DESIGN.md: union of what was added; removed on either side is removed unless it
 * was added anew on the other; flags and keywords one by one, each side's change applied; nothing
 * is removed where a base is missing. What one side has borrowed (M8) changes nothing at the other.
 * What one side has and cannot read stays with it (M10).
 * A UID is never bound to another message than the one it named on either side (numbered M1 to M7
 * in merge_decide.c and merge_number.c).
 *
 * Memory: about 400 bytes a listed message. Errors: negative errno.
 */
#ifndef MAILFS_REPLICA_MERGE_H
#define MAILFS_REPLICA_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "maildir/name.h"
#include "maildir/set.h"

/* So many UIDs are retired for what a cut side may have given under the L of that moment, and what
 * is left of their block where they are not all in one (replica_unraised_uid()). Less than what a
 * node raises by that has not heard of this merge (replica_raised_uid()), and small beside it: both
 * may come from the same next UID. */
#define MERGE_LOST_UIDS UINT32_C(0x8000)

/* One state of one message. */
struct merge_state {
    uint32_t uid;                /* 0: none (yet) */
    bool in_cur;                 /* in cur/, otherwise in new/ */
    struct maildir_set flags;    /* by ASCII code, see maildir/name.h */
    struct maildir_set keywords; /* indexes into one table common to both sides,
                                  * maildir_keywords_merge() */
    const char *info;            /* an info that is not "2,": carried verbatim, flags and keywords
                                  * are empty then; NULL otherwise */
    uint64_t content;            /* what tells two contents apart, e.g. the size; 0: not known */
};

/* What a side says of one base name. At least one of was, is and half. */
struct merge_entry {
    const char *base;       /* base name, the caller's until the result is freed */
    bool was, is;           /* there is a base state, a current state */
    bool borrowed;          /* this side follows the other one's like, and how it is here (or that
                             * it is not) is what one of those is known to have: it has no say */
    struct merge_state old; /* if was: what the side's base says */
    struct merge_state now; /* if is */
    /* This side has carried out a merge, and does not know the other to have done so: */
    bool half;
    bool half_here, half_there;     /* the message was in the result, and at the other then */
    struct merge_state half_mine;   /* if half_here: the result, as it was then here */
    struct merge_state half_theirs; /* if half_there: what the other had when that was computed */
    bool put_back; /* after a power cut, by what the other had sent before: it may have been removed
                    * here since, which this side's base does not know any more */
    bool lost;     /* it is said to be there, and has to come from the other side (M9) */
    bool unread;   /* its content cannot be had: where only this side has it, it stays so (M10) */
};

struct merge_side {
    bool base_valid;        /* false: no common base is known; every `was` is ignored */
    bool full;              /* entries holds every message that was or is. Otherwise only those
                             * where `now` differs from `old`, all others being as in the common
                             * base; this needs base_valid, and equal bases. */
    bool cut;               /* its power was cut since the mailbox was last merged: an index of
                             * Dovecot's may have UIDs there that no list has */
    uint32_t validity;      /* UIDVALIDITY; 0: there is no uidlist */
    uint32_t next;          /* effective next UID; 0: there is no uidlist */
    uint32_t base_validity; /* that `old` refers to; 0: the same, or none. Also of a
                             * base that is not valid: what the mailbox had here once */
    uint32_t base_next;     /* next UID of the base: lower UIDs it knew. 0: unknown */
    uint64_t half_age;      /* of what entries say to be half: those of the higher one count; what
                             * the base_version is where that merge has come to its end */
    uint64_t life;      /* of the node: another each time that it starts; 0: not known, it knows no
                         * more of half a merge than flags */
    uint64_t half_with; /* the other's life when that merge was computed */
    bool held;          /* removals are held back there: what it lacks has not gone */
    uint64_t base_version; /* which of two different bases is the later, see base_age.h. Not known
                            * on a side: then that of the higher base_next is, if they differ */
    const struct merge_entry *entries; /* any order, each base name once */
    size_t count;
};

enum merge_what {
    MERGE_ADDED = 1,      /* only one side has it, and it stays: the other gets it */
    MERGE_REMOVED = 2,    /* a side has it, and it goes */
    MERGE_CONFLICT = 4,   /* both had changed it (or a base is stale) */
    MERGE_RENUMBERED = 8, /* had a UID on a side, and gets another there */
    MERGE_SPLIT = 16,     /* one name with two contents: became two messages */
    MERGE_LEFT = 32,      /* borrowed: neither side's is touched, whatever the result (the new base)
                           * says of it */
    MERGE_UNREAD = 64,    /* present at the one side that has it, with the UID of the result, and in
                           * no base: the other side does not get it. Of two contents of one name,
                           * what the other side has of that name is another item's */
};

struct merge_item {
    const char *name;                /* base name in the result */
    const struct merge_entry *a, *b; /* what was listed of it; NULL: not listed. NULL both for the
                                      * second half of a split */
    bool at_a, at_b;                 /* is it there now, and how (also where not listed) */
    struct merge_state now_a, now_b;
    bool present;             /* in the result */
    struct merge_state state; /* if present */
    unsigned what;            /* enum merge_what */
    char content;             /* whose content: 'a', 'b', or 0: both have the same */
    const char *split_from;   /* second half of a split: the name it has now at the side `content`;
                               * NULL otherwise */
};

struct merge_stats {
    size_t added_a, added_b;     /* given to a, to b */
    size_t removed_a, removed_b; /* taken from a, from b */
    size_t changed_a, changed_b; /* present there, in another state */
    size_t conflicts, renumbered, split;
};

struct merge_result {
    struct merge_item *items; /* ascending by name (strcmp), one for each base name listed by
                               * either, absent ones included */
    size_t count;
    uint32_t validity; /* 0 only if both have none */
    uint32_t next;     /* above every UID known to either side, and all given */
    struct merge_stats stats;
    void *memory; /* private */
};

/*
 * Merges. The result borrows names and infos from the sides' entries. gap retires that many UIDs
 * more above all those known (0: none), for merges after both nodes may have lost what they had
 * shown. 0; -EINVAL: a name twice on one side, a UID that cannot be, a listing of differences
 * without valid base; -EOVERFLOW: UIDs are used up; -ENOMEM.
 */
int merge_mailbox(const struct merge_side *a, const struct merge_side *b, uint32_t gap,
                  struct merge_result **out);
void merge_result_free(struct merge_result *r); /* NULL is fine */

/* The item of a base name, NULL if neither listed it. */
const struct merge_item *merge_result_find(const struct merge_result *r, const char *base);

/* Of two contents that have one base name: what the one is called that loses it. With any flags and
 * keywords behind it that is still a name. */
#define MERGE_SPLIT_MAX 160
void merge_split_name(const char *name, uint64_t content, char buf[MAILDIR_NAME_MAX + 1]);

/* A UID, 0 for none, and the UIDVALIDITY it is of, 0 where there is no uidlist. */
struct merge_number {
    uint32_t uid, validity;
};

/* A name is there, and was in the base: is it another message than that one was, added again?
 * Dovecot never gives a file that stays another UID, nor takes it away. put_back: as merge_entry
 * says; lacks: the base does (BASE_AGE_LACKS), so the list may, too. */
bool merge_readded(struct merge_number was, struct merge_number is, bool put_back, bool lacks);

/* All but the content. */
bool merge_state_equal(const struct merge_state *x, const struct merge_state *y);

#endif
