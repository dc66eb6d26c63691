/* snapshot: what is in one, how it follows a store that changes, a full disk and a death at each
 * step */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io_fault.h"
#include "scratch.h"
#include "tools/snapshot.h"

#define LIST "3 V7 N5 G0123456789abcdef0123456789abcdef\n1 :a\n2 :b\n3 :c\n"

static char top[SCRATCH_PATH], store[SCRATCH_PATH];
static int root, fd;
static volatile sig_atomic_t stop;
static char where[PATH_MAX];

static void dir(const char *name) {
    assert_int_equal(mkdirat(fd, name, 0750), 0);
}

static void put(const char *name, const char *text) {
    int file = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
}

static void move(const char *from, const char *to) {
    assert_int_equal(renameat(fd, from, fd, to), 0);
}

static void mailbox(const char *path) {
    static const char *const subs[] = {"", "/cur", "/new", "/tmp"};
    char name[100];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, subs[i]);
        dir(name);
    }
}

static int setup(void **state) {
    root = scratch_make(top);
    fd = scratch_sub(top, "store", store);
    dir(".mailfs");
    mailbox("u");
    mailbox("u/.Work");
    put("u/cur/a:2,S", "one");
    put("u/cur/b:2,a", "two");
    put("u/new/c", "three");
    put("u/dovecot-uidlist", LIST "4 :ha");
    put("u/dovecot-keywords", "0 Junk\n");
    put("u/dovecot-uidlist.lock", "1:host");
    put("u/dovecot.index.log", "i");
    put("u/subscriptions", "Work\n");
    put("u/tmp/t", "t");
    put("u/.Work/cur/w:2,", "work");
    assert_int_equal(symlinkat("sieve/a", fd, "u/.dovecot.sieve"), 0);
    return 0;
}

static int teardown(void **state) {
    close(fd);
    scratch_remove(top, root);
    return 0;
}

static struct snapshot_take take(void) {
    return (struct snapshot_take){.stop = &stop, .where = where};
}

static struct conf_volume volume(void) {
    return (struct conf_volume){.name = store, .store = store};
}

static int create(const char *name, struct snapshot_take *t) {
    const struct conf_volume v = volume();
    struct snapshots s;
    int r = snapshots_open(&v, true, &s);
    *t = take();
    if (r < 0)
        return r;
    r = snapshot_create(&s, name, t);
    snapshots_close(&s);
    return r;
}

static const char *text_of(const char *path) {
    static char text[4096];
    int file = openat(fd, path, O_RDONLY | O_NOFOLLOW);
    ssize_t n = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0)
        close(file);
    if (n < 0)
        return NULL;
    text[n] = '\0';
    return text;
}

static bool is_there(const char *path) {
    return faccessat(fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static nlink_t links(const char *path) {
    struct stat st;
    assert_int_equal(fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_nlink;
}

#define ONE ".mailfs/snapshots/one/"

static void what_is_in_it(void **state) {
    struct snapshot_take t;
    struct stat st;
    assert_int_equal(create("one", &t), 0);
    assert_int_equal(t.messages, 4);
    assert_int_equal(t.mailboxes, 2);
    assert_int_equal(links(ONE "u/cur/a:2,S"), 2);
    assert_int_equal(links(ONE "u/new/c"), 2);
    assert_int_equal(links(ONE "u/.Work/cur/w:2,"), 2);
    assert_int_equal(links(ONE "u/dovecot-uidlist"), 1);
    assert_string_equal(text_of(ONE "u/dovecot-uidlist"), LIST); /* the line under way is not */
    assert_string_equal(text_of(ONE "u/dovecot-keywords"), "0 Junk\n");
    assert_string_equal(text_of(ONE "u/subscriptions"), "Work\n");
    assert_int_equal(fstatat(fd, ONE "u/.dovecot.sieve", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(fstatat(fd, ONE "u", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_true(is_there(ONE "u/tmp"));
    assert_false(is_there(ONE "u/tmp/t"));
    assert_false(is_there(ONE "u/dovecot-uidlist.lock"));
    assert_false(is_there(ONE "u/dovecot.index.log"));
    assert_false(is_there(ONE ".mailfs"));
    assert_int_equal(create("one", &t), -EEXIST);
}

/* Between its two passes. */
static void it_follows_the_store(void **state) {
    char path[SCRATCH_PATH];
    struct snapshot_take t = take();
    int into = scratch_sub(top, "into", path);
    close(fd);
    fd = dup(root);
    assert_int_equal(renameat(fd, "store", fd, "s"), 0);
    int live = openat(fd, "s", O_RDONLY | O_DIRECTORY);
    assert_int_equal(snapshot_take_tree(&t, live, into), 0);
    move("s/u/cur/a:2,S", "s/u/cur/a:2,FS");
    move("s/u/new/c", "s/u/cur/c:2,");
    assert_int_equal(unlinkat(fd, "s/u/cur/b:2,a", 0), 0);
    put("s/u/new/d", "four");
    put("s/u/dovecot-uidlist", LIST "4 :d\n");
    put("s/u/subscriptions", "Work\nMore\n");
    move("s/u/.Work", "s/u/.Other");
    assert_int_equal(unlinkat(fd, "s/u/.dovecot.sieve", 0), 0);
    assert_int_equal(snapshot_take_tree(&t, live, into), 0);
    assert_true(is_there("into/u/cur/a:2,FS") && !is_there("into/u/cur/a:2,S"));
    assert_true(is_there("into/u/cur/c:2,") && !is_there("into/u/new/c"));
    assert_true(is_there("into/u/cur/b:2,a")); /* its line is there still */
    assert_true(is_there("into/u/new/d"));
    assert_string_equal(text_of("into/u/dovecot-uidlist"), LIST "4 :d\n");
    assert_string_equal(text_of("into/u/subscriptions"), "Work\nMore\n");
    assert_true(is_there("into/u/.Other/cur/w:2,") && !is_there("into/u/.Work"));
    assert_false(is_there("into/u/.dovecot.sieve"));
    put("s/u/dovecot-uidlist", "3 V7 N5 G0123456789abcdef0123456789abcdef\n1 :a\n3 :c\n4 :d\n");
    assert_int_equal(snapshot_take_tree(&t, live, into), 0);
    assert_false(is_there("into/u/cur/b:2,a"));
    assert_int_equal(t.messages, 4);
    close(live);
    close(into);
}

static void removing(void **state) {
    const struct conf_volume v = volume();
    struct snapshot_info info;
    struct snapshot_take t;
    struct snapshots s, other;
    assert_int_equal(snapshots_open(&v, false, &s), 0); /* none yet */
    assert_int_equal(snapshot_remove(&s, "one"), -ENOENT);
    snapshots_close(&s);
    assert_int_equal(create("one", &t), 0);
    assert_int_equal(snapshots_open(&v, false, &s), 0);
    assert_int_equal(snapshots_open(&v, true, &other), -EBUSY);
    assert_int_equal(snapshot_read_info(&s, "one", &info), 0);
    assert_int_equal(info.messages, 4);
    assert_true(info.at > 0);
    assert_int_equal(snapshot_remove(&s, "one"), 0);
    assert_false(is_there(".mailfs/snapshots/one"));
    snapshots_close(&s);
    assert_int_equal(links("u/cur/a:2,S"), 1);
    stop = 1;
    assert_int_equal(create("one", &t), -ECANCELED);
    stop = 0;
    assert_false(is_there(".mailfs/snapshots/.new-one"));
}

/* ---- a store that changes at each step ---- */

static unsigned step, act_at;
static void (*act)(void);

static void count(void) {
    if (step++ == act_at)
        act();
}

static int slow_link(int from, const char *name, int to, const char *as, int flags) {
    count();
    return io_ops_real.link(from, name, to, as, flags);
}

static int slow_unlink(int dirfd, const char *name, int flags) {
    count();
    return io_ops_real.unlink(dirfd, name, flags);
}

static int slow_chown(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
    count();
    return io_ops_real.chown(dirfd, name, uid, gid, flags);
}

static int slow_utimens(int dirfd, const char *name, const struct timespec ts[2], int flags) {
    int r = io_ops_real.utimens(dirfd, name, ts, flags);
    count();
    return r;
}

static int no_sync(int file) {
    return 0;
}

static void deliver(void) {
    put("u/new/d", "four");
    put("u/dovecot-uidlist", LIST "4 :d\n");
}

static void pick_up_and_flag(void) {
    move("u/new/c", "u/cur/c:2,");
    move("u/cur/a:2,S", "u/cur/a:2,FS");
}

static void expunge(void) {
    assert_int_equal(unlinkat(fd, "u/cur/b:2,a", 0), 0);
    put("u/dovecot-uidlist", "3 V7 N5 G0123456789abcdef0123456789abcdef\n1 :a\n3 :c\n");
}

static void rename_mailbox(void) {
    move("u/.Work", "u/.Else");
}

/* A message and its line are both there or both are not; of what was there before nothing lacks. */
static void fits(void) {
    const char *list = text_of(ONE "u/dovecot-uidlist");
    assert_int_equal(is_there(ONE "u/new/d"), strstr(list, ":d\n") != NULL);
    assert_int_equal(is_there(ONE "u/cur/b:2,a"), strstr(list, ":b\n") != NULL);
    assert_int_equal(is_there(ONE "u/new/c") + is_there(ONE "u/cur/c:2,"), 1);
    assert_int_equal(is_there(ONE "u/cur/a:2,S") + is_there(ONE "u/cur/a:2,FS"), 1);
    assert_int_equal(is_there(ONE "u/.Work/cur/w:2,") + is_there(ONE "u/.Else/cur/w:2,"), 1);
}

static void it_fits_at_each_step(void **state) {
    static void (*const acts[])(void) = {deliver, pick_up_and_flag, expunge, rename_mailbox};
    struct io_ops slow = io_ops_real;
    struct snapshot_take t;
    slow.link = slow_link;
    slow.unlink = slow_unlink;
    slow.chown = slow_chown;
    slow.utimens = slow_utimens;
    slow.syncfs = slow.fsync = no_sync;
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        act = acts[i];
        for (act_at = i % 2, step = 2; act_at < step; act_at += 2) {
            setup(state);
            io_ops_set(&slow);
            step = 0;
            assert_int_equal(create("one", &t), 0);
            io_ops_set(&io_ops_real);
            fits();
            teardown(state);
        }
        assert_true(step > 40);
    }
}

/* The same store, whatever becomes of the snapshot. */
static void is_unharmed(void) {
    assert_string_equal(text_of("u/cur/a:2,S"), "one");
    assert_string_equal(text_of("u/dovecot-uidlist"), LIST "4 :ha");
}

static bool is_whole(void) {
    return is_there(ONE "u/cur/a:2,S") && is_there(ONE "u/new/c") &&
           is_there(ONE "u/.Work/cur/w:2,") && is_there(ONE "u/dovecot-uidlist");
}

static void at_each_step(enum fault_kind kind) {
    const struct conf_volume v = volume();
    char grave[SCRATCH_PATH];
    struct snapshots s;
    struct snapshot_take t;
    int r;
    close(scratch_sub(top, "grave", grave));
    for (unsigned at = 0;; at++) {
        fault_start(grave, kind, at, -ENOSPC);
        r = create("one", &t);
        fault_power_on();
        is_unharmed();
        if (kind == FAULT_FAIL && r < 0)
            assert_int_equal(links("u/cur/a:2,S"), 1); /* nothing of it is left */
        assert_int_equal(snapshots_open(&v, true, &s), 0);
        assert_false(is_there(".mailfs/snapshots/.new-one"));
        if (is_there(".mailfs/snapshots/one")) {
            assert_true(is_whole());
            assert_int_equal(snapshot_remove(&s, "one"), 0);
        }
        snapshots_close(&s);
        assert_int_equal(links("u/cur/a:2,S"), 1);
        if (!fault_happened())
            break;
    }
    assert_int_equal(r, 0);
    assert_true(fault_steps() > 40);
}

static void disk_full_at_each_step(void **state) {
    at_each_step(FAULT_FAIL);
}

static void killed_at_each_step(void **state) {
    at_each_step(FAULT_KILL);
}

static void names(void **state) {
    static const char *const bad[] = {"", ".", "..", ".x", "a/b", "a b", "ä"};
    char name[SNAPSHOT_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_false(snapshot_name_is_good(name));
    name[sizeof name - 2] = '\0';
    assert_true(snapshot_name_is_good(name));
    assert_true(snapshot_name_is_good("2026-11-28_04.00"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (snapshot_name_is_good(bad[i]))
            fail_msg("taken for a name: %s", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(it_follows_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(removing, setup, teardown),
        cmocka_unit_test(it_fits_at_each_step),
        cmocka_unit_test_setup_teardown(disk_full_at_each_step, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_at_each_step, setup, teardown),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
