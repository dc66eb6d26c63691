/* What a peer fetches: so many are open for it, and no more; and no disk keeps the loop waiting. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "syncd/contact_int.h"
#include "syncd/jobs.h"
#include "syncd/link_peer.h"
#include "syncd/volume.h"
#include "syncd/xfer.h"
#include "syncd_pair.h"

#define LONG (3 * XFER_PART)

static char volume_name[] = "mail", message[] = "1.M1.a";
static struct conf_peer other = {.compress = CONF_COMPRESS_OFF};
static const struct conf_volume cv = {.name = volume_name, .peer = &other};

static struct pair p;
static struct engine engine;
static struct contact nobody; /* whatever is sent finds no connection */
static struct volume v;
static struct mailfs_id root;

static pthread_t loop;
static atomic_uint in_loop, in_workers;
static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER; /* as long as it is locked it is slow */

/* In place of the library's: who reads parts. */
ssize_t pread(int fd, void *to, size_t n, off_t at) {
    static ssize_t (*real)(int, void *, size_t, off_t);

    if (!real)
        real = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    if (n >= XFER_PART)
        atomic_fetch_add(pthread_equal(pthread_self(), loop) ? &in_loop : &in_workers, 1);
    if (n >= XFER_PART && !pthread_equal(pthread_self(), loop)) {
        pthread_mutex_lock(&disk);
        pthread_mutex_unlock(&disk);
    }
    return real(fd, to, n, at);
}

static int setup(void **state) {
    root = mailfs_id_root;
    loop = pthread_self();
    stores_open(&p);
    engine = (struct engine){.evb = event_base_new()};
    assert_int_equal(workq_new(2, 1000, &engine.disk), 0);
    assert_int_equal(workq_new(2, 1000, &engine.io), 0);
    nobody = (struct contact){.v = &v};
    v = (struct volume){.cv = &cv, .engine = &engine, .state = p.a.st, .contact = &nobody};
    v.jobs = jobs_new(engine.disk, 1);
    v.peer = peer_new(&v);
    v.xfers = xfers_new(&v);
    return 0;
}

static void settle(void) {
    while (jobs_pending(v.jobs) > 0)
        workq_drain(engine.disk);
    workq_drain(engine.io);
}

static int teardown(void **state) {
    settle();
    xfers_free(v.xfers);
    peer_free(v.peer);
    jobs_free(v.jobs);
    workq_free(engine.io);
    workq_free(engine.disk);
    event_base_free(engine.evb);
    stores_close(&p);
    return 0;
}

static int ask(uint64_t number) {
    Mfp__Fetch fetch = MFP__FETCH__INIT;

    fetch.dir = (ProtobufCBinaryData){sizeof root.b, root.b};
    fetch.sub = MFP__SUB__CUR;
    fetch.name = message;
    fetch.by_base = true;
    fetch.xfer = number;
    return xfer_receive_fetch(v.xfers, &fetch);
}

static void test_too_many_at_a_time(void **state) {
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < XFER_SERVED_MAX; i++)
            assert_int_equal(ask(i), 0);
        assert_int_equal(ask(XFER_SERVED_MAX), -EPROTO);
        xfer_disconnected(v.xfers); /* another connection may ask again */
    }
    settle();
    assert_int_equal(ask(0), 0);
    xfer_disconnected(v.xfers);
}

static void put_long(void) {
    char *text = malloc(LONG + 1);

    assert_non_null(text);
    memset(text, 'x', LONG);
    text[LONG] = '\0';
    fs_mkdir(&p.a, "new");
    fs_write(&p.a, "new/1.M1.a", text);
    free(text);
}

/* Its first part is ready before its turn, also when the link is full; and it may end at any time.
 */
static void test_read_by_a_worker(void **state) {
    put_long();
    assert_int_equal(ask(1), 0);
    settle();
    assert_int_equal(atomic_load(&in_loop), 0);
    assert_int_equal(atomic_load(&in_workers), 1);
    xfer_writable(v.xfers); /* in vain: what has been read is kept */
    settle();
    assert_int_equal(atomic_load(&in_loop), 0);
    assert_int_equal(atomic_load(&in_workers), 1);
    assert_int_equal(ask(2), 0);
    while (jobs_pending(v.jobs) > 0)
        workq_drain(engine.disk);
    xfer_disconnected(v.xfers); /* while it is being read */
    settle();
    assert_int_equal(atomic_load(&in_loop), 0);
}

/* What waits to be read when the connection ends is not: the next one would wait for that. */
static void test_not_read_for_nobody(void **state) {
    put_long();
    unsigned before = atomic_load(&in_workers);
    pthread_mutex_lock(&disk);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(ask(i), 0);
    while (jobs_pending(v.jobs) > 0)
        workq_drain(engine.disk);
    while (atomic_load(&in_workers) == before)
        sched_yield();
    xfer_disconnected(v.xfers);
    pthread_mutex_unlock(&disk);
    settle();
    assert_int_equal(atomic_load(&in_workers), before + 1);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {T(test_too_many_at_a_time), T(test_read_by_a_worker),
                                       T(test_not_read_for_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
