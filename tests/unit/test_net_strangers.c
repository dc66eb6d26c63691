/*
 * test_net_strangers - who may come to the other end, and what becomes of those who may not
 *
 * As in test_net_link; some of the other ends are wrong as ours cannot be.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net_ends.h"
#include "net/listener.h"
#include "util/clock.h"

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

/* ---- the suite -------------------------------------------------------------------- */

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
    };

    return cmocka_run_group_tests(tests, ends_nodes_make, ends_nodes_remove);
}
