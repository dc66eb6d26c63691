/*
 * test_syncd_applier_noted - what is to be noted before something counts as applied, and that it is
 * to be raised before it is begun
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_applier.h"

/* That does not count as applied of which nothing is noted, however it failed. */
static void test_unnoted(void **state) {
    unnoted = true;
    apply(-EPROTO);
    assert_int_equal(applied + suspected, 0);
    look();
    assert_int_equal(tries, 2);
    assert_int_equal(applied, 1);
    assert_int_equal(suspected, 0);
}

/* That it is to be raised cannot be noted. What has not been begun never counts as applied. While
 * syncd ends it stays for the next one. */
static void test_not_noted(void **state) {
    static const int errors[] = {-ENOSPC, -EUCLEAN};
    for (unsigned e = 0; e < 2; e++) {
        apart = true;
        noted = replaced = 0;
        apply(note_err = errors[e]);
        for (unsigned i = 0; i < 1000 && noted < 2; i++)
            look();
        assert_int_equal(noted, 2);
        assert_int_equal(tries + applied + suspected, 0);
        assert_int_equal(replaced, 2);
        assert_int_equal(to_raise, 0);
        volume.stopping = true;
        look();
        assert_int_equal(tries + applied + suspected, 0);
        assert_int_equal(left, e + 1);
        volume.stopping = false;
    }
}

static void test_noted_late(void **state) {
    apart = true;
    fails = 0;
    apply(note_err = -ENOSPC);
    for (unsigned i = 0; i < 1000 && noted == 0; i++)
        look();
    note_err = 0;
    look();
    for (unsigned i = 0; i < 1000 && applied == 0; i++)
        look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
}

/* Under the id that the container has: the next life knows of no other. */
static void test_former_record(void **state) {
    locked = former = true;
    apply(0);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
    assert_int_equal(noted, 1);
    assert_int_equal(recorded.b[0], 3);
}

#define T(f) cmocka_unit_test_setup_teardown(f, applier_setup, applier_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_unnoted),
        T(test_not_noted),
        T(test_noted_late),
        T(test_former_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
