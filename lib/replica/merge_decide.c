/*
 * merge_decide.c: the merge of one message
 *
 * M1. Symmetric: nothing here asks which side is a, but to name it in the answer.
 * M2. A message is removed only where a valid base says that it was there, or that its UID was
 * known and it is not there. M3. A removal takes the incarnation it saw. One added anew lives.
 * M8. What a side has borrowed (merge.h) never changes what the other has, nor what that has
 * undone. M9. What a side has lost is there only if the other has it. M10. What only one side has,
 * and cannot read, stays there, with a UID as if both had it, and is in no base: so it is that
 * side's to bring as soon as it can be read. M11. What one side alone has carried out of a merge is
 * where both go on from: what is gone since on the side that it came to, or on the one it came
 * from, was removed there, though it is in no base.
 *
 * A name is the same incarnation of a message when the UIDs are equal, or one is not known. But a
 * name that had a UID in its side's base and has none now was removed and added again: Dovecot
 * never takes a UID away from a file that stays.
 *
 * Diagnostics: none.
 */
#include "replica/base_age.h"
#include "replica/merge_priv.h"

#include <string.h>

static bool same_incarnation(uint32_t uid1, uint32_t v1, uint32_t uid2, uint32_t v2) {
    return uid1 == 0 || uid2 == 0 || v1 != v2 || uid1 == uid2;
}

static bool comparable(uint32_t uid1, uint32_t v1, uint32_t uid2, uint32_t v2) {
    return uid1 != 0 && uid2 != 0 && v1 == v2;
}

static bool cut_short(const struct merge_view *x) {
    return base_age_lacks(x->side->base_version);
}

bool merge_readded(struct merge_number was, struct merge_number is, bool put_back, bool lacks) {
    if (put_back)
        return false;
    if (was.uid != 0 && is.uid == 0 && is.validity != 0 && was.validity == is.validity)
        return !lacks;
    return !same_incarnation(was.uid, was.validity, is.uid, is.validity);
}

static bool readded(const struct merge_view *x) {
    return x->was && x->is &&
           merge_readded((struct merge_number){x->old.uid, x->v_old},
                         (struct merge_number){x->now.uid, x->v_now}, x->put_back, cut_short(x));
}

static bool same_text(const char *x, const char *y) {
    return strcmp(x ? x : "", y ? y : "") == 0;
}

/* Flags, keywords, info: what a client can change. */
static bool same_marks(const struct merge_state *x, const struct merge_state *y) {
    return maildir_set_equal(x->flags, y->flags) && maildir_set_equal(x->keywords, y->keywords) &&
           same_text(x->info, y->info);
}

bool merge_state_equal(const struct merge_state *x, const struct merge_state *y) {
    return x->uid == y->uid && x->in_cur == y->in_cur && same_marks(x, y);
}

static bool changed(const struct merge_view *x) {
    return !x->was || readded(x) || !merge_state_equal(&x->old, &x->now);
}

static bool ages_known(const struct merge_view *a, const struct merge_view *b) {
    return a->side->base_version != 0 && b->side->base_version != 0;
}

/* Which side's base is the later common state? Bases follow one another, so what is in the later
 * and not in the earlier was agreed upon in between. NULL: not known, or they are one and the same.
 */
static const struct merge_view *later_base(const struct merge_view *a, const struct merge_view *b) {
    const struct merge_side *sa = a->side, *sb = b->side;

    if (!sa->base_valid || !sb->base_valid)
        return NULL;
    if (ages_known(a, b)) {
        int c = base_age_cmp(sa->base_version, sb->base_version);
        return c > 0 ? a : c < 0 ? b : NULL;
    }
    if (a->v_old != b->v_old || !sa->base_next || !sb->base_next || sa->base_next == sb->base_next)
        return NULL;
    return sa->base_next > sb->base_next ? a : b;
}

/* p has the message, q has not: did p get it after what q removed? */
static bool came_anew(const struct merge_view *p, const struct merge_view *q,
                      const struct merge_view *later) {
    if (readded(p))
        return true;
    if (p->put_back)
        return false; /* q had sent it */
    if (p->side->base_valid && !p->was && p->now.uid == 0)
        return true;
    if (!q->was || later == q)
        return false;
    if (q->old.uid != 0)
        return p->now.uid == 0; /* q saw it numbered: what p has came after that */
    /* Nothing numbered tells two apart. p's base lacks it, and is not the older one: then p has
     * noted that it went and came again (collect_note_add()). */
    return p->side->base_valid && !p->was;
}

/* Numbered since, by nothing that q's base knows: perhaps another of that name. Not what was put
 * into the store once more after a power cut: a client's sync has numbered that. (Of every message
 * of a base that lacks something that cannot be said: one that was moved out, and in again, went.)
 */
static bool numbered_since(const struct merge_view *p, const struct merge_view *q) {
    return !p->put_back && p->old.uid == 0 && q->side->base_next != 0 &&
           comparable(p->now.uid, p->v_now, 1, q->v_old) && p->now.uid >= q->side->base_next;
}

/* Neither base may be the present one, and q's has no number of it, as p has: what q removed may
 * have been another of that name, whose number went with the power. */
static bool numbered_beyond(const struct merge_view *p, const struct merge_view *q) {
    return cut_short(p) && cut_short(q) && q->old.uid == 0 && p->now.uid != 0;
}

/* Is it what q's base knew? What was put back is what was there, whatever number it has got. */
static bool is_what_was(const struct merge_view *p, const struct merge_view *q) {
    if (p->put_back && p->was && same_incarnation(q->old.uid, q->v_old, p->old.uid, p->v_old))
        return true;
    return same_incarnation(q->old.uid, q->v_old, p->now.uid, p->v_now);
}

/* p has the message, q has not: did q remove this very one? */
static bool removed_by_absent(const struct merge_view *p, const struct merge_view *q) {
    if (MUTANT(MUTANT_FORGET_REMOVAL) || MUTANT(MUTANT_ABSENT_REMOVED))
        return MUTANT(MUTANT_ABSENT_REMOVED);
    const struct merge_view *later = later_base(p, q);
    bool anew = came_anew(p, q, later);

    if (q->was && is_what_was(p, q))
        return !anew && !numbered_beyond(p, q);
    if (q->was) /* q's base knew another: the later of the two is the one that counts */
        return p->was && !anew && comparable(p->now.uid, p->v_now, q->old.uid, q->v_old) &&
               p->now.uid < q->old.uid;
    if (!p->was || anew || !q->side->base_valid)
        return false;
    /* Only p's base has it. Either q's is older and lacks what p got since, or q's is newer and the
     * removal agreed upon. If that is not known, q's next UID tells. */
    if (later)
        return later == q && !numbered_since(p, q);
    if (ages_known(p, q))
        return false; /* each base lacks something of the other's: nothing tells, so it stays */
    if (q->side->base_next != 0 && comparable(p->now.uid, p->v_now, 1, q->v_old))
        return p->now.uid < q->side->base_next;
    return !changed(p);
}

/* Three ways between two texts; they merge no further. */
static const char *merge_info(const struct merge_state *old_a, const struct merge_state *a,
                              const struct merge_state *old_b, const struct merge_state *b) {
    bool same_a = same_text(a->info, old_a->info), same_b = same_text(b->info, old_b->info);

    if (same_a != same_b)
        return same_a ? b->info : a->info;
    return strcmp(a->info ? a->info : "", b->info ? b->info : "") > 0 ? a->info : b->info;
}

static void copy_marks(struct merge_state *to, const struct merge_state *from) {
    to->flags = from->flags;
    to->keywords = from->keywords;
    to->info = from->info;
}

/* Where the bases agree, three ways; where not, what the side with the later one has. */
static struct maildir_set merge_later(struct maildir_set base_a, struct maildir_set a,
                                      struct maildir_set base_b, struct maildir_set b,
                                      struct maildir_set later) {
    struct maildir_set r = maildir_set_merge(base_a, a, base_b, b);
    int i;

    for (i = 0; i < 2; i++) {
        uint64_t differ = base_a.w[i] ^ base_b.w[i];

        r.w[i] = (r.w[i] & ~differ) | (later.w[i] & differ);
    }
    return r;
}

/*
 * Is the later base an ancestor of what both have now? The side with the other one has what it did
 * itself, and has applied all that it received, so its base is behind for an acknowledgement or the
 * end of a merge only. Not so after a power cut (BASE_AGE_LACKS), or where ages are not known.
 */
static bool is_ancestor(const struct merge_view *later, const struct merge_view *earlier) {
    return ages_known(later, earlier) && !cut_short(earlier) && later->was && !readded(later);
}

/* Both have it, it is one message, and neither is simply where the other came from. */
static void mix_marks(const struct merge_state *oa, const struct merge_state *a,
                      const struct merge_state *ob, const struct merge_state *b,
                      const struct merge_state *later, struct merge_state *to) {
    if (later) {
        to->flags = merge_later(oa->flags, a->flags, ob->flags, b->flags, later->flags);
        to->keywords =
            merge_later(oa->keywords, a->keywords, ob->keywords, b->keywords, later->keywords);
        to->info = same_text(oa->info, ob->info) ? merge_info(oa, a, ob, b) : later->info;
    } else {
        to->flags = maildir_set_merge(oa->flags, a->flags, ob->flags, b->flags);
        to->keywords = maildir_set_merge(oa->keywords, a->keywords, ob->keywords, b->keywords);
        to->info = merge_info(oa, a, ob, b);
    }
    if (to->info)
        to->flags = to->keywords = (struct maildir_set){{0, 0}};
}

/* What came of `to` from `from` on, done to `on`. */
static struct maildir_set carry(struct maildir_set from, struct maildir_set to,
                                struct maildir_set on) {
    for (int i = 0; i < 2; i++)
        on.w[i] = (on.w[i] & ~(from.w[i] & ~to.w[i])) | (to.w[i] & ~from.w[i]);
    return on;
}

/* Has that merge come to its end at o? Its base is the result then, or later. */
static bool is_whole(const struct merge_view *h, const struct merge_view *o) {
    if (o->side->base_version == 0)
        return later_base(h, o) == o;
    return base_age_cmp(o->side->base_version, h->side->half_age) >= 0;
}

/*
 * A merge that h has carried out and o, as far as h knows, has not: its result is where h went on
 * from, whatever the bases are, which were before that. o went on from what it had then, unless it
 * is just as the result, or has carried it out, too; but after a power cut it may be what it was
 * before. False: nothing of that kind is known, or not of flags alone.
 */
static bool merge_half(const struct merge_view *h, const struct merge_view *o,
                       struct merge_state *to) {
    const struct merge_state *r = &h->half_mine, *p = &h->half_theirs;

    if (!h->half || !h->half_here || cut_short(o) || is_whole(h, o) || r->info || p->info ||
        h->now.info || o->now.info || readded(h) || readded(o))
        return false;
    if (o->half || !h->half_there || same_marks(&o->now, r))
        p = r;
    to->flags = maildir_set_merge(r->flags, carry(p->flags, o->now.flags, r->flags), r->flags,
                                  h->now.flags);
    to->keywords = maildir_set_merge(r->keywords, carry(p->keywords, o->now.keywords, r->keywords),
                                     r->keywords, h->now.keywords);
    return true;
}

static void merge_marks(const struct merge_view *a, const struct merge_view *b,
                        struct merge_item *item) {
    if (MUTANT(MUTANT_ONE_SIDES_FLAGS)) {
        copy_marks(&item->state, &a->now);
        return;
    }
    static const struct merge_state none;
    bool base_a = a->was && !readded(a), base_b = b->was && !readded(b);
    const struct merge_state *oa = base_a ? &a->old : &none, *ob = base_b ? &b->old : &none;
    const struct merge_view *later = later_base(a, b);

    if (merge_half(a, b, &item->state) || merge_half(b, a, &item->state))
        return;
    bool a_is_base = !later && base_b && same_marks(&a->now, ob);
    bool b_is_base = !later && base_a && same_marks(&b->now, oa);

    if (a_is_base && !b_is_base) {
        copy_marks(&item->state, &b->now); /* b went on from where a is */
        return;
    }
    if (b_is_base && !a_is_base) {
        copy_marks(&item->state, &a->now);
        return;
    }
    if (!same_marks(&a->now, &b->now) && !same_marks(&a->now, oa) && !same_marks(&b->now, ob))
        item->what |= MERGE_CONFLICT;
    if (later && is_ancestor(later, later == a ? b : a)) {
        oa = ob = &later->old;
        later = NULL;
    }
    mix_marks(oa, &a->now, ob, &b->now, later ? &later->now : NULL, &item->state);
}

static bool contents_differ(const struct merge_view *a, const struct merge_view *b) {
    return a->now.content != 0 && b->now.content != 0 && a->now.content != b->now.content;
}

/* Has x added the name anew, while y still has the incarnation that x removed? What y cannot get
 * supersedes nothing. */
static bool supersedes(const struct merge_view *x, const struct merge_view *y) {
    return readded(x) && !(x->unread && contents_differ(x, y)) &&
           comparable(x->old.uid, x->v_old, y->now.uid, y->v_now) && x->old.uid == y->now.uid;
}

static void take_whole(const struct merge_view *x, const struct merge_view *y, char side,
                       struct merge_item *item) {
    item->state = x->now;
    item->content = contents_differ(x, y) ? side : 0;
    if (y->was && changed(y))
        item->what |= MERGE_CONFLICT;
}

static bool keeps_name(const struct merge_view *a, const struct merge_view *b) {
    return a->unread != b->unread ? b->unread : a->now.content > b->now.content;
}

/* Two messages of one name, of which the caller makes the second. What cannot be read loses the
 * name, so that the other side need not have it; where neither can, each stays where it is. */
static void decide_split(const struct merge_view *a, const struct merge_view *b,
                         struct merge_item *item, struct merge_slot *slot) {
    bool a_stays = keeps_name(a, b);

    item->present = true;
    item->what |= MERGE_SPLIT;
    item->content = a_stays ? 'a' : 'b';
    item->state = a_stays ? a->now : b->now;
    slot->from_a = a_stays;
    slot->from_b = !a_stays;
    if (!(a_stays ? a : b)->unread)
        return;
    item->what |= MERGE_UNREAD;
    item->at_a = a_stays;
    item->at_b = !a_stays;
}

static void decide_both(const struct merge_view *a, const struct merge_view *b,
                        struct merge_item *item, struct merge_slot *slot) {
    bool sup_a = supersedes(a, b), sup_b = supersedes(b, a);

    item->present = true;
    slot->from_a = slot->from_b = true;
    if (sup_a != sup_b) {
        take_whole(sup_a ? a : b, sup_a ? b : a, sup_a ? 'a' : 'b', item);
        slot->from_a = sup_a;
        slot->from_b = sup_b;
        return;
    }
    if (contents_differ(a, b)) {
        decide_split(a, b, item, slot);
        return;
    }
    item->state.in_cur = a->now.in_cur || b->now.in_cur;
    item->state.content = a->now.content ? a->now.content : b->now.content;
    merge_marks(a, b, item);
}

static void keep_lone(const struct merge_view *p, char side, struct merge_item *item,
                      struct merge_slot *slot) {
    item->present = true;
    item->state = p->now;
    slot->from_a = side == 'a';
    slot->from_b = side == 'b';
}

/* Was it given before x's base was agreed on? Not if x's list is behind that: it was put back. */
static bool is_older(uint32_t uid, const struct merge_view *x) {
    const struct merge_side *s = x->side;

    return s->base_valid && x->v_now == x->v_old && uid < s->base_next && s->next >= s->base_next;
}

/* So s says, whatever else. */
static bool is_anothers(uint32_t uid, const char *name, const struct merge_side *s) {
    for (size_t i = 0; i < s->count; i++) {
        const struct merge_entry *e = &s->entries[i];

        if (((e->is && e->now.uid == uid) || (e->was && e->old.uid == uid)) &&
            strcmp(e->base, name) != 0)
            return true;
    }
    return false;
}

static bool is_agreed(uint32_t uid, const char *name, const struct merge_view *p,
                      const struct merge_view *q) {
    return uid == 0 || (p->v_now == q->v_now && is_older(uid, p) && is_older(uid, q) &&
                        !is_anothers(uid, name, p->side) && !is_anothers(uid, name, q->side));
}

/*
 * M10. The other side, q, has not got it, or has lost it. A UID below both bases' next one was this
 * message's when these were agreed on: by a merge that left it so and gave or kept that UID, or
 * under the token. So it is nobody else's, though q's next UID is above it as well. (When it can be
 * read at last it is numbered anew all the same: a Dovecot at q that has seen a higher UID takes
 * one below for an expunged message.)
 */
static void decide_unread(const struct merge_view *p, const struct merge_view *q, char side,
                          struct merge_item *item, struct merge_slot *slot) {
    keep_lone(p, side, item, slot);
    if (is_agreed(p->now.uid, item->name, p, q))
        slot->as_at = side;
    item->what |= MERGE_UNREAD;
    item->at_a = side == 'a';
    item->at_b = side == 'b';
}

/* What had none may have been given one since. */
static bool is_number(uint32_t uid, const struct merge_view *h, const struct merge_view *p) {
    return uid == 0 || p->v_now != h->v_now || p->now.uid == uid;
}

/* Is what p has the message that h's half of a merge speaks of? */
static bool is_of_half(const struct merge_view *h, const struct merge_view *p) {
    return !readded(p) && ((h->half_here && is_number(h->half_mine.uid, h, p)) ||
                           (h->half_there && is_number(h->half_theirs.uid, h, p)));
}

/* Has o been up since h's half of a merge was computed? If not, it may be another store, or what
 * was restored of it. */
static bool same_life(const struct merge_view *h, const struct merge_view *o) {
    return h->side->half_with == o->side->life;
}

/* p has the message, and h, which lacks it, carried out half of a merge with it. Where p's base
 * says that p came to the end of that, and not this message, p got it after that. */
static bool removed_by_half(const struct merge_view *h, const struct merge_view *p) {
    if (!h->half || !is_of_half(h, p) || !(p->side->base_valid || same_life(h, p)))
        return false;
    return !(is_whole(h, p) && p->side->base_valid && !p->was);
}

/* h has the message, by half of a merge or before it, and o, which had it then, lacks it. */
static bool removed_since_half(const struct merge_view *h, const struct merge_view *o) {
    return h->half && h->half_here && h->half_there && same_life(h, o) && !cut_short(o) &&
           !readded(h) && is_number(h->half_mine.uid, h, h);
}

/* M11. p has the message, q has not. */
static bool removed_after_half(const struct merge_view *p, const struct merge_view *q) {
    if (p->side->life == 0 || q->side->life == 0 || q->side->held)
        return false;
    return removed_by_half(q, p) || removed_since_half(p, q);
}

static void decide_lone(const struct merge_view *p, const struct merge_view *q, char side,
                        struct merge_item *item, struct merge_slot *slot) {
    if (p->lost || removed_by_absent(p, q) || removed_after_half(p, q)) {
        item->what |= MERGE_REMOVED;
        if (p->was && changed(p))
            item->what |= MERGE_CONFLICT;
        return;
    }
    if (p->unread) {
        decide_unread(p, q, side, item, slot);
        return;
    }
    keep_lone(p, side, item, slot);
    item->what |= MERGE_ADDED;
    item->content = side;
}

/* As the common base, or as this side's, says. */
static bool unchanged(const struct merge_view *x) {
    return x->was ? x->is && !changed(x) : !x->is;
}

/*
 * M8. f has borrowed it, o has not: the result is what o has. Where o did nothing f keeps its own,
 * since who it is borrowed from may be ahead of o; where o did something f follows.
 */
static void decide_borrowed(const struct merge_view *f, const struct merge_view *o, char side,
                            struct merge_item *item, struct merge_slot *slot) {
    if (!o->is) {
        item->what |= removed_by_absent(f, o) ? MERGE_REMOVED : MERGE_LEFT;
        return;
    }
    if (o->unread && !f->is && !unchanged(o)) {
        decide_unread(o, f, side, item, slot);
        return;
    }
    item->present = true;
    item->state = o->now;
    slot->from_a = side == 'a' || f->is;
    slot->from_b = side == 'b' || f->is;
    if (unchanged(o))
        item->what |= MERGE_LEFT;
    else if (!f->is)
        item->what |= MERGE_ADDED;
    if (!f->is && !unchanged(o))
        item->content = side;
    if (unchanged(o) || (!f->is && f->old.uid == o->now.uid))
        slot->as_at = side;
}

/* Nobody has numbered anything there, and nothing was agreed on: it has undone nothing, it is being
 * filled. With f's next UID and without f's mail, what has a lower number would have to be numbered
 * anew when that comes from another. */
static bool is_unborn(const struct merge_view *o) {
    return !o->side->base_valid && o->side->validity == 0;
}

static bool is_borrowed(const struct merge_view *f, const struct merge_view *o) {
    return f->borrowed && !o->borrowed && !is_unborn(o) &&
           !(f->is && o->is && contents_differ(f, o)) && (f->is || o->is);
}

void merge_decide(const struct merge_view *a, const struct merge_view *b, struct merge_item *item,
                  struct merge_slot *slot) {
    item->at_a = a->is;
    item->at_b = b->is;
    item->now_a = a->now;
    item->now_b = b->now;
    slot->v_a = a->v_now;
    slot->v_b = b->v_now;
    slot->old_uid = a->now.uid > b->now.uid ? a->now.uid : b->now.uid;
    if (is_borrowed(a, b))
        decide_borrowed(a, b, 'b', item, slot);
    else if (is_borrowed(b, a))
        decide_borrowed(b, a, 'a', item, slot);
    else if (a->unread && b->lost)
        decide_unread(a, b, 'a', item, slot);
    else if (b->unread && a->lost)
        decide_unread(b, a, 'b', item, slot);
    else if (a->is && b->is)
        decide_both(a, b, item, slot);
    else if (a->is)
        decide_lone(a, b, 'a', item, slot);
    else if (b->is)
        decide_lone(b, a, 'b', item, slot);
    item->state.uid = 0; /* merge_number() */
}
