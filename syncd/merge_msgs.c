/*
 * merge_msgs: from two listings to the entries that lib/replica/merge compares.
 *
 * Keyword letters mean what each side's table says; before anything is compared they become members
 * of the merged table. No diagnostics but of merge_run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maildir/name.h"
#include "merge_int.h"
#include "stage.h"
#include "util/str.h"

/* ---- states ------------------------------------------------------------------------ */

/* Taken apart as a file name: the checks of lib/maildir are for these. */
static int parse_info(const char *info, char buf[MAILDIR_NAME_MAX + 8], struct maildir_name *out) {
    int n = snprintf(buf, MAILDIR_NAME_MAX + 8, "b%s%s", *info ? ":" : "", info);

    return n < 0 || n > MAILDIR_NAME_MAX ? -EINVAL : maildir_name_parse(buf, (size_t)n, out);
}

static int state_of(const Mfp__MsgState *s, const struct maildir_keywords_remap *map, uint64_t size,
                    struct merge_state *out) {
    char buf[MAILDIR_NAME_MAX + 8];
    struct maildir_name n;
    int r = parse_info(s->info, buf, &n);

    memset(out, 0, sizeof(*out));
    if (r < 0)
        return r;
    out->uid = s->uid;
    out->in_cur = s->sub == MFP__SUB__CUR;
    out->content = size;
    if (n.standard) {
        out->flags = n.flags;
        out->keywords = maildir_keywords_to_set(map, n.keywords);
    } else {
        out->info = s->info;
    }
    return 0;
}

static bool there(const Mfp__MsgState *s) {
    return s && (s->sub == MFP__SUB__NEW || s->sub == MFP__SUB__CUR);
}

static int entry_of(const Mfp__BaseMsg *b, const struct maildir_keywords_remap *map,
                    struct merge_entry *e) {
    int r = 0;

    memset(e, 0, sizeof(*e));
    e->base = b->bname;
    e->was = there(b->was);
    e->is = there(b->is);
    e->borrowed = b->borrowed;
    e->put_back = b->put_back;
    e->lost = b->lost;
    e->unread = b->unread;
    if (e->was)
        r = state_of(b->was, map, 0, &e->old);
    if (r == 0 && e->is)
        r = state_of(b->is, map, b->meta && !b->lost ? b->meta->size : 0, &e->now);
    e->half_here = there(b->half_mine);
    e->half_there = there(b->half_theirs);
    e->half = e->half_here || e->half_there;
    if (r == 0 && e->half_here)
        r = state_of(b->half_mine, map, 0, &e->half_mine);
    if (r == 0 && e->half_there)
        r = state_of(b->half_theirs, map, 0, &e->half_theirs);
    return r;
}

/* Listed with a prepared content by who published it, or named it. */
static bool is_of_prepared(const Mfp__BaseMsg *b) {
    return b->prepared && there(b->is);
}

static int entries_of(const Mfp__Listing *l, const struct maildir_keywords_remap *map,
                      struct merge_entry **out, size_t *n) {
    struct merge_entry *e;
    size_t i, room = l->n_msgs + 1; /* drop_second_name() takes one for each that is published */
    int r = 0;

    for (i = 0; i < l->n_msgs; i++)
        room += is_of_prepared(l->msgs[i]);
    e = calloc(room, sizeof(*e));
    *n = l->n_msgs;

    *out = e;
    if (!e)
        return -ENOMEM;
    for (i = 0; r == 0 && i < l->n_msgs; i++)
        r = entry_of(l->msgs[i], map, &e[i]);
    return r;
}

int merge_entries(struct merge_run *m) {
    int r = entries_of(m->mine, &m->rm, &m->em, &m->n_em);

    return r == 0 ? entries_of(m->theirs, &m->rt, &m->et, &m->n_et) : r;
}

/* ---- keywords ---------------------------------------------------------------------- */

static uint32_t letters_of(const Mfp__MsgState *s) {
    char buf[MAILDIR_NAME_MAX + 8];
    struct maildir_name n;

    return there(s) && parse_info(s->info, buf, &n) == 0 && n.standard ? n.keywords : 0;
}

/* A side's table, with a name for every letter its messages use. */
static int table_of(const Mfp__Listing *l, struct maildir_keywords **kw) {
    uint32_t used = 0;
    size_t i;
    int r = l->keywords.len
                ? maildir_keywords_parse((const char *)l->keywords.data, l->keywords.len, kw, NULL)
                : maildir_keywords_new(kw);

    for (i = 0; r == 0 && i < l->n_msgs; i++)
        used |= letters_of(l->msgs[i]->was) | letters_of(l->msgs[i]->is) |
                letters_of(l->msgs[i]->half_mine) | letters_of(l->msgs[i]->half_theirs);
    return r == 0 ? maildir_keywords_name_unknown(*kw, used) : r;
}

/* Messages that are not listed keep their letters: so the letters of the base must mean the same.
 */
static bool base_letters_stay(const Mfp__Listing *l, const struct maildir_keywords_remap *map) {
    struct maildir_keywords *base = NULL;
    bool stay = true;
    int i;

    if (l->keywords_base.len == 0)
        return true;
    if (maildir_keywords_parse((const char *)l->keywords_base.data, l->keywords_base.len, &base,
                               NULL) < 0)
        return false;
    for (i = 0; i < (int)MAILDIR_LETTERS; i++) {
        if (maildir_keywords_at(base, (unsigned)i) && map->to[i] != i)
            stay = false;
    }
    maildir_keywords_free(base);
    return stay;
}

int merge_keywords_join(struct merge_run *m) {
    struct maildir_keywords *a = NULL, *b = NULL;
    int r = table_of(m->mine, &a);

    if (r == 0)
        r = table_of(m->theirs, &b);
    if (r == 0)
        r = maildir_keywords_merge(a, b, &m->kw, &m->rm, &m->rt);
    maildir_keywords_free(a);
    maildir_keywords_free(b);
    if (r < 0 && r != -ENOMEM) { /* -EEXIST, -ENOSPC say something else of a disk */
        m->told = true;
        r = state_fail(m->a.st, -EBADMSG, &m->a.dir, "cannot merge the tables of keywords");
    }
    if (r == 0 && !m->both_full &&
        !(base_letters_stay(m->mine, &m->rm) && base_letters_stay(m->theirs, &m->rt)))
        r = -ESTALE;
    return r;
}

/* ---- one message, two names -------------------------------------------------------- */

struct prep_ref {
    UT_hash_handle hh;
    uint64_t key[2];
    size_t at; /* in theirs->msgs */
};

static bool listed(const Mfp__Listing *l, const char *base) {
    size_t i;

    for (i = 0; i < l->n_msgs; i++) {
        if (strcmp(l->msgs[i]->bname, base) == 0)
            return true;
    }
    return false;
}

/* One side has it, under the name it has there; the other had it, and removed it. */
static void join_removed(struct merge_entry *is, struct merge_entry *removed) {
    removed->base = is->base;
    if (!is->was) {
        is->was = true;
        is->old = removed->old;
    }
}

static int join_names(struct merge_run *m, size_t mine_at, size_t theirs_at) {
    const Mfp__BaseMsg *b = m->mine->msgs[mine_at], *t = m->theirs->msgs[theirs_at];
    struct stage_pub pub;

    /* A side has both names: two messages, on both nodes. A duplicate is no loss. */
    if (strcmp(b->bname, t->bname) != 0 &&
        (listed(m->mine, t->bname) || listed(m->theirs, b->bname)))
        return 0;
    if (!there(b->is) || !there(t->is)) {
        if (there(b->is))
            join_removed(&m->em[mine_at], &m->et[theirs_at]);
        else if (there(t->is))
            join_removed(&m->et[theirs_at], &m->em[mine_at]);
        return 0;
    }
    if (strcmp(b->bname, t->bname) == 0)
        return 0;
    if (stage_published(m->a.st, b->prepared->incarnation, b->prepared->seq, &pub) == 0 &&
        mailfs_id_equal(&pub.dir, &m->a.dir))
        m->em[mine_at].base = t->bname; /* the name its origin gave it: see merge_apply */
    else
        m->et[theirs_at].base = b->bname;
    return 0;
}

/* Added, or removed: what was in the base and still is has the same name on both sides. */
static bool came_or_went(const Mfp__BaseMsg *b) {
    return b->prepared && there(b->is) != there(b->was);
}

/* Listed as removed for the sake of its prepared content only (list_removed() in scan_msgs.c). */
static bool is_noted_only(const Mfp__BaseMsg *b) {
    return b->prepared && !there(b->is) && b->was && b->was->sub == MFP__SUB__NEW &&
           b->was->uid == 0 && *b->was->info == '\0';
}

/*
 * What was not joined has been no message of the other side's. One there by this name, and that is
 * in no base, has come since: moved out and in again, it has the name that was noted for the
 * delivery, and a note can be older than the agreement that it went (collect_named()).
 */
static void forget_notes(const Mfp__Listing *l, struct merge_entry *of, struct merge_entry *other,
                         size_t n_other) {
    size_t i, k;

    for (i = 0; i < l->n_msgs; i++) {
        if (!is_noted_only(l->msgs[i]))
            continue;
        for (k = 0; k < n_other && strcmp(other[k].base, of[i].base) != 0;)
            k++;
        if (k < n_other && other[k].is && !other[k].was)
            of[i].was = false;
    }
}

static int join_prepared(struct merge_run *m) {
    struct prep_ref *refs = calloc(m->theirs->n_msgs + 1, sizeof(*refs)), *all = NULL, *f;
    uint64_t key[2];
    size_t i;
    int r = refs ? 0 : -ENOMEM;

    for (i = 0; r == 0 && i < m->theirs->n_msgs; i++) {
        const Mfp__BaseMsg *b = m->theirs->msgs[i];
        if (!came_or_went(b))
            continue;
        refs[i].key[0] = b->prepared->incarnation;
        refs[i].key[1] = b->prepared->seq;
        refs[i].at = i;
        HASH_FIND(hh, all, refs[i].key, sizeof(refs[i].key), f);
        if (!f)
            HASH_ADD(hh, all, key, sizeof(refs[i].key), &refs[i]);
    }
    for (i = 0; r == 0 && i < m->mine->n_msgs; i++) {
        const Mfp__BaseMsg *b = m->mine->msgs[i];
        if (!came_or_went(b))
            continue;
        key[0] = b->prepared->incarnation;
        key[1] = b->prepared->seq;
        /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): both halves are set */
        HASH_FIND(hh, all, key, sizeof(key), f);
        if (f)
            r = join_names(m, i, f->at);
    }
    HASH_CLEAR(hh, all);
    free(refs);
    return r;
}

/* Did a merge bring p there, too, under this name? One alone may have carried that out, so that it
 * is in no base. A listing of differences leaves out what is as in the base. */
static bool has(const Mfp__Listing *l, const Mfp__BaseMsg *p) {
    size_t i;

    for (i = 0; i < l->n_msgs; i++) {
        if (strcmp(l->msgs[i]->bname, p->bname) == 0)
            return there(l->msgs[i]->is) && (there(p->was) || l->msgs[i]->half_mine);
    }
    return !l->full && there(p->was);
}

/* p, which one side published, is named by its origin on the other: in `named`, or SIZE_MAX. */
static size_t second_name(const Mfp__Listing *named, const Mfp__BaseMsg *p) {
    size_t i;

    for (i = 0; i < named->n_msgs; i++) {
        const Mfp__BaseMsg *b = named->msgs[i];
        if (b->prepared && there(b->is) && !there(b->was) && strcmp(b->bname, p->bname) != 0 &&
            b->prepared->incarnation == p->prepared->incarnation &&
            b->prepared->seq == p->prepared->seq)
            return i;
    }
    return SIZE_MAX;
}

/* What was set on the one that goes was set on this message. */
static void take_flags(struct merge_state *to, const struct merge_state *from) {
    if (to->info || from->info)
        return;
    to->in_cur = to->in_cur || from->in_cur;
    to->flags = maildir_set_union(to->flags, from->flags);
    to->keywords = maildir_set_union(to->keywords, from->keywords);
}

struct names_side {
    const Mfp__Listing *l;
    struct merge_entry *e;
    size_t *n;
};

/*
 * Both had what was published, by a merge, when its origin gave it its name after all (one alone
 * may have carried that merge out: then it is in no base). That one goes, as if the publisher had
 * removed it: by the other clients know it, with UID and flags.
 */
static void drop_second_names(struct names_side pub, struct names_side named) {
    size_t i, at;

    for (i = 0; i < pub.l->n_msgs; i++) {
        const Mfp__BaseMsg *p = pub.l->msgs[i];

        if (!is_of_prepared(p) || !has(named.l, p))
            continue;
        at = second_name(named.l, p);
        if (at == SIZE_MAX || named.e[at].was || listed(pub.l, named.e[at].base))
            continue;
        take_flags(&pub.e[i].now, &named.e[at].now);
        named.e[at].was = true;
        named.e[at].old = named.e[at].now;
        pub.e[(*pub.n)++] =
            (struct merge_entry){.base = named.e[at].base, .was = true, .old = named.e[at].now};
    }
}

int merge_published(struct merge_run *m) {
    int r = join_prepared(m);

    if (r == 0 && m->mine->base_valid && m->theirs->base_valid) {
        struct names_side mine = {m->mine, m->em, &m->n_em}, theirs = {m->theirs, m->et, &m->n_et};
        drop_second_names(mine, theirs);
        drop_second_names(theirs, mine);
    }

    forget_notes(m->mine, m->em, m->et, m->theirs->n_msgs);
    forget_notes(m->theirs, m->et, m->em, m->mine->n_msgs);
    return r;
}
