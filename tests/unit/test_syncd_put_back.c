/* What the journal has put back after a power cut, and mailfs that did not tell all it did since.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "recent_pair.h"
#include "replica/replica.h"
#include "syncd/base.h"
#include "syncd/contact_int.h"
#include "syncd/front_private.h"
#include "syncd/volume.h"

static const struct conf_volume cv = {.name = (char *)"mail"};
static struct contact contact;
static struct volume v = {.cv = &cv, .contact = &contact};
static struct front f;

/* A message that had been removed on b, before its power was cut. */
static int setup(void **state) {
    static const struct replica_config rc = {.node = "b", .peer = "a", .timeout_ms = 3000};
    struct acts a = {.n = 0};
    uint64_t gen;

    if (recent_setup(state) != 0)
        return -1;
    deliver("1.M1.a");
    assert_int_equal(state_mark_gen(both.b.st, &gen), 0);
    assert_int_equal(state_mark(both.b.st, &mailbox, gen), 0);
    fs_unlink(&both.b, "u/new/1.M1.a");
    act_remove(&a, MFL__SUB__NEW, "1.M1.a");
    mfp__txn__free_unpacked(node_collect(&both.b, &mailbox, &a, false), NULL);
    node_reopen(&both.b);
    node_replay(&both.b);
    assert_true(base_was_put_back(both.b.st, &mailbox, "1.M1.a"));
    v.state = both.b.st;
    v.machine = replica_new(&rc, volume_now());
    f = (struct front){.v = &v, .hello = true, .keeps = true, .holder_fd = -1};
    f.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return v.machine != NULL && f.fd >= 0 ? 0 : -1;
}

static int teardown(void **state) {
    if (f.fd >= 0)
        close(f.fd);
    replica_free(v.machine);
    return recent_teardown(state);
}

/* It may have been moved out and in again: it is not taken for the one that was removed. */
static void test_events_lost(void **state) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT, *pm = &m;
    Mfl__Lost lost = MFL__LOST__INIT;
    int fd = -1;

    lost.dropped = 1;
    m.m_case = MFL__TO_SYNCD__M_LOST;
    m.lost = &lost;
    assert_int_equal(front_receive(&f, &pm, &fd), 0);
    assert_false(base_was_put_back(both.b.st, &mailbox, "1.M1.a"));
}

/* Nor while nobody tells. */
static void test_mailfs_away(void **state) {
    front_disconnect(&f);
    assert_true(f.away);
    assert_false(base_was_put_back(both.b.st, &mailbox, "1.M1.a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mailfs_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
