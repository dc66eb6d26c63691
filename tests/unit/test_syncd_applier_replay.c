/*
 * test_syncd_applier_replay - at a start: what an earlier life has received and not applied
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_applier.h"
#include "syncd/driver_apply.h"

/* Of an earlier life: nobody gets L from when it is known on, and who has it is waited for. */
static void test_replay(void **state) {
    failing = 0;
    assert_false(driver_replay_is_locked(&volume));
    driver_apply_replayed(&volume, &id, 1, payload());
    assert_int_equal(replaying, 1);
    assert_false(driver_replay_is_locked(&volume));
    locked = true;
    assert_true(driver_replay_is_locked(&volume));
    workq_drain(engine.io);
    assert_int_equal(tries, 0);
    locked = false;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 0);
    assert_false(driver_replay_is_locked(&volume));
}

static void test_replay_former_lock(void **state) {
    held = (struct mailfs_id){{2}};
    locked = true;
    driver_apply_replayed(&volume, &id, 1, payload());
    assert_true(driver_replay_is_locked(&volume));
    driver_apply_close(&volume);
}

/* Who hangs under L is not waited for: what he writes is lost. */
static void test_replay_under_l(void **state) {
    failing = 0;
    driver_apply_replayed(&volume, &id, 1, payload());
    locked = true;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    assert_int_equal(noted, 1);
}

/* mailfs has given syncd up while two were applied: who has L is waited for once more. */
static void test_replay_given_up(void **state) {
    failing = -EOWNERDEAD;
    for (unsigned i = 0; i < 2; i++)
        driver_apply_replayed(&volume, &id, i + 1, payload());
    apart = true;
    fails = 2;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(tries, 2);
    look();
    look();
    assert_int_equal(tries, 2);
    apart = false;
    locked = true;
    look();
    assert_int_equal(tries, 2);
    locked = false;
    replaced = 0;
    look();
    assert_int_equal(tries, 4);
    assert_int_equal(applied, 2);
    assert_int_equal(suspected + replaced, 0);
}

/* Or while one was that has to be done with nothing else at work. */
static void test_replay_alone_apart(void **state) {
    failing = -ENOENT;
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_replay_go_on(&volume);
    apart = true;
    workq_drain(engine.io);
    done_alone();
}

static void test_replay_given_up_stopping(void **state) {
    failing = -EOWNERDEAD;
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    apart = true;
    look();
    volume.stopping = true;
    look();
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    driver_apply_close(&volume);
}

/* Nobody has said which L there are. */
static void test_replay_apart(void **state) {
    failing = 0;
    driver_apply_replayed(&volume, &id, 1, payload());
    apart = true;
    driver_replay_go_on(&volume);
    workq_drain(engine.io);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
}

/* Not begun when syncd is stopped. */
static void test_replay_stopped(void **state) {
    driver_apply_replayed(&volume, &id, 1, payload());
    driver_apply_close(&volume);
    assert_false(driver_replay_is_locked(&volume));
    assert_int_equal(tries, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, applier_setup, applier_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_replay_former_lock), T(test_replay),
        T(test_replay_under_l),     T(test_replay_given_up),
        T(test_replay_alone_apart), T(test_replay_given_up_stopping),
        T(test_replay_apart),       T(test_replay_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
