/*
 * test_io - files: reading, replacing (through failures, kills and power cuts), paths, handles, ids
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/dirid.h"
#include "io/file.h"
#include "io/handle.h"
#include "io/io.h"
#include "tests/unit/handle_err.h"
#include "tests/unit/io_fault.h"
#include "tests/unit/scratch.h"

/* dir is the directory under test; grave, beside it, is io_fault's. */
static char top[SCRATCH_PATH], dir[SCRATCH_PATH], grave[SCRATCH_PATH];
static int top_fd, dir_fd;

static int setup(void **state) {
    top_fd = scratch_make(top);
    dir_fd = scratch_sub(top, "dir", dir);
    close(scratch_sub(top, "grave", grave));
    return 0;
}

static int teardown(void **state) {
    io_ops_set(&io_ops_real);
    close(dir_fd);
    scratch_remove(top, top_fd);
    return 0;
}

/* Of a file in dir; NULL when it is not there. Valid until the next call. */
static const char *content(const char *name) {
    static char text[64];
    char *p;
    size_t n;
    if (io_file_read_at(dir_fd, name, sizeof text - 1, &p, &n, NULL) != 0)
        return NULL;
    memcpy(text, p, n + 1);
    free(p);
    return text;
}

static void put(const char *name, const char *text) {
    assert_int_equal(io_file_replace_at(dir_fd, name, text, strlen(text), NULL), 0);
}

/* How many names there are in dir: all, or io_file_replace_at()'s temporary ones. */
static unsigned entries(bool temporary) {
    unsigned n = 0;
    char cmd[SCRATCH_PATH + 32];
    snprintf(cmd, sizeof cmd, "ls -A %s", dir);
    FILE *ls = popen(cmd, "r");
    char line[258];
    while (fgets(line, sizeof line, ls) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (!temporary || io_file_is_temp(line))
            n++;
    }
    pclose(ls);
    return n;
}

/* --- opening and reading ---------------------------------------------------------------------- */

static void test_beneath(void **state) {
    assert_int_equal(io_mkdir(dir_fd, "in", 0700), 0);
    assert_int_equal(io_symlink("in", dir_fd, "link"), 0);
    assert_int_equal(io_symlink("/etc/passwd", dir_fd, "in/abs"), 0);
    int fd = io_open_beneath(dir_fd, "in/new", O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
    assert_int_equal(io_open_beneath(dir_fd, "link/new", O_RDONLY, 0), -ELOOP);
    assert_int_equal(io_open_beneath(dir_fd, "in/abs", O_RDONLY, 0), -ELOOP);
    assert_int_equal(io_open_beneath(dir_fd, "../dir/in/new", O_RDONLY, 0), -EXDEV);
    assert_int_equal(io_open_beneath(dir_fd, "/etc/passwd", O_RDONLY, 0), -EXDEV);
    assert_int_equal(io_open_beneath(dir_fd, "in/none", O_RDONLY, 0), -ENOENT);
    fd = io_open(dir_fd, "link/new", O_RDONLY, 0); /* the configuration may use links */
    assert_true(fd >= 0);
    close(fd);
    fd =
        io_open_beneath(dir_fd, "in/new", O_RDONLY | O_LARGEFILE, 0); /* a flag openat2 knows not */
    assert_true(fd >= 0);
    close(fd);
}

static void test_read(void **state) {
    char *p;
    size_t n;
    struct stat st;
    put("f", "hello");
    assert_int_equal(io_file_read_at(dir_fd, "f", 5, &p, &n, &st), 0);
    assert_string_equal(p, "hello");
    assert_int_equal(n, 5);
    assert_int_equal(st.st_size, 5);
    free(p);
    assert_int_equal(io_file_read_at(dir_fd, "f", 4, &p, &n, NULL), -EFBIG);
    assert_int_equal(io_file_read_at(dir_fd, "none", 4, &p, &n, NULL), -ENOENT);
    assert_int_equal(io_symlink("f", dir_fd, "l"), 0);
    assert_int_equal(io_file_read_at(dir_fd, "l", 10, &p, &n, NULL), -ELOOP);
    assert_int_equal(io_mkdir(dir_fd, "d", 0700), 0);
    assert_int_equal(io_file_read_at(dir_fd, "d", 10, &p, &n, NULL), -EISDIR);
    assert_int_equal(io_mknod(dir_fd, "fifo", S_IFIFO | 0600, 0), 0);
    assert_int_equal(io_file_read_at(dir_fd, "fifo", 10, &p, &n, NULL), -EINVAL);
    put("empty", "");
    assert_int_equal(io_file_read_at(dir_fd, "empty", 0, &p, &n, NULL), 0);
    assert_string_equal(p, "");
    assert_int_equal(n, 0);
    free(p);
}

/* A file that is longer than fstat() says, as one is that grows meanwhile. */
static void test_read_growing(void **state) {
    char *p;
    size_t n;
    int fd = open("/proc/self/status", O_RDONLY);
    assert_int_equal(io_file_read_fd(fd, 1 << 20, &p, &n, NULL), 0);
    assert_true(n > 100 && strlen(p) == n);
    free(p);
    assert_int_equal(io_file_read_fd(fd, 100, &p, &n, NULL), -EFBIG);
    close(fd);
}

/* --- replacing -------------------------------------------------------------------------------- */

static void test_replace(void **state) {
    struct stat before, after;
    mode_t mask = umask(0777);
    put("a", "one");
    umask(mask);
    struct io_file_attr attr = {.mode = 0640, .set_mtime = 1, .mtime = {1000000000, 123456789}};
    assert_int_equal(fstatat(dir_fd, "a", &before, 0), 0);
    assert_int_equal(before.st_mode & 07777, 0600);
    assert_int_equal(io_file_replace_at(dir_fd, "a", "two", 3, &attr), 0);
    assert_int_equal(fstatat(dir_fd, "a", &after, 0), 0);
    assert_string_equal(content("a"), "two");
    assert_true(after.st_ino != before.st_ino);
    assert_int_equal(after.st_mode & 07777, 0640);
    assert_int_equal(after.st_mtim.tv_sec, 1000000000);
    assert_int_equal(after.st_mtim.tv_nsec, 123456789);
    assert_int_equal(after.st_atim.tv_sec, 1000000000);

    int elsewhere = scratch_sub(dir, "elsewhere", (char[SCRATCH_PATH]){0});
    attr = (struct io_file_attr){.has_tmpdir = 1, .tmpdir = elsewhere, .no_dirsync = 1};
    if (geteuid() == 0) {
        attr.set_owner = 1;
        attr.uid = 4321;
        attr.gid = 1234;
        attr.mode = 02755; /* set-id survives the change of owner */
    }
    assert_int_equal(io_file_replace_at(dir_fd, "b", "x", 1, &attr), 0);
    assert_string_equal(content("b"), "x");
    if (geteuid() == 0) {
        assert_int_equal(fstatat(dir_fd, "b", &after, 0), 0);
        assert_int_equal(after.st_uid, 4321);
        assert_int_equal(after.st_gid, 1234);
        assert_int_equal(after.st_mode & 07777, 02755);
    }
    assert_int_equal(io_file_replace_at(dir_fd, "d/../none", "x", 1, NULL), -ENOENT);
    assert_int_equal(entries(true), 0);
    assert_int_equal(entries(false), 3);
    close(elsewhere);
}

static void test_is_temp(void **state) {
    assert_true(io_file_is_temp(".mailfs-0123456789abcdef"));
    assert_false(io_file_is_temp(".mailfs-0123456789abcde"));
    assert_false(io_file_is_temp(".mailfs-0123456789abcdef0"));
    assert_false(io_file_is_temp(".mailfs-0123456789abcdeF"));
    assert_false(io_file_is_temp(".mailfs"));
    assert_false(io_file_is_temp(""));
}

/*
 * The power is cut at every step, the last time right after the end: the old or the new content,
 * and the new one when 0 was returned.
 */
static void test_replace_cut(void **state) {
    for (unsigned at = 0;; at++) {
        put("f", "old");
        fault_start(grave, FAULT_CUT, at, 0);
        int r = io_file_replace_at(dir_fd, "f", "new", 3, NULL);
        io_barrier("the end");
        bool cut = fault_happened();
        fault_power_on();
        const char *is = content("f");
        assert_true(cut);
        assert_non_null(is);
        assert_true(strcmp(is, "new") == 0 || (r != 0 && strcmp(is, "old") == 0));
        if (r == 0)
            break;
        assert_true(at < 20);
    }
}

/* The process is killed at every step: at most one temporary file is left, with its own name. */
static void test_replace_killed(void **state) {
    for (unsigned at = 0;; at++) {
        unsigned left = entries(true);
        put("f", "old");
        fault_start(grave, FAULT_KILL, at, 0);
        int r = io_file_replace_at(dir_fd, "f", "new", 3, NULL);
        bool cut = fault_happened();
        fault_power_on();
        const char *is = content("f");
        assert_non_null(is);
        assert_true(strcmp(is, "old") == 0 || strcmp(is, "new") == 0);
        assert_true(r != 0 || strcmp(is, "new") == 0);
        assert_true(entries(true) <= left + 1);
        assert_int_equal(entries(false), entries(true) + 1);
        if (!cut)
            break;
        assert_true(at < 20);
    }
}

/* Each step fails, once: the error is reported, the old content stays, nothing is left behind. */
static void test_replace_errors(void **state) {
    static const int errors[] = {-ENOSPC, -EIO, -EDQUOT};
    fault_start(grave, FAULT_NONE, 0, 0);
    put("f", "old");
    unsigned steps = fault_steps();
    fault_power_on();
    assert_true(steps >= 5); /* create, write, sync, rename, sync */
    for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        for (unsigned at = 0; at < steps; at++) {
            put("f", "old");
            fault_start(grave, FAULT_FAIL, at, errors[e]);
            int r = io_file_replace_at(dir_fd, "f", "new", 3, NULL);
            bool failed = fault_happened();
            fault_power_on();
            assert_true(failed);
            assert_int_equal(r, errors[e]);
            bool last = at == steps - 1; /* the directory's sync: it is in place */
            assert_string_equal(content("f"), last ? "new" : "old");
            assert_int_equal(entries(false), 1);
        }
    }
}

/* --- the power cut itself: a test that cannot lose anything proves nothing ------------------ */

static void test_cut_loses(void **state) {
    put("f", "old");
    fault_start(grave, FAULT_CUT, 4, 0);
    int fd = io_open_beneath(dir_fd, "f", O_WRONLY, 0);
    assert_int_equal(io_pwrite_all(fd, "NEW!", 4, 0), 0);
    assert_int_equal(io_mkdir(dir_fd, "d", 0700), 0);
    assert_int_equal(io_rename(dir_fd, "f", dir_fd, "g", 0), 0);
    assert_int_equal(io_unlink(dir_fd, "g"), 0);
    assert_int_equal(io_fsync(dir_fd), -ENODEV); /* too late */
    assert_int_equal(io_fsync(dir_fd), -ENODEV); /* and dead it stays */
    close(fd);
    assert_null(content("f"));
    fault_power_on();
    assert_string_equal(content("f"), "old");
    assert_null(content("g"));
    assert_int_equal(entries(false), 1);
}

static void test_cut_keeps_what_was_synced(void **state) {
    put("f", "old");
    put("g", "other");
    fault_start(grave, FAULT_CUT, 5, 0);
    assert_int_equal(io_rename(dir_fd, "f", dir_fd, "g", 0), 0);
    assert_int_equal(io_mkdir(dir_fd, "d", 0700), 0);
    assert_int_equal(io_fsync(dir_fd), 0);
    assert_int_equal(io_rmdir(dir_fd, "d"), 0);
    assert_int_equal(io_symlink("x", dir_fd, "l"), 0);
    assert_int_equal(io_unlink(dir_fd, "g"), -ENODEV);
    fault_power_on();
    assert_null(content("f"));
    assert_string_equal(content("g"), "old");
    assert_int_equal(entries(false), 2); /* g and d: the link is gone, the directory back */
}

/* --- copying and writing -------------------------------------------------------------------- */

static int no_copy_error;

static ssize_t no_copy(int from, off_t from_off, int to, off_t to_off, size_t n) {
    return no_copy_error;
}

static void test_copy(void **state) {
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    for (int i = 0; i < SIZE; i++)
        text[i] = (char)(i * 7 + i / 251);
    int from = io_open_beneath(dir_fd, "from", O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_int_equal(io_write_all(from, text, SIZE), 0);
    static const int errors[] = {0, -EXDEV, -EOPNOTSUPP};
    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct io_ops table = io_ops_real;
        no_copy_error = errors[i];
        if (errors[i] != 0) /* the way through a buffer */
            table.copy = no_copy;
        io_ops_set(&table);
        int to = io_open_beneath(dir_fd, "to", O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(io_copy_all(from, 0, to, 0, SIZE), SIZE);
        /* from 10 before the end there are but 10 */
        assert_int_equal(io_copy_all(from, SIZE - 10, to, SIZE, 100), 10);
        io_ops_set(&io_ops_real);
        char *p;
        size_t n;
        assert_int_equal(io_file_read_fd(to, SIZE * 2, &p, &n, NULL), 0);
        assert_int_equal(n, SIZE + 10);
        assert_memory_equal(p, text, SIZE);
        assert_memory_equal(p + SIZE, text + SIZE - 10, 10);
        free(p);
        close(to);
    }
    struct io_ops table = io_ops_real;
    table.copy = no_copy;
    no_copy_error = -ENOSPC; /* this one is about the disk */
    io_ops_set(&table);
    assert_int_equal(io_copy_all(from, 0, from, SIZE, 10), -ENOSPC);
    io_ops_set(&io_ops_real);
    close(from);
    free(text);
}

static unsigned odd_calls;

/* A disk that takes three bytes at a time and is interrupted every other time. */
static ssize_t odd_pwrite(int fd, const void *p, size_t n, off_t off) {
    return odd_calls++ % 2 == 0 ? -EINTR : io_ops_real.pwrite(fd, p, n < 3 ? n : 3, off);
}

static ssize_t zero_pwrite(int fd, const void *p, size_t n, off_t off) {
    return 0;
}

static void test_short_writes(void **state) {
    struct io_ops table = io_ops_real;
    table.pwrite = odd_pwrite;
    io_ops_set(&table);
    put("f", "in pieces of three");
    assert_true(odd_calls >= 12);
    table.pwrite = zero_pwrite;
    assert_int_equal(io_file_replace_at(dir_fd, "f", "x", 1, NULL), -EIO);
    io_ops_set(&io_ops_real);
    assert_string_equal(content("f"), "in pieces of three");
    assert_int_equal(entries(false), 1);
}

/* --- directories, links, handles, ids ------------------------------------------------------- */

static void test_mkdirs(void **state) {
    char path[SCRATCH_PATH + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/x/y/z", dir);
    assert_int_equal(io_mkdirs(path, 0750), 0);
    assert_int_equal(io_mkdirs(path, 0750), 0);
    assert_int_equal(fstatat(dir_fd, "x/y/z", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    put("file", "");
    snprintf(path, sizeof path, "%s/file", dir);
    assert_int_equal(io_mkdirs(path, 0750), -ENOTDIR);
    snprintf(path, sizeof path, "%s/file/x", dir);
    assert_int_equal(io_mkdirs(path, 0750), -ENOTDIR);
    assert_int_equal(io_mkdirs("x/y", 0750), -EINVAL);
    assert_int_equal(io_mkdirs("/", 0750), 0);
}

static void test_link_fd(void **state) {
    int fd = io_open_beneath(dir_fd, ".", O_WRONLY | O_TMPFILE, 0600);
    if (fd == -EOPNOTSUPP)
        skip(); /* shown as such: the file system of $TMPDIR has none */
    assert_true(fd >= 0);
    assert_int_equal(io_pwrite_all(fd, "t", 1, 0), 0);
    assert_int_equal(io_link_fd(fd, dir_fd, "g"), 0);
    assert_int_equal(io_link_fd(fd, dir_fd, "g"), -EEXIST);
    assert_string_equal(content("g"), "t");
    close(fd);
}

static void test_handles(void **state) {
    struct io_handle h, same, other;
    put("a", "a");
    put("b", "b");
    int r = io_handle_get(dir_fd, "a", &h);
    if (r == -EOPNOTSUPP || r == -EOVERFLOW)
        skip();
    assert_int_equal(r, 0);
    assert_int_equal(io_rename(dir_fd, "a", dir_fd, "c", 0), 0);
    assert_int_equal(io_handle_get(dir_fd, "c", &same), 0);
    assert_memory_equal(&h, &same, sizeof h);
    assert_int_equal(io_handle_get(dir_fd, "b", &other), 0);
    assert_true(memcmp(&h, &other, sizeof h) != 0);
    int fd = io_open_beneath(dir_fd, "c", O_RDONLY, 0);
    assert_int_equal(io_handle_get_fd(fd, &same), 0);
    assert_memory_equal(&h, &same, sizeof h);
    close(fd);
    struct io_handle bad = {.len = 0};
    assert_int_equal(io_handle_open(dir_fd, &bad, O_RDONLY), -EINVAL);
    bad.len = IO_HANDLE_MAX + 1;
    assert_int_equal(io_handle_open(dir_fd, &bad, O_RDONLY), -EINVAL);
    fd = io_handle_open(dir_fd, &h, O_RDONLY);
    if (fd == -EPERM)
        skip();
    assert_true(fd >= 0);
    char c = 0;
    assert_int_equal(read(fd, &c, 1), 1);
    assert_int_equal(c, 'a');
    close(fd);
    assert_int_equal(io_unlink(dir_fd, "c"), 0);
    assert_int_equal(io_handle_open(dir_fd, &h, O_RDONLY), -ESTALE);
}

/* Its number is being given to another one (the kernel says ENOMEM then), or there is no memory. */
static void test_handle_being_made(void **state) {
    struct io_handle h;
    put("a", "a");
    int r = io_handle_get(dir_fd, "a", &h);
    if (r == -EOPNOTSUPP || r == -EOVERFLOW)
        skip();
    assert_int_equal(io_unlink(dir_fd, "a"), 0);
    if (io_handle_open(dir_fd, &h, O_RDONLY) == -EPERM)
        skip();
    handle_fails = 2;
    handle_err = ENOMEM;
    assert_int_equal(io_handle_open(dir_fd, &h, O_RDONLY), -ESTALE);
    assert_int_equal(handle_err, 0);
    handle_err = ENOMEM;
    assert_int_equal(io_handle_open(dir_fd, &h, O_RDONLY), -ENOMEM);
    handle_err = 0;
}

static void test_dirid(void **state) {
    struct mailfs_id id, again, fresh;
    int r = io_dirid_get(dir_fd, &id);
    if (r == -EOPNOTSUPP)
        skip();
    assert_int_equal(r, -ENODATA);
    assert_int_equal(io_dirid_ensure(dir_fd, &id), 0);
    assert_int_equal(io_dirid_ensure(dir_fd, &again), 0);
    assert_true(mailfs_id_equal(&id, &again));
    assert_int_equal(mailfs_id_new(&fresh), 0);
    assert_int_equal(io_dirid_set(dir_fd, &fresh), -EEXIST);
    assert_int_equal(io_dirid_replace(dir_fd, &fresh), 0);
    assert_int_equal(io_dirid_get(dir_fd, &again), 0);
    assert_true(mailfs_id_equal(&fresh, &again));

    assert_int_equal(fsetxattr(dir_fd, IO_DIRID_XATTR, "short", 5, 0), 0);
    assert_int_equal(io_dirid_get(dir_fd, &id), -EINVAL);
    assert_int_equal(fsetxattr(dir_fd, IO_DIRID_XATTR, "seventeen bytes..", 17, 0), 0);
    assert_int_equal(io_dirid_get(dir_fd, &id), -EINVAL);
    assert_int_equal(io_dirid_ensure(dir_fd, &id), -EINVAL); /* whose it is must be decided above */
    assert_int_equal(fsetxattr(dir_fd, IO_DIRID_XATTR, &mailfs_id_root, 16, 0), 0);
    assert_int_equal(io_dirid_get(dir_fd, &id), -EINVAL);
}

/* An id that was not synced is lost with the power, and the former one is back. */
static void test_dirid_cut(void **state) {
    struct mailfs_id id, fresh, is;
    int r = io_dirid_ensure(dir_fd, &id);
    if (r == -EOPNOTSUPP)
        skip();
    assert_int_equal(r, 0);
    assert_int_equal(mailfs_id_new(&fresh), 0);
    for (unsigned at = 1; at <= 2; at++) {
        fault_start(grave, FAULT_CUT, at, 0);
        assert_int_equal(io_dirid_replace(dir_fd, &fresh), 0);
        assert_int_equal(io_fsync(dir_fd), at == 1 ? -ENODEV : 0);
        io_barrier("the end");
        fault_power_on();
        assert_int_equal(io_dirid_get(dir_fd, &is), 0);
        assert_true(mailfs_id_equal(&is, at == 1 ? &id : &fresh));
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_beneath),        T(test_read),
        T(test_read_growing),   T(test_replace),
        T(test_is_temp),        T(test_replace_cut),
        T(test_replace_killed), T(test_replace_errors),
        T(test_cut_loses),      T(test_cut_keeps_what_was_synced),
        T(test_copy),           T(test_short_writes),
        T(test_mkdirs),         T(test_link_fd),
        T(test_handles),        T(test_handle_being_made),
        T(test_dirid),          T(test_dirid_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
