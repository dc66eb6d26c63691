/* said: what the log is told once, and when it is told again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "syncd/said.h"
#include "syncd/state_int.h"
#include "syncd/volume.h"
#include "mailbox_pair.h"

static void once(void **state) {
    struct said *all = NULL;
    assert_false(said_before(&all, "/a: cannot apply", -ENOSPC, 1000));
    assert_true(said_before(&all, "/a: cannot apply", -ENOSPC, 2000));
    assert_false(said_before(&all, "/b: cannot apply", -ENOSPC, 2000)); /* another mailbox */
    assert_true(said_before(&all, "/a: cannot apply", -ENOSPC, 3000));
    assert_false(said_before(&all, "/a: cannot apply", -EIO, 4000)); /* another reason */
    assert_false(said_before(&all, "/a: cannot apply", -ENOSPC, 5000));
    assert_true(said_before(&all, "/a: cannot apply", -ENOSPC, 5000 + SAID_AGAIN_MS - 1));
    assert_false(said_before(&all, "/a: cannot apply", -ENOSPC, 5000 + SAID_AGAIN_MS));
    said_free(&all);
    assert_null(all);
}

/* However many fail. */
static void limit(void **state) {
    struct said *all = NULL;
    char of[32];
    for (unsigned i = 0; i <= SAID_MAX; i++) {
        snprintf(of, sizeof of, "/%u", i);
        assert_false(said_before(&all, of, -ENOSPC, 1));
    }
    assert_true(said_before(&all, "/1", -ENOSPC, 1));
    assert_false(said_before(&all, "/0", -ENOSPC, 1));
    said_free(&all);
}

/* ---- what is logged ---------------------------------------------------------------- */

static FILE *lines;
static int stderr_was;

static void log_begin(void) {
    lines = tmpfile();
    stderr_was = dup(STDERR_FILENO);
    assert_true(lines != NULL && stderr_was >= 0);
    assert_int_equal(dup2(fileno(lines), STDERR_FILENO), STDERR_FILENO);
}

static unsigned logged(void) {
    unsigned n = 0;
    int c;
    dup2(stderr_was, STDERR_FILENO);
    close(stderr_was);
    rewind(lines);
    while ((c = getc(lines)) != EOF)
        n += c == '\n';
    fclose(lines);
    return n;
}

/* Two mailboxes on a full disk. */
static void of_a_mailbox(void **state) {
    char last[STATE_ERROR_MAX];
    log_begin();
    for (unsigned i = 0; i < 10; i++) {
        state_fail(p.a.st, -ENOSPC, &inbox, "cannot apply what the peer did");
        state_fail(p.a.st, -ENOSPC, &mailfs_id_root, "cannot apply what the peer did");
    }
    state_last_error(p.a.st, last);
    assert_int_equal(logged(), 2);
    assert_non_null(strstr(last, "cannot apply"));
}

static void of_a_volume(void **state) {
    static char name[] = "mail";
    static const struct conf_volume cv = {.name = name};
    struct volume v = {.cv = &cv};
    log_begin();
    for (unsigned i = 0; i < 10; i++) {
        volume_error(&v, "checkpoint: %s", "full");
        volume_error(&v, "not applied: %s", "full");
    }
    assert_int_equal(logged(), 2);
    assert_string_equal(v.last_error, "not applied: full");
    said_free(&v.said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once), cmocka_unit_test(limit),
        cmocka_unit_test_setup_teardown(of_a_mailbox, mailbox_setup, mailbox_teardown),
        cmocka_unit_test(of_a_volume)};
    return cmocka_run_group_tests_name("said", tests, NULL, NULL);
}
