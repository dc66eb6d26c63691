/*
 * test_net_link - links and listeners over real sockets on the loopback
 *
 * Each test runs one event loop with both ends in it, until what it waits for has
 * happened or ten seconds have passed, which fails it.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "conf/conf.h"
#include "net/cert.h"
#include "net/link.h"
#include "net/listener.h"
#include "net/tls.h"
#include "util/clock.h"
#include "util/log.h"

#define DEADLINE_MS 10000

/* One end of a connection, and what happened to it. */
struct end {
    struct link *link;
    int up, down, writable;
    enum link_reason reason;
    char text[1024];
    unsigned frames;
    uint64_t bytes;
    char order[4096]; /* first byte of each frame, in order of arrival */
    bool echo;        /* send every frame back as control */
    bool free_in_frame;
    size_t bulk_left; /* bytes still to be sent as bulk, in frames of 64 KiB */
};

static char dirs[3][64];
static struct tls_context *tls[3]; /* 0 and 1 are the pair, 2 is a stranger */
static struct cert_fingerprint fp[3];
static struct event_base *base;
static struct end client, server;
static enum link_reason refused_reason;
static char refused_text[1024];
static int refused;
static bool timed_out;

/* ---- helpers -------------------------------------------------------------------- */

static void on_up(struct link *l, void *arg) {
    struct end *e = arg;

    e->up++;
}

static void send_bulk(struct end *e) {
    static char chunk[64 * 1024];

    memset(chunk, 'B', sizeof(chunk));
    while (e->bulk_left > 0) {
        size_t n = e->bulk_left < sizeof(chunk) ? e->bulk_left : sizeof(chunk);
        int rc = link_send_bulk(e->link, chunk, n);

        if (rc == -EAGAIN)
            return;
        assert_int_equal(rc, 0);
        e->bulk_left -= n;
    }
}

static void on_frame(struct link *l, const uint8_t *data, size_t len, void *arg) {
    struct end *e = arg;

    assert_true(len > 0);
    if (e->frames < sizeof(e->order) - 1)
        e->order[e->frames] = (char)data[0];
    e->frames++;
    e->bytes += len;
    if (e->echo)
        assert_int_equal(link_send(l, data, len), 0);
    if (e->free_in_frame) {
        link_free(l);
        e->link = NULL;
    }
}

static void on_writable(struct link *l, void *arg) {
    struct end *e = arg;

    e->writable++;
    send_bulk(e);
}

static void on_down(struct link *l, enum link_reason reason, const char *text, void *arg) {
    struct end *e = arg;

    e->down++;
    e->reason = reason;
    snprintf(e->text, sizeof(e->text), "%s", text);
}

static const struct link_callbacks callbacks = {on_up, on_frame, on_writable, on_down};

static void on_link(struct link *l, void *arg) {
    struct end *e = arg;

    link_set_callbacks(l, &callbacks, e);
    e->link = l;
    e->up++;
}

static void on_refused(enum link_reason reason, const char *text, void *arg) {
    refused++;
    refused_reason = reason;
    snprintf(refused_text, sizeof(refused_text), "%s", text);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg) {
    timed_out = true;
}

/* Turn the loop until *what reaches n. */
static void run_until(const volatile int *what, int n) {
    struct event *ev = evtimer_new(base, on_timeout, NULL);
    struct timeval tv = {DEADLINE_MS / 1000, 0};

    timed_out = false;
    evtimer_add(ev, &tv);
    while (*what < n && !timed_out)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(ev);
    if (*what < n)
        fail_msg("waited in vain; client: up %d down %d \"%s\", server: up %d down %d \"%s\"",
                 client.up, client.down, client.text, server.up, server.down, server.text);
}

static struct listener *listen_with(struct tls_context *ctx, const struct cert_fingerprint *pin,
                                    unsigned silence_ms, unsigned handshake_ms, struct addr *at) {
    struct link_options opt = {.tls = ctx,
                               .pins = pin,
                               .n_pins = 1,
                               .silence_ms = silence_ms,
                               .handshake_ms = handshake_ms};
    struct listener *ls = NULL;
    struct conf_addr real;
    const char *why;
    char err[256];

    *at = (struct addr){.host = "127.0.0.1", .port = 0};
    if (listener_open(base, at, &opt, on_link, on_refused, &server, &ls, err, sizeof(err)) != 0)
        fail_msg("%s", err);
    assert_int_equal(conf_addr_parse(listener_name(ls), &real, &why), 0);
    at->port = real.port;
    return ls;
}

static void dial(struct tls_context *ctx, const struct cert_fingerprint *pin, unsigned silence_ms,
                 const struct addr *to) {
    struct link_options opt = {.tls = ctx, .pins = pin, .n_pins = 1, .silence_ms = silence_ms};

    assert_int_equal(link_dial(base, to, &opt, &callbacks, &client, &client.link), 0);
}

/* A connected pair with the right pins. */
static struct listener *make_pair(unsigned silence_ms) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], silence_ms, 0, &at);

    dial(tls[0], &fp[1], silence_ms, &at);
    run_until(&client.up, 1);
    assert_int_equal(server.up, 1);
    return ls;
}

static int connect_plain(const struct addr *to) {
    struct addr_socket sock;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(addr_numeric(to, &sock), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sock.sa, sock.len), 0);
    return fd;
}

static int setup(void **state) {
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    refused = 0;
    refused_text[0] = '\0';
    base = event_base_new();
    return base ? 0 : -1;
}

static int teardown(void **state) {
    link_free(client.link);
    link_free(server.link);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}

/* ---- who may come --------------------------------------------------------------- */

static void test_right_pin(void **state) {
    struct listener *ls = make_pair(0);

    assert_true(link_is_up(client.link));
    assert_true(link_is_dialled(client.link));
    assert_false(link_is_dialled(server.link));
    assert_int_equal(link_peer(client.link), 0);
    assert_int_equal(link_send(client.link, "hello", 5), 0);
    server.echo = true;
    run_until((int *)&client.frames, 1);
    assert_int_equal(client.bytes, 5);
    assert_int_equal(client.order[0], 'h');
    assert_int_equal(listener_stats(ls).up, 1);
    assert_int_equal(listener_stats(ls).half_open, 0);
    link_free(client.link);
    client.link = NULL;
    run_until(&server.down, 1);
    assert_int_equal(server.reason, LINK_CLOSED);
    listener_close(ls);
}

static void test_client_expects_another(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);
    char text[CERT_FINGERPRINT_TEXT];

    dial(tls[0], &fp[2], 0, &at);
    run_until(&client.down, 1);
    assert_int_equal(client.up, 0);
    assert_int_equal(client.reason, LINK_WRONG_PEER);
    cert_fingerprint_format(&fp[1], text);
    assert_non_null(strstr(client.text, text));
    cert_fingerprint_format(&fp[2], text);
    assert_non_null(strstr(client.text, text));
    run_until(&refused, 1);
    assert_int_equal(refused_reason, LINK_NOT_TRUSTED);
    listener_close(ls);
}

static void test_server_expects_another(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);
    char text[CERT_FINGERPRINT_TEXT];

    dial(tls[2], &fp[1], 0, &at);
    run_until(&client.down, 1);
    assert_int_equal(client.up, 0);
    assert_int_equal(client.reason, LINK_NOT_TRUSTED);
    cert_fingerprint_format(&fp[2], text);
    assert_non_null(strstr(client.text, text));
    run_until(&refused, 1);
    assert_int_equal(server.up, 0);
    assert_int_equal(refused_reason, LINK_WRONG_PEER);
    listener_close(ls);
}

static void test_nobody_listens(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);

    listener_close(ls);
    dial(tls[0], &fp[1], 0, &at);
    assert_int_equal(client.down, 0); /* never from within link_dial */
    run_until(&client.down, 1);
    assert_int_equal(client.reason, LINK_REFUSED);
    assert_non_null(strstr(client.text, "Connection refused"));
}

static void test_name_is_looked_up(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);

    strcpy(at.host, "localhost");
    dial(tls[0], &fp[1], 0, &at);
    run_until(&client.up, 1);
    listener_close(ls);
}

static void test_freed_while_looked_up(void **state) {
    struct addr at = {.host = "name.invalid", .port = 1};

    dial(tls[0], &fp[1], 0, &at);
    link_free(client.link);
    client.link = NULL;
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_int_equal(client.down, 0);
}

/* A blocking TLS client in a thread, to be as wrong as ours cannot be. */
struct foreign {
    struct addr to;
    int version;      /* the only TLS version it speaks */
    const char *alpn; /* wire form, or NULL */
    const char *dir;  /* of its certificate, or NULL */
    const char *send; /* once the link is up: four raw bytes */
    unsigned long error;
};

static SSL_CTX *foreign_context(const struct foreign *f) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    char path[256];

    SSL_CTX_set_min_proto_version(ctx, f->version);
    SSL_CTX_set_max_proto_version(ctx, f->version);
    if (f->alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)f->alpn, (unsigned)strlen(f->alpn));
    if (f->dir) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, CERT_CERT_FILE);
        SSL_CTX_use_certificate_file(ctx, path, SSL_FILETYPE_PEM);
        snprintf(path, sizeof(path), "%s/%s", f->dir, CERT_KEY_FILE);
        SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM);
    }
    return ctx;
}

static void *foreign_client(void *arg) {
    struct foreign *f = arg;
    SSL_CTX *ctx = foreign_context(f);
    SSL *ssl = SSL_new(ctx);
    int fd = connect_plain(&f->to);
    char bytes[4];

    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1 || SSL_read(ssl, bytes, 4) != 4)
        f->error = ERR_get_error();
    else if (f->send)
        SSL_write(ssl, f->send, 4);
    while (!f->error && SSL_read(ssl, bytes, 4) > 0)
        ;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return NULL;
}

static void expect_refusal(struct foreign f, enum link_reason reason, const char *word) {
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &f.to);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, foreign_client, &f), 0);
    run_until(&refused, 1);
    event_base_loop(base, EVLOOP_NONBLOCK); /* the socket is closed a turn later */
    pthread_join(thread, NULL);
    if (refused_reason != reason || !strstr(refused_text, word))
        fail_msg("reason %s, text \"%s\"", link_reason_word(refused_reason), refused_text);
    assert_true(f.error != 0);
    assert_int_equal(server.up, 0);
    listener_close(ls);
}

static void test_no_certificate(void **state) {
    expect_refusal((struct foreign){.version = TLS1_3_VERSION, .alpn = "\x08mailfs/1"},
                   LINK_NO_CERTIFICATE, "no certificate");
}

static void test_tls12(void **state) {
    expect_refusal(
        (struct foreign){.version = TLS1_2_VERSION, .alpn = "\x08mailfs/1", .dir = dirs[0]},
        LINK_VERSION, "TLS 1.3");
}

static void test_other_version(void **state) {
    expect_refusal(
        (struct foreign){.version = TLS1_3_VERSION, .alpn = "\x08mailfs/9", .dir = dirs[0]},
        LINK_VERSION, "mailfs/9");
}

static void test_no_alpn(void **state) {
    expect_refusal((struct foreign){.version = TLS1_3_VERSION, .dir = dirs[0]}, LINK_VERSION,
                   "version");
}

/* ---- what strangers send --------------------------------------------------------- */

static void test_garbage(void **state) {
    static const char *const samples[] = {"GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\xff\xff garbage",
                                          "SSH-2.0-OpenSSH_9.2\r\n",
                                          "\x80\x80\x80\x80\x80\x80\x80\x80"};
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        int fd = connect_plain(&at);

        assert_true(write(fd, samples[i], strlen(samples[i])) > 0);
        run_until(&refused, (int)i + 1);
        if (refused_reason != LINK_GARBAGE)
            fail_msg("sample %zu: %s, \"%s\"", i, link_reason_word(refused_reason), refused_text);
        close(fd);
    }
    /* and the peer still gets in */
    dial(tls[0], &fp[1], 0, &at);
    run_until(&client.up, 1);
    listener_close(ls);
}

static void test_port_scan(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &at);

    for (int i = 0; i < 200; i++) {
        close(connect_plain(&at));
        event_base_loop(base, EVLOOP_NONBLOCK); /* the backlog is shorter than the scan */
    }
    run_until(&refused, 200);
    assert_int_equal(listener_stats(ls).half_open, 0);
    dial(tls[0], &fp[1], 0, &at);
    run_until(&client.up, 1);
    listener_close(ls);
}

static void test_slow_loris(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 300, &at);
    uint64_t begin = clock_ms();
    int fd = connect_plain(&at);

    assert_int_equal(write(fd, "\x16\x03\x01", 3), 3);
    run_until(&refused, 1);
    assert_int_equal(refused_reason, LINK_TIMEOUT);
    assert_in_range(clock_ms() - begin, 250, 3000);
    close(fd);
    listener_close(ls);
}

static void test_half_open_are_bounded(void **state) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 60000, &at);
    int fds[LISTENER_HALF_OPEN * 3];
    const int n = (int)(sizeof(fds) / sizeof(fds[0]));

    for (int i = 0; i < n; i++)
        fds[i] = connect_plain(&at);
    run_until(&refused, n - LISTENER_HALF_OPEN);
    assert_int_equal(listener_stats(ls).half_open, LISTENER_HALF_OPEN);
    assert_int_equal(listener_stats(ls).displaced, n - LISTENER_HALF_OPEN);
    dial(tls[0], &fp[1], 0, &at);
    run_until(&client.up, 1);
    for (int i = 0; i < n; i++)
        close(fds[i]);
    listener_close(ls);
}

/* ---- frames ---------------------------------------------------------------------- */

/* An authenticated peer that frames wrongly: our own TLS, hand-made bytes. */
static void test_oversize(void **state) {
    struct foreign f = {.version = TLS1_3_VERSION,
                        .alpn = "\x08mailfs/1",
                        .dir = dirs[0],
                        .send = "\x00\x10\x00\x01"}; /* 1 MiB and a byte */
    struct listener *ls = listen_with(tls[1], &fp[0], 0, 0, &f.to);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, foreign_client, &f), 0);
    run_until(&server.down, 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    pthread_join(thread, NULL);
    assert_int_equal(server.reason, LINK_OVERSIZE);
    assert_non_null(strstr(server.text, "1048577"));
    listener_close(ls);
}

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

static int make_nodes(void **state) {
    char err[256];

    for (int i = 0; i < 3; i++) {
        strcpy(dirs[i], "/tmp/mailfs-test-net.XXXXXX");
        if (!mkdtemp(dirs[i]))
            return -1;
        if (cert_create(dirs[i], "node", err, sizeof(err)) != 0 ||
            tls_open(dirs[i], &tls[i], err, sizeof(err)) != 0) {
            print_error("%s\n", err);
            return -1;
        }
        fp[i] = *tls_fingerprint(tls[i]);
    }
    log_set_level(LOG_LVL_ERROR);
    return 0;
}

static int remove_nodes(void **state) {
    char path[256];

    for (int i = 0; i < 3; i++) {
        tls_close(tls[i]);
        snprintf(path, sizeof(path), "%s/%s", dirs[i], CERT_KEY_FILE);
        unlink(path);
        snprintf(path, sizeof(path), "%s/%s", dirs[i], CERT_CERT_FILE);
        unlink(path);
        rmdir(dirs[i]);
    }
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_right_pin),
        T(test_client_expects_another),
        T(test_server_expects_another),
        T(test_nobody_listens),
        T(test_name_is_looked_up),
        T(test_freed_while_looked_up),
        T(test_no_certificate),
        T(test_tls12),
        T(test_other_version),
        T(test_no_alpn),
        T(test_garbage),
        T(test_port_scan),
        T(test_slow_loris),
        T(test_half_open_are_bounded),
        T(test_oversize),
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

    return cmocka_run_group_tests(tests, make_nodes, remove_nodes);
}
