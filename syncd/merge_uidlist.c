/*
 * merge_uidlist: the merged records to the list of UIDs here.
 *
 * Diagnostics: a UID that is another message's here than in the result.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "base.h"
#include "io/file.h"
#include "maildir/uidlist.h"
#include "merge_int.h"

struct their_rec {
    UT_hash_handle hh;
    const Mfp__UidRec *rec;
};

/* The peer's records with extensions, by base name. */
static struct their_rec *their_recs(const Mfp__Listing *l, struct their_rec **memory) {
    struct their_rec *all = NULL, *v = calloc(l->n_recs + 1, sizeof(*v)), *found;
    size_t i;

    *memory = v;
    for (i = 0; v && i < l->n_recs; i++) {
        const char *base = l->recs[i]->bname;
        v[i].rec = l->recs[i];
        HASH_FIND_STR(all, base, found);
        if (!found)
            HASH_ADD_KEYPTR(hh, all, base, strlen(base), &v[i]);
    }
    return all;
}

static const char *ext_of(struct their_rec *all, const char *base) {
    struct their_rec *r;

    HASH_FIND_STR(all, base, r);
    return r ? r->rec->ext : NULL;
}

const char *merge_header(const struct merge_run *m) {
    const char *mine = m->mine->header_ext, *theirs = m->theirs->header_ext;

    if (!*mine || !*theirs)
        return *mine ? mine : theirs;
    if (m->mine->v != m->theirs->v)
        return m->mine->v == m->result->validity ? mine : theirs;
    return strcmp(mine, theirs) <= 0 ? mine : theirs;
}

/*
 * The list here, if it has the result's V; *old is then what it says. Otherwise an empty one: of
 * another V every number is another, the listings were full then, and all are numbered here.
 */
static int read_own(struct merge_run *m, struct maildir_uidlist **list, char **old, size_t *n) {
    char *text = NULL;
    int r =
        io_file_read_at(m->a.d.fd[0], "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, n, NULL);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0)
        r = maildir_uidlist_parse(text, *n, list, NULL);
    free(text);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && maildir_uidlist_validity(*list) == m->result->validity)
        return maildir_uidlist_format(*list, old, n);
    maildir_uidlist_free(*list);
    *list = NULL;
    return maildir_uidlist_new(m->result->validity, 1, NULL, list);
}

struct kept_ext {
    char *ext;
    bool stays; /* the record that is there is as it shall be */
};

/* A UID that a published message got is its UID under its other name, too. That of one which has
 * lost its name (a split) is no other message's of that name. */
static void forget_old_names(const struct merge_run *m, struct maildir_uidlist *list) {
    size_t i;

    for (i = 0; i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (it->split_from && it->content == 'a')
            maildir_uidlist_remove(list, it->split_from);
    }
    for (i = 0; i < m->mine->n_msgs; i++) {
        if (merge_has_new_name(m, i))
            maildir_uidlist_remove(list, m->mine->msgs[i]->bname);
    }
}

static void drop_absent(struct merge_run *m, struct maildir_uidlist *list) {
    size_t i;

    for (i = 0; i < m->result->count; i++) {
        if (!m->result->items[i].present && !merge_is_left(&m->result->items[i]))
            maildir_uidlist_remove(list, m->result->items[i].name);
    }
}

/* The list here has a record that the listing did not. */
static int two_of_one_uid(struct merge_run *m, const struct maildir_uidlist *list,
                          const struct merge_item *it) {
    const struct maildir_uidrec *here = maildir_uidlist_find_uid(list, it->state.uid);

    m->told = true;
    return state_fail(m->a.st, -EEXIST, &m->a.dir,
                      "cannot merge: UID %u is %.24s here, and %.24s there", it->state.uid,
                      here->base, it->name);
}

static int put_item(struct merge_run *m, struct maildir_uidlist *list, const struct merge_item *it,
                    const char *ext) {
    int r = maildir_uidlist_put(list, it->state.uid, ext, it->name);

    if (r != -EEXIST)
        return r;
    drop_absent(m, list);
    r = maildir_uidlist_put(list, it->state.uid, ext, it->name);
    if (r == -EEXIST)
        r = two_of_one_uid(m, list, it);
    return r;
}

/* As changed_since() of merge_apply.c. */
static bool numbered_since(const struct merge_run *m, const struct merge_item *it,
                           const struct maildir_uidrec *rec) {
    return m->a.st->main && it->at_a && rec && rec->uid != it->now_a.uid;
}

/* It cannot be read where it is, so it is not here. */
static bool is_elsewhere(const struct merge_item *it) {
    return merge_is_unread(it) && !it->at_a;
}

/* The result's records into the list. Extensions: ours, else the peer's. What is going to be
 * removed keeps its record: a file without one would be a new message for Dovecot, and for the next
 * merge, if this one is broken off before the file is gone. Dovecot drops records without files.
 * own: it is the list that was here, so what is left as it is has its record. */
static int put_items(struct merge_run *m, struct maildir_uidlist *list, bool own) {
    struct kept_ext *ext = calloc(m->result->count + 1, sizeof(*ext));
    struct their_rec *memory, *theirs = their_recs(m->theirs, &memory);
    size_t i;
    int r = ext && memory ? 0 : -ENOMEM;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        const struct maildir_uidrec *rec = maildir_uidlist_find(list, it->name, strlen(it->name));
        if (rec && *rec->ext)
            ext[i].ext = strdup(rec->ext);
        ext[i].stays = own && (merge_is_left(it) || numbered_since(m, it, rec));
        if (it->present && !ext[i].stays)
            maildir_uidlist_remove(list, it->name);
    }
    forget_old_names(m, list);
    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (it->present && it->state.uid && !ext[i].stays && !is_elsewhere(it))
            r = put_item(m, list, it, ext[i].ext ? ext[i].ext : ext_of(theirs, it->name));
    }
    for (i = 0; ext && i < m->result->count; i++)
        free(ext[i].ext);
    free(ext);
    HASH_CLEAR(hh, theirs);
    free(memory);
    if (r == 0)
        maildir_uidlist_raise_next_to(list, m->result->next);
    return r;
}

/* Compared with the file as it would be written with what it says now: Dovecot's own may differ
 * from that, by a stale N in its header, without saying anything else. */
int merge_apply_uidlist(struct merge_run *m) {
    struct maildir_uidlist *list = NULL;
    char *old = NULL, *text = NULL;
    size_t nold = 0, n;
    int r;

    if (m->result->validity == 0)
        return 0;
    r = read_own(m, &list, &old, &nold);
    if (r == 0)
        r = put_items(m, list, old != NULL);
    if (r == 0)
        r = maildir_uidlist_set_header_rest(list, merge_header(m));
    if (r == 0)
        r = maildir_uidlist_format(list, &text, &n);
    if (r == 0 && !(old && n == nold && memcmp(old, text, n) == 0))
        r = apply_write_uidlist(&m->a, list);
    if (r == 0 && !old)
        r = apply_renumbered(&m->a);
    free(old);
    free(text);
    maildir_uidlist_free(list);
    return r;
}

/* By what both agreed on it is the UID of what has this name, whatever has become of that. */
static bool is_agreed(const struct merge_run *m, const struct maildir_uidrec *rec) {
    struct base_msg msg;

    return base_msg_get(m->a.st, BASE_AGREED, &m->a.dir, rec->base, &msg) == 0 &&
           msg.uid == rec->uid;
}

static int forget_half(const struct merge_run *m, const struct merge_item *it,
                       struct maildir_uidlist *list) {
    const struct maildir_uidrec *rec = maildir_uidlist_find(list, it->name, strlen(it->name));

    return rec && !is_agreed(m, rec) && maildir_uidlist_remove(list, it->name) == 0;
}

int merge_forget_halves(struct merge_run *m) {
    struct maildir_uidlist *list = NULL;
    char *old = NULL;
    size_t n = 0, i, some = 0;
    int r = 0;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (!(it->what & MERGE_SPLIT) || it->split_from || it->content != 'b')
            continue;
        if (!list)
            r = read_own(m, &list, &old, &n);
        some += r == 0 && old && forget_half(m, it, list);
    }
    if (r == 0 && some > 0)
        r = apply_write_uidlist(&m->a, list);
    free(old);
    maildir_uidlist_free(list);
    return r;
}

/*
 * On a standby no Dovecot can lock the list and drop the records of what is removed now. One that
 * reads the mailbox there takes them for messages, and ends the session at a FETCH of them.
 */
int merge_drop_records(struct merge_run *m) {
    struct maildir_uidlist *list = NULL;
    char *old = NULL;
    size_t n = 0;
    int r = read_own(m, &list, &old, &n);

    if (r == 0 && old) {
        maildir_uidlist_raise_next_to(list, m->result->next);
        drop_absent(m, list);
        r = apply_write_uidlist(&m->a, list);
    }
    free(old);
    maildir_uidlist_free(list);
    return r;
}
