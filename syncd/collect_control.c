/*
 * collect_control: what changed in dovecot-uidlist, dovecot-keywords and subscriptions.
 *
 * Of the uidlist a note is kept per container (inode, size, time, V, next UID): while the file only
 * grows, only what was appended is read, so that a delivery costs the same in a mailbox of ten and
 * of a hundred thousand messages. After a rewrite all is read, and the records that the peer does
 * not have are sent.
 *
 * Diagnostics: a uidlist that Dovecot would call corrupted is logged and not sent.
 */
#include "collect_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/subs.h"
#include "maildir/uidlist.h"
#include "state_int.h"

#define KEYWORDS_FILE_MAX (1u << 20)

/* ---- the note ---------------------------------------------------------------------- */

static struct ulcache note_get(struct state *st, const struct mailfs_id *dir) {
    struct ulcache *u, copy;

    memset(&copy, 0, sizeof(copy));
    state_lock(st);
    HASH_FIND(hh, st->uidlists, dir, sizeof(*dir), u);
    if (u)
        copy = *u;
    state_unlock(st);
    return copy;
}

static void note_put(struct state *st, const struct mailfs_id *dir, const struct ulcache *now) {
    struct ulcache *u;

    state_lock(st);
    HASH_FIND(hh, st->uidlists, dir, sizeof(*dir), u);
    if (!u && (u = calloc(1, sizeof(*u)))) {
        u->dir = *dir;
        HASH_ADD(hh, st->uidlists, dir, sizeof(u->dir), u);
    }
    if (u) {
        u->ino = now->ino;
        u->size = now->size;
        u->mtime = now->mtime;
        u->v = now->v;
        u->n = now->n;
        u->kw_ino = now->kw_ino;
        u->kw_mtime = now->kw_mtime;
    }
    state_unlock(st);
}

void collect_note_uidlist(struct state *st, const struct mailfs_id *dir, const struct stat *sb,
                          off_t size, uint32_t v, uint32_t n) {
    struct ulcache u = note_get(st, dir);

    u.ino = sb->st_ino;
    u.size = size;
    u.mtime = sb->st_mtim;
    u.v = v;
    u.n = n;
    note_put(st, dir, &u);
}

static bool note_is(const struct ulcache *u, const struct stat *sb) {
    return u->ino && u->ino == sb->st_ino && u->size == sb->st_size &&
           u->mtime.tv_sec == sb->st_mtim.tv_sec && u->mtime.tv_nsec == sb->st_mtim.tv_nsec;
}

bool collect_note_matches(struct state *st, const struct mailfs_id *dir, const struct stat *sb,
                          uint32_t *v, uint32_t *n) {
    struct ulcache u = note_get(st, dir);

    *v = u.v;
    *n = u.n;
    return note_is(&u, sb);
}

void collect_forget_notes(struct state *st, const struct mailfs_id *dir) {
    struct ulcache *u, *tmp;

    state_lock(st);
    HASH_ITER(hh, st->uidlists, u, tmp) {
        if (dir && !mailfs_id_equal(&u->dir, dir))
            continue;
        HASH_DEL(st->uidlists, u);
        free(u);
    }
    state_unlock(st);
}

/* ---- uidlist ----------------------------------------------------------------------- */

/* Is it news? A record is, when its message is here and the peer does not know it under this UID,
 * of this V. */
static int is_news(struct collect *c, const struct maildir_uidrec *rec) {
    struct change *ch;
    struct base_msg msg;
    int r;

    HASH_FIND_STR(c->changes, rec->base, ch);
    if (ch) {
        if (ch->untold || ch->is.sub == MFP__SUB__SELF ||
            (ch->was.sub && ch->was.uid == rec->uid && !c->anew))
            return 0;
        ch->is.uid = rec->uid;
        return 1;
    }
    r = base_msg_get(c->st, BASE_SENT, c->dir, rec->base, &msg);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return c->anew || msg.uid != rec->uid;
}

static int add_rec(struct collect *c, Mfp__OpUidlist *op, const struct maildir_uidrec *rec) {
    Mfp__UidRec *r;
    int err = is_news(c, rec);

    if (err <= 0)
        return err;
    r = build_rec(rec->uid, rec->ext, rec->base);
    err = build_push(&op->recs, &op->n_recs, r);
    if (err < 0 && r)
        mfp__uid_rec__free_unpacked(r, NULL);
    return err;
}

static int add_list(struct collect *c, Mfp__OpUidlist *op, const struct maildir_uidlist *list) {
    size_t i, n = maildir_uidlist_count(list);
    int r = 0;

    for (i = 0; r == 0 && i < n; i++)
        r = add_rec(c, op, maildir_uidlist_at(list, i));
    return r;
}

/* Of the parsed list (all of it, or the tail): an operation if there is anything to tell. */
static int tell_uidlist(struct collect *c, const struct maildir_uidlist *list, bool whole) {
    struct base_uidlist known;
    const char *ext = whole ? maildir_uidlist_header_rest(list) : NULL;
    Mfp__Op *op = build_op(c->txn, MFP__OP__OP_UIDLIST);
    int r = op ? base_uidlist_get(c->st, BASE_SENT, c->dir, &known) : -ENOMEM;
    bool same_head;

    if (r < 0 && r != -ENOENT)
        return r;
    op->uidlist->v = maildir_uidlist_validity(list);
    op->uidlist->n = maildir_uidlist_next(list);
    same_head = known.v == op->uidlist->v && known.n >= op->uidlist->n &&
                (!ext || (known.header_ext && strcmp(known.header_ext, ext) == 0));
    c->anew = known.v != 0 && known.v != op->uidlist->v;
    free(known.header_ext);
    if (ext && !(op->uidlist->header_ext = build_str(ext)))
        return -ENOMEM;
    r = add_list(c, op->uidlist, list);
    if (r == 0 && same_head && op->uidlist->n_recs == 0) {
        mfp__op__free_unpacked(op, NULL);
        c->txn->n_ops--;
    }
    return r;
}

static int parse_whole(int fd, struct maildir_uidlist **list, off_t *used, struct stat *sb) {
    struct maildir_uidlist_report rep;
    char *text;
    size_t n;
    int r = io_file_read_fd(fd, MAILDIR_UIDLIST_TEXT_MAX, &text, &n, sb);

    if (r < 0)
        return r;
    r = maildir_uidlist_parse(text, n, list, &rep);
    *used = (off_t)rep.used;
    free(text);
    return r;
}

static int parse_tail(int fd, const struct ulcache *u, const struct stat *sb,
                      struct maildir_uidlist **list, off_t *used) {
    struct maildir_uidlist_report rep;
    size_t len = (size_t)(sb->st_size - u->size);
    char *text = malloc(len + 1);
    ssize_t n;
    int r;

    if (!text)
        return -ENOMEM;
    n = pread(fd, text, len, u->size);
    r = n < 0 ? -errno : maildir_uidlist_new(u->v, u->n, NULL, list);
    if (r == 0) {
        text[n] = '\0';
        memset(&rep, 0, sizeof(rep));
        r = maildir_uidlist_parse_tail(*list, text, (size_t)n, &rep);
        *used = u->size + (off_t)rep.used;
        if (r < 0) {
            maildir_uidlist_free(*list);
            *list = NULL;
        }
    }
    free(text);
    return r;
}

static int look_uidlist(struct collect *c, int fd) {
    struct ulcache u = note_get(c->st, c->dir);
    struct maildir_uidlist *list = NULL;
    struct stat sb;
    bool grown;
    off_t used = 0;
    int r;

    if (fstat(fd, &sb) < 0)
        return -errno;
    if (note_is(&u, &sb))
        return 0;
    grown = u.ino == sb.st_ino && sb.st_size > u.size && u.size > 0;
    r = grown ? parse_tail(fd, &u, &sb, &list, &used) : -EAGAIN;
    if (r < 0) {
        grown = false;
        r = parse_whole(fd, &list, &used, &sb);
    }
    if (r == 0)
        r = tell_uidlist(c, list, !grown);
    if (r == 0)
        collect_note_uidlist(c->st, c->dir, &sb, used, maildir_uidlist_validity(list),
                             maildir_uidlist_next(list));
    maildir_uidlist_free(list);
    return r;
}

int collect_uidlist(struct collect *c) {
    int fd = io_open_beneath(c->d.fd[0], "dovecot-uidlist", O_RDONLY | O_NONBLOCK, 0), r;

    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = look_uidlist(c, fd);
    close(fd);
    if (r == -EBADMSG || r == -EPROTONOSUPPORT) {
        state_fail(c->st, r, c->dir, "dovecot-uidlist is broken; not sent");
        return 0;
    }
    return r == -ENODATA ? 0 : r;
}

/* ---- keywords, subscriptions ------------------------------------------------------- */

static int tell_keywords(struct collect *c, const char *text, size_t n) {
    char *known;
    size_t nknown;
    Mfp__Op *op;
    bool same;
    int r = base_text_get(c->st, BASE_SENT, c->dir, BASE_KEYWORDS, &known, &nknown);

    if (r < 0 && r != -ENOENT)
        return r;
    same = r == 0 && nknown == n && memcmp(known, text, n) == 0;
    free(known);
    if (same || (r == -ENOENT && n == 0))
        return 0;
    op = build_op(c->txn, MFP__OP__OP_KEYWORDS);
    return op ? build_bytes(&op->keywords->content, text, n) : -ENOMEM;
}

int collect_keywords(struct collect *c) {
    struct ulcache u = note_get(c->st, c->dir);
    struct stat sb;
    char *text;
    size_t n;
    int r;

    if (fstatat(c->d.fd[0], "dovecot-keywords", &sb, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (sb.st_ino == u.kw_ino && sb.st_mtim.tv_sec == u.kw_mtime.tv_sec &&
        sb.st_mtim.tv_nsec == u.kw_mtime.tv_nsec)
        return 0;
    r = io_file_read_at(c->d.fd[0], "dovecot-keywords", KEYWORDS_FILE_MAX, &text, &n, &sb);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = tell_keywords(c, text, n);
    free(text);
    if (r == 0) {
        u.kw_ino = sb.st_ino;
        u.kw_mtime = sb.st_mtim;
        note_put(c->st, c->dir, &u);
    }
    return r;
}

static int tell_subs(struct collect *c, struct maildir_subs *was, struct maildir_subs *is) {
    struct maildir_subs *added = NULL, *removed = NULL;
    Mfp__Op *op;
    int r;

    if (was && maildir_subs_version(was) < maildir_subs_version(is))
        maildir_subs_upgrade(was, '.');
    r = maildir_subs_diff(was, is, &added, &removed);
    if (r == 0 && (maildir_subs_count(added) || maildir_subs_count(removed))) {
        op = build_op(c->txn, MFP__OP__OP_LINES);
        r = op && (op->lines->name = build_str("subscriptions")) ? 0 : -ENOMEM;
        if (r == 0)
            op->lines->version = maildir_subs_version(is);
        if (r == 0)
            r = build_push_lines(&op->lines->added, &op->lines->n_added, added);
        if (r == 0)
            r = build_push_lines(&op->lines->removed, &op->lines->n_removed, removed);
    }
    maildir_subs_free(added);
    maildir_subs_free(removed);
    return r;
}

int collect_subs(struct collect *c) {
    struct maildir_subs *was = NULL, *is = NULL;
    char *text = NULL;
    size_t n;
    int r = base_text_get(c->st, BASE_SENT, c->dir, BASE_SUBS, &text, &n);

    if (r == 0)
        r = maildir_subs_parse(text, n, &was);
    free(text);
    text = NULL;
    if (r < 0 && r != -ENOENT)
        return r;
    r = io_file_read_at(c->d.fd[0], "subscriptions", MAILDIR_SUBS_TEXT_MAX, &text, &n, NULL);
    if (r == 0)
        r = maildir_subs_parse(text, n, &is);
    else if (r == -ENOENT)
        r = maildir_subs_new(was ? maildir_subs_version(was) : 1, &is);
    if (r == 0)
        r = tell_subs(c, was, is);
    free(text);
    maildir_subs_free(was);
    maildir_subs_free(is);
    return r;
}
