/*
 * db - sorted tables on LMDB
 *
 * LMDB's own rules that shape this file: the size of the map may only be changed while the process
 * has no transaction open, hence `resize`, held for reading by every transaction; another process
 * may have grown the file (MDB_MAP_RESIZED at begin); readers' slots belong to transactions, not to
 * threads (MDB_NOTLS).
 *
 * Diagnostics: none; errors are returned as negative errno.
 */
#include "io/db.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "io/io.h"

enum { DB_TABLES_MAX = 32, DB_READERS_MAX = 256 };
#define DB_SIZE_FIRST ((size_t)16 << 20)
#define DB_SIZE_MAX   ((size_t)64 << 30)

struct db {
    MDB_env *env;
    pthread_rwlock_t resize;
    size_t max_bytes;
    unsigned n_tables;
    MDB_dbi tables[DB_TABLES_MAX];
};

struct db_txn {
    struct db *db;
    MDB_txn *txn;
    bool full; /* a change did not fit: grow, and run the function again */
};

static int db_error(int r) {
    switch (r) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_KEYEXIST:
        return -EEXIST;
    case MDB_MAP_FULL:
        return -ENOSPC;
    case MDB_READERS_FULL:
        return -EAGAIN;
    case MDB_BAD_VALSIZE:
        return -EINVAL;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
        return -EUCLEAN;
    default:
        return r > 0 ? -r : -EIO;
    }
}

/* --- the size of the map ------------------------------------------------------------------- */

static int db_adopt_size(struct db *db) {
    pthread_rwlock_wrlock(&db->resize);
    int r = mdb_env_set_mapsize(db->env, 0);
    pthread_rwlock_unlock(&db->resize);
    return db_error(r);
}

/* Waits for the process's other transactions. Two threads at once may grow it twice: no harm. */
static int db_grow(struct db *db) {
    MDB_envinfo info;
    pthread_rwlock_wrlock(&db->resize);
    int r = mdb_env_info(db->env, &info);
    if (r == 0 && info.me_mapsize >= db->max_bytes)
        r = MDB_MAP_FULL;
    if (r == 0) {
        size_t size = info.me_mapsize * 2;
        r = mdb_env_set_mapsize(db->env, size < db->max_bytes ? size : db->max_bytes);
    }
    pthread_rwlock_unlock(&db->resize);
    return db_error(r);
}

/* --- transactions ---------------------------------------------------------------------------- */

/* On success `resize` is held for reading until db_finish(). */
static int db_begin(struct db *db, unsigned flags, struct db_txn *txn) {
    for (;;) {
        pthread_rwlock_rdlock(&db->resize);
        *txn = (struct db_txn){.db = db};
        int r = mdb_txn_begin(db->env, NULL, flags, &txn->txn);
        if (r == 0)
            return 0;
        pthread_rwlock_unlock(&db->resize);
        if (r != MDB_MAP_RESIZED)
            return db_error(r);
        r = db_adopt_size(db);
        if (r != 0)
            return r;
    }
}

static int db_finish(struct db_txn *txn, bool commit) {
    int r = 0;
    if (commit)
        r = mdb_txn_commit(txn->txn);
    else
        mdb_txn_abort(txn->txn);
    pthread_rwlock_unlock(&txn->db->resize);
    return r;
}

/* Any write that was cut short is EIO to LMDB (mdb_page_flush() in mdb.c: "short write, filesystem
 * full?"), as an error of the disk is. On a full disk it counts as the former; one that a limit has
 * cut short (a quota, RLIMIT_FSIZE) stays what LMDB calls it. */
static int commit_error(struct db *db, int e) {
    int fd;
    if (e == EIO && mdb_env_get_fd(db->env, &fd) == 0 && io_is_full(fd))
        return -ENOSPC;
    return db_error(e);
}

int db_update(struct db *db, db_fn *fn, void *arg) {
    for (;;) {
        struct db_txn txn;
        int r = db_begin(db, 0, &txn);
        if (r != 0)
            return r;
        r = fn(&txn, arg);
        if (r == 0 && !txn.full)
            r = io_barrier("db commit");
        int e = db_finish(&txn, r == 0 && !txn.full);
        if (e == MDB_MAP_FULL)
            txn.full = true;
        if (!txn.full)
            return r != 0 ? r : commit_error(db, e);
        r = db_grow(db);
        if (r != 0)
            return r;
    }
}

int db_view(struct db *db, db_fn *fn, void *arg) {
    struct db_txn txn;
    int r = db_begin(db, MDB_RDONLY, &txn);
    if (r != 0)
        return r;
    r = fn(&txn, arg);
    db_finish(&txn, false);
    return r;
}

/* --- opening --------------------------------------------------------------------------------- */

struct open_tables {
    struct db *db;
    const struct db_config *conf;
};

static int open_tables(struct db_txn *txn, void *arg) {
    struct open_tables *o = arg;
    for (unsigned i = 0; i < o->conf->n_tables; i++) {
        int r = mdb_dbi_open(txn->txn, o->conf->tables[i], MDB_CREATE, &o->db->tables[i]);
        if (r == MDB_MAP_FULL)
            txn->full = true;
        if (r != 0)
            return db_error(r);
    }
    return 0;
}

static int db_open_env(struct db *db, const char *dir) {
    int r = mdb_env_create(&db->env);
    if (r == 0)
        r = mdb_env_set_maxdbs(db->env, DB_TABLES_MAX);
    if (r == 0)
        r = mdb_env_set_maxreaders(db->env, DB_READERS_MAX);
    if (r == 0)
        r = mdb_env_set_mapsize(db->env,
                                db->max_bytes < DB_SIZE_FIRST ? db->max_bytes : DB_SIZE_FIRST);
    if (r == 0)
        r = mdb_env_open(db->env, dir, MDB_NOTLS, 0600);
    /* A process that was killed inside db_view() left its slot behind, and pages pinned by it. */
    int dead;
    if (r == 0)
        r = mdb_reader_check(db->env, &dead);
    return db_error(r);
}

int db_open(const char *dir, const struct db_config *conf, struct db **out) {
    if (conf->n_tables > DB_TABLES_MAX)
        return -EINVAL;
    struct db *db = calloc(1, sizeof *db);
    if (db == NULL)
        return -ENOMEM;
    db->max_bytes = conf->max_bytes != 0 ? conf->max_bytes : DB_SIZE_MAX;
    db->n_tables = conf->n_tables;
    /* Growing waits for readers that are there, not for those that keep coming. */
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&db->resize, &attr);
    pthread_rwlockattr_destroy(&attr);

    int r = db_open_env(db, dir);
    struct open_tables o = {.db = db, .conf = conf};
    if (r == 0)
        r = db_update(db, open_tables, &o);
    if (r != 0) {
        db_close(db);
        return r;
    }
    *out = db;
    return 0;
}

void db_close(struct db *db) {
    if (db == NULL)
        return;
    if (db->env != NULL)
        mdb_env_close(db->env);
    pthread_rwlock_destroy(&db->resize);
    free(db);
}

/* --- records --------------------------------------------------------------------------------- */

static MDB_val val_of(const void *p, size_t n) {
    return (MDB_val){.mv_size = n, .mv_data = (void *)(uintptr_t)p};
}

/* db_error(), and remember that the map was too small. */
static int db_changed(struct db_txn *txn, int r) {
    if (r == MDB_MAP_FULL)
        txn->full = true;
    return db_error(r);
}

int db_get(struct db_txn *txn, unsigned table, const void *key, size_t nkey, struct db_val *val) {
    MDB_val k = val_of(key, nkey), v;
    int r = mdb_get(txn->txn, txn->db->tables[table], &k, &v);
    if (r == 0)
        *val = (struct db_val){v.mv_data, v.mv_size};
    return db_error(r);
}

static int db_store(struct db_txn *txn, unsigned table, const void *key, size_t nkey,
                    const void *val, size_t nval, unsigned flags) {
    MDB_val k = val_of(key, nkey), v = val_of(val, nval);
    return db_changed(txn, mdb_put(txn->txn, txn->db->tables[table], &k, &v, flags));
}

int db_put(struct db_txn *txn, unsigned table, const void *key, size_t nkey, const void *val,
           size_t nval) {
    return db_store(txn, table, key, nkey, val, nval, 0);
}

int db_add(struct db_txn *txn, unsigned table, const void *key, size_t nkey, const void *val,
           size_t nval) {
    return db_store(txn, table, key, nkey, val, nval, MDB_NOOVERWRITE);
}

int db_del(struct db_txn *txn, unsigned table, const void *key, size_t nkey) {
    MDB_val k = val_of(key, nkey);
    return db_changed(txn, mdb_del(txn->txn, txn->db->tables[table], &k, NULL));
}

int db_clear(struct db_txn *txn, unsigned table) {
    return db_changed(txn, mdb_drop(txn->txn, txn->db->tables[table], 0));
}

int db_count(struct db_txn *txn, unsigned table, uint64_t *n) {
    MDB_stat st;
    int r = mdb_stat(txn->txn, txn->db->tables[table], &st);
    if (r == 0)
        *n = st.ms_entries;
    return db_error(r);
}

/* --- iterating ------------------------------------------------------------------------------- */

static int iter_move(struct db_iter *it, MDB_val *k, MDB_cursor_op op) {
    MDB_val v;
    int r = mdb_cursor_get(it->cursor, k, &v, op);
    if (r != 0)
        return db_error(r);
    if (k->mv_size < it->nprefix || memcmp(k->mv_data, it->prefix, it->nprefix) != 0)
        return -ENOENT;
    it->key = (struct db_val){k->mv_data, k->mv_size};
    it->val = (struct db_val){v.mv_data, v.mv_size};
    return 0;
}

int db_iter_seek(struct db_txn *txn, unsigned table, const void *prefix, size_t n, const void *from,
                 size_t nfrom, struct db_iter *it) {
    it->txn = txn;
    it->cursor = NULL; /* db_iter_end() is called also after an error */
    if (n > DB_KEY_MAX || nfrom > DB_KEY_MAX)
        return -EINVAL;
    it->nprefix = n;
    if (n > 0)
        memcpy(it->prefix, prefix, n);
    MDB_cursor *cursor;
    int r = mdb_cursor_open(txn->txn, txn->db->tables[table], &cursor);
    if (r != 0)
        return db_error(r);
    it->cursor = cursor;
    MDB_val k = val_of(from, nfrom);
    return iter_move(it, &k, nfrom > 0 ? MDB_SET_RANGE : MDB_FIRST); /* no empty key in LMDB */
}

int db_iter_first(struct db_txn *txn, unsigned table, const void *prefix, size_t n,
                  struct db_iter *it) {
    return db_iter_seek(txn, table, prefix, n, prefix, n, it);
}

int db_iter_next(struct db_iter *it) {
    MDB_val k;
    return iter_move(it, &k, MDB_NEXT);
}

/* LMDB leaves the cursor so that MDB_NEXT gives the entry that followed. */
int db_iter_del(struct db_iter *it) {
    return db_changed(it->txn, mdb_cursor_del(it->cursor, 0));
}

void db_iter_end(struct db_iter *it) {
    if (it->cursor != NULL)
        mdb_cursor_close(it->cursor);
    it->cursor = NULL;
}

int db_last(struct db_txn *txn, unsigned table, struct db_val *key, struct db_val *val) {
    MDB_cursor *cursor;
    MDB_val k, v;
    int r = mdb_cursor_open(txn->txn, txn->db->tables[table], &cursor);
    if (r != 0)
        return db_error(r);
    r = mdb_cursor_get(cursor, &k, &v, MDB_LAST);
    mdb_cursor_close(cursor);
    if (r != 0)
        return db_error(r);
    *key = (struct db_val){k.mv_data, k.mv_size};
    *val = (struct db_val){v.mv_data, v.mv_size};
    return 0;
}
