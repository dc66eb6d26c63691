/*
 * tls - what OpenSSL has to know: TLS 1.3 only, both ends show a certificate,
 * the pinned fingerprint decides, ALPN names the protocol version.
 *
 * A context belongs to one volume and is used for both directions. It must
 * outlive all links and listeners made with it. Loop thread only.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stddef.h>

#include "net/cert.h"

/*
 * The version of the wire protocol, offered as ALPN identifier (RFC 7301). Peers
 * with different ones refuse each other in words instead of misreading frames.
 */
#define TLS_ALPN "mailfs/1"

struct tls_context;
struct ssl_st;

/*
 * Load key and certificate from the state directory `dir` and set up a context.
 * Refuses a key file that others may read (-EPERM). Ignores SIGPIPE for the
 * whole process, since the TLS library writes with plain write(2).
 * 0, or negative errno with a sentence in err.
 */
int tls_open(const char *dir, struct tls_context **out, char *err, size_t errsize);
void tls_close(struct tls_context *tls);

/* Our own fingerprint; valid as long as the context. */
const struct cert_fingerprint *tls_fingerprint(const struct tls_context *tls);

/* --- for lib/net itself --------------------------------------------------- */

/* What one handshake found out; lives in the link, referenced by its SSL. */
struct tls_peer {
    const struct cert_fingerprint *pins; /* accepted ones; owned by the link */
    size_t n_pins;
    int matched;                         /* index into pins, or -1 */
    int seen;                            /* the peer showed a certificate */
    struct cert_fingerprint fingerprint; /* of that one */
    char offered[64];                    /* ALPN offered when none fitted, printable */
};

/* New SSL for one connection; `peer` must outlive it. NULL when out of memory. */
struct ssl_st *tls_new(struct tls_context *tls, int is_server, struct tls_peer *peer);

/*
 * After a completed handshake: 0 when version and certificate are as required,
 * otherwise -EPROTO (ALPN) or -EACCES (certificate). TLS itself has already
 * refused a wrong certificate; this is the second lock on the same door.
 */
int tls_check(const struct ssl_st *ssl, const struct tls_peer *peer);

#endif
