/* What cannot be opened, or looked at, is not taken for gone: what is gone is removed elsewhere. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/base.h"
#include "syncd/collect.h"
#include "syncd/scan.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "syncd/store.h"
#include "handle_err.h"
#include "syncd_pair.h"

static struct pair p;
static struct mailfs_id inbox; /* container "u" */

/* In place of the library's: what the next ones fail with; 0: they do not. */
static int xattr_err, link_err, stat_err;
static const char *stat_name;
static unsigned stat_fails; /* so many times; 0: until stat_err is 0 */

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) {
    static ssize_t (*real)(int, const char *, void *, size_t);

    if (!real)
        real = (ssize_t(*)(int, const char *, void *, size_t))dlsym(RTLD_NEXT, "fgetxattr");
    if (xattr_err) {
        errno = xattr_err;
        return -1;
    }
    return real(fd, name, value, size);
}

ssize_t readlink(const char *path, char *buf, size_t size) {
    static ssize_t (*real)(const char *, char *, size_t);

    if (!real)
        real = (ssize_t(*)(const char *, char *, size_t))dlsym(RTLD_NEXT, "readlink");
    if (link_err) {
        errno = link_err;
        return -1;
    }
    return real(path, buf, size);
}

int fstatat(int fd, const char *name, struct stat *sb, int flags) {
    static int (*real)(int, const char *, struct stat *, int);

    if (!real)
        real = (int (*)(int, const char *, struct stat *, int))dlsym(RTLD_NEXT, "fstatat64");
    if (stat_err && strcmp(name, stat_name) == 0) {
        errno = stat_err;
        if (stat_fails && --stat_fails == 0)
            stat_err = 0;
        return -1;
    }
    return real(fd, name, sb, flags);
}

static int setup(void **state) {
    stores_open(&p);
    inbox = stores_mailbox(&p.a, &p.b, "", "u");
    return 0;
}

static int teardown(void **state) {
    handle_err = xattr_err = link_err = stat_err = 0;
    io_ops_set(&io_ops_real);
    stores_close(&p);
    return 0;
}

static int found(const struct mailfs_id *id, bool anywhere) {
    struct store_dir d;
    int r = anywhere ? store_dir_open_anywhere(p.a.st, id, &d) : store_dir_open(p.a.st, id, &d);

    store_dir_close(&d);
    return r;
}

/* Renamed, and syncd has not heard of it: only the handle leads there. */
static void test_by_handle(void **state) {
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, EIO};
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    size_t i;

    fs_rename(&p.a, "u/.Work", "u/.Play");
    assert_int_equal(found(&work, false), 0);
    for (i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        handle_err = errors[i];
        assert_int_equal(found(&work, false), -errors[i]);
        assert_int_equal(found(&work, true), -errors[i]);
    }
    handle_err = ESTALE;
    assert_int_equal(found(&work, false), -ENOENT);
    fs_rename(&p.a, "u/.Play", "u/.Work"); /* the name leads there as well */
    handle_err = EMFILE;
    assert_int_equal(found(&work, false), 0);
    handle_err = 0;
    xattr_err = EIO;
    assert_int_equal(found(&work, false), -EIO);
    xattr_err = ENODATA;
    assert_int_equal(found(&work, false), -ENOENT);
    xattr_err = 0;
    link_err = ENOENT; /* without /proc nobody knows whether it is in the trash */
    assert_int_equal(found(&work, false), -EIO);
}

/* In a container, say: no handle can be opened, and names have to do. */
static void test_without_handles(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");

    handle_err = EPERM;
    assert_int_equal(found(&work, false), 0);
    fs_rename(&p.a, "u/.Work", ".mailfs/trash/move-0");
    assert_int_equal(found(&work, false), -ENOENT);
}

/* Put aside, in the midst of a merge of the trees. */
static void test_aside(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");

    fs_rename(&p.a, "u/.Work", ".mailfs/trash/move-0");
    assert_int_equal(found(&work, false), -ENOENT);
    assert_int_equal(found(&work, true), 0);
    handle_err = EMFILE;
    assert_int_equal(found(&work, true), -EMFILE);
}

/* Made while syncd was away: only its mark knows of it. */
static void test_by_mark(void **state) {
    struct io_handle h;
    struct mailfs_id work;
    char path[300];

    fs_mkdir(&p.a, "u/.Work");
    work = fs_id(&p.a, "u/.Work");
    snprintf(path, sizeof(path), "%s/u/.Work", p.a.store);
    assert_int_equal(io_handle_get(AT_FDCWD, path, &h), 0);
    assert_int_equal(state_mark_found(p.a.st, &work, &h), 0);
    assert_int_equal(found(&work, false), 0);
    handle_err = EMFILE;
    assert_int_equal(found(&work, false), -EMFILE);
}

/* What has the place in a listing, and in the trees, of what is gone. */
static void test_listed(void **state) {
    struct mailfs_id work = stores_mailbox(&p.a, &p.b, "u", ".Work");
    Mfp__Listing *l = NULL;

    fs_rename(&p.a, "u/.Work", "u/.Play");
    handle_err = EMFILE;
    assert_true(scan_mailbox(p.a.st, &work, false, &l) < 0);
    handle_err = 0;
    assert_int_equal(scan_mailbox(p.a.st, &work, false, &l), 0);
    assert_false(l->gone);
    mfp__listing__free_unpacked(l, NULL);
}

/* cp -a of a mailbox: while the first one cannot be looked at, nobody knows which is which. */
static void test_copy(void **state) {
    struct mailfs_id id;
    struct store_dir d;
    char path[300];
    int fd;

    fs_mkdir(&p.a, "v");
    snprintf(path, sizeof(path), "%s/v", p.a.store);
    assert_int_equal(setxattr(path, "user.mailfs.id", inbox.b, sizeof(inbox.b), 0), 0);
    handle_err = EMFILE;
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(store_dir_adopt(p.a.st, fd, &d), -EMFILE);
    store_dir_close(&d);
    handle_err = 0;
    fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(store_dir_adopt(p.a.st, fd, &d), 0);
    assert_false(mailfs_id_equal(&d.id, &inbox));
    store_dir_close(&d);
    id = fs_id(&p.a, "v");
    assert_false(mailfs_id_equal(&id, &inbox));
}

/* Of two names of a message one goes, and the other cannot be looked at: not the message. */
static void test_one_of_two_names(void **state) {
    struct acts a = {.n = 0};
    struct base_msg msg;
    Mfp__Txn *txn;
    struct stage_prep *preps;
    size_t n;

    stores_deliver(&p, &inbox, "1.M1.a", "one\n", 0);
    fs_link(&p.a, "u/new/1.M1.a", "u/cur/1.M1.a:2,S");
    act_add(&p.a, &a, "u", MFL__SUB__CUR, "1.M1.a:2,S", 0);
    assert_false(stores_send(&p.a, &p.b, &inbox, &a, false));
    fs_unlink(&p.a, "u/new/1.M1.a");
    act_remove(&a, MFL__SUB__NEW, "1.M1.a");
    stat_name = "1.M1.a:2,S";
    stat_err = EIO;
    assert_int_equal(collect_txn(p.a.st, &inbox, a.v, a.n, true, &txn, &preps, &n, NULL), -EIO);
    assert_null(txn);
    stat_err = 0;
    acts_free(&a);
    assert_int_equal(base_msg_get(p.a.st, BASE_SENT, &inbox, "1.M1.a", &msg), 0);
    free(preps);
}

/* new/ of a mailbox cannot be opened, once. */
static struct io_ops ops;
static bool unread;

static int open_or_fail(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    if (unread && strcmp(path, "new") == 0) {
        unread = false;
        return -EMFILE;
    }
    return io_ops_real.open(dirfd, path, flags, mode, resolve);
}

static void fail_to_open_new(void) {
    ops = io_ops_real;
    ops.open = open_or_fail;
    io_ops_set(&ops);
    unread = true;
}

/* Its origin is gone. It is not put into the mailbox above for that, nor kept for the
 * administrator as one whose mailbox is gone. */
static void test_published_where_it_belongs(void **state) {
    const struct stage_prep prep = {77, 1};
    struct invals iv = {.n = 0};

    stores_mailbox(&p.a, &p.b, "u", ".Work");
    fs_write(&p.a, "u/.Work/tmp/1.M1.a", "only here\n");
    stores_prepare(&p.a, &p.b, "u/.Work", "1.M1.a", "u/.Work/tmp/1.M1.a", 1);
    fail_to_open_new();
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -EMFILE);
    assert_false(unread);
    stage_publish_homeless(p.b.st, &iv);
    assert_int_equal(iv.n, 0);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/.Work/new/1.M1.a"));
    assert_false(fs_there(&p.b, "u/new/1.M1.a"));
}

/* A merge gave it its name already: while that cannot be looked at it does not get a second one. */
static void test_not_published_twice(void **state) {
    char key[STAGE_NAME_MAX], file[STAGE_NAME_MAX], from[STAGE_NAME_MAX + 32];
    const struct stage_prep prep = {77, 1};

    fs_write(&p.a, "u/tmp/1.tmp", "only here\n");
    stores_prepare(&p.a, &p.b, "u", "1.tmp", "u/tmp/1.tmp", 1);
    stage_prep_key(77, 1, key);
    assert_int_equal(stage_lookup(p.b.st, key, file), 0);
    snprintf(from, sizeof(from), ".mailfs/stage/%s", file);
    fs_link(&p.b, from, "u/new/1.M1.a");
    fail_to_open_new();
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -EMFILE);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    assert_false(fs_there(&p.b, "u/new/1.tmp"));
}

/* Published by the name that its origin gives it as well, which could not be looked at for a
 * moment: it has that already. */
static void test_named_what_it_is(void **state) {
    const struct stage_prep prep = {77, 1};
    struct acts a = {.n = 0};

    fs_write(&p.a, "u/tmp/1.M1.a", "only here\n");
    stores_prepare(&p.a, &p.b, "u", "1.M1.a", "u/tmp/1.M1.a", 1);
    assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), 0);
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
    fs_rename(&p.a, "u/tmp/1.M1.a", "u/new/1.M1.a");
    act_add(&p.a, &a, "u", MFL__SUB__NEW, "1.M1.a", 1);
    stat_name = "1.M1.a";
    stat_fails = 1;
    stat_err = EIO;
    stores_send(&p.a, &p.b, &inbox, &a, false);
    assert_true(fs_there(&p.b, "u/new/1.M1.a"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_by_handle),
        T(test_without_handles),
        T(test_aside),
        T(test_by_mark),
        T(test_listed),
        T(test_copy),
        T(test_one_of_two_names),
        T(test_published_where_it_belongs),
        T(test_not_published_twice),
        T(test_named_what_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
