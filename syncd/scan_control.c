/*
 * scan_control: what dovecot-uidlist, dovecot-keywords and subscriptions say now.
 *
 * Of keywords and subscriptions what the base has of them is listed beside it.
 *
 * Diagnostics: a uidlist that is broken, which counts as missing.
 */
#include "scan_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "io/file.h"
#include "maildir/subs.h"
#include "state_int.h"

int scan_uidlist(struct scan *s) {
    struct maildir_uidlist_report rep;
    char *text;
    size_t n;
    int r =
        io_file_read_at(s->d.fd[0], "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = maildir_uidlist_parse(text, n, &s->list, &rep);
    free(text);
    if (r == -ENODATA)
        return 0;
    if (r < 0) {
        state_fail(s->st, r, s->dir, "dovecot-uidlist is broken: taken for missing");
        return r == -ENOMEM ? r : 0;
    }
    s->out->v = maildir_uidlist_validity(s->list);
    s->out->n = maildir_uidlist_next(s->list);
    s->out->header_ext = build_str(maildir_uidlist_header_rest(s->list));
    return s->out->header_ext ? 0 : -ENOMEM;
}

int scan_keywords(struct scan *s) {
    char *text;
    size_t n;
    int r = io_file_read_at(s->d.fd[0], "dovecot-keywords", SCAN_KEYWORDS_MAX, &text, &n, NULL);

    if (r == 0) {
        r = build_bytes(&s->out->keywords, text, n);
        free(text);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    r = base_text_get(s->st, BASE_AGREED, s->dir, BASE_KEYWORDS, &text, &n);
    if (r == 0) {
        r = build_bytes(&s->out->keywords_base, text, n);
        free(text);
    }
    return r == -ENOENT ? 0 : r;
}

/* The lines, and before them the mark of version 2. */
static int push_subs(char ***v, size_t *n, const char *text, size_t len) {
    struct maildir_subs *s;
    int r = maildir_subs_parse(text, len, &s);

    if (r < 0)
        return r;
    if (maildir_subs_version(s) == 2)
        r = build_push(v, n, strdup(SCAN_SUBS_V2));
    if (r == 0)
        r = build_push_lines(v, n, s);
    maildir_subs_free(s);
    return r;
}

/* The lines of a lender's base; NULL: it is not known to have any. */
static int lender_subs(struct state *lender, const struct mailfs_id *dir,
                       struct maildir_subs **out) {
    char *text = NULL;
    size_t n = 0;
    int r = base_text_get(lender, BASE_PROPOSED, dir, BASE_SUBS, &text, &n);

    *out = NULL;
    if (r == 0)
        r = maildir_subs_parse(text, n, out);
    free(text);
    return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static bool has_line(char *const *v, size_t n, const char *line) {
    size_t i;

    for (i = 0; i < n; i++)
        if (strcmp(v[i], line) == 0)
            return true;
    return false;
}

/* The lines of `v` that `other` lacks, and that a lender has, or (wanted false) has not. */
static int borrow_lines(struct scan *s, const struct maildir_subs *lent, char *const *v, size_t n,
                        char *const *other, size_t n_other, bool wanted) {
    Mfp__Listing *l = s->out;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        if (strcmp(v[i], SCAN_SUBS_V2) == 0 || has_line(other, n_other, v[i]) ||
            (lent && maildir_subs_has(lent, v[i])) != wanted ||
            has_line(l->subs_borrowed, l->n_subs_borrowed, v[i]))
            continue;
        char *line = strdup(v[i]);
        r = build_push(&l->subs_borrowed, &l->n_subs_borrowed, line);
        if (r < 0)
            free(line);
    }
    return r;
}

int scan_borrow_subs(struct scan *s) {
    Mfp__Listing *l = s->out;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < s->n_lenders; i++) {
        struct maildir_subs *lent;
        if (!scan_knows_dir(s->lenders[i], s->dir))
            continue;
        r = lender_subs(s->lenders[i], s->dir, &lent);
        if (r == 0)
            r = borrow_lines(s, lent, l->subs, l->n_subs, l->subs_base, l->n_subs_base, true);
        if (r == 0)
            r = borrow_lines(s, lent, l->subs_base, l->n_subs_base, l->subs, l->n_subs, false);
        maildir_subs_free(lent);
    }
    return r;
}

int scan_subs(struct scan *s) {
    char *text;
    size_t n;
    int r = io_file_read_at(s->d.fd[0], "subscriptions", MAILDIR_SUBS_TEXT_MAX, &text, &n, NULL);

    if (r == 0) {
        s->out->has_subs = true;
        r = push_subs(&s->out->subs, &s->out->n_subs, text, n);
        free(text);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    r = base_text_get(s->st, BASE_AGREED, s->dir, BASE_SUBS, &text, &n);
    if (r == 0) {
        r = push_subs(&s->out->subs_base, &s->out->n_subs_base, text, n);
        free(text);
    }
    /* All of them: beside another base that is what the other end has. */
    s->n_lost += s->follows && !s->out->has_subs && s->out->n_subs_base > 0;
    return r == -ENOENT ? 0 : r;
}
