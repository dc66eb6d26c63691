#ifndef MAILFS_UPCALL_H
#define MAILFS_UPCALL_H

/*
 * The connection to syncd: a queue of outgoing packets, and who waits for which answer.
 *
 * No function here waits for syncd. Packets leave in the order of the calls. Without syncd nothing
 * is queued: what changes then is known by the marks, and syncd is told that it missed something
 * (Lost) when it is back. Only at the start, while a first connection is still hoped for (the
 * peer's timeout, once), what is told and asked is kept for it.
 *
 * Memory: at most UPCALL_QUEUE_PACKETS packets or UPCALL_QUEUE_BYTES. A syncd that is so far behind
 * is as good as gone: the connection is ended, and the next one begins with what is true then
 * (Hello). Any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "wire/local.pb-c.h"

#define UPCALL_QUEUE_PACKETS 131072u
#define UPCALL_QUEUE_BYTES   (32u << 20)

struct upcall_answer {
    bool alone;         /* syncd is not there: the others say nothing */
    bool only_here;     /* Release: the other node does not have it */
    int err;            /* 0 or a positive errno */
    uint32_t raise;     /* Grant */
    const char *holder; /* Grant; valid during the call */
};

/*
 * Called once for each question: by the thread that hears the answers, or with the connection's
 * lock held, so it must neither block nor call upcall_tell() or upcall_ask(). now: from within
 * upcall_ask(), which returns false then.
 */
typedef void upcall_fn(void *arg, const struct upcall_answer *a, bool now);

int upcall_init(const char *state_dir);

/* Answers all questions as alone and ends the connection. */
void upcall_stop(void);

void upcall_tell(const Mfl__ToSyncd *m);

/*
 * A change was made that could not be told (no memory, no descriptor): as good as a dropped packet.
 */
void upcall_lost(void);

/* A number for a question: to be put into the message, and given to upcall_ask(). */
uint64_t upcall_number(void);

/* fd goes along; it is taken over in every case. -1: none. false: answered already, alone. */
bool upcall_ask(const Mfl__ToSyncd *m, uint64_t number, int fd, upcall_fn *fn, void *arg);

/* Where blocking work on behalf of answers is done. Jobs have no done(). Lanes are addresses, or:
 */
#define UPCALL_LANE_GENERATION 1
struct workq;
struct workq *upcall_queue(void);

#endif
