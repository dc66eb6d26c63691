/* owed: where the next UID is to be raised, over the end of syncd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailbox_pair.h"
#include "syncd/alias.h"
#include "syncd/owed.h"
#include "syncd/renumber.h"
#include "syncd/store.h"

static bool was_raised; /* the first one */

static size_t owed(struct mailfs_id *first) {
    struct owed_dir *dirs;
    size_t n;
    assert_int_equal(owed_list(p.a.st, &dirs, &n), 0);
    if (n > 0) {
        *first = dirs[0].dir;
        was_raised = dirs[0].raised;
    }
    free(dirs);
    return n;
}

static void over_a_start(void **state) {
    struct mailfs_id id;
    assert_int_equal(owed(&id), 0);
    assert_int_equal(owed_paid(p.a.st, &inbox), 0); /* none is */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(owed_note(p.a.st, &inbox), 0);
    assert_int_equal(owed_note(p.a.st, &mailfs_id_root), 0);
    node_reopen(&p.a);
    assert_int_equal(owed(&id), 2);
    assert_int_equal(owed_raised(p.a.st, &mailfs_id_root), 0);
    assert_int_equal(owed_paid(p.a.st, &mailfs_id_root), 0);
    assert_int_equal(owed(&id), 1);
    assert_true(mailfs_id_equal(&id, &inbox));
    assert_int_equal(owed_raised(p.a.st, &inbox), 0);
    assert_int_equal(owed_paid(p.a.st, &inbox), 0);
    node_reopen(&p.a);
    assert_int_equal(owed(&id), 0);
}

/* Once raised it is only to be raised again when L has ended, unless the list is replaced again. */
static void raised_once(void **state) {
    struct mailfs_id id;
    assert_int_equal(owed_raised(p.a.st, &inbox), 0); /* it is not noted */
    assert_int_equal(owed(&id), 0);
    assert_int_equal(owed_note(p.a.st, &inbox), 0);
    assert_int_equal(owed_paid(p.a.st, &inbox), 0); /* it is not raised */
    assert_int_equal(owed(&id), 1);
    assert_false(was_raised);
    assert_int_equal(owed_raised(p.a.st, &inbox), 0);
    for (unsigned i = 0; i < 3; i++) {
        node_reopen(&p.a);
        assert_int_equal(owed(&id), 1);
        assert_true(was_raised);
    }
    assert_int_equal(owed_note(p.a.st, &inbox), 0);
    node_reopen(&p.a);
    assert_int_equal(owed(&id), 1);
    assert_false(was_raised);
}

/* The next life knows the container by that id only. What is to be raised now is, where both are.
 */
static void renumbered(void **state) {
    static const struct mailfs_id other = {{9}};
    struct store_dir d = {.fd = {-1, -1, -1, -1}};
    struct mailfs_id id;
    assert_int_equal(owed_note(p.a.st, &inbox), 0);
    assert_int_equal(owed_note(p.a.st, &other), 0);
    assert_int_equal(owed_raised(p.a.st, &other), 0);
    assert_int_equal(store_dir_open(p.a.st, &inbox, &d), 0);
    assert_int_equal(renumber_dir(p.a.st, d.fd[0], &inbox, &other), 0);
    store_dir_close(&d);
    assert_int_equal(owed(&id), 1);
    assert_true(mailfs_id_equal(&id, &other));
    assert_false(was_raised);
}

/* Joined with one that is here, or was never here by that id. */
static void joined(void **state) {
    static const struct mailfs_id former = {{9}};
    struct mailfs_id id;
    for (unsigned raised = 0; raised < 2; raised++) {
        assert_int_equal(owed_note(p.a.st, &former), 0);
        if (raised)
            assert_int_equal(owed_raised(p.a.st, &former), 0);
        assert_int_equal(alias_note(p.a.st, &former, &inbox), 0);
        node_reopen(&p.a);
        assert_int_equal(owed_drop(p.a.st, &former), 0);
        assert_int_equal(owed(&id), 1);
        assert_true(mailfs_id_equal(&id, &inbox));
        assert_int_equal(was_raised, raised);
        assert_int_equal(owed_drop(p.a.st, &inbox), 0);
    }
}

/* The base is forgotten; the UIDs have been given all the same. */
static void base_lost(void **state) {
    struct mailfs_id id;
    char name[300];
    assert_int_equal(owed_note(p.a.st, &inbox), 0);
    snprintf(name, sizeof(name), "%s/.mailfs/id", p.a.store);
    assert_int_equal(unlink(name), 0);
    node_reopen(&p.a);
    assert_true(p.a.start.lost);
    assert_int_equal(owed(&id), 1);
    assert_true(mailfs_id_equal(&id, &inbox));
    assert_false(was_raised);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(over_a_start, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(raised_once, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(renumbered, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(joined, mailbox_setup, mailbox_teardown),
        cmocka_unit_test_setup_teardown(base_lost, mailbox_setup, mailbox_teardown)};
    return cmocka_run_group_tests_name("owed", tests, NULL, NULL);
}
