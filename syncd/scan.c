/*
 * scan: what a mailbox holds now against the agreed base, as a listing for the peer.
 *
 * Names and the uidlist are read once; a message is looked at (lstat) only when it is listed. A
 * file is read only when its size or time is not the base's.
 *
 * Diagnostics: what could not be read, with the container.
 */
#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base.h"
#include "build.h"
#include "files.h"
#include "half.h"
#include "hold.h"
#include "index.h"
#include "io/file.h"
#include "maildir/class.h"
#include "maildir/subs.h"
#include "maildir/uidlist.h"
#include "stage.h"
#include "state_int.h"
#include "store.h"
#include "util/str.h"

#define KEYWORDS_FILE_MAX (1u << 20)

struct scan {
    struct state *st;
    const struct mailfs_id *dir;
    bool full;
    bool held; /* what is missing counts as there (hold.h) */
    struct store_dir d;
    struct index ix;
    struct maildir_uidlist *list; /* NULL: there is none */
    struct stage_pub *pubs;       /* messages published here when their origin was gone */
    size_t n_pubs;
    struct state *const *lenders;
    size_t n_lenders;
    Mfp__Listing *out;
};

/* ---- what is another node's -------------------------------------------------------- */

/* Does that node have this container, with all that is said of it? */
static bool knows_dir(struct state *lender, const struct mailfs_id *dir) {
    struct base_dir rec;

    return base_dir_get_in(lender, BASE_PROPOSED, dir, &rec) == 0 && rec.merged;
}

/* ---- messages ---------------------------------------------------------------------- */

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
               : r == -ENOENT && knows_dir(s->lenders[i], s->dir))
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

static Mfp__MsgState *half_state(const char *info, int *err) {
    struct base_msg b = {.sub = MFP__SUB__CUR};

    str_copy(b.info, sizeof(b.info), info);
    return *err < 0 ? NULL : build_msg_state(&b, err);
}

static int fill_half(struct scan *s, Mfp__BaseMsg *m, const char *base) {
    const struct half_msg *h = s->out->half_age ? half_find(s->st, s->dir, base) : NULL;
    int r = 0;

    if (h) {
        m->half_mine = half_state(h->mine, &r);
        m->half_theirs = half_state(h->theirs, &r);
    }
    return r;
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
    m->borrowed = !(was && is && same_state(was, is)) && msg_is_borrowed(s, base, was, is);
    if (r == 0)
        r = build_push(&s->out->msgs, &s->out->n_msgs, m);
    if (r < 0)
        mfp__base_msg__free_unpacked(m, NULL);
    return r;
}

/* As it was agreed to be. Its UID says nothing beside a uidlist that is another, or gone. */
static int list_held(struct scan *s, const char *base, const struct base_msg *was) {
    struct base_msg is = *was;

    if (s->out->v != s->out->base_v)
        is.uid = 0;
    return s->full ? list_msg(s, base, was, &is, NULL) : 0;
}

/* Something of it that no base says: its other name, or a merge that the peer may not have. */
static bool says_more(const struct scan *s, const char *name) {
    return pub_find(s, name) || (s->out->half_age && half_find(s->st, s->dir, name));
}

static int from_base(void *arg, const char *name, const struct base_msg *was) {
    struct scan *s = arg;
    struct index_msg *m = index_find(&s->ix, name);
    struct base_msg is;

    if (!m)
        return s->held ? list_held(s, name, was) : list_msg(s, name, was, NULL, NULL);
    m->seen = true;
    state_of(s, m, &is);
    return s->full || !same_state(was, &is) || says_more(s, name) ? list_msg(s, name, was, &is, m)
                                                                  : 0;
}

static int scan_msgs(struct scan *s) {
    char base[MAILDIR_NAME_MAX + 1];
    struct index_msg *m, *tmp;
    struct base_msg is;
    int r = base_each_msg(s->st, s->dir, from_base, s);

    HASH_ITER(hh, s->ix.msgs, m, tmp) {
        if (r < 0)
            break;
        if (m->seen)
            continue;
        state_of(s, m, &is);
        str_copyn(base, sizeof(base), m->name, m->base_len);
        r = list_msg(s, base, NULL, &is, m);
    }
    return r;
}

/* Added here, or published, and removed again: what the peer has of the same prepared content was
 * removed as well. It is listed as if it had been in the base, in new/. */
static int list_removed(void *arg, const char *name) {
    static const struct base_msg was = {.sub = MFP__SUB__NEW};
    struct scan *s = arg;
    struct base_msg msg;

    if (index_find(&s->ix, name) || base_msg_get(s->st, BASE_AGREED, s->dir, name, &msg) == 0)
        return 0;
    return list_msg(s, name, &was, NULL, NULL);
}

static int scan_removed(struct scan *s) {
    size_t i;
    int r = base_each_prep(s->st, s->dir, list_removed, s);

    for (i = 0; r == 0 && i < s->n_pubs; i++)
        r = list_removed(s, s->pubs[i].name);
    return r;
}

/* ---- files ------------------------------------------------------------------------- */

struct file_was {
    UT_hash_handle hh;
    struct base_file file;
    char name[];
};

struct file_scan {
    struct scan *s;
    struct file_was *was;
};

static int was_add(void *arg, const char *name, const struct base_file *file) {
    struct file_scan *fs = arg;
    struct file_was *w = calloc(1, sizeof(*w) + strlen(name) + 1);

    if (!w)
        return -ENOMEM;
    strcpy(w->name, name);
    w->file = *file;
    w->file.link = file->link ? strdup(file->link) : NULL;
    HASH_ADD_STR(fs->was, name, w);
    return 0;
}

static void was_drop(struct file_scan *fs, struct file_was *w) {
    HASH_DEL(fs->was, w);
    base_file_clear(&w->file);
    free(w);
}

/* Of two dovecot-uidvalidity the higher counts, wherever it is from. */
static bool file_is_borrowed(const struct scan *s, const char *name, const struct base_file *was,
                             const struct base_file *is) {
    struct base_file there;
    bool borrowed = false;
    size_t i;
    int r;

    if (maildir_class_of(MAILDIR_DIR_CONTAINER, name, strlen(name)) == MAILDIR_UIDVALIDITY)
        return false;
    for (i = 0; !borrowed && i < s->n_lenders; i++) {
        r = base_file_get(s->lenders[i], BASE_PROPOSED, s->dir, name, &there);
        borrowed = is ? r == 0 && (!was || files_same(&there, is))
                      : r == -ENOENT && knows_dir(s->lenders[i], s->dir);
        base_file_clear(&there);
    }
    return borrowed;
}

static int list_file(struct scan *s, const char *name, const struct base_file *was,
                     const struct base_file *is, const char *content, size_t n) {
    Mfp__BaseFile *f = malloc(sizeof(*f));
    int r1 = 0, r2 = 0, r = 0;

    if (!f)
        return -ENOMEM;
    mfp__base_file__init(f);
    f->name = build_str(name);
    f->borrowed = !(was && is && files_same(was, is)) && file_is_borrowed(s, name, was, is);
    if (was)
        f->was = build_file_state(was, &r1);
    if (is)
        f->is = build_file_state(is, &r2);
    if (!f->name || r1 < 0 || r2 < 0)
        r = -ENOMEM;
    if (r == 0 && content && is && S_ISREG(is->type)) {
        f->has_content = true;
        r = build_bytes(&f->is_content, content, n);
    }
    if (r == 0)
        r = build_push(&s->out->files, &s->out->n_files, f);
    if (r < 0)
        mfp__base_file__free_unpacked(f, NULL);
    return r;
}

static bool is_whole_file(const char *name, unsigned char type) {
    size_t n = strlen(name);
    enum maildir_class cl = maildir_class_of(MAILDIR_DIR_CONTAINER, name, n);

    if ((type != DT_REG && type != DT_LNK) ||
        maildir_name_check(name, n, MAILDIR_NAME_COMPONENT) < 0)
        return false;
    return cl == MAILDIR_OTHER || cl == MAILDIR_UIDVALIDITY;
}

/* Size and time as in the base: nobody has written to it. */
static bool untouched(struct scan *s, const char *name, const struct base_file *was) {
    struct stat sb;

    return fstatat(s->d.fd[0], name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
           (sb.st_mode & S_IFMT) == was->type && (uint64_t)sb.st_size == was->size &&
           (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec == was->mtime_ns &&
           (sb.st_mode & 07777) == was->mode && sb.st_uid == was->owner && sb.st_gid == was->group;
}

static int file_name(void *arg, const char *name, unsigned char type) {
    struct file_scan *fs = arg;
    struct scan *s = fs->s;
    struct base_file is;
    struct file_was *w;
    char *content = NULL;
    size_t n = 0;
    int r = 0;

    if (!is_whole_file(name, type))
        return 0;
    HASH_FIND_STR(fs->was, name, w);
    if (w && !s->full && untouched(s, name, &w->file)) {
        was_drop(fs, w);
        return 0;
    }
    r = files_read(s->d.fd[0], name, &is, &content, &n);
    if (r == 0 && is.type && (s->full || !w || !files_same(&w->file, &is)))
        r = list_file(s, name, w ? &w->file : NULL, &is, content, n);
    if (r == 0 && w && is.type)
        was_drop(fs, w);
    base_file_clear(&is);
    free(content);
    return r;
}

static int scan_files(struct scan *s) {
    struct file_scan fs = {s, NULL};
    struct file_was *w, *tmp;
    int r = base_each_file(s->st, s->dir, was_add, &fs);

    if (r == 0)
        r = store_each_name(s->d.fd[0], file_name, &fs);
    HASH_ITER(hh, fs.was, w, tmp) { /* those that are not there any more */
        if (r == 0)
            r = list_file(s, w->name, &w->file, NULL, NULL, 0);
        was_drop(&fs, w);
    }
    return r;
}

/* ---- control files ----------------------------------------------------------------- */

static int scan_uidlist(struct scan *s) {
    struct maildir_uidlist_report rep;
    char *text;
    size_t n;
    int r =
        io_file_read_at(s->d.fd[0], "dovecot-uidlist", MAILDIR_UIDLIST_TEXT_MAX, &text, &n, NULL);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    r = maildir_uidlist_parse(text, n, &s->list, &rep);
    free(text);
    if (r == -ENODATA)
        return 0;
    if (r < 0) {
        state_fail(s->st, r, s->dir, "dovecot-uidlist is broken: taken for missing");
        return r == -ENOMEM ? r : 0;
    }
    s->out->v = maildir_uidlist_validity(s->list);
    s->out->n = maildir_uidlist_next(s->list);
    s->out->header_ext = build_str(maildir_uidlist_header_rest(s->list));
    return s->out->header_ext ? 0 : -ENOMEM;
}

static int scan_keywords(struct scan *s) {
    char *text;
    size_t n;
    int r = io_file_read_at(s->d.fd[0], "dovecot-keywords", KEYWORDS_FILE_MAX, &text, &n, NULL);

    if (r == 0) {
        r = build_bytes(&s->out->keywords, text, n);
        free(text);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    r = base_text_get(s->st, BASE_AGREED, s->dir, BASE_KEYWORDS, &text, &n);
    if (r == 0) {
        r = build_bytes(&s->out->keywords_base, text, n);
        free(text);
    }
    return r == -ENOENT ? 0 : r;
}

/* The lines, and before them the mark of version 2. */
static int push_subs(char ***v, size_t *n, const char *text, size_t len) {
    struct maildir_subs *s;
    size_t i;
    int r = maildir_subs_parse(text, len, &s);

    if (r < 0)
        return r;
    if (maildir_subs_version(s) == 2)
        r = build_push(v, n, strdup(SCAN_SUBS_V2));
    for (i = 0; r == 0 && i < maildir_subs_count(s); i++) {
        char *line = strdup(maildir_subs_at(s, i));
        r = build_push(v, n, line);
        if (r < 0)
            free(line);
    }
    maildir_subs_free(s);
    return r;
}

/* The lines of a lender's base; NULL: it is not known to have any. */
static int lender_subs(struct state *lender, const struct mailfs_id *dir,
                       struct maildir_subs **out) {
    char *text = NULL;
    size_t n = 0;
    int r = base_text_get(lender, BASE_PROPOSED, dir, BASE_SUBS, &text, &n);

    *out = NULL;
    if (r == 0)
        r = maildir_subs_parse(text, n, out);
    free(text);
    return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

static bool has_line(char *const *v, size_t n, const char *line) {
    size_t i;

    for (i = 0; i < n; i++)
        if (strcmp(v[i], line) == 0)
            return true;
    return false;
}

/* The lines of `v` that `other` lacks, and that a lender has, or (wanted false) has not. */
static int borrow_lines(struct scan *s, const struct maildir_subs *lent, char *const *v, size_t n,
                        char *const *other, size_t n_other, bool wanted) {
    Mfp__Listing *l = s->out;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < n; i++) {
        if (strcmp(v[i], SCAN_SUBS_V2) == 0 || has_line(other, n_other, v[i]) ||
            (lent && maildir_subs_has(lent, v[i])) != wanted ||
            has_line(l->subs_borrowed, l->n_subs_borrowed, v[i]))
            continue;
        char *line = strdup(v[i]);
        r = build_push(&l->subs_borrowed, &l->n_subs_borrowed, line);
        if (r < 0)
            free(line);
    }
    return r;
}

static int borrow_subs(struct scan *s) {
    Mfp__Listing *l = s->out;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < s->n_lenders; i++) {
        struct maildir_subs *lent;
        if (!knows_dir(s->lenders[i], s->dir))
            continue;
        r = lender_subs(s->lenders[i], s->dir, &lent);
        if (r == 0)
            r = borrow_lines(s, lent, l->subs, l->n_subs, l->subs_base, l->n_subs_base, true);
        if (r == 0)
            r = borrow_lines(s, lent, l->subs_base, l->n_subs_base, l->subs, l->n_subs, false);
        maildir_subs_free(lent);
    }
    return r;
}

static int scan_subs(struct scan *s) {
    char *text;
    size_t n;
    int r = io_file_read_at(s->d.fd[0], "subscriptions", MAILDIR_SUBS_TEXT_MAX, &text, &n, NULL);

    if (r == 0) {
        s->out->has_subs = true;
        r = push_subs(&s->out->subs, &s->out->n_subs, text, n);
        free(text);
    }
    if (r < 0 && r != -ENOENT)
        return r;
    r = base_text_get(s->st, BASE_AGREED, s->dir, BASE_SUBS, &text, &n);
    if (r == 0) {
        r = push_subs(&s->out->subs_base, &s->out->n_subs_base, text, n);
        free(text);
    }
    return r == -ENOENT ? 0 : r;
}

static int scan_subdirs(struct scan *s) {
    int sub, fd, r = 0;

    for (sub = MFP__SUB__NEW; r == 0 && sub <= MFP__SUB__TMP; sub++) {
        Mfp__OpSubDir *o;
        struct stat sb;
        fd = store_sub_open(s->st, &s->d, sub, false);
        if (fd < 0)
            continue;
        o = malloc(sizeof(*o));
        if (!o || fstat(fd, &sb) < 0) {
            free(o);
            return -ENOMEM;
        }
        mfp__op_sub_dir__init(o);
        o->sub = (Mfp__Sub)sub;
        o->meta = store_meta_new(&sb);
        r = build_push(&s->out->subdirs, &s->out->n_subdirs, o);
        if (r < 0)
            mfp__op_sub_dir__free_unpacked(o, NULL);
    }
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

static int scan_head(struct scan *s) {
    uint8_t digest[STATE_DIGEST];
    struct base_uidlist ul;
    struct base_dir rec;
    int r = build_id(&s->out->dir, s->dir);

    if (r == 0)
        r = base_digest(s->st, s->dir, digest);
    if (r == 0)
        r = build_bytes(&s->out->base_digest, digest, sizeof(digest));
    if (r == 0)
        r = base_version_list(s->st, BASE_OF_MAILBOX, s->dir, &s->out->base_version);
    if (r == 0 && base_uidlist_get(s->st, BASE_AGREED, s->dir, &ul) == 0) {
        s->out->base_v = ul.v;
        s->out->base_n = ul.n;
        free(ul.header_ext);
    }
    s->out->half_age = half_age(s->st, s->dir);
    s->out->full = s->full;
    s->out->base_valid =
        (base_dir_get(s->st, s->dir, &rec) == 0 && rec.merged) || base_was_cut(s->st, s->dir);
    s->out->cut = base_lost_uids(s->st, s->dir);
    return r;
}

static int scan_all(struct scan *s) {
    struct stat sb;
    int r = scan_head(s);

    if (r < 0)
        return r;
    r = store_dir_open(s->st, s->dir, &s->d);
    if (r == -ENOENT) {
        s->out->gone = true;
        return 0;
    }
    if (r == 0 && fstat(s->d.fd[0], &sb) == 0)
        s->out->meta = store_meta_new(&sb);
    if (r == 0)
        r = index_read(s->st, &s->d, &s->ix);
    if (r == 0)
        r = stage_published_in(s->st, s->dir, &s->pubs, &s->n_pubs);
    if (r == 0)
        r = scan_uidlist(s);
    if (r == 0)
        r = scan_msgs(s);
    if (r == 0)
        r = scan_removed(s);
    if (r == 0)
        r = scan_files(s);
    if (r == 0)
        r = scan_keywords(s);
    if (r == 0)
        r = scan_subs(s);
    if (r == 0)
        r = borrow_subs(s);
    if (r == 0)
        r = scan_subdirs(s);
    return r;
}

int scan_mailbox(struct state *st, const struct mailfs_id *dir, bool full, Mfp__Listing **out) {
    return scan_mailbox_for(st, dir, full, NULL, 0, out);
}

int scan_mailbox_for(struct state *st, const struct mailfs_id *dir, bool full,
                     struct state *const *lenders, size_t n_lenders, Mfp__Listing **out) {
    struct scan s = {
        .st = st, .dir = dir, .full = full, .lenders = lenders, .n_lenders = n_lenders};
    struct base_dir rec;
    int r = -ENOMEM;

    s.held = hold_covers(st, dir);
    /* Without a base there is nothing to differ from. */
    if (base_dir_get(st, dir, &rec) < 0 || !rec.merged)
        s.full = true;
    s.d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    s.out = malloc(sizeof(*s.out));
    if (s.out) {
        mfp__listing__init(s.out);
        r = scan_all(&s);
    }
    index_free(&s.ix);
    maildir_uidlist_free(s.list);
    free(s.pubs);
    store_dir_close(&s.d);
    if (r < 0) {
        if (s.out)
            mfp__listing__free_unpacked(s.out, NULL);
        return state_fail(st, r, dir, "cannot list");
    }
    *out = s.out;
    return 0;
}
