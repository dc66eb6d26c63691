/*
 * restore: a mailbox of a standby as it was agreed on
 *
 * In the order of a transaction: keyword table, messages, uidlist, subscriptions. Nothing is marked
 * before: what a crash leaves half done is found by the next verification, while a mark would have
 * the damage merged at the next contact.
 *
 * What the base does not have of the list, the fields beside a UID (a GUID, a POP3 UIDL), is taken
 * from the bad one, line by line as far as its lines can be read.
 *
 * Diagnostics: none; the errors are returned.
 */
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "apply_int.h"
#include "check.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/uidlist.h"
#include "mend.h"
#include "merge_run.h"
#include "scan.h"
#include "util/buf.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define UIDLIST "dovecot-uidlist"

struct restore {
    struct apply a;
    struct apply_result res;
    const Mfp__Listing *l;
    bool lent[MERGE_PARTS];
    unsigned sync_errors; /* before anything was written */
    struct maildir_uidlist *old, *list;
};

/* ---- messages ---------------------------------------------------------------------- */

static void told(struct restore *t, int from_sub, const char *from, int sub, const char *name) {
    struct invals *iv = &t->res.inval;

    inval_add(iv, &t->a.dir, from_sub, from, NULL, false);
    inval_add(iv, &t->a.dir, sub, NULL, name, false);
    inval_poke(iv, &t->a.dir, from_sub);
    inval_poke(iv, &t->a.dir, sub);
}

/* A second file of that message has its name already. */
static int drop_second(struct restore *t, int fd, const char *name) {
    int r = mend_keep_bad(t->a.st, &t->a.dir, fd, name);

    return r == 0 ? io_unlink(fd, name) : r;
}

static int restore_msg(struct restore *t, const Mfp__BaseMsg *m) {
    char name[MAILDIR_NAME_MAX + 1], old[MAILDIR_NAME_MAX + 1];
    const struct index_msg *have = index_find(&t->a.ix, m->bname);
    int from_sub, sub = (int)m->was->sub, from, to, r;

    r = str_printf(name, sizeof(name), "%s%s%s", m->bname, *m->was->info ? ":" : "", m->was->info);
    if (r < 0 || !have || (have->sub == sub && strcmp(have->name, name) == 0))
        return r < 0 ? r : 0;
    from_sub = have->sub;
    str_copy(old, sizeof(old), have->name);
    from = store_sub_open(t->a.st, &t->a.d, from_sub, false);
    to = store_sub_open(t->a.st, &t->a.d, sub, true);
    if (from < 0 || to < 0)
        return from < 0 ? from : to;
    r = io_rename(from, old, to, name, RENAME_NOREPLACE);
    if (r == -EEXIST)
        r = drop_second(t, from, old);
    if (r < 0)
        return r;
    told(t, from_sub, old, sub, name);
    index_remove(&t->a.ix, m->bname);
    return index_set(&t->a.ix, name, sub);
}

static int restore_msgs(struct restore *t) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < t->l->n_msgs; i++) {
        const Mfp__BaseMsg *m = t->l->msgs[i];
        if (m->is && m->was && !m->borrowed)
            r = restore_msg(t, m);
    }
    return r;
}

/* ---- what the bad list still says ---------------------------------------------------- */

/* One line by itself; one that cannot be read, or whose UID another line has, says nothing. */
static int take_line(struct maildir_uidlist *to, const char *line, size_t len) {
    struct maildir_uidlist *one = NULL;
    const struct maildir_uidrec *rec;
    struct buf b;
    int r;

    buf_init(&b, len + 64);
    r = buf_printf(&b, "3 V1 N1\n%.*s\n", (int)len, line);
    if (r == 0)
        r = maildir_uidlist_parse(b.p, b.len, &one, NULL);
    rec = r == 0 && maildir_uidlist_count(one) == 1 ? maildir_uidlist_at(one, 0) : NULL;
    if (rec && !maildir_uidlist_find(to, rec->base, strlen(rec->base)))
        r = maildir_uidlist_put(to, rec->uid, rec->ext, rec->base);
    maildir_uidlist_free(one);
    buf_free(&b);
    return r == -ENOMEM ? r : 0;
}

static int take_lines(struct maildir_uidlist *to, const char *text, size_t n) {
    const char *end = text + n, *eol;
    int r = 0;

    for (; r == 0 && text < end; text = eol + 1) {
        eol = memchr(text, '\n', (size_t)(end - text));
        if (!eol)
            eol = end;
        r = take_line(to, text, (size_t)(eol - text));
    }
    return r;
}

static int read_old(struct restore *t) {
    char *text = NULL;
    size_t n = 0;
    int r = io_file_read_at(t->a.d.fd[0], UIDLIST, MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    if (r == 0)
        r = maildir_uidlist_parse(text, n, &t->old, NULL);
    if (r < 0 && r != -ENOMEM && !t->old)
        r = maildir_uidlist_new(1, 1, NULL, &t->old);
    if (r == 0 && maildir_uidlist_count(t->old) == 0 && text)
        r = take_lines(t->old, text, n);
    free(text);
    return r;
}

/* ---- the list ---------------------------------------------------------------------- */

static int put_agreed(void *arg, const char *name, const struct base_msg *msg) {
    struct restore *t = arg;
    const struct maildir_uidrec *old = maildir_uidlist_find(t->old, name, strlen(name));

    return msg->uid ? maildir_uidlist_put(t->list, msg->uid, old ? old->ext : NULL, name) : 0;
}

/*
 * Of what is borrowed, and of what only this node has: as it is here, where its number is free. Of
 * the latter no base says the number, and the list that does is a bad one: below the next UID that
 * was agreed on it may have been an expunged message's.
 */
static int put_own(struct restore *t, const Mfp__BaseMsg *m, uint32_t agreed_next) {
    const struct maildir_uidrec *old = maildir_uidlist_find(t->old, m->bname, strlen(m->bname));
    int r;

    if (m->was && !m->borrowed)
        return 0;
    maildir_uidlist_remove(t->list, m->bname);
    if (!m->is || !old || (!m->borrowed && old->uid < agreed_next))
        return 0;
    r = maildir_uidlist_put(t->list, old->uid, old->ext, m->bname);
    return r == -EEXIST ? 0 : r;
}

static int make_list(struct restore *t, const struct base_uidlist *ul) {
    size_t i;
    int r = maildir_uidlist_new(ul->v, 1, NULL, &t->list);

    if (r == 0 && ul->header_ext)
        r = maildir_uidlist_set_header_rest(t->list, ul->header_ext);
    if (r == 0)
        r = base_each_msg(t->a.st, &t->a.dir, put_agreed, t);
    for (i = 0; r == 0 && i < t->l->n_msgs; i++)
        r = put_own(t, t->l->msgs[i], ul->n);
    if (r == 0)
        maildir_uidlist_raise_next_to(t->list, ul->n);
    return r;
}

/* Only of what is about to be replaced: a good one would take the place of a bad one kept before.
 */
static int keep_control(struct restore *t, const char *name) {
    return mend_keep_bad(t->a.st, &t->a.dir, t->a.d.fd[0], name);
}

/* Nobody has agreed on such a file. */
static int drop_control(struct restore *t, const char *name) {
    int r = io_unlink(t->a.d.fd[0], name);

    if (r == 0)
        inval_add(&t->res.inval, &t->a.dir, MFL__SUB__SELF, name, NULL, false);
    return r == -ENOENT ? 0 : r;
}

static bool list_differs(const struct restore *t) {
    size_t i;

    for (i = 0; i < t->l->n_msgs; i++) {
        const Mfp__BaseMsg *m = t->l->msgs[i];
        if (m->is && m->was && !m->borrowed && m->is->uid != m->was->uid)
            return true;
    }
    return !merge_part_is_base(t->l, MERGE_NUMBERS);
}

static int restore_uidlist(struct restore *t) {
    struct base_uidlist ul = {0};
    int r;

    if (t->lent[MERGE_NUMBERS] || !list_differs(t))
        return 0;
    r = keep_control(t, UIDLIST);
    if (r < 0)
        return r;
    r = base_uidlist_get(t->a.st, BASE_AGREED, &t->a.dir, &ul);
    if (r == -ENOENT)
        return drop_control(t, UIDLIST);
    if (r == 0)
        r = read_old(t);
    if (r == 0)
        r = make_list(t, &ul);
    if (r == 0)
        r = apply_write_uidlist(&t->a, t->list);
    if (r == 0)
        r = apply_renumbered(&t->a);
    free(ul.header_ext);
    return r;
}

/* ---- the texts --------------------------------------------------------------------- */

static int restore_text(struct restore *t, enum merge_part part, enum base_text which,
                        const char *name) {
    char *text = NULL;
    size_t n = 0;
    int r;

    if (t->lent[part] || merge_part_is_base(t->l, part))
        return 0;
    r = keep_control(t, name);
    if (r < 0)
        return r;
    r = base_text_get(t->a.st, BASE_AGREED, &t->a.dir, which, &text, &n);
    if (r == 0)
        r = apply_write_control(&t->a, name, text, n);
    else if (r == -ENOENT)
        r = drop_control(t, name);
    free(text);
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

static int restore_all(struct restore *t) {
    int r = store_dir_open(t->a.st, &t->a.dir, &t->a.d);

    if (r == 0)
        r = index_read(t->a.st, &t->a.d, &t->a.ix);
    if (r == 0)
        r = restore_text(t, MERGE_KEYWORDS, BASE_KEYWORDS, "dovecot-keywords");
    if (r == 0)
        r = restore_msgs(t);
    if (r == 0)
        r = restore_uidlist(t);
    if (r == 0)
        r = restore_text(t, MERGE_SUBS, BASE_SUBS, "subscriptions");
    if (r == 0 && t->res.inval.n)
        r = state_sync(t->a.st, t->sync_errors);
    return r;
}

int restore_mailbox(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                    size_t n_lenders, struct invals *inval) {
    struct restore t = {.a = {.st = st, .dir = *dir, .d = {.fd = {-1, -1, -1, -1}}},
                        .sync_errors = state_sync_errors(st)};
    Mfp__Listing *l;
    int part, r = scan_mailbox_for(st, dir, false, lenders, n_lenders, &l);

    if (r < 0)
        return r;
    t.l = l;
    t.a.out = &t.res;
    for (part = 0; part < MERGE_PARTS; part++)
        t.lent[part] = check_is_lent(st, dir, lenders, n_lenders, part);
    r = l->gone || l->full || !l->base_valid ? -ENOENT : restore_all(&t);
    index_free(&t.a.ix);
    store_dir_close(&t.a.d);
    maildir_uidlist_free(t.old);
    maildir_uidlist_free(t.list);
    mfp__listing__free_unpacked(l, NULL);
    *inval = t.res.inval;
    return r;
}
