/*
 * merge_unread: what a merge leaves to the node that has it, since it cannot be read there (M10 of
 * lib/replica/merge_decide.c).
 *
 * No diagnostics but of merge_run.
 */
#include <errno.h>
#include <string.h>

#include "base.h"
#include "merge_int.h"
#include "unread.h"

bool merge_is_unread(const struct merge_item *it) {
    return (it->what & MERGE_UNREAD) != 0;
}

/* *some: it was. */
static int forget_file_in_base(struct merge_run *m, const char *name, bool *some) {
    static const struct base_file none;
    struct base_file file;
    int r = base_file_get(m->a.st, BASE_AGREED, &m->a.dir, name, &file);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    base_file_clear(&file);
    *some = true;
    return base_file_put(m->a.st, BASE_AGREED, &m->a.dir, name, &none);
}

static int forget_files_in_base(struct merge_run *m, const Mfp__Listing *l, bool *some) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < l->n_files; i++) {
        if (l->files[i]->unread)
            r = forget_file_in_base(m, l->files[i]->name, some);
    }
    return r;
}

/* Likewise. */
static int forget_in_base(struct merge_run *m, const struct merge_item *it, bool *some) {
    struct base_msg msg;
    int r = base_msg_get(m->a.st, BASE_AGREED, &m->a.dir, it->name, &msg);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    *some = true;
    msg.sub = MFP__SUB__SELF;
    return base_msg_put(m->a.st, BASE_AGREED, &m->a.dir, it->name, &msg);
}

/*
 * The base of a node whose peer was lost, say, has it, and the result has not. What only the
 * earlier of two bases has was removed by agreement: so this one must not come back with it, by a
 * power cut before the next checkpoint. A base that lacks something removes nothing. Of a file both
 * bases may have it: no node's power cut is to make the other's doing a removal.
 */
int merge_unread_begin(struct merge_run *m) {
    bool some = false;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (merge_is_unread(it) && (it->at_a || (it->what & MERGE_SPLIT)))
            r = forget_in_base(m, it, &some);
    }
    if (r == 0)
        r = forget_files_in_base(m, m->mine, &some);
    if (r == 0)
        r = forget_files_in_base(m, m->theirs, &some);
    return r == 0 && some ? state_checkpoint(m->a.st, 0, NULL, 0) : r;
}

static bool is_listed_unread(const Mfp__Listing *l, const char *name) {
    for (size_t i = 0; i < l->n_files; i++)
        if (l->files[i]->unread && strcmp(l->files[i]->name, name) == 0)
            return true;
    return false;
}

static bool stays(const void *arg, enum unread_what what, const char *base) {
    const struct merge_run *m = arg;
    const struct merge_item *it;

    if (what == UNREAD_FILE)
        return is_listed_unread(m->mine, base);
    it = merge_result_find(m->result, base);
    return it && merge_is_unread(it) && it->at_a;
}

/* Also what is not listed any more, since it has gone. */
void merge_unread_settled(struct merge_run *m) {
    for (size_t i = 0; i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (it->split_from && merge_is_unread(it) && it->at_a)
            unread_rename(m->a.st, &m->a.dir, it->split_from, it->name);
    }
    unread_forget_others(m->a.st, &m->a.dir, stays, m);
}
