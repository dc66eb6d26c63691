/*
 * merge_apply: the merged messages to the store and the base; their records: merge_uidlist.c.
 *
 * Order as for a transaction: messages that come and change, uidlist, then removals. A removed
 * message is moved to .mailfs/kept/, so that it is lost on no disk before everything that was added
 * is on both (a move between mailboxes is a removal here and an addition there).
 *
 * No diagnostics but of merge_run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "asks.h"
#include "base.h"
#include "content_int.h"
#include "hold.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/name.h"
#include "merge_int.h"
#include "pending.h"
#include "stage_private.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

int merge_name_of(const char *base, const struct merge_state *s, char out[MAILDIR_NAME_MAX + 1]) {
    int r;

    if (s->info)
        r = maildir_name_format_info(out, MAILDIR_NAME_MAX + 1, base, strlen(base), s->info,
                                     strlen(s->info));
    else
        r = maildir_name_format(out, MAILDIR_NAME_MAX + 1, base, strlen(base), s->in_cur, s->flags,
                                maildir_keywords_to_letters(s->keywords));
    return r < 0 ? r : 0;
}

static int sub_of(const struct merge_state *s) {
    return s->in_cur ? MFP__SUB__CUR : MFP__SUB__NEW;
}

/* What the peer listed of an item, or of what it was split from. */
static const Mfp__BaseMsg *their_msg(struct merge_run *m, const struct merge_item *it) {
    const struct merge_item *from = it;

    if (it->split_from)
        from = merge_result_find(m->result, it->split_from);
    size_t at = from && from->b ? (size_t)(from->b - m->et) : m->theirs->n_msgs;

    return at < m->theirs->n_msgs ? m->theirs->msgs[at] : NULL;
}

static const Mfp__BaseMsg *my_msg(struct merge_run *m, const struct merge_item *it) {
    size_t at = it->a ? (size_t)(it->a - m->em) : m->mine->n_msgs;

    return at < m->mine->n_msgs ? m->mine->msgs[at] : NULL;
}

/* Nothing of it is touched here: what has come of the message since it was listed is not either. */
bool merge_is_left(const struct merge_item *it) {
    return (it->what & MERGE_LEFT) || (merge_is_unread(it) && !it->at_a);
}

/* Does the result need the peer's content here? */
static bool needs_theirs(const struct merge_item *it) {
    if (!it->present || merge_is_left(it))
        return false;
    if (it->split_from || it->content == 'b')
        return it->content == 'b';
    return !it->at_a;
}

/* The stage item it comes from. */
static int staged_key(struct merge_run *m, const struct merge_item *it, char key[STAGE_NAME_MAX],
                      char file[STAGE_NAME_MAX]) {
    const Mfp__BaseMsg *b = their_msg(m, it);
    int r;

    stage_fetch_name(&m->a.dir, MFP__SUB__CUR, b ? b->bname : it->name, key);
    r = stage_lookup(m->a.st, key, file);
    if (r == 0 || !b || !b->prepared)
        return r;
    stage_prep_key(b->prepared->incarnation, b->prepared->seq, key);
    return content_staged(m->a.st, key) && content_fits(m->a.st, key, b->meta)
               ? stage_lookup(m->a.st, key, file)
               : -ENOENT;
}

/* Likewise where it has gone since it was listed: apply_present() looks for it in the stage. */
static bool may_take_theirs(struct merge_run *m, const struct merge_item *it) {
    return needs_theirs(it) || (it->present && !merge_is_left(it) && !it->split_from &&
                                !index_find(&m->a.ix, it->name));
}

int merge_contents_ready(struct merge_run *m) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if (!may_take_theirs(m, it))
            continue;
        /* It can have come by itself since (a transaction of both): then nothing is needed. */
        if (staged_key(m, it, key, file) == 0)
            r = stage_keys_add_unsynced(m->a.st, &m->unsynced, key);
        else if (needs_theirs(it) &&
                 (it->split_from || it->content || !index_find(&m->a.ix, it->name)))
            r = -ENODATA;
    }
    for (i = 0; r == 0 && i < m->theirs->n_files; i++) {
        stage_fetch_name(&m->a.dir, MFP__SUB__SELF, m->theirs->files[i]->name, key);
        r = stage_keys_add_unsynced(m->a.st, &m->unsynced, key);
    }
    return r;
}

/* What came when the others were synced (driver_merge.c), what was prepared since then with commit
 * = memory or async, or is fetched for a transaction that is not in the journal. */
int merge_contents_sync(struct merge_run *m) {
    return stage_settle_keys(m->a.st, &m->unsynced);
}

/*
 * What the peer lists by name is not to be published under another; and not by a syncd that comes
 * after this one either: once the peer has heard of the result it does not say so again. Not where
 * it lists a copy: the message itself is not merged yet, and this may be all that is here of it.
 */
static void drop_prepared(struct merge_run *m, const Mfp__PrepId *id) {
    struct stage_prep prep;
    struct stage_pub pub;

    if (!id)
        return;
    prep = (struct stage_prep){id->incarnation, id->seq};
    if (!stage_prep_is_of(m->a.st, &prep, &m->a.dir))
        return;
    /* Nor is it about to be published any more. */
    if (stage_published(m->a.st, prep.incarnation, prep.seq, &pub) == 0 && !pub.done &&
        mailfs_id_equal(&pub.dir, &m->a.dir))
        stage_unpublish(m->a.st, prep.incarnation, prep.seq);
    stage_drop(m->a.st, &prep);
}

void merge_release_staged(struct merge_run *m) {
    char key[STAGE_NAME_MAX];
    size_t i;

    for (i = 0; i < m->theirs->n_msgs; i++) {
        stage_fetch_name(&m->a.dir, MFP__SUB__CUR, m->theirs->msgs[i]->bname, key);
        stage_release(m->a.st, key);
        if (!m->theirs->msgs[i]->unread)
            drop_prepared(m, m->theirs->msgs[i]->prepared);
    }
    for (i = 0; i < m->theirs->n_files; i++) {
        stage_fetch_name(&m->a.dir, MFP__SUB__SELF, m->theirs->files[i]->name, key);
        stage_release(m->a.st, key);
    }
}

/* ---- messages ---------------------------------------------------------------------- */

static void told(struct merge_run *m, int from_sub, const char *from, int sub, const char *name) {
    struct invals *iv = &m->res.inval;

    if (from_sub)
        inval_add(iv, &m->a.dir, from_sub, from, NULL, false);
    if (sub)
        inval_add(iv, &m->a.dir, sub, NULL, name, false);
    if (from_sub)
        inval_poke(iv, &m->a.dir, from_sub);
    if (sub)
        inval_poke(iv, &m->a.dir, sub);
}

/*
 * Something has the name already: this message, from an attempt before; or another one, which the
 * listing did not say, as a third has its base name, too. That becomes a message of its own. 1: so
 * it did.
 */
static int place_beside(struct merge_run *m, const char *key, const char *file,
                        const Mfp__Meta *meta, int sub, const char *name) {
    int fd = m->a.d.fd[sub], r = apply_is_message(fd, name, m->a.st->stage, file);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r > 0 && !str_starts(key, "p-")) /* which may be another message's as well */
        stage_release(m->a.st, key);
    if (r > 0)
        return 0;
    r = r == 0 ? apply_make_way(&m->a, sub, name) : 0;
    if (r == 0 || r == -ENOENT)
        r = stage_place(m->a.st, key, meta, fd, name);
    return r == 0 ? 1 : r;
}

/* From .mailfs/kept to its name. 1: another one had it, as in place_beside(). */
static int put_over(struct merge_run *m, const char *kept, int sub, const char *name, bool same) {
    int fd = m->a.d.fd[sub], made = -ENOENT;
    int r = io_rename(m->a.st->kept, kept, fd, name, same ? 0 : RENAME_NOREPLACE);

    if (r != -EEXIST)
        return r;
    made = apply_make_way(&m->a, sub, name);
    if (made < 0 && made != -ENOENT)
        return made;
    r = io_rename(m->a.st->kept, kept, fd, name, RENAME_NOREPLACE);
    return r == 0 ? made == 0 : r;
}

/* In the place of `over`, whose file has another name as well: there always is one of its base
 * name. */
static int place_over(struct merge_run *m, const char *key, const char *file, const Mfp__Meta *meta,
                      int sub, const char *name, const struct index_msg *over) {
    bool same = over->sub == sub && strcmp(over->name, name) == 0;
    char kept[MERGE_KEPT_MAX];
    int r = merge_kept_name(name, 'r', kept), unlinked = 0;

    /* an attempt before may have ended just before the unlink */
    if (r == 0 && (same || apply_is_message(m->a.d.fd[sub], name, m->a.st->stage, file) <= 0)) {
        r = stage_place(m->a.st, key, meta, m->a.st->kept, kept);
        if (r == 0)
            r = put_over(m, kept, sub, name, same);
    }
    if (r < 0 || same)
        return r;
    told(m, over->sub, over->name, 0, NULL);
    unlinked = io_unlink(m->a.d.fd[over->sub], over->name);
    return unlinked < 0 && unlinked != -ENOENT ? unlinked : r;
}

/* From the stage to its name. over: or NULL. */
static int place(struct merge_run *m, const struct merge_item *it, const struct index_msg *over) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], name[MAILDIR_NAME_MAX + 1];
    const Mfp__BaseMsg *b = their_msg(m, it);
    int sub = sub_of(&it->state), fd, r = merge_name_of(it->name, &it->state, name);

    if (m->a.st->read_only)
        return -EROFS;
    if (r == 0)
        r = staged_key(m, it, key, file);
    if (r < 0)
        return r == -ENOENT || r == -ESTALE ? -ENODATA : r;
    fd = store_sub_open(m->a.st, &m->a.d, sub, true);
    if (fd < 0)
        return fd;
    r = over ? place_over(m, key, file, b ? b->meta : NULL, sub, name, over)
             : stage_place(m->a.st, key, b ? b->meta : NULL, fd, name);
    if (r == -EEXIST && !over)
        r = place_beside(m, key, file, b ? b->meta : NULL, sub, name);
    if (r < 0)
        return r == -ENOENT || r == -ESTALE ? -ENODATA : r;
    m->a.size_count++;
    m->a.size_bytes += b && b->meta ? (int64_t)b->meta->size : 0;
    told(m, 0, NULL, sub, name);
    if (r > 0)
        return -ESTALE; /* that other one is to be listed */
    return index_set(&m->a.ix, name, sub);
}

/* The file `have` of ours becomes the item. */
static int move(struct merge_run *m, const struct index_msg *have, const struct merge_item *it) {
    char name[MAILDIR_NAME_MAX + 1], old[MAILDIR_NAME_MAX + 1];
    int from_sub = have->sub, sub = sub_of(&it->state);
    int r = merge_name_of(it->name, &it->state, name);

    if (r < 0 || (from_sub == sub && strcmp(have->name, name) == 0))
        return r;
    if (m->a.st->read_only)
        return -EROFS;
    str_copy(old, sizeof(old), have->name);
    r = apply_rename(&m->a, from_sub, old, sub, name);
    if (r > 0)
        return -ESTALE; /* another one was not listed, having the same base name */
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* removed meanwhile: that will be told */
    told(m, from_sub, old, sub, name);
    index_remove(&m->a.ix, it->split_from ? it->split_from : it->name);
    return index_set(&m->a.ix, name, sub);
}

/*
 * The merge of a one-way link has L for its result, not from its listing on. What a transaction, or
 * the merge of another link, has done to a message in between stays; it has made this link's next
 * merge due, which brings it over.
 */
static bool changed_since(struct merge_run *m, const struct merge_item *it,
                          const struct index_msg *have) {
    const Mfp__BaseMsg *mine = my_msg(m, it);
    struct base_msg was;

    if (!m->a.st->main || !it->at_a)
        return false;
    if (mine)
        return mine->is && ((int)mine->is->sub != (int)have->sub ||
                            !merge_letters_same(m, mine->is->info, index_info(have)));
    return base_msg_get(m->a.st, BASE_AGREED, &m->a.dir, it->name, &was) == 0 &&
           (was.sub != have->sub || !merge_letters_same(m, was.info, index_info(have)));
}

/* The file `have` of ours goes. */
static int drop(struct merge_run *m, const struct index_msg *have, const struct merge_item *it) {
    struct stat sb;
    int fd, sub = have->sub, r;

    if (m->a.st->read_only)
        return -EROFS;
    fd = store_sub_open(m->a.st, &m->a.d, sub, false);
    if (fd < 0)
        return fd;
    if (fstatat(fd, have->name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    r = apply_drop(m->a.st, &m->a.dir, fd, have->name, true);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    m->a.size_count--;
    m->a.size_bytes -= sb.st_size;
    told(m, sub, have->name, 0, NULL);
    index_remove(&m->a.ix, it->name);
    return 0;
}

/* Nobody has decided what becomes of it, as it has come since the listing: it is what theirs would
 * be here, or is to be listed. */
static int come_since(struct merge_run *m, const struct index_msg *have,
                      const struct merge_item *it) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], name[MAILDIR_NAME_MAX + 1];
    int r = merge_name_of(it->name, &it->state, name), fd;

    if (r == 0)
        r = staged_key(m, it, key, file);
    if (r < 0)
        return r == -ENOENT || r == -ESTALE ? -ENODATA : r;
    if (have->sub != sub_of(&it->state) || strcmp(have->name, name) != 0)
        return -ESTALE;
    fd = store_sub_open(m->a.st, &m->a.d, have->sub, false);
    r = fd < 0 ? fd : apply_is_message(fd, name, m->a.st->stage, file);
    return r > 0 ? 0 : r == 0 || r == -ENOENT ? -ESTALE : r;
}

/* What is here under the name of a split has its other name already: keep_both(), perhaps of a
 * merge that was broken off. */
static bool is_half(struct merge_run *m, const struct index_msg *have,
                    const struct merge_item *it) {
    char name[MAILDIR_NAME_MAX + 1];
    const struct index_msg *as;

    if (!(it->what & MERGE_SPLIT))
        return false;
    merge_split_name(it->name, it->now_a.content, name);
    as = index_find(&m->a.ix, name);
    return as && stage_is_same_file(m->a.d.fd[have->sub], have->name, m->a.d.fd[as->sub], as->name);
}

/*
 * Ours loses its name to one of theirs, and has both until that one comes. Were there none of that
 * name for a moment, and this merge broken off then, the next would take it for removed here.
 */
static int keep_both(struct merge_run *m, const struct index_msg *have,
                     const struct merge_item *it) {
    char name[MAILDIR_NAME_MAX + 1];
    int sub = sub_of(&it->state), fd, r = merge_name_of(it->name, &it->state, name);

    if (r == 0 && m->a.st->read_only)
        r = -EROFS;
    if (r < 0)
        return r;
    fd = store_sub_open(m->a.st, &m->a.d, sub, true);
    if (fd < 0)
        return fd;
    r = io_link(m->a.d.fd[have->sub], have->name, fd, name);
    if (r == -EEXIST)
        r = stage_is_same_file(m->a.d.fd[have->sub], have->name, fd, name) ? 0 : -ESTALE;
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* removed meanwhile: that will be told */
    told(m, 0, NULL, sub, name);
    return index_set(&m->a.ix, name, sub);
}

/* The second half of a split: theirs comes, ours goes from its name. */
static int apply_half(struct merge_run *m, const struct index_msg *have,
                      const struct merge_item *it) {
    const struct merge_item *stays = merge_result_find(m->result, it->split_from);

    if (it->content == 'b')
        return place(m, it, NULL);
    if (!have)
        return 0;
    return stays && needs_theirs(stays) ? keep_both(m, have, it) : move(m, have, it);
}

/* Theirs comes in the place of ours: that was removed there, or has another name by now, or (a
 * split that had been carried out already) it is a third message. */
static int replace(struct merge_run *m, const struct index_msg *have, const struct merge_item *it) {
    char name[MAILDIR_NAME_MAX + 1];
    int r;

    if (is_half(m, have, it))
        return place(m, it, have);
    if (it->what & MERGE_SPLIT) {
        str_copy(name, sizeof(name), have->name);
        r = m->a.st->read_only ? -EROFS : apply_make_way(&m->a, have->sub, name);
    } else {
        r = drop(m, have, it);
    }
    return r == 0 || r == -ENOENT ? place(m, it, NULL) : r;
}

static int apply_present(struct merge_run *m, const struct merge_item *it) {
    const char *base = it->split_from ? it->split_from : it->name;
    const struct index_msg *have = index_find(&m->a.ix, base);

    if (it->split_from)
        return apply_half(m, have, it);
    if (!have && merge_is_unread(it))
        return 0; /* it has gone since it was listed */
    if (have && it->content != 'b')
        return changed_since(m, it, have) ? 0 : move(m, have, it);
    if (have)
        return it->at_a ? replace(m, have, it) : come_since(m, have, it);
    if (it->at_a && it->content != 'b' && hold_covers(m->a.st, &m->a.dir))
        return 0; /* listed as there, and removed */
    return place(m, it, NULL);
}

static int apply_absent(struct merge_run *m, const struct merge_item *it) {
    const struct index_msg *have = index_find(&m->a.ix, it->name);

    return have ? drop(m, have, it) : 0;
}

/* Second halves of splits first: they leave their old name to the other content. */
static int pass(struct merge_run *m, bool splits, bool present) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->result->count; i++) {
        const struct merge_item *it = &m->result->items[i];
        if ((it->split_from != NULL) != splits || it->present != present || merge_is_left(it))
            continue;
        r = present ? apply_present(m, it) : apply_absent(m, it);
    }
    return r;
}

/* Mine was published when its origin was gone: it gets the name its origin gave it. */
static int rename_published(struct merge_run *m, size_t at) {
    const Mfp__BaseMsg *b = m->mine->msgs[at];
    const char *base = m->em[at].base;
    char to[MAILDIR_NAME_MAX + 1];
    struct index_msg *ix = index_find(&m->a.ix, b->bname);
    int r, fd, sub;

    if (!ix)
        return 0;
    sub = ix->sub;
    fd = store_sub_open(m->a.st, &m->a.d, sub, false);
    r = str_printf(to, sizeof(to), "%s%s%s", base, *index_info(ix) ? ":" : "", index_info(ix));
    if (r == 0)
        r = fd < 0 ? fd : io_rename(fd, ix->name, fd, to, RENAME_NOREPLACE);
    if (r < 0)
        return r == -EEXIST ? -ESTALE : r; /* not listed, so it was not so when this was listed */
    inval_add(&m->res.inval, &m->a.dir, sub, ix->name, to, false);
    index_remove(&m->a.ix, b->bname);
    r = index_set(&m->a.ix, to, sub);
    return r == 0 ? stage_unpublish(m->a.st, b->prepared->incarnation, b->prepared->seq) : r;
}

bool merge_has_new_name(const struct merge_run *m, size_t at) {
    return strcmp(m->em[at].base, m->mine->msgs[at]->bname) != 0;
}

static int rename_all_published(struct merge_run *m) {
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->mine->n_msgs; i++) {
        if (merge_has_new_name(m, i))
            r = rename_published(m, i);
    }
    return r;
}

int merge_apply_msgs(struct merge_run *m) {
    int r = asks_still(); /* what is carried out in part looks like this node's own doing (M11) */

    if (r == 0)
        r = rename_all_published(m);
    if (r == 0)
        r = merge_forget_halves(m);
    if (r == 0)
        r = pass(m, true, true);
    if (r == 0)
        r = pass(m, false, true);
    if (r == 0)
        r = merge_apply_uidlist(m);
    if (r == 0)
        r = pass(m, false, false);
    if (r == 0 && m->a.st->main && m->result->stats.removed_a)
        r = merge_drop_records(m);
    return r;
}

/* ---- base -------------------------------------------------------------------------- */

static void meta_into(struct base_msg *b, const Mfp__Meta *m) {
    b->mode = m->mode;
    b->owner = m->uid;
    b->group = m->gid;
    b->mtime_ns = m->mtime_ns;
    b->size = m->size;
}

/* Most have none, and to say so of each would be half of what the base keeps of a merge in memory.
 */
static void forget_prep(struct merge_run *m, const char *base) {
    struct base_prep prep;

    if (base_prep_get(m->a.st, &m->a.dir, base, &prep) != -ENOENT)
        base_prep_put(m->a.st, BASE_PROPOSED, &m->a.dir, base, NULL);
}

static int base_item(struct merge_run *m, const struct merge_item *it) {
    const Mfp__BaseMsg *mine = my_msg(m, it), *theirs = their_msg(m, it);
    char name[MAILDIR_NAME_MAX + 1];
    struct base_msg b;
    const char *colon;
    int r = base_msg_get(m->a.st, BASE_PROPOSED, &m->a.dir, it->name, &b);

    if (r < 0 && r != -ENOENT)
        return r;
    pending_del(m->a.st, &m->a.dir, it->name);
    if (mine)
        pending_del(m->a.st, &m->a.dir, mine->bname);
    if (!merge_is_unread(it))
        forget_prep(m, mine ? mine->bname : it->name);
    if (!it->present || merge_is_unread(it)) {
        b.sub = MFP__SUB__SELF;
        return base_msg_put(m->a.st, BASE_PROPOSED, &m->a.dir, it->name, &b);
    }
    r = merge_name_of(it->name, &it->state, name);
    if (r < 0)
        return r;
    colon = name + strlen(it->name);
    b.sub = (uint8_t)sub_of(&it->state);
    b.uid = it->state.uid;
    str_copy(b.info, sizeof(b.info), *colon ? colon + 1 : "");
    if (mine && mine->meta && it->content != 'b')
        meta_into(&b, mine->meta);
    else if (theirs && theirs->meta)
        meta_into(&b, theirs->meta);
    return base_msg_put(m->a.st, BASE_PROPOSED, &m->a.dir, it->name, &b);
}

int merge_base_msgs(struct merge_run *m) {
    struct base_uidlist ul = {m->result->validity, m->result->next, (char *)merge_header(m)};
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < m->result->count; i++)
        r = base_item(m, &m->result->items[i]);
    if (r == 0 && m->result->validity)
        r = base_uidlist_put(m->a.st, BASE_PROPOSED, &m->a.dir, &ul);
    return r;
}
