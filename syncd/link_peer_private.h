#ifndef SYNCD_LINK_PEER_PRIVATE_H
#define SYNCD_LINK_PEER_PRIVATE_H

/* What link_peer_send.c and link_peer_recv.c share. Nobody else includes this. */

#include "trip.h"
#include "link_peer.h"
#include "util/buf.h"

struct event;

/*
 * Bounds of what is put together from parts: a transaction of a hundred thousand messages is some
 * 20 MiB, a listing of a million some 200 MiB.
 */
#define PEER_TXN_MAX     (64u * 1024u * 1024u)
#define PEER_LISTING_MAX (512u * 1024u * 1024u)

/* A control frame that the link had no room for yet. */
struct peer_late {
    struct peer_late *next, *prev;
    size_t len;
    uint8_t data[];
};

/* Frames of one stream come in order, so at most one message of a kind is unfinished. */
struct peer {
    struct volume *v;
    Mfp__Txn *txn;
    Mfp__Listing *listing;
    Mfp__Tree *tree;
    Mfp__Marks *marks;
    size_t txn_bytes, listing_bytes, tree_bytes, marks_bytes;
    uint64_t ping_now; /* to be echoed by the next Pong */
    struct trip trip;
    uint64_t pinged_us; /* when it was last asked; 0: not yet */
    struct buf out;
    struct peer_late *late;
    size_t late_bytes;
    struct event *late_timer;
};

#endif
