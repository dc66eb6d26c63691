/*
 * keywords.c: the table of keyword names
 *
 * An array of names by index. Reading forgives what Dovecot forgives, counted in *ignored. The
 * merge of two tables is in keywords_merge.c.
 *
 * Diagnostics: none are logged.
 */
#include "maildir/keywords.h"

#include "maildir/keywords_priv.h"
#include "util/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (8u << 20)

/* Not strcasecmp(): what is one keyword must not depend on the locale. */
int keywords_casecmp(const char *a, const char *b) {
    for (;; a++, b++) {
        int ca = (unsigned char)*a, cb = (unsigned char)*b;

        if (ca >= 'A' && ca <= 'Z')
            ca += 'a' - 'A';
        if (cb >= 'A' && cb <= 'Z')
            cb += 'a' - 'A';
        if (ca != cb || ca == 0)
            return ca - cb;
    }
}

int maildir_keywords_new(struct maildir_keywords **out) {
    *out = calloc(1, sizeof **out);
    return *out ? 0 : -ENOMEM;
}

void maildir_keywords_free(struct maildir_keywords *kw) {
    if (!kw)
        return;
    maildir_pool_free(&kw->pool);
    free(kw);
}

size_t maildir_keywords_count(const struct maildir_keywords *kw) {
    return kw->count;
}

unsigned int maildir_keywords_end(const struct maildir_keywords *kw) {
    return kw->end;
}

const char *maildir_keywords_at(const struct maildir_keywords *kw, unsigned int i) {
    return i < kw->end ? kw->names[i] : NULL;
}

int maildir_keywords_find(const struct maildir_keywords *kw, const char *name) {
    unsigned int i;

    for (i = 0; i < kw->end; i++)
        if (kw->names[i] && keywords_casecmp(kw->names[i], name) == 0)
            return (int)i;
    return -ENOENT;
}

static int put_n(struct maildir_keywords *kw, unsigned int i, const char *name, size_t len) {
    char *copy;
    int have;

    if (i >= MAILDIR_KEYWORDS_MAX)
        return -ERANGE;
    if (len == 0 || len > MAILDIR_KEYWORD_LEN_MAX || memchr(name, '\n', len) ||
        memchr(name, '\r', len) || memchr(name, '\0', len))
        return -EINVAL;
    copy = maildir_pool_strndup(&kw->pool, name, len);
    if (!copy)
        return -ENOMEM;
    have = maildir_keywords_find(kw, copy);
    if (have >= 0 || maildir_keywords_at(kw, i))
        return have == (int)i ? 0 : -EEXIST;
    kw->names[i] = copy;
    kw->count++;
    if (i >= kw->end)
        kw->end = i + 1;
    return 0;
}

int maildir_keywords_put(struct maildir_keywords *kw, unsigned int i, const char *name) {
    return put_n(kw, i, name, strlen(name));
}

int maildir_keywords_add(struct maildir_keywords *kw, const char *name) {
    int i = maildir_keywords_find(kw, name), err;

    if (i >= 0)
        return i;
    for (i = 0; (unsigned)i < kw->end && kw->names[i]; i++)
        ;
    if ((unsigned)i >= MAILDIR_KEYWORDS_MAX)
        return -ENOSPC;
    err = maildir_keywords_put(kw, (unsigned)i, name);
    return err ? err : i;
}

int maildir_keywords_name_unknown(struct maildir_keywords *kw, uint32_t used) {
    unsigned int i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        char name[24];
        int err;

        if (!((used >> i) & 1) || maildir_keywords_at(kw, i))
            continue;
        snprintf(name, sizeof name, "unknown-%u", i);
        err = maildir_keywords_put(kw, i, name);
        if (err)
            return err;
    }
    return 0;
}

/* "index name"; false if it is none. */
static bool split_line(const char *p, size_t len, unsigned int *index, const char **name,
                       size_t *name_len) {
    size_t i;
    unsigned int v = 0;

    for (i = 0; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
        if (v > MAILDIR_KEYWORDS_MAX)
            return false;
        v = v * 10 + (unsigned)(p[i] - '0');
    }
    if (i == 0 || i >= len || p[i] != ' ')
        return false;
    *index = v;
    *name = p + i + 1;
    *name_len = len - i - 1;
    return true;
}

static int parse_line(struct maildir_keywords *kw, const char *line, size_t len, size_t *ignored) {
    const char *name;
    unsigned int i;
    size_t n;
    int err = -EINVAL;

    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (split_line(line, len, &i, &name, &n)) {
        if (maildir_keywords_at(kw, i))
            err = -EEXIST; /* even the same line twice is one too many */
        else
            err = put_n(kw, i, name, n);
    }
    if (err == -ENOMEM)
        return err;
    *ignored += err != 0;
    return 0;
}

int maildir_keywords_parse(const char *text, size_t len, struct maildir_keywords **out,
                           size_t *ignored) {
    const char *p = text, *end = text + len;
    size_t dummy;
    int err;

    if (!ignored)
        ignored = &dummy;
    *ignored = 0;
    *out = NULL;
    if (len > TEXT_MAX)
        return -EFBIG;
    err = maildir_keywords_new(out);
    while (!err && p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((eol ? eol : end) - p);

        err = parse_line(*out, p, n, ignored);
        p = eol ? eol + 1 : end;
    }
    if (err) {
        maildir_keywords_free(*out);
        *out = NULL;
    }
    return err;
}

int maildir_keywords_format(const struct maildir_keywords *kw, char **out, size_t *len) {
    struct buf b;
    unsigned int i;
    int err;

    buf_init(&b, TEXT_MAX);
    for (i = 0; i < kw->end; i++)
        if (kw->names[i])
            buf_printf(&b, "%u %s\n", i, kw->names[i]);
    err = buf_error(&b);
    *out = err ? NULL : buf_steal(&b, len);
    if (!err && !*out)
        err = -ENOMEM;
    buf_free(&b);
    return err;
}
