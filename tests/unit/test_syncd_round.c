/* test_syncd_round - when a round of a one-way link has L, and that it is given back */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "stubs_syncd_round.h"
#include "syncd/driver_merge_int.h"

/* The link ends while a mailbox is listed: that listing is not held until the next one is made. */
static void test_listed_in_vain(void **state) {
    over = true;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    assert_null(here->link.merges->own);
    over = false;
    act(RACT_SCAN, true, false, 0);
    assert_non_null(here->link.merges->own);
}

/* Differences: L is for the result. */
static void test_differences(void **state) {
    until_frozen(false, 1);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

/* What was done between the listing and L for the result does not fit that. */
static void misfit(void) {
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    fits = -ESTALE;
    lock_answers(0);
    fits = 0;
    assert_string_equal(did, "scan listed lock merge unlock unmerged ");
    act(RACT_MERGE_PUT_OFF, false, false, 0);
    did[0] = '\0';
}

/* The bases differ. Nobody at this end waits for the other end's listing. */
static void test_in_full(void **state) {
    until_frozen(true, 1);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

/* It did not fit: nobody gives a UID from the listing to the result; that once. */
static void test_misfit(void **state) {
    misfit();
    until_frozen(true, 1);
    assert_string_equal(did, "lock ");
    lock_answers(0);
    assert_string_equal(did, "lock scan listed ");
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "lock scan listed merge unlock merged ");
    act(RACT_MERGE_DONE, true, false, 0);
    did[0] = '\0';
    until_frozen(true, 1);
    assert_string_equal(did, "scan listed ");
}

/* A standby that is being filled has nothing that could be in the way. */
static void test_filled(void **state) {
    misfit();
    until_frozen(true, 0);
    assert_string_equal(did, "scan listed ");
    act(RACT_MERGE, true, false, 0);
    assert_string_equal(did, "scan listed lock ");
    lock_answers(0);
    assert_string_equal(did, "scan listed lock merge unlock merged ");
}

static void test_lock_in_use(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(-EAGAIN);
    assert_string_equal(did, "lock unlisted ");
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    assert_string_equal(did, "lock unlisted ");
}

/* A process may be at numbering what has come. */
static void test_lock_taken(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(0);
    taken = true;
    act(RACT_MERGE, true, false, 1);
    assert_string_equal(did, "lock scan listed unlock unmerged ");
    did[0] = '\0';
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    taken = false;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    taken = true; /* between the grant and the word of it */
    lock_answers(0);
    assert_string_equal(did, "scan listed lock unlock unmerged ");
}

/* The other end gave up, or went away, when L was here, */
static void test_put_off_with_lock(void **state) {
    misfit();
    until_frozen(true, 1);
    lock_answers(0);
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    assert_string_equal(did, "lock scan listed unlock ");
}

/* or while it was waited for. */
static void test_put_off_before_lock(void **state) {
    misfit();
    until_frozen(true, 1);
    act(RACT_MERGE_PUT_OFF, true, false, 0);
    over = true;
    lock_answers(0);
    assert_string_equal(did, "lock scan listed unlock ");
    did[0] = '\0';
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
}

/* What is here already, of a round that was put off, is synced before the mailbox is frozen. */
static void test_here_and_unsynced(void **state) {
    unsynced = true;
    act(RACT_SCAN, false, false, 0);
    act(RACT_STAGE, false, false, 1);
    while (strstr(did, "staged") == NULL)
        workq_drain(here->wq);
    assert_string_equal(did, "scan listed settled staged ");
}

/* Nothing is carried out any more when the round is over. */
static void test_over_before_lock(void **state) {
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    act(RACT_MERGE_PUT_OFF, false, false, 0);
    lock_answers(0);
    assert_string_equal(did, "scan listed lock unlock unmerged ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, round_setup, round_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_listed_in_vain),
        T(test_differences),
        T(test_in_full),
        T(test_misfit),
        T(test_filled),
        T(test_lock_in_use),
        T(test_lock_taken),
        T(test_put_off_with_lock),
        T(test_put_off_before_lock),
        T(test_here_and_unsynced),
        T(test_over_before_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
