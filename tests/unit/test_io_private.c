/* io_private_check(): who gets to a mount point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/private.h"
#include "tests/unit/scratch.h"

/* dir is what the mount point lies in. */
static char top[SCRATCH_PATH], dir[SCRATCH_PATH];
static int top_fd, dir_fd;

static int setup(void **state) {
    top_fd = scratch_make(top);
    dir_fd = scratch_sub(top, "dir", dir);
    return 0;
}

static int teardown(void **state) {
    close(dir_fd);
    scratch_remove(top, top_fd);
    return 0;
}

/* user::rwx, user 4321 r-x, group and mask and other nothing: mode 0700. */
static const struct {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } entries[5];
} acl = {2,
         {{1, 7, UINT32_MAX},
          {2, 5, 4321},
          {4, 0, UINT32_MAX},
          {16, 0, UINT32_MAX},
          {32, 0, UINT32_MAX}}};

static char mount_point[SCRATCH_PATH], store[SCRATCH_PATH], why[1024];
static uid_t mail_uid; /* whose the directory above and the store are: not root, if we can */

static void give(const char *path, uid_t uid) {
    assert_int_equal(chown(path, uid, (gid_t)-1), 0);
}

static void private_make(void) {
    close(scratch_sub(dir, "mount", mount_point));
    close(scratch_sub(top, "store", store));
    mail_uid = geteuid() == 0 ? 4321 : geteuid();
    give(dir, mail_uid);
    give(store, mail_uid);
}

/* 0, or what it is refused for is in why. */
static int private_check(const char *path) {
    uid_t uid = 77;
    why[0] = '\0';
    int r = io_private_check(path, store, &uid, why, sizeof why);
    assert_true(r == 0 ? uid == mail_uid && why[0] == '\0' : uid == 77 && why[0] != '\0');
    return r;
}

static void refused_for(const char *path, const char *reason) {
    assert_true(private_check(path) < 0);
    if (strstr(why, reason) == NULL)
        fail_msg("it says: %s; and not: %s", why, reason);
}

static void test_private(void **state) {
    static const mode_t open_to_others[] = {0755, 0750, 0710, 0701, 0740, 0770, 01777, 0600, 0500};
    private_make();
    assert_int_equal(private_check(mount_point), 0);
    for (size_t i = 0; i < sizeof open_to_others / sizeof *open_to_others; i++) {
        assert_int_equal(fchmod(dir_fd, open_to_others[i]), 0);
        refused_for(mount_point, "must be 0700");
        refused_for(mount_point, dir);
    }
    assert_int_equal(fchmod(dir_fd, 0700), 0);
    refused_for("/nowhere/mount", "/nowhere/mount");
}

/* It is the directory that the mount point lies in which counts, not the path to it. */
static void test_private_link(void **state) {
    char link[SCRATCH_PATH];
    private_make();
    snprintf(link, sizeof link, "%.4000s/link", top);
    assert_int_equal(symlink(mount_point, link), 0);
    assert_int_equal(fchmod(dir_fd, 0711), 0);
    assert_int_equal(fchmod(top_fd, 0700), 0);
    refused_for(link, "mode 0711");
    assert_int_equal(fchmod(dir_fd, 0700), 0);
    assert_int_equal(fchmod(top_fd, 0755), 0);
    assert_int_equal(private_check(link), 0);
    assert_int_equal(fchmod(top_fd, 0700), 0);
}

static void test_private_acl(void **state) {
    private_make();
    if (fsetxattr(dir_fd, "system.posix_acl_access", &acl, sizeof acl, 0) != 0)
        skip(); /* a file system without them */
    refused_for(mount_point, "access control list");
    assert_int_equal(fremovexattr(dir_fd, "system.posix_acl_access"), 0);
    assert_int_equal(private_check(mount_point), 0);
}

static void test_private_owner(void **state) {
    private_make();
    if (geteuid() != 0)
        skip(); /* only root can */
    give(store, 1234);
    refused_for(mount_point, "belongs to uid 1234");
    give(store, 0);
    refused_for(mount_point, "belongs to uid 0");
    give(store, mail_uid);
    assert_int_equal(private_check(mount_point), 0);
}

/* Nobody else could use it. */
static void test_private_root(void **state) {
    private_make();
    if (geteuid() != 0)
        skip();
    give(dir, 0);
    refused_for(mount_point, "belongs to uid 4321");
    give(store, 0);
    refused_for(mount_point, "belong to root");
    refused_for(mount_point, dir);
    refused_for(mount_point, store);
    refused_for(mount_point, "chown both");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_private),       T(test_private_link), T(test_private_acl),
        T(test_private_owner), T(test_private_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
