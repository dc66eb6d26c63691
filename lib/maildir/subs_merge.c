/*
 * subs_merge.c: differences and the merge of subscriptions
 *
 * Diagnostics: none.
 */
#include "maildir/subs.h"

#include "maildir/subs_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_empty(const struct maildir_subs *s) {
    return !s || s->count == 0;
}

/* Lines of x that y lacks. */
static int copy_missing(const struct maildir_subs *x, const struct maildir_subs *y,
                        struct maildir_subs *to) {
    size_t i;

    for (i = 0; x && i < x->count; i++) {
        int r = y && maildir_subs_has(y, x->lines[i]->text)
                    ? 0
                    : maildir_subs_add(to, x->lines[i]->text);

        if (r < 0)
            return r;
    }
    return 0;
}

int maildir_subs_diff(const struct maildir_subs *old_set, const struct maildir_subs *new_set,
                      struct maildir_subs **added, struct maildir_subs **removed) {
    int err;

    *added = *removed = NULL;
    if (!is_empty(old_set) && !is_empty(new_set) && old_set->version != new_set->version)
        return -EINVAL;
    err = maildir_subs_new(new_set ? new_set->version : 2, added);
    if (!err)
        err = maildir_subs_new(old_set ? old_set->version : 2, removed);
    if (!err)
        err = copy_missing(new_set, old_set, *added);
    if (!err)
        err = copy_missing(old_set, new_set, *removed);
    if (err) {
        maildir_subs_free(*added);
        maildir_subs_free(*removed);
        *added = *removed = NULL;
    }
    return err;
}

int maildir_subs_apply(struct maildir_subs *s, const struct maildir_subs *added,
                       const struct maildir_subs *removed) {
    int changed = 0, r;
    size_t i;

    for (i = 0; removed && i < removed->count; i++)
        changed |= maildir_subs_remove(s, removed->lines[i]->text);
    for (i = 0; added && i < added->count; i++) {
        r = maildir_subs_add(s, added->lines[i]->text);
        if (r < 0)
            return r;
        changed |= r;
    }
    return changed;
}

/* A copy in that version. NULL is an empty set. */
static int translate(const struct maildir_subs *s, unsigned int version, char sep,
                     struct maildir_subs **out) {
    size_t i;
    int err = maildir_subs_new(version, out);

    for (i = 0; !err && s && i < s->count; i++) {
        char line[MAILDIR_SUBS_LINE_MAX + 1], *p;
        size_t len = strlen(s->lines[i]->text);
        int r;

        memcpy(line, s->lines[i]->text, len + 1);
        if (s->version < version)
            for (p = line; *p; p++)
                if (*p == sep)
                    *p = '\t';
        r = subs_add_n(*out, line, len);
        err = r < 0 ? r : 0;
    }
    if (err) {
        maildir_subs_free(*out);
        *out = NULL;
    }
    return err;
}

int maildir_subs_upgrade(struct maildir_subs *s, char sep) {
    struct maildir_subs *two, t;
    int err;

    if (s->version == 2)
        return 0;
    err = translate(s, 2, sep, &two);
    if (err)
        return err;
    t = *s;
    *s = *two;
    *two = t;
    maildir_subs_free(two);
    return 0;
}

static int compare_lines(const void *x, const void *y) {
    const struct subs_line *const *a = x, *const *b = y;

    return strcmp((*a)->text, (*b)->text);
}

/* Lines of x and y that the base lacks, sorted, to the end of `to`. */
static int add_news(const struct maildir_subs *base, const struct maildir_subs *x,
                    const struct maildir_subs *y, struct maildir_subs *to) {
    struct maildir_subs *news;
    int err = maildir_subs_new(to->version, &news);

    if (!err)
        err = copy_missing(x, base, news);
    if (!err)
        err = copy_missing(y, base, news);
    if (!err) {
        if (news->count > 1)
            qsort(news->lines, news->count, sizeof *news->lines, compare_lines);
        err = copy_missing(news, NULL, to);
    }
    maildir_subs_free(news);
    return err;
}

static int merge_same_version(const struct maildir_subs *base, const struct maildir_subs *a,
                              const struct maildir_subs *b, struct maildir_subs *to) {
    size_t i;

    for (i = 0; i < base->count; i++) {
        const char *line = base->lines[i]->text;
        int r =
            maildir_subs_has(a, line) && maildir_subs_has(b, line) ? maildir_subs_add(to, line) : 0;

        if (r < 0)
            return r;
    }
    return add_news(base, a, b, to);
}

static unsigned int merged_version(const struct maildir_subs *a, const struct maildir_subs *b) {
    if (is_empty(a) && is_empty(b))
        return (a && a->version == 2) || (b && b->version == 2) || (!a && !b) ? 2 : 1;
    if (is_empty(a))
        return b->version;
    if (is_empty(b))
        return a->version;
    return a->version > b->version ? a->version : b->version;
}

int maildir_subs_merge(const struct maildir_subs *base, const struct maildir_subs *a,
                       const struct maildir_subs *b, char sep, struct maildir_subs **out) {
    struct maildir_subs *ta = NULL, *tb = NULL, *tbase = NULL;
    unsigned int version = merged_version(a, b);
    int err;

    *out = NULL;
    if (base && version < base->version && base->count)
        version = base->version;
    err = translate(a, version, sep, &ta);
    if (!err)
        err = translate(b, version, sep, &tb);
    if (!err)
        err = translate(base, version, sep, &tbase);
    if (!err)
        err = maildir_subs_new(version, out);
    if (!err)
        err = merge_same_version(tbase, ta, tb, *out);
    maildir_subs_free(ta);
    maildir_subs_free(tb);
    maildir_subs_free(tbase);
    if (err) {
        maildir_subs_free(*out);
        *out = NULL;
    }
    return err;
}
