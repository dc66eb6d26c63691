#ifndef SYNCD_VERIFY_H
#define SYNCD_VERIFY_H

/*
 * Verification: this node and another one look at what they hold, and compare, while they serve:
 * its peer, or, without one, the other ends of its one-way links (verify_all.c). A volume that no
 * other node has is held against its own checksums.
 *
 * A pass goes over the containers in batches. Each node looks at its own store (look.h); of an
 * equal batch only one digest crosses the wire. Where these differ, the containers' digests are
 * compared, then, with content, the checksums of the messages.
 *
 * Loop thread only.
 */

#include "check.h"
#include "look.h"
#include "wire/peer.pb-c.h"

struct volume;
struct verify;

struct verify *verify_new(struct volume *v);
void verify_stop(struct verify *y); /* a pass under way ends, none is begun; NULL is allowed */
void verify_free(struct verify *y); /* with the work queues drained */

/* From the peer. 0 or -EPROTO. */
int verify_receive(struct verify *y, const Mfp__Verify *m);
int verify_answered(struct verify *y, const Mfp__Verified *m);
void verify_disconnected(struct verify *y);

/* What a pass found. */
struct verify_result {
    const char *error;  /* NULL: it was completed */
    bool content, lone; /* lone: there is no other node */
    int64_t at;         /* wall clock, seconds, when it ended; 0: never */
    double seconds;
    uint64_t containers, messages, bytes, problems, mended;
    uint64_t parted;  /* mailboxes that were not compared: CHECK_PARTED */
    uint64_t unknown; /* messages that had no checksum and have one now; without another node */
    const struct check_problem *list;
    size_t n;
};

/*
 * Begins a pass over the containers at or below these paths (below the store); n 0: all. fn, never
 * from within, when it is over.
 */
typedef void verify_fn(void *arg, const struct verify_result *result);
void verify_begin(struct verify *y, struct look_order order, char *const *paths, size_t n,
                  verify_fn *fn, void *arg);

/* Is there somebody to compare with now? Of a volume that has other nodes. */
bool verify_has_partner(const struct verify *y);

/* The last verification of everything that was completed; and the one under way. */
void verify_last(const struct verify *y, struct verify_result *out);
bool verify_running(const struct verify *y, uint64_t *done, uint64_t *all);

#endif
