/* A directory of a file system that does not tell the types of names. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"
#include "syncd/store.h"

/* In place of the library's, for store.c as well. */
static const char *broken; /* the name that cannot be looked at */
static int broken_by;

struct dirent *readdir(DIR *d) {
    static struct dirent *(*real)(DIR *);
    struct dirent *e;

    if (!real)
        real = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
    e = real(d);
    if (e)
        e->d_type = DT_UNKNOWN;
    return e;
}

int fstatat(int fd, const char *name, struct stat *sb, int flags) {
    static int (*real)(int, const char *, struct stat *, int);

    if (!real)
        real = (int (*)(int, const char *, struct stat *, int))dlsym(RTLD_NEXT, "fstatat64");
    if (broken && strcmp(name, broken) == 0) {
        errno = broken_by;
        return -1;
    }
    return real(fd, name, sb, flags);
}

struct seen {
    unsigned files, dirs, others;
};

static int count(void *arg, const char *name, unsigned char type) {
    struct seen *s = arg;

    s->files += type == DT_REG;
    s->dirs += type == DT_DIR;
    s->others += type != DT_REG && type != DT_DIR;
    return 0;
}

static void test_types(void **state) {
    char path[SCRATCH_PATH];
    struct seen s = {0}, none = {0};
    int dir = scratch_make(path);

    close(openat(dir, "1.M1.a", O_WRONLY | O_CREAT, 0600));
    close(openat(dir, "2.M1.a", O_WRONLY | O_CREAT, 0600));
    assert_int_equal(mkdirat(dir, "cur", 0700), 0);
    assert_int_equal(store_each_name(dir, count, &s), 0);
    assert_int_equal(s.files, 2);
    assert_int_equal(s.dirs, 1);
    broken = "2.M1.a";
    broken_by = EIO;
    s = none;
    assert_int_equal(store_each_name(dir, count, &s), -EIO);
    assert_int_equal(s.files + s.dirs + s.others, 0);
    broken_by = ENOENT; /* removed since it was read */
    assert_int_equal(store_each_name(dir, count, &s), 0);
    assert_int_equal(s.files, 1);
    assert_int_equal(s.others, 0);
    broken = NULL;
    scratch_remove(path, dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
