/*
 * keywords_merge.c: one table of keywords out of two
 *
 * Two nodes that were apart may have given one letter to two names. The result must not depend on
 * which is called a, so names, and not sides, decide. See keywords.h for the rule.
 *
 * Diagnostics: none.
 */
#include "maildir/keywords.h"

#include "maildir/keywords_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A name, and where the two tables have it; -1: not. */
struct claim {
    const char *name;
    int at_a, at_b, got;
};

static const char *plain(const char *entry) {
    size_t n = strlen(MAILDIR_KEYWORD_MOVING);

    while (strncmp(entry, MAILDIR_KEYWORD_MOVING, n) == 0 && entry[n])
        entry += n;
    return entry;
}

/* Where a name is, or is on its way to; -1. The last of several such letters has the longest. */
static int place_of(const struct maildir_keywords *kw, const char *name) {
    size_t longest = 0;
    int i, at = -1;

    for (i = 0; i < (int)kw->end; i++) {
        const char *entry = kw->names[i];

        if (!entry || keywords_casecmp(plain(entry), name) != 0 || strlen(entry) <= longest)
            continue;
        longest = strlen(entry);
        at = i;
    }
    return at;
}

/* Then a name that comes from another letter can have it there, before any other does. */
static bool is_free_at(const struct maildir_keywords *kw, int i) {
    return maildir_keywords_at(kw, (unsigned)i) == NULL;
}

static int higher_claim(const struct claim *c) {
    return c->at_a > c->at_b ? c->at_a : c->at_b;
}

static int lower_claim(const struct claim *c) {
    if (c->at_a < 0 || c->at_b < 0)
        return higher_claim(c);
    return c->at_a < c->at_b ? c->at_a : c->at_b;
}

static int compare_claims(const void *x, const void *y) {
    const struct claim *a = x, *b = y;
    int la = lower_claim(a), lb = lower_claim(b), r;

    if (la != lb)
        return la < lb ? -1 : 1;
    r = keywords_casecmp(a->name, b->name);
    return r ? r : strcmp(a->name, b->name);
}

static size_t collect(const struct maildir_keywords *a, const struct maildir_keywords *b,
                      struct claim *claims) {
    size_t n = 0;
    int i;

    for (i = 0; i < (int)a->end; i++) {
        const char *name = a->names[i] ? plain(a->names[i]) : NULL, *there;
        int j;

        if (!name || place_of(a, name) != i)
            continue;
        j = place_of(b, name);
        there = j >= 0 ? plain(b->names[j]) : name;
        if (strcmp(there, name) < 0)
            name = there; /* "Work" and "work": one spelling, the same on both */
        claims[n++] = (struct claim){name, i, j, -1};
    }
    for (i = 0; i < (int)b->end; i++) {
        const char *name = b->names[i] ? plain(b->names[i]) : NULL;

        if (name && place_of(b, name) == i && place_of(a, name) < 0)
            claims[n++] = (struct claim){name, -1, i, -1};
    }
    return n;
}

static void take(struct claim *c, bool *taken, int i) {
    if (c->got < 0 && i >= 0 && !taken[i]) {
        c->got = i;
        taken[i] = true;
    }
}

/* The side that has it under another letter must be able to move it. */
static void take_own(struct claim *c, const struct maildir_keywords *a,
                     const struct maildir_keywords *b, bool *taken, int i) {
    if ((i == c->at_a && (c->at_b < 0 || is_free_at(b, i))) ||
        (i == c->at_b && (c->at_a < 0 || is_free_at(a, i))))
        take(c, taken, i);
}

/* One that nothing has to be moved away from first, rather than the lowest; but any letter rather
 * than none. */
static int free_letter(const struct maildir_keywords *a, const struct maildir_keywords *b,
                       const bool *taken) {
    int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        if (!taken[i] && is_free_at(a, i) && is_free_at(b, i))
            return i;
    for (i = 0; i < (int)MAILDIR_KEYWORDS_MAX; i++)
        if (!taken[i])
            return i;
    return -1;
}

static int assign(struct claim *claims, size_t n, const struct maildir_keywords *a,
                  const struct maildir_keywords *b, bool *taken) {
    size_t i;

    for (i = 0; i < n; i++) /* what both agree on stays, whatever else is wanted */
        if (claims[i].at_a == claims[i].at_b)
            take(&claims[i], taken, claims[i].at_a);
    for (i = 0; i < n; i++) {
        take_own(&claims[i], a, b, taken, lower_claim(&claims[i]));
        take_own(&claims[i], a, b, taken, higher_claim(&claims[i]));
    }
    for (i = 0; i < n; i++) {
        if (claims[i].got < 0)
            take(&claims[i], taken, free_letter(a, b, taken));
        if (claims[i].got < 0)
            return -ENOSPC;
    }
    return 0;
}

static void clear_remap(struct maildir_keywords_remap *r) {
    unsigned int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        r->to[i] = -1;
}

static void remap(struct maildir_keywords_remap *r, const struct maildir_keywords *kw,
                  const char *name, int got) {
    int i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        const char *entry = maildir_keywords_at(kw, (unsigned)i);

        if (entry && keywords_casecmp(plain(entry), name) == 0)
            r->to[i] = (int16_t)got;
    }
}

static int write_table(const struct claim *claims, size_t n, struct maildir_keywords *out) {
    size_t i;
    int err = 0;

    for (i = 0; err == 0 && i < n; i++)
        err = maildir_keywords_put(out, (unsigned)claims[i].got, claims[i].name);
    return err;
}

int maildir_keywords_merge(const struct maildir_keywords *a, const struct maildir_keywords *b,
                           struct maildir_keywords **out, struct maildir_keywords_remap *ra,
                           struct maildir_keywords_remap *rb) {
    bool taken[MAILDIR_KEYWORDS_MAX] = {false};
    struct claim *claims = calloc(a->count + b->count + 1, sizeof *claims);
    size_t n, i;
    int err;

    *out = NULL;
    if (!claims)
        return -ENOMEM;
    n = collect(a, b, claims);
    qsort(claims, n, sizeof *claims, compare_claims);
    err = assign(claims, n, a, b, taken);
    if (!err)
        err = maildir_keywords_new(out);
    if (!err)
        err = write_table(claims, n, *out);
    clear_remap(ra);
    clear_remap(rb);
    for (i = 0; !err && i < n; i++) {
        remap(ra, a, claims[i].name, claims[i].got);
        remap(rb, b, claims[i].name, claims[i].got);
    }
    free(claims);
    if (err) {
        maildir_keywords_free(*out);
        *out = NULL;
    }
    return err;
}

struct maildir_set maildir_keywords_to_set(const struct maildir_keywords_remap *r,
                                           uint32_t letters) {
    struct maildir_set s = {{0, 0}};
    unsigned int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        if (((letters >> i) & 1) && r->to[i] >= 0)
            maildir_set_add(&s, (unsigned)r->to[i]);
    return s;
}

uint32_t maildir_keywords_to_letters(struct maildir_set set) {
    return (uint32_t)(set.w[0] & ((UINT64_C(1) << MAILDIR_LETTERS) - 1));
}

bool maildir_keywords_remap_is_identity(const struct maildir_keywords_remap *r) {
    unsigned int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        if (r->to[i] >= 0 && r->to[i] != (int16_t)i)
            return false;
    return true;
}

void maildir_keywords_map(const struct maildir_keywords *from, const struct maildir_keywords *to,
                          struct maildir_keywords_remap *r) {
    unsigned int i;

    clear_remap(r);
    for (i = 0; i < MAILDIR_LETTERS; i++) {
        const char *name = maildir_keywords_at(from, i);

        if (name)
            r->to[i] = (int16_t)place_of(to, plain(name));
    }
}

int maildir_keywords_move(struct maildir_keywords *kw, unsigned int from, unsigned int to) {
    const char *entry = maildir_keywords_at(kw, from), *there = maildir_keywords_at(kw, to);
    char name[sizeof MAILDIR_KEYWORD_MOVING + MAILDIR_KEYWORD_LEN_MAX];

    if (!entry)
        return -ENOENT;
    if (there && keywords_casecmp(plain(there), plain(entry)) == 0)
        return 0;
    entry = kw->names[place_of(kw, plain(entry))];
    if (to >= MAILDIR_LETTERS ||
        strlen(entry) > MAILDIR_KEYWORD_LEN_MAX - strlen(MAILDIR_KEYWORD_MOVING))
        return -ERANGE;
    snprintf(name, sizeof name, "%s%s", MAILDIR_KEYWORD_MOVING, entry);
    return maildir_keywords_put(kw, to, name);
}
