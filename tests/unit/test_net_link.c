/*
 * test_net_link - links over real sockets on the loopback: frames, and silence
 *
 * Each test runs one event loop with both ends in it, until what it waits for has
 * happened or ten seconds have passed, which fails it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net_ends.h"
#include "net/listener.h"
#include "util/clock.h"

/* ---- frames ---------------------------------------------------------------------- */

static void test_send_limits(void **state) {
    struct listener *ls = make_pair(0);
    char *big = calloc(1, LINK_FRAME_MAX + 1);

    assert_int_equal(link_send(client.link, big, LINK_FRAME_MAX + 1), -EMSGSIZE);
    assert_int_equal(link_send_bulk(client.link, big, LINK_FRAME_MAX + 1), -EMSGSIZE);
    assert_int_equal(link_send(client.link, big, 0), -EMSGSIZE);
    assert_int_equal(link_send(client.link, big, LINK_FRAME_MAX), 0);
    run_until((int *)&server.frames, 1);
    assert_int_equal(server.bytes, LINK_FRAME_MAX);
    link_read(server.link, false);
    for (unsigned i = 0; i < LINK_CONTROL_MAX / LINK_FRAME_MAX - 1; i++)
        assert_int_equal(link_send(client.link, big, LINK_FRAME_MAX), 0);
    assert_int_equal(link_send(client.link, big, LINK_FRAME_MAX), -ENOBUFS);
    free(big);
    listener_close(ls);
}

static void test_many_frames_in_order(void **state) {
    struct listener *ls = make_pair(0);
    char frame[32];

    for (unsigned i = 0; i < 4000; i++) {
        memset(frame, 'a' + (int)(i % 26), sizeof(frame));
        assert_int_equal(link_send(client.link, frame, 1 + i % sizeof(frame)), 0);
    }
    run_until((int *)&server.frames, 4000);
    for (unsigned i = 0; i < 4000; i++)
        assert_int_equal(server.order[i], 'a' + (int)(i % 26));
    listener_close(ls);
}

static void test_big_transfer(void **state) {
    struct listener *ls = make_pair(0);
    const uint64_t total = 64u << 20;

    client.bulk_left = total;
    send_bulk(&client);
    assert_true(client.bulk_left > 0); /* backpressure was felt */
    assert_true(link_queued(client.link) <= LINK_BULK_MAX + LINK_BULK_INFLIGHT + 4 * 64);
    run_until((int *)&server.frames, (int)(total / 65536));
    assert_int_equal(server.bytes, total);
    assert_true(client.writable > 0);
    assert_int_equal(client.bulk_left, 0);
    listener_close(ls);
}

static void test_control_overtakes_bulk(void **state) {
    struct listener *ls = make_pair(0);
    char *at;

    client.bulk_left = 25u << 20;
    send_bulk(&client);
    assert_int_equal(link_send(client.link, "T", 1), 0);
    run_until((int *)&server.frames, 64);
    at = memchr(server.order, 'T', server.frames);
    assert_non_null(at);
    /* at most what had been handed to TLS before it */
    assert_true(at - server.order <= LINK_BULK_INFLIGHT / 65536);
    listener_close(ls);
}

/* A token sent while a slow reader has filled every buffer still goes before the waiting bulk. */
static void test_control_overtakes_stalled_bulk(void **state) {
    struct listener *ls = make_pair(0);
    char *at;
    int settled = 0;

    link_read(server.link, false);
    client.bulk_left = 25u << 20;
    send_bulk(&client);
    for (size_t before = 0; settled < 50;) { /* until nothing moves any more */
        event_base_loop(base, EVLOOP_NONBLOCK);
        settled = before == client.bulk_left + link_queued(client.link) ? settled + 1 : 0;
        before = client.bulk_left + link_queued(client.link);
    }
    assert_true(client.bulk_left > 0);
    assert_int_equal(link_send(client.link, "T", 1), 0);
    link_read(server.link, true);
    run_until((int *)&server.frames, (25 << 20) / 65536 + 1);
    at = memchr(server.order, 'T', server.frames);
    assert_non_null(at);
    /* the receive buffer of the kernel may hold a few MiB; the 25 are not in it */
    assert_true(at - server.order < 200);
    listener_close(ls);
}

static void test_freed_in_on_frame(void **state) {
    struct listener *ls = make_pair(0);

    server.free_in_frame = true;
    for (int i = 0; i < 10; i++)
        assert_int_equal(link_send(client.link, "x", 1), 0);
    run_until(&client.down, 1);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.down, 0);
    listener_close(ls);
}

static void test_polite_close_delivers(void **state) {
    struct listener *ls = make_pair(0);

    client.bulk_left = 1u << 20;
    send_bulk(&client);
    assert_int_equal(link_send(client.link, "bye", 3), 0);
    link_close(client.link, 5000);
    assert_int_equal(link_send(client.link, "x", 1), -ENOTCONN);
    run_until(&server.down, 1);
    run_until(&client.down, 1);
    assert_int_equal(server.reason, LINK_CLOSED);
    assert_int_equal(server.bytes, (1u << 20) + 3);
    listener_close(ls);
}

/* ---- silence --------------------------------------------------------------------- */

static void test_signs_of_life(void **state) {
    struct listener *ls = make_pair(600);
    uint64_t begin = clock_ms();

    while (clock_ms() - begin < 1500 && !client.down && !server.down)
        event_base_loop(base, EVLOOP_ONCE);
    assert_int_equal(client.down, 0);
    assert_int_equal(server.down, 0);
    assert_int_equal(client.frames + server.frames, 0); /* not shown */
    listener_close(ls);
}

/* A peer that is connected and says nothing: one that was not told to send signs of life. */
static void test_silent_peer(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);
    uint64_t begin;

    dial(tls[0], &fp[1], 600, &at);
    run_until(&client.up, 1);
    begin = clock_ms();
    run_until(&client.down, 1);
    assert_int_equal(client.reason, LINK_SILENT);
    assert_in_range(clock_ms() - begin, 550, 2000);
    listener_close(ls);
}

/* ---- the suite -------------------------------------------------------------------- */

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_send_limits),
        T(test_many_frames_in_order),
        T(test_big_transfer),
        T(test_control_overtakes_bulk),
        T(test_control_overtakes_stalled_bulk),
        T(test_freed_in_on_frame),
        T(test_polite_close_delivers),
        T(test_signs_of_life),
        T(test_silent_peer),
    };

    return cmocka_run_group_tests(tests, ends_nodes_make, ends_nodes_remove);
}
