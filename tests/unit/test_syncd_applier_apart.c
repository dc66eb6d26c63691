/*
 * test_syncd_applier_apart - what is applied while mailfs serves without syncd, or somebody has L:
 * it is waited for, and where it is done all the same the next UID is raised
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_applier.h"
#include "syncd/asks.h"

/* mailfs serves by itself, and gives L; when it has come it says which there are. */
static void test_apart(void **state) {
    apart = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    apart = false;
    locked = true;
    look();
    assert_int_equal(tries, 0);
    locked = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 0);
}

static void apply_apart(int err) {
    apart = true;
    apply(err);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
}

/* It does not come, or he hangs under that L: the UIDs that he has given are not given again. Noted
 * is which of both is known. */
static void test_apart_for_long(void **state) {
    for (unsigned raised = 0; raised < 2; raised++) {
        applied = replaced = noted = raises = tries = 0;
        result.raised = raised;
        fails = 0;
        apply_apart(0);
        assert_int_equal(applied, 1);
        assert_int_equal(raises, 1);
        assert_int_equal(replaced, 1);
        assert_int_equal(noted, 1);
        assert_int_equal(noted_raised, raised);
    }
    assert_int_equal(to_raise, 0);
}

/* On a full disk it is tried again and again: no list is replaced, and none raised. */
static void test_apart_full(void **state) {
    fails = 2;
    apply_apart(-ENOSPC);
    for (unsigned i = 0; i < 2; i++)
        look();
    assert_int_equal(tries, 3);
    assert_int_equal(applied, 1);
    assert_int_equal(to_raise, 0);
}

/* One that may have got its name is raised at once, and before L is granted there. */
static void test_apart_unsure(void **state) {
    result.unsure = true;
    apply_apart(-EIO);
    assert_int_equal(applied, 0);
    assert_int_equal(to_raise, 1);
    result.unsure = false;
    look();
    assert_int_equal(applied, 1);
    assert_int_equal(to_raise, 1);
}

/* What comes behind it in that mailbox does not wait once more, until that L has ended. */
static void test_apart_many(void **state) {
    fails = 0;
    apply_apart(0);
    for (unsigned i = 2; i <= 5; i++) {
        apply(0);
        assert_int_equal(applied, i);
    }
    replaced = 0;
    apply(0);
    assert_int_equal(applied, 5);
    apart = false;
    look();
    assert_int_equal(applied, 6);
}

static bool mailfs_runs(const void *arg) {
    return true;
}

/* It is started between the look for one and the beginning of the job: as if it had been there. Who
 * begins it beside one all the same knows that. */
static void test_started(void **state) {
    struct asks *asks = asks_new(mailfs_runs, NULL);

    jobs_ask(volume.jobs, asks);
    fails = 0;
    apply(0);
    assert_int_equal(tries, 1);
    assert_int_equal(applied, 0);
    apart = true;
    for (unsigned i = 0; i < 1000 && tries == 1; i++)
        look();
    assert_int_equal(tries, 2);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 1);
    asks_free(asks);
}

/* What has to be done with nothing else at work is looked at as before it was tried beside others:
 * mailfs has given syncd up meanwhile. */
static void test_alone_apart(void **state) {
    static const int errors[] = {-EBUSY, -ENOENT};

    down = true;
    for (unsigned i = 0; i < 2; i++) {
        tries = alone = applied = replaced = noted = 0;
        apart = false;
        begin(errors[i]);
        apart = true;
        workq_drain(engine.io);
        done_alone();
    }
}

/* It has been waited for; the list is raised behind what is done alone, too. */
static void test_alone_apart_for_long(void **state) {
    apart = true;
    begin(-EBUSY);
    for (unsigned i = 0; i < 1000 && tries < 2; i++)
        look();
    assert_int_equal(alone, 1);
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
    assert_int_equal(noted, 2);
}

/* The machine knows L by an id that the container has lost since, so says that it may be applied.
 * At the end of that L the list is raised as well. */
static void test_former_lock(void **state) {
    held = (struct mailfs_id){{2}};
    locked = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    for (unsigned i = 0; i < 1000 && tries == 0; i++)
        look();
    assert_int_equal(applied, 1);
    assert_int_equal(replaced, 2);
}

/* Nobody would be there to raise the list at the end of that L: the next start applies it. */
static void test_stop_apart(void **state) {
    apart = true;
    apply(0);
    look();
    assert_int_equal(tries, 0);
    volume.stopping = true;
    look();
    volume.stopping = false;
    assert_int_equal(applied, 0);
    assert_int_equal(left, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, applier_setup, applier_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_apart),        T(test_apart_for_long),       T(test_apart_full),
        T(test_apart_unsure), T(test_apart_many),           T(test_started),
        T(test_alone_apart),  T(test_alone_apart_for_long), T(test_former_lock),
        T(test_stop_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
