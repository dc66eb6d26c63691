/*
 * marks - the set of containers that were changed, on disk
 *
 * Diagnostics: none; errors are returned.
 */
#include "io/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/db.h"
#include "io/io.h"
#include "util/bytes.h"
#include "util/str.h"

enum { TABLE_MARKS, TABLE_META };
static const char *const tables[] = {"marks", "meta"};

#define VERSION        1
#define HEAD_BYTES     11 /* version, generation, handle length and type */
#define VALUE_MAX      (HEAD_BYTES + IO_HANDLE_MAX + MARKS_PATH_MAX)
#define KEY_GENERATION "generation"

struct marks {
    struct db *db;
};

static size_t mark_encode(const struct mark *mark, uint8_t value[VALUE_MAX]) {
    const char *path = mark->path != NULL ? mark->path : "";
    size_t n = strlen(path);
    if (n > MARKS_PATH_MAX) {
        path += n - MARKS_PATH_MAX;
        n = MARKS_PATH_MAX;
    }
    value[0] = VERSION;
    bytes_put_u64(value + 1, mark->gen);
    value[9] = mark->handle.len;
    value[10] = mark->handle.type;
    memcpy(value + HEAD_BYTES, mark->handle.b, mark->handle.len);
    memcpy(value + HEAD_BYTES + mark->handle.len, path, n);
    return HEAD_BYTES + (size_t)mark->handle.len + n;
}

/* path gets the hint; mark->path points to it. */
static int mark_decode(const struct db_val *key, const struct db_val *val, struct mark *mark,
                       char path[MARKS_PATH_MAX + 1]) {
    const uint8_t *p = val->p;
    if (key->n != sizeof mark->dir.b || val->n < HEAD_BYTES || p[0] != VERSION)
        return -EUCLEAN;
    size_t nhandle = p[9];
    if (nhandle > IO_HANDLE_MAX || val->n < HEAD_BYTES + nhandle)
        return -EUCLEAN;
    size_t npath = val->n - HEAD_BYTES - nhandle;
    if (npath > MARKS_PATH_MAX)
        return -EUCLEAN;
    memset(mark, 0, sizeof *mark);
    memcpy(mark->dir.b, key->p, sizeof mark->dir.b);
    mark->gen = bytes_get_u64(p + 1);
    mark->handle.len = (uint8_t)nhandle;
    mark->handle.type = p[10];
    memcpy(mark->handle.b, p + HEAD_BYTES, nhandle);
    memcpy(path, p + HEAD_BYTES + nhandle, npath);
    path[npath] = '\0';
    mark->path = path;
    return 0;
}

int marks_open(const char *state_dir, struct marks **out) {
    static const struct db_config conf = {.tables = tables, .n_tables = 2, .max_bytes = 0};
    char dir[4096];
    int r = str_printf(dir, sizeof dir, "%s/marks", state_dir);
    if (r != 0)
        return r;
    r = io_mkdir(AT_FDCWD, dir, 0700);
    if (r != 0 && r != -EEXIST)
        return r;
    struct marks *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    r = db_open(dir, &conf, &m->db);
    if (r != 0) {
        free(m);
        return r;
    }
    *out = m;
    return 0;
}

void marks_close(struct marks *m) {
    if (m == NULL)
        return;
    db_close(m->db);
    free(m);
}

/* --- putting and clearing ------------------------------------------------------------------ */

struct put_args {
    const struct mark *mark;
    size_t n;
};

/* Has it this mark, or a later one? 1, 0 or an error. */
static int mark_stands(struct db_txn *txn, const struct mark *mark) {
    struct db_val val;
    int r = db_get(txn, TABLE_MARKS, mark->dir.b, sizeof mark->dir.b, &val);
    if (r == -ENOENT)
        return 0;
    if (r != 0)
        return r;
    if (val.n < HEAD_BYTES || *(const uint8_t *)val.p != VERSION)
        return -EUCLEAN;
    return bytes_get_u64((const uint8_t *)val.p + 1) >= mark->gen;
}

/* 0: nothing to do; -EAGAIN: something is to be written. */
static int put_needed(struct db_txn *txn, void *arg) {
    const struct put_args *a = arg;
    for (size_t i = 0; i < a->n; i++) {
        int r = mark_stands(txn, &a->mark[i]);
        if (r < 0)
            return r;
        if (r == 0)
            return -EAGAIN;
    }
    return 0;
}

static int put_all(struct db_txn *txn, void *arg) {
    const struct put_args *a = arg;
    uint8_t value[VALUE_MAX];
    for (size_t i = 0; i < a->n; i++) {
        const struct mark *mark = &a->mark[i];
        int r = mark_stands(txn, mark);
        if (r == 0)
            r = db_put(txn, TABLE_MARKS, mark->dir.b, sizeof mark->dir.b, value,
                       mark_encode(mark, value));
        if (r < 0)
            return r;
    }
    return 0;
}

int marks_put(struct marks *m, const struct mark *mark, size_t n) {
    struct put_args a = {mark, n};
    int r = db_view(m->db, put_needed, &a);
    return r == -EAGAIN ? db_update(m->db, put_all, &a) : r;
}

struct clear_args {
    const struct mailfs_id *dirs;
    size_t n;
    uint64_t upto;
};

static int clear_all(struct db_txn *txn, void *arg) {
    const struct clear_args *a = arg;
    for (size_t i = 0; i < a->n; i++) {
        struct mark newer = {.dir = a->dirs[i], .gen = a->upto + 1};
        int r = mark_stands(txn, &newer);
        if (r == 0)
            r = db_del(txn, TABLE_MARKS, a->dirs[i].b, sizeof a->dirs[i].b);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return 0;
}

int marks_clear(struct marks *m, const struct mailfs_id *dirs, size_t n, uint64_t upto) {
    struct clear_args a = {dirs, n, upto};
    return n == 0 ? 0 : db_update(m->db, clear_all, &a);
}

/* --- looking --------------------------------------------------------------------------------- */

struct each_args {
    int (*fn)(const struct mark *mark, void *arg);
    void *arg;
    bool stopped; /* fn's doing: its -ENOENT is told from the table's end */
};

static int each(struct db_txn *txn, void *arg) {
    struct each_args *a = arg;
    struct db_iter it;
    int r;
    for (r = db_iter_first(txn, TABLE_MARKS, NULL, 0, &it); r == 0; r = db_iter_next(&it)) {
        char path[MARKS_PATH_MAX + 1];
        struct mark mark;
        r = mark_decode(&it.key, &it.val, &mark, path);
        if (r != 0)
            break;
        r = a->fn(&mark, a->arg);
        a->stopped = r != 0;
        if (a->stopped)
            break;
    }
    db_iter_end(&it);
    return r;
}

int marks_each(struct marks *m, int (*fn)(const struct mark *mark, void *arg), void *arg) {
    struct each_args a = {.fn = fn, .arg = arg};
    int r = db_view(m->db, each, &a);
    return r == -ENOENT && !a.stopped ? 0 : r;
}

static int count(struct db_txn *txn, void *arg) {
    return db_count(txn, TABLE_MARKS, arg);
}

int marks_count(struct marks *m, uint64_t *n) {
    return db_view(m->db, count, n);
}

/* --- the generation -------------------------------------------------------------------------- */

static int generation_get(struct db_txn *txn, void *arg) {
    uint64_t *gen = arg;
    struct db_val val;
    int r = db_get(txn, TABLE_META, KEY_GENERATION, strlen(KEY_GENERATION), &val);
    if (r == 0 && val.n != sizeof *gen)
        return -EUCLEAN;
    if (r == 0)
        *gen = bytes_get_u64(val.p);
    else if (r == -ENOENT)
        *gen = 1;
    return r == -ENOENT ? 0 : r;
}

int marks_generation(struct marks *m, uint64_t *gen) {
    return db_view(m->db, generation_get, gen);
}

static int generation_raise(struct db_txn *txn, void *arg) {
    const uint64_t *gen = arg;
    uint64_t now;
    uint8_t value[8];
    int r = generation_get(txn, &now);
    if (r != 0 || now >= *gen)
        return r;
    bytes_put_u64(value, *gen);
    return db_put(txn, TABLE_META, KEY_GENERATION, strlen(KEY_GENERATION), value, sizeof value);
}

int marks_generation_raise(struct marks *m, uint64_t gen) {
    uint64_t now;
    int r = marks_generation(m, &now);
    if (r != 0 || now >= gen)
        return r;
    return db_update(m->db, generation_raise, &gen);
}
