/* Two nodes' disk sides for unit tests; see syncd_pair.h. */
#include "syncd_pair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "io/handle.h"
#include "maildir/uidlist.h"
#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/recent.h"
#include "syncd/stage.h"
#include "util/buf.h"

/* ---- nodes
 * --------------------------------------------------------------------------------------- */

static void node_start(struct node *n) {
    struct state_config conf = {
        .store = n->store, .dir = n->state, .node = n->name, .peer = n->peer};

    assert_int_equal(state_open(&conf, &n->st, &n->start), 0);
}

static void node_make(struct node *n, const char *name, const char *peer) {
    const char *tmp = getenv("TMPDIR");

    snprintf(n->root, sizeof(n->root), "%.30s/mailfs-unit-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(n->root));
    snprintf(n->store, sizeof(n->store), "%s/store", n->root);
    snprintf(n->state, sizeof(n->state), "%s/state", n->root);
    snprintf(n->name, sizeof(n->name), "%s", name);
    snprintf(n->peer, sizeof(n->peer), "%s", peer);
    assert_int_equal(mkdir(n->store, 0755), 0);
    assert_int_equal(mkdir(n->state, 0700), 0);
    node_start(n);
    assert_int_equal(state_set_contact(n->st, true), 0);
}

void stores_open(struct pair *p) {
    memset(p, 0, sizeof(*p));
    node_make(&p->a, "a", "b");
    node_make(&p->b, "b", "a");
}

static int rm_one(const char *path, const struct stat *sb, int type, struct FTW *ftw) {
    return remove(path);
}

static void node_end(struct node *n) {
    state_close(n->st);
    n->st = NULL;
    nftw(n->root, rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void stores_close(struct pair *p) {
    node_end(&p->a);
    node_end(&p->b);
}

void node_killed(struct node *n) {
    state_close(n->st);
    node_start(n);
}

void node_reopen(struct node *n) {
    recent_forget(n->st);
    node_killed(n);
}

static int replay_one(void *arg, uint64_t id, Mfp__Txn *txn) {
    struct node *n = arg;
    struct apply_result res;

    assert_int_equal(apply_txn(n->st, txn, id, true, &res), 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    return 0;
}

void node_replay(struct node *n) {
    assert_int_equal(journal_replay(n->st, replay_one, n), 0);
}

/* ---- files
 * ---------------------------------------------------------------------------------------- */

static const char *full(struct node *n, const char *rel, char buf[512]) {
    snprintf(buf, 512, "%s/%s", n->store, rel);
    return buf;
}

static void put(struct node *n, const char *rel, const char *text, int flags) {
    char buf[512];
    int fd = open(full(n, rel, buf), O_WRONLY | O_CREAT | flags, 0640);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

void fs_write(struct node *n, const char *rel, const char *text) {
    put(n, rel, text, O_TRUNC);
}

void fs_append(struct node *n, const char *rel, const char *text) {
    put(n, rel, text, O_APPEND);
}

char *fs_read(struct node *n, const char *rel) {
    char path[512], chunk[4096];
    int fd = open(full(n, rel, path), O_RDONLY);
    struct buf b;
    ssize_t r;

    if (fd < 0)
        return NULL;
    buf_init(&b, 64u << 20);
    while ((r = read(fd, chunk, sizeof(chunk))) > 0)
        buf_append(&b, chunk, (size_t)r);
    close(fd);
    return buf_steal(&b, NULL);
}

bool fs_there(struct node *n, const char *rel) {
    char buf[512];
    struct stat sb;

    return lstat(full(n, rel, buf), &sb) == 0;
}

void fs_rename(struct node *n, const char *from, const char *to) {
    char x[512], y[512];
    assert_int_equal(rename(full(n, from, x), full(n, to, y)), 0);
}

void fs_unlink(struct node *n, const char *rel) {
    char x[512];
    assert_int_equal(unlink(full(n, rel, x)), 0);
}

void fs_symlink(struct node *n, const char *target, const char *rel) {
    char x[512];
    assert_int_equal(symlink(target, full(n, rel, x)), 0);
}

void fs_mkdir(struct node *n, const char *rel) {
    char x[512];
    assert_int_equal(mkdir(full(n, rel, x), 0750), 0);
}

void fs_link(struct node *n, const char *from, const char *to) {
    char x[512], y[512];
    assert_int_equal(link(full(n, from, x), full(n, to, y)), 0);
}

struct mailfs_id fs_id(struct node *n, const char *rel) {
    char x[512];
    struct mailfs_id id = mailfs_id_root;
    int fd;

    if (*rel == '\0')
        return id;
    fd = open(full(n, rel, x), O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(io_dirid_ensure(fd, &id), 0);
    close(fd);
    return id;
}

/* ---- acts
 * ------------------------------------------------------------------------------------------- */

#define NEW(type, init, var)                                                                       \
    type *var = malloc(sizeof(type));                                                              \
    assert_non_null(var);                                                                          \
    init(var)

static Mfl__Act *act_new(struct acts *a, Mfl__Act__WhatCase what) {
    NEW(Mfl__Act, mfl__act__init, act);
    act->what_case = what;
    assert_true(a->n < sizeof(a->v) / sizeof(*a->v));
    return a->v[a->n++] = act;
}

static ProtobufCBinaryData bytes(const void *p, size_t n) {
    ProtobufCBinaryData b = {n, malloc(n)};
    assert_non_null(b.data);
    memcpy(b.data, p, n);
    return b;
}

static Mfl__Meta *meta_of(struct node *n, const char *rel) {
    char x[512];
    struct stat sb;
    NEW(Mfl__Meta, mfl__meta__init, m);
    assert_int_equal(lstat(full(n, rel, x), &sb), 0);
    m->mode = sb.st_mode & 07777;
    m->uid = sb.st_uid;
    m->gid = sb.st_gid;
    m->mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    m->size = (uint64_t)sb.st_size;
    return m;
}

static Mfl__Add *add_new(struct node *n, struct acts *a, const char *mbox, int sub,
                         const char *name) {
    char rel[400];
    NEW(Mfl__Add, mfl__add__init, add);
    snprintf(rel, sizeof(rel), "%s/%s/%s", mbox, sub == MFL__SUB__NEW ? "new" : "cur", name);
    add->sub = (Mfl__Sub)sub;
    add->name = strdup(name);
    add->meta = meta_of(n, rel);
    act_new(a, MFL__ACT__WHAT_ADD)->add = add;
    return add;
}

void act_add(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
             uint64_t prep) {
    Mfl__Add *add = add_new(n, a, mbox, sub, name);

    if (!prep)
        return;
    NEW(Mfl__Source, mfl__source__init, src);
    NEW(Mfl__Prepared, mfl__prepared__init, p);
    p->incarnation = 77;
    p->seq = prep;
    src->prepared = p;
    add->source = src;
}

void act_add_link(struct node *n, struct acts *a, const char *mbox, int sub, const char *name,
                  const struct mailfs_id *from, int from_sub, const char *from_name) {
    Mfl__Add *add = add_new(n, a, mbox, sub, name);
    NEW(Mfl__Source, mfl__source__init, src);

    src->link_dir = bytes(from->b, sizeof(from->b));
    src->link_sub = (Mfl__Sub)from_sub;
    src->link_name = strdup(from_name);
    add->source = src;
}

void act_move(struct acts *a, int old_sub, const char *old_name, int sub, const char *name) {
    NEW(Mfl__Move, mfl__move__init, m);
    m->old_sub = (Mfl__Sub)old_sub;
    m->sub = (Mfl__Sub)sub;
    m->old_name = strdup(old_name);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_MOVE)->move = m;
}

void act_remove(struct acts *a, int sub, const char *name) {
    NEW(Mfl__Remove, mfl__remove__init, m);
    m->sub = (Mfl__Sub)sub;
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_REMOVE)->remove = m;
}

void act_file(struct acts *a, const char *name) {
    NEW(Mfl__File, mfl__file__init, m);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_FILE)->file = m;
}

void act_dir_make(struct node *n, struct acts *a, const char *parent, const char *name) {
    char rel[400], x[512];
    struct mailfs_id id;
    struct io_handle h;
    int fd;
    NEW(Mfl__DirMake, mfl__dir_make__init, m);

    snprintf(rel, sizeof(rel), "%s%s%s", parent, *parent ? "/" : "", name);
    id = fs_id(n, rel);
    fd = open(full(n, rel, x), O_RDONLY | O_DIRECTORY);
    assert_int_equal(io_handle_get_fd(fd, &h), 0);
    close(fd);
    m->id = bytes(id.b, sizeof(id.b));
    m->name = strdup(name);
    m->meta = meta_of(n, rel);
    m->handle = bytes(&h, sizeof(h));
    act_new(a, MFL__ACT__WHAT_DIR_MAKE)->dir_make = m;
}

void act_dir_move(struct acts *a, const struct mailfs_id *id, const char *old_name,
                  const struct mailfs_id *parent, const char *name) {
    NEW(Mfl__DirMove, mfl__dir_move__init, m);
    m->id = bytes(id->b, sizeof(id->b));
    m->new_parent = bytes(parent->b, sizeof(parent->b));
    m->old_name = strdup(old_name);
    m->name = strdup(name);
    act_new(a, MFL__ACT__WHAT_DIR_MOVE)->dir_move = m;
}

void act_dir_remove(struct acts *a, const struct mailfs_id *id, const char *name,
                    const char *const *bases, size_t n) {
    size_t i;
    NEW(Mfl__DirRemove, mfl__dir_remove__init, m);
    m->id = bytes(id->b, sizeof(id->b));
    m->name = strdup(name);
    m->bases = calloc(n + 1, sizeof(*m->bases));
    for (i = 0; i < n; i++)
        m->bases[m->n_bases++] = strdup(bases[i]);
    m->trashed = true;
    act_new(a, MFL__ACT__WHAT_DIR_REMOVE)->dir_remove = m;
}

void act_subdir(struct acts *a, int sub) {
    NEW(Mfl__SubDir, mfl__sub_dir__init, m);
    m->sub = (Mfl__Sub)sub;
    act_new(a, MFL__ACT__WHAT_SUBDIR)->subdir = m;
}

void acts_free(struct acts *a) {
    size_t i;

    for (i = 0; i < a->n; i++)
        mfl__act__free_unpacked(a->v[i], NULL);
    a->n = 0;
}

/* ---- transactions
 * -------------------------------------------------------------------------------------- */

static Mfp__Meta *peer_meta(const Mfl__Meta *m) {
    NEW(Mfp__Meta, mfp__meta__init, p);
    p->mode = m->mode;
    p->uid = m->uid;
    p->gid = m->gid;
    p->mtime_ns = m->mtime_ns;
    p->size = m->size;
    return p;
}

void stores_prepare(struct node *from, struct node *to, const char *mbox, const char *tmp_name,
                    const char *rel, uint64_t prep) {
    struct stage_prep id = {77, prep};
    struct mailfs_id dir = fs_id(from, mbox);
    Mfl__Meta *lm = meta_of(from, rel);
    Mfp__Meta *m = peer_meta(lm);
    char *text = fs_read(from, rel);
    struct stage_file *f;

    assert_int_equal(stage_begin_prep(to->st, &id, &dir, tmp_name, m, &f), 0);
    assert_int_equal(stage_write(f, 0, text, strlen(text)), 0);
    assert_int_equal(stage_commit(f, true), 0);
    mfl__meta__free_unpacked(lm, NULL);
    mfp__meta__free_unpacked(m, NULL);
    free(text);
}

Mfp__Txn *node_collect(struct node *n, const struct mailfs_id *dir, struct acts *a, bool locked) {
    struct invals inval = {NULL, 0};
    struct stage_prep *preps;
    size_t n_preps;
    Mfp__Txn *txn;

    assert_int_equal(collect_txn(n->st, dir, a->v, a->n, locked, &txn, &preps, &n_preps, &inval),
                     0);
    invals_free(&inval);
    free(preps);
    acts_free(a);
    return txn;
}

/* As the driver does with Fetch and Body. */
static void fetch(struct node *from, struct node *to, const struct content_want *w) {
    struct stage_file *f;
    struct stat sb;
    char chunk[3000], *link;
    Mfp__Meta *m;
    ssize_t r;
    off_t off = 0;
    int fd, err = content_open(from->st, &w->dir, w->sub, w->name, w->by_base, &fd, &sb, &link);

    if (err == -ENOENT) {
        assert_int_equal(content_gone(to->st, w), 0);
        return;
    }
    assert_int_equal(err, 0);
    NEW(Mfp__Meta, mfp__meta__init, meta);
    m = meta;
    m->mode = sb.st_mode & 07777;
    m->uid = sb.st_uid;
    m->gid = sb.st_gid;
    m->mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    assert_int_equal(stage_begin_fetch(to->st, &w->dir, w->sub, w->name, m, link, &f), 0);
    while (fd >= 0 && (r = pread(fd, chunk, sizeof(chunk), off)) > 0) {
        assert_int_equal(stage_write(f, (uint64_t)off, chunk, (size_t)r), 0);
        off += r;
    }
    assert_int_equal(stage_commit(f, true), 0);
    mfp__meta__free_unpacked(m, NULL);
    free(link);
    if (fd >= 0)
        close(fd);
}

uint64_t node_receive(struct node *from, struct node *to, const Mfp__Txn *txn, Mfp__Txn **got) {
    size_t n = mfp__txn__get_packed_size(txn), i;
    uint8_t *p = malloc(n);
    struct journal_entry e;
    struct content_wants wants;

    mfp__txn__pack(txn, p);
    *got = mfp__txn__unpack(NULL, n, p);
    free(p);
    assert_non_null(*got);
    assert_int_equal(content_missing(to->st, *got, &wants), 0);
    for (i = 0; i < wants.n; i++)
        fetch(from, to, &wants.v[i]);
    content_wants_free(&wants);
    e.txn = *got;
    assert_int_equal(journal_append(to->st, &e, 1), 0);
    return e.id;
}

bool stores_send(struct node *from, struct node *to, const struct mailfs_id *dir, struct acts *a,
                 bool locked) {
    Mfp__Txn *txn = node_collect(from, dir, a, locked), *got;
    struct apply_result res;
    uint64_t id;
    bool suspect;

    if (!txn)
        return false;
    id = node_receive(from, to, txn, &got);
    assert_int_equal(base_acked(from->st, txn), 0);
    assert_int_equal(apply_txn(to->st, got, id, false, &res), 0);
    suspect = res.suspect;
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    mfp__txn__free_unpacked(got, NULL);
    return suspect;
}

void stores_deliver(struct pair *p, const struct mailfs_id *dir, const char *base, const char *text,
                    uint64_t prep) {
    struct acts a = {.n = 0};
    char tmp[300], rel[300];

    snprintf(tmp, sizeof(tmp), "u/tmp/%s", base);
    snprintf(rel, sizeof(rel), "u/new/%s", base);
    fs_write(&p->a, tmp, text);
    if (prep)
        stores_prepare(&p->a, &p->b, "u", base, tmp, prep);
    fs_rename(&p->a, tmp, rel);
    act_add(&p->a, &a, "u", MFL__SUB__NEW, base, prep);
    assert_false(stores_send(&p->a, &p->b, dir, &a, false));
}

void stores_checkpoint(struct pair *p) {
    assert_int_equal(state_checkpoint(p->a.st, 0, NULL, 0), 0);
    assert_int_equal(state_checkpoint(p->b.st, 0, NULL, 0), 0);
}

void stores_stage(struct node *from, struct node *to, const Mfp__Listing *listing) {
    struct content_wants wants;
    size_t i;

    assert_int_equal(content_lacks(to->st, listing, &wants), 0);
    for (i = 0; i < wants.n; i++)
        fetch(from, to, &wants.v[i]);
    content_wants_free(&wants);
}

Mfp__Listing *listing_over_wire(const Mfp__Listing *l) {
    size_t n = mfp__listing__get_packed_size(l);
    uint8_t *p = malloc(n ? n : 1);
    Mfp__Listing *got;

    mfp__listing__pack(l, p);
    got = mfp__listing__unpack(NULL, n, p);
    free(p);
    assert_non_null(got);
    return got;
}

Mfp__Tree *tree_over_wire(const Mfp__Tree *t) {
    size_t n = mfp__tree__get_packed_size(t);
    uint8_t *p = malloc(n ? n : 1);
    Mfp__Tree *got;

    mfp__tree__pack(t, p);
    got = mfp__tree__unpack(NULL, n, p);
    free(p);
    assert_non_null(got);
    return got;
}

struct mailfs_id stores_mailbox(struct node *from, struct node *to, const char *parent,
                                const char *name) {
    static const char *const subs[] = {"cur", "new", "tmp"};
    static const int nums[] = {MFL__SUB__CUR, MFL__SUB__NEW, MFL__SUB__TMP};
    struct acts a = {.n = 0};
    char rel[390], sub[400];
    struct mailfs_id pid = fs_id(from, parent), id;
    size_t i;

    snprintf(rel, sizeof(rel), "%s%s%s", parent, *parent ? "/" : "", name);
    fs_mkdir(from, rel);
    act_dir_make(from, &a, parent, name);
    assert_false(stores_send(from, to, &pid, &a, false));
    id = fs_id(from, rel);
    for (i = 0; i < 3; i++) {
        snprintf(sub, sizeof(sub), "%s/%s", rel, subs[i]);
        fs_mkdir(from, sub);
        act_subdir(&a, nums[i]);
        assert_false(stores_send(from, to, &id, &a, false));
    }
    return id;
}

/* ---- comparing
 * -------------------------------------------------------------------------------------------- */

static void compare(struct pair *p, const char *rel);

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t names(struct node *n, const char *rel, char **v, size_t max) {
    char x[512];
    DIR *d = opendir(full(n, rel, x));
    struct dirent *de;
    size_t k = 0;

    assert_non_null(d);
    while ((de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
            strcmp(de->d_name, ".mailfs") == 0 || strcmp(de->d_name, "..DOVECOT-TRASHED") == 0 ||
            strcmp(de->d_name, "maildirsize") == 0 ||
            strncmp(de->d_name, "dovecot-uidvalidity.", 20) == 0) /* each node's own */
            continue;
        assert_true(k < max);
        v[k++] = strdup(de->d_name);
    }
    closedir(d);
    qsort(v, k, sizeof(*v), by_name);
    return k;
}

static bool msg_in(struct node *n, const char *dir, const char *sub, const char *base) {
    char x[900];
    size_t len = strlen(base);
    struct dirent *de;
    bool found = false;
    DIR *d;

    snprintf(x, sizeof(x), "%s/%s/%s", n->store, dir, sub);
    d = opendir(x);
    while (d && !found && (de = readdir(d)))
        found = strncmp(de->d_name, base, len) == 0 &&
                (de->d_name[len] == ':' || de->d_name[len] == '\0');
    if (d)
        closedir(d);
    return found;
}

/* Each record of a message that is there is in the other list under the same UID. (Of one that came
 * and went a record can be left on one node.) */
static void records_in(struct node *n, const char *dir, struct maildir_uidlist *a,
                       struct maildir_uidlist *b) {
    size_t i;

    for (i = 0; i < maildir_uidlist_count(a); i++) {
        const struct maildir_uidrec *r = maildir_uidlist_at(a, i), *o;
        o = maildir_uidlist_find(b, r->base, strlen(r->base));
        if (o && o->uid != r->uid)
            fail_msg("%s: %s has UID %u and UID %u", dir, r->base, r->uid, o->uid);
        if (!o && (msg_in(n, dir, "cur", r->base) || msg_in(n, dir, "new", r->base)))
            fail_msg("%s: %s has UID %u on %s only", dir, r->base, r->uid, n->name);
    }
}

/* Two texts can say the same: N is stale after appended records. */
static void compare_uidlists(struct pair *p, const char *rel, const char *ta, const char *tb) {
    struct maildir_uidlist *a, *b;
    char dir[800];

    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(rel, '/') - rel), rel);
    assert_int_equal(maildir_uidlist_parse(ta, strlen(ta), &a, NULL), 0);
    assert_int_equal(maildir_uidlist_parse(tb, strlen(tb), &b, NULL), 0);
    assert_int_equal(maildir_uidlist_validity(a), maildir_uidlist_validity(b));
    assert_int_equal(maildir_uidlist_next(a), maildir_uidlist_next(b));
    records_in(&p->a, dir, a, b);
    records_in(&p->b, dir, b, a);
    maildir_uidlist_free(a);
    maildir_uidlist_free(b);
}

static void compare_file(struct pair *p, const char *rel, const struct stat *sa,
                         const struct stat *sb) {
    char *ta = fs_read(&p->a, rel), *tb = fs_read(&p->b, rel);
    const char *slash = strrchr(rel, '/');
    bool control = slash && strncmp(slash, "/dovecot-", 9) == 0;

    if (slash && strcmp(slash, "/subscriptions") == 0)
        control = true;
    if (slash && strcmp(slash, "/dovecot-uidlist") == 0)
        compare_uidlists(p, rel, ta, tb);
    else
        assert_string_equal(ta, tb);
    if (!control && sa->st_mtim.tv_nsec != sb->st_mtim.tv_nsec)
        fail_msg("%s: mtimes differ", rel);
    free(ta);
    free(tb);
}

static void compare_dir(struct pair *p, const char *rel) {
    static char *va[20000], *vb[20000];
    char **ka, **kb;
    size_t na = names(&p->a, rel, va, 20000), nb = names(&p->b, rel, vb, 20000), i;

    for (i = 0; i < na || i < nb; i++) {
        if (i >= na || i >= nb || strcmp(va[i], vb[i]) != 0)
            fail_msg("%s: a has %s, b has %s", rel, i < na ? va[i] : "(end)",
                     i < nb ? vb[i] : "(end)");
    }
    ka = malloc((na + 1) * sizeof(*ka));
    kb = malloc((na + 1) * sizeof(*kb));
    memcpy(ka, va, na * sizeof(*ka));
    memcpy(kb, vb, na * sizeof(*kb));
    for (i = 0; i < na; i++) {
        char sub[800];
        snprintf(sub, sizeof(sub), "%s%s%s", rel, *rel ? "/" : "", ka[i]);
        compare(p, sub);
        free(ka[i]);
        free(kb[i]);
    }
    free(ka);
    free(kb);
}

static void compare(struct pair *p, const char *rel) {
    char x[900], y[900];
    struct stat sa, sb;

    snprintf(x, sizeof(x), "%s/%s", p->a.store, rel);
    snprintf(y, sizeof(y), "%s/%s", p->b.store, rel);
    assert_int_equal(lstat(x, &sa), 0);
    assert_int_equal(lstat(y, &sb), 0);
    if (sa.st_mode != sb.st_mode)
        fail_msg("%s: modes %o and %o", rel, sa.st_mode, sb.st_mode);
    if (S_ISREG(sa.st_mode))
        compare_file(p, rel, &sa, &sb);
    if (S_ISDIR(sa.st_mode)) {
        const char *base = strrchr(rel, '/');
        base = base ? base + 1 : rel;
        if (strcmp(base, "cur") && strcmp(base, "new") && strcmp(base, "tmp")) {
            struct mailfs_id ia = fs_id(&p->a, rel), ib = fs_id(&p->b, rel);
            if (!mailfs_id_equal(&ia, &ib))
                fail_msg("%s: ids differ", rel);
        }
        if (strcmp(base, "tmp"))
            compare_dir(p, rel);
    }
    if (S_ISLNK(sa.st_mode)) {
        char la[256] = "", lb[256] = "";
        assert_true(readlink(x, la, sizeof(la) - 1) > 0);
        assert_true(readlink(y, lb, sizeof(lb) - 1) > 0);
        assert_string_equal(la, lb);
    }
}

void stores_assert_equal(struct pair *p) {
    compare_dir(p, "");
}
