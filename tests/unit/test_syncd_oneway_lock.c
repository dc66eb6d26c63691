/* oneway_lock: L that a link's merge takes from the machine of its volume. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "syncd/asks.h"
#include "syncd/driver.h"
#include "syncd/front.h"
#include "syncd/oneway.h"
#include "syncd/oneway_lock.h"
#include "syncd/promote.h"
#include "syncd/volume.h"

/* ---- in place of the disk side and of mailfs ---------------------------------------- */

static bool connected, expected;
static unsigned raised;

bool front_is_connected(const struct front *f) {
    return connected;
}

bool front_is_apart(const struct front *f) {
    return expected && !connected;
}

void front_invalidate(struct front *f, const struct invals *iv) {
}

void invals_free(struct invals *iv) {
}

int promote_raise_one(struct state *st, const struct mailfs_id *dir, enum replica_raise how,
                      struct invals *inval) {
    raised++;
    return asks_still();
}

void oneway_changed(struct volume *v, const struct mailfs_id *dir, bool tree) {
}

static uint64_t now;

uint64_t volume_now(void) {
    return now;
}

/* What driver.c does with these. req of others: those that the test has asked itself. */
static uint64_t others_granted;

void driver_pump(struct volume *v) {
    struct replica_action a;
    while (replica_next(v->machine, &a)) {
        bool ours = false;
        if (a.kind == RACT_GRANT)
            ours = oneway_granted(v, a.req, a.raise);
        else if (a.kind == RACT_BUSY)
            ours = oneway_busy(v, a.req);
        if (a.kind == RACT_GRANT && !ours)
            others_granted = a.req;
        replica_action_done(&a);
    }
}

/* ---- a volume that is alone, without its tokens: L is granted with a gap ------------- */

struct fixture {
    struct volume v, link;
    struct workq *wq;
};

static const struct mailfs_id box = {{1}};
static int answered; /* 1: not yet */

static void on_answer(void *arg, int err) {
    answered = err;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct replica_config rc = {.node = "mx-b",
                                .peer = "mx-a",
                                .timeout_ms = 3000,
                                .lock_wait_ms = 200,
                                .max_unacked = 100,
                                .had_contact = true};
    if (workq_new(1, 10000, &f->wq) != 0)
        return -1;
    now = 1000;
    f->v.machine = replica_new(&rc, now);
    f->v.jobs = jobs_new(f->wq, 1);
    f->link.main = &f->v;
    now += 10000; /* nobody came */
    replica_tick(f->v.machine, now);
    driver_pump(&f->v);
    connected = expected = true;
    answered = 1;
    raised = 0;
    others_granted = 0;
    *state = f;
    return 0;
}

static void settle(struct fixture *f) {
    while (jobs_pending(f->v.jobs) > 0)
        workq_drain(f->wq);
    driver_pump(&f->v);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    settle(f);
    oneway_locks_free(&f->v);
    jobs_free(f->v.jobs);
    replica_free(f->v.machine);
    workq_free(f->wq);
    free(f);
    return 0;
}

/* Is L free for a process? It gives it back. */
static bool other_may(struct fixture *f, uint64_t req) {
    replica_lock_open(f->v.machine, now, req, box);
    driver_pump(&f->v);
    bool got = others_granted == req;
    if (got)
        replica_lock_opened(f->v.machine, now, box, false);
    driver_pump(&f->v);
    return got;
}

static void held_until_unlock(void **state) {
    struct fixture *f = *state;
    struct mailfs_id held;
    oneway_lock(&f->link, &box, on_answer, NULL);
    assert_int_equal(answered, 1);
    settle(f);
    assert_int_equal(answered, 0);
    assert_int_equal(raised, 1);
    assert_int_equal(oneway_locks_held(&f->v, &held, 1), 1);
    assert_true(mailfs_id_equal(&held, &box));
    assert_false(other_may(f, 7));
    oneway_unlock(&f->link, &box, false);
    assert_int_equal(others_granted, 7); /* who had waited */
    replica_lock_opened(f->v.machine, now, box, false);
    assert_true(other_may(f, 8));
}

/* mailfs says which L there are while the gap is made: the grant is nobody's, and must not be
 * called opened when it is another's by then. */
static void told_while_raised(void **state) {
    struct fixture *f = *state;
    oneway_lock(&f->link, &box, on_answer, NULL);
    oneway_grants_void(&f->v, NULL, 0);
    replica_locks_are(f->v.machine, now, NULL, 0, false);
    replica_lock_open(f->v.machine, now, 9, box);
    driver_pump(&f->v);
    assert_int_equal(others_granted, 9);
    settle(f);
    assert_int_equal(answered, -EAGAIN);
    assert_int_equal(oneway_locks_held(&f->v, NULL, 0), 0);
    assert_false(other_may(f, 10)); /* 9 has it, and has not said that it is open */
}

/* What syncd does when mailfs has named these. */
static void mailfs_names(struct fixture *f, const struct mailfs_id *dirs, size_t n) {
    oneway_grants_void(&f->v, dirs, n);
    replica_locks_are(f->v.machine, now, dirs, n, false);
    driver_pump(&f->v);
}

/* mailfs has served without syncd for a moment, and let a process have what the link held: it is
 * the process's until that gives it back. */
static void taken_by_a_process(void **state) {
    struct fixture *f = *state;
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    assert_int_equal(answered, 0);
    assert_true(oneway_holds(&f->link, &box));
    mailfs_names(f, &box, 1);
    assert_false(oneway_holds(&f->link, &box));
    assert_int_equal(oneway_locks_held(&f->v, NULL, 0), 0);
    oneway_unlock(&f->link, &box, false);
    assert_false(other_may(f, 7));
    replica_unlock(f->v.machine, now, 8, box, NULL, NULL, 0);
    driver_pump(&f->v);
    assert_int_equal(others_granted, 7);
}

/* An unlock is of what this link had: not of what another link, or a process, has got since. */
static void taken_and_another_links_then(void **state) {
    struct fixture *f = *state;
    struct volume second = {.main = &f->v};
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    mailfs_names(f, &box, 1);
    replica_unlock(f->v.machine, now, 8, box, NULL, NULL, 0);
    driver_pump(&f->v);
    answered = 1;
    oneway_lock(&second, &box, on_answer, NULL);
    settle(f);
    assert_int_equal(answered, 0);
    assert_true(oneway_holds(&second, &box));
    assert_false(other_may(f, 7));
    oneway_unlock(&second, &box, false);
    assert_int_equal(others_granted, 7);
    replica_lock_opened(f->v.machine, now, box, true);
    oneway_unlock(&f->link, &box, false);
    assert_false(other_may(f, 8));
}

/* The same between the grant and the word of it. */
static void taken_before_answered(void **state) {
    struct fixture *f = *state;
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    oneway_unlock(&f->link, &box, false);
    answered = 1;
    oneway_lock(&f->link, &box, on_answer, NULL); /* there is the gap already */
    assert_int_equal(raised, 1);
    mailfs_names(f, &box, 1);
    settle(f);
    assert_int_equal(answered, -EAGAIN);
    assert_false(other_may(f, 7));
}

/* It may be a process's, until mailfs has said. */
static void not_counted_on_without_mailfs(void **state) {
    struct fixture *f = *state;
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    connected = false;
    assert_false(oneway_holds(&f->link, &box));
    connected = true; /* it has named none */
    assert_true(oneway_holds(&f->link, &box));
    oneway_unlock(&f->link, &box, false);
    assert_true(other_may(f, 7));
}

static void mailfs_gone_while_raised(void **state) {
    struct fixture *f = *state;
    oneway_lock(&f->link, &box, on_answer, NULL);
    replica_mailfs_away(f->v.machine, now);
    oneway_mailfs_away(&f->v);
    settle(f);
    assert_int_equal(answered, -EAGAIN);
    assert_false(other_may(f, 7)); /* until mailfs, or its end, has said whose it is */
    mailfs_names(f, NULL, 0);
    assert_int_equal(others_granted, 7);
}

static bool mailfs_runs(const void *arg) {
    return true;
}

/* No gap is made beside one that was started since L was asked for: it may give L by itself. */
static void started_before_raised(void **state) {
    struct fixture *f = *state;
    struct asks *asks = asks_new(mailfs_runs, NULL);
    jobs_ask(f->v.jobs, asks);
    connected = expected = false;
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    assert_int_equal(raised, 1);
    assert_int_equal(answered, -EAGAIN);
    assert_int_equal(oneway_locks_held(&f->v, NULL, 0), 0);
    jobs_ask(f->v.jobs, NULL);
    asks_free(asks);
    assert_true(other_may(f, 7));
}

/* It may have opened L in the moment in which it was killed. */
static void not_before_mailfs_has_said(void **state) {
    struct fixture *f = *state;
    connected = false;
    oneway_lock(&f->link, &box, on_answer, NULL);
    assert_int_equal(answered, 1); /* never from within */
    settle(f);
    assert_int_equal(answered, -EAGAIN);
    assert_int_equal(raised, 0);
    expected = false; /* a store that nobody has mounted */
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    assert_int_equal(answered, 0);
}

static void busy(void **state) {
    struct fixture *f = *state;
    replica_lock_open(f->v.machine, now, 7, box);
    driver_pump(&f->v);
    replica_lock_opened(f->v.machine, now, box, true);
    oneway_lock(&f->link, &box, on_answer, NULL);
    settle(f);
    assert_int_equal(answered, 1);
    now += 10000;
    replica_tick(f->v.machine, now);
    driver_pump(&f->v);
    settle(f);
    assert_int_equal(answered, -EAGAIN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(held_until_unlock),          T(told_while_raised),
        T(taken_by_a_process),         T(taken_and_another_links_then),
        T(taken_before_answered),      T(not_counted_on_without_mailfs),
        T(mailfs_gone_while_raised),   T(started_before_raised),
        T(not_before_mailfs_has_said), T(busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
