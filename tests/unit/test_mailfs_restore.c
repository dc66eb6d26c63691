/* What a worker of mailfs makes of the inodes that the one before it left. Each worker is a
 * process of its own, as its tables are. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/handle.h"
#include "mailfs/dir.h"
#include "mailfs/inode.h"
#include "mailfs/keep.h"
#include "mailfs/named.h"
#include "mailfs/prepare.h"
#include "mailfs/vol.h"
#include "handle_err.h"
#include "scratch.h"

/* In place of the library's: with what opening the directory above one fails, or one to be listed;
 * 0: it does not. */
static int up_err, list_err;

int openat(int dirfd, const char *path, int flags, ...) {
    static int (*real)(int, const char *, int, mode_t);
    mode_t mode = 0;
    va_list ap;

    if (!real)
        real = (int (*)(int, const char *, int, mode_t))dlsym(RTLD_NEXT, "openat");
    va_start(ap, flags);
    if (flags & O_CREAT)
        mode = va_arg(ap, mode_t);
    va_end(ap);
    errno = strcmp(path, "..") == 0 ? up_err : strcmp(path, ".") == 0 ? list_err : 0;
    if (errno)
        return -1;
    return real(dirfd, path, flags, mode);
}

/* In place of the library's: a worker is killed before that many of these; 0: it is not. */
static unsigned unlocks_left;

int pthread_mutex_unlock(pthread_mutex_t *m) {
    static int (*real)(pthread_mutex_t *);

    if (!real)
        real = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    if (unlocks_left > 0 && --unlocks_left == 0)
        _exit(0);
    return real(m);
}

static char path[SCRATCH_PATH];
static int store, mem;

static int setup(void **state) {
    store = scratch_make(path);
    assert_int_equal(mkdirat(store, ".mailfs", 0700), 0);
    assert_int_equal(mkdirat(store, "box", 0700), 0);
    assert_int_equal(mkdirat(store, "box/cur", 0700), 0);
    close(openat(store, "box/cur/1.M1.a:2,", O_WRONLY | O_CREAT, 0600));
    mem = keep_create();
    assert_true(mem >= 0);
    return 0;
}

static int teardown(void **state) {
    keep_unmap();
    close(mem);
    scratch_remove(path, store);
    return 0;
}

/* Those of the first worker: box has the node id 2, cur the next, and a message in it. */
enum { BOX = 2, CUR, MESSAGE };

/* A worker, to its end; what it began with. */
static int worker(int (*life)(void)) {
    int status;
    pid_t pid;

    keep.head->lives++;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        vol.store_fd = store;
        vol.internal_fd = openat(store, ".mailfs", O_RDONLY | O_DIRECTORY);
        _exit(keep_map(mem) != 0 ? 255 : -life());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

/* The kernel has seen all of them. */
static int first(void) {
    struct inode *box, *cur, *msg;
    struct stat st;
    int r = inode_init(store);

    if (r == 0)
        r = inode_lookup(inode_root(), "box", &box, &st);
    if (r == 0)
        r = inode_lookup(box, "cur", &cur, &st);
    if (r == 0)
        r = inode_lookup(cur, "1.M1.a:2,", &msg, &st);
    if (r != 0)
        return r;
    inode_give(box);
    inode_give(cur);
    inode_give(msg);
    return inode_id(box) == BOX && inode_id(cur) == CUR && inode_id(msg) == MESSAGE ? 0 : -200;
}

static bool is_the_one(uint64_t id, const char *rel) {
    struct stat is, want;

    return fstat(inode_of(id)->dir->fd, &is) == 0 && fstatat(store, rel, &want, 0) == 0 &&
           is.st_ino == want.st_ino && is.st_dev == want.st_dev;
}

/* Both are what they were, at their places. */
static int next(void) {
    int r = inode_init(store);

    if (r != 0)
        return r;
    if (!is_the_one(BOX, "box") || !is_the_one(CUR, "box/cur"))
        return -200;
    return dir_is_cut(inode_of(CUR)) ? -201 : 0;
}

/* What is in cur/ is not to be found any more. */
static int next_without_cur(void) {
    int r = inode_init(store);
    struct stat st;

    if (r != 0)
        return r;
    return fstat(inode_of(CUR)->dir->fd, &st) == 0 && st.st_nlink == 0 ? 0 : -202;
}

/* Its name is looked for when it is wanted, and again where that was not possible. */
static int next_named(void) {
    int r = inode_init(store);
    struct place at;

    if (r != 0)
        return r;
    list_err = EMFILE;
    if (inode_place_get(inode_of(MESSAGE), &at))
        return -203;
    list_err = 0;
    if (!inode_place_get(inode_of(MESSAGE), &at))
        return -204;
    return at.parent == inode_of(CUR) && strcmp(at.name, "1.M1.a:2,") == 0 ? 0 : -205;
}

/* The kernel has forgotten the message, which is closed, and is to be renamed: syncd had it forget
 * all names, say. It was prepared under the number 9. */
static int first_prepared(void) {
    int r = first();

    inode_take_back(inode_of(MESSAGE));
    inode_slot(inode_of(MESSAGE))->aux = 9 << 3;
    return r;
}

static int next_prepared(void) {
    int r = inode_init(store);
    struct inode *msg;
    struct stat st;
    uint64_t seq;
    bool named;

    if (r == 0)
        r = inode_lookup(inode_of(CUR), "1.M1.a:2,", &msg, &st);
    if (r != 0)
        return r;
    return prepare_id(msg, &seq, &named) && seq == 9 && !named ? 0 : -206;
}

static unsigned killed_before;

/* It is given up, as its process has ended. */
static int next_gives_up(void) {
    int r = inode_init(store);
    struct inode *msg;
    struct stat st;

    if (r == 0)
        r = inode_lookup(inode_of(CUR), "1.M1.a:2,", &msg, &st);
    if (r != 0)
        return r;
    unlocks_left = killed_before;
    prepare_dropped(msg);
    return unlocks_left > 0 ? -207 : 0;
}

/* The next syncd is told, or it is still to be given up; and what is said to be given up gets no
 * name. */
static int next_knows(void) {
    int r = inode_init(store);
    Mfl__Hello hello = MFL__HELLO__INIT;
    void *told = named_hello(&hello);
    bool given_up = hello.n_aborted > 0 && hello.aborted[0]->seq == 9, named;
    struct inode *msg;
    struct stat st;
    uint64_t seq;

    free(told);
    if (r == 0)
        r = inode_lookup(inode_of(CUR), "1.M1.a:2,", &msg, &st);
    if (r != 0)
        return r;
    if (!given_up && inode_slot(msg)->aux >> 3 != 9)
        return -208;
    return given_up && prepare_id(msg, &seq, &named) ? -209 : 0;
}

static void test_taken_over(void **state) {
    assert_int_equal(worker(first), 0);
    assert_int_equal(worker(next), 0);
}

static void test_removed(void **state) {
    assert_int_equal(worker(first), 0);
    assert_int_equal(unlinkat(store, "box/cur/1.M1.a:2,", 0), 0);
    assert_int_equal(unlinkat(store, "box/cur", AT_REMOVEDIR), 0);
    assert_int_equal(worker(next_without_cur), 0);
}

/* One that cannot be opened is not served as one that is gone: the worker does not start. */
static void test_cannot_be_opened(void **state) {
    static const int errors[] = {EMFILE, ENFILE, ENOMEM};
    size_t i;

    assert_int_equal(worker(first), 0);
    for (i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        handle_err = errors[i];
        assert_int_equal(worker(next), -errors[i]);
        handle_err = 0;
        up_err = errors[i];
        assert_int_equal(worker(next), -errors[i]);
        up_err = 0;
    }
    assert_int_equal(worker(next), 0);
}

static void test_cannot_be_listed(void **state) {
    assert_int_equal(worker(first), 0);
    assert_int_equal(worker(next_named), 0);
}

static void test_prepared_and_forgotten(void **state) {
    assert_int_equal(worker(first_prepared), 0);
    assert_int_equal(worker(next_prepared), 0);
    assert_int_equal(worker(next_prepared), 0);
}

static void test_killed_giving_up(void **state) {
    int r = 0;

    for (killed_before = 1; r == 0; killed_before++) {
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
        assert_int_equal(worker(first_prepared), 0);
        r = worker(next_gives_up);
        assert_int_equal(worker(next_knows), 0);
    }
    assert_int_equal(r, -207); /* it came to its end */
    assert_true(killed_before > 4);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_taken_over),
        T(test_removed),
        T(test_cannot_be_opened),
        T(test_cannot_be_listed),
        T(test_prepared_and_forgotten),
        T(test_killed_giving_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
