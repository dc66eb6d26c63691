/*
 * merge_files: keyword table, subscriptions and whole files of a merged mailbox.
 *
 * A file changed on one side is taken from there; on both, the newer wins (of two of one time, the
 * greater by content: on both nodes the same) and the other is kept in .mailfs/kept/. Changed here
 * and removed there: it lives. What a side has borrowed (replica/merge.h) is no change of its own.
 * Where a side cannot read what it has, each keeps its own, and no base has it.
 *
 * Diagnostics: a version that lost, with where it is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base.h"
#include "files.h"
#include "half.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/class.h"
#include "maildir/subs.h"
#include "maildir/uidvalidity.h"
#include "merge_int.h"
#include "replica/base_age.h"
#include "scan.h"
#include "util/buf.h"
#include "util/log.h"

/* ---- keywords ---------------------------------------------------------------------- */

/* What is kept of half a merge is said in letters. Where this merge is not carried out to its end
 * nothing else would say that they have changed. */
static void letters_change(struct merge_run *m) {
    if (!maildir_keywords_remap_is_identity(&m->rm))
        half_forget(m->a.st, &m->a.dir);
}

static bool is_listed(const struct merge_run *m, const char *text, size_t n) {
    return m->mine->keywords.len == n && (n == 0 || memcmp(m->mine->keywords.data, text, n) == 0);
}

/* The merge of a one-way link may have got L after its listing: what somebody has given a letter to
 * since would lose it. */
static int is_as_listed(struct merge_run *m) {
    char *now = NULL;
    size_t nnow = 0;
    int r = m->a.st->main ? io_file_read_at(m->a.d.fd[0], "dovecot-keywords", SCAN_KEYWORDS_MAX,
                                            &now, &nnow, NULL)
                          : 0;

    if (m->a.st->main && (r == 0 || r == -ENOENT))
        r = is_listed(m, now, nnow) ? 0 : -ESTALE;
    free(now);
    return r;
}

static int write_keywords(struct merge_run *m, const char *text, size_t n) {
    int r = is_as_listed(m);

    if (r == 0)
        r = merge_letters_move(m);
    return r == 0 ? apply_write_control(&m->a, "dovecot-keywords", text, n) : r;
}

int merge_apply_keywords(struct merge_run *m) {
    char *text;
    size_t n;
    int r;

    if (maildir_keywords_count(m->kw) == 0)
        return 0;
    r = maildir_keywords_format(m->kw, &text, &n);
    if (r < 0)
        return r;
    letters_change(m);
    if (!m->only_base && !is_listed(m, text, n))
        r = write_keywords(m, text, n);
    if (r == 0)
        r = base_text_put(m->a.st, BASE_PROPOSED, &m->a.dir, BASE_KEYWORDS, text, n);
    free(text);
    return r;
}

/* ---- subscriptions ----------------------------------------------------------------- */

static int subs_of(char *const *lines, size_t n, struct maildir_subs **out) {
    size_t i = n && strcmp(lines[0], SCAN_SUBS_V2) == 0 ? 1 : 0;
    int r = maildir_subs_new(i ? 2 : 1, out);

    for (; r >= 0 && i < n; i++)
        r = maildir_subs_add(*out, lines[i]);
    if (r < 0) {
        maildir_subs_free(*out);
        *out = NULL;
    }
    return r < 0 ? r : 0;
}

static bool same_lines(const struct maildir_subs *a, const struct maildir_subs *b) {
    size_t i, n = a ? maildir_subs_count(a) : 0;
    bool same = n == (b ? maildir_subs_count(b) : 0);

    for (i = 0; same && i < n; i++)
        same = maildir_subs_has(b, maildir_subs_at(a, i));
    return same;
}

/* The same lines in another order. Each link has a base of its own, and would put them into that
 * one's, in turn with the others, for ever. */
static bool says_the_same(const struct maildir_subs *now, const struct maildir_subs *s) {
    return now && maildir_subs_version(now) == maildir_subs_version(s) && same_lines(now, s);
}

/* A client may have changed the file since it was listed: that is no part of the result, and stays.
 */
static int write_subs(struct merge_run *m, const struct maildir_subs *listed,
                      const struct maildir_subs *s) {
    struct maildir_subs *now = NULL, *out = NULL;
    char *text = NULL, *have = NULL;
    size_t n, nhave = 0;
    bool there;
    int r =
        io_file_read_at(m->a.d.fd[0], "subscriptions", MAILDIR_SUBS_TEXT_MAX, &have, &nhave, NULL);

    there = r == 0;
    r = there ? maildir_subs_parse(have, nhave, &now) : r == -ENOENT ? 0 : r;
    if (r == 0 && !same_lines(listed, now))
        r = maildir_subs_merge(listed, now, s, '.', &out);
    if (r == 0) /* else on both nodes in the same order */
        r = maildir_subs_format(out ? out : s, &text, &n);
    if (r == 0 && !(there && nhave == n && memcmp(have, text, n) == 0) &&
        !(m->a.st->main && says_the_same(now, out ? out : s)))
        r = apply_write_control(&m->a, "subscriptions", text, n);
    maildir_subs_free(now);
    maildir_subs_free(out);
    free(have);
    free(text);
    return r;
}

/* s to the store, and result to the base. */
static int put_subs(struct merge_run *m, const struct maildir_subs *listed,
                    const struct maildir_subs *s, const struct maildir_subs *result) {
    bool locked = !m->only_base && apply_subs_lock(&m->a);
    char *text = NULL;
    size_t n;
    int r = m->only_base ? 0 : write_subs(m, listed, s);

    if (locked)
        apply_subs_unlock(&m->a);
    if (r == 0)
        r = maildir_subs_format(result, &text, &n);
    if (r == 0)
        r = base_text_put(m->a.st, BASE_PROPOSED, &m->a.dir, BASE_SUBS, text, n);
    free(text);
    return r;
}

static bool has(const struct maildir_subs *s, const char *line) {
    return s && maildir_subs_has(s, line);
}

static int set_line(struct maildir_subs *s, const char *line, bool there) {
    int r = there ? maildir_subs_add(s, line) : maildir_subs_remove(s, line);

    return r < 0 ? r : 0;
}

/* What a side has borrowed is as in the base: no change of its own. */
static int give_back(const Mfp__Listing *l, const struct maildir_subs *base,
                     struct maildir_subs **s) {
    size_t i;
    int r = 0;

    if (!*s && l->n_subs_borrowed > 0)
        r = maildir_subs_new(base ? maildir_subs_version(base) : 2, s);
    for (i = 0; r == 0 && i < l->n_subs_borrowed; i++)
        r = set_line(*s, l->subs_borrowed[i], has(base, l->subs_borrowed[i]));
    return r;
}

/* Where the other did nothing to a line that this node has borrowed, it stays here as it is. */
static int keep_borrowed(const struct merge_run *m, const struct maildir_subs *base,
                         const struct maildir_subs *theirs, struct maildir_subs *s) {
    const Mfp__Listing *l = m->mine;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < l->n_subs_borrowed; i++) {
        const char *line = l->subs_borrowed[i];
        size_t k = 0;
        if (has(theirs, line) != has(base, line))
            continue;
        while (k < l->n_subs && strcmp(l->subs[k], line) != 0)
            k++;
        r = set_line(s, line, k < l->n_subs);
    }
    return r;
}

static int subs_copy(const struct maildir_subs *s, struct maildir_subs **out) {
    char *text = NULL;
    size_t n = 0;
    int r = maildir_subs_format(s, &text, &n);

    if (r == 0)
        r = n ? maildir_subs_parse(text, n, out) : maildir_subs_new(maildir_subs_version(s), out);
    free(text);
    return r;
}

int merge_apply_subs(struct merge_run *m) {
    struct maildir_subs *a = NULL, *b = NULL, *base = NULL, *out = NULL, *here = NULL;
    struct maildir_subs *listed = NULL;
    int r = 0;

    if (!m->mine->has_subs && !m->theirs->has_subs)
        return 0;
    if (m->mine->has_subs)
        r = subs_of(m->mine->subs, m->mine->n_subs, &a);
    if (r == 0 && m->theirs->has_subs)
        r = subs_of(m->theirs->subs, m->theirs->n_subs, &b);
    if (r == 0 && m->same_base && m->mine->n_subs_base)
        r = subs_of(m->mine->subs_base, m->mine->n_subs_base, &base);
    if (r == 0 && a)
        r = subs_copy(a, &listed);
    if (r == 0)
        r = give_back(m->mine, base, &a);
    if (r == 0)
        r = give_back(m->theirs, base, &b);
    if (r == 0)
        r = maildir_subs_merge(base, a, b, '.', &out);
    if (r == 0)
        r = subs_copy(out, &here);
    if (r == 0)
        r = keep_borrowed(m, base, b, here);
    if (r == 0)
        r = put_subs(m, listed, here, out);
    maildir_subs_free(listed);
    maildir_subs_free(here);
    maildir_subs_free(a);
    maildir_subs_free(b);
    maildir_subs_free(base);
    maildir_subs_free(out);
    return r;
}

/* ---- files ------------------------------------------------------------------------- */

/* A file as both listings have it. */
struct both {
    UT_hash_handle hh;
    const Mfp__BaseFile *m, *t; /* NULL: not listed */
    const char *name;
};

static int collect_side(const Mfp__Listing *l, bool mine, struct both **all) {
    struct both *b;
    size_t i;

    for (i = 0; i < l->n_files; i++) {
        const char *name = l->files[i]->name;
        HASH_FIND_STR(*all, name, b);
        if (!b) {
            b = calloc(1, sizeof(*b));
            if (!b)
                return -ENOMEM;
            b->name = name;
            HASH_ADD_KEYPTR(hh, *all, b->name, strlen(b->name), b);
        }
        if (mine)
            b->m = l->files[i];
        else
            b->t = l->files[i];
    }
    return 0;
}

static bool is_validity(const struct both *b) {
    return strcmp(b->name, MAILDIR_UIDVALIDITY_NAME) == 0;
}

/* The value of dovecot-uidvalidity; 0: not listed, or none. */
static uint32_t value_of(const Mfp__BaseFile *f) {
    uint32_t v;

    return f && f->has_content &&
                   maildir_uidvalidity_parse((char *)f->is_content.data, f->is_content.len, &v) == 0
               ? v
               : 0;
}

/* Both have one, and they differ: the higher is the one both go on from, whoever changed it. */
static bool values_differ(const struct both *b) {
    uint32_t m = value_of(b->m), t = value_of(b->t);

    return is_validity(b) && m && t && m != t;
}

/* Of two that were both changed: does mine win? */
static bool mine_wins(const struct both *b, const struct base_file *m, const struct base_file *t) {
    int c;

    if (values_differ(b))
        return value_of(b->m) > value_of(b->t);
    if (m->type == 0 || t->type == 0)
        return m->type != 0;
    if (m->mtime_ns != t->mtime_ns)
        return m->mtime_ns > t->mtime_ns;
    if (m->type != t->type)
        return m->type > t->type;
    c = memcmp(m->sha256, t->sha256, sizeof(m->sha256));
    if (c == 0)
        c = strcmp(m->link ? m->link : "", t->link ? t->link : "");
    if (c == 0)
        c = m->mode != t->mode ? (m->mode > t->mode ? 1 : -1) : 0;
    return c != 0 ? c > 0 : m->owner >= t->owner;
}

static bool changed(bool base_valid, const struct base_file *was, const struct base_file *is) {
    return base_valid ? !files_same(was, is) : is->type != 0;
}

/* One that cannot be kept is not replaced. */
static int keep_mine(struct merge_run *m, const char *name, char kept[MERGE_KEPT_MAX]) {
    int r = merge_kept_name(name, 'l', kept);

    if (r == 0)
        r = io_link(m->a.d.fd[0], name, m->a.st->kept, kept);
    return r == -ENOENT ? 0 : r;
}

/* Or it has not been: each time that the merge is tried again it would be there once more. */
static void keep_or_not(struct merge_run *m, const char *name, const char *kept) {
    struct state *st = m->a.st;
    struct stat here, there;
    char path[256];

    if (fstatat(st->kept, kept, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (fstatat(m->a.d.fd[0], name, &here, AT_SYMLINK_NOFOLLOW) == 0 &&
        here.st_ino == there.st_ino) {
        io_unlink(st->kept, kept);
        return;
    }
    merge_kept_is(st, kept);
    log_warn("%s: %s was changed on both nodes; the older version is in .mailfs/kept/",
             state_path(st, &m->a.dir, path, sizeof(path)), name);
}

/* cur: what is here now, and was when this was listed. */
static int replace(struct merge_run *m, const struct both *b, const struct base_file *cur,
                   const struct base_file *theirs, bool conflict) {
    bool inline_content = b->t && b->t->has_content;
    char kept[MERGE_KEPT_MAX];
    int r = conflict ? keep_mine(m, b->name, kept) : 0;

    if (r < 0)
        return r;
    r = apply_put_file(&m->a, b->name, cur, theirs,
                       inline_content ? (const char *)b->t->is_content.data : NULL,
                       inline_content ? b->t->is_content.len : 0, inline_content);
    if (conflict)
        keep_or_not(m, b->name, kept);
    return r == -ENOENT || r == APPLY_NOT_DONE ? -ENODATA : r;
}

/* Files need no L, so one may have been written here since this was listed: no listing has that
 * one, and it is not to go under what the peer has. The mailbox is listed anew (-ESTALE). */
static int take_theirs(struct merge_run *m, const struct both *b, const struct base_file *mine,
                       const struct base_file *theirs, bool conflict) {
    struct base_file cur;
    int r = files_read_agreed(m->a.st, &m->a.dir, m->a.d.fd[0], b->name, &cur, NULL, NULL);

    if (r < 0)
        return r;
    r = files_same(&cur, mine) ? replace(m, b, &cur, theirs, conflict) : -ESTALE;
    base_file_clear(&cur);
    return r;
}

struct sides {
    struct base_file mw, mi, tw, ti; /* mine and theirs: was, is */
};

/*
 * Who has changed it? Each is held against its own base. Where these differ, and one side has
 * changed it against a base that is not the later one, what the other has is news to that side,
 * though that one's base has it already: acknowledged, and it met another change.
 */
static void who_changed(const struct merge_run *m, const struct sides *f, bool *mc, bool *tc) {
    bool one_base = files_same(&f->mw, &f->tw);
    int later = base_age_cmp(m->mine->base_version, m->theirs->base_version);
    bool mine = changed(m->mine->base_valid, &f->mw, &f->mi);
    bool theirs = changed(m->theirs->base_valid, &f->tw, &f->ti);

    *mc = mine || (theirs && !one_base && later >= 0 && !files_same(&f->mi, &f->tw));
    *tc = theirs || (mine && !one_base && later <= 0 && !files_same(&f->ti, &f->mw));
}

static bool is_borrowed(const Mfp__BaseFile *f) {
    return f && f->borrowed;
}

/* One side has borrowed it: what the other has is the result, and is taken here only if that one
 * has changed it. */
static int merge_borrowed(struct merge_run *m, const struct both *b, const struct sides *f) {
    bool mine = is_borrowed(b->t);
    int r = 0;

    if (!mine && b->t && changed(m->theirs->base_valid, &f->tw, &f->ti))
        r = take_theirs(m, b, &f->mi, &f->ti, false);
    return r == 0
               ? base_file_put(m->a.st, BASE_PROPOSED, &m->a.dir, b->name, mine ? &f->mi : &f->ti)
               : r;
}

static bool is_unread(const Mfp__BaseFile *f) {
    return f && f->unread;
}

static int merge_one(struct merge_run *m, const struct both *b) {
    static const struct base_file none;
    struct sides f;
    bool mc, tc, mine;

    if (is_unread(b->m) || is_unread(b->t))
        return base_file_put(m->a.st, BASE_PROPOSED, &m->a.dir, b->name, &none);
    files_from_state(b->m ? b->m->was : b->t->was, &f.mw);
    files_from_state(b->m ? b->m->is : m->mine->full ? NULL : b->t->was, &f.mi);
    files_from_state(b->t ? b->t->was : b->m->was, &f.tw);
    files_from_state(b->t ? b->t->is : m->theirs->full ? NULL : b->m->was, &f.ti);
    if (is_borrowed(b->m) != is_borrowed(b->t))
        return merge_borrowed(m, b, &f);
    who_changed(m, &f, &mc, &tc);
    if (values_differ(b))
        mc = tc = true;
    mine = files_same(&f.mi, &f.ti) || (mc && !tc) || (mc == tc && mine_wins(b, &f.mi, &f.ti));
    if (!mine) {
        int r = take_theirs(m, b, &f.mi, &f.ti, mc && f.mi.type && !is_validity(b));
        if (r < 0)
            return r;
    }
    return base_file_put(m->a.st, BASE_PROPOSED, &m->a.dir, b->name, mine ? &f.mi : &f.ti);
}

int merge_apply_files(struct merge_run *m) {
    struct both *all = NULL, *b, *tmp;
    int r = collect_side(m->mine, true, &all);

    if (r == 0)
        r = collect_side(m->theirs, false, &all);
    HASH_ITER(hh, all, b, tmp) {
        enum maildir_class cl = maildir_class_of(MAILDIR_DIR_CONTAINER, b->name, strlen(b->name));
        if (r == 0 && (cl == MAILDIR_OTHER || cl == MAILDIR_UIDVALIDITY))
            r = merge_one(m, b);
        HASH_DEL(all, b);
        free(b);
    }
    return r;
}

int merge_apply_subdirs(struct merge_run *m) {
    struct base_dir rec;
    size_t i;
    int r = 0;

    for (i = 0; r >= 0 && i < m->theirs->n_subdirs; i++) {
        int sub = (int)m->theirs->subdirs[i]->sub;
        if (sub >= MFP__SUB__NEW && sub <= MFP__SUB__TMP)
            r = store_sub_open(m->a.st, &m->a.d, sub, true);
    }
    if (r < 0 || base_dir_get_in(m->a.st, BASE_PROPOSED, &m->a.dir, &rec) < 0)
        return r < 0 ? r : 0;
    for (i = MFP__SUB__NEW; i <= MFP__SUB__TMP; i++) {
        if (store_sub_open(m->a.st, &m->a.d, (int)i, false) >= 0)
            rec.subdirs |= (uint8_t)(1u << i);
    }
    return base_dir_put_in(m->a.st, BASE_PROPOSED, &m->a.dir, &rec);
}
