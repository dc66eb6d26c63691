/* Two nodes' disk sides for unit tests; see syncd_pair.h. */
#include "syncd_pair_int.h"

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

#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/content.h"
#include "syncd/journal.h"
#include "syncd/recent.h"
#include "syncd/stage.h"

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
    assert_int_equal(state_start_over(n->st), 0);
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

void node_replaced(struct node *n) {
    char name[sizeof(n->name)], peer[sizeof(n->peer)];

    memcpy(name, n->name, sizeof(name));
    memcpy(peer, n->peer, sizeof(peer));
    node_end(n);
    node_make(n, name, peer);
    assert_int_equal(state_set_contact(n->st, false), 0);
}

void node_lost(struct node *n) {
    state_close(n->st);
    nftw(n->state, rm_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    assert_int_equal(mkdir(n->state, 0700), 0);
    node_start(n);
    assert_true(n->start.lost);
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

    assert_int_equal(apply_txn(n->st, txn, id, &(struct apply_how){.replay = true}, &res), 0);
    apply_result_free(&res);
    mfp__txn__free_unpacked(txn, NULL);
    return 0;
}

void node_replay(struct node *n) {
    assert_int_equal(journal_replay(n->st, replay_one, n), 0);
    assert_int_equal(state_start_over(n->st), 0);
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
    Mfl__Meta *lm = act_meta(from, rel);
    Mfp__Meta *m = peer_meta(lm);
    char *text = fs_read(from, rel);
    struct stage_file *f;

    assert_int_equal(stage_begin_prep(to->st, &id, &dir, tmp_name, m, &f), 0);
    assert_int_equal(stage_write(f, 0, text, strlen(text)), 0);
    assert_int_equal(stage_commit(f, STAGE_DURABLE), 0);
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
    int fd, err = content_open(from->st, w, &fd, &sb, &link);

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
    assert_int_equal(stage_commit(f, STAGE_LATER), 0);
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
    assert_int_equal(apply_txn(to->st, got, id, NULL, &res), 0);
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
