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
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "syncd/volume.h"
#include "mailbox_pair.h"

static void once(void **state) {
    struct said *all = NULL;
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 1000), SAID_NOT);
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 2000), SAID_BEFORE);
    assert_int_equal(said_look(&all, "/b: cannot apply", -ENOSPC, 2000), SAID_NOT); /* another */
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 3000), SAID_BEFORE);
    assert_int_equal(said_look(&all, "/a: cannot apply", -EDQUOT, 4000), SAID_NOT); /* likewise */
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 5000),
                     SAID_BEFORE); /* by turns */
    assert_int_equal(said_look(&all, "/a: cannot apply", -EDQUOT, 6000), SAID_BEFORE);
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 1000 + SAID_AGAIN_MS - 1),
                     SAID_BEFORE);
    assert_int_equal(said_look(&all, "/a: cannot apply", -ENOSPC, 1000 + SAID_AGAIN_MS), SAID_NOT);
    said_free(&all);
    assert_null(all);
}

/* However many fail: so many lines, and one for all others. */
static void limit(void **state) {
    struct said *all = NULL;
    unsigned lines[3] = {0};
    char of[32];
    for (unsigned n = 0; n < 3; n++) {
        for (unsigned i = 0; i < 2 * SAID_MAX; i++) {
            snprintf(of, sizeof of, "/%u", i);
            lines[said_look(&all, of, -ENOSPC, 1 + n)]++;
        }
    }
    assert_int_equal(lines[SAID_NOT], SAID_MAX);
    assert_int_equal(lines[SAID_TOO_MANY], 1);
    assert_int_equal(said_look(&all, "/0", -ENOSPC, 1 + SAID_AGAIN_MS), SAID_NOT);
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

/* Their names begin alike, for longer than a line has room. */
static void of_long_names(void **state) {
    char name[2][210];
    struct mailfs_id id[2];
    for (unsigned i = 0; i < 2; i++) {
        snprintf(name[i], sizeof name[i], ".%0200u", i);
        id[i] = stores_mailbox(&p.b, &p.a, "u", name[i]);
    }
    log_begin();
    for (unsigned i = 0; i < 10; i++)
        state_fail(p.a.st, -ENOSPC, &id[i % 2], "cannot apply what the peer did");
    assert_int_equal(logged(), 2);
}

/* Each is another message that an administrator has to look at. */
static void of_what_happens(void **state) {
    char last[STATE_ERROR_MAX];

    fs_mkdir(&p.a, "w");
    fs_mkdir(&p.a, "w/tmp");
    fs_id(&p.a, "w");
    fs_write(&p.a, "w/tmp/5.tmp", "five\n");
    for (uint64_t i = 5; i < 7; i++) {
        struct stage_prep prep = {77, i};
        stores_prepare(&p.a, &p.b, "w", "5.tmp", "w/tmp/5.tmp", i);
        assert_int_equal(stage_publish(p.b.st, &prep, 1, NULL), -ENOENT); /* it has no mailbox */
    }
    log_begin();
    stage_keep_homeless(p.b.st);
    state_last_error(p.b.st, last);
    assert_int_equal(logged(), 2);
    assert_non_null(strstr(last, ".mailfs/kept"));
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
        cmocka_unit_test(once),
        cmocka_unit_test(limit),
        cmocka_unit_test_setup_teardown(of_a_mailbox, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(of_long_names, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(of_what_happens, mailbox_setup, mailbox_teardown),
        cmocka_unit_test(of_a_volume)};
    return cmocka_run_group_tests_name("said", tests, NULL, NULL);
}
