/* Two ends of a connection; see net_ends.h. */
#include "net_ends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "net/listener.h"
#include "util/log.h"

char dirs[3][64];
struct tls_context *tls[3]; /* 0 and 1 are the pair, 2 is a stranger */
struct cert_fingerprint fp[3];
struct event_base *base;
struct end client, server;
enum link_reason refused_reason;
char refused_text[1024];
int refused;
static bool timed_out;

static void on_up(struct link *l, void *arg) {
    struct end *e = arg;

    e->up++;
}

void send_bulk(struct end *e) {
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

void run_until(const volatile int *what, int n) {
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

struct listener *listen_with(struct tls_context *ctx, const struct cert_fingerprint *pin,
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

void dial(struct tls_context *ctx, const struct cert_fingerprint *pin, unsigned silence_ms,
          const struct addr *to) {
    struct link_options opt = {.tls = ctx, .pins = pin, .n_pins = 1, .silence_ms = silence_ms};

    assert_int_equal(link_dial(base, to, &opt, &callbacks, &client, &client.link), 0);
}

struct listener *make_pair(unsigned silence_ms) {
    struct addr at;
    struct listener *ls = listen_with(tls[1], &fp[0], silence_ms, 0, &at);

    dial(tls[0], &fp[1], silence_ms, &at);
    run_until(&client.up, 1);
    assert_int_equal(server.up, 1);
    return ls;
}

int connect_plain(const struct addr *to) {
    struct addr_socket sock;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(addr_numeric(to, &sock), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sock.sa, sock.len), 0);
    return fd;
}

int ends_setup(void **state) {
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    refused = 0;
    refused_text[0] = '\0';
    base = event_base_new();
    return base ? 0 : -1;
}

int ends_teardown(void **state) {
    link_free(client.link);
    link_free(server.link);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}

int ends_nodes_make(void **state) {
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

int ends_nodes_remove(void **state) {
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
