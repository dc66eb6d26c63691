/*
 * collect_msg: events on messages, folded into one change for each.
 *
 * "Was" is what the peer will have when everything on its way has arrived (the base's view SENT).
 * No diagnostics but of collect.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "collect_int.h"
#include "half.h"
#include "hold.h"
#include "io/io.h"
#include "maildir/name.h"
#include "pending.h"
#include "state_int.h"
#include "unread.h"
#include "util/str.h"
#include "wire/check.h"

/* NULL: c->err. */
static struct change *change_get(struct collect *c, const char *base) {
    size_t n = strlen(base);
    struct change *ch;
    int r;

    HASH_FIND_STR(c->changes, base, ch);
    if (ch)
        return ch;
    ch = calloc(1, sizeof(*ch) + n + 1);
    if (!ch) {
        c->err = -ENOMEM;
        return NULL;
    }
    memcpy(ch->base, base, n + 1);
    r = base_msg_get(c->st, BASE_SENT, c->dir, base, &ch->was);
    if (r < 0 && r != -ENOENT) {
        c->err = r;
        free(ch);
        return NULL;
    }
    ch->is = ch->was;
    ch->untold = ch->was.sub == MFP__SUB__SELF &&
                 unread_is(c->st, c->dir, UNREAD_MSG, base, NULL) != UNREAD_NOT;
    HASH_ADD_STR(c->changes, base, ch);
    return ch;
}

/* The change of the message with this name; *info is what follows the ':'. NULL: a name that no
 * Maildir reader looks at, or c->err. */
static struct change *change_of_name(struct collect *c, const char *name, const char **info) {
    char base[MAILDIR_NAME_MAX + 1];
    size_t n = maildir_name_base_len(name, strlen(name));

    if (maildir_name_check(name, strlen(name), MAILDIR_NAME_MESSAGE) < 0)
        return NULL;
    str_copyn(base, sizeof(base), name, n);
    *info = name[n] == ':' ? name + n + 1 : "";
    return change_get(c, base);
}

static void set_place(struct change *ch, int sub, const char *info) {
    ch->is.sub = (uint8_t)sub;
    str_copy(ch->is.info, sizeof(ch->is.info), info);
}

/* Attributes as they are in the store. */
static bool fill_meta(struct collect *c, struct change *ch, int sub, const char *name) {
    struct stat sb;
    int fd = collect_here(c) ? store_sub_open(c->st, &c->d, sub, false) : -1;

    if (fd < 0 || fstatat(fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    ch->is.mode = sb.st_mode & 07777;
    ch->is.owner = sb.st_uid;
    ch->is.group = sb.st_gid;
    ch->is.mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    ch->is.size = (uint64_t)sb.st_size;
    return true;
}

static void set_meta(struct change *ch, const Mfl__Meta *m) {
    ch->is.mode = m->mode & 07777;
    ch->is.owner = m->uid;
    ch->is.group = m->gid;
    ch->is.mtime_ns = m->mtime_ns;
    ch->is.size = m->size;
}

static bool is_at(const struct change *ch, int sub, const char *info) {
    return ch->is.sub == sub && strcmp(ch->is.info, info) == 0;
}

/* The directory and the name of a message in this state; -ENOENT: there is none. */
static int name_of(struct collect *c, const char *base, const struct base_msg *m,
                   char name[MAILDIR_NAME_MAX + 1]) {
    if (m->sub == MFP__SUB__SELF || !collect_here(c) ||
        str_printf(name, MAILDIR_NAME_MAX + 1, "%s%s%s", base, *m->info ? ":" : "", m->info) < 0)
        return -ENOENT;
    return store_sub_open(c->st, &c->d, m->sub, false);
}

/* false: it is not there, or c->err: what cannot be looked at is not told to be removed. */
static bool look(struct collect *c, const char *base, const struct base_msg *m, struct stat *sb) {
    char name[MAILDIR_NAME_MAX + 1];
    int r = name_of(c, base, m, name);

    if (r >= 0)
        r = fstatat(r, name, sb, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    if (r < 0 && r != -ENOENT)
        c->err = r;
    return r == 0;
}

/* Is the name it has, as far as we were told, there still? */
static bool still_there(struct collect *c, const struct change *ch) {
    struct stat sb;

    return look(c, ch->base, &ch->is, &sb);
}

/*
 * A message that was moved out, is there again (the power of both nodes was cut), and is moved in
 * once more under the same name, but with other flags: two names of one file. Dovecot takes one
 * away when it has been so for half a minute; the other node has only the one it was told of.
 */
static void drop_former(struct collect *c, struct change *ch) {
    char name[MAILDIR_NAME_MAX + 1];
    struct stat was, is;
    int fd;

    if (!look(c, ch->base, &ch->is, &is) || !look(c, ch->base, &ch->former, &was) ||
        was.st_ino != is.st_ino || was.st_dev != is.st_dev)
        return; /* another file is another message, to Dovecot, and it gives it a name */
    fd = name_of(c, ch->base, &ch->former, name);
    if (fd < 0 || io_unlink(fd, name) < 0)
        return;
    inval_add(c->inval, c->dir, ch->former.sub, name, NULL, false);
    inval_poke(c->inval, c->dir, ch->former.sub);
}

void collect_drop_former(struct collect *c) {
    struct change *ch, *tmp;

    HASH_ITER(hh, c->changes, ch, tmp) {
        if (ch->former.sub != MFP__SUB__SELF && !is_at(ch, ch->former.sub, ch->former.info))
            drop_former(c, ch);
    }
}

/* The number by which another one of that name came, and went. */
static int forget_number(struct collect *c, const struct change *ch) {
    struct base_prep prep;
    int r = base_prep_get(c->st, c->dir, ch->base, &prep);

    if (r == 0)
        r = base_prep_put(c->st, BASE_AGREED, c->dir, ch->base, NULL);
    return r == -ENOENT ? 0 : r;
}

/*
 * A message without a UID that was moved out and in again looks as if it had never been away: if
 * the other side removed it meanwhile, this one would be taken for the removed one, and go. So the
 * base forgets it as soon as it is seen to come again. Not one that has got a second name (linked
 * from new/ to cur/).
 */
static int forget_former(struct collect *c, const struct change *ch, int sub, const char *info) {
    struct base_msg agreed;
    int r = base_msg_get(c->st, BASE_AGREED, c->dir, ch->base, &agreed);

    if (r < 0 || agreed.sub == MFP__SUB__SELF || agreed.uid)
        return r == -ENOENT ? 0 : r;
    if (ch->is.sub != MFP__SUB__SELF && !is_at(ch, sub, info) && still_there(c, ch))
        return 0;
    agreed.sub = MFP__SUB__SELF;
    r = forget_number(c, ch);
    return r == 0 ? base_msg_put(c->st, BASE_AGREED, c->dir, ch->base, &agreed) : r;
}

/* Prepared, and this is the first name it gets. */
static bool is_own(const Mfl__Source *s) {
    return s && s->prepared && s->link_dir.len == 0;
}

/* Out and in again before it was told: it is no copy of what it was meanwhile, and uses up what was
 * prepared, which nobody else is going to. */
static bool is_back(const Mfl__Source *first, const Mfl__Source *again) {
    return is_own(first) && again && again->prepared &&
           first->prepared->incarnation == again->prepared->incarnation &&
           first->prepared->seq == again->prepared->seq;
}

int collect_note_add(struct collect *c, const Mfl__Add *a) {
    const char *info;
    struct change *ch = change_of_name(c, a->name, &info);
    struct base_prep prep;
    int r = ch ? forget_former(c, ch, (int)a->sub, info) : 0;

    if (!ch || r < 0)
        return r;
    base_put_back_forget(c->st, c->dir, ch->base);
    if (ch->is.sub ==
        MFP__SUB__SELF) { /* moved out and in again: not the message that had the UID */
        ch->is.uid = 0;
        half_forget_msg(c->st, c->dir, ch->base);
        r = a->source && a->source->prepared ? 0 : forget_number(c, ch);
        if (r < 0)
            return r;
    } else if (!is_at(ch, (int)a->sub, info) && still_there(c, ch)) {
        ch->former = ch->is;
    }
    set_place(ch, (int)a->sub, info);
    if (a->meta)
        set_meta(ch, a->meta);
    else
        fill_meta(c, ch, (int)a->sub, a->name);
    if (ch->was.sub == MFP__SUB__SELF && !ch->untold) {
        if (!is_back(ch->source, a->source))
            ch->source = a->source;
        pending_add(c->st, c->dir, ch->base, ch->is.size);
    }
    /* A copy of it is a message of its own. */
    if (is_own(a->source)) {
        prep.incarnation = a->source->prepared->incarnation;
        prep.seq = a->source->prepared->seq;
        return base_prep_put(c->st, BASE_AGREED, c->dir, ch->base, &prep);
    }
    return 0;
}

/* Once the peer has acknowledged it under that name, the number is of no use any more. */
int collect_named(struct state *st, const struct mailfs_id *dir, const char *base,
                  const struct base_prep *prep) {
    struct base_prep known;
    struct base_msg agreed;
    int r = base_msg_get(st, BASE_AGREED, dir, base, &agreed);

    if (r == -ENOENT)
        r = base_prep_get(st, dir, base, &known);
    if (r == -ENOENT)
        r = base_prep_put(st, BASE_AGREED, dir, base, prep);
    return r < 0 ? state_fail(st, r, dir, "the name of a prepared message cannot be noted") : 0;
}

int collect_note_remove(struct collect *c, const Mfl__Remove *rm) {
    const char *info;
    struct change *ch = change_of_name(c, rm->name, &info);

    if (!ch)
        return 0;
    /* One of two names of a message (linked to cur, then removed from new): the other remains. */
    if (ch->is.sub != MFP__SUB__SELF && !is_at(ch, (int)rm->sub, info) && still_there(c, ch))
        return 0;
    ch->is.sub = MFP__SUB__SELF;
    pending_del(c->st, c->dir, ch->base);
    if ((ch->was.sub != MFP__SUB__SELF || !c->telling) && hold_counts(c->st))
        c->gone += hold_is_gone(c->st, c->dir, rm->name);
    return 0;
}

int collect_note_move(struct collect *c, const Mfl__Move *m) {
    const char *info, *old_info;
    struct change *ch, *old;

    old = change_of_name(c, m->old_name, &old_info);
    ch = change_of_name(c, m->name, &info);
    if (old && old != ch) { /* another base name: another message to everybody else */
        if (ch) {
            ch->is = old->is;
            ch->is.uid = 0;
        }
        old->is.sub = MFP__SUB__SELF;
        pending_del(c->st, c->dir, old->base);
    }
    if (!ch)
        return 0;
    set_place(ch, (int)m->sub, info);
    if (ch->was.sub == MFP__SUB__SELF && ch->is.mode == 0)
        fill_meta(c, ch, (int)m->sub, m->name); /* never told of: the peer will fetch it */
    if (old != ch && ch->was.sub == MFP__SUB__SELF && !ch->untold)
        pending_add(c->st, c->dir, ch->base, ch->is.size);
    return 0;
}

int collect_note_touch(struct collect *c, int sub, const char *name) {
    const char *info;
    struct change *ch = change_of_name(c, name, &info);

    if (ch && fill_meta(c, ch, sub, name))
        ch->touched = true;
    return 0;
}

/* ---- telling ----------------------------------------------------------------------- */

/* The name of a message elsewhere that the origin made a hard link of. */
static int build_link(const Mfl__Source *s, Mfp__Source *out) {
    char base[MAILDIR_NAME_MAX + 1];
    struct mailfs_id id;
    size_t n = maildir_name_base_len(s->link_name, strlen(s->link_name));

    if (wire_id(&s->link_dir, &id) < 0 ||
        (s->link_sub != MFL__SUB__NEW && s->link_sub != MFL__SUB__CUR) ||
        str_copyn(base, sizeof(base), s->link_name, n) < 0 ||
        maildir_name_check(base, n, MAILDIR_NAME_BASE) < 0)
        return 0;
    out->bname = build_str(base);
    return out->bname ? build_id(&out->dir, &id) : -ENOMEM;
}

static int build_source(const struct change *ch, Mfp__OpMsg *op) {
    const Mfl__Source *s = ch->source;
    Mfp__Source *out;

    if (!s || (!s->prepared && s->link_dir.len == 0))
        return 0;
    out = malloc(sizeof(*out));
    if (!out)
        return -ENOMEM;
    mfp__source__init(out);
    op->source = out;
    if (s->prepared && !(out->prepared = build_prep(s->prepared->incarnation, s->prepared->seq)))
        return -ENOMEM;
    return build_link(s, out);
}

/* What is not told of one that cannot be read a merge finds. */
static bool unchanged(const struct change *ch) {
    if (ch->untold)
        return true;
    return ch->was.sub == ch->is.sub &&
           (ch->was.sub == MFP__SUB__SELF || strcmp(ch->was.info, ch->is.info) == 0) &&
           !ch->touched;
}

static int tell_change(struct collect *c, const struct change *ch) {
    bool added = ch->was.sub == MFP__SUB__SELF;
    Mfp__Op *op;
    int r1, r2;

    if (unchanged(ch))
        return 0;
    op = build_op(c->txn, MFP__OP__OP_MSG);
    if (!op || !(op->msg->bname = build_str(ch->base)))
        return -ENOMEM;
    op->msg->old = build_msg_state(&ch->was, &r1);
    op->msg->now = build_msg_state(&ch->is, &r2);
    if (r1 < 0 || r2 < 0)
        return -ENOMEM;
    if (!op->msg->now || (!added && !ch->touched))
        return 0;
    op->msg->meta = build_msg_meta(&ch->is);
    if (!op->msg->meta)
        return -ENOMEM;
    return added ? build_source(ch, op->msg) : 0;
}

int collect_tell_changes(struct collect *c, bool removals) {
    struct change *ch, *tmp;
    int r = 0;

    if (removals && c->held)
        return 0; /* the base keeps them */
    HASH_ITER(hh, c->changes, ch, tmp) {
        if ((ch->is.sub == MFP__SUB__SELF) == removals)
            r = tell_change(c, ch);
        if (r < 0)
            return r;
    }
    return 0;
}
