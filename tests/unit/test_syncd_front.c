/* front_is_apart: does a mailfs run that is not connected? */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/front_private.h"
#include "syncd/volume.h"

static char dir[] = "/tmp/mailfs-front-XXXXXX", path[64];
static struct conf_volume cv = {.state = dir};
static struct volume v = {.cv = &cv};
static struct front f = {.v = &v};
static int lock = -1;

static int setup(void **state) {
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/mailfs.lock", dir);
    return 0;
}

static int teardown(void **state) {
    unlink(path);
    return rmdir(dir);
}

static void never_ran(void **state) {
    assert_false(front_is_apart(&f));
}

static void runs(void **state) {
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_true(dprintf(lock, "%10d\n", (int)getpid()) > 0);
    assert_true(front_is_apart(&f));
}

/* Its pid is a process that is there: this one. */
static void has_ended(void **state) {
    close(lock);
    assert_false(front_is_apart(&f));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_ran),
        cmocka_unit_test(runs),
        cmocka_unit_test(has_ended),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
