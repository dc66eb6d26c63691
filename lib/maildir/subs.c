/*
 * subs.c: the subscriptions file as a set of lines
 *
 * Order is kept in an array; membership is a hash by line. Differences and the three-way merge are
 * in subs_merge.c.
 *
 * Diagnostics: none are logged.
 */
#include "maildir/subs.h"

#include "maildir/subs_priv.h"
#include "util/array.h"
#include "util/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char header2[] = "V\t2\n\n";

int maildir_subs_new(unsigned int version, struct maildir_subs **out) {
    struct maildir_subs *s = calloc(1, sizeof *s);

    *out = s;
    if (!s)
        return -ENOMEM;
    s->version = version == 1 ? 1 : 2;
    return 0;
}

void maildir_subs_free(struct maildir_subs *s) {
    if (!s)
        return;
    HASH_CLEAR(hh, s->index);
    free(s->lines);
    maildir_pool_free(&s->pool);
    free(s);
}

unsigned int maildir_subs_version(const struct maildir_subs *s) {
    return s->version;
}

size_t maildir_subs_count(const struct maildir_subs *s) {
    return s->count;
}

const char *maildir_subs_at(const struct maildir_subs *s, size_t i) {
    return s->lines[i]->text;
}

struct subs_line *subs_find(const struct maildir_subs *s, const char *line, size_t len) {
    struct subs_line *l = NULL;

    HASH_FIND(hh, s->index, line, len, l);
    return l;
}

bool maildir_subs_has(const struct maildir_subs *s, const char *line) {
    return subs_find(s, line, strlen(line)) != NULL;
}

static int append_line(struct maildir_subs *s, const char *line, size_t len) {
    struct subs_line *l = maildir_pool_alloc(&s->pool, sizeof *l), **lines;

    if (!l || !(l->text = maildir_pool_strndup(&s->pool, line, len)))
        return -ENOMEM;
    lines = array_room(s->lines, s->count, sizeof *lines);
    if (!lines)
        return -ENOMEM;
    s->lines = lines;
    HASH_ADD_KEYPTR(hh, s->index, l->text, len, l);
    if (!l->hh.tbl)
        return -ENOMEM;
    s->lines[s->count++] = l;
    return 0;
}

int subs_add_n(struct maildir_subs *s, const char *line, size_t len) {
    int err;

    if (len == 0 || len > MAILDIR_SUBS_LINE_MAX || memchr(line, '\n', len) ||
        memchr(line, '\r', len) || memchr(line, '\0', len))
        return -EINVAL;
    if (subs_find(s, line, len))
        return 0;
    err = append_line(s, line, len);
    return err ? err : 1;
}

int maildir_subs_add(struct maildir_subs *s, const char *line) {
    return subs_add_n(s, line, strlen(line));
}

int maildir_subs_remove(struct maildir_subs *s, const char *line) {
    struct subs_line *l = subs_find(s, line, strlen(line));
    size_t i;

    if (!l)
        return 0;
    HASH_DEL(s->index, l);
    for (i = 0; s->lines[i] != l; i++)
        ;
    memmove(s->lines + i, s->lines + i + 1, (s->count - i - 1) * sizeof *s->lines);
    s->count--;
    return 1;
}

static int parse_lines(struct maildir_subs *s, const char *p, const char *end) {
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((eol ? eol : end) - p);
        int r;

        if (len > 0 && p[len - 1] == '\r')
            len--;
        r = len > 0 ? subs_add_n(s, p, len) : 0;
        if (r < 0)
            return r == -EINVAL ? -EBADMSG : r;
        p = eol ? eol + 1 : end;
    }
    return 0;
}

int maildir_subs_parse(const char *text, size_t len, struct maildir_subs **out) {
    const size_t n = sizeof header2 - 1;
    bool two = len >= n && memcmp(text, header2, n) == 0;
    int err;

    *out = NULL;
    if (len > MAILDIR_SUBS_TEXT_MAX)
        return -EFBIG;
    /* An empty file has no version yet; Dovecot takes it for 1. */
    err = maildir_subs_new(two ? 2 : 1, out);
    if (!err)
        err = parse_lines(*out, text + (two ? n : 0), text + len);
    if (err) {
        maildir_subs_free(*out);
        *out = NULL;
    }
    return err;
}

int maildir_subs_format(const struct maildir_subs *s, char **out, size_t *len) {
    struct buf b;
    size_t i;
    int err;

    buf_init(&b, (size_t)2 * MAILDIR_SUBS_TEXT_MAX);
    if (s->version == 2)
        buf_add_str(&b, header2);
    for (i = 0; i < s->count; i++) {
        buf_add_str(&b, s->lines[i]->text);
        buf_add_char(&b, '\n');
    }
    err = buf_error(&b);
    *out = err ? NULL : buf_steal(&b, len);
    if (!err && !*out)
        err = -ENOMEM;
    buf_free(&b);
    return err;
}
