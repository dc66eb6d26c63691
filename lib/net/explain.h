/*
 * explain - why a connection ended, in words and as a link_reason. For lib/net.
 */
#ifndef NET_EXPLAIN_H
#define NET_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "net/link.h"

/*
 * Explain an OpenSSL error `code` (ERR_get_error) on the connection `name`.
 * `own` is our fingerprint, `up` whether the handshake was over.
 */
enum link_reason explain_tls(unsigned long code, const char *name, const struct tls_peer *peer,
                             const struct cert_fingerprint *own, bool up, char *text, size_t size);

/* Explain a socket error (positive errno; 0 = end of file). */
enum link_reason explain_socket(int error, const char *name, bool up, char *text, size_t size);

#endif
