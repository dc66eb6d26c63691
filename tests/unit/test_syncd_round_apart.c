/* test_syncd_round_apart - a round while mailfs serves without syncd, or begins to */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_round.h"
#include "syncd/jobs.h"

/* A pair's, whose mailfs gives L by itself: its list is not to be replaced. */
static void test_apart(void **state) {
    here->link.main = NULL;
    until_frozen(false, 1);
    apart = true;
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed unmerged ");
    did[0] = '\0';
    apart = false;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed merge merged ");
}

/* It is started between the look for one and the beginning of the job, of a pair or of a link that
 * has L. One without writes to no list of anybody's. */
static void test_started(void **state) {
    jobs_ask(here->link.jobs, asks);
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    lock_answers(0);
    assert_string_equal(did, "scan listed lock given-up unlock merged ");
    did[0] = '\0';
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 0);
    assert_string_equal(did, "scan listed merge merged ");
    did[0] = '\0';
    here->link.main = NULL;
    until_frozen(false, 1);
    act(RACT_MERGE, false, false, 1);
    assert_string_equal(did, "scan listed given-up merged ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, round_setup, round_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_apart),
        T(test_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
