/*
 * test_db - tables: all or nothing, order, growth, several threads and processes, damage
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/db.h"
#include "io/io.h"
#include "tests/unit/io_fault.h"
#include "tests/unit/scratch.h"
#include "util/bytes.h"
#include "util/str.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { T_ONE, T_TWO };
static const char *const tables[] = {"one", "two"};

static char top[SCRATCH_PATH];
static int top_fd;
static struct db *db;

static void open_db(size_t max) {
    struct db_config conf = {.tables = tables, .n_tables = LEN(tables), .max_bytes = max};
    assert_int_equal(db_open(top, &conf, &db), 0);
}

static int setup(void **state) {
    top_fd = scratch_make(top);
    open_db(0);
    return 0;
}

static int teardown(void **state) {
    db_close(db);
    db = NULL;
    scratch_remove(top, top_fd);
    return 0;
}

/* --- one record ------------------------------------------------------------------------------ */

struct kv {
    unsigned table;
    const char *key, *val;
    char got[64];
};

static int do_put(struct db_txn *txn, void *arg) {
    struct kv *a = arg;
    return db_put(txn, a->table, a->key, strlen(a->key), a->val, strlen(a->val));
}

static int do_put_then_fail(struct db_txn *txn, void *arg) {
    int r = do_put(txn, arg);
    return r != 0 ? r : -ECANCELED;
}

static int do_get(struct db_txn *txn, void *arg) {
    struct kv *a = arg;
    struct db_val v;
    int r = db_get(txn, a->table, a->key, strlen(a->key), &v);
    return r != 0 ? r : str_copyn(a->got, sizeof a->got, v.p, v.n);
}

static int put(unsigned table, const char *key, const char *val) {
    struct kv a = {.table = table, .key = key, .val = val};
    return db_update(db, do_put, &a);
}

/* NULL: not there. */
static const char *get(unsigned table, const char *key) {
    static struct kv a;
    a = (struct kv){.table = table, .key = key};
    int r = db_view(db, do_get, &a);
    assert_true(r == 0 || r == -ENOENT);
    return r == 0 ? a.got : NULL;
}

static void test_put_get(void **state) {
    char key[DB_KEY_MAX + 2];
    assert_null(get(T_ONE, "k"));
    assert_int_equal(put(T_ONE, "k", "v"), 0);
    assert_string_equal(get(T_ONE, "k"), "v");
    assert_null(get(T_TWO, "k"));
    assert_int_equal(put(T_ONE, "k", ""), 0);
    assert_string_equal(get(T_ONE, "k"), "");
    assert_int_equal(put(T_ONE, "", "v"), -EINVAL);
    memset(key, 'x', sizeof key);
    key[DB_KEY_MAX + 1] = '\0';
    assert_int_equal(put(T_ONE, key, "v"), -EINVAL);
    key[DB_KEY_MAX] = '\0';
    assert_int_equal(put(T_ONE, key, "long"), 0);
    db_close(db);
    open_db(0);
    assert_string_equal(get(T_ONE, key), "long");
}

static void test_abort(void **state) {
    struct kv a = {.table = T_ONE, .key = "k", .val = "v"};
    assert_int_equal(db_update(db, do_put_then_fail, &a), -ECANCELED);
    assert_null(get(T_ONE, "k"));
}

static int edit(struct db_txn *txn, void *arg) {
    struct db_val key, val;
    uint64_t n;
    assert_int_equal(db_last(txn, T_ONE, &key, &val), -ENOENT);
    assert_int_equal(db_add(txn, T_ONE, "a", 1, "1", 1), 0);
    assert_int_equal(db_add(txn, T_ONE, "a", 1, "2", 1), -EEXIST);
    assert_int_equal(db_put(txn, T_ONE, "b", 1, "2", 1), 0);
    assert_int_equal(db_count(txn, T_ONE, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(db_last(txn, T_ONE, &key, &val), 0);
    assert_int_equal(key.n, 1);
    assert_memory_equal(key.p, "b", 1);
    assert_memory_equal(val.p, "2", 1);
    assert_int_equal(db_del(txn, T_ONE, "b", 1), 0);
    assert_int_equal(db_del(txn, T_ONE, "b", 1), -ENOENT);
    assert_int_equal(db_get(txn, T_ONE, "a", 1, &val), 0);
    assert_memory_equal(val.p, "1", 1);
    assert_int_equal(db_clear(txn, T_ONE), 0);
    assert_int_equal(db_count(txn, T_ONE, &n), 0);
    assert_int_equal(n, 0);
    return 0;
}

static void test_edit(void **state) {
    assert_int_equal(db_update(db, edit, NULL), 0);
    assert_null(get(T_ONE, "a"));
}

/* --- iterating ------------------------------------------------------------------------------- */

struct walk {
    const char *prefix, *from;
    const char *remove; /* this key, when it is met */
    char seen[256];
};

static int walk(struct db_txn *txn, void *arg) {
    struct walk *w = arg;
    struct db_iter it;
    size_t n = strlen(w->prefix);
    w->seen[0] = '\0';
    int r = w->from == NULL ? db_iter_first(txn, T_ONE, w->prefix, n, &it)
                            : db_iter_seek(txn, T_ONE, w->prefix, n, w->from, strlen(w->from), &it);
    for (; r == 0; r = db_iter_next(&it)) {
        size_t used = strlen(w->seen);
        const char *key = it.key.p;
        snprintf(w->seen + used, sizeof w->seen - used, "%.*s ", (int)it.key.n, key);
        if (w->remove != NULL && it.key.n == strlen(w->remove) &&
            memcmp(key, w->remove, it.key.n) == 0)
            assert_int_equal(db_iter_del(&it), 0);
    }
    db_iter_end(&it);
    return r == -ENOENT ? 0 : r;
}

static const char *walked(const char *prefix, const char *from) {
    static struct walk w;
    w = (struct walk){.prefix = prefix, .from = from};
    assert_int_equal(db_view(db, walk, &w), 0);
    return w.seen;
}

static void test_prefix(void **state) {
    assert_string_equal(walked("", NULL), "");
    static const char *const keys[] = {"b2", "c", "b10", "a", "b1", "ba", "b"};
    for (size_t i = 0; i < LEN(keys); i++)
        assert_int_equal(put(T_ONE, keys[i], "x"), 0);
    assert_string_equal(walked("", NULL), "a b b1 b10 b2 ba c ");
    assert_string_equal(walked("b", NULL), "b b1 b10 b2 ba ");
    assert_string_equal(walked("b1", NULL), "b1 b10 ");
    assert_string_equal(walked("d", NULL), "");
    assert_string_equal(walked("b", "b11"), "b2 ba ");
    assert_string_equal(walked("b", "bz"), "");
    struct walk w = {.prefix = "b", .remove = "b1"};
    assert_int_equal(db_update(db, walk, &w), 0);
    assert_string_equal(w.seen, "b b1 b10 b2 ba "); /* none skipped by the removal */
    assert_string_equal(walked("", NULL), "a b b10 b2 ba c ");
    w = (struct walk){.prefix = "b", .remove = "ba"}; /* the last of them */
    assert_int_equal(db_update(db, walk, &w), 0);
    assert_string_equal(w.seen, "b b10 b2 ba ");
    assert_string_equal(walked("", NULL), "a b b10 b2 c ");
}

/* --- growing --------------------------------------------------------------------------------- */

struct many {
    uint64_t first, n;
    unsigned calls;
};

static int put_many(struct db_txn *txn, void *arg) {
    struct many *m = arg;
    char val[4000];
    m->calls++;
    for (uint64_t i = m->first; i < m->first + m->n; i++) {
        uint8_t key[8];
        bytes_put_u64(key, i);
        memset(val, (int)(i % 251), sizeof val);
        int r = db_put(txn, T_ONE, key, sizeof key, val, sizeof val);
        if (r != 0)
            return r;
    }
    return 0;
}

static int check_many(struct db_txn *txn, void *arg) {
    const struct many *m = arg;
    uint64_t n;
    assert_int_equal(db_count(txn, T_ONE, &n), 0);
    assert_int_equal(n, m->first + m->n);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t key[8];
        struct db_val v;
        bytes_put_u64(key, i);
        assert_int_equal(db_get(txn, T_ONE, key, sizeof key, &v), 0);
        assert_int_equal(v.n, 4000);
        assert_int_equal(*(const uint8_t *)v.p, i % 251);
    }
    return 0;
}

/* 60 MiB into a map of 16: it doubles twice, and the function begins anew each time. */
static void test_grows(void **state) {
    struct many m = {.first = 0, .n = 12000};
    assert_int_equal(db_update(db, put_many, &m), 0);
    assert_true(m.calls >= 3);
    assert_int_equal(db_view(db, check_many, &m), 0);
}

static void test_full(void **state) {
    db_close(db);
    open_db((size_t)20 << 20);
    struct many m = {.first = 0, .n = 12000};
    assert_int_equal(put(T_TWO, "k", "before"), 0);
    assert_int_equal(db_update(db, put_many, &m), -ENOSPC);
    assert_int_equal(put(T_TWO, "k", "after"), 0); /* and goes on */
    m = (struct many){.first = 0, .n = 0};
    assert_int_equal(db_view(db, check_many, &m), 0);
    assert_string_equal(get(T_TWO, "k"), "after");
}

/* LMDB forbids an environment across fork(): the child opens its own. */
static void test_grown_by_another_process(void **state) {
    int go[2], gone;
    db_close(db);
    db = NULL;
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char c;
        struct many m = {.first = 0, .n = 12000};
        struct db_config conf = {.tables = tables, .n_tables = LEN(tables)};
        if (read(go[0], &c, 1) != 1)
            _exit(2);
        int r = db_open(top, &conf, &db);
        if (r == 0)
            r = db_update(db, put_many, &m);
        db_close(db);
        _exit(r == 0 ? 0 : 1);
    }
    open_db(0);
    assert_int_equal(put(T_TWO, "k", "v"), 0);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, &gone, 0), pid);
    assert_int_equal(gone, 0);
    struct many m = {.first = 0, .n = 12000};
    assert_int_equal(db_view(db, check_many, &m), 0);
    assert_int_equal(put(T_TWO, "k", "w"), 0);
    assert_string_equal(get(T_TWO, "k"), "w");
    close(go[0]);
    close(go[1]);
}

static atomic_bool stop;
static atomic_uint reads;

/* A snapshot holds what one update wrote, all of it: the count is a multiple of 1000. */
static int read_some(struct db_txn *txn, void *arg) {
    struct db_iter it;
    uint64_t n = 0;
    int r;
    for (r = db_iter_first(txn, T_ONE, NULL, 0, &it); r == 0; r = db_iter_next(&it))
        n += *(const uint8_t *)it.key.p == 0;
    db_iter_end(&it);
    atomic_fetch_add(&reads, 1);
    return r == -ENOENT ? (n % 1000 == 0 ? 0 : -EBADMSG) : r;
}

static void *reader(void *arg) {
    intptr_t r = 0;
    while (!atomic_load(&stop) && r == 0)
        r = db_view(db, read_some, NULL);
    return (void *)r;
}

static void test_readers_while_growing(void **state) {
    pthread_t threads[3];
    void *r;
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
    for (unsigned i = 0; i < 10; i++) {
        struct many m = {.first = i * 1000, .n = 1000};
        assert_int_equal(db_update(db, put_many, &m), 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], &r), 0);
        assert_null(r);
    }
    assert_true(atomic_load(&reads) > 0);
}

/* --- failing --------------------------------------------------------------------------------- */

static void test_barrier(void **state) {
    assert_int_equal(put(T_ONE, "k", "old"), 0);
    fault_start(top, FAULT_FAIL, 0, -EIO);
    assert_int_equal(put(T_ONE, "k", "new"), -EIO);
    assert_true(fault_happened());
    fault_power_on();
    assert_string_equal(get(T_ONE, "k"), "old");
    assert_int_equal(put(T_ONE, "k", "new"), 0);
    assert_string_equal(get(T_ONE, "k"), "new");
}

static int no_room(int fd, struct statvfs *fs) {
    int r = io_ops_real.fstatvfs(fd, fs);
    fs->f_bfree = 1;
    return r;
}

/* The file may not grow beyond half a page from its end: the next write is cut short. */
static int cut_short(void) {
    struct rlimit before, limit;
    struct many m = {.first = 0, .n = 100};
    struct stat sb;
    assert_int_equal(fstatat(top_fd, "data.mdb", &sb, 0), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){(rlim_t)sb.st_size + 2048, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int r = db_update(db, put_many, &m);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_string_equal(get(T_TWO, "k"), "old");
    return r;
}

/* On a full disk that is what it is called, and else an error of the disk. */
static void test_cut_short(void **state) {
    struct io_ops full = io_ops_real;
    full.fstatvfs = no_room;
    assert_int_equal(put(T_TWO, "k", "old"), 0);
    assert_int_equal(cut_short(), -EIO);
    io_ops_set(&full);
    assert_int_equal(cut_short(), -ENOSPC);
    io_ops_set(&io_ops_real);
    assert_int_equal(put(T_TWO, "k", "new"), 0);
    assert_string_equal(get(T_TWO, "k"), "new");
}

static void test_damaged(void **state) {
    char path[SCRATCH_PATH + 16];
    db_close(db);
    db = NULL;
    snprintf(path, sizeof path, "%s/data.mdb", top);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (int i = 0; i < 8192; i++)
        fputc('x', f);
    fclose(f);
    struct db_config conf = {.tables = tables, .n_tables = LEN(tables)};
    assert_int_equal(db_open(top, &conf, &db), -EUCLEAN);
    assert_null(db);
    assert_int_equal(db_open("/nowhere", &conf, &db), -ENOENT);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_get),
        T(test_abort),
        T(test_edit),
        T(test_prefix),
        T(test_grows),
        T(test_full),
        T(test_grown_by_another_process),
        T(test_readers_while_growing),
        T(test_barrier),
        T(test_cut_short),
        T(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
