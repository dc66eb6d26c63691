/*
 * test_syncd_applier_trees - what is applied to directories, and when the trees are compared for
 * that
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_applier.h"
#include "syncd/driver.h"
#include "syncd/driver_apply.h"

/* It came before the present connection, and is done after the trees have been listed: they are
 * compared once more. Not for what is done in a mailbox. */
static void test_late(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_MSG, MFP__OP__OP_DIR_REMOVE};

    failing = 0;
    for (unsigned late = 0; late < 2; late++) {
        for (unsigned i = 0; i < 2; i++) {
            struct replica_action a = {.seq = 1, .dir = id, .late = late};

            a.payload = of_folder(what[i]);
            driver_apply(&volume, &a);
            replica_payload_unref(a.payload);
            workq_drain(engine.io);
            assert_int_equal(compared, late && i);
        }
    }
    assert_int_equal(applied, 4);
}

/* What waits for L when the peer is met, and only makes directories, or moves them, is done before
 * these are listed; not past a removal, which has to wait. */
static void test_before_trees(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_DIR_MAKE, MFP__OP__OP_DIR_REMOVE,
                                           MFP__OP__OP_DIR_MOVE};

    failing = 0;
    at = REPLICA_ALONE;
    for (unsigned i = 0; i < 3; i++) {
        received[i] = of_folder(what[i]);
        driver_apply_early(&volume, &id, received[i]);
    }
    workq_drain(engine.io);
    assert_int_equal(tries, 0);
    assert_int_equal(volume.trees_unapplied, 3);
    driver_apply_before_trees(&volume);
    workq_drain(engine.io);
    assert_int_equal(tries, 1);
    assert_int_equal(volume.trees_unapplied, 2);
    for (unsigned i = 0; i < 3; i++) {
        struct replica_action a = {.seq = 1, .dir = id, .late = true, .payload = received[i]};

        driver_apply(&volume, &a);
        workq_drain(engine.io);
        replica_payload_unref(received[i]);
        received[i] = NULL;
    }
    assert_int_equal(tries, 3);
    assert_int_equal(applied, 3);
    assert_int_equal(volume.trees_unapplied, 0);
    assert_int_equal(compared, 2);
}

/* No merge of mailboxes tells of a directory that could not be made, moved or removed. */
static void test_lasts_of_the_tree(void **state) {
    static const Mfp__Op__OpCase what[] = {MFP__OP__OP_DIR_MAKE, MFP__OP__OP_DIR_MOVE,
                                           MFP__OP__OP_DIR_REMOVE, MFP__OP__OP_MSG};

    for (unsigned i = 0; i < 4; i++) {
        struct replica_action a = {.seq = 1, .dir = id, .payload = of_folder(what[i])};

        tries = 0;
        failing = -EROFS;
        driver_apply(&volume, &a);
        replica_payload_unref(a.payload);
        workq_drain(engine.io);
        assert_int_equal(suspected, i + 1);
        assert_int_equal(awaited, i < 3 ? i + 1 : 3);
        assert_int_equal(awaited_err, -EROFS);
    }
    assert_int_equal(applied, 4);
}

/* Directories that are not where the peer has them: it may be a full disk that kept them out. While
 * it is full, a comparison would stop all that is applied. */
static void test_trees_differ(void **state) {
    static const int errors[] = {0, -ENOENT};

    fails = 2;   /* with nothing else at work, too */
    down = true; /* it is not sought */
    result.tree = true;
    for (unsigned i = 0; i < 2; i++) {
        tries = 0;
        apply(errors[i]);
        assert_int_equal(applied, i + 1);
        assert_int_equal(awaited, i + 1);
        assert_int_equal(suspected, i + 1);
        assert_int_equal(awaited_err, errors[i] == 0 ? 0 : -ENOENT);
        assert_int_equal(compared, 0);
    }
}

/* What is not here, and is known to be lacking, is not on its way: L waits for what is put off. */
static void test_not_sought(void **state) {
    awaits = true;
    fails = 100;
    apply(-ENOENT);
    assert_int_equal(tries, 2); /* and with nothing else at work */
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
}

/* Nothing is tried for long in a container of which the tree lacks something: it is to be merged.
 */
static void test_awaits_trees(void **state) {
    awaits = true;
    fails = 2;
    apply(-ENOSPC);
    assert_int_equal(tries, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 1);
}

/* Put off for an L, it was not in the trees that were compared as the nodes met. */
static void test_met_meanwhile(void **state) {
    struct replica_action a = {.seq = 1, .dir = id, .late = false};

    failing = 0;
    apart = true;
    a.payload = of_folder(MFP__OP__OP_DIR_REMOVE);
    driver_apply(&volume, &a);
    replica_payload_unref(a.payload);
    look();
    assert_int_equal(tries, 0);
    apart = false;
    locked = true;
    driver_apply_before_trees(&volume); /* met; trees listed without it */
    look();
    assert_int_equal(tries, 0);
    locked = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(compared, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, applier_setup, applier_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_late),       T(test_before_trees), T(test_lasts_of_the_tree), T(test_trees_differ),
        T(test_not_sought), T(test_awaits_trees), T(test_met_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
