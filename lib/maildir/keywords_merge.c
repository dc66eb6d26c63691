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
#include <stdlib.h>
#include <string.h>

/* A name, and where the two tables have it; -1: not. */
struct claim {
    const char *name;
    int at_a, at_b, got;
};

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
    unsigned int i;

    for (i = 0; i < a->end; i++) {
        int j = a->names[i] ? maildir_keywords_find(b, a->names[i]) : -1;
        const char *name = a->names[i];

        if (!name)
            continue;
        if (j >= 0 && strcmp(b->names[j], name) < 0)
            name = b->names[j]; /* "Work" and "work": one spelling, the same on both */
        claims[n++] = (struct claim){name, (int)i, j < 0 ? -1 : j, -1};
    }
    for (i = 0; i < b->end; i++)
        if (b->names[i] && maildir_keywords_find(a, b->names[i]) < 0)
            claims[n++] = (struct claim){b->names[i], -1, (int)i, -1};
    return n;
}

static void take(struct claim *c, bool *taken, int i) {
    if (c->got < 0 && i >= 0 && !taken[i]) {
        c->got = i;
        taken[i] = true;
    }
}

static int assign(struct claim *claims, size_t n, bool *taken) {
    size_t i;
    int free_at = 0;

    for (i = 0; i < n; i++) /* what both agree on stays, whatever else is wanted */
        if (claims[i].at_a == claims[i].at_b)
            take(&claims[i], taken, claims[i].at_a);
    for (i = 0; i < n; i++) {
        take(&claims[i], taken, lower_claim(&claims[i]));
        take(&claims[i], taken, higher_claim(&claims[i]));
    }
    for (i = 0; i < n; i++) {
        if (claims[i].got >= 0)
            continue;
        while (free_at < (int)MAILDIR_KEYWORDS_MAX && taken[free_at])
            free_at++;
        if (free_at == (int)MAILDIR_KEYWORDS_MAX)
            return -ENOSPC;
        take(&claims[i], taken, free_at);
    }
    return 0;
}

static void clear_remap(struct maildir_keywords_remap *r) {
    unsigned int i;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        r->to[i] = -1;
}

static int write_table(const struct claim *claims, size_t n, struct maildir_keywords *out,
                       struct maildir_keywords_remap *ra, struct maildir_keywords_remap *rb) {
    size_t i;

    clear_remap(ra);
    clear_remap(rb);
    for (i = 0; i < n; i++) {
        const struct claim *c = &claims[i];
        int err = maildir_keywords_put(out, (unsigned)c->got, c->name);

        if (err)
            return err;
        if (c->at_a >= 0 && c->at_a < MAILDIR_LETTERS)
            ra->to[c->at_a] = (int16_t)c->got;
        if (c->at_b >= 0 && c->at_b < MAILDIR_LETTERS)
            rb->to[c->at_b] = (int16_t)c->got;
    }
    return 0;
}

int maildir_keywords_merge(const struct maildir_keywords *a, const struct maildir_keywords *b,
                           struct maildir_keywords **out, struct maildir_keywords_remap *ra,
                           struct maildir_keywords_remap *rb) {
    bool taken[MAILDIR_KEYWORDS_MAX] = {false};
    struct claim *claims = calloc(a->count + b->count + 1, sizeof *claims);
    size_t n;
    int err;

    *out = NULL;
    if (!claims)
        return -ENOMEM;
    n = collect(a, b, claims);
    qsort(claims, n, sizeof *claims, compare_claims);
    err = assign(claims, n, taken);
    if (!err)
        err = maildir_keywords_new(out);
    if (!err)
        err = write_table(claims, n, *out, ra, rb);
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
        int j = name ? maildir_keywords_find(to, name) : -1;

        if (j >= 0)
            r->to[i] = (int16_t)j;
    }
}
