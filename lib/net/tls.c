/*
 * NAME
 *	tls - contexts and sessions of OpenSSL as mailfs wants them
 *
 * DESCRIPTION
 *	Verification replaces OpenSSL's chain building altogether: the peer's leaf
 *	certificate is hashed and looked for among the pins; that it has the key
 *	is proved by TLS itself (CertificateVerify). Tickets, resumption and
 *	renegotiation do not exist here, so every connection checks the pin.
 *
 * DIAGNOSTICS
 *	Nothing is logged; what a handshake saw is left in struct tls_peer.
 */
#include "net/tls.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* One leaf of Ed25519 is below 1 KiB; what strangers may make us buffer. */
#define CERT_LIST_MAX (16 * 1024)

struct tls_context {
    SSL_CTX *ctx[2]; /* client, server */
    struct cert_fingerprint own;
};

static const unsigned char alpn_wire[] = "\x08" TLS_ALPN;
_Static_assert(sizeof(alpn_wire) == 1 + 8 + 1, "length byte of the ALPN identifier");

static struct tls_peer *peer_of(const SSL *ssl) {
    return SSL_get_app_data(ssl);
}

/* Instead of X509_verify_cert: 1 when the leaf is pinned. */
static int verify_pin(X509_STORE_CTX *store, void *unused) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct tls_peer *peer = ssl ? peer_of(ssl) : NULL;

    (void)unused;
    if (!peer || !leaf || cert_fingerprint_of(leaf, &peer->fingerprint) != 0) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
        return 0;
    }
    peer->seen = 1;
    peer->matched = -1;
    for (size_t i = 0; i < peer->n_pins; i++)
        if (cert_fingerprint_equal(&peer->pins[i], &peer->fingerprint))
            peer->matched = (int)i;
    if (peer->matched >= 0)
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

/* Keep what a stranger offered, made printable, for the error text. */
static void remember_offer(struct tls_peer *peer, const unsigned char *in, unsigned len) {
    size_t n = 0;

    for (unsigned i = 0; i < len && n < sizeof(peer->offered) - 1;) {
        unsigned end = i + 1 + in[i];

        if (n > 0)
            peer->offered[n++] = ' ';
        for (i++; i < end && i < len && n < sizeof(peer->offered) - 1; i++)
            peer->offered[n++] = in[i] > ' ' && in[i] < 127 ? (char)in[i] : '?';
    }
    peer->offered[n] = '\0';
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                       const unsigned char *in, unsigned inlen, void *unused) {
    unsigned char *chosen;

    (void)unused;
    if (SSL_select_next_proto(&chosen, outlen, alpn_wire, sizeof(alpn_wire) - 1, in, inlen) ==
        OPENSSL_NPN_NEGOTIATED) {
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
    }
    remember_offer(peer_of(ssl), in, inlen);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *make_ctx(const SSL_METHOD *method, const char *key, const char *cert) {
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify_pin, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
        SSL_CTX_set_alpn_protos(ctx, alpn_wire, sizeof(alpn_wire) - 1) == 0 &&
        SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 &&
        SSL_CTX_check_private_key(ctx) == 1)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* A key that others can read is no key: as ssh does, refuse it. */
static int check_key_file(const char *path, char *err, size_t errsize) {
    struct stat st;

    if (stat(path, &st) != 0) {
        int rc = -errno;

        snprintf(err, errsize, "%s: %s", path, strerror(errno));
        return rc;
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        snprintf(err, errsize, "%s: mode %04o lets others read the key; it must be 0600", path,
                 (unsigned)(st.st_mode & 07777));
        return -EPERM;
    }
    return 0;
}

static void describe_openssl(const char *dir, char *err, size_t errsize) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    snprintf(err, errsize, "%s: cannot use %s and %s: %s", dir, CERT_KEY_FILE, CERT_CERT_FILE,
             reason ? reason : "unknown TLS error");
    ERR_clear_error();
}

/* Both contexts, and our own fingerprint out of one. */
static int fill_context(struct tls_context *tls, const char *key, const char *cert) {
    ERR_clear_error();
    tls->ctx[0] = make_ctx(TLS_client_method(), key, cert);
    tls->ctx[1] = tls->ctx[0] ? make_ctx(TLS_server_method(), key, cert) : NULL;
    if (!tls->ctx[1])
        return -EBADMSG;
    return cert_fingerprint_of(SSL_CTX_get0_certificate(tls->ctx[0]), &tls->own);
}

int tls_open(const char *dir, struct tls_context **out, char *err, size_t errsize) {
    char key[4096], cert[4096];
    struct tls_context *tls;
    struct cert_fingerprint own;
    int rc = cert_fingerprint_load(dir, &own, err, errsize);

    if (rc != 0)
        return rc;
    if (snprintf(key, sizeof(key), "%s/%s", dir, CERT_KEY_FILE) >= (int)sizeof(key) ||
        snprintf(cert, sizeof(cert), "%s/%s", dir, CERT_CERT_FILE) >= (int)sizeof(cert)) {
        snprintf(err, errsize, "%s: the path is too long", dir);
        return -ENAMETOOLONG;
    }
    rc = check_key_file(key, err, errsize);
    if (rc != 0)
        return rc;
    tls = calloc(1, sizeof(*tls));
    if (!tls) {
        snprintf(err, errsize, "out of memory");
        return -ENOMEM;
    }
    if (fill_context(tls, key, cert) != 0) {
        describe_openssl(dir, err, errsize);
        tls_close(tls);
        return -EBADMSG;
    }
    signal(SIGPIPE, SIG_IGN);
    *out = tls;
    return 0;
}

void tls_close(struct tls_context *tls) {
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx[0]);
    SSL_CTX_free(tls->ctx[1]);
    free(tls);
}

const struct cert_fingerprint *tls_fingerprint(const struct tls_context *tls) {
    return &tls->own;
}

struct ssl_st *tls_new(struct tls_context *tls, int is_server, struct tls_peer *peer) {
    SSL *ssl = SSL_new(tls->ctx[is_server ? 1 : 0]);

    if (!ssl)
        return NULL;
    peer->matched = -1;
    peer->seen = 0;
    peer->offered[0] = '\0';
    SSL_set_app_data(ssl, peer);
    return ssl;
}

int tls_check(const struct ssl_st *ssl, const struct tls_peer *peer) {
    const unsigned char *alpn = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(ssl, &alpn, &len);
    if (SSL_version(ssl) != TLS1_3_VERSION || len != sizeof(alpn_wire) - 2 ||
        memcmp(alpn, TLS_ALPN, len) != 0)
        return -EPROTO;
    if (!peer->seen || peer->matched < 0)
        return -EACCES;
    return 0;
}
