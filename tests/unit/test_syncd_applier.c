/*
 * test_syncd_applier - from RACT_APPLY to replica_applied(): what fails is tried again, or is
 * merged
 *
 * The machine grants L when it hears that all is applied, so it must not hear that of what only
 * could not be done at that moment.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "stubs_syncd_applier.h"

static void test_at_once(void **state) {
    apply(0);
    assert_int_equal(applied, 1);
    assert_int_equal(noted, 0);
    assert_int_equal(suspected, 0);
}

static void test_passes(void **state) {
    static const int errors[] = {-ENOSPC, -EDQUOT, -EIO, -ENOMEM, -EMFILE, -ENFILE, -ENOTCONN};
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        applied = suspected = 0;
        tries = 0;
        apply(errors[i]);
        assert_int_equal(applied, 0);
        assert_int_equal(event_base_loop(engine.evb, EVLOOP_ONCE), 0);
        workq_drain(engine.io);
        assert_int_equal(applied, 1);
        assert_int_equal(suspected, 0);
        assert_int_equal(tries, 2);
    }
}

/* What no trying mends is merged, before L is granted. */
static void test_lasts(void **state) {
    apply(-EPROTO);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 1);
    assert_int_equal(in_time, 1);
    assert_int_equal(tries, 1);
}

/* What passes, while syncd ends: L is not granted without it. The next start does it. */
static void test_passes_stopping(void **state) {
    volume.stopping = true;
    apply(-ENOSPC);
    volume.stopping = false;
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    assert_int_equal(left, 1);
}

/* mailfs has given syncd up while it was applied: as if it had not been begun. */
static void test_given_up(void **state) {
    apply(-EOWNERDEAD);
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected, 0);
    apart = true;
    look();
    look();
    assert_int_equal(tries, 1);
    apart = false;
    failing = 0;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(suspected + replaced, 0);
}

/* While syncd ends: as if it had not been begun, too. The journal has it. */
static void test_given_up_stopping(void **state) {
    volume.stopping = true;
    apply(-EOWNERDEAD);
    assert_int_equal(tries, 1);
    assert_int_equal(applied + suspected + compared, 0);
    assert_int_equal(left, 1); /* nor waited for */
}

#define T(f) cmocka_unit_test_setup_teardown(f, applier_setup, applier_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_at_once),         T(test_passes),   T(test_lasts),
        T(test_passes_stopping), T(test_given_up), T(test_given_up_stopping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
