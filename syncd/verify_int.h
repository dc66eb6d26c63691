#ifndef SYNCD_VERIFY_INT_H
#define SYNCD_VERIFY_INT_H

/* What verify.c, verify_compare.c and verify_serve.c share. Nobody else includes this. */

#include "verify.h"

#define VERIFY_BATCH      64   /* containers looked at for one question and answer */
#define VERIFY_SERVED_MAX 4    /* questions of the peer's at a time */
#define VERIFY_RANGE_MAX  1024 /* containers in a range that is asked about */
#define VERIFY_SUMS       2000 /* in one frame */
#define VERIFY_TRIES      5    /* that digests may differ, a second apart */
#define VERIFY_AGAIN_MS   1000
#define VERIFY_SYNC_TRIES 600

struct serving;
struct pass;

/* What a pass waits for. */
enum pass_step {
    PASS_SYNC,    /* merges to be over */
    PASS_LOOK,    /* both nodes' looks at the batch */
    PASS_DIGESTS, /* both nodes' digests of what differs */
    PASS_SUMS,    /* the other node's checksums of a mailbox */
    PASS_MEND,    /* the other node to repair a message */
};

/* Of a volume, or of one of its one-way links. */
struct verify {
    struct volume *v;
    struct pass *pass;
    struct verify_all *all; /* of a volume: the verification under way */
    struct serving *serving;
    unsigned n_serving;
    uint64_t number; /* of the last question */
    bool stopping;
    struct verify_result last;
    struct verify_plan *plan;
};

/* Checksums of one mailbox, by base name. */
struct sum_entry;
struct sums {
    struct sum_entry *all;
};

/* A pass: what is asked of both nodes now, and what has come. */
struct pass {
    struct verify *y;
    struct look_order order;
    verify_fn *fn;
    void *arg;
    char **paths;
    size_t n_paths;
    uint64_t began_ms;

    struct mailfs_id *dirs; /* all, sorted */
    size_t n, at, batch;    /* the batch begins at `at` */
    _Atomic bool stop;      /* without another node: what reads it is to end */
    int err;
    char error[256];
    bool whole;
    struct check_problems problems;
    size_t before_batch; /* so many of them are of earlier ones */
    struct verify_result result;

    enum pass_step step;
    uint64_t number; /* of the question the peer has not answered yet; 0: none */
    struct look *look;
    bool own, theirs; /* here */
    struct check_digest *own_digests, *their_digests;
    size_t n_own, n_theirs;
    uint8_t their_roll[STATE_DIGEST];

    struct mailfs_id *differ; /* of these the digests are compared */
    size_t n_differ;
    unsigned tries;
    struct event *timer;
    struct mailfs_id *differ_sums; /* of these the checksums */
    size_t n_differ_sums, at_sums;
    struct sums own_sums;
    struct check_problems suspects; /* found by comparing checksums, to be mended */
    size_t at_suspect;
};

/* A pass with the other end of y's link, or with nobody. fn is never called from within. */
void verify_pass(struct verify *y, struct look_order order, char *const *paths, size_t n,
                 verify_fn *fn, void *arg);
/* Why none can begin; NULL: it can. */
const char *verify_pass_refusal(const struct verify *y);
void verify_all_free(struct verify *y);

/*
 * What is damaged on this node may be fetched from the other end. Of a pair anything that the other
 * has; a standby takes all from its source; a source takes from a standby only what cannot be right
 * where it is: what does not fit its own checksum, or cannot be read.
 */
bool verify_may_fetch(const struct volume *v, unsigned kind);
/* What a standby has otherwise than was agreed on with whom it follows is put back. */
bool verify_may_restore(const struct volume *v);
/* The other node's side of it, where the checksums of both were compared. */
bool verify_may_send(const struct volume *v);

/* Sends a question; its number is then the pass's. Else the pass has failed. */
int pass_ask(struct pass *p, Mfp__Verify *m, enum pass_step step);
/* Something of what is waited for is here. */
void pass_arrived(struct pass *p);
/* Has it failed? Then it is gone after this, unless this node's look is still under way. */
bool pass_is_over(struct pass *p);
void pass_batch_next(struct pass *p);
/* What is to be merged of this batch's problems is. */
void pass_merge(struct pass *p);
/* The containers of the batch, for a question; ids are written to what the caller has. */
struct batch_ids {
    struct mailfs_id first, last;
    ProtobufCBinaryData ids[VERIFY_BATCH];
};
void pass_batch_ids(const struct pass *p, struct batch_ids *room, Mfp__Verify *m);

/* verify_compare.c: the digests of a batch differ. Ends in pass_batch_next(). */
void compare_begin(struct pass *p);
void compare_answered(struct pass *p, const Mfp__Verified *m); /* a part of an answer */
void compare_arrived(struct pass *p);
void compare_again(struct pass *p); /* the time has come */
void compare_free(struct pass *p);

void serving_stop(struct verify *y);
void serving_free(struct verify *y);

#endif
