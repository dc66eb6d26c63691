#ifndef SYNCD_VOLUME_H
#define SYNCD_VOLUME_H

/*
 * One volume: its machine, its disk state, its link, its mailfs. What the driver's modules share.
 *
 * Everything here belongs to the loop thread. After each input into the machine the caller runs
 * driver_pump(); all modules' entry points called by libevent or the work queues do so themselves.
 */

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "replica/replica.h"
#include "jobs.h"
#include "state.h"

#define VOLUME_ERROR_MAX 512

struct event;
struct event_base;

/* What the volumes share. */
struct engine {
    const struct conf *conf;
    struct event_base *evb;
    struct workq *disk; /* container jobs, see jobs.h */
    struct workq *io;   /* what somebody waits for: journal, stage, reading for the peer */
    struct workq *slow; /* verification: one thread, behind all others' disk work */
    struct volume **volumes;
    size_t n_volumes;
    unsigned closing; /* volumes on their way to a clean stop */
};

struct volume {
    struct volume *main;   /* of a one-way link (oneway.h): the volume it belongs to */
    struct volume **links; /* of a volume: its one-way links */
    size_t n_links;
    struct link_lock *link_locks; /* of a volume: for them (oneway_lock.h) */
    uint64_t link_locks_asked;
    size_t link_index;          /* of a link, among them */
    struct oneway *oneway;      /* of a link */
    struct conf_volume link_cv; /* of a link: what cv points to */
    struct await *await;        /* of a volume with links (await.h) */
    struct watch *watch;        /* of a volume without mailfs (watch.h) */
    struct role *role;          /* of a volume (role.h) */
    bool follows;               /* of a link: it has been in sync since it was connected */
    bool met;                   /* of a link: the other end has said Hello */
    bool other_standby;         /* of a link: what the other end said it is, */
    uint64_t other_term;        /* and its term */

    struct engine *engine;
    const struct conf *conf;
    const struct conf_volume *cv;
    uint64_t incarnation;

    struct state *state;
    struct state_start start;
    struct replica *machine;
    struct jobs *jobs;
    struct asks *asks; /* asks.h; NULL of a link: its jobs are its volume's */

    struct contact *contact;       /* contact.h */
    struct peer *peer;             /* link_peer.h */
    struct front *front;           /* front.h */
    struct txns *txns;             /* txn.h */
    struct xfers *xfers;           /* xfer.h */
    struct journaler *journaler;   /* driver_journal.h */
    struct merges *merges;         /* driver_merge.h */
    struct checkpoint *checkpoint; /* checkpoint.h */
    struct undo *undo;             /* undo.h; NULL of a link */
    struct brake *brake;           /* brake.h; NULL of a link */
    struct verify *verify;         /* verify.h */
    struct reread *reread;         /* reread.h */
    bool peer_verifies;            /* it has said that it understands */
    bool peer_takes_trees;         /* likewise, of a link: at any time */
    bool peer_knows_borrowed;      /* likewise */
    struct ctl *ctl;               /* ctl.h */
    int lock_fd;

    struct event *tick;
    uint64_t tick_at;
    bool pumping;
    bool replayed; /* the journal of an earlier life is applied */
    bool ready;    /* and mailfs has said what it named meanwhile: the peer may come */
    bool stopping;

    uint64_t compare_trees_from;   /* not before */
    bool compare_trees_due;        /* a timer waits for that */
    uint64_t untold_since_wall_ns; /* the first change that was not sent, since the last in-sync */
    struct apply *removals;   /* driver.c: of directories of which something is to be applied */
    struct apply *replays;    /* of the journal of an earlier life, not begun yet, */
    uint64_t replay_until;    /* and when they are in any case; 0: not known yet */
    unsigned replays_waited;  /* those that are put off: how often they were looked at */
    unsigned meetings;        /* counts when the peer was met, before the trees are listed */
    unsigned trees_unapplied; /* received changes of the tree that wait for their turn */
    struct said *said;        /* in the log */
    uint64_t changes;         /* counts what a checkpoint would have to write */
    uint64_t since_wall_ns;   /* of the present state */
    uint64_t merged, conflicts;
    uint64_t merged_before; /* merged, when the present state began */
    char last_error[VOLUME_ERROR_MAX];
    uint64_t last_error_wall_ns;
    bool had_contact;
    bool blank, peer_blank; /* nothing there has ever been merged with another node's */
};

/* Is its store watched, since it has no mailfs? The same for its links. */
bool volume_is_watched(const struct volume *v);

/* A volume, with its one-way links behind it: so many places of engine->volumes does it take. */
size_t volume_places(const struct conf_volume *cv);

/*
 * Opens state, sockets and machine, and starts the replay; the same for its links. Puts them into
 * engine->volumes, where they are to be closed from, the last first, also after an error. 0, or a
 * negative errno with a sentence in err: -EADDRINUSE also when another syncd serves this volume.
 */
int volume_open(struct engine *engine, const struct conf_volume *cv, char *err, size_t errsize);

/* A clean stop begins; engine->closing counts it. When it is through, volume_close() may follow. */
void volume_stop(struct volume *v);
void volume_stopped(struct volume *v);      /* by checkpoint.c: all is on disk */
void volume_disconnected(struct volume *v); /* by contact.c: the peer knows */
/* In two steps: what makes events first, then, with both work queues drained, the rest. */
void volume_quiet(struct volume *v);
void volume_close(struct volume *v);

/* Something an administrator should know: into the log (not the same line again and again) and
 * status. */
void volume_error(struct volume *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for what has been logged already. */
void volume_remember(struct volume *v, const char *text);

/* Monotonic milliseconds: what the machine gets. */
uint64_t volume_now(void);

/* As status and the log say it. */
const char *volume_state_word(enum replica_state s);

#endif
