/* test_syncd_round_treeless - a round of a mailbox whose tree lacks something */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stubs_syncd_round.h"
#include "syncd/driver_merge.h"
#include "syncd/driver_merge_int.h"
#include "syncd/treeless.h"

/* The tree lacks what a full disk kept out: the mailbox is not merged before the trees are, and
 * these not before there is room. */
static void test_treeless(void **state) {
    struct mailfs_id other = {{1}};
    here->link.main = NULL;
    merges_await_trees(here->link.merges, &other, 0);
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    did[0] = '\0';
    merges_await_trees(here->link.merges, &mailfs_id_root, -ENOSPC);
    room = -ENOSPC;
    for (unsigned i = 0; i < 2; i++)
        act(RACT_SCAN, true, i > 0, 0);
    assert_string_equal(did, "unlisted unlisted ");
    room = 0;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "unlisted unlisted unlisted compare ");
}

/* One user's quota, which the disk's room says nothing of, lets nobody compare the trees: their
 * merge would fail in his folder. */
static void test_treeless_by_quota(void **state) {
    here->link.main = NULL;
    over_quota = (struct mailfs_id){{1}};
    merges_await_trees(here->link.merges, &mailfs_id_root, -ENOSPC);
    merges_await_trees(here->link.merges, &over_quota, -EDQUOT);
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "unlisted ");
    over_quota = (struct mailfs_id){{2}};
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "unlisted unlisted compare ");
}

/* Nor is one listed as gone that may be in what is lacking: the other node would compare the trees,
 * whatever room there is here. */
static void test_gone_while_treeless(void **state) {
    struct mailfs_id other = {{1}};
    here->link.main = NULL;
    gone = true;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
    did[0] = '\0';
    merges_await_trees(here->link.merges, &other, -ENOSPC);
    room = -ENOSPC;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan unlisted ");
    room = 0;
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan unlisted scan unlisted compare ");
}

/* The trees are not compared for what a merge of them could not do either, or one folder would stop
 * all: neither for that one, nor for what cannot be there without it. */
static void test_treeless_for_good(void **state) {
    static const int lasting[] = {-EIO, -EPERM, -EMLINK};
    struct mailfs_id other = {{1}};
    here->link.main = NULL;
    for (unsigned i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        struct treeless **set = &here->link.merges->treeless;
        merges_await_trees(here->link.merges, &mailfs_id_root, -ENOENT);
        merges_await_trees(here->link.merges, &other, lasting[i]);
        merges_await_trees(here->link.merges, &other, -EIO);
        merges_await_trees(here->link.merges, &other, -ENOSPC);
        act(RACT_SCAN, true, false, 0);
        assert_string_equal(did, "unlisted ");
        assert_int_equal(treeless_lasting(*set, &mailfs_id_root, volume_now()), lasting[i]);
        assert_int_equal(
            treeless_lasting(*set, &mailfs_id_root, volume_now() + TREELESS_EIO_MS + 1000),
            lasting[i] == -EIO ? 0 : lasting[i]);
        treeless_free(set);
        did[0] = '\0';
    }
    act(RACT_SCAN, true, false, 0);
    assert_string_equal(did, "scan listed ");
}

#define T(t) cmocka_unit_test_setup_teardown(t, round_setup, round_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_treeless),
        T(test_treeless_by_quota),
        T(test_gone_while_treeless),
        T(test_treeless_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
