/* front: does a mailfs run that is not connected, and is the peer left then? */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "net/local.h"
#include "syncd/base.h"
#include "syncd/contact.h"
#include "syncd/driver.h"
#include "syncd/front_private.h"
#include "syncd/jobs.h"
#include "syncd/oneway_lock.h"
#include "syncd/txn.h"
#include "syncd/volume.h"
#include "util/clock.h"

static char dir[] = "/tmp/mailfs-front-XXXXXX", path[64];
static struct conf_volume cv = {.state = dir};
static struct volume v = {.cv = &cv};
static struct front f = {.v = &v};
static int lock = -1;

static unsigned ends; /* of connections */
static bool dropped;

/* ---- stubs ------------------------------------------------------------------------- */

bool contact_is_up(const struct volume *volume) {
    return !dropped;
}

void contact_drop(struct volume *volume, const char *reason, bool tell_machine) {
    dropped = true;
}

void base_put_back_forget_all(struct state *st) {
}

void driver_pump(struct volume *volume) {
}

void front_flush(struct front *front) {
}

int front_receive(struct front *front, Mfl__ToSyncd **m, int *passed_fd) {
    return -EPROTO;
}

void front_recent_to_stale(struct front *front) {
}

size_t jobs_pending(const struct jobs *jobs) {
    return 0;
}

void oneway_mailfs_away(struct volume *volume) {
}

void replica_mailfs_away(struct replica *r, uint64_t now) {
    ends++;
}

int state_mark_gen(struct state *st, uint64_t *gen) {
    *gen = 1;
    return 0;
}

void txns_abandon(struct txns *t) {
}

void txns_locks_are(struct txns *t, const struct mailfs_id *dirs, size_t n, bool lost) {
}

void volume_error(struct volume *volume, const char *fmt, ...) {
}

uint64_t volume_now(void) {
    return clock_ms();
}

/* ---- tests ------------------------------------------------------------------------- */

static int setup(void **state) {
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/mailfs.lock", dir);
    return 0;
}

static int teardown(void **state) {
    unlink(path);
    return rmdir(dir);
}

static void never_ran(void **state) {
    assert_false(front_is_apart(&f));
}

static void runs(void **state) {
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_true(dprintf(lock, "%10d\n", (int)getpid()) > 0);
    assert_true(front_is_apart(&f));
}

static struct engine engine;
static char sock[64];

static void serve(void) {
    char err[128];

    engine.evb = event_base_new();
    v.engine = &engine;
    snprintf(sock, sizeof sock, "%s/syncd.sock", dir);
    assert_int_equal(front_open(&v, err, sizeof err), 0);
}

/* What it says makes no sense: it is told so by the end (and more: test_syncd_hello). */
static void makes_no_sense(void **state) {
    unsigned before = ends;
    char c;

    serve();
    int fd = local_connect(sock);
    assert_int_equal(local_send(fd, "\xff\xff\xff", 3, -1), 0);
    assert_int_equal(local_send(fd, "\xff\xff\xff", 3, -1), 0);
    while (ends == before)
        event_base_loop(engine.evb, EVLOOP_ONCE);
    event_base_loop(engine.evb, EVLOOP_NONBLOCK);
    assert_int_equal(local_recv(fd, &c, 1, NULL), 0);
    close(fd);
    front_close(&v);
    event_base_free(engine.evb);
}

/* Again and again, and is never there for long. */
static void comes_and_goes(void **state) {
    uint64_t until = clock_ms() + 5000;

    serve();
    while (!dropped && clock_ms() < until) {
        unsigned before = ends;
        int fd = local_connect(sock);
        assert_true(fd >= 0);
        close(fd);
        while (ends == before)
            event_base_loop(engine.evb, EVLOOP_ONCE);
    }
    front_close(&v);
    event_base_free(engine.evb);
    assert_true(dropped);
}

/* Its pid is a process that is there: this one. */
static void has_ended(void **state) {
    close(lock);
    assert_false(front_is_apart(&f));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_ran),      cmocka_unit_test(runs),
        cmocka_unit_test(makes_no_sense), cmocka_unit_test(comes_and_goes),
        cmocka_unit_test(has_ended),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
