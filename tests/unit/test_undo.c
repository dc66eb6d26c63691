/* undo: keeping an expunged message, clearing it away, and the names and times of undelete */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/io.h"
#include "io/undo.h"
#include "scratch.h"
#include "syncd/state_int.h"
#include "syncd/undo.h"
#include "tools/undelete.h"

static const struct mailfs_id box = {{1, 2, 3}};

static int own, undo, cur;
static char hex[MAILFS_ID_HEX];

static char top[SCRATCH_PATH];

static int setup(void **state) {
    own = scratch_make(top);
    assert_int_equal(mkdirat(own, "cur", 0700), 0);
    cur = openat(own, "cur", O_RDONLY | O_DIRECTORY);
    undo = io_undo_open(own);
    assert_true(undo >= 0);
    mailfs_id_format(&box, hex);
    return 0;
}

static int teardown(void **state) {
    close(undo);
    close(cur);
    scratch_remove(top, own);
    return 0;
}

static void put(const char *name, const char *text) {
    int fd = openat(cur, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static bool is_in_cur(const char *name) {
    return faccessat(cur, name, F_OK, 0) == 0;
}

static int keep(const char *name) {
    return io_undo_keep(undo, &box, "a/Maildir", cur, name);
}

static off_t kept_size(const char *name) {
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", hex, name);
    return fstatat(undo, path, &st, 0) == 0 ? st.st_size : -1;
}

static void it_is_moved(void **state) {
    char path[64] = "";
    put("m:2,S", "one");
    assert_int_equal(keep("m:2,S"), 0);
    assert_false(is_in_cur("m:2,S"));
    assert_int_equal(kept_size("m:2,S"), 3);
    int fd = openat(undo, hex, O_RDONLY | O_DIRECTORY);
    assert_true(fgetxattr(fd, IO_UNDO_XATTR, path, sizeof path - 1) > 0);
    close(fd);
    assert_string_equal(path, "a/Maildir");
    assert_int_equal(keep("m:2,S"), -ENOENT); /* no directory is left behind by that, either */
    assert_int_equal(keep("nothing"), -ENOENT);
}

static void the_same_name_again(void **state) {
    put("m", "one");
    assert_int_equal(keep("m"), 0);
    put("m", "other");
    assert_int_equal(keep("m"), 0);
    assert_false(is_in_cur("m"));
    assert_int_equal(kept_size("m"), 5);
}

/* rename(2) does nothing when both names are of one file. */
static void another_link_of_the_same(void **state) {
    char path[300];
    put("m", "one");
    assert_int_equal(keep("m"), 0);
    snprintf(path, sizeof path, "%s/m", hex);
    assert_int_equal(linkat(undo, path, cur, "m", 0), 0);
    assert_int_equal(keep("m"), 0);
    assert_false(is_in_cur("m"));
    assert_int_equal(kept_size("m"), 3);
}

/* An administrator who makes room by hand: -ENOENT would mean that the message has gone. */
static void the_place_is_gone(void **state) {
    assert_int_equal(unlinkat(own, IO_UNDO_NAME, AT_REMOVEDIR), 0);
    put("m", "one");
    assert_int_equal(keep("m"), -ESTALE);
    assert_true(is_in_cur("m"));
    assert_int_equal(unlinkat(cur, "m", 0), 0);
}

static void longest_name(void **state) {
    char name[256];
    memset(name, 'x', 255);
    name[255] = '\0';
    put(name, "long");
    assert_int_equal(keep(name), 0);
    assert_int_equal(kept_size(name), 4);
}

static bool is_there(const char *path) {
    return faccessat(own, path, F_OK, 0) == 0;
}

/* Moved out, in, and out again with another flag: one message, though it is kept twice. Letters of
 * keywords mean something in the mailbox that they were given in only. */
static void it_is_put_back(void **state) {
    struct undo_set set = {.fd = undo};
    struct undo_mailbox mailbox = {.id = box};
    char first[] = "m:2,Sa", second[] = "m:2,STa", other[] = "n:2,Sa", old[] = "o:2,S";
    char again[] = "o.undeleted:2,S";
    struct undo_message one = {.name = first}, two = {.name = second};
    struct undo_target to;
    put(first, "one");
    assert_int_equal(fstatat(cur, first, &one.st, 0), 0);
    two.st = one.st;
    assert_int_equal(keep(first), 0);
    put(second, "one");
    assert_int_equal(keep(second), 0);
    assert_int_equal(mkdirat(own, "new", 0700), 0);
    assert_int_equal(mkdirat(own, "tmp", 0700), 0);
    assert_int_equal(undo_target_open(top, "", &one.st, &to), 0);
    assert_int_equal(undo_restore(&set, &mailbox, &one, &to), 0);
    assert_int_equal(undo_restore(&set, &mailbox, &two, &to), -EEXIST);
    assert_true(is_there("cur/m.undeleted:2,Sa"));
    assert_false(is_there("cur/m.undeleted:2,STa"));
    mailbox.deleted = true; /* and somebody has made one of this name */
    one.name = other;
    put(other, "one");
    assert_int_equal(keep(other), 0);
    assert_int_equal(undo_restore(&set, &mailbox, &one, &to), 0);
    assert_true(is_there("cur/n.undeleted:2,S"));
    /* put back on the other node, and expunged again: never under that name again */
    struct undo_message both[] = {{.name = again, .st = one.st}, {.name = old, .st = one.st}};
    mailbox.msgs = both;
    mailbox.n = 2;
    put(old, "one");
    put(again, "one");
    assert_int_equal(keep(old), 0);
    assert_int_equal(keep(again), 0);
    assert_int_equal(undo_restore(&set, &mailbox, &both[1], &to), -EEXIST);
    assert_int_equal(undo_restore(&set, &mailbox, &both[0], &to), 0);
    assert_false(is_there("cur/o.undeleted:2,S"));
    assert_true(is_there("cur/o.undeleted.undeleted:2,S"));
    undo_target_close(&to);
}

static void it_is_cleared_away(void **state) {
    struct state st = {.root = own, .undo = undo, .mutex = PTHREAD_MUTEX_INITIALIZER};
    struct undo_counts n;
    int64_t now = (int64_t)time(NULL);
    put("a", "aaa");
    put("b", "bbb");
    assert_int_equal(linkat(cur, "b", own, "b", 0), 0);
    assert_int_equal(keep("a"), 0);
    assert_int_equal(keep("b"), 0);
    assert_int_equal(undo_sweep(&st, now - 60, false, &n), 0);
    assert_int_equal(n.messages, 2);
    assert_int_equal(n.bytes, 4096); /* the other one has a name elsewhere */
    /* what a merge has taken out stays while there is something to merge */
    assert_true(undo_held_from(&st) == INT64_MAX);
    st.keep_removed = true;
    st.keep_since = now - 10;
    assert_int_equal(undo_sweep(&st, undo_held_from(&st), false, &n), 0);
    assert_int_equal(n.messages, 2);
    assert_int_equal(undo_sweep(&st, now + 40, false, &n), 0);
    assert_int_equal(n.messages, 0);
    assert_int_equal(faccessat(undo, hex, F_OK, 0), -1);
    put("c", "ccc"); /* and the directory is made anew */
    assert_int_equal(keep("c"), 0);
}

static void names(void **state) {
    char out[256], name[256];
    assert_int_equal(undo_new_base("1.M2.h,S=10,W=11:2,S", out), 0);
    assert_string_equal(out, "1.M2.h.undeleted,S=10,W=11");
    assert_int_equal(undo_new_base("1.M2.h", out), 0);
    assert_string_equal(out, "1.M2.h.undeleted");
    memset(name, 'x', 255);
    name[255] = '\0';
    assert_int_equal(undo_new_base(name, out), 0);
    assert_int_equal(strlen(out), 255);
    memcpy(name + 250, ":2,ST", 6);
    assert_int_equal(undo_new_base(name, out), 0);
    assert_int_equal(strlen(out), 250);
}

static void times(void **state) {
    static const char *const bad[] = {
        "",           "d", "3", "3w", "-1d", "yesterday", "2026-13-01", "1001d", "2026-11-28 25:00",
        "2026-11-28x"};
    int64_t t, u;
    assert_int_equal(undo_time_parse("2h", 10000, &t), 0);
    assert_int_equal(t, 10000 - 7200);
    assert_int_equal(undo_time_parse("2026-11-28", 0, &t), 0);
    assert_int_equal(undo_time_parse("2026-11-28 01:30", 0, &u), 0);
    assert_int_equal(u - t, 5400);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (undo_time_parse(bad[i], 0, &t) != -EINVAL)
            fail_msg("taken for a time: %s", bad[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_name_again, setup, teardown),
        cmocka_unit_test_setup_teardown(another_link_of_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(the_place_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(longest_name, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_put_back, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_cleared_away, setup, teardown),
        cmocka_unit_test(names),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
