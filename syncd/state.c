/*
 * state: opens what a volume keeps on disk, and makes checkpoints of it.
 *
 * STORE/.mailfs/id holds the store's id in 32 hex digits; the base has a copy. When the two differ
 * (a store restored from a backup, a state directory of another store) the base is forgotten: then
 * nothing is taken for removed, and the next contact compares everything. So it is when the one is
 * older than the other: STORE/.mailfs/generation and the base's copy count the checkpoints, and the
 * store, written first, may be ahead by one.
 *
 * Diagnostics: errors of the store or state at the start; a lost base; every error the modules of
 * the disk side find, with the container's path.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alias.h"
#include "base.h"
#include "hold.h"
#include "io/file.h"
#include "io/io.h"
#include "io/undo.h"
#include "journal.h"
#include "maildir/class.h"
#include "recent.h"
#include "state_int.h"
#include "store.h"
#include "util/log.h"
#include "util/str.h"

#define BASE_FORMAT   "1"                 /* docs/INTERFACES.md */
#define BASE_DB_BYTES ((size_t)256 << 30) /* address space: thousands of millions of messages */

static const char *const table_names[T_END] = {"cont", "msgs",    "files", "prepof",
                                               "meta", "journal", "preps"};

/* ---- errors ------------------------------------------------------------------------ */

int state_fail(struct state *st, int err, const struct mailfs_id *dir, const char *fmt, ...) {
    char what[STATE_ERROR_MAX], path[128] = "", text[STATE_ERROR_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (dir)
        state_path(st, dir, path, sizeof(path));
    snprintf(text, sizeof(text), "%.90s%s%.90s: %.70s", path, dir ? ": " : "", what,
             log_strerror(err));
    log_error("%s", text);
    state_lock(st);
    memcpy(st->last_error, text, sizeof(text));
    state_unlock(st);
    return err;
}

void state_last_error(struct state *st, char *buf) {
    state_lock(st);
    memcpy(buf, st->last_error, STATE_ERROR_MAX);
    state_unlock(st);
}

const char *state_path(struct state *st, const struct mailfs_id *dir, char *buf, size_t size) {
    struct mailfs_id id = *dir;
    struct base_dir rec;
    char rest[1024] = "", next[1024];
    int depth;

    for (depth = 0; depth < 64 && !mailfs_id_is_root(&id); depth++) {
        if (base_dir_get(st, &id, &rec) < 0) {
            char hex[MAILFS_ID_HEX];
            snprintf(next, sizeof(next), "[%s]%.900s", mailfs_id_format(&id, hex), rest);
            memcpy(rest, next, sizeof(rest));
            break;
        }
        snprintf(next, sizeof(next), "/%.255s%.700s", rec.name, rest);
        memcpy(rest, next, sizeof(rest));
        id = rec.parent;
    }
    snprintf(buf, size, "%s", *rest ? rest : "/");
    return buf;
}

/* ---- meta -------------------------------------------------------------------------- */

struct meta {
    const char *key;
    const void *val;
    size_t n;
    char out[256];
    bool wipe;
};

static int meta_read(struct db_txn *txn, void *arg) {
    struct meta *m = arg;
    struct db_val v;
    int r = db_get(txn, T_META, m->key, strlen(m->key), &v);

    if (r == 0)
        r = str_copyn(m->out, sizeof(m->out), v.p, v.n);
    return r;
}

static int meta_write(struct db_txn *txn, void *arg) {
    struct meta *m = arg;
    unsigned t;
    int r = 0;

    for (t = 0; m->wipe && r == 0 && t < T_END; t++)
        r = db_clear(txn, t);
    return r == 0 ? db_put(txn, T_META, m->key, strlen(m->key), m->val, m->n) : r;
}

static int meta_get(struct state *st, const char *key, char out[256]) {
    struct meta m = {.key = key};
    int r = db_view(st->db, meta_read, &m);

    memcpy(out, m.out, sizeof(m.out));
    return r;
}

static int meta_put(struct state *st, const char *key, const char *val, bool wipe) {
    struct meta m = {.key = key, .val = val, .n = strlen(val), .wipe = wipe};
    return db_update(st->db, meta_write, &m);
}

int state_set_contact(struct state *st, bool had) {
    int r = meta_put(st, "contact", had ? "1" : "0", false);

    if (r < 0)
        return state_fail(st, r, NULL, "state: cannot note the common base");
    st->had_contact = had;
    return 0;
}

int state_set_met(struct state *st) {
    int r = st->met ? 0 : meta_put(st, "met", "1", false);

    if (r < 0)
        return state_fail(st, r, NULL, "state: cannot note the first merge");
    st->met = true;
    return 0;
}

/* ---- opening ----------------------------------------------------------------------- */

static int open_own_dir(int parent, const char *name) {
    int r = io_mkdir(parent, name, 0700);

    if (r < 0 && r != -EEXIST)
        return r;
    return io_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
}

/* A one-way link's own part of .mailfs. */
static int open_link_dir(struct state *st) {
    int fd, links = open_own_dir(st->home, "links");

    if (links < 0)
        return links;
    fd = open_own_dir(links, st->peer);
    close(links);
    return fd;
}

static int dup_fd(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}

static int open_store(struct state *st, const char *path, bool undo) {
    struct stat sb;

    st->root = io_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (st->root == -ELOOP || st->root == -ENOTDIR)
        return -EXDEV;
    if (st->root < 0)
        return st->root;
    if (fstat(st->root, &sb) < 0)
        return -errno;
    st->dev = sb.st_dev;
    st->root_ino = sb.st_ino;
    if ((st->home = open_own_dir(st->root, MAILDIR_INTERNAL_NAME)) < 0)
        return st->home;
    if ((st->own = st->main ? open_link_dir(st) : dup_fd(st->home)) < 0)
        return st->own;
    if ((st->stage = open_own_dir(st->own, "stage")) < 0)
        return st->stage;
    if ((st->kept = open_own_dir(st->own, "kept")) < 0)
        return st->kept;
    if ((st->trash = open_own_dir(st->own, "trash")) < 0)
        return st->trash;
    /* What was kept before `keep` was set to 0 is to go. */
    st->undo_keeps = undo;
    st->undo = undo ? io_undo_open(st->home)
                    : io_open_beneath(st->home, IO_UNDO_NAME, O_RDONLY | O_DIRECTORY, 0);
    return undo && st->undo < 0 ? st->undo : 0;
}

static int open_databases(struct state *st, const char *dir) {
    struct db_config conf = {.tables = table_names, .n_tables = T_END, .max_bytes = BASE_DB_BYTES};
    char path[4096];
    int r = marks_open(dir, &st->marks);

    if (r == 0)
        r = str_printf(path, sizeof(path), "%s/base", dir);
    if (r == 0)
        r = io_mkdirs(path, 0700);
    if (r == 0)
        r = db_open(path, &conf, &st->db);
    return r;
}

/* A file of .mailfs/; by way of the stage, which is swept at a start. */
static int replace(struct state *st, int dirfd, const char *name, const char *text, size_t n) {
    const struct io_file_attr attr = {.has_tmpdir = 1, .tmpdir = st->stage};

    return io_file_replace_at(dirfd, name, text, n, &attr);
}

/* -ENOENT: it has none (or one that is none of ours). */
static int read_store_id(struct state *st, struct mailfs_id *id) {
    char *text;
    size_t n;
    int r = io_file_read_at(st->home, "id", 256, &text, &n, NULL);

    if (r < 0)
        return r;
    text[n < 32 ? n : 32] = '\0';
    r = mailfs_id_parse(text, id);
    free(text);
    return r < 0 ? -ENOENT : 0;
}

static int make_store_id(struct state *st, struct mailfs_id *id) {
    char hex[MAILFS_ID_HEX];
    int r = mailfs_id_new(id);

    if (r == 0)
        r = replace(st, st->home, "id", mailfs_id_format(id, hex), 32);
    return r;
}

/* Another peer than before, or the first: there is no common base with it. */
static int check_peer(struct state *st) {
    char peer[256], contact[256];
    int r = meta_get(st, "peer", peer);

    if (r < 0 && r != -ENOENT)
        return r;
    if (st->peer && (r == -ENOENT || strcmp(peer, st->peer) != 0)) {
        r = meta_put(st, "contact", "0", false);
        if (r == 0)
            r = meta_put(st, "peer", st->peer, false);
        if (r < 0)
            return r;
    }
    r = meta_get(st, "contact", contact);
    if (r < 0 && r != -ENOENT)
        return r;
    st->had_contact = r == 0 && strcmp(contact, "1") == 0;
    return 0;
}

/* Of the store; 0: it has none. */
static int read_generation(struct state *st, uint64_t *gen) {
    char *text;
    size_t n;
    int r = io_file_read_at(st->own, "generation", 32, &text, &n, NULL);

    *gen = 0;
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (sscanf(text, "%" SCNu64, gen) != 1)
        *gen = UINT64_MAX; /* not one of ours: as if it were another store's */
    free(text);
    return 0;
}

/* Always of one length, and over the old one: a store that is full has no room for another file. */
static int write_generation(struct state *st, uint64_t gen) {
    char text[24];
    size_t n = (size_t)snprintf(text, sizeof(text), "%020" PRIu64, gen);
    int r, fd = io_open_beneath(st->own, "generation", O_WRONLY, 0);

    if (fd == -ENOENT)
        return replace(st, st->own, "generation", text, n);
    if (fd < 0)
        return fd;
    r = io_pwrite_all(fd, text, n, 0);
    if (r == 0)
        r = io_fsync(fd);
    close(fd);
    return r;
}

/* Is one of store and base of an earlier time than the other? st->generation: what the base has. */
static int check_generation(struct state *st, bool *lost) {
    char text[256] = "";
    uint64_t gen;
    int r = meta_get(st, "generation", text);

    if (r < 0 && r != -ENOENT)
        return r;
    st->generation = strtoull(text, NULL, 10);
    r = read_generation(st, &gen);
    if (r == 0 && gen != st->generation && gen != st->generation + 1) {
        log_warn("%s: store and state are of different times (%" PRIu64 ", %" PRIu64 ")",
                 st->store_path, gen, st->generation);
        *lost = true;
    }
    return r;
}

/* Both begin at one, after the base was forgotten. */
static int restart_generation(struct state *st) {
    int r = meta_put(st, "generation", "1", false);

    if (r == 0)
        r = write_generation(st, 1);
    st->generation = 1;
    return r;
}

static int begin_base(struct state *st, const char *store_id) {
    int r;

    recent_forget(st);
    r = meta_put(st, "store_id", store_id, true);

    return r == 0 ? restart_generation(st) : r;
}

static int forget_base(struct state *st, const char *store_id) {
    log_warn("%s: the state does not belong to this store, or is not of its time; everything will "
             "be compared, and nothing removed",
             st->store_path);
    return begin_base(st, store_id);
}

/* Only mail that was never merged with another node's needs no care with its UIDs. */
static int check_met(struct state *st, bool lost) {
    char met[256];
    int r = meta_get(st, "met", met);

    if (r < 0 && r != -ENOENT)
        return r;
    st->met = st->had_contact || (r == 0 && strcmp(met, "1") == 0);
    return lost ? state_set_met(st) : 0;
}

/*
 * Do store, state and peer belong together? Otherwise the base is that of something else, and is
 * forgotten. A store whose id is not its state's may be a copy, of the peer's store even, and two
 * of one id are refused: it gets another. (The id is of use to its own state only, and those of its
 * one-way links.)
 */
static int check_identity(struct state *st, struct state_start *start) {
    char hex[MAILFS_ID_HEX] = "", was[256] = "";
    struct mailfs_id id;
    bool has_id, has_state;
    int r = read_store_id(st, &id);

    has_id = r == 0;
    r = r == -ENOENT ? 0 : r;
    if (r == 0)
        r = meta_get(st, "store_id", was);
    has_state = r == 0;
    r = r == -ENOENT ? 0 : r;
    if (r == 0 && has_id && strcmp(mailfs_id_format(&id, hex), was) == 0) {
        r = check_generation(st, &start->lost);
    } else if (r == 0 && st->main) { /* the volume has seen to the store's id; the link is new */
        start->lost = has_state;
    } else if (r == 0) {
        start->lost = has_id || has_state;
        r = make_store_id(st, &id);
        mailfs_id_format(&id, hex);
    }
    st->lost = start->lost;
    if (r == 0 && start->lost)
        r = forget_base(st, hex);
    else if (r == 0 && !has_state)
        r = begin_base(st, hex);
    memcpy(start->store_id, id.b, sizeof(id.b));
    if (r == 0)
        r = check_peer(st);
    if (r == 0)
        r = check_met(st, start->lost);
    start->had_contact = st->had_contact;
    start->met = st->met;
    return r;
}

/* Of another version of this program: not touched. */
static int check_format(struct state *st) {
    char format[256];
    int r = meta_get(st, "format", format);

    if (r == -ENOENT)
        return meta_put(st, "format", BASE_FORMAT, false);
    if (r == 0 && strcmp(format, BASE_FORMAT) != 0) {
        log_error("the base is of format %s, this program knows %s", format, BASE_FORMAT);
        return -EUCLEAN;
    }
    return r;
}

static int ensure_root(struct state *st) {
    struct base_dir rec;
    int r = base_dir_get(st, &mailfs_id_root, &rec);

    if (r != -ENOENT)
        return r;
    memset(&rec, 0, sizeof(rec));
    rec.agreed = true;
    return base_dir_put(st, &mailfs_id_root, &rec);
}

static struct state *state_alloc(const struct state_config *conf) {
    struct state *st = calloc(1, sizeof(*st));

    if (!st)
        return NULL;
    st->main = conf->main;
    st->read_only = conf->read_only;
    st->root = st->home = st->own = st->stage = st->kept = st->trash = st->undo = -1;
    st->kept_some = true; /* of an earlier run, perhaps */
    pthread_mutex_init(&st->mutex, NULL);
    pthread_mutex_init(&st->checkpoint, NULL);
    pthread_mutex_init(&st->syncing, NULL);
    pthread_mutex_init(&st->recent.mutex, NULL);
    st->recent.fd = -1;
    st->store_path = strdup(conf->store);
    st->node = strdup(conf->node ? conf->node : "");
    st->peer = conf->peer ? strdup(conf->peer) : NULL;
    if (!st->store_path || !st->node || (conf->peer && !st->peer)) {
        state_close(st);
        return NULL;
    }
    return st;
}

int state_open(const struct state_config *conf, struct state **out, struct state_start *start) {
    struct state *st = state_alloc(conf);
    int r;

    memset(start, 0, sizeof(*start));
    if (!st)
        return -ENOMEM;
    r = open_store(st, conf->store, conf->undo);
    if (r < 0) {
        log_error("%s: %s", conf->store,
                  r == -EXDEV ? "the store is no directory of its own" : log_strerror(r));
        goto fail;
    }
    r = open_databases(st, conf->dir);
    if (r == 0)
        r = check_format(st);
    if (r == 0)
        r = check_identity(st, start);
    if (r == 0)
        r = check_format(st); /* a base that was forgotten has none */
    if (r == 0)
        r = ensure_root(st);
    if (r == 0)
        r = stage_load(st);
    if (r == 0)
        r = journal_load(st);
    if (r == 0)
        recent_open(st);
    if (r == 0)
        r = base_lacking_load(st);
    if (r == 0)
        r = tree_sweep(st);
    if (r == 0)
        tree_recover(st); /* what is left is tried again by each scan, which fails */
    if (r < 0) {
        log_error("%s: cannot open the state: %s", conf->dir, log_strerror(r));
        goto fail;
    }
    start->journal = journal_waiting(st);
    *out = st;
    return 0;
fail:
    state_close(st);
    return r;
}

static void close_fd(int fd) {
    if (fd >= 0)
        close(fd);
}

void state_close(struct state *st) {
    if (!st)
        return;
    journal_free(st);
    base_lacking_free(st);
    base_gone_forget(st);
    alias_free(st);
    hold_close(st);
    stage_free(st);
    pending_free(st);
    collect_forget_notes(st, NULL);
    kv_layer_clear(&st->sent);
    kv_layer_clear(&st->proposed);
    kv_layer_clear(&st->agreed);
    kv_layer_clear(&st->frozen);
    recent_close(st);
    db_close(st->db);
    marks_close(st->marks);
    close_fd(st->undo);
    close_fd(st->trash);
    close_fd(st->kept);
    close_fd(st->stage);
    close_fd(st->own);
    close_fd(st->home);
    close_fd(st->root);
    pthread_mutex_destroy(&st->syncing);
    pthread_mutex_destroy(&st->checkpoint);
    pthread_mutex_destroy(&st->mutex);
    free(st->store_path);
    free(st->node);
    free(st->peer);
    free(st);
}

/* ---- checkpoint -------------------------------------------------------------------- */

struct commit {
    struct state *st;
    struct jentry **applied;
    size_t n;
    uint64_t generation; /* of this commit */
};

static int commit_all(struct db_txn *txn, void *arg) {
    struct commit *c = arg;
    char text[24];
    int n = snprintf(text, sizeof(text), "%" PRIu64, c->generation);
    size_t i;
    int r = kv_layer_write(&c->st->frozen, txn);

    if (r == 0)
        r = db_put(txn, T_META, "generation", strlen("generation"), text, (size_t)n);
    for (i = 0; r == 0 && i < c->n; i++)
        r = journal_delete(txn, c->applied[i]->id);
    if (r == 0)
        r = stage_checkpoint_write(c->st, txn, (const struct jentry *const *)c->applied, c->n);
    return r;
}

static bool has_changed(struct state *st) {
    bool change;

    state_lock(st);
    change = st->frozen.conts || st->agreed.conts || journal_has_applied(st);
    state_unlock(st);
    return change;
}

/* What it writes is taken out of memory; what comes meanwhile belongs to the next one. */
static int freeze(struct state *st, struct commit *c) {
    int r;

    recent_next(st, c->generation);
    state_lock(st);
    r = kv_layer_move(&st->frozen, &st->agreed);
    if (r == 0)
        r = journal_take_applied(st, &c->applied, &c->n);
    state_unlock(st);
    /* A store of a backup is told by it: it must be in the store before the base has it. */
    return r == 0 ? write_generation(st, c->generation) : r;
}

static int checkpoint(struct state *st, struct commit *c) {
    bool change = has_changed(st);
    size_t i;
    int r;

    c->generation = st->generation + change;
    r = change ? freeze(st, c) : 0;
    if (r < 0)
        return r; /* what is frozen waits for the next one */
    /* The store first: the base on disk must never say more than the store holds. An error is told
     * once, and what it is about is lost: nothing can be said to be durable any more. The base on
     * disk stays as it is, and the journal; a start begins from there. */
    r = st->sync_failed ? -EIO : io_syncfs(st->root);
    if (r < 0)
        st->sync_failed = true;
    if (r == 0)
        r = db_update(st->db, commit_all, c);
    if (r < 0)
        return r;
    st->generation = c->generation; /* only here, under st->checkpoint */
    if (change)
        recent_committed(st);
    state_lock(st);
    kv_layer_clear(&st->frozen);
    state_unlock(st);
    stage_checkpoint_done(st, (const struct jentry *const *)c->applied, c->n);
    state_lock(st);
    for (i = 0; i < c->n; i++)
        journal_forget(st, c->applied[i]);
    state_unlock(st);
    return 0;
}

int state_checkpoint(struct state *st, uint64_t gen, const struct mailfs_id *settled, size_t n) {
    struct commit c = {.st = st};
    int r;

    pthread_mutex_lock(&st->checkpoint);
    r = checkpoint(st, &c);
    free(c.applied);
    if (r == 0 && n && gen)
        r = marks_clear(st->marks, settled, n, gen - 1);
    pthread_mutex_unlock(&st->checkpoint);
    return r < 0 ? state_fail(st, r, NULL, "checkpoint of the base") : 0;
}

size_t state_dirty_bytes(struct state *st) {
    size_t n;

    state_lock(st);
    n = st->agreed.bytes + st->frozen.bytes;
    state_unlock(st);
    return n;
}

/* ---- marks ------------------------------------------------------------------------- */

struct mark_list {
    struct state_mark *v;
    size_t n, cap;
    uint64_t below;
};

static int mark_add(const struct mark *m, void *arg) {
    struct mark_list *l = arg;

    if (m->gen >= l->below)
        return 0;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct state_mark *v = realloc(l->v, cap * sizeof(*v));
        if (!v)
            return -ENOMEM;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n].dir = m->dir;
    l->v[l->n++].gen = m->gen;
    return 0;
}

int state_marks(struct state *st, uint64_t below, struct state_mark **marks, size_t *n) {
    struct mark_list l = {.below = below};
    int r = marks_each(st->marks, mark_add, &l);

    *marks = NULL;
    *n = 0;
    if (r < 0) {
        free(l.v);
        return state_fail(st, r, NULL, "cannot read the marks");
    }
    *marks = l.v;
    *n = l.n;
    return 0;
}

bool state_any_mark(struct state *st) {
    uint64_t n;

    return marks_count(st->marks, &n) == 0 && n > 0;
}

int state_mark_own(struct state *st, const struct mailfs_id *dir, uint64_t gen) {
    struct mark m = {.dir = *dir, .gen = gen, .path = ""};
    struct base_dir rec;
    int r;

    if (base_dir_get(st, dir, &rec) == 0)
        m.handle = rec.handle;
    r = marks_put(st->marks, &m, 1);
    return r < 0 ? state_fail(st, r, dir, "cannot mark") : 0;
}

int state_mark_found(struct state *st, const struct mailfs_id *dir,
                     const struct io_handle *handle) {
    struct mark m = {.dir = *dir, .handle = *handle, .path = ""};
    int r = marks_generation(st->marks, &m.gen);

    if (r == 0)
        r = marks_put(st->marks, &m, 1);
    return r < 0 ? state_fail(st, r, dir, "cannot mark") : 0;
}

/* What a one-way link changes in the store is to be compared with the peer and the other links as
 * well: the volume's own mark says so. */
int state_mark(struct state *st, const struct mailfs_id *dir, uint64_t gen) {
    uint64_t main_gen;
    int r = st->main ? state_mark_gen(st->main, &main_gen) : 0;

    if (r == 0 && st->main)
        r = state_mark_own(st->main, dir, main_gen);
    return r == 0 ? state_mark_own(st, dir, gen) : r;
}

int state_mark_gen(struct state *st, uint64_t *gen) {
    return marks_generation(st->marks, gen);
}

int state_mark_gen_raise(struct state *st, uint64_t gen) {
    int r = marks_generation_raise(st->marks, gen);

    return r < 0 ? state_fail(st, r, NULL, "cannot begin a generation of marks") : 0;
}

/* Those of the containers given, sorted; or all. */
struct copy {
    struct mark *v;
    size_t n, room;
    const struct mailfs_id *dirs;
    size_t n_dirs;
};

static int id_cmp(const void *a, const void *b) {
    return memcmp(a, b, MAILFS_ID_BYTES);
}

static int copy_one(const struct mark *m, void *arg) {
    struct copy *c = arg;
    struct mark *v = c->v;

    if (c->dirs && !bsearch(&m->dir, c->dirs, c->n_dirs, sizeof(*c->dirs), id_cmp))
        return 0;
    if (c->n == c->room) {
        c->room = c->room ? 2 * c->room : 64;
        v = realloc(v, c->room * sizeof(*v));
        if (!v)
            return -ENOMEM;
        c->v = v;
    }
    v += c->n++;
    *v = *m;
    v->path = strdup(m->path);
    return v->path ? 0 : -ENOMEM;
}

int state_marks_copy(struct state *from, struct state *to, const struct mailfs_id *dirs, size_t n) {
    struct copy c = {.dirs = dirs, .n_dirs = n};
    uint64_t gen = 0;
    size_t i;
    int r = marks_generation(to->marks, &gen);

    if (r == 0)
        r = marks_each(from->marks, copy_one, &c);
    for (i = 0; i < c.n; i++)
        c.v[i].gen = gen;
    if (r == 0 && c.n)
        r = marks_put(to->marks, c.v, c.n);
    for (i = 0; i < c.n; i++)
        free((char *)(uintptr_t)c.v[i].path);
    free(c.v);
    return r < 0 ? state_fail(to, r, NULL, "cannot copy the marks") : 0;
}
