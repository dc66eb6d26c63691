/*
 * netwatch - something of this host's network has changed: a link, an address or a route came or
 * went. Whoever waits before he dials again may as well try now.
 *
 * Loop thread only.
 */
#ifndef NET_NETWATCH_H
#define NET_NETWATCH_H

struct event_base;
struct netwatch;

/* Not what has changed: many things are told more than once, and some concern nobody. */
typedef void netwatch_fn(void *arg);

/* 0 or negative errno: the kernel, or a sandbox, has no such socket. */
int netwatch_open(struct event_base *base, netwatch_fn *fn, void *arg, struct netwatch **out);
void netwatch_close(struct netwatch *w); /* NULL is allowed */

#endif
