#ifndef SYNCD_LINK_PEER_H
#define SYNCD_LINK_PEER_H

/*
 * The machine's messages as frames of peer.proto, and back. Large transactions, listings, trees and
 * lists of marks go in parts and are put together here, within bounds.
 *
 * Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/replica.h"
#include "wire/peer.pb-c.h"

struct volume;
struct peer;

struct peer *peer_new(struct volume *v);
void peer_free(struct peer *p);

/* Forgets half of what was being received, and what was to be sent: the connection has ended. */
void peer_reset(struct peer *p);

/* Sends one message of the machine's (PREPARE: its body follows as bulk). 0 or -errno. */
int peer_send_msg(struct peer *p, const struct replica_msg *m);

/* Sends any frame on the control stream, or with bulk on the other (-EAGAIN). */
int peer_send_frame(struct peer *p, const Mfp__Frame *frame, bool bulk);

/* A frame of an established connection. 0, or -EPROTO with *why: end the connection. */
int peer_receive(struct peer *p, const uint8_t *data, size_t len, const char **why);

uint64_t peer_rtt_us(const struct peer *p); /* smoothed; 0: not known */
/* Is it a long wire (trip.h)? Not before the first ping has come back; who asks makes it be sent,
 * also while much else is. */
bool peer_is_far(struct peer *p);

#endif
