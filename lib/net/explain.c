/*
 * NAME
 *	explain - from error codes to sentences
 *
 * DESCRIPTION
 *	An administrator who has set up a pair sees these texts in the log and in
 *	mailfsctl status, so each says what is wrong and, where it can, on which
 *	node and what to compare.
 *
 * DIAGNOSTICS
 *	This is where they come from.
 */
#include "net/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

/* Reasons that OpenSSL gives to alerts received: 1000 + number (RFC 8446, section 6). */
#define ALERT(n)                      (SSL_AD_REASON_OFFSET + (n))
#define ALERT_CERTIFICATE_REQUIRED    116
#define ALERT_NO_APPLICATION_PROTOCOL 120

#define SAY(...) snprintf(text, size, __VA_ARGS__)

static enum link_reason wrong_peer(const char *name, const struct tls_peer *peer, char *text,
                                   size_t size) {
    char seen[CERT_FINGERPRINT_TEXT], expected[CERT_FINGERPRINT_TEXT];

    cert_fingerprint_format(&peer->fingerprint, seen);
    cert_fingerprint_format(&peer->pins[0], expected);
    SAY("%s: wrong fingerprint: seen %s, expected %s%s", name, seen, expected,
        peer->n_pins > 1 ? " or another configured one" : "");
    return LINK_WRONG_PEER;
}

static enum link_reason not_trusted(const char *name, const struct cert_fingerprint *own,
                                    char *text, size_t size) {
    char ours[CERT_FINGERPRINT_TEXT];

    cert_fingerprint_format(own, ours);
    SAY("%s: the peer refused our certificate; the fingerprint in its configuration should be %s",
        name, ours);
    return LINK_NOT_TRUSTED;
}

static enum link_reason wrong_version(const char *name, const struct tls_peer *peer, char *text,
                                      size_t size) {
    if (peer->offered[0])
        SAY("%s: other protocol version: the peer speaks %s, we speak %s", name, peer->offered,
            TLS_ALPN);
    else
        SAY("%s: other protocol version: the peer does not speak %s", name, TLS_ALPN);
    return LINK_VERSION;
}

static enum link_reason no_tls13(const char *name, char *text, size_t size) {
    SAY("%s: the peer does not speak TLS 1.3", name);
    return LINK_VERSION;
}

/* Bytes that no TLS implementation would have sent. */
static bool is_garbage(int reason) {
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_RECORD_TOO_SMALL:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_LENGTH_TOO_LONG:
    case SSL_R_BAD_LENGTH:
    case SSL_R_BAD_EXTENSION:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_BAD_PROTOCOL_VERSION_NUMBER:
#ifdef SSL_R_RECORD_LAYER_FAILURE /* OpenSSL 3.2 and later say only this of a bad length */
    case SSL_R_RECORD_LAYER_FAILURE:
#endif
        return true;
    default:
        return false;
    }
}

static enum link_reason explain_handshake(int reason, const char *name, const struct tls_peer *peer,
                                          const struct cert_fingerprint *own, char *text,
                                          size_t size) {
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return wrong_peer(name, peer, text, size);
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        SAY("%s: the peer showed no certificate", name);
        return LINK_NO_CERTIFICATE;
    case ALERT(SSL_AD_BAD_CERTIFICATE):
    case ALERT(SSL_AD_CERTIFICATE_UNKNOWN):
    case ALERT(SSL_AD_UNKNOWN_CA):
    case ALERT(SSL_AD_ACCESS_DENIED):
    case ALERT(ALERT_CERTIFICATE_REQUIRED):
        return not_trusted(name, own, text, size);
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case ALERT(ALERT_NO_APPLICATION_PROTOCOL):
        return wrong_version(name, peer, text, size);
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case ALERT(SSL_AD_PROTOCOL_VERSION):
        return no_tls13(name, text, size);
    default:
        SAY("%s: no TLS handshake: garbage instead of TLS", name);
        return is_garbage(reason) ? LINK_GARBAGE : LINK_TLS;
    }
}

enum link_reason explain_tls(unsigned long code, const char *name, const struct tls_peer *peer,
                             const struct cert_fingerprint *own, bool up, char *text, size_t size) {
    int reason = ERR_GET_REASON(code);
    const char *words = ERR_reason_error_string(code);
    enum link_reason r;

    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return explain_socket(0, name, up, text, size);
    /* Of our own alert and of its cause, the certificate's is the one to tell. */
    if (peer->seen && peer->matched < 0)
        return wrong_peer(name, peer, text, size);
    r = explain_handshake(reason, name, peer, own, text, size);
    if (r == LINK_TLS)
        SAY("%s: TLS error: %s", name, words ? words : "unknown");
    return r;
}

enum link_reason explain_socket(int error, const char *name, bool up, char *text, size_t size) {
    switch (error) {
    case 0:
    case ECONNRESET:
    case EPIPE:
        SAY("%s: the peer closed the connection%s%s", name, up ? "" : " during the handshake",
            error ? " (reset)" : "");
        return LINK_CLOSED;
    case ETIMEDOUT:
        SAY("%s: %s", name, up ? "the peer does not answer any more" : "connection timed out");
        return up ? LINK_SILENT : LINK_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        SAY("%s: %s", name, strerror(error));
        return up ? LINK_ERROR : LINK_REFUSED;
    default:
        SAY("%s: %s", name, strerror(error));
        return LINK_ERROR;
    }
}
