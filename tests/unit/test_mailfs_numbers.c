/*
 * test_mailfs_numbers - a uidlist is synced, or gets another time, when it was changed, and only
 * then
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "io_fault.h"
#include "mailfs/numbers.h"
#include "scratch.h"

static char path[SCRATCH_PATH], grave[SCRATCH_PATH];
static int box, grave_fd;

static void put(const char *name, const char *text) {
    int fd = openat(box, name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static unsigned syncs(const struct numbers *was) {
    fault_start(grave, FAULT_NONE, 0, 0);
    numbers_sync(box, was);
    fault_power_on();
    return fault_steps();
}

static void test_changed(void **state) {
    struct numbers was;
    numbers_look(box, &was);
    assert_int_equal(syncs(&was), 0); /* none, and none before */
    put("dovecot-uidlist", "3 V1 N1\n");
    assert_int_equal(syncs(&was), 2); /* a new one: its name, too */
    numbers_look(box, &was);
    assert_int_equal(syncs(&was), 0);
    put("dovecot-uidlist", "1 :x\n");
    assert_int_equal(syncs(&was), 1);
    numbers_look(box, &was);
    put("dovecot-uidlist.tmp", "3 V1 N2\n1 :x\n");
    assert_int_equal(renameat(box, "dovecot-uidlist.tmp", box, "dovecot-uidlist"), 0);
    assert_int_equal(syncs(&was), 2);
}

static void test_distrusted(void **state) {
    struct numbers was, told, now;
    numbers_look(box, &was);
    numbers_distrust(box, &was); /* there is none */
    put("dovecot-uidlist", "3 V1 N1\n");
    numbers_look(box, &was);
    numbers_distrust(box, &was);
    numbers_look(box, &now);
    assert_memory_equal(&now, &was, sizeof now);
    put("dovecot-uidlist", "1 :x\n");
    numbers_look(box, &told);
    numbers_distrust(box, &was);
    numbers_look(box, &now);
    assert_int_equal(now.size, told.size);
    assert_true(now.mtime.tv_nsec != told.mtime.tv_nsec);
}

static int set_up(void **state) {
    box = scratch_make(path);
    grave_fd = scratch_make(grave);
    return 0;
}

static int tear_down(void **state) {
    scratch_remove(path, box);
    scratch_remove(grave, grave_fd);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_distrusted, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
