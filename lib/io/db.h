#ifndef MAILFS_IO_DB_H
#define MAILFS_IO_DB_H

/*
 * Durable tables of sorted keys: a thin wrapper of LMDB, and the only place that includes lmdb.h.
 *
 * Keys are 1 .. DB_KEY_MAX bytes and sort as memcmp(3). Values are up to 4 GiB; large ones belong
 * into files. Pointers given out by get and iterate point into the map: valid, read-only, until the
 * transaction ends or (in an update) until the next put or del in it.
 *
 * Durability: when db_update() returns 0, the change survives a power cut; when it returns anything
 * else, none of it happened (after -EIO, of the final sync, the state after a power cut is either;
 * on a full disk, see io_is_full(), that one is -ENOSPC).
 *
 * The map starts at 16 MiB and doubles when it is full, up to max_bytes, then -ENOSPC. Growing
 * means that the transaction is aborted and its function is run again: see db_update().
 *
 * Processes: several may have the same directory open. Threads: a struct db may be used from any;
 * updates wait for each other (also between processes). Inside a callback, use only its txn: a
 * nested db_update() or db_view() on the same db from the same thread deadlocks.
 * Errors: negative errno; -ENOENT no such key; -EUCLEAN the file is damaged or of another version.
 */

#include <stddef.h>
#include <stdint.h>

#define DB_KEY_MAX 511

struct db;
struct db_txn;

struct db_val {
    const void *p;
    size_t n;
};

struct db_config {
    const char *const *tables; /* names; a table's number is its index here */
    unsigned n_tables;         /* at most 32 */
    size_t max_bytes;          /* of the map; 0: 64 GiB. Address space, not memory. */
};

/* dir must exist (0700). Makes dir/data.mdb and dir/lock.mdb, 0600. */
int db_open(const char *dir, const struct db_config *conf, struct db **db);
void db_close(struct db *db); /* NULL is allowed; no transaction may be open */

/*
 * A function's result other than 0 aborts (update) and is returned as it is. In an update it can be
 * called more than once, each time on the state before: it must set what it reports anew each time
 * and have no other effect. It must pass on every negative result of db_put() and db_del().
 */
typedef int db_fn(struct db_txn *txn, void *arg);

int db_update(struct db *db, db_fn *fn, void *arg); /* durable, one at a time */
int db_view(struct db *db, db_fn *fn, void *arg);   /* a snapshot; never waits for updates */

int db_get(struct db_txn *txn, unsigned table, const void *key, size_t nkey, struct db_val *val);
int db_put(struct db_txn *txn, unsigned table, const void *key, size_t nkey, const void *val,
           size_t nval);
/* As db_put(), but -EEXIST when the key is there. */
int db_add(struct db_txn *txn, unsigned table, const void *key, size_t nkey, const void *val,
           size_t nval);
int db_del(struct db_txn *txn, unsigned table, const void *key, size_t nkey); /* or -ENOENT */
int db_clear(struct db_txn *txn, unsigned table);
int db_count(struct db_txn *txn, unsigned table, uint64_t *n);

/*
 * All keys that begin with prefix (n = 0: all), in order:
 *     for (r = db_iter_first(txn, T, pre, npre, &it); r == 0; r = db_iter_next(&it))
 *         use(it.key, it.val);
 *     db_iter_end(&it); -- also after an error
 *
 * It ends with -ENOENT. db_iter_del() removes the current entry; go on with db_iter_next(). Other
 * changes of the same table while iterating are not allowed.
 */
struct db_iter {
    struct db_val key;
    struct db_val val;
    struct db_txn *txn; /* this and below: internal */
    void *cursor;
    size_t nprefix;
    uint8_t prefix[DB_KEY_MAX];
};

int db_iter_first(struct db_txn *txn, unsigned table, const void *prefix, size_t n,
                  struct db_iter *it);
/* Starts at the first key >= from that still begins with the prefix, as from itself does. */
int db_iter_seek(struct db_txn *txn, unsigned table, const void *prefix, size_t n, const void *from,
                 size_t nfrom, struct db_iter *it);
int db_iter_next(struct db_iter *it);
int db_iter_del(struct db_iter *it);
void db_iter_end(struct db_iter *it);

/* The table's last key, e.g. the highest sequence number. -ENOENT when empty. */
int db_last(struct db_txn *txn, unsigned table, struct db_val *key, struct db_val *val);

#endif
