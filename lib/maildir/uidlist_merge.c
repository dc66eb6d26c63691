/*
 * uidlist_merge.c: taking over records that the peer sent
 *
 * The ordinary transaction only adds records above all known ones. Then the list grows in place and
 * the bytes to append to the file are the answer, so that Dovecot's open descriptors see a file
 * that grew. Everything else builds the list anew, aside, and changes places with it at the end: an
 * error leaves the list as it was.
 *
 * Diagnostics: -EEXIST, a UID that names two messages: see uidlist.c.
 */
#include "maildir/uidlist.h"

#include "maildir/name.h"
#include "maildir/uidlist_priv.h"
#include "util/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What an update would do to a list, found out before anything is touched. */
struct plan {
    size_t added, rebound, stale, filled;
    bool only_above; /* all that is new lies above all that is known */
    bool header;     /* N or the other fields change */
};

static int check_record(const struct maildir_uidrec *rec, uint32_t prev) {
    const char *ext = rec->ext ? rec->ext : "";

    if (rec->uid <= prev || rec->uid > MAILDIR_UID_MAX || !rec->base ||
        maildir_name_check(rec->base, strlen(rec->base), MAILDIR_NAME_BASE) != 0 ||
        !uidlist_ext_ok(ext, strlen(ext)))
        return -EINVAL;
    return 0;
}

enum verdict { SAME, FILL, NEW, REBIND, STALE };

static int judge(const struct maildir_uidlist *l, const struct maildir_uidrec *rec,
                 enum verdict *v) {
    const struct uidrec *mine = uidlist_lookup(l, rec->base, strlen(rec->base));

    if (mine && mine->pub.uid == rec->uid) {
        *v = rec->ext && *rec->ext && !*mine->pub.ext ? FILL : SAME;
        return 0;
    }
    if (mine && mine->pub.uid > rec->uid) {
        *v = STALE;
        return 0;
    }
    if (maildir_uidlist_find_uid(l, rec->uid))
        return -EEXIST;
    *v = mine ? REBIND : NEW;
    return 0;
}

static bool lacks_field(const char *have, char key) {
    const char *p;

    for (p = have; *p; p++)
        if (*p == key && (p == have || p[-1] == ' '))
            return false;
    return true;
}

/* have plus those fields of offered whose key have lacks, as far as they fit into a header; or
 * NULL: no memory. */
static char *join_rest(const char *have, const char *offered) {
    char *out = malloc(strlen(have) + strlen(offered) + 2);
    const char *p = offered;
    size_t n = strlen(have);

    if (!out)
        return NULL;
    memcpy(out, have, n);
    while (*p) {
        size_t len = strcspn(p, " ");

        if (lacks_field(have, *p) && n + len + 1 <= UIDLIST_REST_MAX) {
            if (n > 0)
                out[n++] = ' ';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len + strspn(p + len, " ");
    }
    out[n] = '\0';
    return out;
}

static int plan_rest(const struct maildir_uidlist *l, const char *rest, struct plan *plan) {
    char *joined;

    if (!rest)
        return 0;
    if (!uidlist_rest_ok(rest, strlen(rest)))
        return -EINVAL;
    joined = join_rest(l->rest, rest);
    if (!joined)
        return -ENOMEM;
    plan->header |= strcmp(joined, l->rest) != 0;
    free(joined);
    return 0;
}

static int make_plan(const struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                     struct plan *plan) {
    uint32_t next = maildir_uidlist_next(l), prev = 0;
    uint32_t last = l->count ? l->recs[l->count - 1]->pub.uid : 0;
    size_t i;

    memset(plan, 0, sizeof *plan);
    plan->only_above = true;
    for (i = 0; i < u->count; i++) {
        enum verdict v = SAME;
        int err = check_record(&u->recs[i], prev);

        if (!err)
            err = judge(l, &u->recs[i], &v);
        if (err)
            return err;
        prev = u->recs[i].uid;
        plan->added += v == NEW;
        plan->rebound += v == REBIND;
        plan->stale += v == STALE;
        plan->filled += v == FILL;
        if ((v == NEW && prev <= last) || v == REBIND || v == FILL)
            plan->only_above = false;
        if (v == NEW || v == REBIND)
            next = next > prev ? next : prev + 1;
    }
    plan->header = u->next > next;
    return plan_rest(l, u->header_rest, plan);
}

static int append_lines(struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                        struct buf *b) {
    size_t i;

    for (i = 0; i < u->count; i++) {
        const struct maildir_uidrec *rec = &u->recs[i];
        const char *ext = rec->ext ? rec->ext : "";
        int err;

        if (uidlist_lookup(l, rec->base, strlen(rec->base)))
            continue; /* same or stale, says the plan */
        err = uidlist_push(l, rec->uid, ext, strlen(ext), rec->base, strlen(rec->base));
        if (err)
            return err;
        buf_printf(b, "%" PRIu32 "%s%s :%s\n", rec->uid, *ext ? " " : "", ext, rec->base);
    }
    return buf_error(b);
}

static int merge_by_append(struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                           struct maildir_uidlist_result *res) {
    size_t before = l->count;
    struct buf b;
    int err;

    buf_init(&b, (size_t)2 * MAILDIR_UIDLIST_TEXT_MAX);
    err = append_lines(l, u, &b);
    if (!err) {
        res->append = buf_steal(&b, &res->append_len);
        res->change = MAILDIR_UIDLIST_APPEND;
        err = res->append ? 0 : -ENOMEM;
    }
    if (err) {
        res->change = MAILDIR_UIDLIST_SAME;
        while (l->count > before)
            uidlist_pop(l);
    }
    buf_free(&b);
    return err;
}

static int push_mine(struct maildir_uidlist *to, const struct uidrec *r, const char *ext) {
    return uidlist_push(to, r->pub.uid, ext, strlen(ext), r->pub.base, r->base_len);
}

static const struct maildir_uidrec *update_find_uid(const struct maildir_uidlist_update *u,
                                                    uint32_t uid) {
    size_t lo = 0, hi = u->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (u->recs[mid].uid < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < u->count && u->recs[lo].uid == uid ? &u->recs[lo] : NULL;
}

/* The records of the update that the list lacks or has under a lower UID: a list of its own, so
 * that asking for one is a lookup. */
static int collect_moved(const struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                         struct maildir_uidlist *moved) {
    size_t i;

    for (i = 0; i < u->count; i++) {
        const struct maildir_uidrec *rec = &u->recs[i];
        size_t len = strlen(rec->base);
        const struct uidrec *mine = uidlist_lookup(l, rec->base, len);
        int err;

        if (mine && mine->pub.uid >= rec->uid)
            continue;
        err = uidlist_push(moved, rec->uid, "", 0, rec->base, len);
        if (err)
            return err;
    }
    return 0;
}

/* Walk both in ascending order into a fresh list. */
static int merge_walk(const struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                      const struct maildir_uidlist *moved, struct maildir_uidlist *to) {
    size_t i = 0, j = 0;
    int err = 0;

    while (!err && (i < l->count || j < moved->count)) {
        const struct uidrec *r = i < l->count ? l->recs[i] : NULL;
        const struct uidrec *m = j < moved->count ? moved->recs[j] : NULL;
        const struct maildir_uidrec *rec;

        if (r && (!m || r->pub.uid < m->pub.uid)) {
            i++;
            if (uidlist_lookup(moved, r->pub.base, r->base_len))
                continue;
            rec = update_find_uid(u, r->pub.uid);
            if (rec && strcmp(rec->base, r->pub.base) != 0)
                rec = NULL; /* a stale one of another base */
            err = push_mine(to, r, *r->pub.ext || !rec || !rec->ext ? r->pub.ext : rec->ext);
        } else {
            j++;
            rec = update_find_uid(u, m->pub.uid);
            err = push_mine(to, m, rec && rec->ext ? rec->ext : "");
        }
    }
    return err;
}

static int merge_by_rebuild(struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                            struct maildir_uidlist_result *res) {
    struct maildir_uidlist *moved = uidlist_alloc(), *to = uidlist_alloc();
    char *rest = join_rest(l->rest, u->header_rest ? u->header_rest : "");
    int err = moved && to && rest ? 0 : -ENOMEM;

    if (!err)
        err = collect_moved(l, u, moved);
    if (!err)
        err = merge_walk(l, u, moved, to);
    if (!err)
        err = maildir_uidlist_set_header_rest(to, rest);
    if (!err) {
        to->validity = l->validity;
        to->header_next = maildir_uidlist_next(l);
        maildir_uidlist_raise_next_to(to, u->next);
        uidlist_swap(l, to);
        res->change = MAILDIR_UIDLIST_REWRITE;
    }
    free(rest);
    maildir_uidlist_free(moved);
    maildir_uidlist_free(to);
    return err;
}

/* The peer's UIDVALIDITY is the higher: our records mean nothing any more. */
static int replace_all(struct maildir_uidlist *l, const struct maildir_uidlist_update *u,
                       struct maildir_uidlist_result *res) {
    struct maildir_uidlist_update plain = *u;
    struct maildir_uidlist *fresh = uidlist_alloc();
    struct maildir_uidlist_result sub;
    int err;

    if (!fresh)
        return -ENOMEM;
    fresh->validity = u->validity;
    fresh->header_next = 1;
    plain.validity = 0;
    if (!u->header_rest) /* the mailbox's GUID is not bound to its UIDVALIDITY */
        plain.header_rest = l->rest;
    err = maildir_uidlist_merge(fresh, &plain, &sub);
    if (!err) {
        free(sub.append);
        uidlist_swap(l, fresh);
        res->change = MAILDIR_UIDLIST_REWRITE;
        res->added = sub.added;
    }
    maildir_uidlist_free(fresh);
    return err;
}

/* An update that names one base twice could pass as an append otherwise. */
static int check_no_twins(const struct maildir_uidlist_update *u) {
    struct maildir_uidlist *seen = uidlist_alloc();
    size_t i;
    int err = seen ? 0 : -ENOMEM;

    for (i = 0; !err && i < u->count; i++) {
        size_t len = strlen(u->recs[i].base);

        err = uidlist_lookup(seen, u->recs[i].base, len)
                  ? -EINVAL
                  : uidlist_push(seen, u->recs[i].uid, "", 0, u->recs[i].base, len);
    }
    maildir_uidlist_free(seen);
    return err;
}

int maildir_uidlist_merge(struct maildir_uidlist *list, const struct maildir_uidlist_update *update,
                          struct maildir_uidlist_result *result) {
    struct plan plan;
    int err;

    memset(result, 0, sizeof *result);
    if (update->validity && update->validity < list->validity)
        return -ESTALE;
    if (update->validity > list->validity)
        return replace_all(list, update, result);
    err = make_plan(list, update, &plan);
    if (!err)
        err = check_no_twins(update);
    if (err)
        return err;
    if (plan.header || plan.filled || !plan.only_above)
        err = merge_by_rebuild(list, update, result);
    else if (plan.added)
        err = merge_by_append(list, update, result);
    if (err)
        return err;
    result->added = plan.added;
    result->rebound = plan.rebound;
    result->stale = plan.stale;
    return 0;
}
