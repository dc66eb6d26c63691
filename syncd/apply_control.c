/*
 * apply_control: keyword table, uidlist, subscriptions, maildirsize.
 *
 * The uidlist is what Dovecot must never see wrong: it only grows, N never goes down, no UID is
 * bound again. Records that only add to the end are appended to the file in place (while the file
 * is as it was when last looked at, without reading it); anything else is a new inode with a time
 * it never had. So is all that is written while somebody may have L.
 *
 * No diagnostics but of apply.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply_int.h"
#include "asks.h"
#include "io/file.h"
#include "io/io.h"
#include "maildir/keywords.h"
#include "maildir/size.h"
#include "maildir/subs.h"
#include "maildir/uidlist.h"
#include "util/buf.h"
#include "util/clock.h"

#define UIDLIST           "dovecot-uidlist"
#define KEYWORDS          "dovecot-keywords"
#define SUBSCRIPTIONS     "subscriptions"
#define KEYWORDS_FILE_MAX (1u << 20)

/* ---- control files ----------------------------------------------------------------- */

/* What L alone protects. */
static bool is_under_lock(const char *name) {
    return strcmp(name, UIDLIST) == 0 || strcmp(name, KEYWORDS) == 0;
}

int apply_write_control(struct apply *a, const char *name, const char *text, size_t n) {
    /* The temporary file in the stage, where a crash's is found. */
    struct io_file_attr attr = {
        .set_owner = geteuid() == 0, .set_mtime = 1, .has_tmpdir = 1, .tmpdir = a->st->stage};
    uint64_t now = clock_wall_ns();
    struct stat sb;
    int r;

    if (a->st->read_only)
        return -EROFS;
    attr.mtime.tv_sec = (time_t)(now / 1000000000u);
    attr.mtime.tv_nsec = (long)(now % 1000000000u);
    if (fstatat(a->d.fd[0], name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(sb.st_mode)) {
        /* Dovecot compares some of them by whole seconds. */
        if (attr.mtime.tv_sec <= sb.st_mtim.tv_sec)
            attr.mtime.tv_sec = sb.st_mtim.tv_sec + 1;
        attr.mode = sb.st_mode & 07777;
    } else {
        if (fstat(a->d.fd[0], &sb) < 0)
            return -errno;
        attr.mode = sb.st_mode & 0666;
    }
    attr.uid = sb.st_uid;
    attr.gid = sb.st_gid;
    attr.go_on = is_under_lock(name) ? asks_still : NULL;
    r = io_file_replace_at(a->d.fd[0], name, text, n, &attr);
    if (r == 0)
        inval_add(&a->out->inval, &a->dir, MFL__SUB__SELF, name, name, true);
    return r;
}

int apply_keywords_read(int dirfd, struct maildir_keywords **kw) {
    char *text;
    size_t n;
    int r = io_file_read_at(dirfd, KEYWORDS, KEYWORDS_FILE_MAX, &text, &n, NULL);

    if (r < 0)
        return r == -ENOENT ? maildir_keywords_new(kw) : r;
    r = maildir_keywords_parse(text, n, kw, NULL);
    free(text);
    return r;
}

/* Does the first table say nothing that the second does not say alike? */
static bool keywords_within(const char *text, size_t n, const char *all, size_t nall) {
    struct maildir_keywords *some = NULL, *whole = NULL;
    bool within = false;
    unsigned i;

    if (maildir_keywords_parse(text, n, &some, NULL) == 0 &&
        maildir_keywords_parse(all, nall, &whole, NULL) == 0) {
        within = true;
        for (i = 0; within && i < maildir_keywords_end(some); i++) {
            const char *name = maildir_keywords_at(some, i);
            if (name && maildir_keywords_find(whole, name) != (int)i)
                within = false;
        }
    }
    maildir_keywords_free(some);
    maildir_keywords_free(whole);
    return within;
}

/* What this node has here the peer did not know when it did this: the merge says what becomes of
 * both. */
static bool never_merged(const struct apply *a) {
    struct base_dir rec;

    return base_dir_get(a->st, &a->dir, &rec) == 0 && rec.agreed && !rec.merged;
}

/*
 * Where both have given names since they were apart, and the mailbox is not merged yet, the table
 * here is what says what the letters here mean: it stays, and what comes with the peer's is left to
 * the merge (letters_agreed()).
 */
int apply_keywords(struct apply *a, const Mfp__OpKeywords *op) {
    const char *text = op->content.len ? (const char *)op->content.data : "";
    char *have = NULL;
    size_t n = 0;
    int r = io_file_read_at(a->d.fd[0], KEYWORDS, KEYWORDS_FILE_MAX, &have, &n, NULL);
    bool later, same;

    if (r < 0 && r != -ENOENT)
        return r;
    same = r == 0 && n == op->content.len && memcmp(have, text, n) == 0;
    /* Applied again after later ones: the table here says all that, and more. */
    later = a->replay && r == 0 && keywords_within(text, op->content.len, have, n);
    a->has_table = r < 0 || same || later || keywords_within(have, n, text, op->content.len);
    free(have);
    if (a->has_table)
        return same || later ? 0 : apply_write_control(a, KEYWORDS, text, op->content.len);
    apply_suspect(a, "keywords were named on both sides", NULL);
    return APPLY_NOT_DONE;
}

static int agreed_table(struct apply *a, struct maildir_keywords **kw) {
    char *text;
    size_t n;
    int r = base_text_get(a->st, BASE_AGREED, &a->dir, BASE_KEYWORDS, &text, &n);

    if (r < 0)
        return r == -ENOENT ? maildir_keywords_new(kw) : r;
    r = maildir_keywords_parse(text, n, kw, NULL);
    free(text);
    return r;
}

/* What only this node has named is not what the peer means by it. */
static uint32_t own_letters(const struct maildir_keywords *own,
                            const struct maildir_keywords *agreed) {
    uint32_t out = 0;
    unsigned i;

    for (i = 0; i < MAILDIR_LETTERS; i++) {
        const char *name = maildir_keywords_at(own, i);
        if (name && maildir_keywords_find(agreed, name) != (int)i)
            out |= UINT32_C(1) << i;
    }
    return out;
}

int apply_letters_agreed(struct apply *a, uint32_t letters) {
    struct maildir_keywords *own = NULL, *agreed = NULL;
    int r = 0;

    if (letters == 0 || a->has_table)
        return 1;
    if (!a->has_own_letters) {
        r = apply_keywords_read(a->d.fd[0], &own);
        if (r == 0)
            r = agreed_table(a, &agreed);
        if (r == 0)
            a->own_letters = own_letters(own, agreed);
        a->has_own_letters = r == 0;
        maildir_keywords_free(own);
        maildir_keywords_free(agreed);
    }
    return r < 0 ? r : (letters & a->own_letters) == 0;
}

/* ---- uidlist ----------------------------------------------------------------------- */

static void note_written(struct apply *a, const struct maildir_uidlist *list) {
    struct stat sb;

    if (fstatat(a->d.fd[0], UIDLIST, &sb, AT_SYMLINK_NOFOLLOW) == 0)
        collect_note_uidlist(a->st, &a->dir, &sb, sb.st_size, maildir_uidlist_validity(list),
                             maildir_uidlist_next(list));
}

int apply_write_uidlist(struct apply *a, struct maildir_uidlist *list) {
    char *text;
    size_t n;
    int r = maildir_uidlist_format(list, &text, &n);

    if (r == 0)
        r = apply_write_control(a, UIDLIST, text, n);
    if (r == 0)
        note_written(a, list);
    free(text);
    return r;
}

int apply_renumbered(struct apply *a) {
    uint64_t now = clock_wall_ns();
    struct timespec ts = {(time_t)(now / 1000000000u), (long)(now % 1000000000u)};
    struct timespec both[2] = {ts, ts};
    int r = io_utimens(a->d.fd[0], "new", both), r2 = io_utimens(a->d.fd[0], "cur", both);

    inval_poke(&a->out->inval, &a->dir, MFP__SUB__NEW);
    inval_poke(&a->out->inval, &a->dir, MFP__SUB__CUR);
    if (r == 0 || r == -ENOENT)
        r = r2;
    return r == -ENOENT ? 0 : r;
}

static int append_text(struct apply *a, const char *text, size_t n) {
    int fd = io_open_beneath(a->d.fd[0], UIDLIST, O_WRONLY | O_APPEND | O_NONBLOCK, 0), r;
    struct stat sb;

    if (fd < 0)
        return fd;
    /* The list that is open: a mailfs that gives L by itself puts another one in its place. */
    r = fstat(fd, &sb) < 0 ? -errno : asks_still();
    if (r < 0) {
        close(fd);
        return r;
    }
    r = io_write_all(fd, text, n);
    /* Half a line, and Dovecot would throw the file away and number everything anew. */
    if (r < 0)
        io_ftruncate(fd, sb.st_size);
    close(fd);
    if (r == 0)
        inval_add(&a->out->inval, &a->dir, MFL__SUB__SELF, UIDLIST, UIDLIST, true);
    return r;
}

/* May this record be bound here? Only if it is already, or to a number nobody can have seen here.
 */
static bool may_bind(struct maildir_uidlist *list, uint32_t next, const Mfp__UidRec *rec) {
    const struct maildir_uidrec *have;

    if (rec->uid >= next)
        return true;
    have = maildir_uidlist_find(list, rec->bname, strlen(rec->bname));
    return have && have->uid == rec->uid;
}

static int update_of(struct apply *a, struct maildir_uidlist *list, const Mfp__OpUidlist *op,
                     struct maildir_uidlist_update *u, bool *skipped) {
    struct maildir_uidrec *recs = calloc(op->n_recs + 1, sizeof(*recs));
    uint32_t next = op->v > maildir_uidlist_validity(list) ? 1 : maildir_uidlist_next(list);
    size_t i, n = 0;

    if (!recs)
        return -ENOMEM;
    for (i = 0; i < op->n_recs; i++) {
        if (!may_bind(list, next, op->recs[i])) {
            apply_suspect(a, "a UID that may have been seen here", op->recs[i]->bname);
            *skipped = true;
            continue;
        }
        recs[n].uid = op->recs[i]->uid;
        recs[n].ext = op->recs[i]->ext ? op->recs[i]->ext : "";
        recs[n++].base = op->recs[i]->bname;
    }
    memset(u, 0, sizeof(*u));
    u->validity = op->v;
    u->next = op->n;
    u->header_rest = op->header_ext && *op->header_ext ? op->header_ext : NULL;
    u->recs = recs;
    u->count = n;
    return 0;
}

/* The file is as it was last seen, and all the records come after its end: their lines. 1: not so.
 */
static int append_blind(struct apply *a, const Mfp__OpUidlist *op) {
    struct stat sb;
    struct buf b;
    uint32_t v, n;
    size_t i;
    int r;

    if (op->n_recs == 0 || (op->header_ext && *op->header_ext) ||
        fstatat(a->d.fd[0], UIDLIST, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
        !collect_note_matches(a->st, &a->dir, &sb, &v, &n) || v != op->v)
        return 1;
    if (op->recs[0]->uid < n || op->n > op->recs[op->n_recs - 1]->uid + 1)
        return 1;
    buf_init(&b, 64u << 20);
    for (i = 0; i < op->n_recs; i++) {
        const Mfp__UidRec *rec = op->recs[i];
        struct base_msg msg;
        /* A base that had a UID is bound anew: that needs the whole list. */
        if (base_msg_get(a->st, BASE_SENT, &a->dir, rec->bname, &msg) == 0 && msg.uid)
            break;
        buf_printf(&b, "%u %s%s:%s\n", rec->uid, rec->ext, *rec->ext ? " " : "", rec->bname);
    }
    r = i < op->n_recs ? 1 : buf_error(&b);
    if (r == 0)
        r = append_text(a, b.p, b.len);
    buf_free(&b);
    if (r == 0 && fstatat(a->d.fd[0], UIDLIST, &sb, AT_SYMLINK_NOFOLLOW) == 0)
        collect_note_uidlist(a->st, &a->dir, &sb, sb.st_size, op->v,
                             op->recs[op->n_recs - 1]->uid + 1);
    return r;
}

static int read_list(struct apply *a, const Mfp__OpUidlist *op, struct maildir_uidlist **list) {
    struct maildir_uidlist_report rep;
    char *text;
    size_t n;
    int r = io_file_read_at(a->d.fd[0], UIDLIST, MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    if (r == 0) {
        memset(&rep, 0, sizeof(rep));
        r = maildir_uidlist_parse(text, n, list, &rep);
        free(text);
        if (r == 0 && (rep.torn || rep.used != n))
            return 1; /* torn by a crash: to be written anew */
    }
    if (r == -ENOENT || r == -ENODATA)
        return maildir_uidlist_new(op->v, 1, NULL, list) == 0 ? 1 : -ENOMEM;
    return r;
}

/* What its N says is another one's than the peer's: the merge tells that one. */
static int mark_raised(struct apply *a) {
    uint64_t gen;
    int r = state_mark_gen(a->st, &gen);

    return r == 0 ? state_mark(a->st, &a->dir, gen) : r;
}

/* In one write, or somebody could begin where the owner of L has. */
static int write_raised(struct apply *a, struct maildir_uidlist *list) {
    struct stat was = {0}, is;
    bool had = fstatat(a->d.fd[0], UIDLIST, &was, AT_SYMLINK_NOFOLLOW) == 0;
    int r = mark_raised(a);

    maildir_uidlist_raise_next_to(list, replica_raised_over(maildir_uidlist_next(list), a->raise));
    if (r == 0)
        r = apply_write_uidlist(a, list);
    if (r == 0)
        a->out->raised = true;
    else if (r != -EOWNERDEAD) /* asks_still(): another has the name then, and this one had not */
        a->out->unsure = fstatat(a->d.fd[0], UIDLIST, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
                         (!had || was.st_ino != is.st_ino || was.st_dev != is.st_dev);
    return r;
}

static int write_merged(struct apply *a, struct maildir_uidlist *list, bool fresh,
                        const struct maildir_uidlist_result *res) {
    int r = 0;

    if (!fresh && res->change == MAILDIR_UIDLIST_SAME)
        return 0;
    if (a->raise != REPLICA_RAISE_NONE)
        return write_raised(a, list);
    if (fresh || res->change == MAILDIR_UIDLIST_REWRITE)
        return apply_write_uidlist(a, list);
    r = append_text(a, res->append, res->append_len);
    if (r == 0)
        note_written(a, list);
    return r;
}

int apply_uidlist(struct apply *a, const Mfp__OpUidlist *op) {
    struct maildir_uidlist_result res = {.change = MAILDIR_UIDLIST_SAME};
    struct maildir_uidlist_update up;
    struct maildir_uidlist *list = NULL;
    bool skipped = false, anew = false;
    int r = a->raise != REPLICA_RAISE_NONE ? 1 : append_blind(a, op), fresh;

    if (r <= 0)
        return r;
    fresh = r = read_list(a, op, &list);
    if (r == 0 && op->v != maildir_uidlist_validity(list) && never_merged(a))
        r = -ESTALE;
    if (r >= 0)
        r = update_of(a, list, op, &up, &skipped);
    if (r == 0) {
        anew = op->v > maildir_uidlist_validity(list);
        r = maildir_uidlist_merge(list, &up, &res);
        free((void *)up.recs);
    }
    if (r == -EEXIST || r == -ESTALE) {
        apply_suspect(a, "the uidlist does not fit the peer's", NULL);
        r = APPLY_NOT_DONE;
    } else if (r == 0) {
        r = write_merged(a, list, fresh, &res);
    }
    if (r == 0 && anew)
        r = apply_renumbered(a);
    free(res.append);
    maildir_uidlist_free(list);
    return r == 0 && skipped ? APPLY_NOT_DONE : r;
}

/* ---- subscriptions ----------------------------------------------------------------- */

static int lines_change(struct maildir_subs *s, const Mfp__OpLines *op) {
    size_t i;
    int changed = 0, r = 0;

    for (i = 0; r >= 0 && i < op->n_removed; i++) {
        r = maildir_subs_remove(s, op->removed[i]);
        changed |= r > 0;
    }
    for (i = 0; r >= 0 && i < op->n_added; i++) {
        r = maildir_subs_add(s, op->added[i]);
        changed |= r > 0;
    }
    return r < 0 ? r : changed;
}

static int change_lines(struct apply *a, const Mfp__OpLines *op) {
    struct maildir_subs *s = NULL;
    char *text = NULL, *out = NULL;
    size_t n;
    int r;

    r = io_file_read_at(a->d.fd[0], SUBSCRIPTIONS, MAILDIR_SUBS_TEXT_MAX, &text, &n, NULL);
    if (r == 0 && n)
        r = maildir_subs_parse(text, n, &s);
    else if (r == 0 || r == -ENOENT)
        r = maildir_subs_new(op->version == 2 ? 2 : 1, &s);
    free(text);
    if (r < 0)
        return r;
    if (op->version == 2 && maildir_subs_version(s) == 1)
        maildir_subs_upgrade(s, '.');
    r = lines_change(s, op);
    if (r > 0) {
        r = maildir_subs_format(s, &out, &n);
        if (r == 0)
            r = apply_write_control(a, SUBSCRIPTIONS, out, n);
    }
    free(out);
    maildir_subs_free(s);
    return r;
}

int apply_lines(struct apply *a, const Mfp__OpLines *op) {
    bool locked;
    int r;

    if (strcmp(op->name, SUBSCRIPTIONS) != 0)
        return -EINVAL;
    locked = apply_subs_lock(a);
    r = change_lines(a, op);
    if (locked)
        apply_subs_unlock(a);
    return r;
}

/* ---- maildirsize ------------------------------------------------------------------- */

#define UP       "../"
#define UP_SEVEN UP UP UP UP UP UP UP

/*
 * Of this container, or of the nearest above it that has one (Maildir++: the user's INBOX). Looked
 * for by way of `..`: where there is none, for which each message would otherwise open every
 * container up to the root, that is 1 system call a level instead of 6.
 */
static int size_file(struct apply *a, struct mailfs_id *where) {
    static const char path[] = UP_SEVEN MAILDIR_SIZE_NAME;
    const char *at = path + strlen(UP_SEVEN);
    struct base_dir rec;
    struct store_dir d;
    struct stat sb;
    int fd;

    *where = a->dir;
    while (fstatat(a->d.fd[0], at, &sb, AT_SYMLINK_NOFOLLOW) < 0) {
        if (at == path || mailfs_id_is_root(where) || base_dir_get(a->st, where, &rec) < 0)
            return -ENOENT;
        *where = rec.parent;
        at -= strlen(UP);
    }
    if (store_dir_open(a->st, where, &d) < 0)
        return -ENOENT;
    fd = io_open_beneath(d.fd[0], MAILDIR_SIZE_NAME, O_WRONLY | O_APPEND | O_NONBLOCK, 0);
    store_dir_close(&d);
    return fd;
}

int apply_maildirsize(struct apply *a) {
    char line[MAILDIR_SIZE_LINE_MAX];
    struct mailfs_id where;
    int n, fd, r;

    if (a->size_count == 0 && a->size_bytes == 0)
        return 0;
    fd = size_file(a, &where);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    n = maildir_size_format(line, sizeof(line), a->size_bytes, a->size_count);
    r = n < 0 ? n : io_write_all(fd, line, (size_t)n);
    close(fd);
    if (r == 0)
        inval_add(&a->out->inval, &where, MFL__SUB__SELF, MAILDIR_SIZE_NAME, MAILDIR_SIZE_NAME,
                  true);
    return r;
}
