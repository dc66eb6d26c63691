/*
 * test_syncd_hello - a mailfs comes again: is what it changed looked for?
 *
 * Of one whose connection was read to its end all is known. What the rest of syncd does with what
 * it says is stubbed.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "net/local.h"
#include "syncd/asks.h"
#include "syncd/base.h"
#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/front_private.h"
#include "syncd/jobs.h"
#include "syncd/load.h"
#include "syncd/named.h"
#include "syncd/oneway.h"
#include "syncd/oneway_lock.h"
#include "syncd/role.h"
#include "syncd/state.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/clock.h"
#include "util/workq.h"
#include "wire/codec.h"

static char dir[] = "/tmp/mailfs-hello-XXXXXX", sock[64];
static char name[] = "mail";
static struct conf_volume cv = {.name = name, .state = dir};
static struct engine engine;
static struct volume v = {.cv = &cv, .engine = &engine};
static unsigned came, went;
static bool dropped, no_peer;
static int doubt = -1; /* of the last that came */

/* ---- stubs ------------------------------------------------------------------------- */

bool contact_is_up(const struct volume *volume) {
    return true;
}

void contact_drop(struct volume *volume, const char *reason, bool tell_machine) {
    dropped = true;
}

void base_put_back_forget_all(struct state *st) {
}

void driver_mailfs_here(struct volume *volume) {
    came++;
}

void driver_pump(struct volume *volume) {
}

struct replica_payload *load_file(int fd, uint64_t size, Mfl__ToSyncd *prepare) {
    return NULL;
}

void named_learn(struct volume *volume, const Mfl__Hello *h) {
}

void oneway_changed(struct volume *volume, const struct mailfs_id *id, bool tree) {
}

void oneway_mailfs_away(struct volume *volume) {
    went++;
}

struct conf_role role_of(const struct volume *volume) {
    return (struct conf_role){0};
}

int state_mark_gen(struct state *st, uint64_t *gen) {
    *gen = 1;
    return 0;
}

/* Something has been changed since the marks were cleared. */
int state_marks(struct state *st, uint64_t gen, struct state_mark **marks, size_t *n) {
    *marks = NULL;
    *n = 1;
    return 0;
}

void txns_abandon(struct txns *t) {
}

int txns_act(struct txns *t, Mfl__ToSyncd **m) {
    return -EPROTO;
}

struct mailfs_id txns_lock_id(const struct txns *t, const struct mailfs_id *id) {
    return *id;
}

void txns_lock_open(struct txns *t, uint64_t req, const struct mailfs_id *asked) {
}

void txns_lock_opened(struct txns *t, const struct mailfs_id *id, bool ok) {
}

bool txns_locked(const struct txns *t, const struct mailfs_id *id) {
    return false;
}

void txns_locks_are(struct txns *t, const struct mailfs_id *dirs, size_t n, bool lost) {
}

void txns_unlock(struct txns *t, uint64_t req, const struct mailfs_id *id) {
}

void txns_unlock_again(struct txns *t, uint64_t req, const struct mailfs_id *id) {
}

void volume_error(struct volume *volume, const char *fmt, ...) {
}

uint64_t volume_now(void) {
    return clock_ms();
}

/* ---- a mailfs ---------------------------------------------------------------------- */

static int setup(void **state) {
    struct replica_config rc = {.node = "mx-a", .timeout_ms = 3000, .max_unacked = 100};
    char err[128];

    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(sock, sizeof sock, "%s/syncd.sock", dir);
    engine.evb = event_base_new();
    if (engine.evb == NULL || workq_new(1, 100, &engine.disk) != 0)
        return -1;
    v.machine = replica_new(&rc, 0);
    v.jobs = jobs_new(engine.disk, 1);
    v.asks = asks_new(front_mailfs_runs, &v);
    return front_open(&v, err, sizeof err);
}

static int teardown(void **state) {
    front_close(&v);
    asks_free(v.asks);
    jobs_free(v.jobs);
    replica_free(v.machine);
    workq_free(engine.disk);
    event_base_free(engine.evb);
    return rmdir(dir);
}

static void until(const unsigned *count, unsigned is) {
    while (*count < is)
        event_base_loop(engine.evb, EVLOOP_ONCE);
}

static void say(int fd, Mfl__ToSyncd *m, int passed) {
    uint8_t packed[256];
    ssize_t n = wire_to_syncd_pack(m, packed, sizeof packed);

    assert_true(n > 0);
    assert_int_equal(local_send(fd, packed, (size_t)n, passed), 0);
}

static bool in_doubt(void) {
    struct pollfd p = {.fd = doubt, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

/* The same mount each time. */
static int come(void) {
    Mfl__ToSyncd m = MFL__TO_SYNCD__INIT;
    Mfl__Hello hello = MFL__HELLO__INIT;
    int fd = local_connect(sock);

    assert_true(fd >= 0);
    hello.version = 1;
    hello.volume = name;
    hello.incarnation = 7;
    hello.keeps = true;
    hello.holder = getpid();
    hello.no_peer = no_peer;
    m.m_case = MFL__TO_SYNCD__M_HELLO;
    m.hello = &hello;
    if (doubt >= 0)
        close(doubt);
    doubt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    say(fd, &m, doubt);
    until(&came, came + 1);
    workq_drain(engine.disk);
    return fd;
}

/* ---- tests ------------------------------------------------------------------------- */

static void test_first(void **state) {
    int fd = come();

    assert_true(dropped);
    dropped = false;
    close(fd);
    until(&went, 1);
}

/* One worker after the other. */
static void test_all_was_read(void **state) {
    int fd = come();
    unsigned before = went;

    close(fd);
    until(&went, before + 1);
    fd = come();
    assert_false(dropped);
    close(fd);
    until(&went, before + 2);
}

/* What makes no sense is the last thing that is looked at: what was said behind it is not known. */
static void test_given_up(void **state) {
    unsigned before = went;
    int fd = come();

    assert_int_equal(local_send(fd, "\xff\xff\xff", 3, -1), 0);
    until(&went, before + 1);
    assert_true(in_doubt()); /* where tokens are from now on */
    close(fd);
    fd = come();
    assert_true(dropped);
    dropped = false;
    close(fd);
    until(&went, before + 2);
    fd = come(); /* all was read of that one */
    assert_false(dropped);
    close(fd);
    until(&went, before + 3);
}

/* Another worker is there before the nonsense of the one before has been looked at. */
static void test_replaced(void **state) {
    int fd = come();

    assert_int_equal(local_send(fd, "\xff\xff\xff", 3, -1), 0);
    int next = come();
    assert_true(dropped);
    close(fd);
    close(next);
}

/* Where the token is said to be gone before it is given; it is killed with the word in its queue.
 */
static void test_token_untold(void **state) {
    static const struct mailfs_id id = {{1}};
    static uint8_t buf[LOCAL_PACKET_MAX];
    unsigned before = went;
    int fd = come();

    front_token_hint(v.front, &id, false);
    assert_false(in_doubt());
    while (v.front->queue == NULL)
        front_token_hint(v.front, &id, true);
    assert_false(in_doubt());
    front_token_hint(v.front, &id, false);
    assert_true(in_doubt());
    while (v.front->queue != NULL) {
        assert_true(local_recv(fd, buf, sizeof buf, NULL) > 0);
        event_base_loop(engine.evb, EVLOOP_NONBLOCK);
    }
    assert_false(in_doubt());
    close(fd);
    until(&went, before + 1);
    close(doubt);
    doubt = -1;
}

/* May a job write that was begun while this mailfs was there, when it has gone? */
static int after_it_went(void) {
    unsigned before = went;
    int fd = come();

    asks_enter(v.asks, asks_now(v.asks));
    assert_int_equal(asks_still(), 0);
    close(fd);
    until(&went, before + 1);
    int r = asks_still();
    asks_enter(NULL, (struct asks_at){0});
    return r;
}

/* Without a peer it asks for L all the same, for the one-way links; and gives it by itself then.
 * With a peer that it was started without it asks nobody, so no job is begun as if it did. */
static void test_asks(void **state) {
    struct conf_peer peer = {.name = name};

    no_peer = true;
    assert_int_equal(after_it_went(), -EOWNERDEAD);
    cv.peer = &peer;
    assert_int_equal(after_it_went(), 0);
    no_peer = false;
    assert_int_equal(after_it_went(), -EOWNERDEAD);
    cv.peer = NULL;
    dropped = false;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),        cmocka_unit_test(test_all_was_read),
        cmocka_unit_test(test_given_up),     cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_token_untold), cmocka_unit_test(test_asks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
