/*
 * cert - this node's key and certificate, and fingerprints of certificates.
 *
 * A node is known to its peer by the SHA-256 of its certificate's DER form and
 * by nothing else: there is no CA, the name and the dates in the certificate
 * mean nothing. Key: Ed25519. Files in the state directory: key.pem (PKCS#8)
 * and cert.pem, both 0600.
 *
 * Text form of a fingerprint, as ssh-keygen(1) prints it: "SHA256:" and 43
 * characters of base64 (RFC 4648, section 4) without padding. lib/conf parses it.
 *
 * All functions may be called from any thread.
 */
#ifndef NET_CERT_H
#define NET_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERT_KEY_FILE  "key.pem"
#define CERT_CERT_FILE "cert.pem"

#define CERT_FINGERPRINT_BYTES 32
#define CERT_FINGERPRINT_TEXT  51 /* "SHA256:", 43 characters, NUL */

struct cert_fingerprint {
    uint8_t sha256[CERT_FINGERPRINT_BYTES];
};

/*
 * Make a key and a self-signed certificate for `node` in the existing directory
 * `dir`. Each file appears whole or not at all and is durable on return.
 * Nothing is ever overwritten: -EEXIST when there is a certificate. A key
 * without certificate (an earlier call cut short) is used, not replaced.
 * 0, or negative errno with a sentence in err.
 */
int cert_create(const char *dir, const char *node, char *err, size_t errsize);

/*
 * Fingerprint of the certificate in dir. 0, -ENOENT when there is none, other
 * negative errno with a sentence in err (always filled on failure).
 */
int cert_fingerprint_load(const char *dir, struct cert_fingerprint *out, char *err, size_t errsize);

/* Write the text form, NUL-terminated. */
void cert_fingerprint_format(const struct cert_fingerprint *fp, char out[CERT_FINGERPRINT_TEXT]);

/* Compare in constant time. */
bool cert_fingerprint_equal(const struct cert_fingerprint *a, const struct cert_fingerprint *b);

/* For lib/net itself: fingerprint of an OpenSSL certificate. 0 or -EIO. */
struct x509_st;
int cert_fingerprint_of(const struct x509_st *cert, struct cert_fingerprint *out);

#endif
