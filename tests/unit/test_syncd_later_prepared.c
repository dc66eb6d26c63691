/* What was prepared with commit = memory is synced before it has a name in a mailbox, or in kept/.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io/io.h"
#include "syncd/stage.h"
#include "syncd/state_int.h"
#include "unsynced.h"
#include "later_pair.h"

static void prepared_synced_before_named(unsigned n, bool killed) {
    n_unsynced = 0;
    prepare(&inbox, n);
    if (killed)
        node_killed(&p.b);
    name_prepared_untold(n);
    merge_watched();
    assert_int_equal(whole("u/new", "", true), n);
}

static void test_prepared_synced_before_named(void **state) {
    prepared_synced_before_named(3, false);
}

static void test_many_prepared_synced_before_named(void **state) {
    prepared_synced_before_named(MANY, false);
}

/* The syncd that had not synced it is killed: the next one does not know whether it had. */
static void test_killed_and_synced_before_named(void **state) {
    prepared_synced_before_named(3, true);
}

/* While a sync is under way what it is about is not taken for durable by another thread. */
static char loose_key[STAGE_NAME_MAX];
static bool unsynced_meanwhile;

static int fsync_and_look(int fd) {
    unsynced_meanwhile = stage_is_unsynced(p.b.st, loose_key);
    return watched_fsync(fd);
}

static void test_unsynced_while_it_is_synced(void **state) {
    struct io_ops ops = io_ops_real;

    prepare(&inbox, 1);
    stage_prep_key(77, 1, loose_key);
    assert_true(stage_is_unsynced(p.b.st, loose_key));
    unsynced_meanwhile = false;
    ops.fsync = fsync_and_look;
    io_ops_set(&ops);
    assert_int_equal(stage_sync(p.b.st), 0);
    io_ops_set(&io_ops_real);
    assert_true(unsynced_meanwhile);
    assert_false(stage_is_unsynced(p.b.st, loose_key));
}

/* Its mailbox is gone on both nodes: it is whole in kept/. */
static void test_homeless_synced_before_kept(void **state) {
    struct mailfs_id nowhere;

    n_unsynced = 0;
    assert_int_equal(mailfs_id_new(&nowhere), 0);
    prepare(&nowhere, 1);
    watch();
    assert_true(stage_publish(p.b.st, &(struct stage_prep){77, 1}, 1, NULL) < 0);
    stage_keep_homeless(p.b.st);
    io_ops_set(&io_ops_real);
    assert_int_equal(whole(".mailfs/kept", "l-", false), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mailbox_setup_grave, mailbox_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_prepared_synced_before_named),   T(test_many_prepared_synced_before_named),
        T(test_killed_and_synced_before_named), T(test_unsynced_while_it_is_synced),
        T(test_homeless_synced_before_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
