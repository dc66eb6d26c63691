/*
 * fuzz_subscriptions - subscriptions files from foreign bytes
 *
 * The input is a base and two versions of it with 0xff bytes between them. The merge must not
 * depend on the order of the two, and what is different must make the one out of the other.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/subs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int what) {
    if (!what)
        abort();
}

/* Takes a part off the input; NULL if it is no such file. */
static struct maildir_subs *take(const uint8_t **data, size_t *size) {
    const uint8_t *cut = *size ? memchr(*data, 0xff, *size) : NULL;
    size_t len = cut ? (size_t)(cut - *data) : *size;
    struct maildir_subs *s = NULL, *again;
    char *text;
    size_t n;

    if (maildir_subs_parse((const char *)*data, len, &s) == 0) {
        require(maildir_subs_format(s, &text, &n) == 0);
        require(maildir_subs_parse(text, n, &again) == 0);
        require(maildir_subs_count(again) == maildir_subs_count(s));
        maildir_subs_free(again);
        free(text);
    }
    *data += len + (cut != NULL);
    *size -= len + (cut != NULL);
    return s;
}

static void check_merge(const struct maildir_subs *base, const struct maildir_subs *a,
                        const struct maildir_subs *b) {
    struct maildir_subs *m, *n;
    char *tm, *tn;
    size_t lm, ln;

    require(maildir_subs_merge(base, a, b, '.', &m) == 0);
    require(maildir_subs_merge(base, b, a, '.', &n) == 0);
    require(maildir_subs_format(m, &tm, &lm) == 0);
    require(maildir_subs_format(n, &tn, &ln) == 0);
    require(lm == ln && memcmp(tm, tn, lm) == 0);
    free(tm);
    free(tn);
    maildir_subs_free(m);
    maildir_subs_free(n);
}

static void check_diff(struct maildir_subs *a, const struct maildir_subs *b) {
    struct maildir_subs *added, *removed;

    if (maildir_subs_diff(a, b, &added, &removed) != 0)
        return;
    require(maildir_subs_apply(a, added, removed) >= 0);
    require(maildir_subs_apply(a, added, removed) == 0);
    require(maildir_subs_count(a) == (b ? maildir_subs_count(b) : 0));
    maildir_subs_free(added);
    maildir_subs_free(removed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct maildir_subs *base = take(&data, &size), *a = take(&data, &size),
                        *b = take(&data, &size);

    check_merge(base, a, b);
    if (a)
        check_diff(a, b);
    maildir_subs_free(base);
    maildir_subs_free(a);
    maildir_subs_free(b);
    return 0;
}
