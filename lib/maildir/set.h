/*
 * set.h: a set of up to 128 small numbers.
 *
 * Flags are kept as such a set (by ASCII code of the flag's character) and so are keywords (by
 * index into a table of names). Both merge the same way, so both have the same type. Plain values,
 * no allocation, no failure.
 */
#ifndef MAILDIR_SET_H
#define MAILDIR_SET_H

#include <stdbool.h>
#include <stdint.h>

#define MAILDIR_SET_MAX 128u

struct maildir_set {
    uint64_t w[2];
};

/* Members outside 0..127 are never in a set: add and del ignore them. */
static inline void maildir_set_add(struct maildir_set *s, unsigned int i) {
    if (i < MAILDIR_SET_MAX)
        s->w[i >> 6] |= UINT64_C(1) << (i & 63);
}

static inline void maildir_set_del(struct maildir_set *s, unsigned int i) {
    if (i < MAILDIR_SET_MAX)
        s->w[i >> 6] &= ~(UINT64_C(1) << (i & 63));
}

static inline bool maildir_set_has(struct maildir_set s, unsigned int i) {
    return i < MAILDIR_SET_MAX && ((s.w[i >> 6] >> (i & 63)) & 1);
}

static inline bool maildir_set_equal(struct maildir_set a, struct maildir_set b) {
    return a.w[0] == b.w[0] && a.w[1] == b.w[1];
}

static inline bool maildir_set_empty(struct maildir_set s) {
    return (s.w[0] | s.w[1]) == 0;
}

static inline struct maildir_set maildir_set_union(struct maildir_set a, struct maildir_set b) {
    return (struct maildir_set){{a.w[0] | b.w[0], a.w[1] | b.w[1]}};
}

/* What is in a and not in b. */
static inline struct maildir_set maildir_set_minus(struct maildir_set a, struct maildir_set b) {
    return (struct maildir_set){{a.w[0] & ~b.w[0], a.w[1] & ~b.w[1]}};
}

/*
 * The three-way merge, member by member, of two states each with a base of its own (base_a ==
 * base_b in the ordinary case):
 *
 *   both states agree             -> that
 *   one side changed its base     -> what that side made of it
 *   otherwise (bases differ)      -> the member is in
 *
 * Symmetric: swapping a and b gives the same set.
 */
static inline struct maildir_set maildir_set_merge(struct maildir_set base_a, struct maildir_set a,
                                                   struct maildir_set base_b,
                                                   struct maildir_set b) {
    struct maildir_set r;
    int i;

    for (i = 0; i < 2; i++) {
        uint64_t only_a = (a.w[i] ^ base_a.w[i]) & ~(b.w[i] ^ base_b.w[i]);
        uint64_t only_b = (b.w[i] ^ base_b.w[i]) & ~(a.w[i] ^ base_a.w[i]);
        uint64_t rest = ~(only_a | only_b);

        /* both changed it, or the bases differ and neither did: equal, or set wins */
        r.w[i] = (only_a & a.w[i]) | (only_b & b.w[i]) | (rest & (a.w[i] | b.w[i]));
    }
    return r;
}

#endif
