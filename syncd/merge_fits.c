/*
 * merge_fits: do the UIDs of a one-way link's merge fit what the mailbox has become?
 *
 * Such a merge has L for its result, and may have got it after the listing. In between a process or
 * the volume's peer may have given UIDs. Of one whose message is gone again nothing is left but the
 * next UID, so that is what is asked: no message gets a number from between the two, but the one
 * that has it. What was numbered below is known to the result (M4 of lib/replica/merge_number.c),
 * and nobody gives it.
 *
 * No diagnostics: the merge is made again, from a full listing that was made under L
 * (scan_start() in driver_merge.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "maildir/uidlist.h"
#include "merge_int.h"

/* *list NULL: there is none, or none that can be read, as for who lists it (scan_uidlist()). */
static int read_list(struct merge_run *m, struct maildir_uidlist **list) {
    char *text = NULL;
    size_t n;
    int r =
        io_file_read_at(m->a.d.fd[0], "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    *list = NULL;
    if (r == 0) {
        r = maildir_uidlist_parse(text, n, list, NULL);
        if (r < 0)
            *list = NULL;
        r = r == -ENOMEM ? r : 0;
    }
    free(text);
    return r == -ENOENT ? 0 : r;
}

static bool has_uid(const struct maildir_uidlist *list, const struct merge_item *it) {
    const struct maildir_uidrec *rec = maildir_uidlist_find(list, it->name, strlen(it->name));

    return rec && rec->uid == it->state.uid;
}

static bool given_since(struct merge_run *m, const struct maildir_uidlist *list) {
    uint32_t from = m->mine->n, to = list ? maildir_uidlist_next(list) : 0;
    size_t i;

    if ((list ? maildir_uidlist_validity(list) : 0) != m->mine->v)
        return true;
    if (m->mine->v != m->result->validity)
        return false;
    for (i = 0; i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (it->present && !merge_is_left(it) && it->state.uid >= from && it->state.uid < to &&
            !has_uid(list, it))
            return true;
    }
    return false;
}

int merge_still_fits(struct merge_run *m) {
    struct maildir_uidlist *list;
    int r;

    if (!m->a.st->main || m->a.st->read_only)
        return 0;
    if (m->only_base || merge_listing_is_base(m->theirs)) /* without L: nothing may be written */
        return m->only_base ? 0 : -ESTALE;
    r = read_list(m, &list);
    if (r < 0)
        return r;
    if (given_since(m, list))
        r = -ESTALE;
    maildir_uidlist_free(list);
    return r;
}
