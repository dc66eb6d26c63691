/*
 * state: opens what a volume keeps on disk, and makes checkpoints of it.
 *
 * Diagnostics: errors of the store or state at the start; every error the modules of the disk side
 * find, with the container's path.
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
#include "half.h"
#include "hold.h"
#include "io/file.h"
#include "io/io.h"
#include "io/undo.h"
#include "journal.h"
#include "maildir/class.h"
#include "recent.h"
#include "said.h"
#include "state_int.h"
#include "store.h"
#include "unread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/str.h"

#define BASE_DB_BYTES ((size_t)256 << 30) /* address space: thousands of millions of messages */

static const char *const table_names[T_END] = {"cont", "msgs",    "files", "prepof",
                                               "meta", "journal", "preps"};

/* ---- errors ------------------------------------------------------------------------ */

static void text_of(struct state *st, const struct mailfs_id *dir, const char *what, int err,
                    char text[STATE_ERROR_MAX]) {
    char path[128] = "";

    if (dir)
        state_path(st, dir, path, sizeof(path));
    snprintf(text, STATE_ERROR_MAX, "%.90s%s%.90s%s%.60s", path, dir ? ": " : "", what,
             err ? ": " : "", err ? log_strerror(err) : "");
}

/* Paths may begin alike for longer than what is logged of them. */
static void key_of(const struct mailfs_id *dir, const char *what, char *of, size_t size) {
    char hex[MAILFS_ID_HEX] = "";

    snprintf(of, size, "%s %s", dir ? mailfs_id_format(dir, hex) : "", what);
}

int state_fail(struct state *st, int err, const struct mailfs_id *dir, const char *fmt, ...) {
    char what[STATE_ERROR_MAX], text[STATE_ERROR_MAX], of[MAILFS_ID_HEX + STATE_ERROR_MAX];
    enum said_what said;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    text_of(st, dir, what, err, text);
    key_of(dir, what, of, sizeof(of));
    state_lock(st);
    memcpy(st->last_error, text, sizeof(text));
    said = said_look(&st->said, of, err, clock_ms());
    state_unlock(st);
    log_msg(said == SAID_BEFORE ? LOG_LVL_DEBUG : LOG_LVL_ERROR, "%s%s", text,
            said == SAID_TOO_MANY ? SAID_MORE : "");
    return err;
}

void state_tell(struct state *st, const struct mailfs_id *dir, const char *what) {
    char text[STATE_ERROR_MAX];

    text_of(st, dir, what, 0, text);
    state_lock(st);
    memcpy(st->last_error, text, sizeof(text));
    state_unlock(st);
    log_error("%s", text);
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
    st->look_ms = LOOK_INSIDE_MS;
    st->alias_ms = ALIAS_MS;
    pthread_mutex_init(&st->mutex, NULL);
    pthread_mutex_init(&st->checkpoint, NULL);
    pthread_mutex_init(&st->syncing, NULL);
    pthread_mutex_init(&st->settling, NULL);
    pthread_mutex_init(&st->sync_mutex, NULL);
    pthread_cond_init(&st->sync_ended, NULL);
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

static int begin_life(struct state *st) {
    struct mailfs_id id;
    int r = mailfs_id_new(&id);

    if (r == 0)
        memcpy(&st->life, id.b, sizeof(st->life));
    st->life |= 1; /* never 0 */
    return r;
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
    r = begin_life(st);
    if (r == 0)
        r = open_databases(st, conf->dir);
    if (r == 0)
        r = state_check_format(st);
    if (r == 0)
        r = state_check_identity(st, start);
    if (r == 0)
        r = state_check_format(st); /* a base that was forgotten has none */
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
    base_moved_settled(st);
    alias_free(st);
    half_free(st);
    unread_forget_all(st);
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
    pthread_mutex_destroy(&st->settling);
    pthread_mutex_destroy(&st->syncing);
    pthread_mutex_destroy(&st->sync_mutex);
    pthread_cond_destroy(&st->sync_ended);
    pthread_mutex_destroy(&st->checkpoint);
    pthread_mutex_destroy(&st->mutex);
    said_free(&st->said);
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
    return change || recent_is_lost(st); /* only with another base can it be noted again */
}

/* What it writes is taken out of memory; what comes meanwhile belongs to the next one. */
static int freeze(struct state *st, struct commit *c) {
    int r;

    r = recent_next(st, c->generation);
    if (r < 0)
        return r;
    state_lock(st);
    r = kv_layer_move(&st->frozen, &st->agreed);
    if (r == 0)
        r = journal_take_applied(st, &c->applied, &c->n);
    state_unlock(st);
    /* A store of a backup is told by it: it must be in the store before the base has it. */
    return r == 0 ? state_write_generation(st, c->generation) : r;
}

static int checkpoint(struct state *st, struct commit *c) {
    bool change = has_changed(st);
    size_t i;
    int r;

    c->generation = st->generation + change;
    r = change ? freeze(st, c) : 0;
    if (r < 0)
        return r; /* what is frozen waits for the next one */
    /* The store first: the base on disk must never say more than the store holds. After an error it
     * stays as it is, and the journal; a start begins from there. */
    r = state_sync_whole(st);
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

bool state_recent_lost(const struct state *st) {
    return recent_is_lost(st);
}

size_t state_dirty_bytes(struct state *st) {
    size_t n;

    state_lock(st);
    n = st->agreed.bytes + st->frozen.bytes;
    state_unlock(st);
    return n;
}
