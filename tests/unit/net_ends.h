#ifndef TESTS_NET_ENDS_H
#define TESTS_NET_ENDS_H

/* Two ends of a connection in one loop, and what happened to each. An error fails the test. */

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "net/addr.h"
#include "net/cert.h"
#include "net/link.h"
#include "net/tls.h"

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

extern char dirs[3][64];           /* where their keys are */
extern struct tls_context *tls[3]; /* 0 and 1 are the pair, 2 is a stranger */
extern struct cert_fingerprint fp[3];
extern struct event_base *base;
extern struct end client, server;
extern enum link_reason refused_reason;
extern char refused_text[1024];
extern int refused;

/* Turn the loop until *what reaches n. */
void run_until(const volatile int *what, int n);

struct listener *listen_with(struct tls_context *ctx, const struct cert_fingerprint *pin,
                             unsigned silence_ms, unsigned handshake_ms, struct addr *at);
void dial(struct tls_context *ctx, const struct cert_fingerprint *pin, unsigned silence_ms,
          const struct addr *to);
struct listener *make_pair(unsigned silence_ms); /* connected, with the right pins */
int connect_plain(const struct addr *to);
void send_bulk(struct end *e); /* what is left of bulk_left, as far as there is room */

int ends_nodes_make(void **state);
int ends_nodes_remove(void **state);
int ends_setup(void **state);
int ends_teardown(void **state);
#define T(f) cmocka_unit_test_setup_teardown(f, ends_setup, ends_teardown)

#endif
