/*
 * scan_msgs: the messages of a mailbox that are not as they were agreed on, or (full) all.
 *
 * A message is listed by its base name, with what it was by the base, what it is by its file's name
 * and the uidlist, and what else a merge is to know of it: the prepared content it came from, both
 * sides of a merge that the peer may not have, whether a lender has it.
 *
 * Diagnostics: none here, errors are returned.
 */
#include "scan_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "build.h"
#include "half.h"
#include "hold.h"
#include "unread.h"
#include "util/str.h"

/* What the store says of a message, with its attributes if it is to be listed. */
static void state_of(struct scan *s, const struct index_msg *m, struct base_msg *is) {
    const struct maildir_uidrec *rec = NULL;

    memset(is, 0, sizeof(*is));
    is->sub = m->sub;
    str_copy(is->info, sizeof(is->info), index_info(m));
    if (s->list)
        rec = maildir_uidlist_find(s->list, m->name, m->base_len);
    is->uid = rec ? rec->uid : 0;
}

static bool same_state(const struct base_msg *a, const struct base_msg *b) {
    return a->sub == b->sub && a->uid == b->uid && strcmp(a->info, b->info) == 0;
}

/*
 * A message that was not agreed on with the other end is borrowed if a lender has it at all: its
 * flags and UID may be further here, by what the other end itself said. One that was, if it is here
 * just as a lender has it: then this node did nothing.
 */
static bool msg_is_borrowed(const struct scan *s, const char *base, const struct base_msg *was,
                            const struct base_msg *is) {
    struct base_msg there;
    size_t i;
    int r;

    for (i = 0; i < s->n_lenders; i++) {
        r = base_msg_get(s->lenders[i], BASE_PROPOSED, s->dir, base, &there);
        if (is ? r == 0 && (!was || same_state(&there, is))
               : r == -ENOENT && scan_knows_dir(s->lenders[i], s->dir))
            return true;
    }
    return false;
}

/* Records with extensions, for what is listed. */
static int add_rec(struct scan *s, const char *base) {
    const struct maildir_uidrec *rec;
    Mfp__UidRec *r;
    int err;

    rec = s->list ? maildir_uidlist_find(s->list, base, strlen(base)) : NULL;
    if (!rec || !*rec->ext)
        return 0;
    r = build_rec(rec->uid, rec->ext, rec->base);
    err = build_push(&s->out->recs, &s->out->n_recs, r);
    if (err < 0 && r)
        mfp__uid_rec__free_unpacked(r, NULL);
    return err;
}

static int pub_cmp(const void *key, const void *el) {
    return strcmp(key, ((const struct stage_pub *)el)->name);
}

/* What we published of the peer's under this name. */
static const struct stage_pub *pub_find(const struct scan *s, const char *base) {
    return s->n_pubs ? bsearch(base, s->pubs, s->n_pubs, sizeof(*s->pubs), pub_cmp) : NULL;
}

/* The prepared content an added message has: of ours, or what we published of the peer's. */
static int fill_prep(struct scan *s, Mfp__BaseMsg *m, const char *base) {
    const struct stage_pub *pub = pub_find(s, base);
    struct base_prep prep;

    if (pub)
        m->prepared = build_prep(pub->incarnation, pub->seq);
    else if (base_prep_get(s->st, s->dir, base, &prep) == 0)
        m->prepared = build_prep(prep.incarnation, prep.seq);
    else
        return 0;
    return m->prepared ? 0 : -ENOMEM;
}

static int fill_msg(struct scan *s, Mfp__BaseMsg *m, const char *base, const struct base_msg *was,
                    const struct base_msg *is, const struct index_msg *ixm) {
    struct stat sb;
    int r1 = 0, r2 = 0;

    m->bname = build_str(base);
    if (was)
        m->was = build_msg_state(was, &r1);
    if (is)
        m->is = build_msg_state(is, &r2);
    if (!m->bname || r1 < 0 || r2 < 0)
        return -ENOMEM;
    if (!is)
        return fill_prep(s, m, base);
    if (!ixm)
        return (m->meta = build_msg_meta(is)) ? 0 : -ENOMEM;
    if (fstatat(s->d.fd[ixm->sub], ixm->name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
        !(m->meta = store_meta_new(&sb)))
        return -ENOMEM;
    if ((!was || pub_find(s, base)) && fill_prep(s, m, base) < 0)
        return -ENOMEM;
    return add_rec(s, base);
}

static Mfp__MsgState *half_state(const char *info, uint32_t uid, int *err) {
    struct base_msg b = {.sub = MFP__SUB__CUR, .uid = uid};

    if (*err < 0 || !info)
        return NULL;
    str_copy(b.info, sizeof(b.info), info);
    return build_msg_state(&b, err);
}

static int fill_half(struct scan *s, Mfp__BaseMsg *m, const char *base) {
    const struct half_msg *h = s->out->half_age ? half_find(s->st, s->dir, base) : NULL;
    int r = 0;

    if (h) {
        m->half_mine = half_state(h->mine, h->uid_mine, &r);
        m->half_theirs = half_state(h->theirs, h->uid_theirs, &r);
    }
    return r;
}

/* The peer would ask for it in vain. */
static bool cannot_be_read(const struct scan *s, const char *base, const struct index_msg *ixm) {
    struct stat sb;
    bool known;

    if (!s->some_unread)
        return false;
    known = fstatat(s->d.fd[ixm->sub], ixm->name, &sb, AT_SYMLINK_NOFOLLOW) == 0;
    return unread_is(s->st, s->dir, UNREAD_MSG, base, known ? &sb : NULL) == UNREAD_STILL;
}

static int list_msg(struct scan *s, const char *base, const struct base_msg *was,
                    const struct base_msg *is, const struct index_msg *ixm) {
    Mfp__BaseMsg *m = malloc(sizeof(*m));
    int r;

    if (!m)
        return -ENOMEM;
    mfp__base_msg__init(m);
    r = fill_msg(s, m, base, was, is, ixm);
    if (r == 0)
        r = fill_half(s, m, base);
    m->put_back = is && base_was_put_back(s->st, s->dir, base);
    m->unread = ixm && cannot_be_read(s, base, ixm);
    m->borrowed = !(was && is && same_state(was, is)) && msg_is_borrowed(s, base, was, is);
    if (r == 0)
        r = build_push(&s->out->msgs, &s->out->n_msgs, m);
    if (r < 0)
        mfp__base_msg__free_unpacked(m, NULL);
    return r;
}

static int kept_name(void *arg, const char *name, unsigned char type) {
    return *name == '.' ? 0 : index_set(arg, name, MFP__SUB__SELF);
}

/* Only who lists everything asks what is kept: else both nodes have what is held in their bases. */
static int read_kept(struct scan *s) {
    if (!s->held || !s->full)
        return 0;
    s->kept_fd = hold_kept_dir(s->st, s->dir);
    if (s->kept_fd < 0)
        return s->kept_fd == -ENOENT ? 0 : s->kept_fd;
    return store_each_name(s->kept_fd, kept_name, &s->kept);
}

/* What the other end would fetch, if it has it not: a new node. False: nobody has it then. */
static bool is_kept(const struct scan *s, const char *base, struct base_msg *is) {
    const struct index_msg *k = index_find(&s->kept, base);
    struct stat sb;

    if (!k || fstatat(s->kept_fd, k->name, &sb, AT_SYMLINK_NOFOLLOW) != 0 ||
        (s->some_unread && unread_is(s->st, s->dir, UNREAD_MSG, base, &sb) == UNREAD_STILL))
        return false;
    is->mode = sb.st_mode & 07777;
    is->owner = sb.st_uid;
    is->group = sb.st_gid;
    is->mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    is->size = (uint64_t)sb.st_size;
    return true;
}

/* As it was agreed to be. Its UID says nothing beside a uidlist that is another, or gone. */
static int list_held(struct scan *s, const char *base, const struct base_msg *was, bool lost) {
    struct base_msg is = *was;
    int r;

    if (s->out->v != s->out->base_v)
        is.uid = 0;
    if (s->full && !lost)
        lost = !is_kept(s, base, &is);
    r = s->full ? list_msg(s, base, was, &is, NULL) : 0;
    if (r == 0 && s->full)
        s->out->msgs[s->out->n_msgs - 1]->lost = lost;
    return r;
}

/* Something of it that no base says: its other name, or a merge that the peer may not have. */
static bool says_more(const struct scan *s, const char *name) {
    return pub_find(s, name) || (s->out->half_age && half_find(s->st, s->dir, name));
}

/* Listed as one that is there where the other end has it (M9), it keeps its UID. */
static bool is_lost(struct scan *s, const char *name, const struct base_msg *was) {
    bool lost = s->follows && !msg_is_borrowed(s, name, was, NULL);

    s->n_lost += lost;
    return lost;
}

static int from_base(void *arg, const char *name, const struct base_msg *was) {
    struct scan *s = arg;
    struct index_msg *m = index_find(&s->ix, name);
    struct base_msg is;

    if (!m && s->held)
        return list_held(s, name, was, false);
    if (!m && is_lost(s, name, was))
        return list_held(s, name, was, true);
    if (!m)
        return list_msg(s, name, was, NULL, NULL);
    m->seen = true;
    state_of(s, m, &is);
    return s->full || !same_state(was, &is) || says_more(s, name) ? list_msg(s, name, was, &is, m)
                                                                  : 0;
}

static bool in_base(const struct scan *s, const char *name) {
    struct base_msg msg;

    return base_msg_get(s->st, BASE_AGREED, s->dir, name, &msg) == 0;
}

/* Not what only was about to be published (the disk had no room): nobody has seen that, and the
 * peer may have named it. */
static int was_published(const struct scan *s, const struct stage_pub *pub) {
    return pub->done ? 1 : stage_was_expunged(s->st, pub);
}

/* list_removed() will list it. */
static bool was_prepared(const struct scan *s, const char *name) {
    const struct stage_pub *pub = pub_find(s, name);
    struct base_prep prep;

    return (pub && was_published(s, pub) != 0) || base_prep_get(s->st, s->dir, name, &prep) == 0;
}

/* Came here by a merge that the peer may not have, or was here before that, and is gone again. */
static int list_gone_half(void *arg, const char *name) {
    struct scan *s = arg;

    if (index_find(&s->ix, name) || in_base(s, name) || was_prepared(s, name))
        return 0;
    return list_msg(s, name, NULL, NULL, NULL);
}

int scan_msgs(struct scan *s) {
    char base[MAILDIR_NAME_MAX + 1];
    struct index_msg *m, *tmp;
    struct base_msg is;
    int r;

    s->some_unread = unread_in(s->st, s->dir);
    r = read_kept(s);
    if (r == 0)
        r = base_each_msg(s->st, s->dir, from_base, s);

    HASH_ITER(hh, s->ix.msgs, m, tmp) {
        if (r < 0)
            break;
        if (m->seen)
            continue;
        state_of(s, m, &is);
        str_copyn(base, sizeof(base), m->name, m->base_len);
        r = list_msg(s, base, NULL, &is, m);
    }
    if (r == 0)
        r = half_each(s->st, s->dir, list_gone_half, s);
    return r;
}

/* Added here, or published, and removed again: what the peer has of the same prepared content was
 * removed as well. It is listed as if it had been in the base, in new/. */
static int list_removed(void *arg, const char *name) {
    static const struct base_msg was = {.sub = MFP__SUB__NEW};
    struct scan *s = arg;

    if (index_find(&s->ix, name) || in_base(s, name))
        return 0;
    return list_msg(s, name, &was, NULL, NULL);
}

int scan_removed(struct scan *s) {
    size_t i;
    int r = base_each_prep(s->st, s->dir, list_removed, s);

    for (i = 0; r == 0 && i < s->n_pubs; i++) {
        r = was_published(s, &s->pubs[i]);
        if (r > 0)
            r = list_removed(s, s->pubs[i].name);
    }
    return r;
}
