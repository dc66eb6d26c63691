/*
 * apply_msg: one message's operation to the store.
 *
 * Where the message is now is looked for under the names it can have (before, after, as the base or
 * our own transactions on their way say); only then are the directories read, once a transaction.
 * Flags are applied as the difference between before and after, so that what was done here
 * meanwhile is not undone; if there was such a thing the container is suspect.
 *
 * No diagnostics but of apply.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "hold.h"
#include "merge_int.h"
#include "io/io.h"
#include "io/undo.h"
#include "maildir/name.h"
#include "stage.h"
#include "util/log.h"
#include "util/str.h"

/* A state as it stands in the store. */
struct place {
    int sub; /* MFP__SUB__SELF: not there */
    char name[MAILDIR_NAME_MAX + 1];
};

static int place_of(const char *base, const Mfp__MsgState *s, struct place *p) {
    p->sub = s ? (int)s->sub : MFP__SUB__SELF;
    p->name[0] = '\0';
    if (p->sub == MFP__SUB__SELF)
        return 0;
    if (!s->info || !*s->info)
        return str_copy(p->name, sizeof(p->name), base);
    return maildir_name_format_info(p->name, sizeof(p->name), base, strlen(base), s->info,
                                    strlen(s->info)) < 0
               ? -ENAMETOOLONG
               : 0;
}

static bool place_same(const struct place *a, const struct place *b) {
    return a->sub == b->sub && strcmp(a->name, b->name) == 0;
}

static bool is_there(struct apply *a, const struct place *p) {
    struct stat sb;
    int fd;

    if (p->sub == MFP__SUB__SELF)
        return false;
    fd = store_sub_open(a->st, &a->d, p->sub, false);
    return fd >= 0 && fstatat(fd, p->name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode);
}

static bool by_view(struct apply *a, enum base_view view, const char *base, struct place *p) {
    struct base_msg m;
    Mfp__MsgState s = MFP__MSG_STATE__INIT;

    if (base_msg_get(a->st, view, &a->dir, base, &m) < 0)
        return false;
    s.sub = (Mfp__Sub)m.sub;
    s.info = m.info;
    return place_of(base, &s, p) == 0 && is_there(a, p);
}

static int by_index(struct apply *a, const char *base, struct place *p) {
    struct index_msg *m;
    int r;

    p->sub = MFP__SUB__SELF;
    if (!a->has_ix) {
        r = index_read(a->st, &a->d, &a->ix);
        if (r < 0)
            return r;
        a->has_ix = true;
    }
    m = index_find(&a->ix, base);
    if (!m)
        return 0;
    p->sub = m->sub;
    str_copy(p->name, sizeof(p->name), m->name);
    if (is_there(a, p))
        return 0;
    /* The index is older than something done meanwhile: once more. */
    index_free(&a->ix);
    a->has_ix = false;
    return by_index(a, base, p);
}

/* Of two contents of one name a merge makes two messages, while each store has its own. */
static bool has_size(struct apply *a, const struct place *p, const Mfp__Meta *m) {
    struct stat sb;
    int fd = store_sub_open(a->st, &a->d, p->sub, false);

    return !m || fd < 0 || fstatat(fd, p->name, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
           (uint64_t)sb.st_size == m->size;
}

/* Where the message is; cur->sub SELF: nowhere. APPLY_NOT_DONE: that is another one. */
static int find(struct apply *a, const Mfp__OpMsg *op, const struct place *old,
                const struct place *now, struct place *cur) {
    const char *base = op->bname;
    bool added = old->sub == MFP__SUB__SELF;
    int r;

    *cur = *now;
    if (is_there(a, now))
        return 0;
    *cur = *old;
    if (is_there(a, old) || by_view(a, BASE_SENT, base, cur) || by_view(a, BASE_AGREED, base, cur))
        return 0;
    cur->sub = MFP__SUB__SELF;
    /* Born there: it cannot be here under a name we do not know. Unless this is another directory:
     * a client here may have put the same message into it. (Else the peer changed one that is not
     * in its base: both stores had it beforehand, or half of a merge has brought it.) */
    if (added && (op->source || now->sub == MFP__SUB__NEW) && !a->replay && !a->former)
        return 0;
    r = by_index(a, base, cur);
    if (r < 0 || !added || cur->sub == MFP__SUB__SELF || has_size(a, cur, op->meta))
        return r;
    apply_suspect(a, "another content has the name of a message", base);
    return APPLY_NOT_DONE;
}

static bool meta_differs(const struct stat *sb, const Mfp__Meta *m) {
    return (sb->st_mode & 07777) != (m->mode & 0777) || sb->st_uid != m->uid ||
           sb->st_gid != m->gid ||
           (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec != m->mtime_ns;
}

int apply_set_meta(struct state *st, int dirfd, const char *name, const Mfp__Meta *m) {
    struct timespec ts[2];
    struct stat sb;
    int fd, r = 0;

    if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!m || !meta_differs(&sb, m) || !S_ISREG(sb.st_mode))
        return 0;
    if (geteuid() == 0 && (sb.st_uid != m->uid || sb.st_gid != m->gid))
        r = io_chown(dirfd, name, m->uid, m->gid);
    fd = r == 0 ? io_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0) : r;
    if (fd < 0)
        return fd;
    r = io_fchmod(fd, m->mode & 0777); /* never setuid, whatever the peer says */
    ts[0].tv_sec = ts[1].tv_sec = (time_t)(m->mtime_ns / 1000000000);
    ts[0].tv_nsec = ts[1].tv_nsec = (long)(m->mtime_ns % 1000000000);
    if (ts[0].tv_nsec < 0) {
        ts[0].tv_nsec = ts[1].tv_nsec += 1000000000;
        ts[0].tv_sec = ts[1].tv_sec -= 1;
    }
    if (r == 0)
        r = io_utimens(dirfd, name, ts);
    close(fd);
    return r;
}

static void changed(struct apply *a, const struct place *from, const struct place *to) {
    struct invals *iv = &a->out->inval;

    if (from->sub == to->sub) {
        inval_add(iv, &a->dir, to->sub, from->name, to->name, false);
    } else {
        if (from->sub)
            inval_add(iv, &a->dir, from->sub, from->name, NULL, false);
        if (to->sub)
            inval_add(iv, &a->dir, to->sub, NULL, to->name, false);
    }
    if (from->sub)
        inval_poke(iv, &a->dir, from->sub);
    if (to->sub)
        inval_poke(iv, &a->dir, to->sub);
    if (a->has_ix && to->sub)
        index_set(&a->ix, to->name, to->sub);
}

/* ---- added ------------------------------------------------------------------------- */

/* Where it is under the name it got when its origin was gone. What only was about to get it may be
 * another message there. */
static int find_published(struct apply *a, const struct stage_pub *pub, int *sub,
                          char found[MAILDIR_NAME_MAX + 1]) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX];
    int r = store_msg_find(a->st, &a->d, pub->name, pub->name, sub, found);

    stage_prep_key(pub->incarnation, pub->seq, key);
    if (r < 0 || pub->done || stage_lookup(a->st, key, file) < 0)
        return r;
    r = apply_is_message(a->d.fd[*sub], found, a->st->stage, file);
    return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

/* It gets the name that its origin gave it. from: where it was; as it is where it was not found. */
static int rename_published(struct apply *a, const struct stage_pub *pub, const struct place *now,
                            struct place *from) {
    char found[MAILDIR_NAME_MAX + 1];
    int sub = 0, r = find_published(a, pub, &sub, found);

    if (r < 0)
        return r;
    from->sub = sub;
    str_copy(from->name, sizeof(from->name), found);
    return apply_rename(a, sub, found, now->sub, now->name);
}

/*
 * Removed since by somebody who read it: it stays removed, and its origin is to hear that. Both
 * nodes have agreed on it, whatever becomes of the rest of the transaction. The note of it stays
 * until that is on the disk, and goes with the journal's entry: what is not finished, on a full
 * disk or in a life that ends, is done again, and would find nothing that says it was here. An
 * origin that does not hear that it has arrived lists it as new: then the two are one by the
 * number.
 */
static int take_expunged(struct apply *a, const Mfp__OpMsg *op, const struct stage_pub *pub,
                         const struct place *now) {
    struct base_prep number = {pub->incarnation, pub->seq};
    int r;

    apply_suspect(a, "a message was expunged before its origin gave it its name", now->name);
    if (a->former)
        return 0;
    r = base_agree_msg(a->st, &a->dir, op, a->locked);
    return r == 0 ? base_prep_put(a->st, BASE_AGREED, &a->dir, op->bname, &number) : r;
}

/* 1: it was only about to be, and is not there: it comes as any other. */
static int take_published(struct apply *a, const Mfp__OpMsg *op, const struct stage_pub *pub,
                          const struct place *now) {
    const char *name = pub->name;
    struct place from = {.sub = MFP__SUB__SELF};
    struct base_msg agreed;
    int r = rename_published(a, pub, now, &from);

    if (r == -ENOENT) /* or a client has moved it since it was found */
        r = rename_published(a, pub, now, &from);
    if (r == -ENOENT && !pub->done && from.sub == MFP__SUB__SELF) {
        r = stage_was_expunged(a->st, pub);
        if (r == 0)
            r = stage_unpublish(a->st, pub->incarnation, pub->seq);
        if (r <= 0)
            return r < 0 ? r : 1;
        r = -ENOENT;
    }
    if (r > 0)
        apply_suspect(a, "another message had the name that one gets from its origin", now->name);
    r = r > 0 ? 0 : r;
    /* A merge has given it to both under that name: only another one takes it away there. */
    if ((r == 0 || r == -ENOENT) && base_msg_get(a->st, BASE_AGREED, &a->dir, name, &agreed) == 0)
        apply_suspect(a, "a message was named by its origin after it had been published", name);
    if (r == -ENOENT)
        return take_expunged(a, op, pub, now);
    if (r < 0)
        return r;
    changed(a, &from, now);
    return stage_unpublish(a->st, pub->incarnation, pub->seq);
}

static int add_new(struct apply *a, const Mfp__OpMsg *op, const struct place *now) {
    char file[STAGE_NAME_MAX];
    struct stage_pub pub;
    struct place none = {.sub = MFP__SUB__SELF};
    int r = 1, fd;

    if (content_published(a->st, &a->told, op, &pub))
        r = take_published(a, op, &pub, now);
    if (r <= 0)
        return r;
    r = content_item(a->st, &a->told, op, file);
    if (r == -ESTALE || r == -ENOENT) { /* or removed at the origin since: that comes too */
        apply_suspect(a, "a message's content is not here", op->bname);
        return APPLY_NOT_DONE;
    }
    fd = store_sub_open(a->st, &a->d, now->sub, true);
    if (fd < 0)
        return fd;
    if (op->meta)
        r = apply_set_meta(a->st, a->st->stage, file, op->meta);
    if (r == 0)
        r = io_link(a->st->stage, file, fd, now->name);
    if (r == -EEXIST)
        return 0;
    if (r < 0)
        return r;
    a->size_count++;
    a->size_bytes += op->meta ? (int64_t)op->meta->size : 0;
    changed(a, &none, now);
    return 0;
}

/* ---- changed ----------------------------------------------------------------------- */

static struct maildir_set set_delta(struct maildir_set cur, struct maildir_set old,
                                    struct maildir_set now) {
    return maildir_set_union(maildir_set_minus(cur, maildir_set_minus(old, now)),
                             maildir_set_minus(now, old));
}

/* What the difference between old and now makes of cur. */
static int merge_delta(const char *base, const struct place *old, const struct place *now,
                       const struct place *cur, struct place *out) {
    struct maildir_name o, n, c;
    struct maildir_set none = {{0, 0}};
    uint32_t letters;
    bool has_old = old->sub != MFP__SUB__SELF;

    *out = *now;
    if (maildir_name_parse(now->name, strlen(now->name), &n) < 0 ||
        maildir_name_parse(cur->name, strlen(cur->name), &c) < 0 ||
        (has_old && maildir_name_parse(old->name, strlen(old->name), &o) < 0))
        return -EINVAL;
    if (!n.standard || !c.standard || (has_old && !o.standard))
        return 0;
    out->sub = now->sub == MFP__SUB__CUR || cur->sub == MFP__SUB__CUR ? MFP__SUB__CUR : now->sub;
    letters = (c.keywords & ~((has_old ? o.keywords : 0) & ~n.keywords)) |
              (n.keywords & ~(has_old ? o.keywords : 0));
    return maildir_name_format(out->name, sizeof(out->name), base, strlen(base),
                               out->sub == MFP__SUB__CUR,
                               set_delta(c.flags, has_old ? o.flags : none, n.flags), letters) < 0
               ? -EINVAL
               : 0;
}

static int move_to(struct apply *a, const struct place *cur, const struct place *to) {
    int r = apply_rename(a, cur->sub, cur->name, to->sub, to->name);

    if (r > 0)
        apply_suspect(a, "another message had the name of one that was changed", to->name);
    if (r >= 0)
        changed(a, cur, to);
    return r < 0 ? r : 0;
}

/* Removed here, and the peer has not been told: the base follows, for when it comes back, or goes.
 */
static bool is_held(struct apply *a, const char *base) {
    struct base_msg m;

    return base_msg_get(a->st, BASE_AGREED, &a->dir, base, &m) == 0 && hold_covers(a->st, &a->dir);
}

/* Does the peer believe it has another UID than here? Nothing is bound by this operation, but
 * somebody has to be told. */
static void check_uid(struct apply *a, const Mfp__OpMsg *op) {
    struct base_msg m;

    if (op->old && op->old->uid && base_msg_get(a->st, BASE_SENT, &a->dir, op->bname, &m) == 0 &&
        m.uid && m.uid != op->old->uid)
        apply_suspect(a, "a message has another UID on the peer", op->bname);
}

/*
 * After a power cut: what is here may be older than what the peer started from, which knew what had
 * been done here. Its difference put on top of that would set a flag that was cleared here, and the
 * base would not say so. What this node did later, and the peer has, the merge brings back.
 */
static bool may_be_older(const struct apply *a) {
    return a->replay && !a->st->recent.whole;
}

static int put_in(struct apply *a, const Mfp__OpMsg *op, const struct place *now) {
    int r = may_be_older(a) ? base_put_back_note(a->st, &a->dir, op->bname) : 0;

    return r == 0 ? add_new(a, op, now) : r;
}

/* 1: its keywords are here what they are on the peer. */
static int letters_fit(struct apply *a, const struct place *now) {
    struct maildir_name n;
    int r = maildir_name_parse(now->name, strlen(now->name), &n);

    if (r < 0)
        return r;
    return n.standard ? apply_letters_agreed(a, n.keywords) : 1;
}

int apply_msg_present(struct apply *a, const Mfp__OpMsg *op) {
    struct place old = {.sub = MFP__SUB__SELF}, now = old, cur = old, to;
    int r = place_of(op->bname, op->old, &old), fd;

    if (r == 0)
        r = place_of(op->bname, op->now, &now);
    if (r == 0)
        r = letters_fit(a, &now);
    if (r == 0) {
        apply_suspect(a, "a message has a keyword by a letter that is another one's here",
                      op->bname);
        return APPLY_NOT_DONE;
    }
    if (r > 0)
        r = find(a, op, &old, &now, &cur);
    if (r != 0)
        return r;
    if (cur.sub == MFP__SUB__SELF) {
        if (old.sub == MFP__SUB__SELF)
            return put_in(a, op, &now);
        if (is_held(a, op->bname))
            return 0;
        apply_suspect(a, "a message the peer changed is not here", op->bname);
        return APPLY_NOT_DONE;
    }
    check_uid(a, op);
    to = now;
    if (!place_same(&cur, &now) && !place_same(&cur, &old) && !may_be_older(a)) {
        r = merge_delta(op->bname, &old, &now, &cur, &to);
        if (r < 0)
            return r;
        if (!place_same(&cur, &to))
            apply_suspect(a, "a message was changed on both sides", op->bname);
    }
    if (!place_same(&cur, &to))
        r = move_to(a, &cur, &to);
    if (r == 0 && op->meta) {
        fd = store_sub_open(a->st, &a->d, to.sub, false);
        r = fd < 0 ? fd : apply_set_meta(a->st, fd, to.name, op->meta);
    }
    return r;
}

int apply_drop(struct state *st, const struct mailfs_id *dir, int dirfd, const char *name,
               bool hold) {
    char buf[1024];
    const char *path = state_path(st, dir, buf, sizeof(buf)) + 1;
    bool keep;
    int r = -EOPNOTSUPP;

    if (st->undo_keeps)
        r = io_undo_keep(st->undo, dir, path, dirfd, name);
    if (r == 0 || r == -ENOENT)
        return r;
    if (r != -EOPNOTSUPP)
        log_warn_limited("%s: an expunged message cannot be kept (undelete): %s", path,
                         log_strerror(r));
    state_lock(st);
    keep = hold || st->keep_removed;
    state_unlock(st);
    return keep ? merge_keep(st, dirfd, name, 'r', true) : io_unlink(dirfd, name);
}

int apply_msg_remove(struct apply *a, const Mfp__OpMsg *op) {
    struct place old, now = {.sub = MFP__SUB__SELF}, cur = {.sub = MFP__SUB__SELF};
    struct stat sb;
    int r = place_of(op->bname, op->old, &old), fd;

    if (r == 0)
        r = find(a, op, &old, &now, &cur);
    if (r != 0 || cur.sub == MFP__SUB__SELF)
        return r;
    fd = store_sub_open(a->st, &a->d, cur.sub, false);
    if (fd < 0)
        return fd;
    if (fstatat(fd, cur.name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        sb.st_size = 0;
    r = apply_drop(a->st, &a->dir, fd, cur.name, false);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    a->size_count--;
    a->size_bytes -= sb.st_size;
    changed(a, &cur, &now);
    if (a->has_ix)
        index_remove(&a->ix, op->bname);
    return 0;
}
