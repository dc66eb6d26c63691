/*
 * check: a container of the store against what was agreed on, and which containers there are
 *
 * Diagnostics: none but of scan; what is found is returned.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "io/io.h"
#include "scan.h"
#include "util/array.h"

/* ---- problems ---------------------------------------------------------------------- */

const char *check_kind_text(unsigned kind) {
    static const char *const text[CHECK_KINDS] = {
        [0] = "unknown",
        [CHECK_DAMAGED] = "content does not fit its checksum",
        [CHECK_SIZE] = "not the size it had",
        [CHECK_MISSING] = "missing from the store",
        [CHECK_EXTRA] = "not known to the other node",
        [CHECK_STATE] = "flags or UID are not those both nodes agreed on",
        [CHECK_FILE] = "not the file both nodes agreed on",
        [CHECK_CONTROL] = "uidlist, keywords or subscriptions are not those both nodes agreed on",
        [CHECK_UNREADABLE] = "cannot be read",
        [CHECK_RECORD] = "the nodes have agreed on different states",
        [CHECK_DIFFER] = "the nodes' contents differ, and either fits its checksum",
        [CHECK_PARTED] = "UIDs, keywords or subscriptions not compared: not merged at the source",
    };
    return text[kind < CHECK_KINDS ? kind : 0];
}

const char *check_fate_text(unsigned fate) {
    static const char *const text[CHECK_FATES] = {
        [CHECK_FOUND] = "found",      [CHECK_MENDED] = "repaired",   [CHECK_MERGED] = "merged",
        [CHECK_NOT] = "not repaired", [CHECK_ACCEPTED] = "accepted",
    };
    return text[fate < CHECK_FATES ? fate : 0];
}

struct check_problem *check_problem_add(struct check_problems *p, const struct mailfs_id *dir,
                                        unsigned kind, const char *name) {
    struct check_problem *v;

    v = p->n < CHECK_PROBLEMS_MAX ? array_room(p->v, p->n, sizeof(*v)) : NULL;
    if (!v) {
        p->more++;
        return NULL;
    }
    p->v = v;
    v += p->n;
    *v = (struct check_problem){.dir = *dir, .kind = kind, .name = name ? strdup(name) : NULL};
    p->n++;
    return v;
}

struct check_problem *check_problem_take(struct check_problems *p, const struct mailfs_id *dir,
                                         unsigned kind, const char *name) {
    if (kind != CHECK_PARTED)
        return check_problem_add(p, dir, kind, name);
    p->parted++;
    return NULL;
}

void check_problems_free(struct check_problems *p) {
    size_t i;

    for (i = 0; i < p->n; i++) {
        free(p->v[i].name);
        free(p->v[i].path);
    }
    free(p->v);
    *p = (struct check_problems){0};
}

/* ---- prints ------------------------------------------------------------------------ */

static void print_of(const ProtobufCMessage *m, uint8_t print[32]) {
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *p = malloc(n ? n : 1);

    memset(print, 0, 32);
    if (p)
        io_hash(p, protobuf_c_message_pack(m, p), print);
    free(p);
}

static void add(struct check_problems *out, const struct mailfs_id *dir, unsigned kind,
                const char *name, const ProtobufCMessage *m) {
    struct check_problem *p = check_problem_add(out, dir, kind, name);

    if (p)
        print_of(m, p->print);
}

/* ---- what those who are followed have not agreed on themselves ----------------------- */

static bool same_numbers(struct state *st, struct state *lender, const struct mailfs_id *dir) {
    struct base_uidlist a = {0}, b = {0};

    (void)base_uidlist_get(st, BASE_AGREED, dir, &a);
    (void)base_uidlist_get(lender, BASE_AGREED, dir, &b);
    free(a.header_ext);
    free(b.header_ext);
    return a.v == b.v && a.n == b.n;
}

static bool same_text(struct state *st, struct state *lender, const struct mailfs_id *dir,
                      enum base_text which) {
    char *a = NULL, *b = NULL;
    size_t na = 0, nb = 0;
    bool same;

    (void)base_text_get(st, BASE_AGREED, dir, which, &a, &na);
    (void)base_text_get(lender, BASE_AGREED, dir, which, &b, &nb);
    same = na == nb && (na == 0 || memcmp(a, b, na) == 0);
    free(a);
    free(b);
    return same;
}

bool check_is_lent(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
                   size_t n_lenders, enum merge_part part) {
    struct base_dir rec;
    size_t i;

    for (i = 0; i < n_lenders; i++) {
        struct state *lender = lenders[i];
        if (base_dir_get(lender, dir, &rec) < 0 || !rec.merged)
            continue;
        if (part == MERGE_NUMBERS
                ? !same_numbers(st, lender, dir)
                : !same_text(st, lender, dir, part == MERGE_SUBS ? BASE_SUBS : BASE_KEYWORDS))
            return true;
    }
    return false;
}

/* ---- against the base -------------------------------------------------------------- */

struct scanned {
    struct state *st;
    const struct mailfs_id *dir;
    const Mfp__Listing *l;
    bool lent[MERGE_PARTS];
    bool parted; /* something was not judged */
    struct check_problems *out;
};

/* An info without its keywords. */
static bool same_but_keywords(const char *a, const char *b) {
    for (;; a++, b++) {
        while (*a >= 'a' && *a <= 'z')
            a++;
        while (*b >= 'a' && *b <= 'z')
            b++;
        if (*a != *b || *a == '\0')
            return *a == *b;
    }
}

/* It differs in nothing but what those who are followed have not agreed on. */
static bool is_parted(const struct scanned *s, const Mfp__BaseMsg *m) {
    if (!m->is || !m->was || m->is->sub != m->was->sub)
        return false;
    return (m->is->uid == m->was->uid || s->lent[MERGE_NUMBERS]) &&
           (strcmp(m->is->info, m->was->info) == 0 ||
            (s->lent[MERGE_KEYWORDS] && same_but_keywords(m->is->info, m->was->info)));
}

/* Listed for what a merge is to know of it (says_more() in scan_msgs.c). */
static bool is_same(const Mfp__BaseMsg *m) {
    return m->is && m->was && m->is->sub == m->was->sub && m->is->uid == m->was->uid &&
           strcmp(m->is->info, m->was->info) == 0;
}

static void of_msgs(struct scanned *s) {
    struct base_msg msg;
    size_t i;

    for (i = 0; i < s->l->n_msgs; i++) {
        const Mfp__BaseMsg *m = s->l->msgs[i];
        /* What was published, and is gone again, is listed too; it was never agreed on. */
        bool agreed = base_msg_get(s->st, BASE_AGREED, s->dir, m->bname, &msg) == 0;
        if (m->borrowed || (m->unread && !agreed) || is_same(m))
            continue;
        if (agreed && is_parted(s, m))
            s->parted = true;
        else if (m->is)
            add(s->out, s->dir, agreed ? CHECK_STATE : CHECK_EXTRA, m->bname, &m->base);
        else if (agreed)
            add(s->out, s->dir, CHECK_MISSING, m->bname, &m->base);
    }
}

/* The lists are lent to another one for its print. */
static void add_control(const struct scanned *s, unsigned kind) {
    const Mfp__Listing *l = s->l;
    Mfp__Listing c = MFP__LISTING__INIT;

    c.v = l->v;
    c.n = l->n;
    c.base_v = l->base_v;
    c.base_n = l->base_n;
    c.keywords = l->keywords;
    c.keywords_base = l->keywords_base;
    c.subs = l->subs;
    c.n_subs = l->n_subs;
    c.subs_base = l->subs_base;
    c.n_subs_base = l->n_subs_base;
    add(s->out, s->dir, kind, NULL, &c.base);
}

static void of_control(struct scanned *s) {
    bool differs = false;
    int part;

    for (part = 0; part < MERGE_PARTS; part++) {
        if (merge_part_is_base(s->l, part))
            continue;
        if (s->lent[part])
            s->parted = true;
        else
            differs = true;
    }
    if (differs)
        add_control(s, CHECK_CONTROL);
    if (s->parted)
        add_control(s, CHECK_PARTED);
}

static void of_files(const struct scanned *s) {
    size_t i;

    for (i = 0; i < s->l->n_files; i++) {
        const Mfp__BaseFile *f = s->l->files[i];
        if (f->unread)
            add(s->out, s->dir, CHECK_UNREADABLE, NULL, &f->base);
        else if (!f->borrowed)
            add(s->out, s->dir, CHECK_FILE, f->name, &f->base);
    }
}

int check_scan(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
               size_t n_lenders, struct check_problems *out) {
    struct scanned s = {.st = st, .dir = dir, .out = out};
    Mfp__Listing *l;
    int part, r = scan_mailbox_for(st, dir, false, lenders, n_lenders, &l);

    if (r < 0)
        return r;
    s.l = l;
    for (part = 0; part < MERGE_PARTS; part++)
        s.lent[part] = check_is_lent(st, dir, lenders, n_lenders, part);
    if (!l->gone && !l->full && l->base_valid) {
        of_msgs(&s);
        of_files(&s);
        of_control(&s);
    }
    mfp__listing__free_unpacked(l, NULL);
    return 0;
}

/* ---- which ------------------------------------------------------------------------- */

struct choice {
    struct state *st;
    const struct mailfs_id *from, *to, *top;
    struct mailfs_id *v;
    size_t n;
};

static bool is_below(struct choice *c, const struct mailfs_id *dir, struct mailfs_id parent) {
    struct base_dir rec;
    int depth;

    if (mailfs_id_equal(dir, c->top))
        return true;
    for (depth = 0; depth < 64; depth++) {
        if (mailfs_id_equal(&parent, c->top))
            return true;
        if (mailfs_id_is_root(&parent) || base_dir_get(c->st, &parent, &rec) < 0)
            return false;
        parent = rec.parent;
    }
    return false;
}

static int choose(struct choice *c, const struct mailfs_id *dir) {
    struct mailfs_id *v;

    if ((c->from && memcmp(dir->b, c->from->b, sizeof(dir->b)) < 0) ||
        (c->to && memcmp(dir->b, c->to->b, sizeof(dir->b)) > 0))
        return 0;
    v = array_room(c->v, c->n, sizeof(*v));
    if (!v)
        return -ENOMEM;
    c->v = v;
    c->v[c->n++] = *dir;
    return 0;
}

static int choose_dir(void *arg, const struct mailfs_id *dir, const struct base_dir *rec) {
    struct choice *c = arg;

    if (c->top && !is_below(c, dir, rec->parent))
        return 0;
    return choose(c, dir);
}

static int by_id(const void *a, const void *b) {
    return memcmp(a, b, MAILFS_ID_BYTES);
}

int check_containers(struct state *st, const struct mailfs_id *from, const struct mailfs_id *to,
                     const struct mailfs_id *top, struct mailfs_id **v, size_t *n) {
    struct choice c = {.st = st, .from = from, .to = to, .top = top};
    int r = !top || mailfs_id_is_root(top) ? choose(&c, &mailfs_id_root) : 0;

    if (r == 0)
        r = base_each_dir(st, choose_dir, &c);
    if (r < 0) {
        free(c.v);
        return r;
    }
    if (c.n)
        qsort(c.v, c.n, sizeof(*c.v), by_id);
    *v = c.v;
    *n = c.n;
    return 0;
}
