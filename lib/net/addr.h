/*
 * addr - socket addresses, and looking names up without blocking. The texts of the
 * configuration are parsed by lib/conf.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netdb.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_HOST_MAX 256 /* with NUL */
#define ADDR_TEXT_MAX 272 /* "[host]:65535" with NUL */

struct addr {
    char host[ADDR_HOST_MAX]; /* name or numeric address, without brackets; "" or "*" = any (to
                                 listen) */
    uint16_t port;            /* host byte order; to listen: 0 = any free one */
};

struct addr_socket {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* "host:port" or "[v6]:port". */
void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
void addr_format_socket(const struct sockaddr *sa, socklen_t len, char out[ADDR_TEXT_MAX]);

/*
 * Socket address of a numeric host, or the IPv4 any-address for "" and "*"
 * ("[::]" is any address of either kind). 0, or -ENOENT when the host is a name.
 * Never blocks.
 */
int addr_numeric(const struct addr *a, struct addr_socket *out);

/* The same for names too, and may block for long: for the start of a program. */
int addr_lookup(const struct addr *a, struct addr_socket *out);

/*
 * Look a name up in a thread of its own, so that a dead name server never holds
 * the loop. cb runs in the loop thread, exactly once unless cancelled, never
 * from within addr_resolve: n addresses (at most ADDR_RESOLVE_MAX), or n = 0
 * and the reason in words. The handle is gone when cb has been called.
 */
#define ADDR_RESOLVE_MAX 8
struct addr_resolve;
struct event_base;
typedef void addr_resolve_cb(const struct addr_socket *found, size_t n, const char *why, void *arg);
int addr_resolve(struct event_base *base, const struct addr *a, addr_resolve_cb *cb, void *arg,
                 struct addr_resolve **out);
void addr_resolve_cancel(struct addr_resolve *r);

#endif
