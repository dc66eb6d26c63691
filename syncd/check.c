/*
 * check: a container of the store against what was agreed on, and its messages against their
 * checksums
 *
 * Contents are read from the disk, not from the page cache, where damage does not show; and do not
 * stay in it, where they would displace what is in use.
 *
 * Diagnostics: none but of scan; what is found is returned.
 */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "index.h"
#include "io/dirid.h"
#include "io/io.h"
#include "scan.h"
#include "state_int.h"
#include "store.h"
#include "util/clock.h"
#include "util/str.h"

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

    if ((p->n & (p->n - 1)) == 0 && p->n < CHECK_PROBLEMS_MAX) { /* full at each power of two */
        v = realloc(p->v, (p->n ? 2 * p->n : 1) * sizeof(*v));
        if (v)
            p->v = v;
        else
            p->more++;
        if (!v)
            return NULL;
    }
    if (p->n >= CHECK_PROBLEMS_MAX) {
        p->more++;
        return NULL;
    }
    v = &p->v[p->n];
    *v = (struct check_problem){.dir = *dir, .kind = kind, .name = name ? strdup(name) : NULL};
    p->n++;
    return v;
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
        if (m->borrowed || is_same(m))
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

int check_scan(struct state *st, const struct mailfs_id *dir, struct state *const *lenders,
               size_t n_lenders, struct check_problems *out) {
    struct scanned s = {.st = st, .dir = dir, .out = out};
    Mfp__Listing *l;
    size_t i;
    int part, r = scan_mailbox_for(st, dir, false, lenders, n_lenders, &l);

    if (r < 0)
        return r;
    s.l = l;
    for (part = 0; part < MERGE_PARTS; part++)
        s.lent[part] = check_is_lent(st, dir, lenders, n_lenders, part);
    if (!l->gone && !l->full && l->base_valid) {
        of_msgs(&s);
        for (i = 0; i < l->n_files; i++)
            if (!l->files[i]->borrowed)
                add(out, dir, CHECK_FILE, l->files[i]->name, &l->files[i]->base);
        of_control(&s);
    }
    mfp__listing__free_unpacked(l, NULL);
    return 0;
}

/* ---- contents ---------------------------------------------------------------------- */

struct reading {
    struct state *st;
    const struct check_how *how;
    struct store_dir d;
    struct index ix;
    struct check_problems *out;
    struct check_counts *counts;
};

static int begin(struct state *st, const struct mailfs_id *dir, struct store_dir *d,
                 struct index *ix) {
    int r;

    ix->msgs = NULL;
    *d = (struct store_dir){.fd = {-1, -1, -1, -1}};
    r = store_dir_open(st, dir, d);
    return r == 0 ? index_read(st, d, ix) : r;
}

static int open_msg(struct state *st, struct store_dir *d, const struct index_msg *m) {
    int fd = store_sub_open(st, d, m->sub, false);

    return fd < 0 ? fd : io_open_beneath(fd, m->name, O_RDONLY | O_NONBLOCK, 0);
}

static int hash_from_disk(int fd, uint8_t sha256[IO_HASH_BYTES]) {
    int r;

    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    r = io_hash_fd(fd, sha256);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    return r;
}

static void damaged(struct reading *rd, int fd, const char *base, struct io_sum *found) {
    struct check_problem *p = check_problem_add(rd->out, &rd->d.id, CHECK_DAMAGED, base);

    if (rd->how->accept && io_sum_set(fd, found) == 0 && p)
        p->fate = CHECK_ACCEPTED;
}

/* 0, or an error of reading. */
static int check_sum(struct reading *rd, int fd, const char *base) {
    struct io_sum known, found = {.from = IO_SUM_FOUND};
    int r = hash_from_disk(fd, found.sha256);

    if (r < 0)
        return r;
    r = io_sum_get(fd, &known);
    if (r == -ENODATA) {
        rd->counts->unknown++;
        return io_sum_set(fd, &found);
    }
    if (r == 0 && memcmp(known.sha256, found.sha256, sizeof(found.sha256)) != 0)
        damaged(rd, fd, base, &found);
    return r;
}

static int check_open(struct reading *rd, int fd, const char *base) {
    struct base_msg msg;
    struct stat sb;

    if (fstat(fd, &sb) < 0)
        return -errno;
    rd->counts->messages++;
    rd->counts->bytes += rd->how->content ? (uint64_t)sb.st_size : 0;
    if (base_msg_get(rd->st, BASE_AGREED, &rd->d.id, base, &msg) == 0 && !rd->how->accept &&
        msg.size && msg.size != (uint64_t)sb.st_size) {
        check_problem_add(rd->out, &rd->d.id, CHECK_SIZE, base);
        return 0;
    }
    return rd->how->content ? check_sum(rd, fd, base) : 0;
}

static void check_msg(struct reading *rd, const struct index_msg *m) {
    char base[MAILDIR_NAME_MAX + 1];
    int fd = open_msg(rd->st, &rd->d, m), r = fd;

    str_copyn(base, sizeof(base), m->name, m->base_len);
    if (fd >= 0) {
        r = check_open(rd, fd, base);
        close(fd);
    }
    if (r < 0 && r != -ENOENT) /* renamed or gone meanwhile: the next time */
        check_problem_add(rd->out, &rd->d.id, CHECK_UNREADABLE, base);
}

static void rest(const struct check_how *how, uint64_t since_us) {
    uint64_t us = clock_us() - since_us;
    struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

    if (how->gentle)
        nanosleep(&ts, NULL);
}

static int read_all(struct reading *rd) {
    struct index_msg *m, *tmp;
    int r = 0;

    HASH_ITER(hh, rd->ix.msgs, m, tmp) {
        uint64_t since = clock_us();
        if (r < 0)
            break;
        check_msg(rd, m);
        rest(rd->how, since);
        if (atomic_load(rd->how->stop))
            r = -ECANCELED;
    }
    return r;
}

int check_contents(struct state *st, const struct mailfs_id *dir, const struct check_how *how,
                   struct check_problems *out, struct check_counts *counts) {
    struct reading rd = {.st = st, .how = how, .out = out, .counts = counts};
    int r = begin(st, dir, &rd.d, &rd.ix);

    if (r == 0)
        r = read_all(&rd);
    index_free(&rd.ix);
    store_dir_close(&rd.d);
    return r == -ENOENT ? 0 : r;
}

/* ---- without a base ---------------------------------------------------------------- */

#define TREE_DEPTH_MAX 64

struct check_walk {
    struct reading rd;
    int fd, depth;
    char path[PATH_MAX]; /* of fd, below the store, with "/" before it */
};

static void name_path(struct check_walk *w, size_t from) {
    size_t i;

    for (i = from; i < w->rd.out->n; i++)
        w->rd.out->v[i].path = strdup(*w->path ? w->path : "/");
}

/* The directory is the mailbox that a walk has come to. */
static int walk_mailbox(struct check_walk *w) {
    struct reading *rd = &w->rd;
    size_t before = rd->out->n;
    int r;

    rd->d = (struct store_dir){.fd = {dup(w->fd), -1, -1, -1}};
    rd->ix.msgs = NULL;
    if (rd->d.fd[0] < 0)
        return -errno;
    (void)io_dirid_get(w->fd, &rd->d.id);
    rd->counts->mailboxes++;
    r = index_read(rd->st, &rd->d, &rd->ix);
    if (r == 0)
        r = read_all(rd);
    else
        check_problem_add(rd->out, &rd->d.id, CHECK_UNREADABLE, NULL);
    index_free(&rd->ix);
    store_dir_close(&rd->d);
    name_path(w, before);
    return r == -ECANCELED ? r : 0;
}

static void unreadable(struct check_walk *w) {
    size_t before = w->rd.out->n;

    check_problem_add(w->rd.out, &mailfs_id_root, CHECK_UNREADABLE, NULL);
    name_path(w, before);
}

static int walk_name(void *arg, const char *name, unsigned char type);

/* What cannot be looked into is a problem as well, and does not keep the rest from being read. */
static int walk(struct check_walk *w) {
    int r = 0;

    if (faccessat(w->fd, "cur", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        r = walk_mailbox(w);
    else if (errno != ENOENT && errno != ENOTDIR)
        unreadable(w);
    if (r == 0)
        r = store_each_name(w->fd, walk_name, w);
    if (r < 0 && r != -ECANCELED) {
        unreadable(w);
        r = 0;
    }
    return r;
}

static int walk_into(struct check_walk *w, const char *name) {
    int above = w->fd, r = 0;

    w->fd = w->depth < TREE_DEPTH_MAX ? io_open_beneath(above, name, O_RDONLY | O_DIRECTORY, 0)
                                      : -ELOOP;
    w->depth++;
    if (w->fd >= 0) {
        r = walk(w);
        close(w->fd);
    } else if (w->fd != -ENOENT) { /* removed meanwhile */
        unreadable(w);
    }
    w->depth--;
    w->fd = above;
    return r;
}

static int walk_name(void *arg, const char *name, unsigned char type) {
    struct check_walk *w = arg;
    size_t len = strlen(w->path);
    int r = 0;

    if (type != DT_DIR || strcmp(name, ".mailfs") == 0 || strcmp(name, "cur") == 0 ||
        strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0)
        return 0;
    if (str_printf(w->path + len, sizeof(w->path) - len, "/%s", name) < 0)
        unreadable(w);
    else
        r = walk_into(w, name);
    w->path[len] = '\0';
    return r;
}

int check_tree(struct state *st, const char *path, const struct check_how *how,
               struct check_problems *out, struct check_counts *counts) {
    struct check_walk *w = calloc(1, sizeof(*w));
    int r = w ? 0 : -ENOMEM;

    while (*path == '/')
        path++;
    if (r == 0 && *path && strcmp(path, ".") != 0)
        r = str_printf(w->path, sizeof(w->path), "/%s", path);
    if (r >= 0)
        r = io_open_beneath(st->root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    if (r >= 0) {
        w->rd = (struct reading){.st = st, .how = how, .out = out, .counts = counts};
        w->fd = r;
        r = walk(w);
        close(w->fd);
    }
    free(w);
    return r;
}

int check_each_sum(struct state *st, const struct mailfs_id *dir, check_sum_fn *fn, void *arg) {
    char base[MAILDIR_NAME_MAX + 1];
    struct index_msg *m, *tmp;
    struct store_dir d;
    struct io_sum sum;
    struct index ix;
    int r = begin(st, dir, &d, &ix);

    HASH_ITER(hh, ix.msgs, m, tmp) {
        int fd = r == 0 ? open_msg(st, &d, m) : -1;
        if (fd < 0)
            continue;
        str_copyn(base, sizeof(base), m->name, m->base_len);
        if (io_sum_get(fd, &sum) == 0)
            r = fn(arg, base, &sum);
        close(fd);
    }
    index_free(&ix);
    store_dir_close(&d);
    return r == -ENOENT ? 0 : r;
}

/* ---- digests ----------------------------------------------------------------------- */

static int add_sum(void *arg, const char *base, const struct io_sum *sum) {
    uint8_t *sums = arg, one[STATE_DIGEST];
    struct io_hasher *h = io_hasher_new();
    int r;

    io_hasher_add(h, base, strlen(base) + 1);
    io_hasher_add(h, sum->sha256, sizeof(sum->sha256));
    r = io_hasher_end(h, one);
    if (r == 0)
        base_sum_add(sums, one, false);
    return r;
}

int check_digest_of(struct state *st, const struct mailfs_id *dir, bool content,
                    struct check_digest *out) {
    int r;

    *out = (struct check_digest){.dir = *dir};
    r = base_digest(st, dir, out->base);
    return r == 0 && content ? check_each_sum(st, dir, add_sum, out->sums) : r;
}

void check_digest_roll(const struct check_digest *v, size_t n, uint8_t out[STATE_DIGEST]) {
    uint8_t one[STATE_DIGEST];
    size_t i;

    memset(out, 0, STATE_DIGEST);
    for (i = 0; i < n; i++)
        if (io_hash(&v[i], sizeof(v[i]), one) == 0)
            base_sum_add(out, one, false);
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
    struct mailfs_id *v = c->v;

    if ((c->from && memcmp(dir->b, c->from->b, sizeof(dir->b)) < 0) ||
        (c->to && memcmp(dir->b, c->to->b, sizeof(dir->b)) > 0))
        return 0;
    if ((c->n & (c->n - 1)) == 0) {
        v = realloc(v, (c->n ? 2 * c->n : 1) * sizeof(*v));
        if (!v)
            return -ENOMEM;
        c->v = v;
    }
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
