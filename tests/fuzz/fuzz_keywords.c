/*
 * fuzz_keywords - dovecot-keywords from foreign bytes, and one table out of two
 *
 * The input is two tables with a 0xff byte between them. Both must format to what reads as the
 * same; the merge must not depend on their order, and lose no name. Nor may a name that has another
 * letter in it go where its own side has a name, while there are letters that neither has given.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/keywords.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int what) {
    if (!what)
        abort();
}

static struct maildir_keywords *parse(const uint8_t *data, size_t size) {
    struct maildir_keywords *kw, *again;
    size_t len, ignored;
    char *text;

    require(maildir_keywords_parse((const char *)data, size, &kw, NULL) == 0);
    require(maildir_keywords_format(kw, &text, &len) == 0);
    require(maildir_keywords_parse(text, len, &again, &ignored) == 0);
    require(ignored == 0 && maildir_keywords_count(again) == maildir_keywords_count(kw));
    maildir_keywords_free(again);
    free(text);
    return kw;
}

/* What is on its way to another letter is the same keyword. */
static const char *plain(const char *name) {
    size_t n = strlen(MAILDIR_KEYWORD_MOVING);

    while (name && strncmp(name, MAILDIR_KEYWORD_MOVING, n) == 0 && name[n])
        name += n;
    return name;
}

static void check_remap(const struct maildir_keywords *from, const struct maildir_keywords *to,
                        const struct maildir_keywords_remap *r) {
    unsigned i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        const char *name = plain(maildir_keywords_at(from, i));

        require((name != NULL) == (r->to[i] >= 0));
        if (name)
            require(maildir_keywords_find(to, name) == r->to[i]);
    }
}

/* How many letters neither has. */
static unsigned free_in_both(const struct maildir_keywords *a, const struct maildir_keywords *b) {
    unsigned i, n = 0;

    for (i = 0; i < MAILDIR_LETTERS; i++)
        n += !maildir_keywords_at(a, i) && !maildir_keywords_at(b, i);
    return n;
}

static void check_way(const struct maildir_keywords *from, const struct maildir_keywords_remap *r) {
    unsigned i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        const char *name = plain(maildir_keywords_at(from, i)), *there;

        if (!name || r->to[i] == (int)i || r->to[i] >= MAILDIR_LETTERS)
            continue;
        there = plain(maildir_keywords_at(from, (unsigned)r->to[i]));
        require(!there || r->to[r->to[i]] == r->to[i]);
    }
}

static void check_merge(const struct maildir_keywords *a, const struct maildir_keywords *b) {
    struct maildir_keywords *m, *n;
    struct maildir_keywords_remap ra, rb, rc, rd;
    char *tm, *tn;
    size_t lm, ln;

    if (maildir_keywords_merge(a, b, &m, &ra, &rb) != 0)
        return;
    require(maildir_keywords_merge(b, a, &n, &rc, &rd) == 0);
    require(maildir_keywords_format(m, &tm, &lm) == 0);
    require(maildir_keywords_format(n, &tn, &ln) == 0);
    require(lm == ln && memcmp(tm, tn, lm) == 0);
    require(memcmp(&ra, &rd, sizeof ra) == 0 && memcmp(&rb, &rc, sizeof rb) == 0);
    check_remap(a, m, &ra);
    check_remap(b, m, &rb);
    if (maildir_keywords_count(a) + maildir_keywords_count(b) <= free_in_both(a, b)) {
        check_way(a, &ra);
        check_way(b, &rb);
    }
    free(tm);
    free(tn);
    maildir_keywords_free(m);
    maildir_keywords_free(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0xff, size) : NULL;
    size_t first = cut ? (size_t)(cut - data) : size;
    struct maildir_keywords *a = parse(data, first);
    struct maildir_keywords *b = cut ? parse(cut + 1, size - first - 1) : parse(data, 0);

    check_merge(a, b);
    maildir_keywords_free(a);
    maildir_keywords_free(b);
    return 0;
}
