/*
 * pour_msgs: the messages of one container into another, see pour.h.
 *
 * The letters in a message's name mean what the table of its own directory says. What they mean in
 * `to` stays; names that only `from` has get free letters there, and the table says so before any
 * file does. Of a message that both have, the flags and keywords of both are set, as a merge does
 * where there is no base.
 *
 * Who gives letters in `to` has its L: he has read the table, and may write it again as he knows
 * it. So it is not written while there is an L, and all of this is done once more. In `from`
 * somebody can give letters, and Dovecot writes its table before a name: so a letter that has been
 * listed is in the table when that is read after it.
 *
 * No diagnostics.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apply_int.h"
#include "index.h"
#include "io/io.h"
#include "maildir/keywords.h"
#include "maildir/name.h"
#include "merge_int.h"
#include "pour_int.h"
#include "replica/merge.h"
#include "util/clock.h"
#include "util/str.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

struct pour {
    struct state *st;
    struct store_dir *from, *to;
    struct invals *inval;
    struct index ix; /* of `to` */
    int sub, from_fd, to_fd;
    uint32_t known; /* letters of `from` that have been looked up */
    struct maildir_keywords_remap map;
};

/* ---- keywords ---------------------------------------------------------------------- */

/* A table, with a name for each of these letters. */
static int table_of(const struct store_dir *d, uint32_t used, struct maildir_keywords **kw) {
    int r = apply_keywords_read(d->fd[0], kw);

    return r == 0 ? maildir_keywords_name_unknown(*kw, used) : r;
}

static uint32_t letters_of(const char *name) {
    struct maildir_name n;

    return maildir_name_parse(name, strlen(name), &n) == 0 ? n.keywords : 0;
}

static uint32_t letters_in(const struct index *ix) {
    struct index_msg *m, *tmp;
    uint32_t used = 0;

    HASH_ITER(hh, ix->msgs, m, tmp) {
        used |= letters_of(m->name);
    }
    return used;
}

/* The names of `from`'s letters. One for which there is no room is lost, as in a merge. */
static int add_names(struct maildir_keywords *to, const struct maildir_keywords *from) {
    unsigned i;
    int r = 0;

    for (i = 0; r == 0 && i < MAILDIR_LETTERS; i++) {
        const char *name = maildir_keywords_at(from, i);
        r = name ? maildir_keywords_add(to, name) : 0;
        r = r >= 0 || r == -ENOSPC ? 0 : r;
    }
    return r;
}

/* One that is older is nobody's by Dovecot's own rules: mailfs, which removes it, does not run. */
static bool is_locked(const struct pour *p) {
    const int64_t stale_s = 120;
    struct stat sb;

    return fstatat(p->to->fd[0], "dovecot-uidlist.lock", &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
           (int64_t)(clock_wall_ns() / 1000000000u) - (int64_t)sb.st_mtim.tv_sec < stale_s;
}

static int write_table(struct pour *p, const struct maildir_keywords *kw) {
    struct pour_apply to;
    char *text;
    size_t n;
    int r = is_locked(p) ? -ESTALE : maildir_keywords_format(kw, &text, &n);

    if (r < 0)
        return r;
    pour_apply_begin(&to, p->st, p->to);
    r = pour_apply_write(&to, "dovecot-keywords", text, n, p->inval);
    free(text);
    return r;
}

static int join_tables(struct pour *p, uint32_t used) {
    struct maildir_keywords *from = NULL, *to = NULL;
    size_t had = 0;
    unsigned i;
    int r = table_of(p->from, used, &from);

    if (r == 0)
        r = table_of(p->to, letters_in(&p->ix), &to);
    if (r == 0) {
        had = maildir_keywords_count(to);
        r = add_names(to, from);
    }
    if (r == 0 && maildir_keywords_count(to) > had)
        r = write_table(p, to);
    if (r == 0) {
        maildir_keywords_map(from, to, &p->map);
        for (i = 0; i < MAILDIR_LETTERS; i++)
            p->known |= maildir_keywords_at(from, i) ? UINT32_C(1) << i : 0;
    }
    maildir_keywords_free(from);
    maildir_keywords_free(to);
    return r;
}

/* What letters of `from` are in `to`. */
static int letters_there(struct pour *p, uint32_t letters, uint32_t *out) {
    int r = letters & ~p->known ? join_tables(p, letters) : 0;

    *out = maildir_keywords_to_letters(maildir_keywords_to_set(&p->map, letters));
    return r;
}

/* ---- names ------------------------------------------------------------------------- */

/*
 * What a message of `from` is called in `to`, with that base name: to the byte what it was called,
 * unless its letters are others there.
 */
static int name_there(struct pour *p, const char *name, const char *base,
                      char out[MAILDIR_NAME_MAX + 1]) {
    struct maildir_name n;
    uint32_t letters = 0;
    int r = maildir_name_parse(name, strlen(name), &n);

    if (r == 0)
        r = letters_there(p, n.keywords, &letters);
    if (r < 0)
        return r;
    if (letters != n.keywords)
        r = maildir_name_format(out, MAILDIR_NAME_MAX + 1, base, strlen(base),
                                p->sub == MFP__SUB__CUR, n.flags, letters);
    else
        r = str_printf(out, MAILDIR_NAME_MAX + 1, "%s%s", base, name + n.base_len);
    if (r == -ENAMETOOLONG) /* of an info that nobody understands, or it would fit */
        r = str_copy(out, MAILDIR_NAME_MAX + 1, base);
    return r < 0 ? r : 0;
}

/* 1: the message that `to` has is as long. */
static int is_as_long(struct pour *p, const struct index_msg *have, off_t size) {
    int fd = store_sub_open(p->st, p->to, have->sub, false);
    struct stat sb;

    if (fd < 0)
        return fd;
    return fstatat(fd, have->name, &sb, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : sb.st_size == size;
}

/* ---- one that both have ------------------------------------------------------------ */

static void told(struct pour *p, int from_sub, const char *from, int sub, const char *name) {
    bool same = from_sub == sub;

    inval_add(p->inval, &p->to->id, from_sub, from, same ? name : NULL, false);
    if (!same)
        inval_add(p->inval, &p->to->id, sub, NULL, name, false);
}

static int rename_there(struct pour *p, const struct index_msg *have, int sub, const char *name) {
    int from = store_sub_open(p->st, p->to, have->sub, false);
    int to = store_sub_open(p->st, p->to, sub, true);
    int r = from < 0 ? from : to;

    if (r >= 0)
        r = io_rename(from, have->name, to, name, RENAME_NOREPLACE);
    if (r < 0)
        return r;
    told(p, have->sub, have->name, sub, name);
    return index_set(&p->ix, name, sub);
}

/* What was set on the one that goes was set on this message. */
static int unite(struct pour *p, const char *name, const struct index_msg *have) {
    int sub = p->sub == MFP__SUB__CUR ? p->sub : have->sub, r;
    char as[MAILDIR_NAME_MAX + 1];
    struct maildir_name n, h;
    struct maildir_set flags;
    uint32_t letters = 0;

    if (maildir_name_parse(name, strlen(name), &n) < 0 ||
        maildir_name_parse(have->name, strlen(have->name), &h) < 0 || !n.standard || !h.standard)
        return 0;
    r = letters_there(p, n.keywords, &letters);
    if (r < 0)
        return r;
    letters |= h.keywords;
    flags = maildir_set_union(n.flags, h.flags);
    if (sub == have->sub && letters == h.keywords && maildir_set_equal(flags, h.flags))
        return 0;
    r = maildir_name_format(as, sizeof(as), have->name, h.base_len, sub == MFP__SUB__CUR, flags,
                            letters);
    if (r < 0) /* both have a name that has room for no more */
        return 0;
    r = rename_there(p, have, sub, as);
    return r == -EEXIST ? 0 : r; /* that Dovecot has twice, and will rename */
}

/* ---- messages ---------------------------------------------------------------------- */

static int move(struct pour *p, const char *name, const char *base) {
    char as[MAILDIR_NAME_MAX + 1];
    int r = name_there(p, name, base, as);

    if (r == 0)
        r = io_rename(p->from_fd, name, p->to_fd, as, RENAME_NOREPLACE);
    return r == 0 ? index_set(&p->ix, as, p->sub) : r;
}

/*
 * Two of one base name in a mailbox are one message to everybody but Dovecot, which renames one of
 * them on this node alone. So one that is another message gets another name; the same one whenever
 * this is done, and what has that is looked at likewise.
 */
static int pour_msg(struct pour *p, const char *name) {
    char base[MAILDIR_NAME_MAX + 1], other[MAILDIR_NAME_MAX + 1];
    const struct index_msg *have;
    struct stat sb;
    int r = str_copyn(base, sizeof(base), name, maildir_name_base_len(name, strlen(name)));

    if (r == 0 && fstatat(p->from_fd, name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    while (r == 0) {
        have = index_find(&p->ix, base);
        r = have ? is_as_long(p, have, sb.st_size) : 0;
        if (r < 0)
            return r;
        if (r == 1) {
            r = unite(p, name, have);
            return r == 0 ? apply_drop(p->st, &p->from->id, p->from_fd, name, true) : r;
        }
        r = have ? -EEXIST : move(p, name, base);
        if (r != -EEXIST)
            return r;
        merge_split_name(base, (uint64_t)sb.st_size, other);
        r = str_copy(base, sizeof(base), other);
    }
    return r;
}

/* What no mail client would read. */
static int pour_other(struct pour *p, const char *name) {
    int r = io_rename(p->from_fd, name, p->to_fd, name, RENAME_NOREPLACE);

    return r == -EEXIST ? merge_keep(p->st, p->from_fd, name, 'l', true) : r;
}

static int pour_name(void *arg, const char *name, unsigned char type) {
    struct pour *p = arg;
    bool is_msg =
        type == DT_REG && maildir_name_check(name, strlen(name), MAILDIR_NAME_MESSAGE) == 0;
    int r = is_msg ? pour_msg(p, name) : pour_other(p, name);

    return r == -ENOENT ? 0 : r; /* removed, or renamed, meanwhile: that is seen afterwards */
}

static int pour_part(struct pour *p, int sub) {
    p->sub = sub;
    p->from_fd = store_sub_open(p->st, p->from, sub, false);
    if (p->from_fd < 0)
        return p->from_fd == -ENOENT ? 0 : p->from_fd;
    p->to_fd = store_sub_open(p->st, p->to, sub, true);
    return p->to_fd < 0 ? p->to_fd : store_each_name(p->from_fd, pour_name, p);
}

int pour_msgs(struct state *st, struct store_dir *from, struct store_dir *to,
              struct invals *inval) {
    struct pour p = {.st = st, .from = from, .to = to, .inval = inval};
    int r = index_read(st, to, &p.ix), sub;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__CUR; sub++)
        r = pour_part(&p, sub);
    index_free(&p.ix);
    return r;
}
